"""`make bench`: what the runner takes, beside what the same machine takes at the very least.

The floor is measured just before and just after the runner trades for a quarter of a minute, so
that a slow disk or a busy machine shows on both sides: one signature by the official client, one
durable write of a page, and one POST of such an order to a server on loopback that does nothing.
The figures of the runner are its own, from its database. Nothing is kept.
"""

import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from py_clob_client_v2.config import get_contract_config
from py_clob_client_v2.order_utils.exchange_order_builder_v2 import ExchangeOrderBuilderV2
from py_clob_client_v2.order_utils.model.order_data_v2 import SignedOrderV2, order_to_json_v2
from py_clob_client_v2.order_utils.model.side import Side
from py_clob_client_v2.order_utils.model.signature_type_v2 import SignatureTypeV2
from py_clob_client_v2.signer import Signer
from rich.console import Console
from rich.table import Table

from bench import exchange
from runner.paper import join_embedded
from runner.store import open_readonly

TRADE_S = 15
ROUNDS = 150
KEY = "0x" + "5a" * 32
SCENARIO = """\
version: 1
description: One market of dense order flow.
settlement: {mined_seconds: [0.1, 0.4], confirmed_seconds: [0.1, 0.4]}
markets:
  - slug: busy
    question: Is it busy here?
    flow: {fair_price: 0.50, wander: 0.04, events_per_minute: 900, order_size: [5, 30]}
"""
PLAN = """\
version: 1
plan: PLAN
market: {slug: busy, outcome: OUTCOME}
jobs:
  work:
    side: buy
    total_shares: 900
    limit_price: 0.90
    time_window_minutes: 1
    split: {strategy: twap, slices: 30}
    quote: {style: top_bidder, dwell_seconds: 0}
"""

Floor = dict[str, list[float]]


def _order() -> SignedOrderV2:
    zero = "0x" + "00" * 32
    address = Signer(KEY, 137).address()
    return SignedOrderV2(
        salt="479249096354", maker=address, signer=address, tokenId="1" * 77,
        makerAmount="5000000", takerAmount="10000000", side=Side.BUY,
        signatureType=SignatureTypeV2.EOA, timestamp="1795521600390", metadata=zero,
        builder=zero, expiration="1795525260",
    )  # fmt: skip


async def _timed(call: Callable[[], Awaitable[object]], into: list[float]) -> None:
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await call()
        into.append((time.perf_counter() - began) * 1000)


async def _floor(folder: Path, floor: Floor) -> None:
    """The three things without which no order can leave, each alone."""
    contract = get_contract_config(137).exchange_v2
    builder = ExchangeOrderBuilderV2(contract, 137, Signer(KEY, 137), domain_version="2")
    order, page = _order(), b"\0" * 4096
    order.signature = builder.build_order_signature(builder.build_order_typed_data(order))
    body = json.dumps(order_to_json_v2(order, KEY[:36], "GTD", post_only=True)).encode()

    async def sign() -> None:
        builder.build_order_signature(builder.build_order_typed_data(order))

    with (folder / "floor").open("wb", buffering=0) as file:

        async def sync() -> None:
            file.write(page)
            os.fdatasync(file.fileno())

        async def nothing(request: web.Request) -> web.Response:
            await request.read()
            return web.json_response({"success": True})

        app = web.Application()
        app.router.add_post("/order", nothing)
        serving = web.AppRunner(app)
        await serving.setup()
        site = web.TCPSite(serving, "127.0.0.1", 0)
        await site.start()
        host, port = serving.addresses[0][:2]
        async with aiohttp.ClientSession() as session:

            async def post() -> None:
                async with session.post(f"http://{host}:{port}/order", data=body) as answer:
                    await answer.read()

            await _timed(sign, floor.setdefault("sign", []))
            await _timed(sync, floor.setdefault("sync", []))
            await _timed(post, floor.setdefault("post", []))
        await serving.cleanup()


def _trade(folder: Path) -> dict[str, Any]:
    """Let a runner quote on a busy market; the figures that it noted."""
    state, plans = folder / "state" / "runner.db", folder / "plans"
    plans.mkdir()
    for name, outcome in (("yes", '"Yes"'), ("no", '"No"')):
        text = PLAN.replace("PLAN", name).replace("OUTCOME", outcome)
        (plans / f"{name}.yaml").write_text(text, encoding="utf-8")
    scenario = folder / "busy.yaml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    place = join_embedded(state, scenario=str(scenario))
    command = [sys.executable, "-m", "runner", "up", "--plans", str(plans), "--state", str(state)]
    try:
        runner = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(TRADE_S)
        runner.send_signal(signal.SIGTERM)
        if runner.wait(15) != 0:
            raise RuntimeError(f"the runner ended with {runner.returncode}")
    finally:
        if place.pid is not None:
            os.kill(place.pid, signal.SIGTERM)
    with contextlib.closing(open_readonly(state)) as connection:
        [noted] = connection.execute("SELECT value FROM runner WHERE key = 'metrics'").fetchone()
    found: dict[str, Any] = json.loads(noted)
    return found


def _table(floor: Floor, noted: dict[str, Any]) -> Table:
    least = {name: statistics.median(times) for name, times in floor.items()}
    rows = (
        ("one pass, committed", "pass", "one fdatasync of 4 KiB", least["sync"]),
        ("event to POST", "event_to_post", "signature + fdatasync", least["sign"] + least["sync"]),
        ("POST to answer", "post_to_answer", "loopback POST, empty server", least["post"]),
    )
    table = Table(title=f"medians in ms; {noted['counts'].get('posts', 0)} orders sent")
    for heading in ("the runner", "n", "p50", "p99", "the floor", "p50", "ratio"):
        table.add_column(heading, justify="left" if heading.startswith("the") else "right")
    for label, name, beside, floor_ms in rows:
        took = noted["latencies"].get(name)
        if took is None:
            raise RuntimeError(f"the runner noted no {name}")
        figures = (f"{took['p50_ms']:.2f}", f"{took['p99_ms']:.2f}")
        ratio = f"{took['p50_ms'] / floor_ms:.1f}"
        table.add_row(label, str(took["n"]), *figures, beside, f"{floor_ms:.2f}", ratio)
    return table


def main() -> None:
    """Measure and print."""
    floor: Floor = {}
    with tempfile.TemporaryDirectory(prefix="pmrun-bench-") as name:
        folder = Path(name)
        asyncio.run(_floor(folder, floor))
        noted = _trade(folder)
        asyncio.run(_floor(folder, floor))
        carried = exchange.table(folder)
    console = Console()
    console.print(_table(floor, noted))
    least = "  ".join(f"{k} {statistics.median(v):.2f}" for k, v in floor.items())
    console.print(f"floor alone, ms: {least} (each {2 * ROUNDS} times, before and after)")
    console.print(carried)


if __name__ == "__main__":
    main()

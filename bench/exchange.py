"""What the embedded exchange carries: orders over HTTP, frames, matching, virtual hours."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Literal

import aiohttp
from pydantic import SecretStr
from rich.table import Table

from runner.core.model import Side, TimeInForce
from runner.exchange.scenario import default_scenario, load
from runner.exchange.server import opened
from runner.venue.client import Venue
from runner.venue.ports import Accepted, NewOrder, SignedOrder
from runner.venue.requests import VenueSettings
from runner.venue.signing import Signer
from runner.venue.throttle import Rate
from runner.venue.wire import Hosts, HttpWire

ORDERS = 1500
AT_ONCE = 8
LISTENERS = 20
MATCHES = 20_000
HOURS = 2
_NO_LIMIT = Rate(1_000_000, 1_000_000)


def _now() -> datetime:
    return datetime.now(UTC)


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    command = [sys.executable, "-m", "runner.exchange", "--port", "0", "--scenario", "quiet"]
    command += ["--state", str(folder / "bench-exchange.db")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, str(json.loads(process.stdout.readline())["url"])


async def _listen(url: str, token: str, count: list[int]) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url.replace('http', 'ws', 1)}/ws/market") as socket,
    ):
        await socket.send_str(json.dumps({"type": "market", "assets_ids": [token]}))
        async for _ in socket:
            count[0] += 1


async def _over_http(url: str) -> tuple[float, float]:
    """Signed orders accepted a second, and frames that reached listeners a second meanwhile."""
    signer = Signer(SecretStr("0x" + "5a" * 32), 137)
    wire = HttpWire(Hosts.under(url))
    settings = VenueSettings(orders=_NO_LIMIT)
    venue = Venue(wire, signer, _now, rng=Random(1), settings=settings, odd=print)
    try:
        funds = {"address": signer.address, "cash": "1000000", "tokens": {}}
        await wire.request(
            "POST", "/_exchange/accounts", body=json.dumps(funds).encode(), timeout_s=5
        )
        markets = await wire.request("GET", "/_exchange/markets", timeout_s=5)
        token = json.loads(markets.body)[0]["tokens"][0]["token_id"]
        await venue.start()
        owner, chance = venue.credentials.api_key, Random(2)
        waiting = [
            signer.sign(
                NewOrder(
                    token_id=token,
                    side=Side.BUY,
                    price=Decimal(chance.randint(1, 20)).scaleb(-2),
                    size=Decimal(chance.randint(5, 20)),
                    time_in_force=TimeInForce.GTC,
                    post_only=False,
                    expires_at=None,
                    tick=Decimal("0.01"),
                    neg_risk=False,
                ),
                salt=n,
                now=_now(),
                owner=owner,
            )
            for n in range(1, ORDERS + 1)
        ]
        frames = [0]
        listeners = [asyncio.create_task(_listen(url, token, frames)) for _ in range(LISTENERS)]
        await asyncio.sleep(0.5)
        frames[0] = 0
        began = time.perf_counter()
        accepted = await asyncio.gather(*(_post_all(venue, waiting) for _ in range(AT_ONCE)))
        took = time.perf_counter() - began
        if sum(accepted) != ORDERS:
            raise RuntimeError(f"only {sum(accepted)} of {ORDERS} orders were accepted")
        await asyncio.sleep(0.5)
        for task in listeners:
            task.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
        return ORDERS / took, frames[0] / took
    finally:
        await wire.close()


async def _post_all(venue: Venue, waiting: list[SignedOrder]) -> int:
    accepted = 0
    while waiting:
        accepted += isinstance(await venue.submit(waiting.pop()), Accepted)
    return accepted


def _matching() -> float:
    """Orders of other traders taken in and matched, a second; nobody listens, nothing is kept."""
    exchange = opened(None, load("quiet"), _now)
    condition = next(iter(exchange.listings))
    chance = Random(3)
    began = time.perf_counter()
    for _ in range(MATCHES):
        side: Literal["BUY", "SELL"] = "BUY" if chance.random() < 0.5 else "SELL"
        price = chance.randint(40, 60) * 10_000
        exchange.house_order(condition, 0, side, price, chance.randint(5, 50) * 1_000_000, "GTC")
    took = time.perf_counter() - began
    exchange.close()
    return MATCHES / took


def _virtual_hours() -> float:
    """Hours of the default scenario's trading in one second, on a virtual clock."""
    clock = [datetime(2026, 11, 24, 12, tzinfo=UTC)]
    exchange = opened(None, default_scenario(1), lambda: clock[0])
    end = clock[0] + timedelta(hours=HOURS)
    began = time.perf_counter()
    while (due := exchange.next_due()) is not None and due < end:
        clock[0] = max(due, clock[0])
        exchange.advance()
    took = time.perf_counter() - began
    exchange.close()
    return HOURS / took


def table(folder: Path) -> Table:
    """Measure and tabulate."""
    process, url = _start(folder)
    try:
        accepted, frames = asyncio.run(_over_http(url))
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(10)
    shown = Table(title="the embedded exchange, per second")
    shown.add_column("what")
    shown.add_column("a second", justify="right")
    for what, rate in (
        (f"signed orders accepted over HTTP, committed, by one client {AT_ONCE} at once", accepted),
        (f"market frames that reached {LISTENERS} listeners meanwhile", frames),
        ("orders of other traders matched in process", _matching()),
        ("hours of virtual trading on four markets", _virtual_hours()),
    ):
        shown.add_row(what, f"{rate:,.1f}")
    return shown

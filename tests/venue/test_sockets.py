"""The same venue over real sockets, against the embedded exchange in a process of its own."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from random import Random

import pytest

from runner.core.model import Book, MarketInfo, ReportStatus, TimeInForce
from runner.core.plan import MarketRef
from runner.venue.client import Venue
from runner.venue.ports import Accepted, SignedOrder, Unknown
from runner.venue.requests import VenueSettings
from runner.venue.streams import Channel, Streams
from runner.venue.wire import Hosts, HttpWire
from tests.venue.world import SIGNER, Heard, make_venue, sign

SALTS = count(1)


def wall() -> datetime:
    return datetime.now(UTC)


@dataclass
class Running:
    """An exchange process, its address and its database."""

    process: subprocess.Popen[str]
    url: str
    state: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def launch(state: Path, port: int = 0) -> Running:
    command = [sys.executable, "-m", "runner.exchange", "--port", str(port), "--state", str(state)]
    process = subprocess.Popen([*command, "--seed", "3"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return Running(process, json.loads(process.stdout.readline())["url"], state)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = launch(tmp_path_factory.mktemp("exchange") / "exchange.db")
    yield running
    running.stop()


@dataclass
class Desk:
    """A venue and its sockets on a running exchange, watching one market."""

    wire: HttpWire
    venue: Venue
    streams: Streams
    heard: Heard
    info: MarketInfo

    def order(self, **changes: object) -> SignedOrder:
        """A bid of 20 shares at the lowest price, which never trades, unless told otherwise."""
        fields: dict[str, object] = {
            "token_id": self.info.token_id,
            "price": self.info.tick,
            "size": Decimal(20),
            "tick": self.info.tick,
            "neg_risk": self.info.neg_risk,
        }
        return sign(self.venue, next(SALTS), wall(), **fields | changes)

    async def control(self, method: str, path: str, body: object = None) -> object:
        raw = b"" if body is None else json.dumps(body).encode()
        response = await self.wire.request(method, f"/_exchange/{path}", body=raw, timeout_s=5)
        assert response.status == 200, response.body
        assert response.headers["x-simulated"] == "pmrun-embedded-exchange"
        return json.loads(response.body)


@asynccontextmanager
async def desk(running: Running, market: int = 0) -> AsyncIterator[Desk]:
    wire, heard = HttpWire(Hosts.under(running.url)), Heard()
    settings = VenueSettings(write_timeout_s=1.0, read_timeout_s=2.0)
    venue = make_venue(wire, wall, heard.odd.append, settings)
    await venue.start()
    streams = Streams(wire, venue, wall, rng=Random(1), hearers=heard.hearers())
    response = await wire.request("GET", "/_exchange/markets", timeout_s=5)
    token = json.loads(response.body)[market]["tokens"][0]["token_id"]
    made = Desk(wire, venue, streams, heard, await venue.market(MarketRef(token_id=token)))
    await made.control(
        "POST",
        "accounts",
        {"address": SIGNER.address, "cash": "1000", "tokens": {token: "100"}},
    )
    streams.watch([made.info.token_id, made.info.complement])
    running_streams = asyncio.create_task(streams.run())
    await eventually(lambda: streams.book(token) is not None)
    try:
        yield made
    finally:
        running_streams.cancel()
        with suppress(asyncio.CancelledError):
            await running_streams
        await wire.close()


async def eventually(holds: object, within_s: float = 10.0) -> None:
    assert callable(holds)
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.02)


def sides(book: Book | None) -> object:
    return None if book is None else (book.bids, book.asks)


@pytest.mark.parametrize("market", [0, 2], ids=["standard", "neg-risk"])
async def test_an_order_lives_and_ends_over_real_sockets(exchange: Running, market: int) -> None:
    async with desk(exchange, market) as d:
        assert d.info.neg_risk == (market == 2)
        signed = d.order(life_s=300)
        outcome = await d.venue.submit(signed)
        assert isinstance(outcome, Accepted), outcome
        assert signed.order_id in {report.order_id for report in await d.venue.open_orders()}
        again = await d.venue.submit(signed)
        assert isinstance(again, Accepted)
        assert again.report.status is ReportStatus.PRESENT
        answer = await d.venue.cancel([signed.order_id])
        assert answer.cancelled == {signed.order_id}
        await eventually(lambda: len(d.heard.orders()) >= 2)
        told = [r.status for r in d.heard.orders() if r.order_id == signed.order_id]
        assert told == [ReportStatus.LIVE, ReportStatus.CANCELLED]
        assert d.heard.odd == []


async def test_a_taker_is_filled_and_told_on_the_socket(exchange: Running) -> None:
    async with desk(exchange) as d:
        book = await d.venue.book(d.info.token_id)
        signed = d.order(price=book.asks[0].price, time_in_force=TimeInForce.FAK, size=Decimal(100))
        outcome = await d.venue.submit(signed)
        assert isinstance(outcome, Accepted), outcome
        matched = outcome.report.matched
        assert matched is not None
        assert matched > 0
        await eventually(
            lambda: sum({t.trade_id: t.size for t in d.heard.trades()}.values()) == matched
        )
        legs = [t for t in await d.venue.trades(wall()) if t.order_id == signed.order_id]
        assert sum(leg.size for leg in legs) == matched
        ledger = await d.control("GET", f"ledger?owner={SIGNER.address}")
        assert isinstance(ledger, dict)
        (truth,) = [o for o in ledger["orders"] if o["order_id"] == signed.order_id]
        assert Decimal(truth["matched"]) == matched


async def test_lost_answers_over_real_sockets(exchange: Running) -> None:
    async with desk(exchange) as d:
        for hang in (False, True):
            fault = {"name": "lose_answer", "method": "POST", "path": "/order", "hang": hang}
            await d.control("POST", "faults", fault)
            signed = d.order()
            assert isinstance(await d.venue.submit(signed), Unknown)
            await d.control("DELETE", "faults")
            found = await d.venue.order(signed.order_id)
            assert found is not None
            assert found.status is ReportStatus.LIVE
            await d.venue.cancel([signed.order_id])


async def test_books_keep_up_with_a_busy_market(exchange: Running) -> None:
    async with desk(exchange) as d:
        agreed = 0
        async with asyncio.timeout(30):
            while agreed < 5:
                token = [d.info.token_id, d.info.complement][agreed % 2]
                truth = await d.venue.book(token)
                await asyncio.sleep(0.05)
                agreed += sides(d.streams.book(token)) == sides(truth)
        assert sorted(d.heard.gaps) == [Channel.MARKET, Channel.USER]


async def test_an_exchange_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    first = launch(tmp_path / "exchange.db")
    async with desk(first) as d:
        signed = d.order()
        assert isinstance(await d.venue.submit(signed), Accepted)
        first.stop()
        await eventually(lambda: d.streams.up == set())
        assert d.streams.book(d.info.token_id) is None
        assert isinstance(await d.venue.submit(d.order()), Unknown)
        d.heard.gaps.clear()
        second = launch(first.state, first.port)
        try:
            await eventually(
                lambda: (
                    set(d.heard.gaps) == set(Channel)
                    and d.streams.book(d.info.token_id) is not None
                )
            )
            assert [r.order_id for r in await d.venue.open_orders()] == [signed.order_id]
        finally:
            second.stop()

"""A small world: two markets, one funded wallet, a venue on the embedded exchange in process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from random import Random

from pydantic import SecretStr

from runner.core.model import OrderReport, Side, TimeInForce, TradeReport
from runner.exchange.api import Exchange
from runner.exchange.markets import ONE, MarketConfig
from runner.venue.client import Venue
from runner.venue.ports import NewOrder, SignedOrder, Wire
from runner.venue.requests import VenueSettings
from runner.venue.signing import Signer
from runner.venue.streams import Channel, Hearers, Streams
from tests.inprocess_wire import InProcessWire
from tests.virtual_time import now

KEY = SecretStr("0x" + "5a" * 32)
SIGNER = Signer(KEY, 137)

RAIN = MarketConfig(
    slug="rain-tomorrow",
    question="Will it rain tomorrow?",
    event_slug="weather",
    condition_id="0x" + "c1" * 32,
    token_ids=("1001", "1002"),
    fee_rate=40_000,
)
CUP = MarketConfig(
    slug="cup-winner-blue",
    question="Will Blue win the cup?",
    event_slug="cup",
    condition_id="0x" + "c2" * 32,
    token_ids=("2001", "2002"),
    outcomes=("Yes", "No"),
    tick=1_000,
    neg_risk=True,
)
YES, NO = RAIN.token_ids
CASH = 10_000


def make_exchange(clock: Callable[[], datetime]) -> Exchange:
    """The exchange with our wallet funded: dollars, and shares of both outcomes of RAIN."""
    exchange = Exchange(None, clock, 7, [RAIN, CUP])
    exchange.fund(SIGNER.address, CASH * ONE, {YES: 500 * ONE, NO: 500 * ONE})
    return exchange


@dataclass
class Heard:
    """What the streams said, in order."""

    books: list[str] = field(default_factory=list)
    reports: list[OrderReport | TradeReport] = field(default_factory=list)
    gaps: list[Channel] = field(default_factory=list)
    markets: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def hearers(self) -> Hearers:
        return Hearers(
            self.books.append,
            self.reports.append,
            self.gaps.append,
            self.markets.append,
            self.odd.append,
        )

    def orders(self) -> list[OrderReport]:
        return [r for r in self.reports if isinstance(r, OrderReport)]

    def trades(self) -> list[TradeReport]:
        return [r for r in self.reports if isinstance(r, TradeReport)]


@dataclass
class World:
    """Everything a test of the venue touches."""

    exchange: Exchange
    wire: InProcessWire
    venue: Venue
    streams: Streams
    heard: Heard
    salts: Iterator[int] = field(default_factory=lambda: count(1))

    def signed(self, **changes: object) -> SignedOrder:
        """A child order of ours: buy 10 Yes at 0.50, good till cancelled, unless told otherwise."""
        return sign(self.venue, next(self.salts), now(), **changes)

    def house(
        self, side: Side, price: str, size: str, outcome: int = 0, *, take: bool = False
    ) -> str | None:
        """Somebody else's order on RAIN; `take` for one that does not rest."""
        return self.exchange.house_order(
            RAIN.condition_id,
            outcome,
            "BUY" if side is Side.BUY else "SELL",
            int(Decimal(price) * ONE),
            int(Decimal(size) * ONE),
            "FAK" if take else "GTC",
        )

    def publish(self) -> None:
        """Make what the house did durable and tell the sockets."""
        self.exchange.advance()


def sign(venue: Venue, salt: int, at: datetime, **changes: object) -> SignedOrder:
    fields: dict[str, object] = {
        "token_id": YES,
        "side": Side.BUY,
        "price": Decimal("0.5"),
        "size": Decimal(10),
        "time_in_force": TimeInForce.GTC,
        "post_only": False,
        "expires_at": None,
        "tick": Decimal("0.01"),
        "neg_risk": False,
    }
    life = changes.pop("life_s", None)
    if isinstance(life, int):
        fields["time_in_force"] = TimeInForce.GTD
        fields["expires_at"] = at + timedelta(seconds=60 + life)
    order = NewOrder(**fields | changes)  # type: ignore[arg-type]  # the test's own names
    return venue.signer.sign(order, salt=salt, now=at, owner=venue.credentials.api_key)


def make_venue(
    wire: Wire,
    clock: Callable[[], datetime],
    odd: Callable[[str], None],
    settings: VenueSettings | None = None,
) -> Venue:
    return Venue(wire, SIGNER, clock, rng=Random(3), odd=odd, settings=settings)


@asynccontextmanager
async def world(
    latency: Callable[[], float] = lambda: 0.02, settings: VenueSettings | None = None
) -> AsyncIterator[World]:
    """In process, on virtual time, with the venue started."""
    exchange, heard = make_exchange(now), Heard()
    wire = InProcessWire(exchange, latency)
    venue = make_venue(wire, now, heard.odd.append, settings)
    await venue.start()
    streams = Streams(wire, venue, now, rng=Random(5), hearers=heard.hearers())
    try:
        yield World(exchange, wire, venue, streams, heard)
    finally:
        await wire.close()
        exchange.close()


@asynccontextmanager
async def streaming(world: World, *tokens: str) -> AsyncIterator[None]:
    """The streams running and settled."""
    world.streams.watch(tokens)
    running = asyncio.create_task(world.streams.run())
    await asyncio.sleep(1)
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

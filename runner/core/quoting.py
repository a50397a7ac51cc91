"""How much to show and at what price: limit, join, top bidder.

Entry point: `quote`. Written for a buy; a sell is the same with prices turned round.

`limit` rests at the limit price, whatever the book says. The pegged styles look at the *reference*:
the best price of the own side over the merged book of both outcomes, without our own orders (from
every plan of this account) and without levels where others show less than `min_competing_size`.
`join` stands at the reference, `top_bidder` `improve_ticks` better.

Invariants of the pegged styles:
    1. Never past the limit. At the limit it joins; with the reference beyond it, `beyond_limit`
       says: rest at the limit, show nothing (withdraw), or end the job (stop).
    2. Never crossing: at least a tick away from the best opposite price, our own orders counted.
    3. Never up for nothing. Alone at the top it stays, and after `step_down_after_seconds` steps
       down to what the reference calls for. Without any reference it stays where it stands; if
       nothing stands, `join` shows nothing and a top bidder opens at the market's first price,
       where it is top already and pays the least.
    4. No two moves within `dwell_seconds`, unless the price it has became unsafe (1 or 2).
    5. What is too small for a new order is not moved, so that it is not cancelled into dust.
    6. No guess. It holds while there is no fresh book, while the book is crossed, and while one of
       our orders that may or may not be in it decides what the reference is (design 5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runner.core import pace
from runner.core.errors import PlanError
from runner.core.model import Memory, OrderState, Quote, Side, TimeInForce
from runner.core.money import (
    LOT,
    ONE,
    ZERO,
    ceil_to,
    from_micros,
    lot,
    mirror,
    plain,
    to_micros,
    towards_passive,
)
from runner.core.plan import BeyondLimit, Style

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from runner.core.model import Book, Job, Market, WorkingOrder
    from runner.core.plan import QuoteSpec

_UNCERTAIN = frozenset({OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.CLOSING})


@dataclass(frozen=True, slots=True)
class Quoted:
    """A quote and how it came about; the fields are those of `Decision`."""

    quote: Quote | None
    reasons: tuple[str, ...]
    memory: Memory
    hold: bool = False
    wake_at: datetime | None = None
    stop: str | None = None


@dataclass(frozen=True, slots=True)
class _Priced:
    """A price that is wanted now, or why there is none."""

    price: Decimal | None
    reason: str
    memory: Memory
    wake_at: datetime | None = None
    stop: str | None = None


class _UnclearError(Exception):
    """What stands in the book cannot be told apart from our own orders, or not at all."""


def quote(
    job: Job, market: Market, quantity: Decimal, least: Decimal, memory: Memory, now: datetime
) -> Quoted:
    """What the job wants to show of the `quantity` due now, and at what price.

    `least` is the smallest size a new order may have.

    Raises:
        PlanError: a style that is not available yet.
    """
    spec = job.spec.quote
    tick = market.info.tick
    limit = limit_on_grid(job.spec.side, job.spec.limit_price, tick)
    if limit is None:
        text = f"NO_LEGAL_PRICE: limit {plain(job.spec.limit_price)}, tick {plain(tick)}"
        return Quoted(None, (text,), memory)
    match spec.style:
        case Style.LIMIT:
            return _limit(job, market, limit, quantity, memory)
        case Style.JOIN | Style.TOP_BIDDER:
            pass
        case Style.TAKE:
            raise PlanError("quote style take is not available yet")
    peg = _Peg(job, market, limit, stuck=quantity < least)
    try:
        priced = peg.price(memory, now)
    except _UnclearError as unclear:
        return Quoted(peg.standing_quote(quantity), (str(unclear),), memory, hold=True)
    if priced.price is None:
        return Quoted(None, (priced.reason,), priced.memory, stop=priced.stop)
    shown = _shown(job, quantity, priced.price)
    return Quoted(shown, (priced.reason,), priced.memory, wake_at=priced.wake_at)


def limit_on_grid(side: Side, limit: Decimal, tick: Decimal) -> Decimal | None:
    """The least passive price that respects `limit`, None if the market has no such price."""
    price = towards_passive(side, limit, tick)
    if side is Side.BUY:
        price = min(price, mirror(tick))
        return price if price >= tick else None
    price = max(price, tick)
    return price if price <= mirror(tick) else None


def _shown(job: Job, quantity: Decimal, price: Decimal) -> Quote:
    spec, side = job.spec.quote, job.spec.side
    time_in_force = spec.time_in_force or TimeInForce.GTC
    size = quantity if spec.shares_per_order is None else min(quantity, spec.shares_per_order)
    pegged = spec.style is not Style.LIMIT
    return Quote(
        side=side,
        price=price,
        size=size,
        time_in_force=time_in_force,
        post_only=pegged if spec.post_only is None else spec.post_only,
    )


def _limit(job: Job, market: Market, limit: Decimal, quantity: Decimal, memory: Memory) -> Quoted:
    """Rests at the limit. What cannot rest (FAK, FOK) waits for a book that it would trade with."""
    shown = _shown(job, quantity, limit)
    if shown.time_in_force in {TimeInForce.FAK, TimeInForce.FOK} and not crosses(market, shown):
        return Quoted(None, ("NOTHING_TO_TAKE",), memory)
    return Quoted(shown, (f"AT_LIMIT: {plain(limit)}",), memory)


def crosses(market: Market, shown: Quote) -> bool:
    """Whether an order for `shown` would trade at once, as far as the book is known."""
    if market.book is None:
        return False
    if shown.side is Side.BUY:
        return bool(market.book.asks) and market.book.asks[0].price <= shown.price
    return bool(market.book.bids) and market.book.bids[0].price >= shown.price


def least_to_show(market: Market, shown: Quote, least: Decimal) -> Decimal:
    """`least`, and for a buy that trades at once also what a dollar buys (reference 3.5)."""
    if shown.side is Side.BUY and not shown.post_only and crosses(market, shown):
        step = lot(shown.side, shown.time_in_force, shown.price)
        micros = -(-(10**12) // to_micros(shown.price))
        return max(least, ceil_to(from_micros(micros), step))
    return least


class _Peg:
    """One pegged quote against one book, all prices seen as a buyer sees them.

    For a sell every price p is looked at as 1 - p, so that better for others is always higher; the
    grid maps onto itself because 1 is a whole number of ticks.
    """

    def __init__(self, job: Job, market: Market, limit: Decimal, *, stuck: bool) -> None:
        self.job = job
        self.market = market
        self.stuck = stuck
        self.spec: QuoteSpec = job.spec.quote
        self.side = job.spec.side
        self.tick = market.info.tick
        self.limit = self.turn(limit)

    def turn(self, price: Decimal) -> Decimal:
        """To and from the buyer's view."""
        return price if self.side is Side.BUY else mirror(price)

    def show(self, price: Decimal) -> str:
        """A price of the buyer's view as it stands in the market."""
        return plain(self.turn(price))

    def price(self, memory: Memory, now: datetime) -> _Priced:
        """The price wanted now.

        Raises:
            _UnclearError: see invariant 6.
        """
        book = self.market.book
        if book is None:
            raise _UnclearError("BOOK_MISSING")
        if book.bids and book.asks and book.bids[0].price >= book.asks[0].price:
            raise _UnclearError("BOOK_CROSSED")
        rival = self.reference(book)
        ceiling = self.ceiling(book)
        current = self.standing(memory, now)
        if rival is not None and rival > self.limit:
            if self.spec.beyond_limit is BeyondLimit.STOP:
                return _Priced(None, self.beyond(rival), memory, stop="BEYOND_LIMIT")
            if self.spec.beyond_limit is BeyondLimit.WITHDRAW:
                return _Priced(None, self.beyond(rival), self.left(memory))
        wanted = self.wanted(rival, current)
        if wanted is None:
            return _Priced(None, "NO_REFERENCE: nobody to join", self.left(memory))
        wanted = min(wanted, self.limit, ceiling)
        if wanted < self.tick:
            return _Priced(None, "NO_ROOM: any price would cross", self.left(memory))
        return self.moved(wanted, current, min(self.limit, ceiling), rival, memory, now)

    def wanted(self, rival: Decimal | None, current: Decimal | None) -> Decimal | None:
        """The price the reference calls for, before the limit and the other side are heard."""
        if rival is not None:
            improve = self.spec.improve_ticks if self.spec.style is Style.TOP_BIDDER else 0
            return rival + self.tick * improve
        if current is not None:
            return current
        return self.tick if self.spec.style is Style.TOP_BIDDER else None

    def moved(
        self,
        wanted: Decimal,
        current: Decimal | None,
        safe: Decimal,
        rival: Decimal | None,
        memory: Memory,
        now: datetime,
    ) -> _Priced:
        """From where it stands to `wanted`, or why not yet."""
        if current is None or current > safe:
            return self.go(wanted, rival, memory, now)
        if wanted == current:
            return self.stay(current, "IN_PLACE", replace(memory, alone_since=None))
        if self.stuck and self.kept():
            return self.stay(current, "TOO_SMALL_TO_MOVE", replace(memory, alone_since=None))
        if wanted < current:
            since = memory.alone_since or now
            alone = replace(memory, alone_since=since)
            down_at = since + pace.span(self.spec.step_down_after_seconds)
            if now < down_at:
                return self.stay(current, "ALONE_AT_TOP", alone, down_at)
            memory = alone
        else:
            memory = replace(memory, alone_since=None)
        if memory.moved_at is not None:
            free_at = memory.moved_at + pace.span(self.spec.dwell_seconds)
            if now < free_at:
                return self.stay(current, "DWELLING", memory, free_at)
        return self.go(wanted, rival, memory, now)

    def go(self, wanted: Decimal, rival: Decimal | None, memory: Memory, now: datetime) -> _Priced:
        """Take a new price, and remember when."""
        price = self.turn(wanted)
        if memory.price != price:
            memory = Memory(alone_since=None, moved_at=now, price=price)
        best = "nobody else" if rival is None else f"best {self.show(rival)}"
        if rival is not None and rival > self.limit:
            return _Priced(price, f"REST_AT_LIMIT: {best}, limit {self.show(self.limit)}", memory)
        return _Priced(price, f"QUOTE: {best}, ours {plain(price)}", memory)

    def stay(
        self, current: Decimal, code: str, memory: Memory, wake_at: datetime | None = None
    ) -> _Priced:
        """Keep the price it has."""
        price = self.turn(current)
        return _Priced(price, f"{code}: {plain(price)}", memory, wake_at)

    def left(self, memory: Memory) -> Memory:
        """Memory of one that shows nothing."""
        return replace(memory, alone_since=None, price=None)

    def beyond(self, rival: Decimal) -> str:
        """The reason while the reference is past the limit."""
        return f"BEYOND_LIMIT: best {self.show(rival)}, limit {self.show(self.limit)}"

    def reference(self, book: Book) -> Decimal | None:
        """The best price at which somebody else shows enough, None if nobody does.

        Raises:
            _UnclearError: whether a level is somebody else's hangs on an order of ours of which we
                do not know whether the book counts it.
        """
        needed = max(self.spec.min_competing_size, LOT)
        sure: dict[Decimal, Decimal] = {}
        perhaps: dict[Decimal, Decimal] = {}
        for order in self.market.own:
            if order.side is self.side:
                into = perhaps if _uncertain(order) else sure
                into[order.price] = into.get(order.price, ZERO) + order.leaves
        for level in book.bids if self.side is Side.BUY else book.asks:
            most = level.size - sure.get(level.price, ZERO)
            if most < needed:
                continue
            if most - perhaps.get(level.price, ZERO) < needed:
                raise _UnclearError(f"OWN_ORDER_UNCLEAR: at {plain(level.price)}")
            return self.turn(level.price)
        return None

    def ceiling(self, book: Book) -> Decimal:
        """The highest price that crosses nothing, our own orders of the other side included."""
        opposite = book.asks if self.side is Side.BUY else book.bids
        prices = [self.turn(level.price) for level in opposite[:1]]
        prices += [
            self.turn(order.price) for order in self.market.own if order.side is not self.side
        ]
        return min(prices, default=ONE) - self.tick

    def kept(self) -> list[WorkingOrder]:
        """The job's orders that still stand or may come to stand."""
        return [
            order
            for order in self.job.working
            if order.side is self.side
            and not order.cancel_requested
            and order.state is not OrderState.CLOSING
        ]

    def standing(self, memory: Memory, now: datetime) -> Decimal | None:
        """The price it has: what it chose within a dwell time, else that of its orders."""
        dwell = pace.span(self.spec.dwell_seconds)
        fresh = memory.moved_at is not None and now <= memory.moved_at + dwell
        if fresh and memory.price is not None:
            return self.turn(memory.price)
        return max((self.turn(order.price) for order in self.kept()), default=None)

    def standing_quote(self, quantity: Decimal) -> Quote | None:
        """The quote it has while it holds: what stands within the limit may be sent again."""
        prices = [self.turn(order.price) for order in self.kept()]
        within = [price for price in prices if price <= self.limit]
        return _shown(self.job, quantity, self.turn(max(within))) if within else None


def _uncertain(order: WorkingOrder) -> bool:
    return order.state in _UNCERTAIN or order.cancel_requested

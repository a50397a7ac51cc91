"""One merged book for both outcomes of a market, matched by price and time.

Everything here is in terms of the first outcome: buying the second at p is selling the first at
1 - p (reference 7: mint and merge). A level holds orders, oldest first, and perhaps a `displayed`
size: the anonymous liquidity of a recorded book. An order remembers how much displayed size stood
`ahead` of it when it came.

Invariants:
    1. Planning changes nothing; only `take` and the setters do.
    2. Better prices first; at one price, what stood there first.
    3. `ahead` never falls from an older order to a younger one, nor exceeds what is displayed
       (a recorded print may only reduce it).
    4. Every fill is a multiple of the book's `quantum`, so that price x size is a whole number of
       millionths of a dollar and nobody has to round.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from runner.exchange.markets import ONE

_QUANTA = {100_000: 100, 10_000: 100, 5_000: 1_000, 2_500: 10_000, 1_000: 1_000, 100: 10_000}

_UNKNOWN_AHEAD = ONE**3


@dataclass(slots=True)
class Resting:
    """An order's place in the book: `price` in terms of the first outcome, sizes in millionths."""

    order_id: str
    bid: bool
    price: int
    leaves: int
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Fill:
    """A part of a match: `order_id` is the maker's, or None for displayed liquidity."""

    order_id: str | None
    price: int
    size: int


@dataclass(frozen=True, slots=True)
class Want:
    """What an incoming order wants, in terms of the first outcome.

    Args:
        bid: Whether it buys the first outcome (or sells the second).
        limit: Its worst price, of the first outcome.
        size: Shares it stops at, or None.
        dollars: Dollars it stops at, or None: a FAK or FOK buy is bounded by dollars, so that a
            better price brings more shares (reference 3.7).
        mirrored: Whether its own price is one minus the book's.
    """

    bid: bool
    limit: int
    size: int | None = None
    dollars: int | None = None
    mirrored: bool = False

    def own_price(self, price: int) -> int:
        """A price of the book as the incoming order's own token sees it."""
        return ONE - price if self.mirrored else price


@dataclass(slots=True)
class _Level:
    orders: dict[str, Resting] = field(default_factory=dict)
    displayed: int = 0
    recorded: int = 0

    @property
    def size(self) -> int:
        return self.displayed + sum(order.leaves for order in self.orders.values())

    def queue(self) -> Iterator[tuple[Resting | None, int]]:
        """Who is served in which order, and with how much."""
        passed = 0
        for order in self.orders.values():
            ahead = min(order.ahead, self.displayed)
            if ahead > passed:
                yield None, ahead - passed
                passed = ahead
            yield order, order.leaves
        if self.displayed > passed:
            yield None, self.displayed - passed

    def lower_ahead(self, most: int) -> None:
        for order in self.orders.values():
            order.ahead = min(order.ahead, most)

    def displayed_traded(self, size: int) -> None:
        for order in self.orders.values():
            order.ahead = max(0, order.ahead - size)


@dataclass(slots=True)
class _Ladder:
    prices: list[int] = field(default_factory=list)
    levels: dict[int, _Level] = field(default_factory=dict)

    def level(self, price: int) -> _Level:
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = _Level()
            insort(self.prices, price)
        return level

    def drop_if_empty(self, price: int) -> None:
        level = self.levels[price]
        if not level.orders and not level.displayed and not level.recorded:
            del self.levels[price]
            del self.prices[bisect_left(self.prices, price)]


class Book:
    """The merged book of one market."""

    def __init__(self, tick: int) -> None:
        self.quantum = _QUANTA[tick]
        self.version = 0
        self.touched: set[tuple[bool, int]] = set()
        self._sides = {True: _Ladder(), False: _Ladder()}
        self._resting: dict[str, Resting] = {}

    def new_tick(self, tick: int) -> None:
        """Sizes never get finer again than the finest tick seen needs: see invariant 4."""
        self.quantum = max(self.quantum, _QUANTA[tick])
        self.version += 1

    def levels(self, bid: bool) -> list[tuple[int, int]]:
        """(price, size) of every visible level of a side, worst first."""
        ladder = self._sides[bid]
        prices = ladder.prices if bid else reversed(ladder.prices)
        sized = ((price, ladder.levels[price].size) for price in prices)
        return [(price, size) for price, size in sized if size]

    def level_size(self, bid: bool, price: int) -> int:
        """Everything visible at a price of a side."""
        level = self._sides[bid].levels.get(price)
        return level.size if level else 0

    def best(self, bid: bool) -> int | None:
        """The best visible price of a side, or None."""
        ladder = self._sides[bid]
        for price in reversed(ladder.prices) if bid else ladder.prices:
            if ladder.levels[price].size:
                return price
        return None

    def crosses(self, bid: bool, price: int) -> bool:
        """Whether an order of that side at that price would meet the other side."""
        best = self.best(not bid)
        return best is not None and (best <= price if bid else best >= price)

    def resting(self, order_id: str) -> Resting | None:
        """The order's place, or None if it isn't in the book."""
        return self._resting.get(order_id)

    def add(
        self, order_id: str, bid: bool, price: int, leaves: int, *, restored: bool = False
    ) -> Resting:
        """Puts an order at the end of the queue of its price.

        A `restored` one was there before the process was: what was ahead of it is not known any
        more, so it stands behind whatever is displayed at its price first.
        """
        level = self._sides[bid].level(price)
        ahead = _UNKNOWN_AHEAD if restored else level.displayed
        order = Resting(order_id, bid, price, leaves, ahead)
        level.orders[order_id] = self._resting[order_id] = order
        self._touch(bid, price)
        return order

    def remove(self, order_id: str) -> Resting | None:
        """Takes an order out; None if it wasn't in."""
        order = self._resting.pop(order_id, None)
        if order is not None:
            ladder = self._sides[order.bid]
            del ladder.levels[order.price].orders[order_id]
            ladder.drop_if_empty(order.price)
            self._touch(order.bid, order.price)
        return order

    def plan(self, want: Want) -> list[Fill]:
        """How an incoming order would fill now, best price first. Changes nothing."""
        fills: list[Fill] = []
        size, dollars = want.size, want.dollars
        for price, level in self._meeting(want.bid, want.limit):
            own = want.own_price(price)
            for maker, available in level.queue():
                most = available if size is None else min(available, size)
                if dollars is not None:
                    most = min(most, dollars * ONE // own)
                most -= most % self.quantum
                if most == 0:
                    continue
                fills.append(Fill(maker.order_id if maker else None, price, most))
                size = None if size is None else size - most
                dollars = None if dollars is None else dollars - own * most // ONE
            if self._sated(size, dollars, want):
                break
        return fills

    def satisfies(self, want: Want, fills: list[Fill]) -> bool:
        """Whether `fills` is all that was wanted (FOK), up to what can't be traded any more."""
        size, dollars = want.size, want.dollars
        if size is not None:
            size -= sum(fill.size for fill in fills)
        if dollars is not None:
            dollars -= sum(want.own_price(fill.price) * fill.size // ONE for fill in fills)
        return self._sated(size, dollars, want)

    def plan_print(self, bid: bool, price: int, size: int) -> tuple[list[Fill], int]:
        """How a recorded trade of an anonymous taker fills the orders here.

        Orders at prices better for the taker come first, displayed size there doesn't count (the
        recorded taker has met it in its own book). At the price itself what stood ahead counts.

        Returns:
            The fills, and how much of the displayed size at the price has traded.
        """
        fills: list[Fill] = []
        passed = 0
        for at, level in self._meeting(bid, price):
            for maker, available in level.queue():
                most = min(available, size)
                if maker is None:
                    if at == price:
                        size -= most
                        passed += most
                    continue
                most -= most % self.quantum
                if most:
                    fills.append(Fill(maker.order_id, at, most))
                    size -= most
        return fills, passed

    def take(self, taker_bid: bool, fill: Fill) -> Resting | None:
        """Carries out one planned fill.

        Returns:
            The maker's place after it (out of the book if less than a quantum is left), or None
            for displayed liquidity.
        """
        ladder = self._sides[not taker_bid]
        level = ladder.levels[fill.price]
        self._touch(not taker_bid, fill.price)
        if fill.order_id is None:
            level.displayed -= fill.size
            level.displayed_traded(fill.size)
            ladder.drop_if_empty(fill.price)
            return None
        order = level.orders[fill.order_id]
        order.leaves -= fill.size
        if order.leaves < self.quantum:
            self.remove(order.order_id)
        return order

    def print_passed(self, taker_bid: bool, price: int, size: int) -> None:
        """Notes that `size` of what is displayed at a price has traded in the recording."""
        level = self._sides[not taker_bid].levels.get(price)
        if level is not None:
            level.displayed_traded(size)

    def set_displayed(self, bid: bool, price: int, size: int) -> None:
        """Sets a recorded level; the same size again changes nothing (see `Engine`)."""
        ladder = self._sides[bid]
        if price not in ladder.levels and size == 0:
            return
        level = ladder.level(price)
        if level.recorded != size:
            level.recorded = level.displayed = size
            level.lower_ahead(size)
            self._touch(bid, price)
        ladder.drop_if_empty(price)

    def recorded(self) -> dict[tuple[bool, int], int]:
        """The sizes last given to `set_displayed`, by side and price, without the zeros."""
        return {
            (bid, price): level.recorded
            for bid, ladder in self._sides.items()
            for price, level in ladder.levels.items()
            if level.recorded
        }

    def _meeting(self, bid: bool, limit: int) -> Iterator[tuple[int, _Level]]:
        ladder = self._sides[not bid]
        for price in ladder.prices if bid else reversed(ladder.prices):
            if price > limit if bid else price < limit:
                return
            yield price, ladder.levels[price]

    def _sated(self, size: int | None, dollars: int | None, want: Want) -> bool:
        if size is not None and size < self.quantum:
            return True
        own = want.own_price(want.limit)
        return dollars is not None and dollars * ONE // own < self.quantum

    def _touch(self, bid: bool, price: int) -> None:
        self.touched.add((bid, price))
        self.version += 1

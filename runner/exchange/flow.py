"""Other people, made up: a seeded order flow around a wandering price, and a standing book.

`Flow` is zero-intelligence: a ladder of resting orders on both sides of a fair price, re-quoted
one after another in rounds, and now and then a taker. Everything but the ids of its resting
orders is a function of (seed, market, event number), so it needs no memory: after a restart it
lays its ladder at the fair price of that moment and goes on.

Invariants, by number (the property tests bear them):

1. The same seed and times give the same orders.
2. The fair price stays within `wander` of where it was set and moves by at most one tick a round.
3. Left alone, the book is two-sided after every event, never crossed, and its best prices are
   within `levels` + 1 ticks of the fair price. Why: an order rests for one round, so it stands
   at most one tick off its distance from the present fair price, and takers reach only
   `REACH_TICKS` of at least `REACH_TICKS` + 2 levels.

Prices and sizes are integers in millionths; an event's time is in whole microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from runner.exchange.engine import Engine
from runner.exchange.markets import LOT, ONE, MarketConfig, Side, TimeInForce

REACH_TICKS = 2
"""How far past the fair price a taker goes."""

TAKERS_PERCENT = 25
"""How many of a hundred events bring a taker besides the re-quote."""

_US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class FlowStyle:
    """What a flow looks like.

    Attributes:
        fair: first outcome's fair price at the middle of its wandering, on the tick.
        wander: farthest that the fair price gets from there.
        interval_us: mean time between two events, in microseconds.
        size_min, size_max: bounds of one order's size.
        levels: resting orders a side, one a tick.
    """

    fair: int
    wander: int = 50_000
    interval_us: int = 1_000_000
    size_min: int = 10 * ONE
    size_max: int = 120 * ONE
    levels: int = 6

    def check(self, tick: int) -> None:
        """Check that this style fits a market of this tick.

        Raises:
            ValueError: the ladder would leave the price range, the fair price is off the tick,
                there are too few levels, or the sizes or the interval make no sense.
        """
        outermost = self.wander + (self.levels + 1) * tick
        if self.fair % tick or not outermost < self.fair < ONE - outermost:
            raise ValueError(
                "fair_price must be on the tick, with room for wander and levels on both sides"
            )
        if self.levels < REACH_TICKS + 2:
            raise ValueError(f"levels must be at least {REACH_TICKS + 2}")
        if not LOT <= self.size_min <= self.size_max or self.interval_us < 1:
            raise ValueError("order sizes must ascend from a lot, and events need an interval")


class Flow:
    """Seeded order flow on one market; a trader for `Engine.add_traders`."""

    def __init__(
        self, market: MarketConfig, style: FlowStyle, seed: int, started_at: datetime
    ) -> None:
        """Trade on `market` in `style` from `started_at` (UTC) on.

        Raises:
            ValueError: the style doesn't fit the market; see `FlowStyle.check`.
        """
        style.check(market.tick)
        self._market = market
        self._style = style
        self._seed = seed
        self._started_at = started_at
        self._wander_ticks = style.wander // market.tick
        self._slots = style.levels * 2
        self._resting: dict[int, str] = {}
        self._next: int | None = None  # the next event's number; None before the ladder is laid

    def next_due(self) -> datetime | None:
        """When the next event is due."""
        return self._started_at if self._next is None else self._at(self._next)

    def act(self, engine: Engine) -> None:
        """Do every event that is due by the engine's clock.

        What was missed by more than a round (the exchange was away, the machine asleep) is gone:
        the ladder is laid afresh instead.
        """
        present = self._present(engine.now())
        if self._next is None or present - self._next >= self._slots:
            for old in self._resting.values():  # all of them first: the fair price may be far off
                engine.house_cancel(old)
            self._resting.clear()
            for number in range(present + 1 - self._slots, present + 1):
                self._quote(engine, number, self.fair(present))
        else:
            for number in range(self._next, present + 1):
                self._event(engine, number)
        self._next = present + 1

    def fair(self, number: int) -> int:
        """The fair price at event `number`: straight lines between seeded points."""
        stretch = max(1, 2 * self._wander_ticks)  # rounds between points: one tick a round at most
        point, step = divmod(number // self._slots, stretch)
        here, there = (
            self._random("fair", at).randint(-self._wander_ticks, self._wander_ticks)
            for at in (point, point + 1)
        )
        return self._style.fair + (here + (there - here) * step // stretch) * self._market.tick

    def _random(self, purpose: str, number: int) -> Random:
        # A seeded source is the point: the same scenario must give the same market again.
        return Random(f"{self._seed}/{self._market.condition_id}/{purpose}/{number}")  # noqa: S311

    def _at(self, number: int) -> datetime:
        interval = self._style.interval_us
        jitter = self._random("time", number).randrange(interval)
        return self._started_at + (number * interval + jitter) * _US

    def _present(self, now: datetime) -> int:
        """The number of the last event due by `now`; -1 before the first."""
        number = max(0, (now - self._started_at) // _US // self._style.interval_us)
        return number if self._at(number) <= now else number - 1

    def _event(self, engine: Engine, number: int) -> None:
        fair = self.fair(number)
        self._quote(engine, number, fair)
        chance = self._random("taker", number)
        if chance.randrange(100) < TAKERS_PERCENT:
            side: Side = "BUY" if chance.randrange(2) else "SELL"
            reach = REACH_TICKS * self._market.tick
            price = fair + reach if side == "BUY" else fair - reach
            _place(engine, self._market.condition_id, side, price, self._size(chance), "FAK")

    def _quote(self, engine: Engine, number: int, fair: int) -> None:
        """Replace one order of the ladder: sides alternate, from the inside out."""
        slot = number % self._slots
        old = self._resting.pop(slot, None)
        if old is not None:
            engine.house_cancel(old)  # False if it was filled: then there is nothing to replace
        distance = (slot // 2 + 1) * self._market.tick
        side: Side = "SELL" if slot % 2 else "BUY"
        price = fair + distance if side == "SELL" else fair - distance
        size = self._size(self._random("size", number))
        new = _place(engine, self._market.condition_id, side, price, size)
        if new is not None:
            self._resting[slot] = new

    def _size(self, chance: Random) -> int:
        return chance.randint(self._style.size_min // LOT, self._style.size_max // LOT) * LOT


class StandingBook:
    """A book of house orders laid once and left alone; a trader for `Engine.add_traders`.

    The engine forgets house orders when its process ends, so every start lays the whole book.
    """

    def __init__(
        self, condition_id: str, levels: Mapping[tuple[Side, int], int], started_at: datetime
    ) -> None:
        """Lay `levels`, size by (side, price) of the first outcome, at `started_at`."""
        self._condition_id = condition_id
        self._levels = levels
        self._due: datetime | None = started_at

    def next_due(self) -> datetime | None:
        """When the book is to be laid; None once it is."""
        return self._due

    def act(self, engine: Engine) -> None:
        """Lay the book."""
        if self._due is None or engine.now() < self._due:
            return
        self._due = None
        for (side, price), size in self._levels.items():
            _place(engine, self._condition_id, side, price, size)


def _place(
    engine: Engine,
    condition_id: str,
    side: Side,
    price: int,
    size: int,
    time_in_force: TimeInForce = "GTC",
) -> str | None:
    """Send an order at `price`, or at the next less eager one that the market's tick now allows.

    The tick can have changed since the scenario was written (reference 6.1). Where that leaves
    no price at all, nothing is sent.
    """
    tick = engine.listings[condition_id].market.tick
    price -= price % tick if side == "BUY" else -(-price % tick)
    if not tick <= price <= ONE - tick:
        return None
    return engine.house_order(condition_id, 0, side, price, size, time_in_force)

"""What a scenario has happen to its markets, and to the engine, at set times.

Invariants:
    1. Changes are made in the order of their times, each once while the exchange runs.
    2. An exchange that comes back makes only what still counts of the changes that were due by
       then: the last tick and the last state of each market, where they differ, and the last mode
       of trading.
    3. A resolved market stays resolved, and an event that somebody resolved by hand keeps its
       winner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from runner.exchange.engine import Engine
from runner.exchange.gate import TradingMode
from runner.exchange.listings import Listing
from runner.exchange.markets import MarketState


@dataclass(frozen=True, slots=True)
class TickChange:
    """A market's new tick."""

    condition_id: str
    tick: int


@dataclass(frozen=True, slots=True)
class StateChange:
    """A market's new state.

    `winner` is the index of the outcome that a resolved market pays; None: half a dollar each.
    `announced`: the change opens the market for the first time, and the market channel says so.
    """

    condition_id: str
    state: MarketState
    winner: int | None = None
    announced: bool = False


@dataclass(frozen=True, slots=True)
class Restart:
    """An engine restart: out of reach for so long, then post-only (reference 8.3)."""

    down_ms: int
    post_only_ms: int


@dataclass(frozen=True, slots=True)
class ModeChange:
    """Trading becomes normal, cancel-only or disabled (reference 3.9)."""

    mode: TradingMode


Change = TickChange | StateChange | Restart | ModeChange


@dataclass(frozen=True, slots=True)
class Planned:
    """A change, and when it is due: milliseconds after the exchange's state was first made."""

    at_ms: int
    change: Change


class Schedule:
    """Makes planned changes in time; a trader for `Engine.add_traders`."""

    def __init__(self, planned: Sequence[Planned], started_at: datetime) -> None:
        """Make `planned` happen, counted from `started_at` (UTC)."""
        self._planned = sorted(planned, key=lambda entry: entry.at_ms)
        self._started_at = started_at
        self._made = 0

    def next_due(self) -> datetime | None:
        """When the next change is due; None after the last."""
        if self._made == len(self._planned):
            return None
        return self._at(self._planned[self._made])

    def act(self, engine: Engine) -> None:
        """Make every change that is due by the engine's clock."""
        due = [p for p in self._planned[self._made :] if self._at(p) <= engine.now()]
        if self._made == 0:
            due = _what_counts(due)
        self._made = sum(self._at(planned) <= engine.now() for planned in self._planned)
        for planned in due:
            self._make(engine, planned)

    def _at(self, planned: Planned) -> datetime:
        return self._started_at + timedelta(milliseconds=planned.at_ms)

    def _make(self, engine: Engine, planned: Planned) -> None:
        match planned.change:
            case TickChange(condition_id, tick):
                if engine.listings[condition_id].market.tick != tick:
                    engine.set_tick(condition_id, tick)
            case StateChange(condition_id, state, winner, announced):
                listing = engine.listings[condition_id]
                if listing.state in {state, "resolved"}:
                    return
                if state == "resolved" and winner == 0 and _event_is_won(engine, listing):
                    return
                engine.set_state(condition_id, state, winner)
                if announced:
                    engine.feeds.new_market(listing, engine.now_ms())
            case ModeChange(mode):
                engine.gate.mode = mode
            case Restart(down_ms, post_only_ms):
                since = self._at(planned) - engine.now()
                ends_at = engine.now_ms() + since // timedelta(milliseconds=1) + down_ms
                engine.gate.down_until = ends_at
                engine.gate.post_only_until = ends_at + post_only_ms


def _event_is_won(engine: Engine, listing: Listing) -> bool:
    """Whether another market of the same neg-risk event has come to its first outcome."""
    event_id = listing.market.neg_risk_event_id
    return bool(event_id) and any(
        other.winner == 0 and other.market.neg_risk_event_id == event_id
        for other in engine.listings.values()
    )


def _what_counts(due: Sequence[Planned]) -> list[Planned]:
    """The last change of each kind to each market."""
    last: dict[object, Planned] = {}
    for planned in due:
        change = planned.change
        about = None if isinstance(change, Restart | ModeChange) else change.condition_id
        last[type(change), about] = planned
    return sorted(last.values(), key=lambda planned: planned.at_ms)

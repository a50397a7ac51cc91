"""What an exchange is populated with: markets, funded accounts, other people, faults, a schedule.

A `Scenario` is read from a file by `scenario.load`, and good for any number of exchanges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from runner.exchange.engine import Traders
from runner.exchange.faults import Fault
from runner.exchange.flow import Flow, FlowStyle, StandingBook
from runner.exchange.markets import MarketConfig, Side
from runner.exchange.recordings import Recording
from runner.exchange.replay import Pace, Replay
from runner.exchange.schedule import Planned, Schedule


@dataclass(frozen=True, slots=True)
class Funding:
    """What an account has at the start: millionths of dollars, and of shares by token id."""

    address: str
    cash: int
    tokens: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Standing:
    """A standing book: size by (side, price) of the first outcome."""

    levels: Mapping[tuple[Side, int], int]


@dataclass(frozen=True, slots=True)
class Played:
    """A recording, and how to play it."""

    recording: Recording
    speed: Fraction
    offset_us: int
    loop: bool


Others = Standing | FlowStyle | Played
"""Who else trades on a market."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to populate an exchange with.

    Attributes:
        seed: of everything that is left to chance.
        markets: as the engine lists them.
        others: who trades on which of the markets, by condition id.
        accounts: funded at the start.
        faults: in force from the start.
        schedule: what happens to the markets and the engine, and when.
        mined_ms, confirmed_ms: shortest and longest time from a trade's match to mined, and
            from mined to confirmed, in milliseconds.
    """

    seed: int
    markets: tuple[MarketConfig, ...]
    others: Mapping[str, Others]
    accounts: tuple[Funding, ...]
    faults: tuple[Fault, ...]
    schedule: tuple[Planned, ...]
    mined_ms: tuple[int, int]
    confirmed_ms: tuple[int, int]

    def traders(self, started_at: datetime) -> tuple[Traders, ...]:
        """The other people, fresh, for `Engine.add_traders`.

        Args:
            started_at: when this exchange's state was first made (UTC). Given the same again
                after a restart, flow and replay go on where they would have been.
        """
        people = (
            _trader(market, self.others[market.condition_id], self.seed, started_at)
            for market in self.markets
            if market.condition_id in self.others
        )
        planned = (Schedule(self.schedule, started_at),) if self.schedule else ()
        return (*planned, *people)  # a market that isn't open yet takes nobody's orders


def _trader(market: MarketConfig, others: Others, seed: int, started_at: datetime) -> Traders:
    match others:
        case Standing():
            return StandingBook(market.condition_id, others.levels, started_at)
        case FlowStyle():
            return Flow(market, others, seed, started_at)
        case Played():
            pace = Pace(started_at, others.speed, others.offset_us, others.loop)
            return Replay(market.condition_id, others.recording, pace)

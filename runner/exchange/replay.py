"""Other people, as recorded: replay of a real market's book and trades (`recordings`).

`Replay` is the trader which plays a recording to the exchange at a chosen speed, on the exchange's
own clock.

Invariants, by number (the property tests bear them, with those of `recordings`):

3. A level is set only when the recording changes it; what takers consumed of a level stays
   consumed until then.
4. The position follows from the start time alone. An exchange that comes back shows the book of
   that moment; prints of the time it was away are gone, as nobody could trade then.

How prints and levels fill resting orders is the engine's business (`Engine.recorded_print`,
`Engine.set_displayed`).

Sides are of the first outcome: BUY is a bid for it, or a taker that buys it. Prices and sizes
are integers in millionths, recorded time is integer microseconds from the recording's first line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from runner.exchange.engine import Engine
from runner.exchange.markets import Side
from runner.exchange.recordings import Event, LevelChange, Print, Recording, Snapshot


@dataclass(frozen=True, slots=True)
class Pace:
    """How recorded time maps onto the exchange's clock.

    Attributes:
        started_at: when the replay began (UTC); stored by the exchange, so that it survives.
        speed: recorded seconds in one second of the exchange's clock.
        offset_us: where in the recording it began, in microseconds.
        loop: begin again at the end, or stop there with the last book standing.
    """

    started_at: datetime
    speed: Fraction
    offset_us: int = 0
    loop: bool = False

    def elapsed_us(self, now: datetime) -> int:
        """Recorded microseconds that have passed at `now`, the offset included."""
        passed = (now - self.started_at) // timedelta(microseconds=1)
        return self.offset_us + int(passed * self.speed // 1)

    def due(self, elapsed_us: int) -> datetime:
        """The earliest moment at which `elapsed_us` of the recording have passed."""
        wait = -int((self.offset_us - elapsed_us) / self.speed // 1)
        return self.started_at + timedelta(microseconds=wait)


class Replay:
    """Plays a recording to one market of the exchange; a trader for `Engine.add_traders`."""

    def __init__(self, market: str, recording: Recording, pace: Pace) -> None:
        """Replay `recording` on `market` (a condition id) as `pace` says.

        Raises:
            ValueError: a recording without length can't loop, nor can one run backwards.
        """
        if pace.speed <= 0 or (pace.loop and recording.length_us == 0):
            raise ValueError(f"can't play {recording.length_us} us at speed {pace.speed}")
        self._market = market
        self._recording = recording
        self._pace = pace
        self._shown: dict[tuple[Side, int], int] = {}
        self._played: int | None = None  # events played, counted over all rounds; None: not begun

    def next_due(self) -> datetime | None:
        """When the next event is due; None once the recording has ended."""
        if self._played is None:
            return self._pace.started_at
        if self._ended(self._played):
            return None
        return self._pace.due(self._at_us(self._played))

    def act(self, engine: Engine) -> None:
        """Play everything that is due by the exchange's clock, in order."""
        elapsed = self._pace.elapsed_us(engine.now())
        if self._played is None:
            self._begin(engine, elapsed)
            return
        while not self._ended(self._played) and self._at_us(self._played) <= elapsed:
            event = self._recording.events[self._played % len(self._recording.events)].event
            self._played += 1
            if isinstance(event, Print):
                engine.recorded_print(
                    self._market, event.side, event.price, event.size, inferred=event.inferred
                )
            else:
                self._show(engine, _applied(self._shown, event))

    def _begin(self, engine: Engine, elapsed_us: int) -> None:
        """Show the book of this moment, whatever was missed (invariant 4)."""
        played = 0
        levels: Mapping[tuple[Side, int], int] = {}
        events = self._recording.events
        if self._pace.loop:  # whole rounds leave nothing behind: each begins with a snapshot
            played = elapsed_us // self._recording.length_us * len(events)
        while not self._ended(played) and self._at_us(played) <= elapsed_us:
            levels = _applied(levels, events[played % len(events)].event)
            played += 1
        self._show(engine, levels)
        self._played = played

    def _ended(self, played: int) -> bool:
        return not self._pace.loop and played >= len(self._recording.events)

    def _at_us(self, played: int) -> int:
        round_number, index = divmod(played, len(self._recording.events))
        return round_number * self._recording.length_us + self._recording.events[index].at_us

    def _show(self, engine: Engine, levels: Mapping[tuple[Side, int], int]) -> None:
        """Tell the exchange the levels that the recording changed, and only those (invariant 3)."""
        gone = {key: 0 for key in self._shown if key not in levels}
        changed = [
            (size, side, price)
            for (side, price), size in {**gone, **levels}.items()
            if self._shown.get((side, price), 0) != size
        ]
        for size, side, price in sorted(changed):  # removals first: never crossed on the way
            engine.set_displayed(self._market, side, price, size)
        self._shown = {key: size for key, size in levels.items() if size}


def _applied(
    levels: Mapping[tuple[Side, int], int], event: Event
) -> Mapping[tuple[Side, int], int]:
    match event:
        case Snapshot():
            return event.levels
        case LevelChange():
            return {**levels, (event.side, event.price): event.size}
        case Print():
            return levels

"""Other people, as recorded: replay of a real market's book and trades.

Two parts. `read_recording` is pure: it turns raw market-channel lines into timed events on the
first outcome's book. `Replay` is the trader which plays those events to the exchange at a chosen
speed, on the exchange's own clock.

Invariants, by number (the property tests bear them):

1. Every event is on the first outcome's book: a print of the second outcome at p is the opposite
   side at 1 - p.
2. A print comes before the book frame that shows its effect. The venue publishes the frame first,
   some 30 ms earlier, so in recorded order one trade would shorten a queue twice.
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

import gzip
import json
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from runner.exchange.engine import Engine
from runner.exchange.markets import ONE, Side, millionths

FRAME_LEAD_US = 150_000
"""A book frame leads its own print by at most this (20 to 104 ms in the shipped recording)."""


class RecordingError(ValueError):
    """A recording that can't be read: the message names the line and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole displayed book, as {(side, price): size}; a level that isn't named is empty."""

    levels: Mapping[tuple[Side, int], int]


@dataclass(frozen=True, slots=True)
class LevelChange:
    """The new absolute size of one displayed level; 0 removes it."""

    side: Side
    price: int
    size: int


@dataclass(frozen=True, slots=True)
class Print:
    """One recorded trade; `side` is the taker's."""

    side: Side
    price: int
    size: int


Event = Snapshot | LevelChange | Print


@dataclass(frozen=True, slots=True)
class Timed:
    """An event and when it happened, in microseconds from the recording's first line."""

    at_us: int
    event: Event


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded market: its events in the order to play them, and its length in microseconds."""

    events: tuple[Timed, ...]
    length_us: int


def read_recording(lines: Iterable[str], first_token: str, second_token: str) -> Recording:
    """Read market-channel lines (`{"recv_ms", "frame"}`) of one market.

    Args:
        lines: JSON lines, sorted by `recv_ms`.
        first_token: the outcome whose book is played.
        second_token: the other outcome; its prints and price changes are mirrored, its book
            frames are skipped (they mirror the first's).

    Raises:
        RecordingError: a line isn't readable, is of another market, is out of order, or holds a
            number finer than a millionth; or there is no book frame.
    """
    tokens = {first_token: False, second_token: True}
    events: list[Timed] = []
    start_ms: int | None = None
    at_us = 0
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            recv_ms = int(record["recv_ms"])
            start_ms = recv_ms if start_ms is None else start_ms
            if (recv_ms - start_ms) * 1000 < at_us:
                raise RecordingError(f"recv_ms {recv_ms} is before the line above")
            at_us = (recv_ms - start_ms) * 1000
            events.extend(Timed(at_us, event) for event in _events(record["frame"], tokens))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RecordingError(f"line {number}: {error!r}") from error
    if not any(isinstance(timed.event, Snapshot) for timed in events):
        raise RecordingError("no book frame of the first outcome")
    ordered = tuple(_prints_before_their_books(events))
    return Recording(ordered, at_us)


def load_recording(path: Path, first_token: str, second_token: str) -> Recording:
    """Read a gzipped recording from `path`; see `read_recording` for arguments and errors.

    Raises:
        RecordingError: also where the file is missing, cut short or no gzip of UTF-8 text.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return read_recording(lines, first_token, second_token)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RecordingError(f"{path}: {error}") from error


def _events(frame: Mapping[str, Any], tokens: Mapping[str, bool]) -> Iterator[Event]:
    kind = frame["event_type"]
    if kind == "book":
        if not tokens[frame["asset_id"]]:
            yield Snapshot(_levels(frame))
    elif kind == "last_trade_price":
        side, price = _on_first(frame, mirrored=tokens[frame["asset_id"]])
        yield Print(side, price, _unsigned(frame["size"]))
    elif kind == "price_change":
        for change in frame["price_changes"]:
            side, price = _on_first(change, mirrored=tokens[change["asset_id"]])
            yield LevelChange(side, price, _unsigned(change["size"]))
    elif kind != "tick_size_change":  # the market's tick belongs to the scenario
        raise RecordingError(f"unknown event_type {kind!r}")


def _levels(frame: Mapping[str, Any]) -> dict[tuple[Side, int], int]:
    sides: tuple[tuple[Side, str], ...] = (("BUY", "bids"), ("SELL", "asks"))
    return {
        (side, _unsigned(level["price"])): _unsigned(level["size"])
        for side, name in sides
        for level in frame[name]
    }


def _on_first(entry: Mapping[str, Any], *, mirrored: bool) -> tuple[Side, int]:
    """Side and price of an entry on the first outcome's book (invariant 1)."""
    side, price = entry["side"], _unsigned(entry["price"])
    if side not in {"BUY", "SELL"} or not 0 < price < ONE:
        raise RecordingError(f"no such side and price: {side!r} at {entry['price']!r}")
    buys: bool = (side == "BUY") is not mirrored
    return "BUY" if buys else "SELL", ONE - price if mirrored else price


def _unsigned(text: str) -> int:
    """Exact millionths of a recorded price or size, which is never negative."""
    value = millionths(text)
    if value < 0:
        raise RecordingError(f"negative: {text!r}")
    return value


def _prints_before_their_books(events: Iterable[Timed]) -> list[Timed]:
    """Move each print in front of the book frame which already shows it (invariant 2).

    A print belongs to the earliest snapshot not older than `FRAME_LEAD_US` that has none yet; one
    without such a snapshot stays where it is.
    """
    played: list[list[Timed]] = []
    unpaired: deque[tuple[int, list[Timed]]] = deque()
    for timed in events:
        while unpaired and timed.at_us - unpaired[0][0] > FRAME_LEAD_US:
            unpaired.popleft()
        if isinstance(timed.event, Print) and unpaired:
            shown_at, slot = unpaired.popleft()
            slot.insert(0, Timed(shown_at, timed.event))
            continue
        slot = [timed]
        played.append(slot)
        if isinstance(timed.event, Snapshot):
            unpaired.append((timed.at_us, slot))
    return [timed for slot in played for timed in slot]


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
                engine.recorded_print(self._market, event.side, event.price, event.size)
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

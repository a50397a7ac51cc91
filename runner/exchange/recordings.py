"""Recorded markets: reading them into timed events on the first outcome's book.

Two formats are read, plain or gzipped (data/README.md): raw frames of the market channel, one a
line, as `pmrun record` writes them; and whole books about once a second and side, after a line of
their own that describes the market.

Invariants, by number (the property tests bear them; `replay` has the next two):

1. Every event is on the first outcome's book: a print of the second outcome at p is the opposite
   side at 1 - p.
2. A print comes before the book frame that shows its effect. The venue publishes the frame first,
   some 30 ms earlier, so in recorded order one trade would shorten a queue twice.
5. Books without trades say nothing of who was filled, so it is inferred, and only from what newly
   stands across the spread: whoever rested there at or beyond that price would have met it.

Prices and sizes are integers in millionths, time is integer microseconds from the first line.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from runner.exchange.markets import ONE, Side, millionths

FRAME_LEAD_US = 150_000
"""A book frame leads its own print by at most this (20 to 104 ms in the shipped recording)."""


_NOT_OF_THE_BOOK = frozenset({"tick_size_change", "best_bid_ask", "new_market", "market_resolved"})


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
    """One recorded trade; `side` is the taker's.

    An `inferred` one was not recorded: it is what newly stood across the spread (invariant 5).
    It fills account orders only, and tells nobody but them.
    """

    side: Side
    price: int
    size: int
    inferred: bool = False


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
    """Read one market's part of a recording, in either format.

    Args:
        lines: JSON lines, sorted by time: frames (`{"recv_ms", "frame"}`), or a line with `meta`
            and then books (`{"ts", "side", "bids", "asks"}`), whose `UP` is the first outcome.
        first_token: the outcome whose book is played.
        second_token: the other outcome; its prints and price changes are mirrored, its books
            are skipped (they mirror the first's).

    Frames of other markets are skipped, and what isn't of the book: ticks (they belong to the
    scenario) and the optional features.

    Raises:
        RecordingError: a line isn't readable, is out of order, or holds a number finer than a
            millionth; or there is no book of the first outcome.
    """
    remaining = iter(lines)
    first = list(islice(remaining, 1))
    if first and first[0].startswith('{"meta"'):
        return _read(remaining, "ts", _Snapshots().events, numbered_from=2)
    tokens = {first_token: False, second_token: True}
    recording = _read(
        chain(first, remaining), "recv_ms", lambda record: _events(record["frame"], tokens)
    )
    return Recording(tuple(_prints_before_their_books(recording.events)), recording.length_us)


def _read(
    lines: Iterable[str],
    time_key: str,
    events_of: Callable[[Mapping[str, Any]], Iterator[Event]],
    numbered_from: int = 1,
) -> Recording:
    events: list[Timed] = []
    start_ms: int | None = None
    at_us = 0
    for number, line in enumerate(lines, numbered_from):
        try:
            record = json.loads(line)
            time_ms = int(record[time_key])
            start_ms = time_ms if start_ms is None else start_ms
            if (time_ms - start_ms) * 1000 < at_us:
                raise RecordingError(f"{time_key} {time_ms} is before the line above")
            at_us = (time_ms - start_ms) * 1000
            events.extend(Timed(at_us, event) for event in events_of(record))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RecordingError(f"line {number}: {error!r}") from error
    if not any(isinstance(timed.event, Snapshot) for timed in events):
        raise RecordingError("no book of the first outcome")
    return Recording(tuple(events), at_us)


def load_recording(path: Path, first_token: str, second_token: str) -> Recording:
    """Read a recording, gzipped or plain, from `path`; see `read_recording`.

    Raises:
        RecordingError: also where the file is missing, cut short or no UTF-8 text.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            with io.TextIOWrapper(stream, encoding="utf-8") as lines:
                return read_recording(lines, first_token, second_token)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise RecordingError(f"{path}: {error}") from error


class _Snapshots:
    """Whole books of both outcomes, one after the other."""

    def __init__(self) -> None:
        self._best: dict[Side, int] = {}

    def events(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The first outcome's book, and what in it newly stands across the spread.

        A crossed book is skipped: it is a moment in which the recorder had only half of a change.
        """
        if record["side"] not in {"UP", "DOWN"}:
            raise RecordingError(f"no such side: {record['side']!r}")
        sides: tuple[tuple[Side, str], ...] = (("BUY", "bids"), ("SELL", "asks"))
        levels = {
            (side, _unsigned(price)): _unsigned(size)
            for side, name in sides
            for price, size in record[name]
        }
        if record["side"] == "DOWN":
            return
        bids = [price for side, price in levels if side == "BUY"]
        asks = [price for side, price in levels if side == "SELL"]
        if bids and asks and max(bids) >= min(asks):
            return
        yield Snapshot(levels)
        for (side, price), size in levels.items():
            best = self._best.get(side)
            if best is not None and (price > best if side == "BUY" else price < best):
                yield Print(side, price, size, inferred=True)
        self._best = {"BUY": max(bids, default=0), "SELL": min(asks, default=ONE)}


def _events(frame: Mapping[str, Any], tokens: Mapping[str, bool]) -> Iterator[Event]:
    kind = frame["event_type"]
    if kind == "book":
        if tokens.get(frame["asset_id"]) is False:
            yield Snapshot(_levels(frame))
    elif kind == "last_trade_price":
        if frame["asset_id"] in tokens:
            side, price = _on_first(frame, mirrored=tokens[frame["asset_id"]])
            yield Print(side, price, _unsigned(frame["size"]))
    elif kind == "price_change":
        for change in frame["price_changes"]:
            if change["asset_id"] in tokens:
                side, price = _on_first(change, mirrored=tokens[change["asset_id"]])
                yield LevelChange(side, price, _unsigned(change["size"]))
    elif kind not in _NOT_OF_THE_BOOK:
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

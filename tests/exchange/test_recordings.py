"""Every recorded file there is, replayed: books as recorded, fills by the queue (`recordings`)."""

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from runner.exchange.api import Exchange
from runner.exchange.markets import MarketConfig, Side
from runner.exchange.recordings import (
    Event,
    Print,
    RecordingError,
    Snapshot,
    load_recording,
    read_recording,
)
from runner.exchange.replay import Pace, Replay
from runner.exchange.scenario import DATA
from runner.exchange.settlement import CHAIN_DELAYS
from tests.exchange.kit import START, Clock, Trader, cents, shares

FIRST, SECOND = "101", "102"
MARKET = MarketConfig(
    "recorded", "?", "recorded", "0x" + "cc" * 32, (FIRST, SECOND), ("Up", "Down")
)
SHARED = Path(__file__).parents[3] / "shared" / "data"
SNAPSHOTS = DATA / "btc-updown-15m-1790600400.jsonl.gz"
META = json.dumps({"meta": {"slug": "recorded"}})

Book = dict[str, str]


def up(ts: int, bids: Book, asks: Book, side: str = "UP") -> str:
    levels = {"bids": list(bids.items()), "asks": list(asks.items())}
    return json.dumps({"ts": ts, "side": side, **levels})


def events(*lines: str) -> list[Event]:
    return [timed.event for timed in read_recording((META, *lines), FIRST, SECOND).events]


class TestReading:
    def test_5_only_what_newly_stands_across_the_spread_is_inferred(self) -> None:
        found = events(
            up(0, {"0.48": "5", "0.49": "7"}, {"0.51": "9", "0.52": "3"}),
            up(1000, {"0.48": "5", "0.49": "2"}, {"0.50": "4", "0.51": "9"}),
            up(2000, {"0.47": "6"}, {"0.48": "1", "0.50": "4"}),
            up(3000, {"0.47": "6"}, {"0.48": "8"}),
            up(4000, {"0.52": "2", "0.51": "1"}, {"0.53": "5"}),
        )
        prints = [event for event in found if isinstance(event, Print)]
        assert [(p.side, p.price, p.size, p.inferred) for p in prints] == [
            ("SELL", cents(50), shares("4"), True),
            ("SELL", cents(48), shares("1"), True),
            ("BUY", cents(52), shares("2"), True),
            ("BUY", cents(51), shares("1"), True),
        ]
        assert sum(isinstance(event, Snapshot) for event in found) == 5

    def test_the_second_outcomes_books_and_crossed_ones_are_skipped(self) -> None:
        found = events(
            up(0, {"0.40": "5"}, {"0.60": "5"}),
            up(0, {"0.30": "5"}, {"0.60": "5"}, side="DOWN"),
            up(1000, {"0.61": "5"}, {"0.60": "5"}),
            up(2000, {"0.60": "5"}, {"0.60": "5"}),
        )
        assert found == [
            Snapshot({("BUY", cents(40)): shares("5"), ("SELL", cents(60)): shares("5")})
        ]

    @pytest.mark.parametrize(
        ("lines", "says"),
        [
            ((up(5, {}, {}), up(4, {}, {})), "line 3.*before the line above"),
            ((up(5, {}, {}, side="LEFT"),), "line 2.*LEFT"),
            (("{}",), "line 2.*ts"),
            ((up(5, {"0.5": "-1"}, {}),), "line 2.*negative"),
            ((), "no book"),
        ],
    )
    def test_a_bad_line_is_named(self, lines: tuple[str, ...], says: str) -> None:
        with pytest.raises(RecordingError, match=says):
            events(*lines)

    def test_plain_files_are_read_like_packed_ones(self, tmp_path: Path) -> None:
        plain = tmp_path / "plain.jsonl"
        plain.write_bytes(gzip.decompress(SNAPSHOTS.read_bytes()))
        assert load_recording(plain, FIRST, SECOND) == load_recording(SNAPSHOTS, FIRST, SECOND)


class Hall:
    """A recording playing on an exchange, stepped from one due moment to the next."""

    def __init__(self, path_or_lines: Path | tuple[str, ...], speed: int = 1) -> None:
        if isinstance(path_or_lines, Path):
            first, second = self.tokens = tokens_of(path_or_lines)
            self.recording = load_recording(path_or_lines, first, second)
        else:
            self.tokens = (FIRST, SECOND)
            self.recording = read_recording((META, *path_or_lines), FIRST, SECOND)
        market = MarketConfig("r", "?", "r", MARKET.condition_id, self.tokens, ("Up", "Down"))
        self.clock = Clock()
        self.exchange = Exchange(None, self.clock, 7, [market], CHAIN_DELAYS)
        pace = Pace(START, Fraction(speed))
        self.exchange.add_traders(Replay(market.condition_id, self.recording, pace))
        self.exchange.advance()

    def play(self, until_s: float | None = None) -> None:
        while (due := self.exchange.next_due()) is not None:
            if until_s is not None and due > START + timedelta(seconds=until_s):
                break
            self.clock.now = due
            self.exchange.advance()
        if until_s is not None:
            self.clock.now = START + timedelta(seconds=until_s)

    def shown(self) -> dict[tuple[Side, int], int]:
        return self.exchange.displayed(MARKET.condition_id)

    def last_recorded(self) -> dict[tuple[Side, int], int]:
        books = [timed.event for timed in self.recording.events]
        last = [event for event in books if isinstance(event, Snapshot)][-1]
        return {key: size for key, size in last.levels.items() if size}


def tokens_of(path: Path) -> tuple[str, str]:
    """The two tokens in a recording of frames; made-up ones for a recording of books."""
    with gzip.open(path, "rt") as lines:
        records = [json.loads(line) for line in lines]
    if "meta" in records[0]:
        return FIRST, SECOND
    first = str(next(r["frame"] for r in records if r["frame"]["event_type"] == "book")["asset_id"])
    assets = {str(r["frame"].get("asset_id", first)) for r in records}
    return first, next(iter(assets - {first}))


def every_file() -> Iterator[Any]:
    yield pytest.param(SNAPSHOTS, id="shipped-books")
    yield pytest.param(DATA / "btc-updown-15m-1761786000.jsonl.gz", id="shipped-frames")
    found = sorted([*SHARED.glob("market/*.gz"), *SHARED.glob("l2/*.gz")])
    if not found:
        reason = "the other recordings are not part of the project"
        yield pytest.param(None, id="shared", marks=pytest.mark.skip(reason=reason))
    yield from (pytest.param(path, id=path.stem) for path in found)


@pytest.mark.parametrize("path", tuple(every_file()))
def test_every_recording_ends_with_its_last_book_shown_and_is_the_same_at_1000x(
    path: Path,
) -> None:
    fast = Hall(path, speed=1000)
    fast.play()
    assert fast.shown() == fast.last_recorded()
    length = timedelta(microseconds=fast.recording.length_us)
    assert abs(fast.clock.now - START - length / 1000) <= timedelta(milliseconds=1)


def test_the_shipped_books_at_any_speed_show_the_same_at_the_same_place() -> None:
    slow, fast = Hall(SNAPSHOTS), Hall(SNAPSHOTS, speed=1000)
    for seconds in (100, 400, 700):
        slow.play(seconds)
        fast.play(seconds / 1000)
        assert slow.shown() == fast.shown() != {}


class TestFillsFromBooks:
    """The queue-position model where no trades were recorded."""

    def fill(self, *lines: str, price: int, size: str = "10", side: Side = "BUY") -> str:
        """What of an order placed at the first book has matched at the end."""
        hall = Hall(lines)
        ann = Trader(hall.exchange, 1, **{f"t{FIRST}": "100"})
        order_id = ann.place(FIRST, side, price, shares(size))["orderID"]
        hall.play(len(lines) * 2)
        return str(ann.order(order_id)["size_matched"])

    def test_a_flickering_level_fills_nothing(self) -> None:
        full, empty = {"0.49": "50", "0.48": "5"}, {"0.48": "5"}
        asks = {"0.51": "50"}
        lines = [up(1000 * n, empty if n % 2 else full, asks) for n in range(8)]
        assert self.fill(*lines, price=cents(49)) == "0"

    def test_an_ask_at_its_price_meets_it_as_far_as_it_goes(self) -> None:
        lines = (up(0, {"0.49": "50"}, {"0.51": "50"}), up(1000, {"0.48": "5"}, {"0.49": "4"}))
        assert self.fill(*lines, price=cents(49)) == "4"

    def test_an_ask_that_stays_meets_it_once(self) -> None:
        after = [up(1000 * n, {"0.48": "5"}, {"0.49": "4"}) for n in range(1, 5)]
        assert self.fill(up(0, {"0.49": "50"}, {"0.51": "50"}), *after, price=cents(49)) == "4"

    def test_inside_the_spread_it_is_met_first(self) -> None:
        lines = (up(0, {"0.45": "50"}, {"0.55": "50"}), up(1000, {"0.45": "50"}, {"0.50": "4"}))
        assert self.fill(*lines, price=cents(52)) == "4"
        assert self.fill(*lines, price=cents(49)) == "0"

    def test_sells_are_the_mirror(self) -> None:
        lines = (up(0, {"0.49": "50"}, {"0.51": "50"}), up(1000, {"0.51": "6"}, {"0.52": "5"}))
        assert self.fill(*lines, price=cents(51), side="SELL") == "6"

    def test_only_what_was_filled_is_told_as_a_trade(self) -> None:
        hall = Hall((up(0, {"0.49": "50"}, {"0.51": "9"}), up(1000, {"0.45": "5"}, {"0.47": "40"})))
        ann = Trader(hall.exchange, 1)
        ann.place(FIRST, "BUY", cents(48), shares("10"))
        session = hall.exchange.connect("/ws/market")
        session.receive(json.dumps({"type": "market", "assets_ids": [FIRST]}))
        session.outgoing.clear()
        hall.play(2)
        frames = [json.loads(text) for text in session.outgoing]
        trades = [f for f in frames if f["event_type"] == "last_trade_price"]
        assert [(f["price"], f["size"], f["side"]) for f in trades] == [("0.48", "10", "SELL")]

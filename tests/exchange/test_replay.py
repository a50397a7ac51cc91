"""Replay of recorded markets. The numbers in test names are the invariants of `replay.py`."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.exchange.replay import (
    LevelChange,
    Pace,
    Print,
    Recording,
    RecordingError,
    Snapshot,
    load_recording,
    read_recording,
)

UP = "83183308674131023197302415258788997759161749822734524473545155235350145282641"
DOWN = "41962797971457692471944227875529019000673384934005887575219956926514413062682"
SHIPPED = Path(str(files("runner.exchange") / "data" / "btc-updown-15m-1761786000.jsonl.gz"))
START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def line(ms: int, **frame: object) -> str:
    return json.dumps({"recv_ms": ms, "src_index": None, "frame": frame})


def book(ms: int, bids: dict[str, str], asks: dict[str, str], token: str = UP) -> str:
    def side(levels: dict[str, str]) -> list[dict[str, str]]:
        return [{"price": price, "size": size} for price, size in levels.items()]

    return line(ms, event_type="book", asset_id=token, bids=side(bids), asks=side(asks))


def trade(ms: int, side: str, price: str, size: str, token: str = UP) -> str:
    return line(
        ms, event_type="last_trade_price", asset_id=token, side=side, price=price, size=size
    )


def read(*lines: str) -> Recording:
    return read_recording(lines, UP, DOWN)


def events(recording: Recording) -> list[Snapshot | LevelChange | Print]:
    return [timed.event for timed in recording.events]


@pytest.fixture(scope="module")
def shipped() -> Recording:
    return load_recording(SHIPPED, UP, DOWN)


class TestReading:
    def test_the_shipped_recording_has_what_its_credit_says(self, shipped: Recording) -> None:
        kinds = Counter(type(event).__name__ for event in events(shipped))
        assert kinds == {"Snapshot": 597, "Print": 594, "LevelChange": 69}
        assert 867_000_000 < shipped.length_us < 869_000_000
        assert all(
            earlier.at_us <= later.at_us
            for earlier, later in zip(shipped.events, shipped.events[1:], strict=False)
        )

    def test_2_every_shipped_print_stands_right_before_a_book_of_its_own(
        self, shipped: Recording
    ) -> None:
        beyond = 0
        for timed, after in zip(shipped.events, shipped.events[1:], strict=False):
            if not isinstance(timed.event, Print):
                continue
            assert isinstance(after.event, Snapshot)
            assert after.at_us == timed.at_us
            resting, sign = ("SELL", 1) if timed.event.side == "BUY" else ("BUY", -1)
            beyond += any(
                side == resting and sign * price < sign * timed.event.price
                for side, price in after.event.levels
            )
        # the book after a trade has nothing left that the taker would have met first
        assert beyond == 2  # of 594

    @given(st.sampled_from(["BUY", "SELL"]), st.integers(1, 999), st.integers(1, 10**9).map(str))
    def test_1_a_print_of_the_second_outcome_is_its_mirror(
        self, side: str, thousandths: int, size: str
    ) -> None:
        price = f"0.{thousandths:03}"
        mirror = f"0.{1000 - thousandths:03}"
        opposite = "SELL" if side == "BUY" else "BUY"
        of_second = read(book(0, {}, {}), trade(500, side, price, size, DOWN))
        of_first = read(book(0, {}, {}), trade(500, opposite, mirror, size, UP))
        assert of_second == of_first

    def test_1_price_changes_are_mirrored_and_the_second_book_is_skipped(self) -> None:
        change = {"asset_id": DOWN, "side": "BUY", "price": "0.3", "size": "12.5"}
        recording = read(
            book(0, {"0.5": "10"}, {}),
            book(1, {"0.4": "99"}, {}, token=DOWN),
            line(2, event_type="price_change", price_changes=[change]),
        )
        assert events(recording) == [
            Snapshot({("BUY", 500_000): 10_000_000}),
            LevelChange("SELL", 700_000, 12_500_000),
        ]

    def test_2_a_print_is_moved_before_the_book_that_shows_it(self) -> None:
        recording = read(
            book(0, {"0.5": "30"}, {}),
            book(1000, {"0.5": "20"}, {}),
            book(1010, {"0.5": "15"}, {}),
            trade(1030, "SELL", "0.5", "10"),
            trade(1041, "SELL", "0.5", "5"),
            trade(3000, "SELL", "0.5", "1"),
        )
        assert [(timed.at_us, type(timed.event)) for timed in recording.events] == [
            (0, Snapshot),
            (1_000_000, Print),
            (1_000_000, Snapshot),
            (1_010_000, Print),
            (1_010_000, Snapshot),
            (3_000_000, Print),  # no book within the lead: stays
        ]

    @pytest.mark.parametrize(
        ("lines", "says"),
        [
            (["{"], "line 1"),
            ([book(5, {}, {}), trade(4, "BUY", "0.5", "1")], "line 2.*before the line above"),
            ([book(0, {}, {}, token="77")], "line 1.*77"),
            ([book(0, {"0.5": "0.0000001"}, {})], "line 1.*six places"),
            ([book(0, {"0.5": "NaN"}, {})], "line 1.*NaN"),
            ([line(0, event_type="book", asset_id=UP)], "line 1.*bids"),
            ([book(0, {"0.5": "-1"}, {})], "line 1.*negative"),
            ([book(0, {}, {}), trade(1, "HOLD", "0.5", "1")], "line 2.*HOLD"),
            ([book(0, {}, {}), trade(1, "BUY", "1.5", "1")], "line 2.*1.5"),
            ([line(0, event_type="gossip")], "line 1.*gossip"),
            ([trade(0, "BUY", "0.5", "1")], "no book frame"),
            ([], "no book frame"),
        ],
    )
    def test_a_bad_recording_is_refused_with_its_line(self, lines: list[str], says: str) -> None:
        with pytest.raises(RecordingError, match=says):
            read(*lines)

    def test_a_file_that_is_no_recording_is_refused(self, tmp_path: Path) -> None:
        cut = tmp_path / "cut.jsonl.gz"
        cut.write_bytes(SHIPPED.read_bytes()[:5000])
        text = tmp_path / "text.jsonl.gz"
        text.write_text("hello")
        for path in (cut, text, tmp_path / "missing.gz"):
            with pytest.raises(RecordingError, match=path.name):
                load_recording(path, UP, DOWN)


class TestPace:
    @given(
        st.fractions(Fraction(1, 50), Fraction(500)),
        st.integers(0, 10**9),
        st.integers(0, 10**10),
    )
    def test_an_event_is_due_at_the_first_microsecond_that_reaches_it(
        self, speed: Fraction, offset_us: int, at_us: int
    ) -> None:
        pace = Pace(START, speed, offset_us)
        due = pace.due(at_us)
        assert pace.elapsed_us(due) >= at_us
        assert pace.elapsed_us(due - timedelta(microseconds=1)) < at_us

    def test_speed_seven_plays_868_seconds_in_124(self) -> None:
        assert Pace(START, Fraction(7)).due(868_000_000) == START + timedelta(seconds=124)

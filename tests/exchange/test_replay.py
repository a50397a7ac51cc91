"""Replay of recorded markets. The numbers in test names are the invariants of `recordings.py` and
`replay.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.exchange.engine import Engine
from runner.exchange.markets import ONE, MarketConfig, Side, TimeInForce
from runner.exchange.recordings import (
    Event,
    LevelChange,
    Print,
    Recording,
    RecordingError,
    Snapshot,
    Timed,
    load_recording,
    read_recording,
)
from runner.exchange.records import Order
from runner.exchange.replay import Pace, Replay

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
            ([book(0, {}, {}, token="77")], "no book"),
            ([book(0, {"0.5": "0.0000001"}, {})], "line 1.*six places"),
            ([book(0, {"0.5": "NaN"}, {})], "line 1.*NaN"),
            ([line(0, event_type="book", asset_id=UP)], "line 1.*bids"),
            ([book(0, {"0.5": "-1"}, {})], "line 1.*negative"),
            ([book(0, {}, {}), trade(1, "HOLD", "0.5", "1")], "line 2.*HOLD"),
            ([book(0, {}, {}), trade(1, "BUY", "1.5", "1")], "line 2.*1.5"),
            ([line(0, event_type="gossip")], "line 1.*gossip"),
            ([trade(0, "BUY", "0.5", "1")], "no book"),
            ([], "no book"),
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


CONDITION = "0x" + "ab" * 32
HOLDER = "0x" + "00" * 19 + "aA"
MARKET = MarketConfig("up-or-down", "Up?", "up-or-down", CONDITION, (UP, DOWN), ("Up", "Down"))


@dataclass
class Floor:
    """An engine that a recording is played to, with one well-funded account on it."""

    recording: Recording
    path: Path | None = None
    now: datetime = START
    loop: bool = False
    speed: Fraction = Fraction(1)
    engine: Engine = field(init=False)
    replay: Replay = field(init=False)
    orders: list[Order] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open()
        self.engine.fund(HOLDER, 10**12, {UP: 10**12, DOWN: 10**12})
        self.engine.advance()

    def open(self) -> None:
        self.engine = Engine(self.path, lambda: self.now, 1, [MARKET])
        pace = Pace(START, self.speed, loop=self.loop)
        self.replay = Replay(CONDITION, self.recording, pace)
        self.engine.add_traders(self.replay)
        self.engine.advance()

    def step(self, seconds: int = 1) -> None:
        """Let the recording go on, one due moment after the other as a driver does."""
        until = self.now + timedelta(seconds=seconds)
        while (due := self.engine.next_due()) is not None and due <= until:
            self.now = max(due, self.now)
            self.engine.advance()
        self.now = until

    def order(
        self,
        side: Side,
        price: int,
        size: int,
        time_in_force: TimeInForce = "GTC",
        outcome: int = 0,
    ) -> Order:
        """An order of the account; `side` and `price` are of the first outcome's book."""
        if outcome == 1:
            side, price = ("SELL" if side == "BUY" else "BUY"), ONE - price
        order = Order(
            order_id=f"0x{len(self.orders):064x}",
            owner="key",
            maker=HOLDER,
            signer=HOLDER,
            condition_id=CONDITION,
            outcome=outcome,
            token_id=MARKET.token_ids[outcome],
            side=side,
            price=price,
            size=size,
            dollars=None,
            time_in_force=time_in_force,
            expiration=0,
            post_only=False,
            received_at=0,
        )
        self.engine.submit(order)
        self.engine.advance()
        self.orders.append(order)
        return order

    def shown(self, side: Side, price: int) -> int:
        return self.engine.listings[CONDITION].book.level_size(side == "BUY", price)

    def book(self) -> dict[tuple[Side, int], int]:
        book = self.engine.listings[CONDITION].book
        bids: dict[tuple[Side, int], int] = {("BUY", at): size for at, size in book.levels(True)}
        return bids | {("SELL", at): size for at, size in book.levels(False)}


def played(*script: Event) -> Recording:
    """One event a second."""
    timed = tuple(Timed(n * ONE, event) for n, event in enumerate(script))
    return Recording(timed, (len(script) - 1) * ONE)


HALF = ONE // 2
TICK = MARKET.tick
SIZES = st.integers(0, 60).map(lambda shares: shares * ONE)
SOME = st.integers(1, 60).map(lambda shares: shares * ONE)
NEAR = st.integers(-2, 2).map(lambda ticks: HALF + ticks * TICK)
SIDES: st.SearchStrategy[Side] = st.sampled_from(["BUY", "SELL"])


class TestRules:
    @given(
        side=SIDES,
        outcome=st.sampled_from([0, 1]),
        size=st.integers(10, 80).map(lambda shares: shares * ONE),
        displayed=SIZES,
        script=st.lists(
            st.one_of(
                st.tuples(st.just("level"), st.integers(-2, 2), SIZES),
                st.tuples(st.just("print"), st.integers(-2, 2), SOME),
            ),
            max_size=12,
        ),
    )
    def test_a_resting_order_fills_from_prints_beyond_it_or_once_those_ahead_have_traded(
        self,
        side: Side,
        outcome: int,
        size: int,
        displayed: int,
        script: list[tuple[str, int, int]],
    ) -> None:
        """The slow obvious model of one order; `ticks` above 0 are beyond its price."""
        sign = -1 if side == "BUY" else 1
        taker: Side = "SELL" if side == "BUY" else "BUY"
        events: list[Event] = [Snapshot({(side, HALF): displayed})]
        for kind, ticks, amount in script:
            price = HALF + sign * ticks * TICK
            make = LevelChange(side, price, amount) if kind == "level" else None
            events.append(make or Print(taker, price, amount))
        floor = Floor(played(*events))
        order = floor.order(side, HALF, size, outcome=outcome)

        left, ahead, recorded = size, displayed, displayed
        for kind, ticks, amount in script:
            floor.step()
            if kind == "level":
                if ticks == 0 and amount != recorded:
                    recorded = amount
                    ahead = min(ahead, amount)
            elif ticks > 0:  # traded beyond our price
                left -= min(left, amount)
            elif ticks == 0:
                passed = min(ahead, amount)
                ahead -= passed
                left -= min(left, amount - passed)
            assert order.leaves == left
            assert (order.closed_at is None) == (left > 0)
            assert floor.shown(side, HALF) == recorded + left

    @given(
        orders=st.lists(st.tuples(SIDES, st.integers(1, 5), SOME), max_size=6),
        books=st.lists(
            st.dictionaries(st.tuples(SIDES, NEAR), SIZES, max_size=8), min_size=1, max_size=8
        ),
    )
    def test_book_flicker_never_fills_anything(
        self,
        orders: list[tuple[Side, int, int]],
        books: list[dict[tuple[Side, int], int]],
    ) -> None:
        floor = Floor(played(Snapshot({}), *[Snapshot(levels) for levels in books]))
        for side, ticks, size in orders:
            floor.order(side, HALF + (-ticks if side == "BUY" else ticks) * TICK, size)
        for _ in books:
            floor.step()
            assert [order.matched for order in floor.orders] == [0] * len(orders)
        assert floor.engine.trades == {}

    @given(
        side=SIDES,
        script=st.lists(
            st.one_of(
                st.tuples(st.just("book"), SIZES, SIZES),
                st.tuples(
                    st.just("take"), SOME.map(lambda size: size + ONE), st.just(0)
                ),  # over a dollar
            ),
            max_size=12,
        ),
    )
    def test_3_what_takers_consume_stays_consumed_until_that_level_next_changes(
        self, side: Side, script: list[tuple[str, int, int]]
    ) -> None:
        taker: Side = "SELL" if side == "BUY" else "BUY"
        behind = HALF + (-TICK if side == "BUY" else TICK)
        books = [(at, other) for kind, at, other in script if kind == "book"]
        events = [Snapshot({(side, HALF): at, (side, behind): other}) for at, other in books]
        floor = Floor(played(Snapshot({}), *events))
        recorded = available = 0
        for kind, amount, _ in script:
            if kind == "book":
                floor.step()
                if amount != recorded:
                    recorded = available = amount
            elif available:
                order = floor.order(taker, HALF, amount, "FAK")
                assert order.matched == min(amount, available)
                available -= order.matched
            assert floor.shown(side, HALF) == available

    @given(
        orders=st.lists(st.tuples(st.integers(0, 4), SOME), min_size=1, max_size=6),
        ticks=st.integers(0, 4),
        size=st.integers(1, 150).map(lambda shares: shares * ONE),
    )
    def test_a_print_fills_the_better_price_first_then_the_older_order_and_no_more_than_its_size(
        self, orders: list[tuple[int, int]], ticks: int, size: int
    ) -> None:
        price = HALF - ticks * TICK
        floor = Floor(played(Snapshot({}), Print("SELL", price, size)))
        for down, shares in orders:
            floor.order("BUY", HALF - down * TICK, shares)
        floor.step()
        left = size
        for order in sorted(floor.orders, key=lambda order: -order.price):  # stable: then by age
            expected = min(left, order.size) if order.price >= price else 0
            left -= expected
            assert order.matched == expected


class TestPlaying:
    def test_the_shipped_recording_ends_with_its_last_book(self, shipped: Recording) -> None:
        floor = Floor(shipped, speed=Fraction(60))
        floor.step(16)
        last = shipped.events[-1].event
        assert isinstance(last, Snapshot)
        assert floor.book() == dict(last.levels)
        assert floor.replay.next_due() is None
        listing = floor.engine.listings[CONDITION]
        assert (listing.last_price, listing.last_side) == (10_000, "SELL")

    def test_real_prints_partly_fill_a_bid_that_joins_the_queue(self, shipped: Recording) -> None:
        floor = Floor(shipped, speed=Fraction(7))
        floor.step(2)
        order = floor.order("BUY", 340_000, 300 * ONE)
        seen = {order.matched}
        for _ in range(20):
            floor.step()
            seen.add(order.matched)
        assert len(seen) > 3  # bit by bit
        assert order.matched == order.size
        assert all(trade.price == order.price for trade in floor.engine.trades.values())

    def test_a_loop_begins_again_with_the_first_book(self) -> None:
        first, second = Snapshot({("BUY", HALF): ONE}), Snapshot({("SELL", HALF): ONE})
        floor = Floor(played(first, second, second), loop=True)
        seen = []
        for _ in range(5):
            seen.append(floor.book())
            floor.step()
        # the last moment of a round is the first of the next
        assert seen == [dict(event.levels) for event in (first, second, first, second, first)]

    @given(away=st.integers(0, 30), loop=st.booleans())
    def test_4_after_a_restart_the_book_is_that_of_the_moment_and_missed_prints_are_gone(
        self, away: int, loop: bool, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        script: list[Event] = [Snapshot({("BUY", HALF): 50 * ONE})]
        for n in range(1, 12):
            script += [Print("SELL", HALF, 10 * ONE), LevelChange("BUY", HALF, (50 - n) * ONE)]
        recording = played(*script)
        floor = Floor(recording, tmp_path_factory.mktemp("state") / "exchange.db", loop=loop)
        stayed = Floor(recording, loop=loop)
        order = floor.order("BUY", HALF, 100 * ONE)
        floor.step(11)
        stayed.step(11)
        matched = order.matched
        assert matched > 0

        floor.engine.close()
        floor.now += timedelta(seconds=away)
        floor.open()
        stayed.step(away)

        again = floor.engine.orders[order.order_id]
        assert again.matched == matched
        own = {("BUY", HALF): again.leaves}
        expected = {key: size + own.get(key, 0) for key, size in stayed.book().items()}
        assert floor.book() == expected
        assert floor.replay.next_due() == stayed.replay.next_due()

    def test_what_cannot_be_played_is_refused(self) -> None:
        still = played(Snapshot({}))
        with pytest.raises(ValueError, match="can't play"):
            Replay(CONDITION, still, Pace(START, Fraction(1), loop=True))
        with pytest.raises(ValueError, match="can't play"):
            Replay(CONDITION, still, Pace(START, Fraction(0)))

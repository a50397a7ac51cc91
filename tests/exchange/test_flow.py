"""Seeded flow on the real engine. The numbers in test names are the invariants of `flow.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.exchange.engine import Engine, Traders
from runner.exchange.flow import Flow, FlowStyle, StandingBook
from runner.exchange.markets import ONE, MarketConfig, Side
from runner.exchange.records import Order
from runner.exchange.scenario import load

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOLDER = "0x" + "00" * 19 + "aA"
COARSE = MarketConfig("coarse", "?", "coarse", "0x" + "01" * 32, ("11", "12"))
FINE = replace(COARSE, slug="fine", tick=1_000)
MARKETS = st.sampled_from([COARSE, FINE])
STYLES = st.builds(
    FlowStyle,
    fair=st.integers(20, 80).map(lambda cents: cents * 10_000),
    wander=st.sampled_from([0, 10_000, 50_000]),
    interval_us=st.sampled_from([50_000, 400_000, 7_000_000]),
    levels=st.integers(4, 9),
)

Levels = list[tuple[int, int]]


class Hall:
    """One market with other people on it, on a clock of its own."""

    def __init__(self, market: MarketConfig, *traders: Traders, now: datetime = START) -> None:
        self.now = now
        self.market = market
        self.engine = Engine(None, lambda: self.now, 1, [market])
        for trader in traders:
            self.engine.add_traders(trader)
        self.engine.advance()

    def levels(self) -> tuple[Levels, Levels]:
        """(price, size) of bids and asks, best last."""
        book = self.engine.listings[self.market.condition_id].book
        return book.levels(bid=True), book.levels(bid=False)

    def events(self, count: int) -> Iterator[datetime]:
        for _ in range(count):
            due = self.engine.next_due()
            assert due is not None
            assert due > self.now
            self.now = due
            self.engine.advance()
            yield due

    def order(self, side: Side, price: int, size: int) -> Order:
        order = Order(
            order_id="0x77",
            owner="key",
            maker=HOLDER,
            signer=HOLDER,
            condition_id=self.market.condition_id,
            outcome=0,
            token_id=self.market.token_ids[0],
            side=side,
            price=price,
            size=size,
            dollars=None,
            time_in_force="GTC",
            expiration=0,
            post_only=False,
            received_at=0,
        )
        self.engine.fund(HOLDER, 10**12, {self.market.token_ids[0]: 10**12})
        self.engine.submit(order)
        self.engine.advance()
        return order


def trace(market: MarketConfig, style: FlowStyle, seed: int, count: int) -> list[object]:
    hall = Hall(market, Flow(market, style, seed, START))
    return [(due, hall.levels()) for due in hall.events(count)]


class TestFlow:
    @settings(max_examples=15)
    @given(MARKETS, STYLES, st.integers(0, 10**6))
    def test_1_the_same_seed_gives_the_same_market_and_another_one_another(
        self, market: MarketConfig, style: FlowStyle, seed: int
    ) -> None:
        assert trace(market, style, seed, 30) == trace(market, style, seed, 30)
        assert trace(market, style, seed, 30) != trace(market, style, seed + 1, 30)

    @given(MARKETS, STYLES, st.integers(0, 10**6), st.integers(0, 10**6))
    def test_2_the_fair_price_wanders_slowly_within_its_bounds(
        self, market: MarketConfig, style: FlowStyle, seed: int, first: int
    ) -> None:
        flow = Flow(market, style, seed, START)
        a_round = 2 * style.levels
        fair = [flow.fair(first + n) for n in range(20 * a_round)]
        assert all(abs(price - style.fair) <= style.wander for price in fair)
        assert all(price % market.tick == 0 for price in fair)
        a_round_apart = zip(fair, fair[a_round:], strict=False)
        assert all(abs(later - earlier) <= market.tick for earlier, later in a_round_apart)

    @settings(max_examples=40)
    @given(MARKETS, STYLES, st.integers(0, 10**6), st.integers(0, 10**5))
    def test_3_the_book_stays_two_sided_uncrossed_and_near_the_fair_price(
        self, market: MarketConfig, style: FlowStyle, seed: int, minutes: int
    ) -> None:
        flow = Flow(market, style, seed, START)
        hall = Hall(market, flow, now=START + timedelta(minutes=minutes))
        for _ in hall.events(60):
            number = (hall.now - START) // timedelta(microseconds=style.interval_us)
            fair = flow.fair(number)
            bids, asks = hall.levels()
            assert bids
            assert asks
            assert bids[-1][0] < asks[-1][0]
            widest = (style.levels + 1) * market.tick
            assert all(abs(price - fair) <= widest for price, _ in bids + asks)
            assert all(0 < price < ONE for price, _ in bids + asks)

    def test_the_rate_is_what_was_asked_for(self) -> None:
        flow = Flow(COARSE, FlowStyle(fair=500_000, interval_us=250_000), 3, START)
        hall = Hall(COARSE, flow)
        for _ in hall.events(2400):
            pass
        assert timedelta(minutes=10) - (hall.now - START) < timedelta(milliseconds=500)

    def test_people_trade_with_an_account_at_the_top_bit_by_bit(self) -> None:
        hall = Hall(COARSE, Flow(COARSE, FlowStyle(fair=500_000), 3, START))
        bids, asks = hall.levels()
        order = hall.order("BUY", bids[-1][0], 400 * ONE)
        assert order.matched == 0
        seen = {order.matched for _ in hall.events(600)}
        assert order.matched == order.size
        assert len(seen) > 3
        assert {trade.side for trade in hall.engine.trades.values()} == {"SELL"}
        assert asks[-1][0] > order.price

    def test_a_book_swept_by_an_account_is_whole_again_a_round_later(self) -> None:
        style = FlowStyle(fair=500_000, wander=0)
        hall = Hall(COARSE, Flow(COARSE, style, 3, START))
        order = hall.order("BUY", 600_000, 5_000 * ONE)
        order_id = order.order_id
        assert hall.levels()[1] == []
        assert hall.engine.cancel(order_id, HOLDER)
        for _ in hall.events(2 * style.levels + 12):
            pass
        bids, asks = hall.levels()
        assert len(bids) >= style.levels - 2
        assert len(asks) >= style.levels - 2

    def test_what_was_missed_for_more_than_a_round_is_gone(self) -> None:
        style = FlowStyle(fair=500_000)
        flow = Flow(COARSE, style, 3, START)
        hall = Hall(COARSE, flow)
        hall.now += timedelta(days=30)
        hall.engine.advance()
        bids, asks = hall.levels()
        assert (len(bids), len(asks)) == (style.levels, style.levels)
        due = flow.next_due()
        assert due is not None
        assert due - hall.now < timedelta(seconds=2)

    def test_a_restart_shows_the_same_ladder_of_prices(self) -> None:
        style = FlowStyle(fair=500_000)
        stayed = Flow(FINE, style, 3, START)
        hall = Hall(FINE, stayed)
        for _ in hall.events(500):
            pass
        again = Hall(FINE, Flow(FINE, style, 3, START), now=hall.now)
        number = (hall.now - START) // timedelta(microseconds=style.interval_us)
        bids, asks = again.levels()
        assert bids[-1][0] + FINE.tick == stayed.fair(number) == asks[-1][0] - FINE.tick

    @pytest.mark.parametrize(("before", "after"), [(FINE, 10_000), (COARSE, 1_000)])
    def test_it_goes_on_after_the_tick_has_changed(self, before: MarketConfig, after: int) -> None:
        hall = Hall(before, Flow(before, FlowStyle(fair=500_000), 3, START))
        hall.engine.set_tick(before.condition_id, after)
        for _ in hall.events(60):
            pass
        bids, asks = hall.levels()
        assert bids
        assert asks
        assert bids[-1][0] < asks[-1][0]
        assert all(price % after == 0 for price, _ in bids + asks)

    def test_a_paused_market_gets_its_book_back(self) -> None:
        hall = Hall(COARSE, Flow(COARSE, FlowStyle(fair=500_000), 3, START))
        hall.engine.set_state(COARSE.condition_id, "paused")
        for _ in hall.events(30):
            pass
        hall.engine.set_state(COARSE.condition_id, "open")
        for _ in hall.events(12):
            pass
        assert all(len(side) >= 4 for side in hall.levels())

    @pytest.mark.parametrize(
        ("style", "says"),
        [
            (FlowStyle(fair=505_000), "on the tick"),
            (FlowStyle(fair=120_000), "room for wander"),
            (FlowStyle(fair=890_000), "room for wander"),
            (FlowStyle(fair=500_000, levels=3), "at least 4"),
            (FlowStyle(fair=500_000, size_min=0), "ascend"),
            (FlowStyle(fair=500_000, size_min=2 * ONE, size_max=ONE), "ascend"),
            (FlowStyle(fair=500_000, interval_us=0), "interval"),
        ],
    )
    def test_a_style_that_does_not_fit_is_refused(self, style: FlowStyle, says: str) -> None:
        with pytest.raises(ValueError, match=says):
            Flow(COARSE, style, 3, START)


class TestStandingBook:
    def test_it_is_laid_once_and_what_is_taken_is_gone(self) -> None:
        levels: dict[tuple[Side, int], int] = {
            ("BUY", 480_000): 100 * ONE,
            ("BUY", 490_000): 20 * ONE,
            ("SELL", 510_000): 30 * ONE,
        }
        hall = Hall(COARSE, StandingBook(COARSE.condition_id, levels, START))
        assert hall.levels() == (
            [(480_000, 100 * ONE), (490_000, 20 * ONE)],
            [(510_000, 30 * ONE)],
        )
        assert hall.engine.next_due() is None
        assert hall.order("SELL", 490_000, 5 * ONE).matched == 5 * ONE
        hall.now += timedelta(days=1)
        hall.engine.advance()
        assert hall.levels()[0][-1] == (490_000, 15 * ONE)


@pytest.mark.parametrize("name", ["default", "demo", "recorded", "quiet"])
def test_packaged_scenarios_run_on_the_engine_for_two_minutes(name: str) -> None:
    scenario = load(name)
    now = START

    engine = Engine(None, lambda: now, scenario.seed, scenario.markets)
    for trader in scenario.traders(START):
        engine.add_traders(trader)
    while (due := engine.next_due()) is not None and due <= START + timedelta(minutes=2):
        now = max(now, due)
        engine.advance()
    for listing in engine.listings.values():
        assert listing.book.levels(bid=True)
        assert listing.book.levels(bid=False)
        best_bid, best_ask = listing.book.best(bid=True), listing.book.best(bid=False)
        assert best_bid is not None
        assert best_ask is not None
        assert best_bid < best_ask
        assert (listing.last_price is not None) == (name != "quiet")

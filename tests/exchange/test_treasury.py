"""Pairs made and given back, markets resolved and redeemed, makers rebated; nothing gets lost."""

import json
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.exchange.api import Exchange
from runner.exchange.markets import ONE, MarketConfig, Side, decimal_text
from runner.exchange.settlement import Delays
from tests.exchange.kit import RAIN, SNOW, START, Clock, Trader, cents, shares

YES, NO = RAIN.token_ids
REBATING = replace(RAIN, rebate_rate=250_000)
QUICK = Delays((2_000, 2_000), (3_000, 3_000))
MIDNIGHT_S = 12 * 3600


def opened(clock: Clock, *markets: MarketConfig, path: Path | None = None) -> Exchange:
    return Exchange(path, clock, 7, markets, QUICK)


def forward(clock: Clock, hall: Exchange, seconds: float) -> None:
    clock.forward(seconds)
    hall.advance()


def ask(hall: Exchange, target: str, body: Any) -> tuple[int, Any]:
    response = hall.handle("POST", f"/_exchange/{target}", {}, json.dumps(body).encode())
    return response.status, json.loads(response.body)


def resolve(hall: Exchange, winner: str, market: MarketConfig = RAIN) -> tuple[int, Any]:
    body = {"state": "resolved", "winner": winner}
    return ask(hall, f"markets/{market.condition_id}", body)


def redeem(trader: Trader, market: MarketConfig = RAIN) -> tuple[int, Any]:
    body = {"address": trader.maker, "condition_id": market.condition_id}
    return ask(trader.exchange, "redeem", body)


class TestPairs:
    @pytest.fixture
    def ann(self) -> Trader:
        return Trader(opened(Clock(), RAIN), 1, "100", t1002="5")

    def pairs(self, ann: Trader, what: str, size: str) -> tuple[int, Any]:
        body = {"address": ann.address, "condition_id": RAIN.condition_id, "size": size}
        return ask(ann.exchange, what, body)

    def test_a_dollar_becomes_a_pair_and_a_pair_a_dollar(self, ann: Trader) -> None:
        status, wallet = self.pairs(ann, "split", "40.000001")
        expected = {"cash": "59.999999", "tokens": {YES: "40.000001", NO: "45.000001"}}
        assert (status, wallet) == (200, expected)
        status, wallet = self.pairs(ann, "merge", "40.000001")
        assert (status, wallet) == (200, {"cash": "100", "tokens": {NO: "5"}})

    def test_what_is_promised_stays(self, ann: Trader) -> None:
        ann.place(YES, "BUY", cents(50), shares("100"))
        refused = (400, {"error": "not that much is free"})
        assert self.pairs(ann, "split", "50.000001") == refused
        assert self.pairs(ann, "split", "50")[0] == 200
        ann.place(NO, "SELL", cents(60), shares("50"))
        assert self.pairs(ann, "merge", "5.000001") == refused
        assert self.pairs(ann, "merge", "5")[0] == 200

    @pytest.mark.parametrize("size", ["0", "-1"])
    def test_nothing_is_no_pair(self, ann: Trader, size: str) -> None:
        assert self.pairs(ann, "split", size)[0] == self.pairs(ann, "merge", size)[0] == 400

    def test_unknown_wallets_and_markets_are_not_found(self, ann: Trader) -> None:
        body = {"address": "0x" + "77" * 20, "condition_id": RAIN.condition_id, "size": "1"}
        assert ask(ann.exchange, "split", body) == (404, {"error": "account not found"})
        body = {"address": ann.address, "condition_id": "0x00", "size": "1"}
        assert ask(ann.exchange, "merge", body) == (404, {"error": "market not found"})


class TestResolution:
    @pytest.mark.parametrize(
        ("winner", "paid", "prices"),
        [("Yes", "30", [1, 0]), ("No", "20", [0, 1]), ("50/50", "25", [0.5, 0.5])],
    )
    def test_orders_end_and_winners_are_paid_when_they_ask(
        self, winner: str, paid: str, prices: list[float]
    ) -> None:
        ann = Trader(opened(Clock(), RAIN), 1, "10", t1001="30", t1002="20")
        order_id = ann.place(YES, "SELL", cents(60), shares("30"))["orderID"]
        assert redeem(ann) == (400, {"error": "the market is not resolved"})
        assert resolve(ann.exchange, winner)[0] == 200
        assert ann.order(order_id)["status"] == "CANCELED_MARKET_RESOLVED"
        assert ann.wallet() == ("10", {YES: "30", NO: "20"})  # not by itself
        market = ann.ask("GET", f"/markets/{RAIN.condition_id}")
        assert [token["price"] for token in market["tokens"]] == prices
        assert market["is_50_50_outcome"] == (winner == "50/50")
        status, answer = redeem(ann)
        assert (status, answer["paid"], answer["tokens"]) == (200, paid, {})
        assert ann.wallet() == (str(10 + int(paid)), {})
        assert redeem(ann)[1]["paid"] == "0"

    def test_half_of_an_odd_unit_is_rounded_down(self) -> None:
        ann = Trader(opened(Clock(), RAIN), 1, "0", t1001="0.000003", t1002="0.000001")
        resolve(ann.exchange, "50/50")
        assert redeem(ann)[1]["paid"] == "0.000001"

    def test_tokens_of_a_trade_on_its_way_are_paid_to_whoever_gets_them(self) -> None:
        clock = Clock()
        hall = opened(clock, RAIN)
        ann, bob = Trader(hall, 1, "0", t1001="100"), Trader(hall, 2, "100")
        ann.place(YES, "SELL", cents(40), shares("60"))
        bob.place(YES, "BUY", cents(40), shares("60"))
        resolve(hall, "Yes")
        assert (redeem(ann)[1]["paid"], redeem(bob)[1]["paid"]) == ("40", "0")
        forward(clock, hall, 2)
        assert (redeem(ann)[1]["paid"], redeem(bob)[1]["paid"]) == ("0", "60")

    def test_a_resolved_market_stays_as_it_is(self) -> None:
        hall = opened(Clock(), RAIN)
        resolve(hall, "Yes")
        assert resolve(hall, "No")[0] == 400
        assert ask(hall, f"markets/{RAIN.condition_id}", {"state": "open"})[0] == 400
        assert hall.listings[RAIN.condition_id].winner == 0

    @pytest.mark.parametrize(
        "body",
        [
            {"state": "resolved"},
            {"state": "resolved", "winner": "Maybe"},
            {"state": "closed", "winner": "Yes"},
            {"winner": "50/50"},
        ],
    )
    def test_a_winner_goes_with_resolved(self, body: Any) -> None:
        hall = opened(Clock(), RAIN)
        assert ask(hall, f"markets/{RAIN.condition_id}", body)[0] == 400
        assert hall.listings[RAIN.condition_id].state == "open"

    def test_it_outlives_the_process(self, tmp_path: Path) -> None:
        ann = Trader(opened(Clock(), RAIN, path=tmp_path / "x.db"), 1, "0", t1001="4")
        resolve(ann.exchange, "50/50")
        ann.exchange.close()
        ann.exchange = opened(Clock(), RAIN, path=tmp_path / "x.db")
        assert redeem(ann)[1]["paid"] == "2"


class TestNegRiskEvents:
    """Markets of one event: at most one comes to Yes."""

    MARKETS = tuple(
        replace(
            SNOW,
            slug=f"snow-{n}",
            condition_id=f"0x{n:064x}",
            token_ids=(f"{n}001", f"{n}002"),
        )
        for n in (1, 2, 3)
    )

    def test_they_trade_apart_and_share_an_event(self) -> None:
        hall = opened(Clock(), *self.MARKETS, RAIN)
        ann = Trader(hall, 1)
        for market in self.MARKETS:
            ann.place(market.token_ids[0], "BUY", cents(20), shares("10"))
        shown = [ann.ask("GET", f"/markets/{m.condition_id}") for m in self.MARKETS]
        ids = {market["neg_risk_market_id"] for market in shown}
        assert (len(ids), len(next(iter(ids)))) == (1, 66)
        assert ann.ask("GET", f"/markets/{RAIN.condition_id}")["neg_risk_market_id"] == ""

    def test_one_yes_and_no_halves(self) -> None:
        first, second, third = self.MARKETS
        other_event = replace(SNOW, event_slug="spring")
        hall = opened(Clock(), first, second, third, other_event)
        assert resolve(hall, "50/50", first)[0] == 400
        assert resolve(hall, "No", first)[0] == 200
        assert resolve(hall, "Yes", second)[0] == 200
        status, answer = resolve(hall, "Yes", third)
        assert (status, answer) == (400, {"error": "snow-3: snow-2 has won this event"})
        assert resolve(hall, "No", third)[0] == 200
        assert resolve(hall, "Yes", other_event)[0] == 200


class TestTicksAtTheExtremes:
    FINE = replace(RAIN, fine_tick=1_000)

    def ticks(self, hall: Exchange) -> int:
        return hall.listings[RAIN.condition_id].market.tick

    @pytest.mark.parametrize(("bid", "ask", "finer"), [(95, 97, False), (96, 97, True)])
    @pytest.mark.parametrize("mirrored", [False, True])
    def test_a_price_beyond_096_has_the_finer_tick(
        self, bid: int, ask: int, finer: bool, mirrored: bool
    ) -> None:
        hall = opened(Clock(), self.FINE)
        listener = hall.connect("/ws/market")
        listener.receive(json.dumps({"type": "market", "assets_ids": [YES]}))
        listener.outgoing.clear()
        outcome = int(mirrored)
        hall.house_order(RAIN.condition_id, outcome, "BUY", cents(bid), shares("100"))
        hall.house_order(RAIN.condition_id, outcome, "SELL", cents(ask), shares("100"))
        hall.advance()
        assert self.ticks(hall) == (1_000 if finer else 10_000)
        frames = [json.loads(text) for text in listener.outgoing]
        changes = [f for f in frames if f["event_type"] == "tick_size_change"]
        assert [(f["old_tick_size"], f["new_tick_size"]) for f in changes] == (
            [("0.01", "0.001")] if finer else []
        )

    def test_it_stays_when_the_price_comes_back(self) -> None:
        hall = opened(Clock(), self.FINE)
        ann = Trader(hall, 1, t1001="100")
        hall.house_order(RAIN.condition_id, 0, "BUY", cents(97), shares("10"))
        ann.place(YES, "SELL", cents(97), shares("10"))  # an empty book: the last trade counts
        assert self.ticks(hall) == 1_000
        hall.house_order(RAIN.condition_id, 0, "BUY", cents(50), shares("100"))
        hall.house_order(RAIN.condition_id, 0, "SELL", cents(52), shares("100"))
        hall.advance()
        ann.place(YES, "SELL", 513_000, shares("10"))
        assert self.ticks(hall) == 1_000

    def test_a_market_without_a_finer_tick_keeps_its_own(self) -> None:
        hall = opened(Clock(), RAIN)
        hall.house_order(RAIN.condition_id, 0, "BUY", cents(98), shares("100"))
        hall.house_order(RAIN.condition_id, 0, "SELL", cents(99), shares("100"))
        hall.advance()
        assert self.ticks(hall) == 10_000


class TestRebates:
    """A quarter of the takers' fees: 1000 shares at 0.5 and a rate of 0.04 are 10 dollars."""

    def trade(self, maker: Trader, taker: Trader, size: str = "1000") -> None:
        maker.place(YES, "SELL", cents(50), shares(size))
        taker.place(YES, "BUY", cents(50), shares(size))

    def test_a_days_fees_are_shared_at_midnight(self) -> None:
        clock = Clock()
        hall = opened(clock, REBATING)
        ann, bob = Trader(hall, 1, "0", t1001="3000"), Trader(hall, 2, "10000", t1001="1000")
        eve = Trader(hall, 3, "10000")
        ann.place(YES, "SELL", cents(50), shares("600"))
        bob.place(YES, "SELL", cents(50), shares("400"))
        eve.place(YES, "BUY", cents(50), shares("1000"))
        forward(clock, hall, MIDNIGHT_S - 0.001)
        assert (ann.wallet()[0], bob.wallet()[0]) == ("300", "10200")
        forward(clock, hall, 0.001)
        assert (ann.wallet()[0], bob.wallet()[0]) == ("301.5", "10201")
        assert ann.control("GET", "/_exchange/ledger")["rebates"] == [
            {"day": "2026-11-24", "address": ann.address, "amount": "1.5"},
            {"day": "2026-11-24", "address": bob.address, "amount": "1"},
        ]
        forward(clock, hall, 86_400)  # a day without trades
        assert ann.wallet()[0] == "301.5"

    def test_less_than_a_dollar_lapses(self) -> None:
        clock = Clock()
        hall = opened(clock, REBATING)
        ann, bob = Trader(hall, 1, "0", t1001="1000"), Trader(hall, 2, "10000")
        self.trade(ann, bob, "399.99")
        for _ in range(2):
            forward(clock, hall, 86_400)
        assert decimal_text(hall.accounts.find(ann.address).cash) == "199.995"  # type: ignore[union-attr]  # funded above

    def test_failed_trades_rebate_nothing_and_late_ones_the_next_day(self) -> None:
        clock = Clock()
        hall = opened(clock, REBATING)
        ann, bob = Trader(hall, 1, "0", t1001="3000"), Trader(hall, 2, "10000")
        ann.control("POST", "/_exchange/faults", {"name": "fail_trade", "count": 1})
        self.trade(ann, bob)
        forward(clock, hall, MIDNIGHT_S - 3)
        self.trade(ann, bob)  # confirmed two seconds after midnight
        forward(clock, hall, 10)
        assert ann.wallet()[0] == "500"
        forward(clock, hall, 86_400)
        assert ann.wallet()[0] == "502.5"

    def test_takers_of_the_house_pay_fees_too(self) -> None:
        clock = Clock()
        hall = opened(clock, REBATING)
        ann = Trader(hall, 1, "0", t1001="1000")
        ann.place(YES, "SELL", cents(50), shares("1000"))
        hall.house_order(RAIN.condition_id, 0, "BUY", cents(50), shares("1000"))
        forward(clock, hall, 10)
        forward(clock, hall, 86_400)
        assert ann.wallet()[0] == "502.5"

    def test_a_day_is_booked_once_whatever_ends_the_process(self, tmp_path: Path) -> None:
        clock = Clock()
        hall = opened(clock, REBATING, path=tmp_path / "x.db")
        ann, bob = Trader(hall, 1, "0", t1001="1000"), Trader(hall, 2, "10000")
        self.trade(ann, bob)
        forward(clock, hall, 10)
        for _ in range(3):
            hall.close()
            clock.forward(86_400)
            hall = ann.exchange = opened(clock, REBATING, path=tmp_path / "x.db")
            hall.advance()
            assert ann.wallet()[0] == "502.5"
        assert len(ann.control("GET", "/_exchange/ledger")["rebates"]) == 1

    def test_without_rebates_there_is_no_midnight(self) -> None:
        clock = Clock()
        hall = opened(clock, RAIN)
        assert hall.next_due() is None
        assert opened(clock, REBATING).next_due() == START + timedelta(seconds=MIDNIGHT_S)


steps = st.lists(
    st.tuples(
        st.integers(0, 3),  # who: three accounts, or the house
        st.sampled_from(["GTC", "GTC", "GTC", "FAK", "split", "merge", "wait", "fail", "cancel"]),
        st.sampled_from([YES, NO]),
        st.sampled_from(get_args(Side)),
        st.integers(30, 70),
        st.integers(500, 12_000),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(steps, st.sampled_from(["Yes", "No", "50/50"]))
def test_every_dollar_is_somewhere(
    flow: list[tuple[int, str, str, Side, int, int]], winner: str
) -> None:
    """All cash, the dollar locked in every pair, and the fees less rebates: always the same sum;
    and when everything is redeemed the fees and what was rounded down are all that is missing."""
    clock = Clock()
    hall = opened(clock, REBATING)
    traders = [Trader(hall, n, "3000", t1001="500", t1002="500") for n in (1, 2, 3)]
    start = 3 * (3000 + 500) * ONE
    for who, what, token, side, price, lots in flow:
        size = lots * 10_000
        trader = traders[min(who, 2)]
        if what == "wait":
            forward(clock, hall, 2.5)
        elif what == "fail":
            trader.control("POST", "/_exchange/faults", {"name": "fail_trade", "count": 1})
        elif who == 3:
            hall.house_order(RAIN.condition_id, int(token == NO), side, cents(price), size)
        elif what == "cancel":
            trader.send("DELETE", "/cancel-all")
        elif what in {"split", "merge"}:
            body = {"address": trader.address, "condition_id": RAIN.condition_id}
            ask(hall, what, {**body, "size": decimal_text(size)})
        else:
            trader.post(token, side, cents(price), size, what if side == "SELL" else "GTC")
        assert _sum(hall, ONE) == start
        for account in hall.accounts.all():
            funds = (hall.cash(account), *(hall.holding(account, t) for t in (YES, NO)))
            assert all(f.free >= 0 for f in funds)
    forward(clock, hall, 86_400)
    assert _sum(hall, ONE) == start
    wallets = [*hall.accounts.all(), hall.house]
    assert len({sum(w.tokens.get(t, 0) for w in wallets) for t in (YES, NO)}) == 1
    resolve(hall, winner)
    for trader in traders:
        assert redeem(trader)[0] == 200
    payout = [hall.listings[RAIN.condition_id].payout(i) for i in (0, 1)]
    house = sum(hall.house.tokens.get(t, 0) * p for t, p in zip((YES, NO), payout, strict=True))
    everything = _sum(hall, 0) + Fraction(house, ONE)
    assert start - 3 <= everything <= start  # a base unit a wallet and token, at most, by halves


def _sum(hall: Exchange, pair: int) -> int:
    wallets = [*hall.accounts.all(), hall.house]
    settled = {"MINED", "CONFIRMED"}
    fees = sum(trade.fee for trade in hall.trades.values() if trade.status in settled)
    rebated = sum(rebate.amount for rebate in hall.treasury.rebates)
    pairs = sum(wallet.tokens.get(YES, 0) for wallet in wallets)
    return sum(wallet.cash for wallet in wallets) + fees - rebated + pairs * pair // ONE

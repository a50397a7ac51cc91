"""What becomes of trades, orders and accounts in time, and through a restart."""

import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.exchange.api import Exchange
from runner.exchange.markets import ONE, Side
from runner.exchange.settlement import Delays
from runner.exchange.state import ForeignState, StateLocked
from tests.exchange.kit import RAIN, SNOW, START, Clock, Trader, cents, make, shares

YES, NO = RAIN.token_ids
NOW_S = int(START.timestamp())
SLOW = Delays((2_000, 2_000), (3_000, 3_000))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hall(clock: Clock) -> Exchange:
    return make(clock, delays=SLOW)


def forward(clock: Clock, exchange: Exchange, seconds: float) -> None:
    clock.forward(seconds)
    exchange.advance()


def statuses(trader: Trader) -> list[str]:
    return [row["status"] for row in trader.ask("GET", "/data/trades")["data"]]


def test_a_trade_is_matched_mined_confirmed_and_moves_funds_when_mined(
    clock: Clock, hall: Exchange
) -> None:
    ann, bob = Trader(hall, 1, t1001="100"), Trader(hall, 2)
    ann.place(YES, "SELL", cents(40), shares("100"))
    bob.place(YES, "BUY", cents(40), shares("100"))
    assert statuses(bob) == ["TRADE_STATUS_MATCHED"]
    assert bob.wallet() == ("1000", {})
    _, error = bob.refused(YES, "SELL", cents(60), shares("100"))
    assert "balance: 0," in error  # bought, and not settled: not there yet
    _, error = bob.refused(NO, "BUY", cents(50), shares("2000"))
    assert "sum of matched orders: 40960000" in error  # 40 and a fee of 0.96
    forward(clock, hall, 2)
    assert statuses(bob) == ["TRADE_STATUS_MINED"]
    assert bob.wallet() == ("959.04", {YES: "100"})
    assert ann.wallet() == ("1040", {})  # makers pay no fee
    forward(clock, hall, 3)
    assert statuses(ann) == statuses(bob) == ["TRADE_STATUS_CONFIRMED"]


def test_two_buyers_make_a_pair_and_two_sellers_give_one_back(clock: Clock, hall: Exchange) -> None:
    ann, bob = Trader(hall, 1), Trader(hall, 2)
    ann.place(YES, "BUY", cents(40), shares("100"))
    answer = bob.place(NO, "BUY", cents(65), shares("100"))
    assert (answer["makingAmount"], answer["takingAmount"]) == ("60", "100")
    forward(clock, hall, 10)
    assert ann.wallet() == ("960", {YES: "100"})
    assert bob.wallet() == ("939.04", {NO: "100"})
    bob.place(NO, "SELL", cents(55), shares("100"))
    ann.place(YES, "SELL", cents(45), shares("100"))
    forward(clock, hall, 10)
    assert ann.wallet() == ("1004.01", {})  # a taker now: 45 less a fee of 0.99
    assert bob.wallet() == ("994.04", {})


def test_a_maker_sees_its_own_token_side_and_price(hall: Exchange) -> None:
    ann, bob = Trader(hall, 1), Trader(hall, 2)
    mine = ann.place(YES, "BUY", cents(40), shares("100"))["orderID"]
    taken = bob.place(NO, "BUY", cents(60), shares("25"))["orderID"]
    (trade,) = ann.ask("GET", f"/data/trades?market={RAIN.condition_id}")["data"]
    assert (trade["trader_side"], trade["taker_order_id"]) == ("MAKER", taken)
    assert (trade["asset_id"], trade["side"], trade["price"]) == (NO, "BUY", "0.6")
    assert trade["maker_orders"] == [
        {
            "order_id": mine,
            "owner": ann.creds["apiKey"],
            "maker_address": ann.address,
            "matched_amount": "25",
            "price": "0.4",
            "fee_rate_bps": "0",
            "asset_id": YES,
            "outcome": "Yes",
            "side": "BUY",
        }
    ]
    assert ann.ask("GET", f"/data/trades?asset_id={YES}")["data"] == []


def test_a_taker_gets_one_trade_a_price(hall: Exchange) -> None:
    ann, bob = Trader(hall, 1, t1001="100"), Trader(hall, 2)
    for price in (40, 41, 41):
        ann.place(YES, "SELL", cents(price), shares("10"))
    answer = bob.place(YES, "BUY", cents(45), shares("30"))
    rows = bob.ask("GET", "/data/trades")["data"]
    assert [row["id"] for row in reversed(rows)] == answer["tradeIDs"]
    assert [(row["price"], row["size"], len(row["maker_orders"])) for row in reversed(rows)] == [
        ("0.4", "10", 1),
        ("0.41", "20", 2),
    ]


def test_trades_by_time_leave_out_their_own_second(clock: Clock, hall: Exchange) -> None:
    ann, bob = Trader(hall, 1, t1001="100"), Trader(hall, 2)
    ann.place(YES, "SELL", cents(40), shares("100"))
    for _ in range(3):
        bob.place(YES, "BUY", cents(40), shares("10"))
        forward(clock, hall, 1)
    for query, count in (("", 3), (f"after={NOW_S}", 2), (f"before={NOW_S + 1}", 1)):
        assert len(bob.ask("GET", f"/data/trades?{query}")["data"]) == count


def test_a_failed_trade_moves_nothing_and_reopens_nothing(clock: Clock, hall: Exchange) -> None:
    ann, bob = Trader(hall, 1, t1001="100"), Trader(hall, 2)
    ann.control("POST", "/_exchange/faults", {"name": "fail_trade", "count": 1})
    sold = ann.place(YES, "SELL", cents(40), shares("100"))["orderID"]
    bob.place(YES, "BUY", cents(40), shares("100"))
    forward(clock, hall, 10)
    assert statuses(bob) == ["TRADE_STATUS_FAILED"]
    assert (ann.wallet(), bob.wallet()) == (("1000", {YES: "100"}), ("1000", {}))
    assert (ann.order(sold)["status"], ann.order(sold)["size_matched"]) == ("MATCHED", "100")
    ann.place(YES, "SELL", cents(40), shares("100"))  # nothing is held back any more


def test_a_retried_trade_settles_later(clock: Clock, hall: Exchange) -> None:
    ann, bob = Trader(hall, 1, t1001="100"), Trader(hall, 2)
    ann.control("POST", "/_exchange/faults", {"name": "retry_trade"})
    ann.place(YES, "SELL", cents(40), shares("100"))
    bob.place(YES, "BUY", cents(40), shares("100"))
    seen = []
    for _ in range(4):
        seen += statuses(bob)
        forward(clock, hall, 2.5)
    assert [status.removeprefix("TRADE_STATUS_") for status in seen] == [
        "MATCHED",
        "RETRYING",
        "MINED",
        "CONFIRMED",
    ]


def test_gtd_is_dropped_a_minute_before_its_stated_end(clock: Clock, hall: Exchange) -> None:
    ann = Trader(hall, 1)
    body = ann.body(YES, "BUY", cents(40), shares("10"), "GTD", expiration=NOW_S + 3600)
    order_id = ann.ask("POST", "/order", body)["orderID"]
    forward(clock, hall, 3539)
    assert ann.open_ids() == [order_id]
    clock.forward(1)  # nobody calls `advance`: a request finds the book as it must be
    assert ann.open_ids() == []
    assert ann.order(order_id)["status"] == "CANCELED"


def test_the_dead_mans_switch_cancels_the_orders_of_its_key(clock: Clock, hall: Exchange) -> None:
    ann, bob = Trader(hall, 1), Trader(hall, 2)
    ann.place(YES, "BUY", cents(40), shares("10"))
    bob.place(YES, "BUY", cents(40), shares("10"))
    first = ann.ask("POST", "/v1/heartbeats", {"heartbeat_id": ""})["heartbeat_id"]
    wrong = ann.send("POST", "/v1/heartbeats", {"heartbeat_id": ""})
    assert (wrong.status, json.loads(wrong.body)["heartbeat_id"]) == (400, first)
    forward(clock, hall, 8)
    ann.ask("POST", "/v1/heartbeats", {"heartbeat_id": first})
    forward(clock, hall, 9.9)
    assert len(ann.open_ids()) == 1
    forward(clock, hall, 5.1)
    assert (len(ann.open_ids()), len(bob.open_ids())) == (0, 1)
    assert "heartbeat_id" in ann.ask("POST", "/v1/heartbeats", {"heartbeat_id": ""})


def test_a_restart_of_the_engine_is_425_then_post_only(clock: Clock, hall: Exchange) -> None:
    ann = Trader(hall, 1)
    resting = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
    ann.control("POST", "/_exchange/restart", {"seconds": 5, "post_only_seconds": 60})
    assert ann.post(YES, "BUY", cents(41), shares("10")).status == 425
    assert ann.send("DELETE", "/cancel-all").status == 425
    assert ann.open_ids() == [resting]
    forward(clock, hall, 6)
    answer = ann.post(YES, "BUY", cents(41), shares("10"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "59")
    assert json.loads(answer.body)["code"] == "post_only_mode"
    ann.place(YES, "BUY", cents(41), shares("10"), post_only=True)
    assert ann.send("DELETE", "/cancel-all").status == 200
    forward(clock, hall, 60)
    ann.place(YES, "BUY", cents(41), shares("10"))


def test_a_market_pauses_changes_its_tick_and_resolves(hall: Exchange) -> None:
    ann = Trader(hall, 1)
    order_id = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
    at = f"/_exchange/markets/{RAIN.condition_id}"
    ann.control("POST", at, {"tick": "0.001"})
    ann.place(YES, "BUY", 411_000, shares("10"))
    ann.control("POST", at, {"state": "paused"})
    _, error = ann.refused(YES, "BUY", cents(40), shares("10"))
    assert error == "the market is not yet ready to process new orders"
    ann.control("POST", at, {"state": "resolved", "winner": "Yes"})
    assert ann.order(order_id)["status"] == "CANCELED_MARKET_RESOLVED"
    market = ann.control("GET", f"/markets/{RAIN.condition_id}")
    assert [token["winner"] for token in market["tokens"]] == [True, False]


class TestRestart:
    """Everything that was answered for is there again."""

    def test_reopening_the_state_changes_nothing(self, clock: Clock, tmp_path: Path) -> None:
        path = tmp_path / "exchange.db"
        hall = make(clock, path, delays=SLOW)
        ann, bob = Trader(hall, 1, t1001="100"), Trader(hall, 2)
        ann.place(YES, "SELL", cents(45), shares("30"))
        ann.place(YES, "SELL", cents(45), shares("30"))
        bob.place(YES, "BUY", cents(45), shares("40"))
        expires = bob.body(YES, "BUY", cents(30), shares("10"), "GTD", expiration=NOW_S + 240)
        bob.ask("POST", "/order", expires)
        beat = bob.ask("POST", "/v1/heartbeats", {"heartbeat_id": ""})["heartbeat_id"]
        before = ann.control("GET", "/_exchange/ledger")
        books = [ann.control("GET", f"/book?token_id={token}")["asks"] for token in (YES, NO)]
        hall._state._db.close()  # as if killed: nothing is said goodbye to
        again = make(clock, path, delays=SLOW)
        ann.exchange = bob.exchange = again
        assert ann.control("GET", "/_exchange/ledger") == before
        assert [ann.control("GET", f"/book?token_id={t}")["asks"] for t in (YES, NO)] == books
        assert bob.ask("POST", "/order", expires)["error"].endswith("Duplicated.")
        bob.ask("POST", "/v1/heartbeats", {"heartbeat_id": beat})
        forward(clock, again, 5)
        assert statuses(ann) == ["TRADE_STATUS_CONFIRMED"]
        assert bob.wallet()[1] == {YES: "40"}
        bob.place(YES, "BUY", cents(45), shares("20"))
        first, second = ann.control("GET", f"/_exchange/ledger?owner={ann.address}")["orders"]
        assert (first["status"], second["matched"]) == ("MATCHED", "30")  # time priority survived
        forward(clock, again, 180)
        assert bob.open_ids() == []

    def test_a_restored_order_waits_behind_what_is_displayed(
        self, clock: Clock, tmp_path: Path
    ) -> None:
        hall = make(clock, tmp_path / "exchange.db")
        ann = Trader(hall, 1)
        hall.set_displayed(RAIN.condition_id, "BUY", cents(40), shares("30"))
        ann.place(YES, "BUY", cents(40), shares("10"))
        hall.close()
        ann.exchange = again = make(clock, tmp_path / "exchange.db")
        again.set_displayed(RAIN.condition_id, "BUY", cents(40), shares("30"))
        again.recorded_print(RAIN.condition_id, "SELL", cents(40), shares("30"))
        assert statuses(ann) == []
        again.recorded_print(RAIN.condition_id, "SELL", cents(40), shares("1"))
        assert len(statuses(ann)) == 1

    def test_other_markets_than_the_states_are_refused(self, clock: Clock, tmp_path: Path) -> None:
        hall = make(clock, tmp_path / "exchange.db")
        Trader(hall, 1).place(YES, "BUY", cents(40), shares("10"))
        hall.close()
        with pytest.raises(ForeignState, match="not listed"):
            Exchange(tmp_path / "exchange.db", clock, 7, [SNOW])

    def test_a_state_that_is_in_use_is_refused(self, clock: Clock, tmp_path: Path) -> None:
        hall = make(clock, tmp_path / "exchange.db")
        with pytest.raises(StateLocked):
            make(clock, tmp_path / "exchange.db")
        hall.close()

    def test_the_state_is_private(self, clock: Clock, tmp_path: Path) -> None:
        make(clock, tmp_path / "exchange.db").close()
        assert (tmp_path / "exchange.db").stat().st_mode & 0o777 == 0o600


actions = st.lists(
    st.tuples(
        st.integers(0, 3),  # who: three accounts, or the house
        st.sampled_from(["GTC", "GTC", "GTC", "FAK", "FOK", "cancel", "wait", "fail"]),
        st.sampled_from([YES, NO]),
        st.sampled_from(get_args(Side)),
        st.integers(30, 70),
        st.integers(500, 12_000),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(actions)
def test_cash_and_tokens_are_conserved_and_never_negative(
    steps: list[tuple[int, str, str, Side, int, int]],
) -> None:
    clock = Clock()
    hall = make(clock, delays=SLOW)
    traders = [Trader(hall, n, "100", t1001="60", t1002="60") for n in (1, 2, 3)]
    for who, what, token, side, price, lots in steps:
        size = lots * 10_000
        if what == "wait":
            forward(clock, hall, 2.5)
        elif what == "fail":
            traders[0].control("POST", "/_exchange/faults", {"name": "fail_trade", "count": 1})
        elif who == 3:
            index = RAIN.token_ids.index(token)
            hall.house_order(RAIN.condition_id, index, side, cents(price), size)
        elif what == "cancel":
            traders[who].send("DELETE", "/cancel-all")
        elif what == "GTC" or side == "SELL":
            traders[who].post(token, side, cents(price), size, what)
        else:
            spent = price * size // ONE * 10_000
            bought = spent * ONE // cents(price) // 100 * 100
            traders[who].post(token, side, 0, 0, what, amounts=(spent, bought))
        for trader in traders:
            account = hall.accounts.find(trader.address)
            assert account is not None
            for funds in (hall.cash(account), *(hall.holding(account, t) for t in (YES, NO))):
                assert funds.balance - funds.active - funds.matched >= 0
    traders[0].send("GET", "/ok")
    forward(clock, hall, 60)
    wallets = [*hall.accounts.all(), hall.house]
    fees = sum(trade.fee for trade in hall.trades.values() if trade.status == "CONFIRMED")
    yes, no = (sum(wallet.tokens.get(t, 0) for wallet in wallets) for t in (YES, NO))
    assert yes == no  # pairs are only made and given back as pairs
    assert sum(wallet.cash for wallet in wallets) + fees + yes == 3 * (100 + 60) * ONE
    for trade in hall.trades.values():
        assert trade.size == sum(maker.size for maker in trade.makers)
    for order in hall.orders.values():
        booked = sum(
            fill
            for trade in hall.trades.values()
            for order_id, fill in [
                (trade.taker_order_id, trade.size),
                *((maker.order_id, maker.size) for maker in trade.makers),
            ]
            if order_id == order.order_id
        )
        assert order.matched == booked


def test_an_own_order_may_meet_another_of_the_same_account(clock: Clock, hall: Exchange) -> None:
    ann = Trader(hall, 1, t1001="100")
    ann.place(YES, "SELL", cents(40), shares("10"))
    ann.place(YES, "BUY", cents(40), shares("10"))
    forward(clock, hall, 10)
    assert ann.wallet() == ("999.904", {YES: "100"})


def test_a_sale_never_costs_more_than_it_brings(clock: Clock, hall: Exchange) -> None:
    """The least fee is ten times what 0.0001 shares bring at a cent."""
    bob = Trader(hall, 2, cash="0", t1001="5")
    hall.set_displayed(RAIN.condition_id, "BUY", cents(1), 100)
    bob.place(YES, "SELL", cents(1), shares("5"), "FAK")
    forward(clock, hall, 10)
    assert bob.wallet() == ("0", {YES: "4.9999"})


def test_what_people_of_the_house_do_is_seen_and_traded_with(hall: Exchange) -> None:
    ann = Trader(hall, 1)
    order_id = hall.house_order(SNOW.condition_id, 1, "SELL", 300_000, shares("10"))
    assert order_id is not None
    answer = ann.place(SNOW.token_ids[1], "BUY", 300_000, shares("6"))
    (trade,) = ann.ask("GET", "/data/trades")["data"]
    assert trade["maker_orders"][0]["order_id"] == order_id
    assert trade["maker_orders"][0]["maker_address"] == hall.house.address
    assert answer["status"] == "matched"
    assert hall.house_cancel(order_id)
    assert not hall.house_cancel(order_id)
    assert ann.control("GET", f"/book?token_id={SNOW.token_ids[1]}")["asks"] == []

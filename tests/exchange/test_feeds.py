"""Both channels frame by frame, and what faults do to them and to requests."""

import json
from pathlib import Path
from typing import Any

import pytest
from polymarket.models.clob.market_events import parse_market_event
from py_clob_client_v2.utilities import (
    generate_orderbook_summary_hash,
    parse_raw_orderbook_summary,
)

from runner.exchange.api import Exchange
from runner.exchange.feeds import Session
from runner.exchange.requests import MARK
from runner.exchange.settlement import Delays
from tests.exchange.kit import RAIN, SNOW, Clock, Trader, cents, make, shares

YES, NO = RAIN.token_ids


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hall(clock: Clock) -> Exchange:
    return make(clock, delays=Delays((2_000, 2_000), (3_000, 3_000)))


@pytest.fixture
def ann(hall: Exchange) -> Trader:
    return Trader(hall, 1, t1001="100")


def frames(session: Session) -> list[Any]:
    found = [json.loads(text) for text in session.outgoing]
    session.outgoing.clear()
    return found


def market(hall: Exchange, *tokens: str, **more: Any) -> Session:
    session = hall.connect("/ws/market")
    session.receive(json.dumps({"type": "market", "assets_ids": list(tokens), **more}))
    return session


def user(trader: Trader, *markets: str, **wrong: str) -> Session:
    session = trader.exchange.connect("/ws/user")
    creds = {k: trader.creds[k] for k in ("apiKey", "secret", "passphrase")} | wrong
    session.receive(json.dumps({"type": "user", "auth": creds, "markets": list(markets)}))
    return session


class TestMarketChannel:
    def test_a_subscription_starts_with_the_books_worst_first(
        self, hall: Exchange, ann: Trader
    ) -> None:
        for price in (40, 41):
            ann.place(YES, "BUY", cents(price), shares("10"))
        (books,) = frames(market(hall, YES, NO))
        yes, no = books
        assert (yes["event_type"], yes["asset_id"]) == ("book", YES)
        assert [level["price"] for level in yes["bids"]] == ["0.4", "0.41"]
        assert [level["price"] for level in no["asks"]] == ["0.6", "0.59"]
        assert yes["hash"] == ann.control("GET", f"/book?token_id={YES}")["hash"]

    def test_changes_are_new_totals_for_both_outcomes(self, hall: Exchange, ann: Trader) -> None:
        session = market(hall, NO)
        frames(session)
        ann.place(YES, "BUY", cents(40), shares("10"))
        order_id = ann.place(YES, "BUY", cents(40), shares("5"))["orderID"]
        ann.send("DELETE", "/order", {"orderID": order_id})
        changes = [frame["price_changes"] for frame in frames(session)]
        assert [(c[0]["price"], c[0]["size"], c[0]["side"]) for c in changes] == [
            ("0.4", "10", "BUY"),
            ("0.4", "15", "BUY"),
            ("0.4", "10", "BUY"),
        ]
        mirrored = changes[0][1]
        assert (mirrored["asset_id"], mirrored["price"], mirrored["side"]) == (NO, "0.6", "SELL")
        assert (mirrored["best_bid"], mirrored["best_ask"]) == ("0", "0.6")

    def test_a_trade_brings_its_price_and_the_whole_book(self, hall: Exchange, ann: Trader) -> None:
        bob = Trader(hall, 2)
        ann.place(YES, "SELL", cents(40), shares("10"))
        session = market(hall, YES)
        frames(session)
        bob.place(YES, "BUY", cents(40), shares("6"))
        last, change, book = frames(session)
        assert last["event_type"] == "last_trade_price"
        assert (last["price"], last["size"], last["side"]) == ("0.4", "6", "BUY")
        assert change["price_changes"][0]["size"] == "4"
        assert (book["event_type"], book["last_trade_price"]) == ("book", "0.4")

    def test_a_print_is_published_once_whoever_it_fills(self, hall: Exchange, ann: Trader) -> None:
        ann.place(YES, "BUY", cents(40), shares("10"))
        session = market(hall, YES)
        frames(session)
        hall.recorded_print(RAIN.condition_id, "SELL", cents(40), shares("25"))
        hall.commit()
        lasts = [f for f in frames(session) if f["event_type"] == "last_trade_price"]
        assert [(f["price"], f["size"], f["side"]) for f in lasts] == [("0.4", "25", "SELL")]
        assert ann.ask("GET", "/data/trades")["data"][0]["size"] == "10"

    def test_subscriptions_change(self, hall: Exchange, ann: Trader) -> None:
        session = market(hall, YES)
        session.receive(json.dumps({"operation": "unsubscribe", "assets_ids": [YES]}))
        session.receive(json.dumps({"operation": "subscribe", "assets_ids": [SNOW.token_ids[0]]}))
        frames(session)
        ann.place(YES, "BUY", cents(40), shares("10"))
        assert frames(session) == []
        ann.place(SNOW.token_ids[0], "BUY", cents(40), shares("10"))
        assert [frame["event_type"] for frame in frames(session)] == ["price_change"]

    def test_custom_features(self, hall: Exchange, ann: Trader) -> None:
        session = market(hall, YES, custom_feature_enabled=True)
        frames(session)
        ann.place(YES, "BUY", cents(40), shares("10"))
        best = frames(session)[1]
        assert (best["event_type"], best["best_bid"], best["best_ask"], best["spread"]) == (
            "best_bid_ask",
            "0.4",
            "1",
            "0.6",
        )
        at = f"/_exchange/markets/{RAIN.condition_id}"
        ann.control("POST", at, {"tick": "0.001"})
        tick = frames(session)[0]
        assert (tick["old_tick_size"], tick["new_tick_size"]) == ("0.01", "0.001")
        ann.control("POST", at, {"state": "resolved", "winner": "No"})
        resolved = [f for f in frames(session) if f["event_type"] == "market_resolved"]
        assert [f["winning_asset_id"] for f in resolved] == [NO]

    def test_the_hash_is_the_official_clients(self, hall: Exchange, ann: Trader) -> None:
        session = market(hall, YES, NO)
        ann.place(YES, "BUY", cents(40), shares("10"))
        Trader(hall, 2).place(NO, "BUY", cents(60), shares("6"))  # a trade: books are sent
        told = frames(session)[1:]
        books = {f["asset_id"]: f for f in told if f["event_type"] == "book"}
        for token, book in books.items():
            rest = ann.control("GET", f"/book?token_id={token}")
            official = generate_orderbook_summary_hash(parse_raw_orderbook_summary(dict(rest)))
            assert book["hash"] == rest["hash"] == official
        changes = [c for f in told if f["event_type"] == "price_change" for c in f["price_changes"]]
        last = {change["asset_id"]: change["hash"] for change in changes}
        assert last == {token: book["hash"] for token, book in books.items()}

    def test_every_value_is_text_and_every_frame_is_one_the_official_client_knows(
        self, hall: Exchange, ann: Trader
    ) -> None:
        session = market(hall, YES, NO, custom_feature_enabled=True)
        ann.place(YES, "BUY", cents(40), shares("10"))
        Trader(hall, 2).place(NO, "BUY", cents(60), shares("6"))
        hall.set_tick(RAIN.condition_id, 1_000)
        hall.feeds.new_market(hall.listings[SNOW.condition_id], hall.now_ms())
        hall.set_state(RAIN.condition_id, "resolved", 0)
        hall.commit()
        first, *rest = frames(session)
        kinds = set()
        for frame in (*first, *rest):
            event = parse_market_event(frame)
            assert event.payload.model_dump(exclude_none=True)
            kinds.add(event.type)
            if event.type not in {"new_market", "market_resolved"}:
                levels = [v for v in frame.values() if isinstance(v, list)]
                flat = [v for v in frame.values() if not isinstance(v, list)]
                inner = [v for level in levels for entry in level for v in entry.values()]
                assert all(isinstance(value, str) for value in (*flat, *inner)), frame
        assert kinds == {
            "book",
            "price_change",
            "last_trade_price",
            "tick_size_change",
            "best_bid_ask",
            "new_market",
            "market_resolved",
        }

    def test_without_the_optional_features_their_frames_stay_away(
        self, hall: Exchange, ann: Trader
    ) -> None:
        session = market(hall, YES)
        frames(session)
        ann.place(YES, "BUY", cents(40), shares("10"))
        hall.feeds.new_market(hall.listings[SNOW.condition_id], hall.now_ms())
        hall.set_state(RAIN.condition_id, "resolved", 0)
        hall.commit()
        assert {frame["event_type"] for frame in frames(session)} == {"price_change"}

    def test_best_prices_are_told_when_they_change_since_one_listens(
        self, hall: Exchange, ann: Trader
    ) -> None:
        ann.place(YES, "BUY", cents(40), shares("10"))
        better = ann.place(YES, "BUY", cents(41), shares("10"))["orderID"]
        session = market(hall, YES, custom_feature_enabled=True)
        frames(session)
        ann.place(YES, "BUY", cents(39), shares("10"))
        assert [f["event_type"] for f in frames(session)] == ["price_change"]
        ann.send("DELETE", "/order", {"orderID": better})
        _, best = frames(session)
        assert (best["event_type"], best["best_bid"]) == ("best_bid_ask", "0.4")

    def test_a_connection_begins_with_its_type(self, hall: Exchange, ann: Trader) -> None:
        session = hall.connect("/ws/market")
        session.receive(json.dumps({"operation": "subscribe", "assets_ids": [YES]}))
        assert list(session.outgoing) == ["INVALID OPERATION"]
        session.outgoing.clear()
        ann.place(YES, "BUY", cents(40), shares("10"))
        assert frames(session) == []

    @pytest.mark.parametrize(
        "text",
        ["hello", "[]", "{}", '{"operation": []}', '{"type": "market", "assets_ids": 5}'],
    )
    def test_a_frame_that_is_no_operation_is_told_so(self, hall: Exchange, text: str) -> None:
        session = hall.connect("/ws/market")
        session.receive(text)
        assert list(session.outgoing) == ["INVALID OPERATION"]

    def test_ping_is_text(self, hall: Exchange) -> None:
        session = market(hall, YES)
        session.outgoing.clear()
        session.receive("PING")
        assert list(session.outgoing) == ["PONG"]

    def test_a_client_that_never_reads_is_cut_off(self, hall: Exchange) -> None:
        session = market(hall, YES)
        for _ in range(10_001):
            session.receive("PING")
        assert session.closed


class TestUserChannel:
    def test_an_order_and_its_trades_to_both_sides(
        self, clock: Clock, hall: Exchange, ann: Trader
    ) -> None:
        bob = Trader(hall, 2)
        maker, taker = user(ann), user(bob, RAIN.condition_id)
        order_id = ann.place(YES, "SELL", cents(40), shares("10"))["orderID"]
        bob.place(YES, "BUY", cents(40), shares("6"))
        for _ in range(2):
            clock.forward(3)
            hall.advance()
        ann.send("DELETE", "/order", {"orderID": order_id})
        seen = [(f["event_type"], f["type"], f["status"]) for f in frames(maker)]
        assert seen == [
            ("order", "PLACEMENT", "LIVE"),
            ("order", "UPDATE", "LIVE"),
            ("trade", "TRADE", "MATCHED"),
            ("trade", "TRADE", "MINED"),
            ("trade", "TRADE", "CONFIRMED"),
            ("order", "CANCELLATION", "CANCELED"),
        ]
        events = frames(taker)
        assert [f["status"] for f in events if f["event_type"] == "order"] == ["LIVE", "MATCHED"]
        assert {f["trader_side"] for f in events if f["event_type"] == "trade"} == {"TAKER"}
        assert [f["transaction_hash"] is None for f in events if f["event_type"] == "trade"] == [
            True,
            False,
            False,
        ]

    def test_a_killed_order_comes_as_free_text(self, ann: Trader) -> None:
        session = user(ann)
        ann.post(YES, "BUY", cents(40), shares("10"), "FOK")
        (event,) = frames(session)
        assert event["type"] == "CANCELLATION"
        assert event["status"].startswith("CANCELED_order couldn't be fully filled")
        assert event["size_matched"] == ""

    def test_wrong_credentials_end_the_connection(self, ann: Trader) -> None:
        assert user(ann, passphrase="no").closed
        assert not user(ann).closed

    def test_other_markets_and_other_peoples_orders_stay_silent(
        self, hall: Exchange, ann: Trader
    ) -> None:
        bob = Trader(hall, 2)
        session, other = user(ann, SNOW.condition_id), user(bob)
        ann.place(YES, "BUY", cents(40), shares("10"))
        assert (frames(session), frames(other)) == ([], [])

    def test_markets_are_added_and_taken_away(self, hall: Exchange, ann: Trader) -> None:
        session = user(ann, SNOW.condition_id)
        session.receive(json.dumps({"operation": "subscribe", "markets": [RAIN.condition_id]}))
        ann.place(YES, "BUY", cents(40), shares("10"))
        assert len(frames(session)) == 1
        both = [RAIN.condition_id, SNOW.condition_id]
        session.receive(json.dumps({"operation": "unsubscribe", "markets": both}))
        ann.place(YES, "BUY", cents(40), shares("10"))
        assert frames(session) == []  # having named markets once, none is not all of them

    def test_nothing_is_told_before_it_is_durable(self, clock: Clock, tmp_path: Path) -> None:
        hall = make(clock, tmp_path / "exchange.db")
        ann = Trader(hall, 1)
        session = user(ann)
        rows: list[int] = []

        def count() -> None:
            found = hall._state._db.execute("SELECT count(*) FROM orders").fetchone()
            rows.append(found[0] if not hall._state._db.in_transaction else -1)

        session.on_frame = count
        ann.place(YES, "BUY", cents(40), shares("10"))
        assert rows == [1]
        hall.close()


class TestFaults:
    def fault(self, trader: Trader, name: str, **more: Any) -> None:
        trader.control("POST", "/_exchange/faults", {"name": name, **more})

    def test_a_lost_answer_was_applied_and_a_lost_request_was_not(self, ann: Trader) -> None:
        self.fault(ann, "lose_answer", count=1, method="POST", path="/order")
        lost = ann.post(YES, "BUY", cents(40), shares("10"))
        assert (lost.lost, lost.hang, len(ann.open_ids())) == (True, False, 1)
        self.fault(ann, "lose_request", count=1, path="/ord*", hang=True)
        lost = ann.post(YES, "BUY", cents(40), shares("10"))
        assert (lost.lost, lost.hang, len(ann.open_ids())) == (True, True, 1)

    def test_a_delayed_request_lands_late(self, clock: Clock, ann: Trader) -> None:
        self.fault(ann, "delay_request", count=1, path="/order", seconds=20)
        assert ann.post(YES, "BUY", cents(40), shares("10")).lost
        clock.forward(19)
        assert ann.open_ids() == []
        clock.forward(1)
        assert len(ann.open_ids()) == 1

    def test_a_delayed_answer_and_an_error_after_acceptance(self, ann: Trader) -> None:
        self.fault(ann, "delay_answer", count=1, path="/order", seconds=3)
        answer = ann.post(YES, "BUY", cents(40), shares("10"))
        assert (answer.status, answer.delay_s) == (200, 3)
        self.fault(ann, "error_after_accept", count=1, path="/order")
        assert ann.post(YES, "BUY", cents(40), shares("10")).status == 500
        assert len(ann.open_ids()) == 2

    def test_reads_that_hide_what_is_there(self, ann: Trader) -> None:
        order_id = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
        self.fault(ann, "null_order", count=1)
        self.fault(ann, "empty_orders", count=1)
        assert (ann.order(order_id), ann.open_ids()) == (None, [])
        assert (ann.order(order_id)["status"], ann.open_ids()) == ("LIVE", [order_id])

    def test_every_third_and_the_counters(self, ann: Trader) -> None:
        self.fault(ann, "lose_answer", every=3, method="POST")
        lost = [ann.post(YES, "BUY", cents(1), shares("5")).lost for _ in range(6)]
        assert lost == [False, False, True] * 2
        (report,) = ann.control("GET", "/_exchange/faults")["faults"]
        assert (report["seen"], report["struck"]) == (6, 2)
        ann.control("DELETE", "/_exchange/faults")
        assert ann.control("GET", "/_exchange/faults") == {"faults": []}

    def test_rates_come_from_the_seed(self) -> None:
        def run(seed: int) -> list[bool]:
            ann = Trader(make(Clock(), seed=seed), 1)
            self.fault(ann, "lose_answer", rate=0.5, path="/ok")
            return [ann.send("GET", "/ok").lost for _ in range(40)]

        assert run(1) == run(1)
        assert run(1) != run(2)
        assert 5 < sum(run(1)) < 35

    def test_silent_and_leaky_sockets(self, hall: Exchange, ann: Trader) -> None:
        session = market(hall, YES)
        frames(session)
        self.fault(ann, "stall_sockets")
        ann.place(YES, "BUY", cents(40), shares("10"))
        session.receive("PING")
        assert list(session.outgoing) == ["PONG"]
        session.outgoing.clear()
        ann.control("DELETE", "/_exchange/faults")
        self.fault(ann, "drop_frames", every=2)
        for _ in range(4):
            ann.place(YES, "BUY", cents(40), shares("10"))
        assert [f["price_changes"][0]["size"] for f in frames(session)] == ["20", "40"]

    @pytest.mark.parametrize(
        "body", [{"name": "explode"}, {"name": "lose_answer", "rate": 2}, {"nmae": "lose_answer"}]
    )
    def test_a_fault_nobody_knows_is_refused(self, ann: Trader, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        assert ann.exchange.handle("POST", "/_exchange/faults", {}, raw).status == 400


def test_every_answer_says_that_it_is_simulated(ann: Trader) -> None:
    for method, target in (("GET", "/ok"), ("GET", "/nothing"), ("GET", "/data/orders")):
        headers = ann.exchange.handle(method, target, {}, b"").headers
        assert headers.items() >= MARK.items()

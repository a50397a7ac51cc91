"""Each fault by its name: what the client sees, and what is so. The catalogue's ids in brackets."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from runner.exchange.api import Exchange
from runner.exchange.faults import OPTIONS, Fault, FaultName
from runner.exchange.settlement import Delays
from tests.exchange.kit import RAIN, SNOW, Clock, Trader, cents, make, shares
from tests.exchange.test_feeds import frames, market, user

YES, NO = RAIN.token_ids
DOCS = Path(__file__).parents[2] / "docs" / "scenarios.md"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hall(clock: Clock) -> Exchange:
    return make(clock, delays=Delays((2_000, 2_000), (3_000, 3_000)))


@pytest.fixture
def ann(hall: Exchange) -> Trader:
    return Trader(hall, 1, t1001="100")


def fault(trader: Trader, name: str, **more: Any) -> None:
    trader.control("POST", "/_exchange/faults", {"name": name, **more})


def ledger_orders(trader: Trader) -> dict[str, dict[str, Any]]:
    rows = trader.control("GET", f"/_exchange/ledger?owner={trader.address}")["orders"]
    return {row["order_id"]: row for row in rows}


class TestRequests:
    def test_a_delayed_order_lands_after_its_cancel_found_nothing(  # X3, M9
        self, clock: Clock, ann: Trader
    ) -> None:
        body = ann.body(YES, "BUY", cents(40), shares("10"))
        order_id = Trader(make(Clock()), 1).send("POST", "/order", body)
        known = json.loads(order_id.body)["orderID"]
        fault(ann, "delay_request", method="POST", count=1, seconds=8)
        assert ann.send("POST", "/order", body).lost
        clock.forward(2)
        answer = ann.ask("DELETE", "/order", {"orderID": known})
        assert list(answer["not_canceled"]) == [known]
        clock.forward(6)
        assert ann.open_ids() == [known]

    @pytest.mark.parametrize("retry_after", [None, 7])
    def test_too_many_requests_with_and_without_a_time_to_wait(  # X9
        self, ann: Trader, retry_after: int | None
    ) -> None:
        more = {} if retry_after is None else {"retry_after": retry_after}
        fault(ann, "refuse_request", path="/order", count=1, **more)
        answer = ann.post(YES, "BUY", cents(40), shares("10"))
        assert (answer.status, json.loads(answer.body)) == (429, {"error": "Too Many Requests"})
        assert answer.headers.get("Retry-After") == (None if retry_after is None else "7")
        assert ledger_orders(ann) == {}

    def test_another_refusal(self, ann: Trader) -> None:
        fault(ann, "refuse_request", status=503)
        answer = ann.post(YES, "BUY", cents(40), shares("10"))
        assert (answer.status, b"currently disabled" in answer.body) == (503, True)

    @pytest.mark.parametrize(
        ("name", "more", "status"),
        [
            ("error_after_accept", {}, 500),
            ("error_after_accept", {"status": 503}, 503),
            ("html_answer", {}, 502),
            ("html_answer", {"status": 200}, 200),
            ("truncate_answer", {}, 200),
        ],
    )
    def test_what_was_accepted_is_so_whatever_the_answer_looks_like(  # X4, X10
        self, ann: Trader, name: str, more: dict[str, Any], status: int
    ) -> None:
        fault(ann, name, method="POST", path="/order", count=1, **more)
        answer = ann.post(YES, "BUY", cents(40), shares("10"))
        assert answer.status == status
        assert [row["status"] for row in ledger_orders(ann).values()] == ["LIVE"]
        if name == "html_answer":
            assert answer.headers["Content-Type"] == "text/html"
            assert answer.body.startswith(b"<html>")
        if name != "error_after_accept":
            with pytest.raises(ValueError, match="line 1"):
                json.loads(answer.body)
        assert answer.headers["X-Simulated"]

    def test_a_stale_read_is_an_earlier_answer_to_the_same_request(  # X21
        self, clock: Clock, ann: Trader
    ) -> None:
        fault(ann, "stale_answer", path="/data/*", seconds=5)
        assert ann.open_ids() == []
        order_id = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
        assert ann.open_ids() == [order_id]  # nothing was asked five seconds ago
        clock.forward(5)
        assert ann.open_ids() == [order_id]  # the last of the two answers that are old enough
        ann.send("DELETE", "/order", {"orderID": order_id})
        assert ann.open_ids() == [order_id]
        assert ann.order(order_id)["status"] == "CANCELED"  # never asked before
        clock.forward(10)
        (report,) = ann.control("GET", "/_exchange/faults")["faults"]
        assert report["struck"] == 2
        ann.control("DELETE", "/_exchange/faults")
        assert ann.open_ids() == []

    def test_a_torn_page_lacks_a_row_and_a_cut_one_its_end(self, ann: Trader) -> None:  # X19, X20
        for price in range(1, 6):
            ann.place(YES, "BUY", cents(price), shares("5"))
        whole = ann.open_ids()
        fault(ann, "torn_page", count=1)
        fault(ann, "cut_pages", count=1)
        assert ann.open_ids() == [*whole[:2], *whole[3:]]
        page = ann.ask("GET", "/data/orders")
        assert [row["id"] for row in page["data"]] == whole[:2]
        assert (page["count"], page["next_cursor"]) == (2, "LTE=")
        assert ann.open_ids() == whole

    def test_the_tick_changes_between_signing_and_arrival(self, ann: Trader) -> None:  # X30, W13
        session = market(ann.exchange, SNOW.token_ids[0])
        frames(session)
        fault(ann, "change_tick", tick="0.01", count=1)
        token = SNOW.token_ids[0]
        status, text = ann.refused(token, "BUY", 401_000, shares("10"))
        assert (status, "breaks minimum tick size rule: 0.01" in text) == (400, True)
        (tick,) = (f for f in frames(session) if f["event_type"] == "tick_size_change")
        assert (tick["old_tick_size"], tick["new_tick_size"]) == ("0.001", "0.01")
        ann.place(token, "BUY", cents(40), shares("10"))

    def test_the_clock_jumps_on_and_back(self, clock: Clock, ann: Trader) -> None:  # T1, T7
        before = ann.ask("GET", "/time")
        fault(ann, "jump_clock", seconds=90, count=1)
        assert ann.ask("GET", "/time") == before + 90
        fault(ann, "jump_clock", seconds=-100, count=1)
        assert ann.ask("GET", "/time") == before - 10
        expires = int(clock.now.timestamp()) + 240
        order_id = ann.place(YES, "BUY", cents(40), shares("10"), "GTD", expiration=expires)
        clock.forward(185)
        assert ann.open_ids() == [order_id["orderID"]]  # by its own clock it is not yet time
        clock.forward(6)
        assert ann.open_ids() == []

    def test_a_cancel_comes_too_late_for_a_fill(
        self, hall: Exchange, ann: Trader
    ) -> None:  # M5, M6
        bob = Trader(hall, 2)
        before = bob.place(YES, "BUY", cents(40), shares("7"))["orderID"]
        order_id = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
        other = ann.place(YES, "BUY", cents(39), shares("10"))["orderID"]
        fault(ann, "fill_before_cancel", count=1)
        answer = ann.ask("DELETE", "/orders", [order_id, other])
        assert answer == {
            "canceled": [other],
            "not_canceled": {order_id: "order can't be found - already canceled or matched"},
        }
        assert ledger_orders(ann)[order_id]["matched"] == "10"
        assert ledger_orders(bob)[before]["matched"] == "7"  # it stood first in the queue


class TestOrdersAndTrades:
    def test_the_exchange_ends_an_order_of_its_own_accord(  # M12
        self, clock: Clock, ann: Trader
    ) -> None:
        session = user(ann)
        fault(ann, "venue_cancel", seconds=3, count=1)
        order_id = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
        other = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
        clock.forward(3)
        ann.exchange.advance()
        ended = frames(session)[-1]
        assert (ended["id"], ended["type"], ended["status"]) == (
            order_id,
            "CANCELLATION",
            "INVALID",
        )
        assert ann.order(order_id)["status"] == "INVALID"
        assert ann.open_ids() == [other]

    @pytest.mark.parametrize("returns", [False, True])
    def test_a_failed_trades_size_returns_or_not(  # M1, M4
        self, clock: Clock, ann: Trader, tmp_path: Path, returns: bool
    ) -> None:
        hall = make(clock, tmp_path / "hall.db", delays=Delays((2_000, 2_000), (3_000, 3_000)))
        ann, bob = Trader(hall, 1, t1001="100"), Trader(hall, 2)
        sold = ann.place(YES, "SELL", cents(40), shares("10"))["orderID"]
        fault(ann, "fail_trade", **({"size_returns": True} if returns else {}))
        bought = bob.place(YES, "BUY", cents(40), shares("6"))["orderID"]
        told = user(ann)
        clock.forward(2)
        hall.advance()
        assert frames(told)[0]["status"] == "FAILED"
        for _ in range(2):  # and the same after a restart
            shown = (ann.order(sold)["size_matched"], bob.order(bought)["size_matched"])
            assert shown == (("0", "0") if returns else ("6", "6"))
            assert ann.order(sold)["status"] == "LIVE"
            assert ledger_orders(ann)[sold]["matched"] == "6"
            book = json.loads(hall.handle("GET", f"/book?token_id={YES}", {}, b"").body)
            assert book["asks"] == [{"price": "0.4", "size": "4"}]  # it is not listed again
            hall.close()
            hall = make(clock, tmp_path / "hall.db")
            ann, bob = Trader(hall, 1), Trader(hall, 2)
        hall.close()


class TestFrames:
    """W1, W6, W8 and what cuts a frame in two."""

    def sizes(self, ann: Trader, name: str, **more: Any) -> list[str]:
        session = market(ann.exchange, YES)
        frames(session)
        fault(ann, name, **more)
        for _ in range(4):
            ann.place(YES, "BUY", cents(40), shares("10"))
        return [f["price_changes"][0]["size"] for f in frames(session)]

    def test_doubled(self, ann: Trader) -> None:
        assert self.sizes(ann, "repeat_frames", every=2) == ["10", "20", "20", "30", "40", "40"]

    def test_overtaken(self, ann: Trader) -> None:
        assert self.sizes(ann, "reorder_frames", every=2) == ["10", "30", "20"]

    def test_late(self, clock: Clock, ann: Trader) -> None:
        session = market(ann.exchange, YES)
        frames(session)
        fault(ann, "delay_frames", every=2, seconds=3)
        for _ in range(4):
            ann.place(YES, "BUY", cents(40), shares("10"))
        assert [f["price_changes"][0]["size"] for f in frames(session)] == ["10", "30"]
        due = ann.exchange.next_due()
        assert due is not None
        assert (due - clock.now).total_seconds() == 3
        clock.forward(3)
        ann.exchange.advance()
        assert [f["price_changes"][0]["size"] for f in frames(session)] == ["20", "40"]

    def test_cut_in_two(self, ann: Trader) -> None:
        session = market(ann.exchange, YES)
        frames(session)
        fault(ann, "malform_frames", count=1)
        ann.place(YES, "BUY", cents(40), shares("10"))
        (text,) = session.outgoing
        with pytest.raises(ValueError, match="line 1"):
            json.loads(text)

    def test_of_one_channel_only(self, ann: Trader) -> None:
        told, shown = user(ann), market(ann.exchange, YES)
        frames(shown)
        fault(ann, "stall_sockets", path="/ws/user")
        ann.place(YES, "BUY", cents(40), shares("10"))
        assert (frames(told), len(frames(shown))) == ([], 1)
        told.receive("PING")
        assert list(told.outgoing) == ["PONG"]

    def test_a_cancellation_before_the_trade_that_it_followed(  # W6
        self, clock: Clock, hall: Exchange, ann: Trader
    ) -> None:
        bob = Trader(hall, 2)
        order_id = ann.place(YES, "SELL", cents(40), shares("10"))["orderID"]
        session = user(ann)
        fault(ann, "delay_frames", path="/ws/user", seconds=2)
        bob.place(YES, "BUY", cents(40), shares("6"))
        ann.control("DELETE", "/_exchange/faults")
        ann.send("DELETE", "/order", {"orderID": order_id})
        (ended,) = frames(session)
        assert (ended["type"], ended["size_matched"]) == ("CANCELLATION", "6")
        clock.forward(2)
        hall.advance()
        assert [f["event_type"] for f in frames(session)] == ["order", "trade", "trade"]


class TestSetting:
    def test_a_key_that_a_fault_does_not_know_is_refused(self) -> None:
        for name in get_args(FaultName):
            for key, value in {"hang": True, "tick": "0.01", "seconds": 2, "status": 500}.items():
                if key not in OPTIONS[name]:
                    with pytest.raises(ValueError, match=f"{name} has no {key}"):
                        Fault.model_validate({"name": name, key: value})

    @pytest.mark.parametrize(
        "more",
        [
            {"name": "delay_answer", "seconds": -1},
            {"name": "error_after_accept", "status": 200},
            {"name": "refuse_request", "status": 599},
            {"name": "change_tick", "tick": "0.02"},
            {"name": "change_tick", "tick": "x"},
        ],
    )
    def test_a_value_that_makes_no_sense_is_refused(
        self, ann: Trader, more: dict[str, Any]
    ) -> None:
        raw = json.dumps(more).encode()
        assert ann.exchange.handle("POST", "/_exchange/faults", {}, raw).status == 400

    def test_every_fault_is_documented_with_its_keys(self) -> None:
        text = DOCS.read_text(encoding="utf-8")
        rows = dict(re.findall(r"^\| `([a-z_]+)` \|(.*?)\| .* \|$", text, re.MULTILINE))
        for name, keys in OPTIONS.items():
            told_once = {"method", "path"} if "method" in keys else set()
            assert set(re.findall(r"`([a-z_]+)`", rows[name])) == keys - told_once, name

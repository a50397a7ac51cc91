"""Markets that delay takers: held orders, what they may not do, and what comes of them."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from runner.exchange.api import Exchange
from runner.exchange.requests import Response
from runner.exchange.server import serving, wall_clock
from tests.exchange.kit import RAIN, START, Clock, Trader, cents, shares

YES, NO = RAIN.token_ids
SPORTS = replace(RAIN, seconds_delay=3)
CRYPTO = replace(RAIN, taker_delay_ms=250)


class Pit:
    """A maker and a taker on one market."""

    def __init__(self, market: Any, path: Path | None = None) -> None:
        self.clock = Clock()
        self.market, self.path = market, path
        self.hall = Exchange(path, self.clock, 7, [market])
        self.ann, self.bob = Trader(self.hall, 1, t1001="500"), Trader(self.hall, 2)

    def forward(self, seconds: float) -> None:
        self.clock.forward(seconds)
        self.hall.advance()

    def reopen(self) -> None:
        self.hall.close()
        self.hall = self.ann.exchange = self.bob.exchange = Exchange(
            self.path, self.clock, 7, [self.market]
        )


def told(response: Response) -> Any:
    """The answer that was pending, once it is there."""
    assert response.pending is not None
    assert response.pending.response is not None
    return json.loads(response.pending.response.body)


class TestDelayed:
    """`seconds_delay`: the answer is `delayed` at once."""

    @pytest.fixture
    def pit(self) -> Pit:
        pit = Pit(SPORTS)
        pit.ann.place(YES, "SELL", cents(40), shares("30"))
        return pit

    def test_what_rests_is_not_delayed(self, pit: Pit) -> None:
        assert pit.bob.place(YES, "BUY", cents(39), shares("10"))["status"] == "live"

    def test_it_is_answered_at_once_and_matched_later(self, pit: Pit) -> None:
        answer = pit.bob.place(YES, "BUY", cents(40), shares("10"))
        assert answer == {
            "success": True,
            "errorMsg": "",
            "orderID": answer["orderID"],
            "status": "delayed",
            "makingAmount": "0",
            "takingAmount": "0",
            "tradeIDs": [],
        }
        order_id = answer["orderID"]
        assert (pit.bob.order(order_id)["status"], pit.bob.open_ids()) == ("DELAYED", [])
        pit.forward(2.999)
        assert pit.bob.order(order_id)["size_matched"] == "0"
        pit.forward(0.001)
        order = pit.bob.order(order_id)
        assert (order["status"], order["size_matched"]) == ("MATCHED", "10")
        assert len(order["associate_trades"]) == 1

    def test_it_cannot_be_cancelled_while_it_is_held(self, pit: Pit) -> None:
        order_id = pit.bob.place(YES, "BUY", cents(40), shares("50"))["orderID"]
        gone = "order can't be found - already canceled or matched"
        answer = pit.bob.ask("DELETE", "/order", {"orderID": order_id})
        assert answer == {"canceled": [], "not_canceled": {order_id: gone}}
        assert pit.bob.ask("DELETE", "/cancel-all")["canceled"] == []
        pit.forward(3)
        assert pit.bob.order(order_id)["size_matched"] == "30"
        assert pit.bob.ask("DELETE", "/order", {"orderID": order_id})["canceled"] == [order_id]

    def test_it_holds_its_funds(self, pit: Pit) -> None:
        pit.bob.place(YES, "BUY", cents(40), shares("2000"))
        _, error = pit.bob.refused(YES, "BUY", cents(30), shares("1000"))
        assert "sum of active orders: 800000000" in error

    def test_a_makers_cancel_comes_first(self, pit: Pit) -> None:
        order_id = pit.bob.place(YES, "BUY", cents(40), shares("10"))["orderID"]
        pit.ann.send("DELETE", "/cancel-all")
        pit.forward(3)
        order = pit.bob.order(order_id)
        assert (order["status"], order["size_matched"]) == ("LIVE", "0")
        assert pit.bob.open_ids() == [order_id]

    @pytest.mark.parametrize("order_type", ["FAK", "FOK"])
    def test_with_nothing_left_a_market_order_is_killed(self, pit: Pit, order_type: str) -> None:
        order_id = pit.bob.place(YES, "BUY", cents(40), shares("10"), order_type)["orderID"]
        pit.ann.send("DELETE", "/cancel-all")
        pit.forward(3)
        assert pit.bob.order(order_id)["status"] == "CANCELED"  # it was taken: `delayed`
        ledger = pit.bob.control("GET", f"/_exchange/ledger?owner={pit.bob.address}")
        assert [(row["order_id"], row["status"]) for row in ledger["orders"]] == [
            (order_id, "CANCELED")
        ]
        assert ledger["trades"] == []
        pit.bob.place(YES, "BUY", cents(39), shares("2500"))  # nothing is held any more

    def test_a_second_one_is_a_duplicate(self, pit: Pit) -> None:
        body = pit.bob.body(YES, "BUY", cents(40), shares("10"))
        pit.bob.ask("POST", "/order", body)
        assert pit.bob.ask("POST", "/order", body)["error"].endswith("is invalid. Duplicated.")

    @pytest.mark.parametrize("state", ["paused", "closed", "resolved"])
    def test_it_ends_with_its_market(self, pit: Pit, state: str) -> None:
        order_id = pit.bob.place(YES, "BUY", cents(40), shares("10"))["orderID"]
        change = {"state": state} | ({"winner": "Yes"} if state == "resolved" else {})
        pit.bob.control("POST", f"/_exchange/markets/{RAIN.condition_id}", change)
        pit.forward(3)
        ended = "CANCELED_MARKET_RESOLVED" if state == "resolved" else "CANCELED"
        assert pit.bob.order(order_id)["status"] == ended
        assert pit.bob.order(order_id)["size_matched"] == "0"

    def test_it_outlives_the_process(self, tmp_path: Path) -> None:
        pit = Pit(SPORTS, tmp_path / "x.db")
        pit.ann.place(YES, "SELL", cents(40), shares("30"))
        order_id = pit.bob.place(YES, "BUY", cents(40), shares("10"))["orderID"]
        pit.reopen()
        assert pit.bob.order(order_id)["status"] == "DELAYED"
        pit.forward(3)
        assert pit.bob.order(order_id)["status"] == "MATCHED"

    def test_it_says_so_in_its_listings(self, pit: Pit) -> None:
        assert pit.bob.ask("GET", f"/clob-markets/{RAIN.condition_id}")["sd"] == 3
        assert pit.bob.ask("GET", f"/markets/{RAIN.condition_id}")["seconds_delay"] == 3


class TestTakerDelay:
    """`taker_delay_ms`: the answer waits with the order."""

    @pytest.fixture
    def pit(self) -> Pit:
        pit = Pit(CRYPTO)
        pit.ann.place(YES, "SELL", cents(40), shares("30"))
        return pit

    def test_the_answer_comes_with_the_match(self, pit: Pit) -> None:
        response = pit.bob.post(YES, "BUY", cents(40), shares("10"))
        assert response.pending is not None
        heard: list[str] = []
        response.pending.on_answer = lambda: heard.append("answer")
        pit.forward(0.249)
        assert response.pending.response is None
        pit.forward(0.001)
        assert heard == ["answer"]
        answer = told(response)
        assert (answer["status"], answer["takingAmount"]) == ("matched", "10")
        assert pit.hall.next_due() is not None  # the trade's own course goes on
        (trade,) = pit.bob.ask("GET", "/data/trades")["data"]
        assert trade["match_time"] == str(int(START.timestamp()))

    def test_unmatched_where_it_was_marketable_and_nothing_is_left(self, pit: Pit) -> None:
        response = pit.bob.post(YES, "BUY", cents(40), shares("10"))
        pit.ann.send("DELETE", "/cancel-all")
        pit.forward(0.25)
        answer = told(response)
        assert (answer["status"], answer["makingAmount"]) == ("unmatched", "")
        assert pit.bob.open_ids() == [answer["orderID"]]

    def test_a_fak_is_refused_where_nothing_is_left(self, pit: Pit) -> None:
        response = pit.bob.post(YES, "BUY", cents(40), shares("10"), "FAK")
        pit.ann.send("DELETE", "/cancel-all")
        pit.forward(0.25)
        assert response.pending is not None
        assert response.pending.response is not None
        assert response.pending.response.status == 400
        assert told(response)["error"].startswith("no orders found to match with FAK order.")

    def test_funds_spent_elsewhere_meanwhile_refuse_it(self, pit: Pit) -> None:
        """The fee isn't held: 999.9 dollars are there, and 999.9 and a fee are needed."""
        poor = Trader(pit.hall, 3, cash="4.096")
        response = poor.post(YES, "BUY", cents(40), shares("10"))
        account = pit.hall.accounts.find(poor.address)
        assert account is not None
        account.cash -= 1
        pit.forward(0.25)
        assert "not enough balance" in told(response)["error"]

    def test_a_batch_is_answered_when_its_last_leg_is(self, pit: Pit) -> None:
        legs = [
            pit.bob.body(YES, "BUY", cents(40), shares("10")),
            pit.bob.body(YES, "BUY", cents(30), shares("10")),
            pit.bob.body(YES, "BUY", cents(30), shares("1")),
        ]
        response = pit.bob.send("POST", "/orders", legs)
        pit.forward(0.25)
        first, second, third = told(response)
        assert (first["status"], second["status"]) == ("matched", "live")
        assert "lower than the minimum" in third["errorMsg"]

    def test_a_fault_strikes_the_late_answer(self, pit: Pit) -> None:
        fault = {"name": "lose_answer", "path": "/order"}
        pit.bob.control("POST", "/_exchange/faults", fault)
        response = pit.bob.post(YES, "BUY", cents(40), shares("10"))
        pit.forward(0.25)
        assert response.pending is not None
        assert response.pending.response is not None
        assert response.pending.response.lost
        assert len(pit.bob.ask("GET", "/data/trades")["data"]) == 1


async def test_over_sockets_the_answer_waits_as_long() -> None:
    hall = Exchange(None, wall_clock, 7, [CRYPTO])
    ann, bob = Trader(hall, 1, t1001="500"), Trader(hall, 2)
    ann.place(YES, "SELL", cents(40), shares("30"))
    raw = json.dumps(bob.body(YES, "BUY", cents(40), shares("10"))).encode()
    headers = bob.headers("POST", "/order", raw)
    async with serving(hall, 0) as (url, _), aiohttp.ClientSession() as session:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with session.post(f"{url}/order", data=raw, headers=headers) as response:
            answer = await response.json()
        assert (response.status, answer["status"], answer["takingAmount"]) == (200, "matched", "10")
        assert 0.24 <= loop.time() - began < 5


def test_one_kind_of_delay_a_market() -> None:
    with pytest.raises(ValueError, match="either a taker delay or a delay in seconds"):
        replace(SPORTS, taker_delay_ms=250)

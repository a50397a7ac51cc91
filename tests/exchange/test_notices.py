"""What `/notifications` tells of orders, and for how long."""

import pytest

from tests.exchange.kit import RAIN, Clock, Trader, cents, make, shares

YES = RAIN.token_ids[0]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ann(clock: Clock) -> Trader:
    return Trader(make(clock), 1, t1001="100")


def kinds(trader: Trader) -> list[tuple[int, str]]:
    told = trader.ask("GET", "/notifications")
    return [(notice["type"], notice["payload"]["order_id"]) for notice in told]


def test_each_party_is_told_of_its_own_part(ann: Trader) -> None:
    mine = ann.place(YES, "SELL", cents(43), shares("20"))["orderID"]
    bob = Trader(ann.exchange, 2)
    his = bob.place(YES, "BUY", cents(43), shares("5"))["orderID"]
    assert (kinds(ann), kinds(bob)) == ([(2, mine)], [(2, his)])
    (notice,) = ann.ask("GET", "/notifications")
    payload = notice["payload"]
    assert (payload["matched_size"], payload["remaining_size"]) == ("5", "15")
    ann.ask("DELETE", "/cancel-all")
    assert kinds(ann) == [(2, mine), (1, mine)]


def test_a_notice_is_told_for_two_days(ann: Trader, clock: Clock) -> None:
    order_id = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
    ann.ask("DELETE", "/order", {"orderID": order_id})
    clock.forward(2 * 86_400)
    assert kinds(ann) == [(1, order_id)]
    clock.forward(1)
    assert kinds(ann) == []


def test_nobody_drops_what_is_told_to_others(ann: Trader) -> None:
    order_id = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
    ann.ask("DELETE", "/order", {"orderID": order_id})
    (notice,) = ann.ask("GET", "/notifications")
    bob = Trader(ann.exchange, 2)
    bob.ask("DELETE", f"/notifications?ids={notice['id']}")
    assert kinds(ann) == [(1, order_id)]
    assert ann.ask("DELETE", f"/notifications?ids=1,{notice['id']}") == "OK"
    assert kinds(ann) == []
    assert ann.send("DELETE", "/notifications").status == 400


def test_a_killed_order_was_refused_and_is_no_cancel(ann: Trader) -> None:
    ann.refused(YES, "BUY", cents(40), shares("10"), "FOK")
    assert kinds(ann) == []

"""Public reads: books, prices, markets, Gamma and Data rows."""

import hashlib
import json
from typing import Any

import pytest

from tests.exchange.kit import RAIN, SNOW, Clock, Trader, cents, make, shares

YES, NO = RAIN.token_ids


@pytest.fixture
def ann() -> Trader:
    trader = Trader(make(Clock()), 1, t1001="100")
    trader.place(YES, "BUY", cents(40), shares("10"))
    trader.place(YES, "SELL", cents(43), shares("20"))
    return trader


def get(trader: Trader, target: str) -> Any:
    return trader.control("GET", target)


def test_the_book_and_its_hash(ann: Trader) -> None:
    book = get(ann, f"/book?token_id={NO}")
    assert (book["bids"], book["asks"]) == (
        [{"price": "0.57", "size": "20"}],
        [{"price": "0.6", "size": "10"}],
    )
    text = json.dumps(book | {"hash": ""}, separators=(",", ":"))
    assert hashlib.sha1(text.encode()).hexdigest() == book["hash"]
    assert [b["asset_id"] for b in ann.ask("POST", "/books", [{"token_id": NO}])] == [NO]


def test_prices_of_both_outcomes(ann: Trader) -> None:
    expected = {
        f"/price?token_id={YES}&side=BUY": {"price": "0.4"},
        f"/price?token_id={YES}&side=SELL": {"price": "0.43"},
        f"/price?token_id={NO}&side=BUY": {"price": "0.57"},
        f"/midpoint?token_id={YES}": {"mid": "0.415"},
        f"/midpoint?token_id={NO}": {"mid": "0.585"},
        f"/spread?token_id={YES}": {"spread": "0.03"},
        f"/last-trade-price?token_id={YES}": {"price": "0.5", "side": ""},
        f"/tick-size?token_id={SNOW.token_ids[0]}": {"minimum_tick_size": 0.001},
        f"/neg-risk?token_id={SNOW.token_ids[0]}": {"neg_risk": True},
        f"/fee-rate?token_id={YES}": {"base_fee": 0},
        "/version": {"version": 2},
    }
    assert {target: get(ann, target) for target in expected} == expected


def test_the_last_trade_as_each_outcome_sees_it(ann: Trader) -> None:
    Trader(ann.exchange, 2).place(YES, "BUY", cents(43), shares("5"))
    assert get(ann, f"/last-trade-price?token_id={YES}") == {"price": "0.43", "side": "BUY"}
    assert get(ann, f"/last-trade-price?token_id={NO}") == {"price": "0.57", "side": "SELL"}
    (point,) = get(ann, f"/prices-history?market={NO}&interval=1h&fidelity=1")["history"]
    assert point["p"] == 0.57


def test_numbers_are_written_digit_for_digit(ann: Trader) -> None:
    raw = ann.exchange.handle("GET", f"/tick-size?token_id={YES}", {}, b"").body
    assert raw == b'{"minimum_tick_size":0.01}'


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/book?token_id=77", 404),
        (f"/midpoint?token_id={SNOW.token_ids[0]}", 404),
        ("/markets/0x00", 404),
        ("/gamma/markets/slug/none", 404),
        (f"/price?token_id={YES}&side=HOLD", 400),
        (f"/prices-history?market={YES}&startTs=soon", 400),
        ("/data-api/v2/positions?user=0xzz", 400),
        ("/nowhere", 404),
    ],
)
def test_what_is_not_there(ann: Trader, target: str, status: int) -> None:
    assert ann.exchange.handle("GET", target, {}, b"").status == status


def test_markets_in_their_three_forms(ann: Trader) -> None:
    by_token = get(ann, f"/markets-by-token/{NO}")
    assert by_token == {
        "condition_id": RAIN.condition_id,
        "primary_token_id": YES,
        "secondary_token_id": NO,
    }
    short = get(ann, f"/clob-markets/{RAIN.condition_id}")
    assert (short["mts"], short["mos"], short["fd"]) == (0.01, 5, {"r": 0.04, "e": 1, "to": True})
    assert "nr" not in short
    assert get(ann, f"/clob-markets/{SNOW.condition_id}")["nr"] is True
    long = get(ann, f"/markets/{RAIN.condition_id}")
    assert [t["outcome"] for t in long["tokens"]] == ["Yes", "No"]
    assert get(ann, "/markets")["next_cursor"] == "LTE="


@pytest.mark.parametrize(
    "target",
    [
        "/gamma/markets?slug=rain",
        f"/gamma/markets?condition_ids={RAIN.condition_id}",
        f"/gamma/markets?clob_token_ids={NO}",
    ],
)
def test_gamma_keeps_lists_inside_strings(ann: Trader, target: str) -> None:
    (row,) = get(ann, target)
    assert row == get(ann, "/gamma/markets/slug/rain")
    assert (json.loads(row["outcomes"]), json.loads(row["clobTokenIds"])) == (
        ["Yes", "No"],
        [YES, NO],
    )
    assert row["acceptingOrders"]


def test_positions_and_executions_once_settled(ann: Trader) -> None:
    bob = Trader(ann.exchange, 2)
    bob.place(YES, "BUY", cents(43), shares("20"))
    assert get(ann, f"/data-api/v2/positions?user={bob.address}")["data"] == []
    ann.exchange._agenda._clock.forward(30)  # type: ignore[attr-defined]  # the test's own clock
    ann.exchange.advance()
    (row,) = get(ann, f"/data-api/v2/positions?user={bob.address}")["data"]
    assert (row["token_id"], row["current_size"], row["avg_price"]) == (YES, 20, 0.43)
    (execution,) = get(ann, f"/data-api/v2/trades?user={bob.address}")["data"]
    assert (execution["side"], execution["size"], execution["price"]) == ("BUY", 20, 0.43)

"""What is refused and with which words; what is accepted and how it is answered."""

from typing import Any

import pytest

from runner.exchange.markets import ONE
from tests.exchange.kit import RAIN, SNOW, START, Clock, Trader, cents, make, shares

YES, NO = RAIN.token_ids
SNOW_YES = SNOW.token_ids[0]
NOW_S = int(START.timestamp())


@pytest.fixture
def ann() -> Trader:
    return Trader(make(Clock()), 1, t1001="500", t1002="500")


def test_a_resting_order_is_live_and_readable(ann: Trader) -> None:
    answer = ann.place(YES, "BUY", cents(40), shares("100"))
    assert answer == {
        "success": True,
        "errorMsg": "",
        "orderID": answer["orderID"],
        "status": "live",
        "makingAmount": "",
        "takingAmount": "",
        "tradeIDs": [],
    }
    assert ann.order(answer["orderID"]) == {
        "id": answer["orderID"],
        "status": "LIVE",
        "owner": ann.creds["apiKey"],
        "maker_address": ann.address,
        "market": RAIN.condition_id,
        "asset_id": YES,
        "side": "BUY",
        "original_size": "100",
        "size_matched": "0",
        "price": "0.4",
        "outcome": "Yes",
        "expiration": "0",
        "order_type": "GTC",
        "associate_trades": [],
        "created_at": NOW_S,
    }
    assert ann.open_ids() == [answer["orderID"]]


REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("off the tick", {"price": 405_000}, "breaks minimum tick size rule: 0.01"),
    ("price of one", {"price": ONE}, "breaks minimum tick size rule"),
    ("below the minimum", {"size": shares("4.99")}, "Size (4.99) lower than the minimum: 5"),
    ("half a lot", {"size": shares("10.005")}, "taker amount a max of 2 decimals"),
    ("no exact price", {"amounts": (33_330_000, 100_000_000)}, "Price (0.3333) breaks minimum"),
    ("nothing", {"amounts": (0, 0)}, "invalid amounts"),
    ("GTC that expires", {"expiration": NOW_S + 600}, "invalid expiration"),
    ("GTD without end", {"order_type": "GTD"}, "invalid expiration"),
    ("GTD too soon", {"order_type": "GTD", "expiration": NOW_S + 179}, "invalid expiration"),
    ("FAK post-only", {"order_type": "FAK", "post_only": True}, "invalid post-only order"),
    ("the other contract's domain", {"neg_risk": True}, "invalid signature"),
    ("more than there is", {"size": shares("3000")}, "balance: 1000000000, order amount"),
    ("unknown order type", {"order_type": "IOC"}, "Invalid order payload"),
]


@pytest.mark.parametrize(
    ("change", "text"), [(c, t) for _, c, t in REFUSALS], ids=[name for name, _, _ in REFUSALS]
)
def test_refusals(ann: Trader, change: dict[str, Any], text: str) -> None:
    order = {"token_id": YES, "side": "BUY", "price": cents(40), "size": shares("100")} | change
    status, error = ann.refused(**order)
    assert (status, text in error) == (400, True), error
    assert ann.control("GET", "/_exchange/ledger")["orders"] == []


@pytest.mark.parametrize(
    ("side", "amounts", "text"),
    [
        ("BUY", (10_005_000, 25_000_000), "market buy orders maker amount supports a max accuracy"),
        ("BUY", (9_980_000, 10_131_970), "taker amount a max of 4 decimals"),
        ("SELL", (10_005_000, 4_002_000), "sell orders maker amount supports a max accuracy of 2"),
    ],
)
def test_accuracy_of_market_orders(
    ann: Trader, side: Any, amounts: tuple[int, int], text: str
) -> None:
    _, error = ann.refused(YES, side, 0, 0, "FAK", amounts=amounts)
    assert text in error


@pytest.mark.parametrize("tick_price", [(10_000, cents(57)), (1_000, 57_000)])
def test_the_price_is_that_of_the_signed_amounts(ann: Trader, tick_price: tuple[int, int]) -> None:
    tick, price = tick_price
    token = YES if tick == 10_000 else SNOW_YES
    order = ann.order(ann.place(token, "BUY", price, shares("200.13"))["orderID"])
    assert (order["price"], order["original_size"]) == (f"{price / ONE:g}", "200.13")


def test_a_market_buys_price_is_the_tick_that_gives_its_shares(ann: Trader) -> None:
    """25 dollars at 0.56 are signed as 44.6428 shares (reference 3.4)."""
    bob = Trader(ann.exchange, 2, t1001="500")
    bob.place(YES, "SELL", cents(56), shares("20"))
    bob.place(YES, "SELL", cents(57), shares("20"))
    answer = ann.place(YES, "BUY", 0, 0, "FAK", amounts=(25_000_000, 44_642_800))
    assert (answer["makingAmount"], answer["takingAmount"]) == ("11.2", "20")


def test_ids_are_taken_once_and_for_all(ann: Trader) -> None:
    body = ann.body(YES, "BUY", cents(40), shares("10"))
    first = ann.ask("POST", "/order", body)["orderID"]
    text = {"error": f"order {first} is invalid. Duplicated."}
    assert ann.ask("POST", "/order", body) == text
    assert ann.ask("POST", "/order", body | {"orderType": "FAK"}) == text
    ann.send("DELETE", "/order", {"orderID": first})
    assert ann.ask("POST", "/order", body) == text


def test_a_refusal_for_the_balance_takes_no_id(ann: Trader) -> None:
    body = ann.body(YES, "BUY", cents(50), shares("2100"))
    assert "not enough balance" in ann.ask("POST", "/order", body)["error"]
    ann.control("POST", "/_exchange/accounts", {"address": ann.address, "cash": "100"})
    assert ann.ask("POST", "/order", body)["status"] == "live"


def test_a_killed_order_takes_its_id_and_is_forgotten(ann: Trader) -> None:
    body = ann.body(YES, "BUY", cents(50), shares("10"), "FAK")
    assert "no orders found to match" in ann.ask("POST", "/order", body)["error"]
    error = ann.ask("POST", "/order", body)["error"]
    assert error.endswith("is invalid. Duplicated.")
    assert ann.order(error.split()[1]) is None
    assert ann.control("GET", "/_exchange/ledger")["orders"] == []  # nothing was accepted


def test_open_orders_and_the_fee_bound_reserve(ann: Trader) -> None:
    ann.place(YES, "BUY", cents(50), shares("1800"))
    _, error = ann.refused(NO, "BUY", cents(40), shares("300"))
    assert error == (
        "not enough balance / allowance: the balance is not enough -> balance: 1000000000, "
        "sum of active orders: 900000000, order amount (inc. fees): 120000000"
    )
    ann.place(YES, "SELL", cents(60), shares("400"))
    _, error = ann.refused(YES, "SELL", cents(61), shares("101"))
    assert "sum of active orders: 400000000, order amount (inc. fees): 101000000" in error
    bob = Trader(ann.exchange, 2, cash="60")
    _, error = bob.refused(YES, "BUY", cents(60), shares("100"))
    assert "order amount (inc. fees): 60960000" in error  # 60 + 100 x 0.04 x 0.6 x 0.4


def test_the_fee_bound_is_that_of_the_limit_also_at_a_better_price(ann: Trader) -> None:
    ann.place(YES, "SELL", cents(50), shares("10"))
    bob = Trader(ann.exchange, 2, cash="60.5")  # 5 + 54 and a fee of 0.1 would do
    _, error = bob.refused(YES, "BUY", cents(60), shares("100"))
    assert "balance: 60500000, order amount (inc. fees): 60960000" in error


def test_more_shares_for_the_same_dollars_cost_a_higher_fee(ann: Trader) -> None:
    ann.place(YES, "SELL", cents(10), shares("250"))
    bob = Trader(ann.exchange, 2, cash="25.5")  # the fee at the limit would be 0.44
    order = bob.body(YES, "BUY", 0, 0, "FAK", amounts=(25_000_000, 44_642_800))
    error = bob.ask("POST", "/order", order)["error"]
    assert error.endswith("order amount (inc. fees): 25900000")
    bob.control("POST", "/_exchange/accounts", {"address": bob.address, "cash": "0.4"})
    assert bob.ask("POST", "/order", order)["takingAmount"] == "250"


def test_post_only_and_marketable_minimum(ann: Trader) -> None:
    ann.place(YES, "SELL", cents(10), shares("100"))
    bob = Trader(ann.exchange, 2)
    body = bob.body(YES, "BUY", cents(10), shares("100"), post_only=True)
    crossing = "invalid post-only order: order crosses book"
    assert bob.ask("POST", "/order", body) == {"error": crossing}
    assert bob.ask("POST", "/order", body) == {"error": crossing}
    mirrored = bob.refused(NO, "SELL", cents(90), shares("100"), post_only=True)[1]
    assert mirrored.startswith("not enough balance") or mirrored == crossing
    _, error = bob.refused(YES, "BUY", cents(10), shares("7"))
    assert error == "invalid amount for a marketable BUY order ($0.7), min size: $1"


def test_fok_is_all_or_nothing(ann: Trader) -> None:
    ann.place(YES, "SELL", cents(50), shares("10"))
    bob = Trader(ann.exchange, 2)
    _, error = bob.refused(YES, "BUY", cents(50), shares("12"), "FOK")
    assert error == "order couldn't be fully filled. FOK orders are fully filled or killed."
    assert bob.place(YES, "BUY", cents(50), shares("10"), "FOK")["status"] == "matched"


def test_a_limit_buy_at_better_prices_stops_at_its_shares(ann: Trader) -> None:
    ann.place(YES, "SELL", cents(40), shares("100"))
    bob = Trader(ann.exchange, 2)
    answer = bob.place(YES, "BUY", cents(50), shares("20"))
    assert (answer["status"], answer["makingAmount"], answer["takingAmount"]) == (
        "matched",
        "8",
        "20",
    )


def test_what_is_left_of_a_crossing_order_rests(ann: Trader) -> None:
    ann.place(YES, "SELL", cents(40), shares("10"))
    bob = Trader(ann.exchange, 2)
    answer = bob.place(YES, "BUY", cents(50), shares("20"))
    assert (answer["status"], answer["takingAmount"]) == ("live", "10")
    order = bob.order(answer["orderID"])
    assert (order["status"], order["size_matched"]) == ("LIVE", "10")
    assert order["associate_trades"] == answer["tradeIDs"]


def test_batches_answer_leg_by_leg(ann: Trader) -> None:
    good = ann.body(YES, "BUY", cents(40), shares("10"))
    bad = ann.body(YES, "BUY", cents(40), shares("1"))
    first, second = ann.ask("POST", "/orders", [good, bad])
    assert first["status"] == "live"
    assert second["orderID"] == ""
    assert "lower than the minimum" in second["errorMsg"]
    answer = ann.send("POST", "/orders", [good] * 16)
    assert (answer.status, b"max allowed: 15" in answer.body) == (400, True)


def test_cancels_tell_what_they_did(ann: Trader) -> None:
    ids = [ann.place(YES, "BUY", cents(p), shares("10"))["orderID"] for p in (10, 11, 12, 13)]
    gone = "order can't be found - already canceled or matched"
    answer = ann.ask("DELETE", "/order", {"orderID": ids[0]})
    assert answer == {"canceled": [ids[0]], "not_canceled": {}}
    answer = ann.ask("DELETE", "/orders", [ids[0], ids[1], ids[1]])
    assert answer == {"canceled": [ids[1]], "not_canceled": {ids[0]: gone}}
    snow = ann.place(SNOW_YES, "BUY", cents(10), shares("10"))["orderID"]
    answer = ann.ask("DELETE", "/cancel-market-orders", {"market": RAIN.condition_id})
    assert sorted(answer["canceled"]) == sorted(ids[2:])
    assert ann.ask("DELETE", "/cancel-all") == {"canceled": [snow], "not_canceled": {}}
    assert ann.open_ids() == []
    assert ann.order(ids[0])["status"] == "CANCELED"


def test_nobody_cancels_or_reads_anothers_order(ann: Trader) -> None:
    order_id = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
    bob = Trader(ann.exchange, 2)
    assert list(bob.ask("DELETE", "/order", {"orderID": order_id})["not_canceled"]) == [order_id]
    assert bob.order(order_id) is None
    assert bob.open_ids() == []


def test_open_orders_come_in_pages(ann: Trader) -> None:
    placed = [ann.place(YES, "BUY", cents(1), shares("5"))["orderID"] for _ in range(101)]
    first = ann.ask("GET", "/data/orders")
    assert (first["count"], first["limit"]) == (100, 100)
    second = ann.ask("GET", f"/data/orders?next_cursor={first['next_cursor']}")
    assert (second["count"], second["next_cursor"]) == (1, "LTE=")
    assert [row["id"] for row in first["data"] + second["data"]] == placed


class TestCredentials:
    def test_the_same_key_for_the_same_address_and_nonce(self, ann: Trader) -> None:
        again = ann.l1("POST", "/auth/api-key")
        assert (again.status, ann.l1("GET", "/auth/derive-api-key").status) == (400, 200)
        fresh = Trader(make(Clock()), 1)
        assert fresh.creds == ann.creds
        other = ann.l1("POST", "/auth/api-key", nonce=1)
        assert ann.creds["apiKey"].encode() not in other.body
        assert len(ann.ask("GET", "/auth/api-keys")["apiKeys"]) == 2

    def test_a_deleted_key_opens_nothing(self, ann: Trader) -> None:
        assert ann.ask("DELETE", "/auth/api-key") == "OK"
        assert ann.send("GET", "/data/orders").status == 401
        assert ann.l1("GET", "/auth/derive-api-key").status == 400

    @pytest.mark.parametrize(
        "name",
        ["POLY_ADDRESS", "POLY_SIGNATURE", "POLY_TIMESTAMP", "POLY_API_KEY", "POLY_PASSPHRASE"],
    )
    def test_every_header_counts(self, ann: Trader, name: str) -> None:
        headers = ann.headers("GET", "/data/orders", b"")
        assert ann.exchange.handle("GET", "/data/orders", headers, b"").status == 200
        headers[name] = headers[name][:-2] + "00"
        if name == "POLY_TIMESTAMP":
            headers[name] = "1795521601"
        answer = ann.exchange.handle("GET", "/data/orders", headers, b"")
        assert (answer.status, answer.body) == (401, b'{"error":"Unauthorized/Invalid api key"}')

    def test_the_hmac_is_over_the_exact_bytes(self, ann: Trader) -> None:
        headers = ann.headers("DELETE", "/order", b'{"orderID":"0x01"}')
        spaced = ann.exchange.handle("DELETE", "/order", headers, b'{"orderID": "0x01"}')
        assert spaced.status == 401

    def test_an_attestation_of_another_address(self, ann: Trader) -> None:
        bob = Trader(ann.exchange, 2)
        bob.address = ann.address
        assert bob.l1("POST", "/auth/api-key", nonce=5).status == 401

    def test_owner_signer_and_wallet_must_belong_together(self, ann: Trader) -> None:
        bob = Trader(ann.exchange, 2)
        body = ann.body(YES, "BUY", cents(40), shares("10"))
        assert "order owner has to be" in bob.ask("POST", "/order", body)["error"]
        body["owner"] = bob.creds["apiKey"]
        assert "order signer address has to be" in bob.ask("POST", "/order", body)["error"]
        bob.maker = ann.address
        assert bob.refused(YES, "BUY", cents(40), shares("10")) == (400, "invalid signature")

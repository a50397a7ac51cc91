"""The outcome table of the design (6), row by row, and everything that must stay unknown."""

import json
from decimal import Decimal

import pytest
from pydantic import SecretStr

from runner.core.model import OrderReport, ReportStatus, Side, TimeInForce
from runner.venue.outcomes import REFUSALS, Refusal, classify
from runner.venue.ports import Accepted, Outcome, Refused, SignedOrder, Unknown, WireResponse
from runner.venue.signing import OrderFields, Signer

SIGNER = Signer(SecretStr("0x" + "11" * 32), 137)


def signed(
    side: Side = Side.BUY,
    maker: int = 52_000_000,
    taker: int = 100_000_000,
    time_in_force: TimeInForce = TimeInForce.GTC,
) -> SignedOrder:
    """100 shares at 0.52 unless told otherwise."""
    return SIGNER.sign_fields(
        OrderFields(
            contract=SIGNER.standard,
            token_id="123",
            side=side,
            maker_amount=maker,
            taker_amount=taker,
            salt=7,
            timestamp_ms=1790000000123,
            time_in_force=time_in_force,
            owner="key",
        )
    )


ORDER = signed()


def outcome(status: int, body: object, order: SignedOrder = ORDER) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify(WireResponse(status, {"content-type": "application/json"}, raw), order)


# the exchange's own sentences (reference 3.9), and the legacy codes, against the code they prove
SENTENCES = [
    (400, "Invalid order payload", "ORDER_MALFORMED", False),
    (400, "the order owner has to be the owner of the API KEY", "ACCOUNT_KEY_MISMATCH", False),
    (
        400,
        "the order signer address has to be the address of the API KEY",
        "ACCOUNT_KEY_MISMATCH",
        False,
    ),
    (400, "'0x12' address banned", "ACCOUNT_BANNED", False),
    (400, "'0x12' address in closed only mode", "ACCOUNT_CLOSED_ONLY", False),
    (
        400,
        "maker address not allowed, please use the deposit wallet flow",
        "ACCOUNT_WALLET_TYPE",
        False,
    ),
    (400, "invalid post-only order: order crosses book", "ORDER_CROSSES_BOOK", True),
    (400, f"order {ORDER.order_id} crosses the book", "ORDER_CROSSES_BOOK", True),
    (
        400,
        f"order {ORDER.order_id} is invalid. Price (0.453) breaks minimum tick size rule: 0.005",
        "ORDER_OFF_TICK",
        False,
    ),
    (
        400,
        f"order {ORDER.order_id} is invalid. Size (1) lower than the minimum: 5",
        "ORDER_BELOW_MINIMUM",
        False,
    ),
    (
        400,
        (
            "not enough balance / allowance: the balance is not enough -> balance: 1, order amount "
            "(inc. fees): 2"
        ),
        "ACCOUNT_BALANCE_SHORT",
        True,
    ),
    (
        400,
        (
            "not enough balance / allowance: the allowance is not enough -> spender: 0xE1, "
            "allowance: 0"
        ),
        "ACCOUNT_ALLOWANCE_SHORT",
        False,
    ),
    (400, "invalid expiration", "ORDER_EXPIRATION", False),
    (400, "order canceled in the CTF exchange contract", "ORDER_CANCELLED_ON_CHAIN", False),
    (
        400,
        "order couldn't be fully filled. FOK orders are fully filled or killed.",
        "ORDER_KILLED_UNFILLED",
        True,
    ),
    (
        400,
        (
            "no orders found to match with FAK order. FAK orders are partially filled or killed if "
            "no match is found."
        ),
        "ORDER_KILLED_UNFILLED",
        True,
    ),
    (400, "the market is not yet ready to process new orders", "MARKET_NOT_READY", True),
    (400, "order_version_mismatch", "ORDER_VERSION", False),
    (400, "invalid signature", "ORDER_SIGNATURE", False),
    (
        400,
        (
            "invalid amounts, the buy orders maker amount supports a max accuracy of 4 decimals, "
            "taker amount a max of 2 decimals"
        ),
        "ORDER_AMOUNTS",
        False,
    ),
    (
        400,
        "invalid amount for a marketable BUY order ($0.7), min size: $1",
        "ORDER_MARKETABLE_TOO_SMALL",
        True,
    ),
    (400, "INVALID_ORDER_MIN_TICK_SIZE", "ORDER_OFF_TICK", False),
    (400, "INVALID_ORDER_MIN_SIZE", "ORDER_BELOW_MINIMUM", False),
    (400, "INVALID_ORDER_NOT_ENOUGH_BALANCE", "ACCOUNT_BALANCE_SHORT", True),
    (400, "INVALID_ORDER_EXPIRATION", "ORDER_EXPIRATION", False),
    (400, "INVALID_POST_ONLY_ORDER_TYPE", "ORDER_MALFORMED", False),
    (400, "INVALID_POST_ONLY_ORDER", "ORDER_CROSSES_BOOK", True),
    (400, "FOK_ORDER_NOT_FILLED_ERROR", "ORDER_KILLED_UNFILLED", True),
    (400, "MARKET_NOT_READY", "MARKET_NOT_READY", True),
    (401, "Unauthorized/Invalid api key", "ACCOUNT_UNAUTHORIZED", False),
    (401, "Invalid L1 Request headers", "ACCOUNT_UNAUTHORIZED", False),
    (401, "Invalid API key", "ACCOUNT_UNAUTHORIZED", False),
    (
        403,
        "Trading restricted in your region, please refer to available regions …",
        "ACCOUNT_REGION",
        False,
    ),
    (404, "No orderbook exists for the requested token id", "MARKET_NOT_FOUND", False),
    (503, "post-only mode: only post-only orders and cancels are allowed", "VENUE_POST_ONLY", True),
    (
        503,
        "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed.",
        "VENUE_CANCEL_ONLY",
        True,
    ),
    (503, "Trading is currently disabled. Check polymarket.com for updates", "VENUE_CLOSED", True),
    (503, "trading is disabled", "VENUE_CLOSED", True),
]


@pytest.mark.parametrize(("status", "text", "code", "curable"), SENTENCES)
def test_what_the_exchange_says_when_it_refuses(
    status: int, text: str, code: str, curable: bool
) -> None:
    assert outcome(status, {"error": text}) == Refused(code, text, curable)


@pytest.mark.parametrize("row", REFUSALS, ids=lambda r: f"{r.status}-{r.part}")
def test_each_row_proves_what_it_says_and_only_with_its_status(row: Refusal) -> None:
    body = {"error": f"Something: {row.part.upper()} (more)"}
    assert outcome(row.status, body) == Refused(row.code, body["error"], row.curable)
    for status in {200, 400, 401, 403, 404, 408, 425, 429, 500, 502, 503} - {row.status}:
        if not any(other.status == status and other.part in row.part for other in REFUSALS):
            assert isinstance(outcome(status, body), Unknown)


def test_a_mode_may_be_told_by_its_code_alone() -> None:
    body = {"error": "try later", "code": "post_only_mode", "retry_after_seconds": 79}
    assert outcome(503, body) == Refused("VENUE_POST_ONLY", "try later", curable=True)


UNKNOWN = [
    (400, {"error": "order match delayed due to market conditions"}),
    (400, {"error": "ORDER_DELAYED"}),
    (400, {"error": "EXECUTION_ERROR"}),
    (400, {"error": "something new"}),
    (400, {}),
    (400, b"invalid order payload"),
    (400, ["invalid order payload"]),
    (403, b"<html>Trading restricted in your region</html>"),
    (408, {"error": "timeout"}),
    (425, {"error": "Service is not ready"}),
    (425, b""),
    (429, {"error": "Too Many Requests"}),
    (429, b"<html>slow down</html>"),
    (500, {"error": "could not insert order"}),
    (500, {"error": "there are no matching orders"}),
    (500, {"error": "not enough balance / allowance"}),
    (502, b""),
    (503, {"error": "upstream connect error"}),
    (301, {"error": "moved"}),
    (200, b""),
    (200, b'{"success":true,"orderID":"0x'),
    (200, {}),
    (200, {"success": True, "errorMsg": "", "orderID": "", "status": "live"}),
    (200, {"success": True, "errorMsg": "", "orderID": "0x" + "ab" * 32, "status": "live"}),
    (200, {"success": True, "errorMsg": "no room", "orderID": ORDER.order_id, "status": "live"}),
    (200, {"success": True, "errorMsg": "", "orderID": ORDER.order_id, "status": "sleeping"}),
    (200, {"success": True, "errorMsg": "", "orderID": ORDER.order_id, "status": ""}),
    (
        200,
        {"errorMsg": "", "orderID": ORDER.order_id, "status": "live", "takingAmount": "many"},
    ),
    (400, {"error": f"order 0x{'ab' * 32} is invalid. Duplicated."}),
]


@pytest.mark.parametrize(("status", "body"), UNKNOWN)
def test_everything_else_is_unknown(status: int, body: object) -> None:
    assert isinstance(outcome(status, body), Unknown)


@pytest.mark.parametrize("text", ["order {} is invalid. Duplicated.", "INVALID_ORDER_DUPLICATED"])
def test_duplicated_proves_presence_and_nothing_else(text: str) -> None:
    found = outcome(400, {"error": text.format(ORDER.order_id)})
    assert isinstance(found, Accepted)
    assert (found.report.status, found.report.matched) == (ReportStatus.PRESENT, None)


def accepted(order: SignedOrder, status: str, making: object, taking: object) -> OrderReport:
    found = outcome(
        200,
        {
            "success": True,
            "errorMsg": "",
            "orderID": order.order_id,
            "status": status,
            "makingAmount": making,
            "takingAmount": taking,
            "tradeIDs": ["t1"],
        },
        order,
    )
    assert isinstance(found, Accepted)
    assert found.report.order_id == order.order_id
    return found.report


FAK_BUY = signed(time_in_force=TimeInForce.FAK)
FOK_BUY = signed(time_in_force=TimeInForce.FOK)
SELL = signed(Side.SELL, 100_000_000, 52_000_000)
FAK_SELL = signed(Side.SELL, 100_000_000, 52_000_000, TimeInForce.FAK)

STANDING = [
    (ORDER, "live", "", "", ReportStatus.LIVE, None),
    (ORDER, "LIVE", "", "", ReportStatus.LIVE, None),
    (ORDER, "delayed", "0", "0", ReportStatus.LIVE, "0"),
    (ORDER, "unmatched", "", "", ReportStatus.PRESENT, None),
    (ORDER, "matched", "52", "100", ReportStatus.FILLED, "100"),
    (ORDER, "matched", "50.00", "100.00", ReportStatus.FILLED, "100"),
    (ORDER, "matched", "24.99", "44.625", ReportStatus.LIVE, "44.625"),
    (ORDER, "matched", "", "", ReportStatus.LIVE, None),
    (ORDER, "live", "5.2", "10", ReportStatus.LIVE, "10"),
    (ORDER, "matched", "52000000", "100000000", ReportStatus.FILLED, "100"),
    (ORDER, "matched", "5200000", "10000000", ReportStatus.LIVE, "10"),
    (ORDER, "matched", 52, 100, ReportStatus.FILLED, "100"),
    (SELL, "matched", "100", "52", ReportStatus.FILLED, "100"),
    (SELL, "matched", "25", "13", ReportStatus.LIVE, "25"),
    (FAK_SELL, "matched", "25", "13", ReportStatus.CANCELLED, "25"),
    (FAK_BUY, "matched", "26", "50", ReportStatus.CANCELLED, "50"),
    (FAK_BUY, "matched", "", "", ReportStatus.CANCELLED, None),
    # bounded by dollars: better prices bring more shares, or all the dollars are gone
    (FAK_BUY, "matched", "52", "130", ReportStatus.FILLED, "130"),
    (FAK_BUY, "matched", "52", "99.99", ReportStatus.FILLED, "99.99"),
    (FOK_BUY, "matched", "52", "100", ReportStatus.FILLED, "100"),
]


@pytest.mark.parametrize(("order", "word", "making", "taking", "status", "matched"), STANDING)
def test_how_an_accepted_order_stands(
    order: SignedOrder,
    word: str,
    making: object,
    taking: object,
    status: ReportStatus,
    matched: str | None,
) -> None:
    report = accepted(order, word, making, taking)
    assert report.status is status
    assert report.matched == (None if matched is None else Decimal(matched))
    assert report.trade_ids == ("t1",)

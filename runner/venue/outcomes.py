"""What an answer to `POST /order` proves: the three outcomes of the design, as a table.

Refused is a closed list: a status and a text that together prove that nothing happened. Accepted
is a 200 that names our own id, holds no error and has a status word we know. Everything else is
unknown, and unknown is never guessed: time-outs, 425, 429, 5xx, what is not JSON, strange words.

Rows are tried in order and match case-insensitively on a part of the text (reference 3.9).
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.core.model import OrderReport, ReportStatus
from runner.venue.ports import Accepted, Refused, Unknown
from runner.venue.translate import Json, Unreadable, exact, parse

if TYPE_CHECKING:
    from runner.venue.ports import Outcome, SignedOrder, WireResponse


class Refusal(NamedTuple):
    """One proof that nothing happened. `curable`: whether waiting can help."""

    status: int
    part: str
    code: str
    curable: bool


REFUSALS: tuple[Refusal, ...] = (
    Refusal(400, "allowance is not enough", "ACCOUNT_ALLOWANCE_SHORT", curable=False),
    # also right after a fill, while matched amounts are held back (faults X25, X26)
    Refusal(400, "not enough balance", "ACCOUNT_BALANCE_SHORT", curable=True),
    Refusal(400, "invalid_order_not_enough_balance", "ACCOUNT_BALANCE_SHORT", curable=True),
    Refusal(400, "owner has to be the owner of the api key", "ACCOUNT_KEY_MISMATCH", curable=False),
    Refusal(400, "has to be the address of the api key", "ACCOUNT_KEY_MISMATCH", curable=False),
    Refusal(400, "address banned", "ACCOUNT_BANNED", curable=False),
    Refusal(400, "address in closed only mode", "ACCOUNT_CLOSED_ONLY", curable=False),
    Refusal(400, "maker address not allowed", "ACCOUNT_WALLET_TYPE", curable=False),
    Refusal(400, "invalid order payload", "ORDER_MALFORMED", curable=False),
    Refusal(400, "invalid signature", "ORDER_SIGNATURE", curable=False),
    Refusal(400, "order_version_mismatch", "ORDER_VERSION", curable=False),
    Refusal(400, "marketable buy order", "ORDER_MARKETABLE_TOO_SMALL", curable=True),
    Refusal(400, "invalid amounts", "ORDER_AMOUNTS", curable=False),
    Refusal(400, "breaks minimum tick size rule", "ORDER_OFF_TICK", curable=False),
    Refusal(400, "invalid_order_min_tick_size", "ORDER_OFF_TICK", curable=False),
    Refusal(400, "lower than the minimum", "ORDER_BELOW_MINIMUM", curable=False),
    Refusal(400, "invalid_order_min_size", "ORDER_BELOW_MINIMUM", curable=False),
    Refusal(400, "invalid expiration", "ORDER_EXPIRATION", curable=False),
    Refusal(400, "invalid_order_expiration", "ORDER_EXPIRATION", curable=False),
    Refusal(400, "canceled in the ctf exchange", "ORDER_CANCELLED_ON_CHAIN", curable=False),
    Refusal(400, "invalid_post_only_order_type", "ORDER_MALFORMED", curable=False),
    Refusal(400, "order crosses book", "ORDER_CROSSES_BOOK", curable=True),
    Refusal(400, "crosses the book", "ORDER_CROSSES_BOOK", curable=True),
    Refusal(400, "invalid_post_only_order", "ORDER_CROSSES_BOOK", curable=True),
    # the engine had it, killed it and says that nothing of it traded
    Refusal(400, "fok orders are fully filled or killed", "ORDER_KILLED_UNFILLED", curable=True),
    Refusal(400, "fok_order_not_filled_error", "ORDER_KILLED_UNFILLED", curable=True),
    Refusal(400, "no orders found to match with fak", "ORDER_KILLED_UNFILLED", curable=True),
    Refusal(400, "not yet ready to process new orders", "MARKET_NOT_READY", curable=True),
    Refusal(400, "market_not_ready", "MARKET_NOT_READY", curable=True),
    Refusal(401, "invalid api key", "ACCOUNT_UNAUTHORIZED", curable=False),
    Refusal(401, "invalid l1 request headers", "ACCOUNT_UNAUTHORIZED", curable=False),
    Refusal(403, "trading restricted in your region", "ACCOUNT_REGION", curable=False),
    Refusal(404, "no orderbook exists", "MARKET_NOT_FOUND", curable=False),
    Refusal(503, "post_only_mode", "VENUE_POST_ONLY", curable=True),
    Refusal(503, "post-only mode", "VENUE_POST_ONLY", curable=True),
    Refusal(503, "cancel-only", "VENUE_CANCEL_ONLY", curable=True),
    Refusal(503, "trading is currently disabled", "VENUE_CLOSED", curable=True),
    Refusal(503, "trading is disabled", "VENUE_CLOSED", curable=True),
)
"""The closed list. Left out on purpose: `order match delayed due to market conditions` and the
legacy ORDER_DELAYED (the order may have been placed), EXECUTION_ERROR, and every other 5xx."""

_DUPLICATED = "duplicated"


def classify(answer: WireResponse, signed: SignedOrder) -> Outcome:
    """What this answer to the POST of `signed` proves.

    Args:
        answer: the whole HTTP answer.
        signed: what was sent; only its own id can be accepted (faults X12, X29).
    """
    try:
        body = parse(answer.body)
    except Unreadable as error:
        return Unknown(f"{answer.status}: {error}")
    if not isinstance(body, dict):
        return Unknown(f"{answer.status}: the body is no object")
    if answer.status == 200:
        return _accepted(body, signed)
    text = error_text(body)
    if answer.status == 400 and _is_duplicate(text, signed.order_id):
        report = OrderReport(signed.order_id, ReportStatus.PRESENT, None, text=text)
        return Accepted(report)
    proof = refusal(answer.status, body)
    return Unknown(f"{answer.status}: {text}") if proof is None else Refused(*proof)


def error_text(body: Json) -> str:
    """The text of an error body, as it came: not yet fit to be shown."""
    return str(body.get("error") or body.get("errorMsg") or body.get("error_msg") or "")


def refusal(status: int, body: Json) -> tuple[str, str, bool] | None:
    """(code, text, curable) if status and body are on the closed list."""
    text = error_text(body)
    said = f"{text} {body.get('code', '')}".lower()
    for row in REFUSALS:
        if row.status == status and row.part in said:
            return row.code, text, row.curable
    return None


def _is_duplicate(text: str, order_id: str) -> bool:
    """Proof of presence: for our own id, where the text names one (faults X2)."""
    said = text.lower()
    return _DUPLICATED in said and (order_id in said or "0x" not in said)


def _accepted(body: Json, signed: SignedOrder) -> Outcome:
    if error := error_text(body):
        return Unknown(f"200 with an error: {error}")
    if str(body.get("orderID")).lower() != signed.order_id:
        return Unknown("200 without our order id")
    word = str(body.get("status")).lower()
    try:
        report = _report(word, body, signed)
    except Unreadable as error:
        return Unknown(f"200 with our id, but {error}")
    return Unknown(f"200 with status {word[:60]!r}") if report is None else Accepted(report)


def _report(word: str, body: Json, signed: SignedOrder) -> OrderReport | None:
    """How the order stands by reference 3.8, decided from amounts, not from the word alone.

    `matched` says that something traded at once. All of it: filled. Less, and it was fill-and-kill:
    the rest is dead. Less, and it rests: live. Without amounts a resting kind counts as live.
    """
    sent: dict[str, Any] = json.loads(signed.body)
    buys = sent["order"]["side"] == "BUY"
    size, given = signed.taker_amount, signed.maker_amount
    if not buys:
        size, given = given, size
    shares = _micros(body.get("takingAmount" if buys else "makingAmount"), size)
    dollars = _micros(body.get("makingAmount" if buys else "takingAmount"), given)
    kills = sent["orderType"] in {"FOK", "FAK"}
    match word:
        case "live" | "delayed":
            status = ReportStatus.LIVE
        case "matched":
            spent = kills and buys and dollars is not None and dollars >= given
            if spent or (shares is not None and shares >= size):
                status = ReportStatus.FILLED
            else:
                status = ReportStatus.CANCELLED if kills else ReportStatus.LIVE
        case "unmatched":  # rests or was rejected: the exchange has had it, ask again by id
            status = ReportStatus.PRESENT
        case _:
            return None
    matched = None if shares is None else Decimal(shares).scaleb(-6)
    trades = body.get("tradeIDs") or ()
    if isinstance(trades, str):
        raise Unreadable("trade ids are no array")
    return OrderReport(signed.order_id, status, matched, tuple(map(str, trades)), text=word)


def _micros(value: object, whole: int) -> int | None:
    """An amount of the answer in millionths; None where it is not said.

    In practice these are human decimals; the API's own description calls them integers in base
    units (reference 3.8). Without a point and more than a hundred times the order (no price
    improvement reaches that), it can only be the latter.
    """
    if value is None or value == "":
        return None
    number = exact(value)
    base_units = "." not in str(value) and number * 1_000_000 > 100 * whole
    return int(number) if base_units else int(number * 1_000_000)

"""From the body of `POST /order` to an order: shape, terms and the rules of reference 3.

`read` checks the shape, `terms` derives price and size from the signed amounts exactly, and
`check` applies the rules that need only the order and its market.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

from runner.exchange.markets import ONE, MarketConfig, Side, TimeInForce, decimal_text
from runner.exchange.records import Refused
from runner.exchange.signatures import SignatureType, SignedOrder

GTD_AHEAD_S = 180
"""A GTD order's stated expiration lies at least this far ahead (reference 3.7)."""

_INVALID = "Invalid order payload"
_HEX = re.compile(r"0x[0-9a-fA-F]*")
_EXPIRATION_MAX = 10**10
_FORMER_FIELDS = {"taker", "nonce", "feeRateBps"}
"""What orders of version 1 of the protocol had and these have not (reference 3.1)."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One order as posted: what is signed, and what isn't (reference 3.1)."""

    order: SignedOrder
    owner: str
    time_in_force: TimeInForce
    post_only: bool
    expiration: int


@dataclass(frozen=True, slots=True)
class Terms:
    """Price and size of an order in its own token, and the dollars that bound it or None."""

    price: int
    size: int
    dollars: int | None


def read(payload: object) -> Submission:
    """Reads one posted order.

    Raises:
        Refused: 400, if it isn't of the shape of reference 3.7, or of that of version 1.
    """
    try:
        body = _mapping(payload)
        order = _mapping(body["order"])
        if order.keys() >= _FORMER_FIELDS:
            raise Refused(400, "order_version_mismatch")
        signed = SignedOrder(
            salt=_number(order["salt"]),
            maker=_address(order["maker"]),
            signer=_address(order["signer"]),
            token_id=_digits(order["tokenId"]),
            maker_amount=_digits(order["makerAmount"]),
            taker_amount=_digits(order["takerAmount"]),
            side=cast("Side", _one_of(order["side"], get_args(Side))),
            signature_type=_signature_type(order["signatureType"]),
            timestamp=_digits(order["timestamp"]),
            metadata=_hex(order["metadata"], 32),
            builder=_hex(order["builder"], 32),
            signature=_hex(order["signature"], None),
        )
        return Submission(
            order=signed,
            owner=_text(body["owner"]),
            time_in_force=cast("TimeInForce", _one_of(body["orderType"], get_args(TimeInForce))),
            post_only=_flag(body.get("postOnly", False)),
            expiration=_digits(order["expiration"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(400, _INVALID) from error


def check(submission: Submission, order_id: str, market: MarketConfig, now_s: int) -> Terms:
    """Applies the rules on expiration, accuracy, tick and size, and derives the terms.

    Raises:
        Refused: 400 with the text of reference 3.9.
    """
    tif = submission.time_in_force
    if submission.post_only and tif not in {"GTC", "GTD"}:
        raise Refused(400, "invalid post-only order: only GTC and GTD order types are allowed")
    first, last = (now_s + GTD_AHEAD_S, _EXPIRATION_MAX) if tif == "GTD" else (0, 0)
    if not first <= submission.expiration <= last:
        raise Refused(400, "invalid expiration")
    _check_accuracy(submission, market)
    terms = _terms(submission, order_id, market)
    if tif in {"GTC", "GTD"} and terms.size < market.min_size:
        size, least_size = decimal_text(terms.size), decimal_text(market.min_size)
        text = f"order {order_id} is invalid. Size ({size}) lower than the minimum: {least_size}"
        raise Refused(400, text)
    return terms


def _check_accuracy(submission: Submission, market: MarketConfig) -> None:
    """The accuracy caps of reference 3.4.

    Limit orders: shares of two decimals, dollars as the tick allows. A FAK or FOK buy: whole
    cents for shares of at most four decimals (where the reference has two answers, the strict
    one, so that what passes here passes there).
    """
    order = submission.order
    market_buy = submission.time_in_force in {"FAK", "FOK"} and order.side == "BUY"
    if market_buy:
        maker, taker, kind = 2, min(4, market.amount_decimals), "market buy"
    elif order.side == "BUY":
        maker, taker, kind = market.amount_decimals, 2, "buy"
    else:
        maker, taker, kind = 2, market.amount_decimals, "sell"
    off = order.maker_amount % 10 ** (6 - maker) or order.taker_amount % 10 ** (6 - taker)
    if off or order.maker_amount == 0 or order.taker_amount == 0:
        raise Refused(
            400,
            f"invalid amounts, the {kind} orders maker amount supports a max accuracy of {maker} "
            f"decimals, taker amount a max of {taker} decimals",
        )


def _terms(submission: Submission, order_id: str, market: MarketConfig) -> Terms:
    order, tick = submission.order, market.tick
    if order.side == "SELL":
        dollars, size = order.taker_amount, order.maker_amount
    else:
        dollars, size = order.maker_amount, order.taker_amount
    price, rest = divmod(dollars * ONE, size)
    bounded = submission.time_in_force in {"FAK", "FOK"} and order.side == "BUY"
    if bounded:
        # The shares were rounded down from dollars / price: the price is the tick that gives them.
        step = 10 ** (6 - min(4, market.amount_decimals))
        price -= price % tick
        exact = price > 0 and (size + step) * price > dollars * ONE
    else:
        exact = rest == 0 and price % tick == 0
    if not exact or not tick <= price <= ONE - tick:
        shown = decimal_text(dollars * ONE // size)
        text = f"Price ({shown}) breaks minimum tick size rule: {decimal_text(tick)}"
        raise Refused(400, f"order {order_id} is invalid. {text}")
    return Terms(price, size, dollars if bounded else None)


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError(value)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**256:
        raise ValueError(value)
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _signature_type(value: object) -> SignatureType:
    number = _number(value)
    if number not in get_args(SignatureType):
        raise ValueError(value)
    return cast("SignatureType", number)


def _digits(value: object) -> int:
    text = _text(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 78):
        raise ValueError(value)
    return _number(int(text))


def _one_of(value: object, words: tuple[str, ...]) -> str:
    text = _text(value)
    if text not in words:
        raise ValueError(value)
    return text


def _hex(value: object, length: int | None) -> bytes:
    text = _text(value)
    if not _HEX.fullmatch(text):
        raise ValueError(value)
    raw = bytes.fromhex(text[2:])
    if length is not None and len(raw) != length:
        raise ValueError(value)
    return raw


def _address(value: object) -> str:
    _hex(value, 20)
    return _text(value)

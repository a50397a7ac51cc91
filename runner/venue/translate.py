"""The exchange's JSON in our words, and nothing else: pure functions over parsed values.

1. A number never passes through a float: JSON reals become `Decimal`, ids stay text.
2. What cannot be read raises `Unreadable`; nothing is filled in or left out silently.
3. A word we do not know is no crash: it is reported through `odd` and read in the way that counts
   most against us (a status as unrecognised, a trade as matched and provisional).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from runner.core.model import (
    Book,
    Level,
    Liquidity,
    MarketInfo,
    OrderReport,
    ReportStatus,
    Side,
    TradeReport,
    TradeState,
)

Odd = Callable[[str], None]
Json = Mapping[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = Decimal(1_000_000)
_DEPTH_MAX = 64
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))

# reference 5.2; prefixes, because a status may carry free text behind it (reference 6.2)
_ENDED = (
    ("CANCELED", ReportStatus.CANCELLED),
    ("CANCELLED", ReportStatus.CANCELLED),
    ("INVALID", ReportStatus.CANCELLED),
    ("EXPIRED", ReportStatus.EXPIRED),
)
_RESTING = ("LIVE", "DELAYED")  # delayed: live until proven otherwise (faults X15)
_EVENT_TYPES = {
    "PLACEMENT": ReportStatus.LIVE,
    "UPDATE": ReportStatus.LIVE,
    "CANCELLATION": ReportStatus.CANCELLED,
}
_TRADE_STATES = {
    "MATCHED_NOT_BROADCASTED": TradeState.MATCHED,
    "MATCHED": TradeState.MATCHED,
    "MINED": TradeState.MINED,
    "RETRYING": TradeState.RETRYING,
    "CONFIRMED": TradeState.CONFIRMED,
    "FAILED": TradeState.FAILED,
}


class Unreadable(ValueError):
    """The exchange sent something that does not have the documented shape."""


def parse(body: bytes | str) -> Any:
    """JSON with exact numbers.

    Raises:
        Unreadable: not JSON, not finite, or nested absurdly deep.
    """
    try:
        raw = body.encode() if isinstance(body, str) else body
        deep = _too_deep(raw)
        parsed = None if deep else json.loads(raw, parse_float=Decimal, parse_constant=_refuse)
    except ValueError as error:
        raise Unreadable(f"not JSON: {type(error).__name__}") from None
    if deep:
        raise Unreadable("nested absurdly deep")
    return parsed


def _too_deep(raw: bytes) -> bool:
    """Whether brackets nest beyond what any answer needs (faults S18).

    Some 10,000 levels crash the interpreter inside its parser where the recursion limit has been
    raised, as some libraries do. Each round takes away the innermost pairs; what is left over after
    the last one, brackets in texts included, may not be much.
    """
    brackets = raw.translate(None, _NO_BRACKETS)
    for _ in range(_DEPTH_MAX):
        inner = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(inner) == len(brackets):
            break
        brackets = inner
    return len(brackets) > _DEPTH_MAX


def _refuse(name: str) -> None:
    raise ValueError(name)


def exact(value: object) -> Decimal:
    """A finite decimal from its text or from an exact JSON number.

    Raises:
        Unreadable: anything else, empty text included.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise Unreadable(f"no number: {type(value).__name__}")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise Unreadable("no number") from None
    if not number.is_finite():
        raise Unreadable("no finite number")
    return number


def _maybe(value: object) -> Decimal | None:
    """Nothing said (absent, null or empty text) is None; anything else must be a number."""
    return None if value is None or value == "" else exact(value)


def _text(of: Json, key: str) -> str:
    value = of.get(key)
    if not isinstance(value, str) or not value:
        raise Unreadable(f"no {key}")
    return value


def mapping(value: object) -> Json:
    """`value` as an object. Raises Unreadable."""
    if not isinstance(value, Mapping):
        raise Unreadable(f"no object: {type(value).__name__}")
    return value


def sequence(value: object) -> list[Any]:
    """`value` as an array. Raises Unreadable."""
    if not isinstance(value, list):
        raise Unreadable(f"no array: {type(value).__name__}")
    return value


def side(value: object) -> Side:
    """BUY or SELL. Raises Unreadable."""
    try:
        return Side(str(value).lower())
    except ValueError:
        raise Unreadable("no side") from None


def order_report(of: Json, odd: Odd) -> OrderReport:
    """An order from a query or from the user channel (reference 5.2, 6.2).

    `MATCHED` ends an order: filled if all of it matched, else what is left was killed. On the user
    channel (an `event_type` is there) a short `MATCHED` of a resting kind is only a partial fill.
    """
    word = str(of.get("status") or "").removeprefix("ORDER_STATUS_")
    matched, size = _maybe(of.get("size_matched")), _maybe(of.get("original_size"))
    status = _order_status(word.upper(), of, short=matched is not None and matched < (size or 0))
    if status is None:
        odd(f"order status {word[:60]!r}")
        status = ReportStatus.UNRECOGNISED
    trades = of.get("associate_trades")
    return OrderReport(
        order_id=_text(of, "id").lower(),
        status=status,
        matched=matched,
        trade_ids=tuple(str(trade) for trade in sequence(trades)) if trades else (),
        text=word,
    )


def _order_status(word: str, of: Json, *, short: bool) -> ReportStatus | None:
    if not word:
        return _EVENT_TYPES.get(str(of.get("type")).upper())
    if word in _RESTING:
        return ReportStatus.LIVE
    if word == "MATCHED":
        if not short:
            return ReportStatus.FILLED
        rests = "event_type" in of and str(of.get("order_type")).upper() in {"GTC", "GTD"}
        return ReportStatus.LIVE if rests else ReportStatus.CANCELLED
    return next((ours for start, ours in _ENDED if word.startswith(start)), None)


def trade_reports(of: Json, address: str, odd: Odd) -> tuple[TradeReport, ...]:
    """Our own legs of one trade, from a query or the user channel (reference 5.3, 6.2, 7).

    A leg is ours if its `maker_address` is the wallet's: unlike the API key it never changes, and
    unlike the set of known orders it also shows what another program traded from this wallet. The
    top level describes the taker; every maker leg has its own token, side, price and size, so that
    a cross match over both outcomes comes out right (faults M, W9, W10).

    Args:
        of: the trade.
        address: the wallet that holds the money (the funder).
        odd: told of words we do not know.

    Raises:
        Unreadable: a field that we need is missing or makes no sense.
    """
    trade_id = _text(of, "id")
    word = str(of.get("status")).upper().removeprefix("TRADE_STATUS_")
    state = _TRADE_STATES.get(word)
    if state is None:
        odd(f"trade status {word[:60]!r}")
        state = TradeState.MATCHED
    at = _matched_at(of)
    token, taker_side = _text(of, "asset_id"), side(of.get("side"))
    mine = address.lower()
    legs: list[TradeReport] = []
    taker = of.get("maker_address")
    if str(taker).lower() == mine or (not taker and of.get("trader_side") == "TAKER"):
        legs.append(
            TradeReport(
                trade_id=trade_id,
                order_id=_text(of, "taker_order_id").lower(),
                token_id=token,
                side=taker_side,
                price=exact(of.get("price")),
                size=exact(of.get("size")),
                state=state,
                liquidity=Liquidity.TAKER,
                matched_at=at,
            )
        )
    for entry in map(mapping, sequence(of.get("maker_orders") or [])):
        if str(entry.get("maker_address")).lower() != mine:
            continue
        leg_token = _text(entry, "asset_id")
        told = entry.get("side")
        # older answers leave the side out: on one token the two sides differ, across the two
        # outcomes both buy (a mint) or both sell (a merge)
        inferred = taker_side.opposite if leg_token == token else taker_side
        legs.append(
            TradeReport(
                trade_id=trade_id,
                order_id=_text(entry, "order_id").lower(),
                token_id=leg_token,
                side=side(told) if told else inferred,
                price=exact(entry.get("price")),
                size=exact(entry.get("matched_amount")),
                state=state,
                liquidity=Liquidity.MAKER,
                matched_at=at,
            )
        )
    return tuple(legs)


def _matched_at(of: Json) -> datetime:
    if nano := of.get("match_time_nano"):
        return moment(exact(nano) / 1_000_000_000)
    return moment(exact(of.get("match_time") or of.get("matchtime")))


def moment(seconds: Decimal) -> datetime:
    """The UTC time so many seconds after the epoch, to the microsecond. Raises Unreadable."""
    try:
        return _EPOCH + timedelta(microseconds=int(seconds * _MICRO))
    except OverflowError:
        raise Unreadable("no time") from None


def unix_ms(at: datetime) -> int:
    """Whole milliseconds since the epoch, floored, without a float on the way."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def levels(of: object) -> dict[Decimal, Decimal]:
    """Price levels by price. Raises Unreadable for what no book can hold (faults W14)."""
    found: dict[Decimal, Decimal] = {}
    for entry in map(mapping, sequence(of)):
        price, size = exact(entry.get("price")), exact(entry.get("size"))
        if not 0 < price < 1 or size <= 0 or price in found:
            raise Unreadable("a level with an impossible price or size, or given twice")
        found[price] = size
    return found


def make_book(
    bids: Mapping[Decimal, Decimal], asks: Mapping[Decimal, Decimal], at: datetime
) -> Book:
    """A book, best first on both sides."""
    return Book(
        bids=tuple(Level(p, bids[p]) for p in sorted(bids, reverse=True)),
        asks=tuple(Level(p, asks[p]) for p in sorted(asks)),
        at=at,
    )


def crossed(book: Book) -> bool:
    """Whether the best bid is above the best ask. Equal (locked) has been seen live."""
    return bool(book.bids and book.asks and book.bids[0].price > book.asks[0].price)


def market_info(short: Json, long: Json, token_id: str, at: datetime) -> MarketInfo:
    """A token's rules from `/clob-markets/{c}` and the long form `/markets/{c}` (reference 5.4).

    Both say whether the market is neg-risk; since the wrong contract would give a wrong order id,
    they must agree. No fee schedule means no fee.

    Raises:
        Unreadable: a rule is missing, the two disagree, or the market does not have this token
            and one other.
    """
    outcomes = {str(t.get("t")): str(t.get("o")) for t in map(mapping, sequence(short.get("t")))}
    others = [token for token in outcomes if token != token_id]
    if token_id not in outcomes or len(others) != 1:
        raise Unreadable("not a market of this token and one other")
    neg_risk = bool(short.get("nr", False))
    if neg_risk != bool(long.get("neg_risk", False)):
        raise Unreadable("two answers disagree on neg_risk")
    fees = mapping(short.get("fd") or {})
    exponent = exact(fees.get("e", 1))
    if exponent != int(exponent):
        raise Unreadable("a fee exponent that is no whole number")
    open_flags = (long.get("accepting_orders"), long.get("active", True), short.get("ao", True))
    return MarketInfo(
        token_id=token_id,
        complement=others[0],
        condition_id=_text(long, "condition_id"),
        slug=str(long.get("market_slug") or ""),
        question=str(long.get("question") or ""),
        outcome=outcomes[token_id],
        tick=exact(short.get("mts")),
        min_size=exact(short.get("mos")),
        neg_risk=neg_risk,
        accepting=all(flag is True for flag in open_flags) and not long.get("closed", False),
        fee_rate=exact(fees.get("r", 0)),
        fee_exponent=int(exponent),
        at=at,
    )

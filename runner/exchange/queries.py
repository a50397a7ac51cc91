"""The public part of the API: markets, books and prices; Gamma's and the Data API's rows."""

import re

from eth_utils.address import is_address

from runner.exchange.engine import Engine
from runner.exchange.listings import Listing, Number
from runner.exchange.markets import ONE, decimal_text
from runner.exchange.records import Leg, Refused, Trade
from runner.exchange.requests import Request, listing_of, market_of

_BOOKS_MAX = 500
_END = "LTE="


def get_time(request: Request) -> object:
    """`GET /time`: Unix seconds."""
    return request.engine.now_ms() // 1000


def get_ok(request: Request) -> object:
    """`GET /ok`."""
    del request
    return "OK"


def get_version(request: Request) -> object:
    """`GET /version`: orders are signed for domain version 2."""
    del request
    return {"version": 2}


def get_book(request: Request) -> object:
    """`GET /book`."""
    listing, outcome = request.listing()
    return listing.summary(outcome)


def post_books(request: Request) -> object:
    """`POST /books`."""
    found = [listing_of(request.engine, token_id) for token_id in _token_ids(request)]
    return [listing.summary(outcome) for listing, outcome in found]


def get_price(request: Request) -> object:
    """`GET /price`: BUY is the best bid, SELL the best ask (reference 5.4)."""
    listing, outcome = request.listing()
    side = request.query.get("side", "").upper()
    if side not in {"BUY", "SELL"}:
        raise Refused(400, "Invalid side")
    return {"price": decimal_text(listing.best(outcome, side == "BUY") or 0)}


def get_midpoint(request: Request) -> object:
    """`GET /midpoint`: 404 when a side of the book is empty, rather than a made-up price."""
    listing, outcome = request.listing()
    middle = listing.midpoint(outcome)
    if middle is None:
        raise Refused(404, "midpoint not found: a side of the book is empty")
    return {"mid": decimal_text(middle)}


def get_spread(request: Request) -> object:
    """`GET /spread`: 404 when a side of the book is empty."""
    listing, outcome = request.listing()
    bid, ask = listing.best(outcome, True), listing.best(outcome, False)
    if bid is None or ask is None:
        raise Refused(404, "spread not found: a side of the book is empty")
    return {"spread": decimal_text(ask - bid)}


def get_last_trade(request: Request) -> object:
    """`GET /last-trade-price`: empty texts before the first trade."""
    listing, outcome = request.listing()
    last = listing.last(outcome)
    if last is None:
        return {"price": "", "side": ""}
    buys = (listing.last_side == "BUY") == (outcome == 0)
    return {"price": decimal_text(last), "side": "BUY" if buys else "SELL"}


def get_tick_size(request: Request) -> object:
    """`GET /tick-size`."""
    listing, _ = request.listing()
    return {"minimum_tick_size": Number(decimal_text(listing.market.tick))}


def get_neg_risk(request: Request) -> object:
    """`GET /neg-risk`."""
    listing, _ = request.listing()
    return {"neg_risk": listing.market.neg_risk}


def get_fee_rate(request: Request) -> object:
    """`GET /fee-rate`: the old base fee; the schedule is in `/clob-markets` (reference 7)."""
    request.listing()
    return {"base_fee": 0}


def get_market_by_token(request: Request) -> object:
    """`GET /markets-by-token/{token}`."""
    listing, _ = listing_of(request.engine, request.argument)
    first, second = listing.market.token_ids
    return {
        "condition_id": listing.market.condition_id,
        "primary_token_id": first,
        "secondary_token_id": second,
    }


def get_clob_market(request: Request) -> object:
    """`GET /clob-markets/{condition}`."""
    return market_of(request.engine, request.argument).short_form()


def get_market(request: Request) -> object:
    """`GET /markets/{condition}`."""
    return market_of(request.engine, request.argument).long_form()


def get_markets(request: Request) -> object:
    """`GET /markets`: all of them on one page."""
    rows = [listing.long_form() for listing in request.engine.listings.values()]
    return {"limit": len(rows), "count": len(rows), "next_cursor": _END, "data": rows}


def get_prices_history(request: Request) -> object:
    """`GET /prices-history`: the last price of each `fidelity` minutes, oldest first."""
    query = request.query
    listing, outcome = listing_of(request.engine, query.get("market", ""))
    now_s = request.engine.now_ms() // 1000
    first = _whole(query.get("startTs", "0"))
    last = _whole(query.get("endTs", str(now_s)))
    span = _INTERVALS.get(query.get("interval", "max"))
    if span is not None:
        first = max(first, now_s - span)
    bucket = 60 * max(1, _whole(query.get("fidelity", "1")))
    points = {
        second // bucket: (second, price)
        for second, price in listing.history
        if first <= second <= last
    }
    return {
        "history": [
            {"t": second, "p": Number(decimal_text(price if outcome == 0 else ONE - price))}
            for second, price in points.values()
        ]
    }


_INTERVALS = {"1h": 3_600, "6h": 21_600, "1d": 86_400, "1w": 604_800, "1m": 2_592_000}


def gamma_market(request: Request) -> object:
    """Gamma's `GET /markets/slug/{slug}`."""
    for listing in request.engine.listings.values():
        if listing.market.slug == request.argument:
            return listing.gamma_form()
    raise Refused(404, "slug not found")


def gamma_markets(request: Request) -> object:
    """Gamma's `GET /markets` by `condition_ids`, `clob_token_ids` or `slug`."""
    query = request.query
    closed = query.get("closed")
    rows = []
    for listing in request.engine.listings.values():
        market = listing.market
        shut = listing.state in {"closed", "resolved"}
        if (
            query.get("condition_ids") in {None, market.condition_id}
            and query.get("clob_token_ids") in {None, *market.token_ids}
            and query.get("slug") in {None, market.slug}
            and shut == (closed == "true")
        ):
            rows.append(listing.gamma_form())
    return rows


def data_positions(request: Request) -> object:
    """The Data API's `GET /v2/positions`: what a wallet holds, settled."""
    account = request.engine.accounts.find(_user(request))
    held = account.tokens if account else {}
    rows = [
        _position(request.engine, _user(request), token_id, size)
        for token_id, size in held.items()
        if size
        and token_id in request.engine.tokens
        and request.query.get("condition") in {None, _condition(request.engine, token_id)}
    ]
    return {"data": rows, "pagination": {"limit": len(rows), "cursor": "", "has_more": False}}


def data_trades(request: Request) -> object:
    """The Data API's `GET /v2/trades`: a wallet's executions, newest first."""
    user = _user(request).lower()
    rows = [
        _execution(request.engine, trade, leg)
        for trade in reversed(request.engine.trades.values())
        if trade.status in {"MINED", "CONFIRMED"}
        for leg in trade.legs()
        if leg.address.lower() == user
    ]
    return {"data": rows, "pagination": {"limit": len(rows), "cursor": "", "has_more": False}}


def _token_ids(request: Request) -> list[str]:
    body = request.json()
    if not isinstance(body, list) or len(body) > _BOOKS_MAX:
        raise Refused(400, "Invalid payload")
    return [str(item.get("token_id")) if isinstance(item, dict) else "" for item in body]


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise Refused(400, "invalid time or fidelity")
    return int(text)


def _user(request: Request) -> str:
    user = request.query.get("user", "")
    if not is_address(user):
        raise Refused(400, "required query param 'user' not provided")
    return user


def _condition(engine: Engine, token_id: str) -> str:
    return engine.tokens[token_id].market.condition_id


def _position(engine: Engine, user: str, token_id: str, size: int) -> dict[str, object]:
    listing = engine.tokens[token_id]
    market, outcome = listing.market, listing.market.token_ids.index(token_id)
    average = _average_entry(engine, user, token_id)
    return {
        "proxy_wallet": user,
        "token_id": token_id,
        "condition_id": market.condition_id,
        "current_size": Number(decimal_text(size)),
        "avg_price": Number(decimal_text(average)),
        "current_price": Number(decimal_text(_mark(listing, outcome))),
        "status": "REDEEMABLE" if listing.state == "resolved" else "OPEN",
        "redeemable": listing.state == "resolved",
        "negative_risk": market.neg_risk,
        "title": market.question,
        "slug": market.slug,
        "event_slug": market.event_slug,
        "outcome": market.outcomes[outcome],
        "outcome_index": outcome,
        "opposite_token_id": market.token_ids[1 - outcome],
    }


def _average_entry(engine: Engine, user: str, token_id: str) -> int:
    """Average price of the shares bought and still held, in millionths, rounded down."""
    size = cost = 0
    for trade in engine.trades.values():
        if trade.status not in {"MINED", "CONFIRMED"}:
            continue
        for leg in trade.legs():
            if leg.address.lower() != user.lower() or leg.token_id != token_id:
                continue
            if leg.side == "BUY":
                size, cost = size + leg.size, cost + leg.dollars
            elif size:
                sold = min(size, leg.size)
                size, cost = size - sold, cost - cost * sold // size
    return cost * ONE // size if size else 0


def _mark(listing: Listing, outcome: int) -> int:
    return listing.midpoint(outcome) or listing.last(outcome) or 0


def _execution(engine: Engine, trade: Trade, leg: Leg) -> dict[str, object]:
    market = engine.listings[trade.condition_id].market
    outcome = market.token_ids.index(leg.token_id)
    return {
        "proxy_wallet": leg.address,
        "side": leg.side,
        "token_id": leg.token_id,
        "condition_id": market.condition_id,
        "size": Number(decimal_text(leg.size)),
        "price": Number(decimal_text(leg.dollars * ONE // leg.size)),
        "fee": Number(decimal_text(leg.fee)),
        "timestamp": trade.matched_at // 1000,
        "title": market.question,
        "slug": market.slug,
        "event_slug": market.event_slug,
        "outcome": market.outcomes[outcome],
        "outcome_index": outcome,
        "transaction_hash": trade.tx_hash,
    }

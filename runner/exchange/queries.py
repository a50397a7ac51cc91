"""The public part of the CLOB's API: markets, books and prices (reference 5.4)."""

from collections.abc import Sequence

from runner.exchange.listings import INTERVALS, Listing, number
from runner.exchange.markets import decimal_text
from runner.exchange.records import Refused
from runner.exchange.requests import END, Request, listing_of, market_of, page_of, whole

_BOOKS_MAX = 500
_MARKETS_PAGE = 1_000
_ACTIVITY_MAX = 100


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
    return [listing.summary(outcome) for listing, outcome in _listed(request)]


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
    """`GET /last-trade-price`: 0.5 and no side before the first trade, as the real one answers."""
    return _last_trade(*request.listing())


def get_tick_size(request: Request) -> object:
    """`GET /tick-size`."""
    listing, _ = request.listing()
    return {"minimum_tick_size": number(listing.market.tick)}


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
    """`GET /markets`."""
    return _market_page(request, [x.long_form() for x in request.engine.listings.values()])


def get_prices_history(request: Request) -> object:
    """`GET /prices-history`: the last price of each `fidelity` minutes, oldest first."""
    query = request.query
    listing, outcome = listing_of(request.engine, query.get("market", ""))
    now_s = request.engine.now_ms() // 1000
    first, last = whole(request, "startTs", 0), whole(request, "endTs", now_s)
    span = INTERVALS.get(query.get("interval", "max"))
    if span is not None:
        first = max(first, now_s - span)
    points = listing.points(outcome, first, last, 60 * max(1, whole(request, "fidelity", 1)))
    return {"history": [{"t": second, "p": number(price)} for second, price in points]}


def post_midpoints(request: Request) -> object:
    """`POST /midpoints`: by token; one whose book lacks a side is left out."""
    middles = {
        listing.market.token_ids[outcome]: listing.midpoint(outcome)
        for listing, outcome in _listed(request)
    }
    return {token: decimal_text(middle) for token, middle in middles.items() if middle is not None}


def post_prices(request: Request) -> object:
    """`POST /prices`: by token and side; a side without orders is left out."""
    prices: dict[str, dict[str, str]] = {}
    for item in _items(request):
        listing, outcome = listing_of(request.engine, str(item.get("token_id")))
        side = item.get("side")
        if side not in {"BUY", "SELL"}:
            raise Refused(400, "Invalid side")
        best = listing.best(outcome, side == "BUY")
        if best is not None:
            prices.setdefault(str(item["token_id"]), {})[str(side)] = decimal_text(best)
    return prices


def post_spreads(request: Request) -> object:
    """`POST /spreads`: by token; one whose book lacks a side is left out."""
    spreads = {}
    for listing, outcome in _listed(request):
        bid, ask = listing.best(outcome, True), listing.best(outcome, False)
        if bid is not None and ask is not None:
            spreads[listing.market.token_ids[outcome]] = decimal_text(ask - bid)
    return spreads


def post_last_trades(request: Request) -> object:
    """`POST /last-trades-prices`: of the tokens that have traded."""
    return [
        {"token_id": listing.market.token_ids[outcome], **_last_trade(listing, outcome)}
        for listing, outcome in _listed(request)
        if listing.last_price is not None
    ]


def get_simplified_markets(request: Request) -> object:
    """`GET /simplified-markets`."""
    return _market_page(request, [x.simplified_form() for x in request.engine.listings.values()])


def get_sampling_markets(request: Request) -> object:
    """`GET /sampling-markets`, `/sampling-simplified-markets`: those with rewards, so none here."""
    return _market_page(request, [])


def get_live_activity(request: Request) -> object:
    """`GET /markets/live-activity/{condition}`: the last trades of accounts, newest first."""
    listing = market_of(request.engine, request.argument)
    market = listing.market
    trades = [t for t in request.engine.trades.values() if t.condition_id == market.condition_id]
    return [
        {
            "event_type": "trade",
            "market": {
                "condition_id": market.condition_id,
                "asset_id": trade.token_id,
                "question": market.question,
                "icon": "",
                "slug": market.slug,
            },
            "user": {"address": trade.address, "username": "", "pseudonym": ""},
            "side": trade.side,
            "size": decimal_text(trade.size),
            "fee_rate_bps": "0",
            "price": decimal_text(trade.price),
            "outcome": market.outcomes[trade.outcome],
            "outcome_index": trade.outcome,
            "transaction_hash": trade.tx_hash,
            "timestamp": str(trade.matched_at // 1000),
        }
        for trade in reversed(trades[-_ACTIVITY_MAX:])
    ]


def get_builder_fees(request: Request) -> object:
    """`GET /fees/builder-fees/{code}`: no builder charges anything here."""
    del request
    return {"builder_maker_fee_rate_bps": 0, "builder_taker_fee_rate_bps": 0}


def _last_trade(listing: Listing, outcome: int) -> dict[str, object]:
    last = listing.last(outcome)
    if last is None:
        return {"price": "0.5", "side": ""}
    buys = (listing.last_side == "BUY") == (outcome == 0)
    return {"price": decimal_text(last), "side": "BUY" if buys else "SELL"}


def _market_page(request: Request, rows: Sequence[dict[str, object]]) -> dict[str, object]:
    chosen, following = page_of(rows, request.query.get("next_cursor"), _MARKETS_PAGE)
    paging = {"limit": _MARKETS_PAGE, "count": len(chosen), "next_cursor": following or END}
    return paging | {"data": chosen}


def _items(request: Request) -> list[dict[str, object]]:
    body = request.json()
    if not isinstance(body, list) or len(body) > _BOOKS_MAX:
        raise Refused(400, "Invalid payload")
    return [item if isinstance(item, dict) else {} for item in body]


def _listed(request: Request) -> list[tuple[Listing, int]]:
    """The markets and outcomes of a body `[{"token_id": …}, …]`."""
    return [listing_of(request.engine, str(item.get("token_id"))) for item in _items(request)]

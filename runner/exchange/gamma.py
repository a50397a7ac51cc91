"""Gamma: the catalogue of markets and events, read-only (reference 9).

What the embedded exchange doesn't keep (volumes, tags, images, sports) is left out of the rows,
and a filter it can't honour is refused rather than ignored: no answer is wider than was asked.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from runner.exchange.engine import Engine
from runner.exchange.listings import Listing, number
from runner.exchange.markets import MarketConfig, decimal_text
from runner.exchange.records import Refused
from runner.exchange.requests import Request, page_of, whole

T = TypeVar("T")

_PAGE = 20
_PAGE_MAX = 100
_MARKET_FILTERS = {"id", "slug", "condition_ids", "clob_token_ids", "closed"}
_EVENT_FILTERS = {"id", "slug", "closed"}


@dataclass(frozen=True, slots=True)
class _Event:
    """The markets that share an event's slug; its id is its place in the order of listing."""

    number: int
    slug: str
    listings: Sequence[Listing]

    @property
    def title(self) -> str:
        """The question of its one market, or its slug in words."""
        one = len(self.listings) == 1
        return self.listings[0].market.question if one else self.slug.replace("-", " ")

    @property
    def closed(self) -> bool:
        return all(listing.ended for listing in self.listings)

    @property
    def words(self) -> str:
        """What a search looks at."""
        questions = [listing.market.question for listing in self.listings]
        return " ".join([self.slug, self.title, *questions]).lower()

    def row(self) -> dict[str, object]:
        """A row of `/events`, with its markets in it."""
        return {
            **self._reference(),
            "ticker": self.slug,
            "active": True,
            "closed": self.closed,
            "archived": False,
            "enableOrderBook": True,
            "negRisk": any(listing.market.neg_risk for listing in self.listings),
            "version": "v1",
            "markets": self.market_rows(),
        }

    def market_rows(self) -> list[dict[str, object]]:
        """The rows of `/markets` of its markets."""
        return [_market_row(listing) | {"events": [self._reference()]} for listing in self.listings]

    def _reference(self) -> dict[str, object]:
        return {"id": str(self.number), "slug": self.slug, "title": self.title}


def market_by_slug(request: Request) -> object:
    """`GET /markets/slug/{slug}`, also of a closed market."""
    return _only_one([r for r in _market_rows(request.engine) if r["slug"] == request.argument])


def market_by_id(request: Request) -> object:
    """`GET /markets/{id}`, also of a closed market."""
    return _only_one([r for r in _market_rows(request.engine) if r["id"] == request.argument])


def markets(request: Request) -> object:
    """`GET /markets`: a page by `limit` and `offset`; open markets unless `closed` is true."""
    _refuse_other(request, _MARKET_FILTERS | {"limit", "offset"})
    return _offset_page(request, _chosen_markets(request))


def markets_keyset(request: Request) -> object:
    """`GET /markets/keyset`: a page from `after_cursor`; the last one has no `next_cursor`."""
    _refuse_other(request, _MARKET_FILTERS | {"limit", "after_cursor"})
    return _cursor_page(request, "markets", _chosen_markets(request))


def event_by_slug(request: Request) -> object:
    """`GET /events/slug/{slug}`, also of a closed event."""
    return _only_one([e.row() for e in _events(request.engine) if e.slug == request.argument])


def event_by_id(request: Request) -> object:
    """`GET /events/{id}`, also of a closed event."""
    found = [e.row() for e in _events(request.engine) if str(e.number) == request.argument]
    return _only_one(found)


def events(request: Request) -> object:
    """`GET /events`: a page by `limit` and `offset`; open events unless `closed` is true."""
    _refuse_other(request, _EVENT_FILTERS | {"limit", "offset"})
    return _offset_page(request, _chosen_events(request))


def events_keyset(request: Request) -> object:
    """`GET /events/keyset`: a page from `after_cursor`; the last one has no `next_cursor`."""
    _refuse_other(request, _EVENT_FILTERS | {"limit", "after_cursor"})
    return _cursor_page(request, "events", _chosen_events(request))


def search(request: Request) -> object:
    """`GET /public-search`: events that hold every word of `q` in slug, title or questions."""
    _refuse_other(request, {"q", "page", "limit_per_type"})
    words = request.query.get("q", "").lower().split()
    size, page = whole(request, "limit_per_type", _PAGE), whole(request, "page", 1)
    if not words or not size or not page:
        raise Refused(400, "q is required; page and limit_per_type start at 1")
    found = [e for e in _events(request.engine) if all(word in e.words for word in words)]
    return {
        "events": [event.row() for event in found[(page - 1) * size : page * size]],
        "tags": [],
        "profiles": [],
        "pagination": {"hasMore": page * size < len(found), "totalResults": len(found)},
    }


def _events(engine: Engine) -> list[_Event]:
    groups: dict[str, list[Listing]] = {}
    for listing in engine.listings.values():
        groups.setdefault(listing.market.event_slug, []).append(listing)
    return [_Event(n, slug, group) for n, (slug, group) in enumerate(groups.items(), start=1)]


def _market_rows(engine: Engine) -> list[dict[str, object]]:
    return [row for event in _events(engine) for row in event.market_rows()]


def _chosen_markets(request: Request) -> list[dict[str, object]]:
    ids, slugs = request.values("id"), request.values("slug")
    conditions, tokens = request.values("condition_ids"), request.values("clob_token_ids")
    return [
        row
        for row in _market_rows(request.engine)
        if row["closed"] == _asked_closed(request)
        and (not ids or row["id"] in ids)
        and (not slugs or row["slug"] in slugs)
        and (not conditions or row["conditionId"] in conditions)
        and (not tokens or not tokens.isdisjoint(json.loads(str(row.get("clobTokenIds", "[]")))))
    ]


def _chosen_events(request: Request) -> list[dict[str, object]]:
    ids, slugs = request.values("id"), request.values("slug")
    return [
        event.row()
        for event in _events(request.engine)
        if event.closed == _asked_closed(request)
        and (not ids or str(event.number) in ids)
        and (not slugs or event.slug in slugs)
    ]


def _market_row(listing: Listing) -> dict[str, object]:
    """A row of `/markets`, but for its event: some lists are JSON inside strings."""
    market = listing.market
    fees: dict[str, object] = {
        "rate": number(market.fee_rate),
        "exponent": market.fee_exponent,
        "takerOnly": True,
        "rebateRate": number(market.rebate_rate),
    }
    bid, ask, last = listing.best(0, True), listing.best(0, False), listing.last(0)
    prices = {"bestBid": bid, "bestAsk": ask, "lastTradePrice": last}
    if bid is not None and ask is not None:
        prices["spread"] = ask - bid
    return {
        "id": str(listing.number),
        "question": market.question,
        "conditionId": market.condition_id,
        "slug": market.slug,
        "description": market.description,
        "endDate": market.end_text,
        "outcomes": json.dumps(list(market.outcomes)),
        "outcomePrices": json.dumps([decimal_text(listing.shown_price(i)) for i in (0, 1)]),
        **_token_ids(market),
        "active": True,
        "closed": listing.ended,
        "archived": False,
        "acceptingOrders": listing.accepting,
        "enableOrderBook": True,
        "negRisk": market.neg_risk,
        "orderPriceMinTickSize": number(market.tick),
        "orderMinSize": number(market.min_size),
        "feesEnabled": market.fee_rate > 0,
        "feeSchedule": fees,
        "secondsDelay": market.seconds_delay,
        "version": market.version,
        **({"negRiskMarketID": market.neg_risk_event_id} if market.neg_risk else {}),
        **{name: number(price) for name, price in prices.items() if price is not None},
    }


def _token_ids(market: MarketConfig) -> dict[str, object]:
    """What one trades: conditional tokens, as JSON in a string, or positions (reference 3.3)."""
    if market.version == "v2":
        return {"positionIds": list(market.token_ids)}
    return {"clobTokenIds": json.dumps(list(market.token_ids))}


def _asked_closed(request: Request) -> bool:
    return request.query.get("closed", "false") == "true"


def _only_one(found: Sequence[object]) -> object:
    if not found:
        raise Refused(404, "not found")
    return found[0]


def _refuse_other(request: Request, known: set[str]) -> None:
    """Refuses parameters that would be ignored."""
    if other := sorted(request.query.keys() - known):
        raise Refused(400, f"not simulated: {', '.join(other)}")


def _offset_page(request: Request, rows: Sequence[T]) -> Sequence[T]:
    start = whole(request, "offset", 0)
    return rows[start : start + _limit(request)]


def _cursor_page(
    request: Request, name: str, rows: Sequence[dict[str, object]]
) -> dict[str, object]:
    chosen, following = page_of(rows, request.query.get("after_cursor"), _limit(request))
    return {name: chosen} | ({} if following is None else {"next_cursor": following})


def _limit(request: Request) -> int:
    limit = whole(request, "limit", _PAGE)
    if not limit:
        raise Refused(400, "limit starts at 1")
    return min(limit, _PAGE_MAX)

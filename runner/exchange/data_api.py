"""The Data API: what wallets hold and did, read-only, from what has settled (reference 9).

Costs count what was traded: tokens handed out by the control face come without a price, so they
are in `current_size` and in no cost or profit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from eth_utils.address import is_address

from runner.exchange.engine import Engine
from runner.exchange.listings import INTERVALS, Listing, number
from runner.exchange.markets import ONE, MarketConfig
from runner.exchange.records import Leg, Refused, Trade
from runner.exchange.requests import Request, listing_of, page_of, whole
from runner.exchange.signatures import checksummed

T = TypeVar("T")

_Row = dict[str, object]

_ZERO = number(0)
_PAGE = 100
_PAGE_MAX = 1_000
_POINTS_MAX = 10_000


def positions(request: Request) -> object:
    """`GET /v2/positions` of a `user`, or of every wallet in one `condition_id`.

    `status` OPEN, REDEEMABLE, REDEEMABLE_LOST, MERGEABLE or CLOSED picks some; without it all
    that are not closed.
    """
    engine, conditions = request.engine, _conditions(request)
    if "user" not in request.query and len(conditions) != 1:
        raise Refused(400, "user or exactly one condition_id is required")
    wanted = _STATUSES.get(request.query.get("status", ""))
    if wanted is None:
        raise Refused(400, "no such status")
    rows = [
        _position(engine, wallet, token_id, held)
        for wallet in _wallets(request)
        for token_id, held in _holdings(engine, wallet).items()
        if not conditions or engine.tokens[token_id].market.condition_id in conditions
    ]
    return _page(request, [row for row in rows if wanted(row)], lambda row: row)


def trades(request: Request) -> object:
    """`GET /v2/trades`: executions, newest first, of a `user` or of everybody that has a wallet.

    `condition_id`, `side`, `taker_only`, `start` and `end` (seconds, inclusive) pick some.
    """
    return _page(request, _executions(request, _wallets(request)), _execution_row)


def activity(request: Request) -> object:
    """`GET /v2/activity` of a `user`: trades; nothing else happens to a wallet here."""
    wanted = request.values("type")
    found = _executions(request, [_user(request)]) if not wanted or "TRADE" in wanted else []
    if request.query.get("sort_direction") == "ASC":
        found.reverse()
    return _page(request, found, _activity_row)


def value(request: Request) -> object:
    """`GET /v2/value`: what a `user` holds at its current prices, in dollars."""
    user, conditions = _user(request), _conditions(request)
    worth = sum(
        _worth(*listing_of(request.engine, token_id), held.size)
        for token_id, held in _holdings(request.engine, user).items()
        if not conditions or request.engine.tokens[token_id].market.condition_id in conditions
    )
    return {"data": {"proxy_wallet": user, "value": number(worth)}}


def user_volume(request: Request) -> object:
    """`GET /v2/user-volume`: what a `user` traded, in shares and dollars."""
    legs = [execution.leg for execution in _executions(request, [_user(request)])]
    return {
        "data": {
            "volume": number(sum(leg.size for leg in legs)),
            "volume_usdc": number(sum(leg.dollars for leg in legs)),
            "trade_count": len(legs),
        }
    }


def holders(request: Request) -> object:
    """`GET /v2/holders`: who holds the tokens of each `condition_id`, the largest first."""
    engine, conditions = request.engine, _conditions(request)
    if not conditions:
        raise Refused(400, "condition_id is required")
    rows = []
    for listing in engine.listings.values():
        if listing.market.condition_id in conditions:
            rows += [_holders(engine, listing, outcome) for outcome in (0, 1)]
    return _page(request, rows, lambda row: row)


def tokens(request: Request) -> object:
    """`GET /v2/tokens`: reference facts by `token_id` or `condition`."""
    token_ids, conditions = request.values("token_id"), request.values("condition")
    if bool(token_ids) == bool(conditions):
        raise Refused(400, "exactly one of token_id or condition is required")
    listings = request.engine.listings.values()
    return {
        "data": [
            _token(listing, outcome)
            for listing in listings
            for outcome, token_id in enumerate(listing.market.token_ids)
            if token_id in token_ids or listing.market.condition_id in conditions
        ]
    }


def prices_history(request: Request) -> object:
    """`GET /v2/prices-history`: points by `interval`, by `start` and `end`, or one `as_of`.

    The last price of each `bucket_seconds`, oldest first; `as_of` answers the exact last trade
    at or before a time (resolution 0), as the official client describes it.
    """
    query, now_s = request.query, request.engine.now_ms() // 1000
    listing, outcome = request.listing()
    bucket = whole(request, "bucket_seconds", 60)
    if not bucket:
        raise Refused(400, "bucket_seconds starts at 1")
    if "as_of" in query:
        found, bucket = listing.points(outcome, 0, whole(request, "as_of", 0), 1)[-1:], 0
    elif "interval" in query:
        span = INTERVALS.get(query["interval"])
        found = listing.points(outcome, 0 if span is None else now_s - span, now_s, bucket)
    else:
        first, last = whole(request, "start", 0), whole(request, "end", now_s)
        found = listing.points(outcome, first, last, bucket)
    return _page(
        request,
        found,
        lambda p: {"timestamp": p[0], "price": number(p[1]), "resolution_seconds": bucket},
        most=_POINTS_MAX,
    )


_STATUSES: Mapping[str, Callable[[_Row], bool]] = {
    "": lambda row: row["status"] != "CLOSED",
    "OPEN": lambda row: row["status"] == "OPEN",
    "REDEEMABLE": lambda row: row["status"] == "REDEEMABLE",
    "REDEEMABLE_LOST": lambda row: row["status"] == "REDEEMABLE" and row["current_price"] == _ZERO,
    "MERGEABLE": lambda row: row["mergeable"] is True,
    "CLOSED": lambda row: row["status"] == "CLOSED",
}


@dataclass(slots=True)
class _Held:
    """What a wallet has of a token: `size` settled, and what its trades there came to."""

    size: int = 0
    open_size: int = 0
    open_cost: int = 0
    bought: int = 0
    spent: int = 0
    fees: int = 0
    realized: int = 0
    times: list[int] = field(default_factory=list)

    def add(self, leg: Leg, second: int) -> None:
        """Takes one execution in: a sale realizes against the average cost, rounded down."""
        self.times.append(second)
        if leg.side == "BUY":
            self.open_size, self.open_cost = self.open_size + leg.size, self.open_cost + leg.dollars
            self.bought, self.spent = self.bought + leg.size, self.spent + leg.dollars
            self.fees += leg.fee
            return
        sold = min(self.open_size, leg.size)
        cost = self.open_cost * sold // self.open_size if sold else 0
        self.realized += leg.dollars * sold // leg.size - cost
        self.open_size, self.open_cost = self.open_size - sold, self.open_cost - cost


@dataclass(frozen=True, slots=True)
class _Execution:
    """One party's part of a settled trade."""

    market: MarketConfig
    trade: Trade
    leg: Leg
    taker: bool


def _settled(engine: Engine) -> Iterable[_Execution]:
    """Every party's part of what has settled, oldest first."""
    for trade in engine.trades.values():
        if trade.status in {"MINED", "CONFIRMED"}:
            market = engine.listings[trade.condition_id].market
            for place, leg in enumerate(trade.legs()):
                yield _Execution(market, trade, leg, taker=place == 0)


def _holdings(engine: Engine, wallet: str) -> dict[str, _Held]:
    held: dict[str, _Held] = {}
    for execution in _settled(engine):
        leg = execution.leg
        if leg.address == wallet:
            second = execution.trade.matched_at // 1000
            held.setdefault(leg.token_id, _Held()).add(leg, second)
    account = engine.accounts.find(wallet)
    for token_id, size in (account.tokens if account else {}).items():
        if (size or token_id in held) and token_id in engine.tokens:
            held.setdefault(token_id, _Held()).size = size
    return held


def _position(engine: Engine, wallet: str, token_id: str, held: _Held) -> _Row:
    listing, outcome = listing_of(engine, token_id)
    market, price = listing.market, listing.shown_price(outcome)
    unrealized = _worth(listing, outcome, held.open_size) - held.open_cost
    total = held.realized + unrealized
    account = engine.accounts.find(wallet)
    other = account.tokens.get(market.token_ids[1 - outcome], 0) if account else 0
    return {
        "proxy_wallet": wallet,
        "token_id": token_id,
        "condition_id": market.condition_id,
        "current_size": number(held.size),
        "avg_price": number(held.open_cost * ONE // held.open_size if held.open_size else 0),
        "entry_cost_usdc": number(held.open_cost),
        "entry_fees_usdc": number(held.fees),
        "total_cost_usdc": number(held.spent),
        "current_price": number(price),
        "current_value": number(_worth(listing, outcome, held.size)),
        "total_size": number(held.bought),
        "realized_pnl": number(held.realized),
        "unrealized_pnl": number(unrealized),
        "total_pnl": number(total),
        "percent_pnl": number(_percent(total, held.spent)),
        "percent_realized_pnl": number(_percent(held.realized, held.spent)),
        "status": _status(listing, held.size),
        "redeemable": listing.state == "resolved" and held.size > 0,
        "mergeable": held.size > 0 and other > 0,
        "negative_risk": market.neg_risk,
        "archived": False,
        "verified": False,
        **_names(market, outcome),
        "opposite_outcome": market.outcomes[1 - outcome],
        "opposite_token_id": market.token_ids[1 - outcome],
        "last_event_at": max(held.times, default=0),
        "first_entry_at": min(held.times, default=0),
    }


def _status(listing: Listing, size: int) -> str:
    if not size:
        return "CLOSED"
    return "REDEEMABLE" if listing.state == "resolved" else "OPEN"


def _holders(engine: Engine, listing: Listing, outcome: int) -> _Row:
    token_id = listing.market.token_ids[outcome]
    owners = [account for account in engine.accounts.all() if account.tokens.get(token_id, 0)]
    owners.sort(key=lambda account: (-account.tokens[token_id], account.address))
    return {
        "token_id": token_id,
        "holders": [
            {
                "proxy_wallet": account.address,
                "token_id": token_id,
                "amount": number(account.tokens[token_id]),
                "outcome_index": outcome,
                "display_username_public": False,
                "verified": False,
            }
            for account in owners
        ],
    }


def _token(listing: Listing, outcome: int) -> _Row:
    market, resolved = listing.market, listing.state == "resolved"
    return {
        "token_id": market.token_ids[outcome],
        "condition_id": market.condition_id,
        "structural_condition_id": None,
        "module": "v1_ctf",
        "outcome_index": outcome,
        "clob_index": outcome,
        "outcome": market.outcomes[outcome],
        "opposite_token_id": market.token_ids[1 - outcome],
        "resolved": resolved,
        "final_price": number(listing.shown_price(outcome)) if resolved else None,
        "title": market.question,
        "market_slug": market.slug,
        "closed": listing.ended,
        "neg_risk": market.neg_risk,
        "neg_risk_market_id": market.neg_risk_event_id or None,
        "question_index": None,
        "event_id": None,
        "event_slug": market.event_slug,
    }


def _executions(request: Request, wallets: Sequence[str]) -> list[_Execution]:
    """The settled executions of some wallets that a query asks for, newest first."""
    engine, conditions, side = request.engine, _conditions(request), request.query.get("side")
    first, last = whole(request, "start", 0), whole(request, "end", engine.now_ms() // 1000)
    taker_only = request.query.get("taker_only") == "true"
    found = [
        execution
        for execution in _settled(engine)
        if execution.leg.address in wallets
        and (not conditions or execution.market.condition_id in conditions)
        and side in {None, execution.leg.side}
        and first <= execution.trade.matched_at // 1000 <= last
        and (execution.taker or not taker_only)
    ]
    found.reverse()
    return found


def _execution_row(execution: _Execution) -> _Row:
    trade, leg, market = execution.trade, execution.leg, execution.market
    return {
        "proxy_wallet": leg.address,
        "side": leg.side,
        "token_id": leg.token_id,
        "condition_id": market.condition_id,
        "size": number(leg.size),
        "price": number(leg.dollars * ONE // leg.size),
        "fee": number(leg.fee),
        "timestamp": trade.matched_at // 1000,
        "transaction_hash": trade.tx_hash,
        **_names(market, market.token_ids.index(leg.token_id)),
    }


def _activity_row(execution: _Execution) -> _Row:
    more = {"type": "TRADE", "is_combo": False, "usdc_size": number(execution.leg.dollars)}
    return _execution_row(execution) | more


def _names(market: MarketConfig, outcome: int) -> _Row:
    return {
        "title": market.question,
        "slug": market.slug,
        "event_slug": market.event_slug,
        "outcome": market.outcomes[outcome],
        "outcome_index": outcome,
    }


def _worth(listing: Listing, outcome: int, size: int) -> int:
    """Dollars of a holding at the price shown, rounded down."""
    return listing.shown_price(outcome) * size // ONE


def _percent(part: int, whole_: int) -> int:
    return 100 * part * ONE // whole_ if whole_ else 0


def _wallets(request: Request) -> list[str]:
    """The `user` asked for, or everybody with an account."""
    if "user" in request.query:
        return [_user(request)]
    return [account.address for account in request.engine.accounts.all()]


def _user(request: Request) -> str:
    user = request.query.get("user", "")
    if not is_address(user):
        raise Refused(400, "required query param 'user' not provided")
    return checksummed(user)


def _conditions(request: Request) -> set[str]:
    """The official client sends `condition_id`, the reference's section 9 has `condition`."""
    return request.values("condition_id") | request.values("condition")


def _page(
    request: Request, rows: Sequence[T], view: Callable[[T], _Row], most: int = _PAGE_MAX
) -> _Row:
    limit = min(whole(request, "limit", _PAGE), most)
    if not limit:
        raise Refused(400, "limit starts at 1")
    chosen, following = page_of(rows, request.query.get("cursor"), limit)
    paging = {"limit": limit, "has_more": following is not None, "next_cursor": following}
    return {"data": [view(row) for row in chosen], "pagination": paging}

"""The exchange as its clients see it: (request) -> response and (frame) -> frames, no sockets.

`Exchange` is the engine speaking Polymarket's API. A driver owns a connection to the world and
does four things, in virtual or real time:

1. hands each request to `handle` and does with the client what the `Response` says;
2. opens a `Session` with `connect` for each socket, hands it the client's frames, and sends what
   it finds in `outgoing` whenever `on_frame` is called;
3. calls `advance` when `next_due` says so;
4. after each of these looks at `next_due` again.

Everything a call changed is durable when it returns.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import get_args

from runner.exchange import absent, control, data_api, gamma, membership, notices, queries, trading
from runner.exchange.engine import Engine
from runner.exchange.feeds import Channel, Session
from runner.exchange.listings import dump
from runner.exchange.mishaps import Mishaps
from runner.exchange.records import Refused
from runner.exchange.requests import MARK, Later, Pending, Request, Response

Handler = Callable[[Request], object]

_PUBLIC: Mapping[tuple[str, str], Handler] = {
    ("GET", "/"): queries.get_ok,
    ("GET", "/ok"): queries.get_ok,
    ("GET", "/time"): queries.get_time,
    ("GET", "/version"): queries.get_version,
    ("GET", "/book"): queries.get_book,
    ("POST", "/books"): queries.post_books,
    ("GET", "/price"): queries.get_price,
    ("GET", "/midpoint"): queries.get_midpoint,
    ("GET", "/spread"): queries.get_spread,
    ("GET", "/last-trade-price"): queries.get_last_trade,
    ("GET", "/tick-size"): queries.get_tick_size,
    ("GET", "/neg-risk"): queries.get_neg_risk,
    ("GET", "/fee-rate"): queries.get_fee_rate,
    ("GET", "/markets-by-token/{}"): queries.get_market_by_token,
    ("GET", "/clob-markets/{}"): queries.get_clob_market,
    ("GET", "/markets/{}"): queries.get_market,
    ("GET", "/markets"): queries.get_markets,
    ("GET", "/prices-history"): queries.get_prices_history,
    ("POST", "/midpoints"): queries.post_midpoints,
    ("POST", "/prices"): queries.post_prices,
    ("POST", "/spreads"): queries.post_spreads,
    ("POST", "/last-trades-prices"): queries.post_last_trades,
    ("GET", "/simplified-markets"): queries.get_simplified_markets,
    ("GET", "/sampling-markets"): queries.get_sampling_markets,
    ("GET", "/sampling-simplified-markets"): queries.get_sampling_markets,
    ("GET", "/markets/live-activity/{}"): queries.get_live_activity,
    ("GET", "/fees/builder-fees/{}"): queries.get_builder_fees,
    ("GET", "/rewards/markets/current"): absent.reward_markets,
    ("GET", "/rewards/markets/multi"): absent.reward_markets,
    ("GET", "/rewards/markets/{}"): absent.reward_markets,
    ("GET", "/gamma/markets/slug/{}"): gamma.market_by_slug,
    ("GET", "/gamma/markets/{}"): gamma.market_by_id,
    ("GET", "/gamma/markets"): gamma.markets,
    ("GET", "/gamma/markets/keyset"): gamma.markets_keyset,
    ("GET", "/gamma/events/slug/{}"): gamma.event_by_slug,
    ("GET", "/gamma/events/{}"): gamma.event_by_id,
    ("GET", "/gamma/events"): gamma.events,
    ("GET", "/gamma/events/keyset"): gamma.events_keyset,
    ("GET", "/gamma/public-search"): gamma.search,
    ("GET", "/data-api/v2/positions"): data_api.positions,
    ("GET", "/data-api/v2/trades"): data_api.trades,
    ("GET", "/data-api/v2/activity"): data_api.activity,
    ("GET", "/data-api/v2/value"): data_api.value,
    ("GET", "/data-api/v2/user-volume"): data_api.user_volume,
    ("GET", "/data-api/v2/holders"): data_api.holders,
    ("GET", "/data-api/v2/tokens"): data_api.tokens,
    ("GET", "/data-api/v2/prices-history"): data_api.prices_history,
}

_PRIVATE: Mapping[tuple[str, str], Handler] = {
    ("POST", "/auth/api-key"): membership.create_key,
    ("DELETE", "/auth/api-key"): membership.delete_key,
    ("GET", "/auth/derive-api-key"): membership.derive_key,
    ("GET", "/auth/api-keys"): membership.list_keys,
    ("GET", "/auth/ban-status/closed-only"): membership.closed_only,
    ("GET", "/data/order/{}"): trading.get_order,
    ("GET", "/data/orders"): trading.get_orders,
    ("GET", "/data/trades"): trading.get_trades,
    ("GET", "/data/pre-migration-orders"): absent.old_orders,
    ("GET", "/notifications"): notices.list_notices,
    ("DELETE", "/notifications"): notices.drop_notices,
    ("GET", "/order-scoring"): absent.scoring,
    ("POST", "/orders-scoring"): absent.many_scoring,
    ("GET", "/rewards/user"): absent.earnings,
    ("GET", "/rewards/user/markets"): absent.earnings,
    ("GET", "/rewards/user/total"): absent.total_earnings,
    ("GET", "/rewards/user/percentages"): absent.reward_percentages,
    ("GET", "/balance-allowance"): membership.balance,
    ("GET", "/balance-allowance/update"): membership.refresh_balance,
    ("POST", "/v1/heartbeats"): membership.heartbeat,
}

_ORDERING: Mapping[tuple[str, str], Handler] = {
    ("POST", "/order"): trading.post_order,
    ("POST", "/orders"): trading.post_orders,
    ("DELETE", "/order"): trading.cancel_order,
    ("DELETE", "/orders"): trading.cancel_orders,
    ("DELETE", "/cancel-all"): trading.cancel_all,
    ("DELETE", "/cancel-market-orders"): trading.cancel_market,
}
"""What an engine restart makes unavailable (425, reference 8.3)."""

_ROUTES = {**_PUBLIC, **_PRIVATE, **_ORDERING, **control.ROUTES}
_FIXED = {route: handler for route, handler in _ROUTES.items() if "{}" not in route[1]}
_OPEN = {(m, path[:-2]): handler for (m, path), handler in _ROUTES.items() if "{}" in path}


class Exchange(Engine):
    """The engine, speaking Polymarket's API and its own control face."""

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Answers one request. What it changed is durable when this returns.

        Args:
            method: GET, POST or DELETE.
            target: Path and query as on the request line.
            headers: Names in any case.
            body: The exact bytes: private requests are signed over them.
        """
        request = Request.read(self, method, target, headers, body)
        if request.path.startswith("/_exchange/"):
            return self._apply(request)
        if (mishap := self._mishaps.going(request)) is not None:
            return mishap
        response = self._apply(request)
        return response if response.pending else self._mishaps.returning(request, response)

    def connect(self, path: str) -> Session:
        """A client's socket on `/ws/market` or `/ws/user`.

        Raises:
            ValueError: No such channel.
        """
        if path not in get_args(Channel):
            raise ValueError(f"no such channel: {path}")
        return self.feeds.open("/ws/user" if path == "/ws/user" else "/ws/market")

    @cached_property
    def _mishaps(self) -> Mishaps:
        return Mishaps(self, self._late)

    def _late(self, request: Request) -> None:
        """A request that was on its way for long: its answer goes nowhere."""
        self._answer(request)

    def _apply(self, request: Request) -> Response:
        self.catch_up()
        response = self._answer(request)
        self.commit()
        return response

    def _answer(self, request: Request) -> Response:
        def produce() -> object:
            self.gate.edge.charge(request.method, request.path, self.now_ms())
            return self._handler(request)(request)

        return self._response(request, produce)

    def _response(self, request: Request, produce: Callable[[], object]) -> Response:
        try:
            body = produce()
        except Refused as refused:
            return _answer(refused.status, refused.body, request.told | refused.headers)
        if isinstance(body, Later):
            return self._pending(request, body)
        return _answer(200, body, request.told)

    def _pending(self, request: Request, later: Later) -> Response:
        pending = Pending()

        def settle() -> None:
            response = self._response(request, later.finish)
            pending.settle(self._mishaps.returning(request, response))

        self.at(later.due_ms, settle)
        return Response(0, MARK, b"", pending=pending)

    def _handler(self, request: Request) -> Handler:
        route = (request.method, request.path)
        if route in _ORDERING:
            self._check_trading(request)
        if (handler := _FIXED.get(route)) is not None:
            return handler
        stem, slash, argument = request.path.rpartition("/")
        handler = _OPEN.get((request.method, stem + slash)) if argument else None
        if handler is None:
            raise Refused(404, f"not found: {request.method} {request.path}")
        request.argument = argument
        return handler

    def _check_trading(self, request: Request) -> None:
        """What the gate says to orders and cancels."""
        cancels = request.method != "POST"
        post_only = not cancels and _all_post_only(request.json())
        self.gate.check_trading(self.now_ms(), cancels=cancels, post_only=post_only)


def _all_post_only(body: object) -> bool:
    orders = body if isinstance(body, list) else [body]
    return all(isinstance(order, dict) and order.get("postOnly") is True for order in orders)


def _answer(status: int, body: object, more: Mapping[str, str]) -> Response:
    headers = {**MARK, "Content-Type": "application/json", **more}
    return Response(status, headers, body if isinstance(body, bytes) else dump(body))

"""What befalls a request on its way to the exchange, and its answer on the way back.

Invariants:
    1. What was applied stays applied: a mishap only hides or bends what the client sees of it.
    2. A fault is asked for only where it could strike, so that its counts say what happened.
"""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http import HTTPStatus

from runner.exchange.engine import Engine
from runner.exchange.faults import Fault, FaultName
from runner.exchange.listings import dump
from runner.exchange.markets import LOT, ONE, Side, millionths
from runner.exchange.matching import Want
from runner.exchange.records import Order
from runner.exchange.requests import MARK, Request, Response

_END = "LTE="
_TEXTS = {
    403: (
        "Trading restricted in your region, please refer to available regions - "
        "https://docs.polymarket.com/developers/CLOB/geoblock"
    ),
    425: "Service is not ready",
    429: "Too Many Requests",
    500: "could not run the execution",
    503: "Trading is currently disabled. Check polymarket.com for updates",
}
_DEPTH = 10**9 * ONE
"""More than ever stands in a book."""

_LISTS = frozenset({"/data/orders", "/data/trades"})
_REMEMBERED_REQUESTS = 1_000
"""Different reads whose answers are kept for `stale_answer`; the oldest are forgotten first."""

_REMEMBERED_ANSWERS = 100
"""Answers kept of each of them."""


class Mishaps:
    """The faults that requests and answers meet.

    Args:
        engine: The exchange; its faults are asked.
        apply_late: Carries out a request whose sender has long gone.
    """

    def __init__(self, engine: Engine, apply_late: Callable[[Request], None]) -> None:
        self._engine = engine
        self._apply_late = apply_late
        self._seen: dict[tuple[str, str], deque[tuple[int, Response]]] = {}

    def going(self, request: Request) -> Response | None:
        """What happens before a request arrives; a response if it never does (in time)."""
        engine = self._engine
        if fault := self._strike("jump_clock", request):
            engine.jump_clock(round(1000 * fault.seconds))
        if fault := self._strike("lose_request", request):
            return _lost(fault)
        if fault := self._strike("refuse_request", request):
            return _refusal(fault)
        if fault := self._strike("delay_request", request):
            due = engine.now_ms() + round(1000 * fault.seconds)
            engine.at(due, lambda: self._apply_late(request))
            return _lost(fault)
        if _posts_orders(request):
            self._change_tick(request)
        elif request.method == "DELETE":
            self._fill(request)
        return None

    def returning(self, request: Request, response: Response) -> Response:
        """What the client sees of the answer to a request that was carried out."""
        if response.status == HTTPStatus.OK and _posts_orders(request):
            self._end_of_its_own(request, response)
        if fault := self._strike("lose_answer", request):
            return _lost(fault)
        if response.status == HTTPStatus.OK:
            response = self._bent(request, response)
        if fault := self._strike("html_answer", request):
            response = _page_of_html(response, fault.status or 502)
        if response.body and self._strike("truncate_answer", request):
            response = replace(response, body=response.body[: len(response.body) // 2])
        if fault := self._strike("delay_answer", request):
            response = replace(response, delay_s=response.delay_s + fault.seconds)
        return response

    def _end_of_its_own(self, request: Request, response: Response) -> None:
        """The exchange will end an order that has just come to rest."""
        body = json.loads(response.body)
        for leg in body if isinstance(body, list) else [body]:
            order = self._engine.orders.get(leg["orderID"])
            if order is None or order.closed_at is not None:
                continue
            if fault := self._strike("venue_cancel", request):
                due = self._engine.now_ms() + round(1000 * fault.seconds)
                self._engine.at(due, partial(self._engine.invalidate, order.order_id))

    def _strike(self, name: FaultName, request: Request) -> Fault | None:
        return self._engine.faults.strike(name, request.method, request.path)

    def _bent(self, request: Request, response: Response) -> Response:
        """A good answer after those faults that only good answers can meet."""
        method, path = request.method, request.path
        if fault := self._strike("error_after_accept", request):
            status = fault.status or 500
            return replace(response, status=status, body=_error(status))
        if method != "GET":
            return response
        if path.startswith("/data/order/") and self._strike("null_order", request):
            return replace(response, body=b"null")
        if path == "/data/orders" and self._strike("empty_orders", request):
            empty = {"limit": 100, "count": 0, "next_cursor": _END, "data": []}
            return replace(response, body=dump(empty))
        response = self._stale(request, response)
        return self._torn(request, response) if path in _LISTS else response

    def _stale(self, request: Request, response: Response) -> Response:
        """The answer that the same request had some time ago, if it was asked then."""
        seconds = self._engine.faults.longest_seconds("stale_answer")
        if seconds is None:
            self._seen.clear()
            return response
        query = "&".join(f"{name}={value}" for name, value in sorted(request.query.items()))
        asked = (request.headers.get("poly_api_key", ""), f"{request.path}?{query}")
        if asked not in self._seen and len(self._seen) >= _REMEMBERED_REQUESTS:
            del self._seen[next(iter(self._seen))]
        earlier = self._seen.setdefault(asked, deque(maxlen=_REMEMBERED_ANSWERS))
        now_ms = self._engine.now_ms()
        old = [answer for at, answer in earlier if at <= now_ms - round(1000 * seconds)]
        earlier.append((now_ms, response))
        return old[-1] if old and self._strike("stale_answer", request) else response

    def _torn(self, request: Request, response: Response) -> Response:
        """A page of a list of which something is missing."""
        page = json.loads(response.body)
        rows = page["data"]
        if not rows:
            return response
        if self._strike("torn_page", request):
            del rows[len(rows) // 2]
        elif self._strike("cut_pages", request):
            del rows[len(rows) // 2 :]
            page["next_cursor"] = _END
        else:
            return response
        return replace(response, body=dump({**page, "count": len(rows)}))

    def _change_tick(self, request: Request) -> None:
        """The tick changes between an order's signing and its arrival."""
        posted = {_order_token(leg) for leg in _legs(request)}
        listings = [self._engine.tokens[t] for t in sorted(posted) if t in self._engine.tokens]
        if listings and (fault := self._strike("change_tick", request)):
            for condition_id in dict.fromkeys(x.market.condition_id for x in listings):
                self._engine.set_tick(condition_id, millionths(fault.tick))

    def _fill(self, request: Request) -> None:
        """Somebody takes an order, and what stands before it, just before its cancel arrives."""
        engine = self._engine
        for order in self._named(request):
            book = engine.listings[order.condition_id].book
            if book.resting(order.order_id) and self._strike("fill_before_cancel", request):
                want = Want(not order.bid, order.book_price, _DEPTH)
                size = 0
                for fill in book.plan(want):
                    size += fill.size
                    if fill.order_id == order.order_id:
                        break
                side: Side = "SELL" if order.bid else "BUY"
                lots = size + -size % LOT
                engine.house_order(order.condition_id, 0, side, order.book_price, lots, "FAK")

    def _named(self, request: Request) -> list[Order]:
        """The orders that a cancel is for, as far as that is easily seen."""
        orders = self._engine.orders
        if request.path.startswith("/cancel-"):
            signer = request.headers.get("poly_address", "").lower()
            return [order for order in orders.values() if order.signer.lower() == signer]
        legs = (leg.get("orderID") if isinstance(leg, dict) else leg for leg in _legs(request))
        return [orders[leg] for leg in legs if isinstance(leg, str) and leg in orders]


def _posts_orders(request: Request) -> bool:
    return (request.method, request.path) in {("POST", "/order"), ("POST", "/orders")}


def _order_token(leg: object) -> str:
    """The token of one posted order, or nothing where there is none to be read."""
    order = leg.get("order") if isinstance(leg, dict) else None
    return str(order.get("tokenId", "")) if isinstance(order, dict) else ""


def _legs(request: Request) -> list[object]:
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):  # its refusal is the handler's business
        return []
    return body if isinstance(body, list) else [body]


def _lost(fault: Fault) -> Response:
    return Response(0, MARK, b"", lost=True, hang=fault.hang)


def _refusal(fault: Fault) -> Response:
    status = fault.status or 429
    headers = {**MARK, "Content-Type": "application/json"}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    return Response(status, headers, _error(status))


def _error(status: int) -> bytes:
    return dump({"error": _TEXTS.get(status, HTTPStatus(status).phrase)})


def _page_of_html(response: Response, status: int) -> Response:
    phrase = HTTPStatus(status).phrase
    text = (
        f"<html>\r\n<head><title>{status} {phrase}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status} {phrase}</h1></center>\r\n<hr><center>cloudflare</center>\r\n"
        "</body>\r\n</html>\r\n"
    )
    headers = {**response.headers, "Content-Type": "text/html"}
    return replace(response, status=status, headers=headers, body=text.encode())

"""What an account is told of its orders besides the user channel, from the orders and trades.

Three kinds of the official client's list exist here: 1, an order was cancelled; 2, an order was
filled; 8, a fill failed to settle. They are kept for two days, unless dropped before.

Invariants:
    1. A notice follows from what happened, and so does its id: nothing is told twice.
    2. What was dropped stays dropped, also over a restart.
"""

import hashlib
from collections.abc import Iterator

from runner.exchange.engine import Engine
from runner.exchange.markets import decimal_text
from runner.exchange.records import Order, Refused, Trade
from runner.exchange.requests import Request

_LIFE_MS = 172_800_000
_CANCELLED, _FILLED, _FAILED = 1, 2, 8
_ID_DIGITS = 12


def list_notices(request: Request) -> object:
    """`GET /notifications`: an address's, oldest first."""
    engine, address = request.engine, request.key().address
    since = engine.now_ms() - _LIFE_MS
    found = [(at, n) for at, n in _notices(engine, address) if at >= since]
    found.sort(key=lambda entry: entry[0])
    return [notice for _, notice in found if notice["id"] not in engine.dropped_notices]


def drop_notices(request: Request) -> object:
    """`DELETE /notifications`: an address's own among `ids`."""
    address, ids = request.key().address, request.values("ids")
    if not ids:
        raise Refused(400, "Invalid ids")
    own = [notice["id"] for _, notice in _notices(request.engine, address)]
    request.engine.drop_notices([i for i in own if isinstance(i, int) and str(i) in ids])
    return "OK"


def _notices(engine: Engine, address: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Every notice there ever was for an address, with its time in Unix milliseconds."""
    for trade in engine.trades.values():
        for order, part in _fills(engine, address, trade):
            yield trade.matched_at, _notice(engine, _FILLED, order, trade.matched_at, part)
            if trade.status == "FAILED":
                yield trade.updated_at, _notice(engine, _FAILED, order, trade.updated_at, part)
    for order in engine.orders.values():
        cancelled = order.status.startswith("CANCELED") and not order.killed
        if order.signer == address and cancelled and order.closed_at is not None:
            more: dict[str, object] = {"matched_size": decimal_text(order.matched)}
            yield order.closed_at, _notice(engine, _CANCELLED, order, order.closed_at, more)


def _fills(engine: Engine, address: str, trade: Trade) -> Iterator[tuple[Order, dict[str, object]]]:
    """An address's orders in a trade, with what the trade was to each."""
    parts = [(trade.taker_order_id, trade.price, trade.size)]
    parts += [(maker.order_id, maker.price, maker.size) for maker in trade.makers]
    for order_id, price, size in parts:
        order = engine.orders.get(order_id)
        if order is not None and order.signer == address:
            yield (
                order,
                {
                    "price": decimal_text(price),
                    "matched_size": decimal_text(size),
                    "trade_id": trade.trade_id,
                    "transaction_hash": trade.tx_hash,
                },
            )


def _notice(
    engine: Engine, kind: int, order: Order, at: int, more: dict[str, object]
) -> dict[str, object]:
    market = engine.listings[order.condition_id].market
    name = f"{kind}/{order.order_id}/{more.get('trade_id', '')}"
    return {
        "id": int(hashlib.sha256(name.encode()).hexdigest()[:_ID_DIGITS], 16),
        "owner": order.owner,
        "type": kind,
        "timestamp": at // 1000,
        "payload": {
            "asset_id": order.token_id,
            "market": order.condition_id,
            "order_id": order.order_id,
            "side": order.side,
            "type": order.time_in_force,
            "price": decimal_text(order.price),
            "original_size": decimal_text(order.size),
            "remaining_size": decimal_text(order.leaves),
            "outcome": market.outcomes[order.outcome],
            "outcome_index": order.outcome,
            "question": market.question,
            "market_slug": market.slug,
            "eventSlug": market.event_slug,
            **more,
        },
    }

"""The trading part of the API: orders, cancels, own orders and trades (reference 3 to 5)."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from runner.exchange.engine import Engine
from runner.exchange.markets import decimal_text
from runner.exchange.orders import Submission, check, read
from runner.exchange.records import ApiKey, Held, Order, Placed, Refused, Standing, Trade
from runner.exchange.requests import END, Later, Request, listing_of, page_of
from runner.exchange.shapes import order_view, trade_view
from runner.exchange.signatures import (
    SignedOrder,
    checksummed,
    market_domain,
    order_hash,
    order_signer,
)

BATCH_MAX = 15
"""Orders in one `POST /orders` (reference 3.8)."""

NOT_FOUND = "order can't be found - already canceled or matched"
"""The one reason the real exchange gives for not cancelling (reference 4)."""

CANCELS_MAX = 1000
"""Ids in one `DELETE /orders` (reference 4)."""

Row = TypeVar("Row")

_PAGE = 100


def post_order(request: Request) -> object:
    """`POST /order`."""
    key = request.key()
    request.charge(key, "orders", 1)
    taken = _submit(request, key, read(request.json()))
    if isinstance(taken, Held) and _answer_waits(request.engine, taken):
        return Later(taken.due_ms, lambda: _accepted(taken.known(), held=True))
    return _accepted(taken)


def post_orders(request: Request) -> object:
    """`POST /orders`: each leg for itself; a refused one has no id (reference 3.8)."""
    key = request.key()
    payloads = request.json()
    if not isinstance(payloads, list):
        raise Refused(400, "Invalid order payload")
    if len(payloads) > BATCH_MAX:
        text = f"Too many orders in payload: {len(payloads)}, max allowed: {BATCH_MAX}"
        raise Refused(400, text)
    request.charge(key, "orders", len(payloads))
    submissions = [read(payload) for payload in payloads]
    taken = [_leg(request, key, submission) for submission in submissions]
    waits = [t for t in taken if isinstance(t, Held) and _answer_waits(request.engine, t)]
    if not waits:
        return [_told(leg) for leg in taken]
    return Later(max(held.due_ms for held in waits), lambda: [_told(leg, waits) for leg in taken])


def cancel_order(request: Request) -> object:
    """`DELETE /order`."""
    key, body = request.key(), request.json()
    order_id = body.get("orderID") if isinstance(body, dict) else None
    if not isinstance(order_id, str):
        raise Refused(400, "Invalid orderID")
    request.charge(key, "cancels", 1)
    return _cancel(request, key, [order_id])


def cancel_orders(request: Request) -> object:
    """`DELETE /orders`: duplicates are ignored, but cost as much."""
    key, body = request.key(), request.json()
    if not isinstance(body, list) or not all(isinstance(order_id, str) for order_id in body):
        raise Refused(400, "Invalid order payload")
    if len(body) > CANCELS_MAX:
        raise Refused(400, f"Too many orders in payload, max allowed: {CANCELS_MAX}")
    request.charge(key, "cancels", len(body))
    return _cancel(request, key, list(dict.fromkeys(body)))


def cancel_all(request: Request) -> object:
    """`DELETE /cancel-all`."""
    key = request.key()
    return _cancel_many(request, key, _open(request, key))


def cancel_market(request: Request) -> object:
    """`DELETE /cancel-market-orders`; with neither key it cancels everything (reference 4)."""
    key, body = request.key(), request.json()
    if not isinstance(body, dict):
        raise Refused(400, "Invalid order payload")
    chosen = _chosen(_open(request, key), body.get("market"), body.get("asset_id"))
    return _cancel_many(request, key, chosen)


def get_order(request: Request) -> object:
    """`GET /data/order/{id}`: any status; null if unknown, or killed on arrival (reference 5.2)."""
    key, order = request.key(), request.engine.orders.get(request.argument)
    if order is None or order.signer != key.address or order.killed:
        return None
    return order_view(order, request.engine.listings[order.condition_id].market)


def get_orders(request: Request) -> object:
    """`GET /data/orders`: open orders, a page at a time; with `id` that one in any status."""
    key, query = request.key(), request.query
    if (wanted := query.get("id")) is not None:
        order = request.engine.orders.get(wanted)
        own = order is not None and order.signer == key.address and not order.killed
        orders: Sequence[Order] = [order] if order is not None and own else []
    else:
        orders = _open(request, key)
    orders = _chosen(orders, query.get("market"), query.get("asset_id"))
    listings = request.engine.listings
    return _page(request, orders, lambda o: order_view(o, listings[o.condition_id].market))


def get_trades(request: Request) -> object:
    """`GET /data/trades`: own trades, newest first.

    `market` and `asset_id` look at the taker's asset (reference 5.3), `before` and `after`
    (seconds) leave out their own second, `maker_address` looks at any party's wallet.
    """
    key, query, engine = request.key(), request.query, request.engine
    before, after = (_seconds(query.get(name)) for name in ("before", "after"))
    wallet = query.get("maker_address", "").lower() or None
    found: list[tuple[Trade, str]] = []
    for trade in reversed(engine.trades.values()):
        side = engine.feeds.side_of(trade, key.address)
        second = trade.matched_at // 1000
        if (
            side is not None
            and query.get("id") in {None, trade.trade_id}
            and query.get("market") in {None, trade.condition_id}
            and query.get("asset_id") in {None, trade.token_id}
            and (wallet is None or wallet in _wallets(trade))
            and (before is None or second < before)
            and (after is None or second > after)
        ):
            found.append((trade, side))
    listings = engine.listings
    return _page(
        request, found, lambda f: trade_view(f[0], listings[f[0].condition_id].market, f[1])
    )


def _submit(request: Request, key: ApiKey, submission: Submission) -> Placed | Held:
    """Checks one posted order and hands it to the engine.

    Raises:
        Refused: As reference 3.9 has it.
    """
    engine, signed = request.engine, submission.order
    if submission.owner != key.key:
        raise Refused(400, "the order owner has to be the owner of the API KEY")
    maker, own = checksummed(signed.maker), checksummed(signed.signer)
    controls = engine.accounts.controls(key.address, maker, signed.signature_type)
    if own != (maker if signed.signature_type == 3 and controls else key.address):
        raise Refused(400, "the order signer address has to be the address of the API KEY")
    for address in dict.fromkeys((key.address, maker)):
        _refuse_by_standing(address, engine.accounts.standing(address), signed)
    listing, outcome = listing_of(engine, str(signed.token_id))
    market = listing.market
    domain = market_domain(market.neg_risk, market.version)
    if not controls or order_signer(signed, domain) != key.address:
        raise Refused(400, "invalid signature")
    order_id = f"0x{order_hash(signed, domain).hex()}"
    now_ms = engine.now_ms()
    terms = check(submission, order_id, market, now_ms // 1000)
    order = Order(
        order_id=order_id,
        owner=key.key,
        maker=maker,
        signer=key.address,
        condition_id=market.condition_id,
        outcome=outcome,
        token_id=market.token_ids[outcome],
        side=signed.side,
        price=terms.price,
        size=terms.size,
        dollars=terms.dollars,
        time_in_force=submission.time_in_force,
        expiration=submission.expiration,
        post_only=submission.post_only,
        received_at=now_ms,
    )
    stale = engine.faults.strike("stale_balance", request.method, request.path) is not None
    return engine.submit(order, stale_balance=stale)


def _refuse_by_standing(address: str, standing: Standing, order: SignedOrder) -> None:
    """Refuses what an address may not do (reference 2.3, 3.9)."""
    if standing == "banned":
        raise Refused(400, f"'{address}' address banned")
    if standing == "closed_only" and order.side == "BUY":
        raise Refused(400, f"'{address}' address in closed only mode")
    if standing == "deposit_wallet_only" and order.signature_type != 3:
        raise Refused(400, "maker address not allowed, please use the deposit wallet flow")


def _answer_waits(engine: Engine, held: Held) -> bool:
    """Whether a held order's answer is held with it, or tells at once that it is `delayed`."""
    order = engine.orders[held.order_id]
    return engine.listings[order.condition_id].market.seconds_delay == 0


def _leg(request: Request, key: ApiKey, submission: Submission) -> Placed | Held | Refused:
    try:
        return _submit(request, key, submission)
    except Refused as refused:
        return refused


def _told(leg: Placed | Held | Refused, waited: Sequence[Held] = ()) -> dict[str, object]:
    """One leg of a batch: a refused one has a text and no id (reference 3.8)."""
    held = isinstance(leg, Held) and leg in waited
    outcome = leg.outcome if isinstance(leg, Held) and held and leg.outcome else leg
    if not isinstance(outcome, Refused):
        return _accepted(outcome, held=held)
    return {
        "success": True,
        "errorMsg": outcome.text,
        "orderID": "",
        "status": "",
        "makingAmount": "",
        "takingAmount": "",
    }


def _accepted(taken: Placed | Held, *, held: bool = False) -> dict[str, object]:
    """The answer of reference 3.8; what rests is `live`, also with a part matched.

    Args:
        taken: What came of the order, or that it is still held.
        held: Whether it was held: it was marketable, so that `unmatched` tells that by the time
            it met the book nothing was left there for it.
    """
    answer: dict[str, object] = {"success": True, "errorMsg": "", "orderID": taken.order_id}
    if isinstance(taken, Held):
        return answer | {
            "status": "delayed",
            "makingAmount": "0",
            "takingAmount": "0",
            "tradeIDs": [],
        }
    matched = bool(taken.trade_ids)
    resting = "live" if matched or not held else "unmatched"
    return answer | {
        "status": resting if taken.rests else "matched",
        "makingAmount": decimal_text(taken.gave) if matched else "",
        "takingAmount": decimal_text(taken.got) if matched else "",
        "tradeIDs": list(taken.trade_ids),
    }


def _cancel_many(request: Request, key: ApiKey, orders: Sequence[Order]) -> object:
    """Cancels what a request didn't name: one token to begin, then one an order."""
    request.charge(key, "cancels", 1)
    engine = request.engine
    request.told |= engine.gate.signers.cancelled(key.address, len(orders), engine.now_ms())
    return _cancel(request, key, [order.order_id for order in orders])


def _cancel(request: Request, key: ApiKey, order_ids: Sequence[str]) -> object:
    done = {order_id: request.engine.cancel(order_id, key.address) for order_id in order_ids}
    return {
        "canceled": [order_id for order_id, gone in done.items() if gone],
        "not_canceled": {order_id: NOT_FOUND for order_id, gone in done.items() if not gone},
    }


def _open(request: Request, key: ApiKey) -> list[Order]:
    """The open orders of every wallet that a key's address signs for."""
    wallets = [a.address for a in request.engine.accounts.all() if a.signer == key.address]
    return [order for wallet in wallets for order in request.engine.open_orders(wallet)]


def _chosen(orders: Sequence[Order], market: object, asset_id: object) -> list[Order]:
    return [
        order
        for order in orders
        if (not market or order.condition_id == market)
        and (not asset_id or order.token_id == asset_id)
    ]


def _wallets(trade: Trade) -> set[str]:
    return {address.lower() for address in (trade.address, *(m.address for m in trade.makers))}


def _page(
    request: Request, rows: Sequence[Row], view: Callable[[Row], dict[str, object]]
) -> dict[str, object]:
    """One page of a list, from where the query's cursor points (reference 5.1)."""
    chosen, following = page_of(rows, request.query.get("next_cursor"), _PAGE)
    paging = {"limit": _PAGE, "count": len(chosen), "next_cursor": following or END}
    return paging | {"data": [view(row) for row in chosen]}


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise Refused(400, "invalid time")
    return int(text)

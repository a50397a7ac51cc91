"""How orders and trades look on the wire (reference 5.2, 5.3, 6.2): decimals and times as text."""

from runner.exchange.markets import MarketConfig, decimal_text
from runner.exchange.records import Order, Trade


def order_view(order: Order, market: MarketConfig) -> dict[str, object]:
    """An order as `GET /data/order/{id}` and `/data/orders` tell it."""
    return {
        "id": order.order_id,
        "status": order.status,
        "owner": order.owner,
        "maker_address": order.maker,
        "market": order.condition_id,
        "asset_id": order.token_id,
        "side": order.side,
        "original_size": decimal_text(order.size),
        "size_matched": decimal_text(order.matched - order.returned),
        "price": decimal_text(order.price),
        "outcome": market.outcomes[order.outcome],
        "expiration": str(order.expiration),
        "order_type": order.time_in_force,
        "associate_trades": list(order.trades),
        "created_at": order.received_at // 1000,
    }


def order_event(
    order: Order, market: MarketConfig, kind: str, now_ms: int, killed: str | None
) -> dict[str, object]:
    """An order event of the user channel.

    Args:
        order: The order as it stands.
        market: Its market.
        kind: PLACEMENT, UPDATE or CANCELLATION.
        now_ms: Unix milliseconds.
        killed: Why it was killed on arrival: the status is then free text and the matched size
            empty, as the real one sends it.
    """
    return {
        **order_view(order, market),
        "event_type": "order",
        "type": kind,
        "order_owner": order.owner,
        "status": order.status if killed is None else f"CANCELED_{killed}",
        "size_matched": decimal_text(order.matched - order.returned) if killed is None else "",
        "associate_trades": list(order.trades) or None,
        "created_at": str(order.received_at // 1000),
        "timestamp": str(now_ms),
    }


def trade_view(trade: Trade, market: MarketConfig, side: str) -> dict[str, object]:
    """A trade as `GET /data/trades` tells it: the top level describes the taker.

    Args:
        trade: The trade.
        market: Its market.
        side: TAKER or MAKER: what the one who asks is in it.
    """
    return {
        "id": trade.trade_id,
        "taker_order_id": trade.taker_order_id,
        "market": trade.condition_id,
        "asset_id": trade.token_id,
        "side": trade.side,
        "size": decimal_text(trade.size),
        "fee_rate_bps": "0",
        "price": decimal_text(trade.price),
        "status": f"TRADE_STATUS_{trade.status}",
        "match_time": str(trade.matched_at // 1000),
        "match_time_nano": str(trade.matched_at * 1_000_000),
        "last_update": str(trade.updated_at // 1000),
        "outcome": market.outcomes[trade.outcome],
        "bucket_index": 0,
        "owner": trade.owner,
        "maker_address": trade.address,
        "transaction_hash": trade.tx_hash,
        "err_msg": "",
        "trader_side": side,
        "maker_orders": [
            {
                "order_id": maker.order_id,
                "owner": maker.owner,
                "maker_address": maker.address,
                "matched_amount": decimal_text(maker.size),
                "price": decimal_text(maker.price),
                "fee_rate_bps": "0",
                "asset_id": maker.token_id,
                "outcome": market.outcomes[maker.outcome],
                "side": maker.side,
            }
            for maker in trade.makers
        ],
    }


def trade_event(trade: Trade, market: MarketConfig, side: str, now_ms: int) -> dict[str, object]:
    """A trade event of the user channel, sent again at every step of the trade's life."""
    return {
        **trade_view(trade, market, side),
        "event_type": "trade",
        "type": "TRADE",
        "status": trade.status,
        "trade_owner": trade.owner,
        "timestamp": str(now_ms),
        "transaction_hash": trade.tx_hash or None,
    }

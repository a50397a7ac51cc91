"""The market and user streams of the unmodified unified client, public and secure."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest
from polymarket.streams import MarketSpec, UserSpec

from tests.conformance.exchange_process import Process, exchange_process
from tests.conformance.unified import Reader, Trader, reading, trading


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with exchange_process(tmp_path_factory.mktemp("exchange")) as running:
        yield running


@pytest.fixture
async def trader(process: Process) -> AsyncIterator[Trader]:
    async with trading(process, "async") as trader:
        yield trader
        await trader.client.cancel_all()


@pytest.fixture(params=["async", "async public"])
async def reader(request: pytest.FixtureRequest, process: Process) -> AsyncIterator[Reader]:
    async with reading(process, request.param) as reader:
        yield reader


async def told(stream: Any, kind: str, **wanted: Any) -> Any:
    """The next event of a kind whose payload says what is wanted."""
    async with asyncio.timeout(5):
        async for event in stream:
            payload = event.payload
            if event.type == kind and all(getattr(payload, k) == v for k, v in wanted.items()):
                return payload
    raise AssertionError("the stream ended")


async def test_the_market_stream(reader: Reader, trader: Trader) -> None:
    spec = MarketSpec(asset_ids=[reader.yes], custom_feature_enabled=True)
    async with await reader.client.subscribe(spec) as stream:
        book = await told(stream, "book")
        assert (book.asset_id, book.condition_id) == (reader.yes, reader.condition)
        assert (book.bids[-1].price, book.asks[-1].price) == (Decimal("0.48"), Decimal("0.52"))
        rest = await reader_book(reader)
        assert (book.bids, book.asks, book.hash) == (rest.bids, rest.asks, rest.hash)
        await trader.rest("0.49", "10")
        change = await told(stream, "price_change")
        (level,) = [c for c in change.price_changes if c.asset_id == reader.yes]
        assert (level.price, level.size, level.side) == (Decimal("0.49"), 10, "BUY")
        assert (level.best_bid, level.best_ask) == (Decimal("0.49"), Decimal("0.52"))
        best = await told(stream, "best_bid_ask", asset_id=reader.yes)
        assert (best.best_bid, best.spread) == (Decimal("0.49"), Decimal("0.03"))
        await trader.client.place_market_order(asset_id=reader.yes, shares="10", side="SELL")
        last = await told(stream, "last_trade_price")
        assert (last.price, last.size, last.side) == (Decimal("0.49"), 10, "SELL")
        assert (await told(stream, "book")).bids == rest.bids
        change_tick(reader, "0.001")
        tick = await told(stream, "tick_size_change", asset_id=reader.yes)
        assert (tick.old_tick_size, tick.new_tick_size) == (Decimal("0.01"), Decimal("0.001"))
        change_tick(reader, "0.01")


async def test_a_resolution_is_told_and_ends_the_orders(trader: Trader) -> None:
    order_id = await trader.rest("0.1", "10", trader.snow_yes)
    spec = MarketSpec(asset_ids=[trader.snow_yes], custom_feature_enabled=True)
    async with await trader.client.subscribe(spec) as stream:
        await told(stream, "book")
        resolve = {"state": "resolved", "winner": "Yes"}
        target = f"/_exchange/markets/{trader.snow['condition_id']}"
        trader.process.control("POST", target, resolve)
        resolved = await told(stream, "market_resolved")
        assert (resolved.winning_asset_id, resolved.winning_outcome) == (trader.snow_yes, "Yes")
    order = await trader.client.get_order(order_id=order_id)
    assert order.status == "CANCELED_MARKET_RESOLVED"
    (market,) = [m async for m in trader.client.list_markets(closed=True).iter_items()]
    assert (market.slug, market.outcomes.yes.price) == ("snow", 1)


async def test_the_user_stream_follows_orders_and_trades(trader: Trader) -> None:
    async with await trader.client.subscribe(UserSpec(markets=[trader.condition])) as stream:
        await asyncio.sleep(0.1)  # the socket has said who it is; nothing answers that
        order_id = await trader.rest("0.49", "10")
        placed = await told(stream, "order", id=order_id)
        assert (placed.order_event_type, placed.status) == ("PLACEMENT", "LIVE")
        assert (placed.price, placed.original_size) == (Decimal("0.49"), 10)
        async with trading(trader.process, "async") as other:
            await other.client.place_market_order(asset_id=trader.yes, shares="10", side="SELL")
        for status in ("MATCHED", "MINED", "CONFIRMED"):
            trade = await told(stream, "trade", status=status)
            (part,) = trade.maker_orders
            assert (part.order_id, part.matched_amount) == (order_id, 10)
        second = await trader.rest("0.40", "10")
        await trader.client.cancel_order(order_id=second)
        gone = await told(stream, "order", id=second, order_event_type="CANCELLATION")
        assert gone.status == "CANCELED"


async def test_one_handle_merges_both_streams(trader: Trader) -> None:
    specs = [MarketSpec(asset_ids=[trader.yes]), UserSpec()]
    async with await trader.client.subscribe(specs) as stream:
        await told(stream, "book")
        await asyncio.sleep(0.1)
        order_id = await trader.rest("0.49", "10")
        seen: set[str] = set()
        async with asyncio.timeout(5):
            while seen != {"market", "user"}:
                event = await anext(stream)
                if event.type in {"price_change", "order"}:
                    seen.add(event.topic)
        assert await trader.client.cancel_order(order_id=order_id)


async def reader_book(reader: Reader) -> Any:
    return await reader.client.get_order_book(asset_id=reader.yes)


def change_tick(reader: Reader, tick: str) -> None:
    reader.process.control("POST", f"/_exchange/markets/{reader.condition}", {"tick": tick})

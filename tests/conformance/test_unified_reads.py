"""What the unified client reads without a key, by each of its four clients: public and secure,
sync and async. One account has traded before, so that there is something to read.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import polymarket
import pytest
from polymarket import PriceRequest

from tests.conformance.exchange_process import Process, exchange_process
from tests.conformance.unified import PUBLIC, SECURE, Reader, Trader, every, now, reading, trading


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with exchange_process(tmp_path_factory.mktemp("exchange")) as running:
        yield running


@pytest.fixture(scope="module")
def ann(process: Process) -> Trader:
    """Has bought 10 at 0.52 of a standard market, sold 4 of them at 0.48; all settled."""

    async def traded() -> Trader:
        async with trading(process, "sync") as trader:
            await trader.buy()
            sold = trader.client.place_market_order(asset_id=trader.yes, shares="4", side="SELL")
            trader.client.wait_for_order_fill_settlement(sold)
            return trader

    return asyncio.run(traded())


@pytest.fixture(params=[*SECURE, *PUBLIC])
async def reader(
    request: pytest.FixtureRequest, process: Process, ann: Trader
) -> AsyncIterator[Reader]:
    del ann
    async with reading(process, request.param) as reader:
        yield reader


async def test_books_and_prices(reader: Reader) -> None:
    client, yes, no = reader.client, reader.yes, reader.no
    assert client.environment.name == "embedded"
    book = await now(client.get_order_book(asset_id=yes))
    assert (book.bids[-1].price, book.asks[-1].price) == (Decimal("0.48"), Decimal("0.52"))
    assert (book.tick_size, book.min_order_size, book.neg_risk) == (Decimal("0.01"), 5, False)
    pair = await now(client.get_order_books(asset_ids=[yes, no]))
    assert [b.asset_id for b in pair] == [yes, no]
    assert await now(client.get_price(asset_id=yes, side="BUY")) == Decimal("0.48")
    requests = [PriceRequest(yes, "BUY"), PriceRequest(yes, "SELL"), PriceRequest(no, "BUY")]
    assert await now(client.get_prices(requests=requests)) == {
        yes: {"BUY": Decimal("0.48"), "SELL": Decimal("0.52")},
        no: {"BUY": Decimal("0.48")},
    }
    assert await now(client.get_midpoint(asset_id=yes)) == Decimal("0.5")
    assert await now(client.get_midpoints(asset_ids=[yes, no])) == {yes: Decimal("0.5"), no: 0.5}
    assert await now(client.get_spread(asset_id=yes)) == Decimal("0.04")
    assert await now(client.get_spreads(asset_ids=[no])) == {no: Decimal("0.04")}


async def test_the_last_trade(reader: Reader) -> None:
    client = reader.client
    last = await now(client.get_last_trade_price(asset_id=reader.yes))
    assert (last.price, last.side) == (Decimal("0.48"), "SELL")
    assert await now(client.get_last_trade_price(asset_id=reader.snow_yes)) is None
    both = await now(client.get_last_trade_prices(asset_ids=[reader.no, reader.snow_yes]))
    assert [(row.asset_id, row.price, row.side) for row in both] == [
        (reader.no, Decimal("0.52"), "BUY")
    ]


async def test_an_estimate_walks_the_book(reader: Reader) -> None:
    estimate = reader.client.estimate_market_price
    assert await now(estimate(asset_id=reader.yes, side="BUY", amount="100")) == Decimal("0.53")
    assert await now(estimate(asset_id=reader.yes, side="SELL", shares="10")) == Decimal("0.48")
    with pytest.raises(polymarket.InsufficientLiquidityError):
        await now(estimate(asset_id=reader.yes, side="SELL", shares="900000"))


async def test_price_history_by_interval_window_and_moment(reader: Reader) -> None:
    client, at = reader.client, int(time.time())
    points = await every(client.list_price_history(asset_id=reader.yes, interval="1h"))
    assert points[-1].price == Decimal("0.48")
    window = client.list_price_history(asset_id=reader.no, start=at - 600, end=at + 1)
    assert (await every(window))[-1].price == Decimal("0.52")
    (exact,) = await every(client.list_price_history(asset_id=reader.yes, as_of=at + 1))
    assert (exact.price, exact.resolution_seconds) == (Decimal("0.48"), 0)
    assert await every(client.list_price_history(asset_id=reader.yes, as_of=at - 3600)) == []


async def test_a_market_by_id_slug_and_address(reader: Reader) -> None:
    client = reader.client
    market = await now(client.get_market(slug="rain"))
    assert (market.condition_id, market.question) == (reader.condition, "Will it rain?")
    assert (market.outcomes.yes.token_id, market.outcomes.no.token_id) == (reader.yes, reader.no)
    assert (market.trading.minimum_tick_size, market.trading.fee_schedule.rate) == (
        Decimal("0.01"),
        Decimal("0.04"),
    )
    assert (market.prices.best_bid, market.prices.best_ask) == (Decimal("0.48"), Decimal("0.52"))
    assert market.state.accepting_orders
    assert await now(client.get_market(id=market.id)) == market
    url = "https://polymarket.com/event/rain/rain"
    assert await now(client.get_market(url=url)) == market
    with pytest.raises(polymarket.RequestRejectedError) as missing:
        await now(client.get_market(slug="sun"))
    assert missing.value.status == 404


async def test_markets_by_page_and_by_filter(reader: Reader) -> None:
    client, snow = reader.client, reader.snow
    page = await now(client.list_markets(page_size=1).first_page())
    assert ([market.slug for market in page.items], page.has_more) == (["rain"], True)
    assert [m.slug for m in await every(client.list_markets(page_size=1))] == ["rain", "snow"]
    for wanted in (
        {"condition_ids": [snow["condition_id"]]},
        {"clob_token_ids": [reader.snow_yes, "77"]},
        {"slug": "snow"},
        {"ids": [2]},
    ):
        assert [m.slug for m in await every(client.list_markets(**wanted))] == ["snow"]
    assert await every(client.list_markets(closed=True)) == []
    with pytest.raises(polymarket.RequestRejectedError, match="not simulated: volume_num_min"):
        await every(client.list_markets(volume_num_min=1))


async def test_events_and_a_search(reader: Reader) -> None:
    client = reader.client
    winter = await now(client.get_event(slug="winter"))
    assert [market.slug for market in winter.markets] == ["snow"]
    assert winter.trading.neg_risk
    assert await now(client.get_event(id=winter.id)) == winter
    assert [e.slug for e in await every(client.list_events(page_size=1))] == ["rain", "winter"]
    assert [e.slug for e in await every(client.list_events(slug="winter"))] == ["winter"]
    (found,) = await every(client.search(q="SNOW winter"))
    assert [event.slug for event in found.events] == ["winter"]
    (nothing,) = await every(client.search(q="sun"))
    assert nothing.events == ()


async def test_what_a_wallet_holds(reader: Reader, ann: Trader) -> None:
    client = reader.client
    position = {p.asset_id: p for p in await every(client.list_positions(user=ann.address))}
    rain = position[reader.yes]
    assert (rain.current_size, rain.total_size, rain.status) == (506, 10, "OPEN")
    assert (rain.avg_price, rain.entry_cost_usdc) == (Decimal("0.52"), Decimal("3.12"))
    assert (rain.realized_pnl, rain.unrealized_pnl) == (Decimal("-0.16"), Decimal("-0.12"))
    assert rain.total_pnl == Decimal("-0.28")
    for status in ("REDEEMABLE", "REDEEMABLE_LOST", "MERGEABLE", "CLOSED"):
        assert await every(client.list_positions(user=ann.address, status=status)) == []
    value = await now(client.get_portfolio_value(user=ann.address, condition_ids=reader.condition))
    assert (value.wallet, value.value) == (ann.address, 253)
    groups = await every(client.list_market_holders(condition_ids=reader.condition))
    assert [group.asset_id for group in groups] == [reader.yes, reader.no]
    held = {holder.wallet: holder.amount for holder in groups[0].holders}
    assert held[ann.address] == 506


async def test_what_a_wallet_did(reader: Reader, ann: Trader) -> None:
    client = reader.client
    sold, bought = await every(client.list_trades(user=ann.address))
    assert (bought.side, bought.size, bought.price) == ("BUY", 10, Decimal("0.52"))
    assert (sold.side, sold.size, sold.price) == ("SELL", 4, Decimal("0.48"))
    sells = client.list_trades(
        user=ann.address, condition_id=reader.condition, side="SELL", taker_only=True
    )
    assert await every(sells) == [sold]
    assert await every(client.list_trades(user=ann.address, end=1)) == []
    one = await now(client.list_trades(user=ann.address, page_size=1).first_page())
    assert ([trade.side for trade in one.items], one.has_more) == (["SELL"], True)
    oldest, newest = await every(client.list_activity(user=ann.address, sort_direction="ASC"))
    assert (oldest.type, oldest.side, oldest.shares, oldest.amount) == (
        "TRADE",
        "BUY",
        10,
        Decimal("5.2"),
    )
    assert newest.amount == Decimal("1.92")
    assert await every(client.list_activity(user=ann.address, activity_types=["REDEEM"])) == []
    volume = await now(client.get_user_volume(user=ann.address))
    assert (volume.volume, volume.volume_usdc, volume.trade_count) == (14, Decimal("7.12"), 2)


@pytest.mark.parametrize("kind", PUBLIC)
async def test_a_market_by_everybody_in_it(process: Process, ann: Trader, kind: str) -> None:
    """A secure client asks for its own wallet unless told otherwise, a public one for all."""
    async with reading(process, kind) as reader:
        held = await every(reader.client.list_positions(condition_id=reader.condition))
        assert ann.address in {position.wallet for position in held}
        did = await every(reader.client.list_trades(condition_id=reader.condition))
        assert [trade.side for trade in did if trade.wallet == ann.address] == ["SELL", "BUY"]


async def test_tokens_by_id_and_by_condition(reader: Reader) -> None:
    (no,) = await now(reader.client.get_token_references(asset_ids=[reader.no]))
    assert (no.condition_id, no.outcome, no.opposite_asset_id) == (
        reader.condition,
        "No",
        reader.yes,
    )
    assert (no.resolved, no.final_price, no.neg_risk) == (False, None, False)
    condition = reader.snow["condition_id"]
    pair = await now(reader.client.get_token_references(condition_ids=[condition]))
    assert [token.outcome for token in pair] == ["Yes", "No"]


async def test_no_market_pays_rewards(reader: Reader) -> None:
    client = reader.client
    assert await every(client.list_current_rewards()) == []
    assert await every(client.list_market_rewards(condition_id=reader.condition)) == []
    assert await every(client.list_reward_markets()) == []


async def test_nobody_has_a_profile(reader: Reader, ann: Trader) -> None:
    assert await now(reader.client.get_public_profile(ann.address)) is None

"""Every trading call of the unmodified unified client (polymarket-client), sync and async."""

import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import polymarket
import pytest

from tests.conformance.exchange_process import Process, exchange_process
from tests.conformance.unified import SECURE, Trader, environment, every, now, trading


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with exchange_process(tmp_path_factory.mktemp("exchange")) as running:
        yield running


@pytest.fixture(params=list(SECURE))
async def trader(request: pytest.FixtureRequest, process: Process) -> AsyncIterator[Trader]:
    async with trading(process, request.param) as trader:
        yield trader
        await now(trader.client.cancel_all())
    process.control("DELETE", "/_exchange/faults")


def fault(trader: Trader, name: str, **more: Any) -> None:
    trader.process.control("POST", "/_exchange/faults", {"name": name, "count": 1, **more})


async def test_create_makes_derives_and_checks_credentials(trader: Trader) -> None:
    client, where = trader.client, environment(trader.process.url)
    assert (client.wallet, client.signer, client.wallet_type) == (
        trader.address,
        trader.address,
        "EOA",
    )
    assert client.environment.name == "embedded"
    create: Any = type(client).create
    again = await now(
        create(private_key=trader.key, wallet=trader.address, environment=where)
    )  # the key exists: 400, then derived
    assert again.credentials == client.credentials
    await now(again.close())
    given = await now(
        create(
            private_key=trader.key,
            wallet=trader.address,
            environment=where,
            credentials=client.credentials,
        )
    )
    assert await now(given.fetch_api_keys()) == (client.credentials.key,)
    await now(given.close())


async def test_a_deleted_key_authenticates_nothing(trader: Trader) -> None:
    create: Any = type(trader.client).create
    second = await now(
        create(
            private_key=trader.key,
            wallet=trader.address,
            environment=environment(trader.process.url),
            nonce=7,
        )
    )
    assert len(await now(trader.client.fetch_api_keys())) == 2
    await now(second.delete_api_key())
    with pytest.raises(polymarket.RequestRejectedError, match="Unauthorized") as refused:
        await now(second.fetch_api_keys())
    assert refused.value.status == 401
    await now(second.close())
    assert await now(trader.client.fetch_api_keys()) == (trader.client.credentials.key,)


async def test_end_authentication_deletes_the_key_and_leaves_a_reader(process: Process) -> None:
    for kind in SECURE:
        async with trading(process, kind) as trader:
            key = trader.client.credentials.key
            reader = await now(trader.client.end_authentication())
            assert await now(reader.get_midpoint(asset_id=trader.yes)) == Decimal("0.5")
            await now(reader.close())
            fresh = await now(
                SECURE[kind].create(
                    private_key=trader.key,
                    wallet=trader.address,
                    environment=environment(process.url),
                    nonce=1,
                )
            )
            assert key not in await now(fresh.fetch_api_keys())
            await now(fresh.close())


async def test_the_account_is_open_and_needs_no_wallet_set_up(trader: Trader) -> None:
    assert await now(trader.client.get_closed_only_mode()) is False
    assert await now(trader.client.is_gasless_ready()) is True


async def test_balances_and_allowances(trader: Trader) -> None:
    cash = await now(trader.client.get_balance_allowance(asset_type="COLLATERAL"))
    assert cash.balance == 1_000_000_000
    assert len(cash.allowances) >= 2
    assert all(allowance > 0 for allowance in cash.allowances.values())
    shares = trader.client.get_balance_allowance(asset_type="CONDITIONAL", asset_id=trader.yes)
    assert (await now(shares)).balance == 500_000_000
    none = trader.client.get_balance_allowance(asset_type="CONDITIONAL", asset_id=trader.no)
    assert (await now(none)).balance == 0
    spender = max(cash.allowances)
    body = {
        "address": trader.address,
        "allowances": {"COLLATERAL": dict.fromkeys(cash.allowances, "1")},
    }
    trader.process.control("POST", "/_exchange/accounts", body)
    less = await now(trader.client.get_balance_allowance(asset_type="COLLATERAL"))
    assert less.allowances[spender] == 1_000_000
    signed = await now(
        trader.client.create_limit_order(asset_id=trader.yes, price="0.40", size="10", side="BUY")
    )
    with pytest.raises(polymarket.RequestRejectedError, match="the allowance is not enough"):
        await now(trader.client.post_order(signed))


async def test_a_limit_order_rests_is_read_and_cancelled(trader: Trader) -> None:
    order_id = await trader.rest()
    order = await now(trader.client.get_order(order_id=order_id))
    assert (order.status, order.side, order.order_type) == ("LIVE", "BUY", "GTC")
    assert (order.price, order.original_size, order.size_matched) == (Decimal("0.4"), 100, 0)
    assert (order.maker_address, order.owner) == (trader.address, trader.client.credentials.key)
    assert (order.condition_id, order.asset_id, order.outcome) == (
        trader.condition,
        trader.yes,
        "Yes",
    )
    cancelled = await now(trader.client.cancel_order(order_id=order_id))
    assert (cancelled.canceled, cancelled.not_canceled) == ((order_id,), {})
    assert (await now(trader.client.get_order(order_id=order_id))).status == "CANCELED"
    again = await now(trader.client.cancel_order(order_id=order_id))
    assert again.canceled == ()
    assert "already canceled or matched" in again.not_canceled[order_id]


async def test_open_orders_by_page_and_by_filter(trader: Trader) -> None:
    client = trader.client
    signed = [
        await now(client.create_limit_order(asset_id=token, price=price, size="5", side="BUY"))
        for token, price in [(trader.yes, "0.01"), (trader.snow_yes, "0.002")]
    ]
    first, second = [(await now(client.post_order(order))).order_id for order in signed]
    everything = await every(client.list_open_orders())
    assert [order.id for order in everything] == [first, second]
    for wanted in ({"market": trader.condition}, {"asset_id": trader.yes}, {"id": first}):
        assert [order.id for order in await every(client.list_open_orders(**wanted))] == [first]


async def test_more_than_a_page_of_orders(trader: Trader) -> None:
    client = trader.client
    orders = [
        await now(
            client.create_limit_order(asset_id=trader.yes, price="0.01", size="5", side="BUY")
        )
        for _ in range(105)
    ]
    placed = []
    for start in range(0, 105, 15):
        placed += [
            leg.order_id for leg in await now(client.post_orders(orders[start : start + 15]))
        ]
    page = await now(client.list_open_orders().first_page())
    assert (len(page.items), page.has_more) == (100, True)
    assert [order.id for order in await every(client.list_open_orders())] == placed
    cancelled = await now(client.cancel_orders(order_ids=placed))
    assert cancelled.canceled == tuple(placed)


async def test_a_signed_order_is_posted_once(trader: Trader) -> None:
    signed = await now(
        trader.client.create_limit_order(
            asset_id=trader.snow_yes, price="0.115", size="50", side="BUY"
        )
    )
    assert (await now(trader.client.post_order(signed))).ok
    with pytest.raises(polymarket.RequestRejectedError, match="Duplicated") as refused:
        await now(trader.client.post_order(signed))
    assert refused.value.status == 400


async def test_gtd_and_post_only(trader: Trader) -> None:
    end = int(time.time()) + 600
    placed = trader.client.place_limit_order(
        asset_id=trader.yes, price="0.40", size="10", side="BUY", expiration=end, post_only=True
    )
    order = await now(trader.client.get_order(order_id=(await now(placed)).order_id))
    assert (order.order_type, order.expires_at.timestamp()) == ("GTD", end)
    crossing = trader.client.create_limit_order(
        asset_id=trader.yes, price="0.52", size="10", side="BUY", post_only=True
    )
    signed = await now(crossing)
    with pytest.raises(polymarket.RequestRejectedError, match="order crosses book"):
        await now(trader.client.post_order(signed))


async def test_a_market_buy_matches_and_settles(trader: Trader) -> None:
    client = trader.client
    signed = await now(
        client.create_market_order(
            asset_id=trader.yes, amount="5.2", side="BUY", order_type="FOK", max_price="0.52"
        )
    )
    order = await now(client.post_order(signed))
    assert (order.status, order.making_amount, order.taking_amount) == (
        "matched",
        Decimal("5.2"),
        10,
    )
    (trade_hash,) = await now(client.wait_for_order_fill_settlement(order))
    (trade,) = await every(client.list_account_trades(id=order.trade_ids[0]))
    assert (trade.status, trade.transaction_hash) == ("CONFIRMED", trade_hash)
    assert (trade.price, trade.size, trade.trader_side) == (Decimal("0.52"), 10, "TAKER")
    fee = 99_840  # 10 x 0.04 x 0.52 x 0.48 dollars
    cash = await now(client.get_balance_allowance(asset_type="COLLATERAL"))
    assert cash.balance == 1_000_000_000 - 5_200_000 - fee


async def test_market_orders_both_ways_within_their_bounds(trader: Trader) -> None:
    client = trader.client
    bought = await now(
        client.place_market_order(asset_id=trader.yes, amount="5", max_spend="5", side="BUY")
    )
    assert bought.status == "matched"
    assert 4 < bought.making_amount < 5  # room is left for the fee
    sold = await now(
        client.place_market_order(asset_id=trader.yes, shares="5", min_price="0.48", side="SELL")
    )
    assert (sold.status, sold.making_amount, sold.taking_amount) == ("matched", 5, Decimal("2.4"))
    with pytest.raises(polymarket.RequestRejectedError, match="FOK orders are fully filled"):
        await now(
            client.place_market_order(
                asset_id=trader.yes,
                amount="500",
                side="BUY",
                order_type="FOK",
                max_price="0.52",
            )
        )
    with pytest.raises(polymarket.InsufficientLiquidityError):
        await now(
            client.place_market_order(
                asset_id=trader.yes, amount="900000", side="BUY", order_type="FOK"
            )
        )


async def test_account_trades_by_every_filter(trader: Trader) -> None:
    client, order = trader.client, await trader.buy("2.6")
    (trade_id,) = order.trade_ids
    at = int(time.time())
    for wanted in (
        {},
        {"market": trader.condition},
        {"asset_id": trader.yes},
        {"id": trade_id},
        {"maker_address": trader.address},
        {"after": str(at - 60), "before": str(at + 60)},
    ):
        found = await every(client.list_account_trades(**wanted))
        assert [trade.id for trade in found] == [trade_id]
    assert await every(client.list_account_trades(after=str(at + 60))) == []
    assert await every(client.list_account_trades(market=trader.snow["condition_id"])) == []


async def test_a_maker_sees_its_part_of_a_trade(trader: Trader) -> None:
    mine = await now(
        trader.client.place_limit_order(asset_id=trader.yes, price="0.51", size="20", side="SELL")
    )
    async with trading(trader.process, "sync") as other:
        taken = await now(
            other.client.place_limit_order(asset_id=trader.yes, price="0.51", size="20", side="BUY")
        )
        assert taken.making_amount == Decimal("10.2")
    (trade,) = await every(trader.client.list_account_trades())
    (part,) = trade.maker_orders
    assert (trade.trader_side, part.order_id, part.matched_amount) == ("MAKER", mine.order_id, 20)
    assert (await now(trader.client.get_order(order_id=mine.order_id))).status == "MATCHED"


async def test_a_failed_fill_settles_nothing(trader: Trader) -> None:
    fault(trader, "fail_trade")
    order = await now(
        trader.client.place_market_order(
            asset_id=trader.yes, amount="2.6", side="BUY", order_type="FOK"
        )
    )
    with pytest.raises(polymarket.TransactionFailedError):
        await now(trader.client.wait_for_order_fill_settlement(order))
    assert [notice.type for notice in await now(trader.client.get_notifications())] == [2, 8]
    cash = await now(trader.client.get_balance_allowance(asset_type="COLLATERAL"))
    assert cash.balance == 1_000_000_000


async def test_a_wait_for_settlement_ends(trader: Trader) -> None:
    order = await now(
        trader.client.place_market_order(
            asset_id=trader.yes, amount="2.6", side="BUY", order_type="FOK"
        )
    )
    with pytest.raises(polymarket.TimeoutError):
        await now(trader.client.wait_for_order_fill_settlement(order, timeout_s=0.01))


async def test_a_batch_tells_what_became_of_each_leg(trader: Trader) -> None:
    client = trader.client
    orders = [
        await now(
            client.create_limit_order(asset_id=trader.yes, price=price, size=size, side="BUY")
        )
        for price, size in [("0.30", "10"), ("0.30", "1"), ("0.99", "5000")]
    ]
    good, small, dear = await now(client.post_orders(orders))
    assert (good.ok, good.status) == (True, "live")
    assert (small.ok, small.code) == (False, "unknown")
    assert "lower than the minimum" in small.message
    assert (dear.ok, dear.code) == (False, "not_enough_balance")


async def test_every_way_to_cancel(trader: Trader) -> None:
    client = trader.client
    ids = [await trader.rest(price) for price in ("0.30", "0.31", "0.32")]
    snow = await trader.rest("0.1", "10", trader.snow_yes)
    assert (await now(client.cancel_order(order_id=ids[0]))).canceled == (ids[0],)
    by_id = await now(client.cancel_orders(order_ids=[ids[1], "0x" + "00" * 32]))
    assert (by_id.canceled, list(by_id.not_canceled)) == ((ids[1],), ["0x" + "00" * 32])
    by_market = await now(client.cancel_market_orders(market=trader.condition))
    assert by_market.canceled == (ids[2],)
    by_asset = await now(client.cancel_market_orders(asset_id=trader.yes))
    assert by_asset.canceled == ()
    assert (await now(client.cancel_all())).canceled == (snow,)


async def test_heartbeats(trader: Trader) -> None:
    first = await now(trader.client.send_order_heartbeat())
    second = await now(trader.client.send_order_heartbeat(heartbeat_id=first.heartbeat_id))
    assert second.heartbeat_id != first.heartbeat_id
    with pytest.raises(polymarket.OrderHeartbeatMismatchError) as wrong:
        await now(trader.client.send_order_heartbeat(heartbeat_id=first.heartbeat_id))
    assert wrong.value.heartbeat_id == second.heartbeat_id


async def test_notices_of_fills_and_cancels_are_told_until_dropped(trader: Trader) -> None:
    client, bought = trader.client, await trader.buy("2.6")
    cancelled = await trader.rest()
    await now(client.cancel_order(order_id=cancelled))
    fill, cancel = await now(client.get_notifications())
    assert (fill.type, fill.payload.order_id) == (2, bought.order_id)
    assert (fill.payload.price, fill.payload.matched_size) == (Decimal("0.52"), 5)
    assert (fill.owner, fill.payload.trade_id) == (client.credentials.key, bought.trade_ids[0])
    assert (cancel.type, cancel.payload.order_id) == (1, cancelled)
    assert (cancel.payload.remaining_size, cancel.payload.market_slug) == (100, "rain")
    await now(client.drop_notifications(ids=[fill.id]))
    assert [notice.id for notice in await now(client.get_notifications())] == [cancel.id]


async def test_nothing_is_paid_for_resting_orders(trader: Trader) -> None:
    client, day = trader.client, "2026-11-24"
    order_id = await trader.rest()
    assert await now(client.get_order_scoring(order_id=order_id)) is False
    assert await now(client.get_orders_scoring(order_ids=[order_id])) == {order_id: False}
    assert await every(client.list_user_earnings_for_day(date=day)) == []
    assert await every(client.list_user_earnings_and_markets_config(date=day)) == []
    assert await now(client.get_total_earnings_for_user_for_day(date=day)) == ()
    assert await now(client.get_reward_percentages()) == {}


async def test_a_builder_code_costs_nothing(trader: Trader) -> None:
    code = "0x" + "12" * 32
    rates = await now(trader.client.get_builder_fee_rates(code))
    assert (rates.maker, rates.taker) == (0, 0)
    placed = trader.client.place_limit_order(
        asset_id=trader.yes, price="0.40", size="10", side="BUY", builder_code=code
    )
    assert (await now(placed)).ok


async def test_the_error_classes(trader: Trader) -> None:
    client = trader.client
    with pytest.raises(polymarket.UserInputError):
        await now(client.place_limit_order(asset_id=trader.yes, price="1.2", size="10", side="BUY"))
    with pytest.raises(polymarket.RequestRejectedError, match="not enough balance") as refused:
        await now(
            client.place_limit_order(asset_id=trader.yes, price="0.40", size="9000", side="BUY")
        )
    assert (refused.value.status, refused.value.restriction) == (400, None)
    fault(trader, "lose_answer", method="POST", path="/order")
    with pytest.raises(polymarket.TransportError):
        await trader.rest()
    assert len(await every(client.list_open_orders())) == 1  # lost was the answer, not the order
    fault(trader, "error_after_accept", method="POST", path="/order")
    with pytest.raises(polymarket.RequestRejectedError) as failed:
        await trader.rest()
    assert failed.value.status == 500
    assert len(await every(client.list_open_orders())) == 2
    (order, _) = await every(client.list_open_orders())
    fault(trader, "null_order")
    with pytest.raises(polymarket.UnexpectedResponseError):
        await now(client.get_order(order_id=order.id))


async def test_a_rate_limit_is_its_own_error(trader: Trader) -> None:
    fault(trader, "refuse_request", method="POST", path="/order", status=429, retry_after=3)
    with pytest.raises(polymarket.RateLimitError) as limited:
        await trader.rest()
    assert limited.value.retry_after == 3


async def test_a_restart_is_told_as_a_restriction(trader: Trader) -> None:
    restart = {"seconds": 1, "post_only_seconds": 2}
    trader.process.control("POST", "/_exchange/restart", restart)
    with pytest.raises(polymarket.RequestRejectedError) as down:
        await trader.rest()
    assert (down.value.status, down.value.restriction) == (425, "restarting")
    time.sleep(1.05)
    with pytest.raises(polymarket.RequestRejectedError) as limited:
        await trader.rest()
    assert (limited.value.status, limited.value.restriction) == (503, "post_only")
    assert (limited.value.code, limited.value.retry_after) == ("post_only_mode", 2)
    quiet = trader.client.place_limit_order(
        asset_id=trader.yes, price="0.40", size="10", side="BUY", post_only=True
    )
    assert (await now(quiet)).ok
    trader.process.control("POST", "/_exchange/restart", {"seconds": 0, "post_only_seconds": 0})
    await trader.rest()

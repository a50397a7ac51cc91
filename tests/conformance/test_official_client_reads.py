"""The rest of py-clob-client-v2: every read, key, batch and bound that needs no second trader."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.clob_types import (
    ApiCreds,
    AssetType,
    BalanceAllowanceParams,
    BookParams,
    DropNotificationParams,
    MarketOrderArgsV2,
    OpenOrderParams,
    OrderPayload,
    OrderScoringParams,
    OrdersScoringParams,
    OrderType,
    PostOrdersV2Args,
    PricesHistoryParams,
    TradeParams,
)
from py_clob_client_v2.exceptions import PolyApiException, PolyException

from tests.conformance.exchange_process import Process, exchange_process
from tests.conformance.test_official_client import Account


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with exchange_process(tmp_path_factory.mktemp("exchange")) as running:
        yield running


@pytest.fixture
def account(process: Process) -> Iterator[Account]:
    account = Account(process)
    yield account
    account.client.cancel_all()


def test_what_a_client_may_do_depends_on_its_keys(account: Account) -> None:
    reader = ClobClient(account.process.url, 137)
    for denied in (reader.assert_level_1_auth, reader.get_address, reader.create_api_key):
        with pytest.raises(PolyException):
            denied()
    signer = ClobClient(account.process.url, 137, key=account.client.signer.private_key)
    signer.assert_level_1_auth()
    with pytest.raises(PolyException):
        signer.assert_level_2_auth()
    signer.set_api_creds(signer.create_or_derive_api_key())
    signer.assert_level_2_auth()
    assert signer.get_address() == account.client.get_address()
    assert signer.get_open_orders() == []


def test_a_deleted_key_authenticates_nothing(account: Account) -> None:
    second = ClobClient(account.process.url, 137, key=account.client.signer.private_key)
    second.set_api_creds(second.create_api_key(nonce=7))
    assert len(account.client.get_api_keys()["apiKeys"]) == 2
    assert second.delete_api_key() == "OK"
    with pytest.raises(PolyApiException, match="status_code=401"):
        second.get_api_keys()
    with pytest.raises(PolyApiException, match="status_code=400"):
        second.derive_api_key(nonce=7)


def test_a_client_on_the_exchanges_clock(account: Account) -> None:
    client = ClobClient(
        account.process.url,
        137,
        key=account.client.signer.private_key,
        creds=account.client.creds,
        use_server_time=True,
    )
    assert client.get_api_keys() == {"apiKeys": [account.client.creds.api_key]}


def test_a_retry_posts_the_same_order_once(account: Account) -> None:
    """The client's own repeat after a lost answer is refused as a duplicate: one order rests."""
    client = ClobClient(
        account.process.url,
        137,
        key=account.client.signer.private_key,
        creds=account.client.creds,
        retry_on_error=True,
    )
    order = client.create_order(account.limit("BUY", 0.4, 10))
    fault = {"name": "lose_answer", "count": 1, "method": "POST", "path": "/order"}
    account.process.control("POST", "/_exchange/faults", fault)
    with pytest.raises(PolyApiException, match="Duplicated"):
        client.post_order(order)
    assert len(client.get_open_orders()) == 1
    account.process.control("DELETE", "/_exchange/faults")


def test_markets_in_every_list(account: Account) -> None:
    client, condition = account.client, account.rain["condition_id"]
    assert [m["market_slug"] for m in client.get_markets()["data"]] == ["rain", "snow"]
    simple = client.get_simplified_markets()
    assert (simple["count"], simple["next_cursor"]) == (2, "LTE=")
    assert [t["token_id"] for t in simple["data"][0]["tokens"]] == [account.yes, account.no]
    assert client.get_sampling_markets()["data"] == []
    assert client.get_sampling_simplified_markets()["data"] == []
    info = client.get_clob_market_info(condition)
    assert [token["t"] for token in info["t"]] == [account.yes, account.no]
    assert (info["mts"], info["mos"], info["fd"]["r"]) == (0.01, 5, 0.04)
    assert client.get_fee_exponent(account.yes) == 1
    with pytest.raises(PolyApiException, match="status_code=404"):
        client.get_market("0x" + "00" * 32)


def test_prices_of_several_tokens(account: Account) -> None:
    client, yes, no = account.client, account.yes, account.no
    both = [BookParams(yes), BookParams(no)]
    assert client.get_midpoints(both) == {yes: "0.5", no: "0.5"}
    assert client.get_spreads(both) == {yes: "0.04", no: "0.04"}
    sides = [BookParams(yes, "BUY"), BookParams(yes, "SELL")]
    assert client.get_prices(sides) == {yes: {"BUY": "0.48", "SELL": "0.52"}}
    assert client.get_fee_rate_bps(yes) == 0
    assert client.calculate_market_price(yes, "BUY", 5.2, OrderType.FOK) == 0.52
    assert client.calculate_market_price(yes, "SELL", 10, OrderType.FAK) == 0.48


def test_last_trades_activity_and_history(account: Account) -> None:
    client, snow = account.client, account.snow_yes
    buy = MarketOrderArgsV2(token_id=snow, amount=1.25, side="BUY")
    assert client.get_last_trades_prices([BookParams(snow)]) == []
    order = client.create_market_order(buy)
    answer = client.post_order(order, OrderType.FOK)
    assert client.get_last_trade_price(snow) == {"price": "0.125", "side": "BUY"}
    (last,) = client.get_last_trades_prices([BookParams(snow)])
    assert last == {"token_id": snow, "price": "0.125", "side": "BUY"}
    (activity,) = client.get_market_trades_events(account.snow["condition_id"])
    assert (activity["side"], activity["size"], activity["price"]) == ("BUY", "10", "0.125")
    assert activity["user"]["address"] == client.get_address()
    assert [activity["transaction_hash"]] == answer["transactionsHashes"]
    at = int(time.time())
    recent = PricesHistoryParams(market=snow, start_ts=at - 60, end_ts=at + 1, fidelity=1)
    assert [point["p"] for point in client.get_prices_history(recent)["history"]] == [0.125]
    old = PricesHistoryParams(market=snow, start_ts=1, end_ts=at - 3600)
    assert client.get_prices_history(old)["history"] == []


def test_more_than_a_page_of_orders_and_a_page_of_trades(account: Account) -> None:
    client = account.client
    orders = [client.create_order(account.limit("BUY", 0.01, 5)) for _ in range(105)]
    ids = []
    for start in range(0, 105, 15):
        legs = [PostOrdersV2Args(order=order) for order in orders[start : start + 15]]
        ids += [leg["orderID"] for leg in client.post_orders(legs)]
    assert [order["id"] for order in client.get_open_orders()] == ids
    assert len(client.get_open_orders(only_first_page=True)) == 100
    assert [o["id"] for o in client.get_open_orders(OpenOrderParams(id=ids[3]))] == [ids[3]]
    assert client.cancel_orders(ids)["canceled"] == ids
    page = client.get_trades_paginated(TradeParams(asset_id=account.yes))
    assert page == {"trades": [], "next_cursor": "LTE=", "limit": 100, "count": 0}
    assert client.get_pre_migration_orders() == []


def test_a_buy_is_cut_to_the_balance_and_its_fee(account: Account) -> None:
    buy = MarketOrderArgsV2(token_id=account.yes, amount=5, side="BUY", user_usdc_balance=5)
    order = account.client.create_market_order(buy)
    assert int(order.makerAmount) < 5_000_000
    answer = account.client.post_order(order, OrderType.FAK)
    assert answer["status"] == "matched"


def test_a_balance_is_refreshed(account: Account) -> None:
    params = BalanceAllowanceParams(asset_type=AssetType.COLLATERAL)
    account.client.update_balance_allowance(params)
    found = account.client.get_balance_allowance(params)
    assert int(found["balance"]) == 1_000_000_000
    assert all(int(allowance) > 0 for allowance in found["allowances"].values())


def test_notices_of_fills_and_cancels_are_told_until_dropped(tmp_path: Path) -> None:
    with exchange_process(tmp_path) as process:
        account = Account(process)
        client, cancelled = account.client, account.rest()
        client.cancel_all()
        buy = MarketOrderArgsV2(token_id=account.yes, amount=5.2, side="BUY")
        bought = client.create_and_post_market_order(buy, order_type=OrderType.FOK)
        cancel, fill = client.get_notifications()
        assert (cancel["type"], cancel["payload"]["order_id"]) == (1, cancelled)
        assert (fill["type"], fill["payload"]["trade_id"]) == (2, bought["tradeIDs"][0])
        client.drop_notifications(DropNotificationParams(ids=[str(cancel["id"]), "77"]))
        assert [notice["id"] for notice in client.get_notifications()] == [fill["id"]]
        process.stop(signal.SIGKILL)
        process.start()
        client.host = process.url
        assert [notice["id"] for notice in client.get_notifications()] == [fill["id"]]


def test_nothing_is_paid_for_resting_orders(account: Account) -> None:
    client, day, condition = account.client, "2026-11-24", account.rain["condition_id"]
    order_id = account.rest()
    assert client.is_order_scoring(OrderScoringParams(orderId=order_id)) == {"scoring": False}
    many = OrdersScoringParams(orderIds=[order_id])
    assert client.are_orders_scoring(many) == {order_id: False}
    assert client.get_current_rewards() == []
    assert client.get_raw_rewards_for_market(condition) == []
    assert client.get_earnings_for_user_for_day(day) == []
    assert client.get_total_earnings_for_user_for_day(day) == []
    assert client.get_user_earnings_and_markets_config(day) == []
    assert client.get_reward_percentages() == {}


def test_a_foreign_order_is_not_to_be_had(account: Account) -> None:
    order_id, other = account.rest(), Account(account.process)
    assert other.client.get_order(order_id) is None
    assert other.client.cancel_order(OrderPayload(orderID=order_id))["canceled"] == []
    stolen = ApiCreds(*[getattr(account.client.creds, f) for f in _CREDENTIALS])
    thief = ClobClient(account.process.url, 137, key=other.client.signer.private_key, creds=stolen)
    with pytest.raises(PolyApiException, match="status_code=401"):
        thief.cancel_all()
    assert [order["id"] for order in account.client.get_open_orders()] == [order_id]


_CREDENTIALS = ("api_key", "api_secret", "api_passphrase")

"""The unmodified official client (py-clob-client-v2) trades on the embedded exchange over HTTP."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.clob_types import (
    ApiCreds,
    AssetType,
    BalanceAllowanceParams,
    BookParams,
    MarketOrderArgsV2,
    OpenOrderParams,
    OrderArgsV2,
    OrderMarketCancelParams,
    OrderPayload,
    OrderType,
    PartialCreateOrderOptions,
    PostOrdersV2Args,
    PricesHistoryParams,
    TradeParams,
)
from py_clob_client_v2.exceptions import PolyApiException

from tests.conformance.exchange_process import Process, exchange_process

KEYS = iter(range(1, 1000))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with exchange_process(tmp_path_factory.mktemp("exchange")) as running:
        yield running


class Account:
    """A fresh funded key and the official client on it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.client = ClobClient(process.url, 137, key=f"0x{next(KEYS):064x}")
        self.rain, self.snow = process.control("GET", "/_exchange/markets")
        self.yes, self.no = (token["token_id"] for token in self.rain["tokens"])
        self.snow_yes = self.snow["tokens"][0]["token_id"]
        body = {
            "address": self.client.get_address(),
            "cash": "1000",
            "tokens": {self.yes: "500", self.snow_yes: "500"},
        }
        process.control("POST", "/_exchange/accounts", body)
        self.client.set_api_creds(self.client.create_or_derive_api_key())

    def limit(self, side: str, price: float, size: float, token: str | None = None) -> Any:
        return OrderArgsV2(token_id=token or self.yes, price=price, size=size, side=side)

    def rest(self, price: float = 0.4, size: float = 100, token: str | None = None) -> str:
        answer = self.client.create_and_post_order(self.limit("BUY", price, size, token))
        assert (answer["success"], answer["status"]) == (True, "live")
        order_id: str = answer["orderID"]
        return order_id

    def balance(self, token: str | None = None) -> int:
        kind = AssetType.CONDITIONAL if token else AssetType.COLLATERAL
        params = BalanceAllowanceParams(asset_type=kind, token_id=token)
        return int(self.client.get_balance_allowance(params)["balance"])


@pytest.fixture
def account(process: Process) -> Iterator[Account]:
    account = Account(process)
    yield account
    account.client.cancel_all()


def eventually(found: Callable[[], Any], seconds: float = 5.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)
    return value


def test_keys_are_made_derived_and_listed(account: Account) -> None:
    fresh = ClobClient(account.process.url, 137, key=account.client.signer.private_key)
    assert fresh.derive_api_key() == account.client.creds
    assert account.client.get_api_keys() == {"apiKeys": [account.client.creds.api_key]}
    assert account.client.get_closed_only_mode() == {"closed_only": False}
    with pytest.raises(PolyApiException, match="status_code=400"):
        fresh.create_api_key()


def test_a_wrong_secret_is_401(account: Account) -> None:
    creds = account.client.creds
    wrong = ApiCreds(creds.api_key, "AAAA" * 11, creds.api_passphrase)
    client = ClobClient(
        account.process.url, 137, key=account.client.signer.private_key, creds=wrong
    )
    with pytest.raises(PolyApiException, match="Unauthorized/Invalid api key"):
        client.get_open_orders()


def test_public_reads(account: Account) -> None:
    client, yes = account.client, account.yes
    assert client.get_ok() == "OK"
    assert client.get_version() == 2
    assert abs(int(client.get_server_time()) - time.time()) < 5
    book = client.get_order_book(yes)
    assert (book["bids"][-1]["price"], book["asks"][-1]["price"]) == ("0.48", "0.52")
    assert client.get_order_book_hash(dict(book)) == book["hash"]
    assert len(client.get_order_books([BookParams(yes), BookParams(account.no)])) == 2
    assert (client.get_tick_size(yes), client.get_neg_risk(account.snow_yes)) == ("0.01", True)
    assert client.get_midpoint(yes) == {"mid": "0.5"}
    assert client.get_price(yes, "BUY") == {"price": "0.48"}
    assert client.get_spread(yes) == {"spread": "0.04"}
    assert client.get_fee_exponent(yes) == 1
    condition = account.rain["condition_id"]
    assert client.get_market(condition)["market_slug"] == "rain"
    assert len(client.get_markets()["data"]) == 2
    history = client.get_prices_history(PricesHistoryParams(market=yes, interval="1h"))
    assert "history" in history


def test_an_order_rests_is_read_and_cancelled(account: Account) -> None:
    order_id = account.rest()
    order = account.client.get_order(order_id)
    assert (order["status"], order["price"], order["original_size"]) == ("LIVE", "0.4", "100")
    assert [row["id"] for row in account.client.get_open_orders()] == [order_id]
    wanted = OpenOrderParams(market=account.snow["condition_id"])
    assert account.client.get_open_orders(wanted) == []
    cancelled = account.client.cancel_order(OrderPayload(orderID=order_id))
    assert cancelled == {"canceled": [order_id], "not_canceled": {}}
    assert account.client.get_order(order_id)["status"] == "CANCELED"
    assert account.client.get_order("0x" + "00" * 32) is None


def test_a_neg_risk_order_is_for_its_own_contract(account: Account) -> None:
    account.rest(0.115, 50, account.snow_yes)
    options = PartialCreateOrderOptions(neg_risk=False)
    order = account.client.create_order(account.limit("BUY", 0.115, 50, account.snow_yes), options)
    with pytest.raises(PolyApiException, match="invalid signature"):
        account.client.post_order(order)


def test_the_same_signed_order_twice_is_duplicated(account: Account) -> None:
    order = account.client.create_order(account.limit("BUY", 0.4, 10))
    account.client.post_order(order)
    with pytest.raises(PolyApiException, match="Duplicated"):
        account.client.post_order(order)


def test_gtd_and_post_only(account: Account) -> None:
    args = account.limit("BUY", 0.4, 10)
    args.expiration = int(time.time()) + 600
    answer = account.client.create_and_post_order(args, order_type=OrderType.GTD)
    order = account.client.get_order(answer["orderID"])
    assert (order["order_type"], order["expiration"]) == ("GTD", str(args.expiration))
    crossing = account.client.create_order(account.limit("BUY", 0.52, 10))
    with pytest.raises(PolyApiException, match="order crosses book"):
        account.client.post_order(crossing, post_only=True)


def test_market_orders_match_and_settle(account: Account) -> None:
    """The client itself waits for the transaction hashes of what matched."""
    buy = MarketOrderArgsV2(token_id=account.yes, amount=5.2, side="BUY")
    answer = account.client.create_and_post_market_order(buy, order_type=OrderType.FOK)
    assert (answer["status"], answer["takingAmount"]) == ("matched", "10")
    assert len(answer["transactionsHashes"]) == 1
    (trade,) = account.client.get_trades(TradeParams(id=answer["tradeIDs"][0]))
    assert (trade["price"], trade["size"], trade["trader_side"]) == ("0.52", "10", "TAKER")
    fee = 99_840  # 10 x 0.04 x 0.52 x 0.48 dollars
    eventually(lambda: account.balance() == 1_000_000_000 - 5_200_000 - fee)
    assert account.balance(account.yes) == 510_000_000
    sell = MarketOrderArgsV2(token_id=account.yes, amount=10, side="SELL")
    answer = account.client.create_and_post_market_order(sell, order_type=OrderType.FAK)
    assert (answer["status"], answer["takingAmount"]) == ("matched", "4.8")
    assert len(account.client.get_trades()) == 2


def test_a_fok_that_cannot_fill_is_killed(account: Account) -> None:
    buy = MarketOrderArgsV2(token_id=account.yes, amount=500, side="BUY", price=0.52)
    with pytest.raises(PolyApiException, match="FOK orders are fully filled or killed"):
        account.client.create_and_post_market_order(buy, order_type=OrderType.FOK)


def test_two_clients_trade_with_each_other(account: Account) -> None:
    other = Account(account.process)
    mine = account.client.create_and_post_order(account.limit("SELL", 0.5, 20))["orderID"]
    answer = other.client.create_and_post_order(other.limit("BUY", 0.5, 20))
    assert answer["makingAmount"] == "10"
    assert account.client.get_order(mine)["status"] == "MATCHED"
    (trade,) = account.client.get_trades()
    assert (trade["trader_side"], trade["maker_orders"][0]["order_id"]) == ("MAKER", mine)


def test_batches_and_every_way_to_cancel(account: Account) -> None:
    client = account.client
    orders = [client.create_order(account.limit("BUY", 0.3, size)) for size in (10, 11, 1)]
    legs = client.post_orders([PostOrdersV2Args(order=order) for order in orders])
    ids = [leg["orderID"] for leg in legs]
    assert [bool(leg["orderID"] and not leg["errorMsg"]) for leg in legs] == [True, True, False]
    assert client.cancel_orders(ids[:1])["canceled"] == ids[:1]
    snow = account.rest(0.1, 10, account.snow_yes)
    by_market = OrderMarketCancelParams(market=account.rain["condition_id"])
    assert client.cancel_market_orders(by_market)["canceled"] == [ids[1]]
    assert client.cancel_all()["canceled"] == [snow]


def test_heartbeats(account: Account) -> None:
    first = account.client.post_heartbeat("")["heartbeat_id"]
    assert account.client.post_heartbeat(first)["heartbeat_id"] != first
    with pytest.raises(PolyApiException, match="Invalid Heartbeat ID"):
        account.client.post_heartbeat("wrong")


def test_an_answer_lost_on_the_way_leaves_an_order(account: Account) -> None:
    fault = {"name": "lose_answer", "count": 1, "method": "POST", "path": "/order"}
    account.process.control("POST", "/_exchange/faults", fault)
    order = account.client.create_order(account.limit("BUY", 0.4, 10))
    with pytest.raises(PolyApiException) as failed:
        account.client.post_order(order)
    assert failed.value.status_code is None
    assert len(account.client.get_open_orders()) == 1
    account.process.control("DELETE", "/_exchange/faults")


async def next_event(socket: aiohttp.ClientWebSocketResponse, kind: str, **wanted: str) -> Any:
    while True:
        message = json.loads(await socket.receive_str(timeout=5))
        for event in message if isinstance(message, list) else [message]:
            matches = all(event.get(name) == value for name, value in wanted.items())
            if event["event_type"] == kind and matches:
                return event


async def test_both_sockets_tell_what_happens(account: Account) -> None:
    creds = account.client.creds
    auth = {
        "apiKey": creds.api_key,
        "secret": creds.api_secret,
        "passphrase": creds.api_passphrase,
    }
    base = account.process.url.replace("http", "ws")
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{base}/ws/market") as market,
        session.ws_connect(f"{base}/ws/user") as user,
    ):
        await market.send_json({"type": "market", "assets_ids": [account.yes]})
        await user.send_json({"type": "user", "auth": auth})
        book = await next_event(market, "book")
        assert (book["asset_id"], book["bids"][-1]["price"]) == (account.yes, "0.48")
        for socket in (market, user):
            await socket.send_str("PING")
            assert await socket.receive_str(timeout=5) == "PONG"
        order_id = account.rest(0.49, 10)
        placed = await next_event(user, "order")
        assert (placed["type"], placed["id"]) == ("PLACEMENT", order_id)
        change = await next_event(market, "price_change")
        assert change["price_changes"][0]["best_bid"] == "0.49"
        other = Account(account.process)
        sell = other.client.create_order(other.limit("SELL", 0.49, 10))
        other.client.post_order(sell, defer_exec=True)
        assert (await next_event(market, "last_trade_price"))["side"] == "SELL"
        for status in ("MATCHED", "MINED", "CONFIRMED"):
            trade = await next_event(user, "trade", status=status)
            assert trade["maker_orders"][0]["order_id"] == order_id
        handshake = user._response.headers["X-Simulated"]
        assert handshake == "pmrun-embedded-exchange"


async def test_a_user_socket_with_wrong_credentials_is_closed(account: Account) -> None:
    base = account.process.url.replace("http", "ws")
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{base}/ws/user") as user:
        await user.send_json({"type": "user", "auth": {"apiKey": "x"}})
        assert (await user.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE


def test_what_was_answered_for_survives_sigkill(tmp_path: Path) -> None:
    with exchange_process(tmp_path) as process:
        account = Account(process)
        placed = [account.rest(0.01 * n, 10) for n in range(1, 11)]
        taken = account.client.create_order(account.limit("BUY", 0.52, 10))
        traded = account.client.post_order(taken, defer_exec=True)["tradeIDs"]
        process.stop(signal.SIGKILL)
        process.start()
        account.client.host = process.url
        assert sorted(row["id"] for row in account.client.get_open_orders()) == sorted(placed)
        assert [row["id"] for row in account.client.get_trades()] == traded
        with pytest.raises(PolyApiException, match="Duplicated"):
            account.client.post_order(taken)
        eventually(lambda: account.balance(account.yes) == 510_000_000)
        assert process.stop(signal.SIGTERM) == 0

"""The unmodified unified client (polymarket-client), sync and async, on the embedded exchange.

Only the client's environment is ours: where its services are. Every test is written once and run
with each kind of client; `now` waits for what the async ones return.
"""

import dataclasses
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from eth_account import Account
from polymarket import AsyncPublicClient, AsyncSecureClient, Paginator, PublicClient, SecureClient
from polymarket._internal.environment import PRODUCTION_CONFIG, create_environment

from tests.conformance.exchange_process import Process

SECURE: dict[str, Any] = {"sync": SecureClient, "async": AsyncSecureClient}
PUBLIC: dict[str, Any] = {"sync public": PublicClient, "async public": AsyncPublicClient}

_KEYS = count(1)


def environment(url: str) -> Any:
    sockets = url.replace("http", "ws", 1)
    config = dataclasses.replace(
        PRODUCTION_CONFIG,
        clob_url=url,
        gamma_url=f"{url}/gamma",
        data_url=f"{url}/data-api",
        relayer_url=f"{url}/relayer",
        rfq_url=f"{url}/rfq",
        rpc_url=f"{url}/rpc",
        clob_market_ws_url=f"{sockets}/ws/market",
        clob_user_ws_url=f"{sockets}/ws/user",
    )
    return create_environment(name="embedded", config=config)


async def now(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def every(paginator: Any) -> list[Any]:
    if isinstance(paginator, Paginator):
        return list(paginator.iter_items())
    return [item async for item in paginator.iter_items()]


class Markets:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.rain, self.snow = process.control("GET", "/_exchange/markets")
        self.condition = self.rain["condition_id"]
        self.yes, self.no = (token["token_id"] for token in self.rain["tokens"])
        self.snow_yes = self.snow["tokens"][0]["token_id"]


class Reader(Markets):
    def __init__(self, process: Process, client: Any) -> None:
        super().__init__(process)
        self.client = client


class Trader(Reader):
    def __init__(self, process: Process, client: Any, key: str) -> None:
        super().__init__(process, client)
        self.key = key
        self.address = client.wallet

    async def rest(self, price: str = "0.40", size: str = "100", token: str | None = None) -> str:
        token = token or self.yes
        placed = self.client.place_limit_order(asset_id=token, price=price, size=size, side="BUY")
        order = await now(placed)
        assert (order.ok, order.status) == (True, "live")
        order_id: str = order.order_id
        return order_id

    async def buy(self, dollars: str = "5.2") -> Any:
        """Buys at 0.52 what the quiet book offers; the answer once it has settled."""
        bought = self.client.place_market_order(
            asset_id=self.yes, amount=dollars, side="BUY", order_type="FOK"
        )
        order = await now(bought)
        await now(self.client.wait_for_order_fill_settlement(order))
        return order


@asynccontextmanager
async def trading(process: Process, kind: str, **more: Any) -> AsyncIterator[Trader]:
    """A fresh funded key and a client of a kind on it."""
    key = f"0x{next(_KEYS):064x}"
    address = Account.from_key(key).address
    markets = Markets(process)
    tokens = {markets.yes: "500", markets.snow_yes: "500"}
    body = {"address": address, "cash": "1000", "tokens": tokens}
    process.control("POST", "/_exchange/accounts", body)
    where = environment(process.url)
    client = await now(
        SECURE[kind].create(private_key=key, wallet=address, environment=where, **more)
    )
    try:
        yield Trader(process, client, key)
    finally:
        await now(client.close())


@asynccontextmanager
async def reading(process: Process, kind: str) -> AsyncIterator[Reader]:
    """A client of any of the four kinds, for what needs no key."""
    if kind in SECURE:
        async with trading(process, kind) as trader:
            yield trader
        return
    client = PUBLIC[kind](environment=environment(process.url))
    try:
        yield Reader(process, client)
    finally:
        await now(client.close())

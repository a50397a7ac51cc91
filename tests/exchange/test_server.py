"""The exchange on a real port: what the driver does with answers, sockets and a broken engine."""

import asyncio
import io
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from runner.exchange.api import Exchange
from runner.exchange.engine import Engine
from runner.exchange.server import serving, wall_clock
from runner.exchange.settlement import CHAIN_DELAYS
from tests.exchange.kit import RAIN, Trader, cents, shares

YES = RAIN.token_ids[0]


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(None, wall_clock, 7, [RAIN], CHAIN_DELAYS)


@pytest.fixture
async def url(exchange: Exchange) -> AsyncIterator[str]:
    async with serving(exchange, 0) as (url, _):
        yield url


async def fault(session: aiohttp.ClientSession, url: str, **keys: Any) -> None:
    async with session.post(f"{url}/_exchange/faults", data=json.dumps(keys)) as answer:
        assert answer.status == 200


def test_it_listens_on_loopback_only() -> None:
    from runner.exchange import server

    assert server.HOST == "127.0.0.1"


async def test_every_answer_is_marked_also_aiohttps_own(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for path, body, status in (("/ok", b"", 200), ("/order", b"x" * (1 << 21), 413)):
            async with session.request(
                "GET" if not body else "POST", url + path, data=io.BytesIO(body)
            ) as a:
                assert (a.status, a.headers["X-Simulated"]) == (status, "pmrun-embedded-exchange")
        async with session.get(f"{url}/ws/other") as answer:
            assert (answer.status, "X-Simulated" in answer.headers) == (404, True)


async def test_a_lost_answer_closes_the_connection(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        await fault(session, url, name="lose_answer", count=1)
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.post(f"{url}/ok")  # a GET would be sent again by aiohttp itself
        async with session.get(f"{url}/ok") as answer:
            assert answer.status == 200


async def test_a_hanging_answer_lasts_as_long_as_the_clients_patience(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        await fault(session, url, name="lose_answer", count=1, hang=True)
        with pytest.raises(asyncio.TimeoutError):
            await session.get(f"{url}/ok", timeout=aiohttp.ClientTimeout(total=0.2))


async def test_a_delayed_answer_comes_later(url: str) -> None:
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session:
        await fault(session, url, name="delay_answer", count=1, seconds=0.2)
        began = loop.time()
        async with session.get(f"{url}/ok") as answer:
            assert answer.status == 200
        assert loop.time() - began >= 0.2


async def test_a_delayed_request_lands_without_another_call(exchange: Exchange, url: str) -> None:
    ann = Trader(exchange, 1)
    body = json.dumps(ann.body(YES, "BUY", cents(40), shares("10")), separators=(",", ":"))
    headers = ann.headers("POST", "/order", body.encode())
    async with aiohttp.ClientSession() as session:
        await fault(session, url, name="delay_request", count=1, path="/order", seconds=0.2)
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.post(f"{url}/order", data=body, headers=headers)
        assert exchange.orders == {}
        async with asyncio.timeout(5):
            while not exchange.orders:
                await asyncio.sleep(0.02)


class Bomb:
    def next_due(self) -> datetime | None:
        return wall_clock() - timedelta(hours=1)

    def act(self, engine: Engine) -> None:
        raise ArithmeticError("boom")


async def test_a_broken_engine_ends_the_server_and_says_why(exchange: Exchange) -> None:
    async def break_it() -> None:
        async with serving(exchange, 0) as (url, broken), aiohttp.ClientSession() as session:
            exchange.add_traders(Bomb())
            async with session.post(f"{url}/ok") as answer:
                assert answer.status == 500
            assert broken.is_set()
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.post(f"{url}/ok")

    with pytest.raises(ArithmeticError, match="boom"):
        await break_it()


async def test_a_socket_that_is_let_go_is_forgotten(exchange: Exchange, url: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{url}/ws/market") as socket:
            assert socket._response.headers["X-Simulated"] == "pmrun-embedded-exchange"
            await socket.send_json({"type": "market", "assets_ids": [YES]})
            await socket.receive_str(timeout=5)
            assert len(exchange.feeds._sessions) == 1
        async with asyncio.timeout(5):
            while exchange.feeds._sessions:
                await asyncio.sleep(0.02)


async def test_an_order_is_told_before_its_own_answer(exchange: Exchange, url: str) -> None:
    ann = Trader(exchange, 1)
    body = json.dumps(ann.body(YES, "BUY", cents(40), shares("10")), separators=(",", ":"))
    headers = ann.headers("POST", "/order", body.encode())
    creds = {key: ann.creds[key] for key in ("apiKey", "secret", "passphrase")}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/ws/user") as told:
        await told.send_json({"type": "user", "auth": creds})
        await told.send_str("PING")
        assert await told.receive_str(timeout=5) == "PONG"
        await fault(session, url, name="delay_answer", count=1, path="/order", seconds=0.3)
        post = asyncio.create_task(session.post(f"{url}/order", data=body, headers=headers))
        event = json.loads(await told.receive_str(timeout=5))
        assert not post.done()
        answer = await post
        assert (await answer.json())["orderID"] == event["id"]
        answer.release()


async def test_wrong_credentials_close_the_socket(exchange: Exchange, url: str) -> None:
    ann = Trader(exchange, 1)
    creds = {key: ann.creds[key] for key in ("apiKey", "secret")} | {"passphrase": "no"}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/ws/user") as told:
        await told.send_json({"type": "user", "auth": creds})
        assert (await told.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE


class TestExitCodes:
    """Of the process, as the contract's section 2 has them."""

    def exchange(self, *given: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "runner.exchange", *given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stderr

    def test_a_port_that_is_taken(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            code, said = self.exchange("--port", str(taken.getsockname()[1]))
        assert (code, "address already in use" in said) == (1, True)

    def test_a_scenario_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "s.yaml").write_text("version: 7\n", encoding="utf-8")
        code, said = self.exchange("--scenario", str(tmp_path / "s.yaml"))
        assert (code, "s.yaml:1" in said) == (2, True)

    def test_a_database_in_use(self, tmp_path: Path) -> None:
        hall = Exchange(tmp_path / "exchange.db", wall_clock, 7, [RAIN])
        code, said = self.exchange("--state", str(tmp_path / "exchange.db"))
        hall.close()
        assert (code, "another exchange uses it" in said) == (3, True)

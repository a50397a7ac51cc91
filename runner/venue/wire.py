"""The wire port over real sockets: bytes out, bytes in, and limits on both.

1. What is sent is exactly what was given: body bytes, header names with their underscores.
2. No redirect is followed, no proxy from the environment used, no cookie kept, nothing
   decompressed (faults X31, X32, S18).
3. An answer larger than `RESPONSE_BYTES_MAX` or later than the time-out is no answer: WireError.
4. A POST is never repeated below this port (aiohttp repeats only idempotent methods, and only
   when a kept-alive connection turns out to be closed).
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from yarl import URL

from runner.venue.ports import WireClosed, WireError, WireResponse, WireSocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import SimpleNamespace

RESPONSE_BYTES_MAX = 8 * 1024 * 1024
"""Largest body or frame taken. A full page of trades is well below 1 MiB."""

CONNECT_TIMEOUT_S = 10
"""For opening a socket, handshake included."""

CONNECTIONS_MAX = 20
"""Open connections to one host: enough for every request the throttle lets through."""

_HEADERS = {"User-Agent": "pmrun", "Accept": "application/json", "Accept-Encoding": "identity"}


class Hosts(NamedTuple):
    """Where the four services of the exchange live, without a trailing slash."""

    clob: str
    gamma: str
    data: str
    sockets: str

    @classmethod
    def under(cls, url: str) -> Hosts:
        """Everything on one port, as the embedded exchange has it (contract 6)."""
        url = url.rstrip("/")
        sockets = "ws" + url.removeprefix("http")
        return cls(url, f"{url}/gamma", f"{url}/data-api", sockets)

    @classmethod
    def of_polymarket(cls, clob: str = "https://clob.polymarket.com") -> Hosts:
        """The real ones (reference, base URLs)."""
        return cls(
            clob.rstrip("/"),
            "https://gamma-api.polymarket.com",
            "https://data-api.polymarket.com",
            "wss://ws-subscriptions-clob.polymarket.com",
        )

    def url(self, path: str) -> str:
        """The URL of a path of the wire port: `/gamma/…`, `/data-api/…`, `/ws/…` or the CLOB's."""
        for prefix, host in (("/gamma/", self.gamma), ("/data-api/", self.data)):
            if path.startswith(prefix):
                return f"{host}/{path.removeprefix(prefix)}"
        return f"{self.sockets if path.startswith('/ws/') else self.clob}{path}"


class HttpWire:
    """One exchange over HTTP and WebSocket. To be made and closed inside a running loop."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_refuse_redirect)
        self._session = aiohttp.ClientSession(
            headers=_HEADERS,
            connector=aiohttp.TCPConnector(limit_per_host=CONNECTIONS_MAX),
            timeout=aiohttp.ClientTimeout(total=None),  # each request brings its own
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            trace_configs=[trace],
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float,
    ) -> WireResponse:
        """One request, one whole answer.

        Raises:
            WireError: none in time, or none that may be taken. It may have been carried out.
        """
        sent = dict(headers or {})
        if body:
            sent["Content-Type"] = "application/json"
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session.request(
                    method,
                    URL(self._hosts.url(path)).with_query(query),
                    headers=sent,
                    data=body or None,
                    allow_redirects=False,
                ) as answer,
            ):
                names = {name.lower(): value for name, value in answer.headers.items()}
                return WireResponse(answer.status, names, await _limited(answer))
        except TimeoutError:
            raise WireError(f"{method} {path}: no answer within {timeout_s} s") from None
        except (aiohttp.ClientError, OSError) as error:
            # not chained: its request_info holds the headers, and with them the passphrase
            raise WireError(f"{method} {path}: {type(error).__name__}") from None

    @asynccontextmanager
    async def connect(self, path: str) -> AsyncIterator[WireSocket]:
        """Open `/ws/market` or `/ws/user`; closed on the way out.

        Raises:
            WireError: it did not open.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await self._session.ws_connect(
                    self._hosts.url(path),
                    max_msg_size=RESPONSE_BYTES_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1),
                )
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise WireError(f"{path}: {type(error).__name__}") from None
        try:
            yield _Socket(socket)
        finally:
            await socket.close()

    async def close(self) -> None:
        """Let go of every connection."""
        await self._session.close()


class _Socket:
    """One open WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, text: str) -> None:
        try:
            await self._socket.send_str(text)
        except (aiohttp.ClientError, OSError) as error:
            raise WireClosed(type(error).__name__) from None

    async def receive(self) -> str:
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise WireClosed(f"{message.type.name} {self._socket.close_code}")
        return str(message.data)


async def _limited(answer: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > RESPONSE_BYTES_MAX:
            answer.close()
            raise WireError(f"an answer of more than {RESPONSE_BYTES_MAX} bytes")
        parts.append(part)
    return b"".join(parts)


async def _refuse_redirect(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceRequestRedirectParams,
) -> None:
    """`ws_connect` has no switch against redirects; a frame with our secret must not follow one."""
    del session, context, params
    raise aiohttp.ClientError("a redirect")

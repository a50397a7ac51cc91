"""The wire over real sockets, against a server that misbehaves as told: bytes, limits, secrets."""

import asyncio
import itertools
import json
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from aiohttp import WSMsgType, web
from pydantic import SecretStr

from runner.core.errors import VenueError, VenueUnreachable
from runner.core.model import VenueMode
from runner.venue import wire as wire_module
from runner.venue.client import Venue
from runner.venue.ports import Refused, SignedOrder, Unknown, WireClosed, WireError
from runner.venue.requests import VenueSettings
from runner.venue.signing import Credentials, Signer
from runner.venue.streams import Hearers, Streams, StreamSettings
from runner.venue.wire import Hosts, HttpWire

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

AT = datetime(2026, 11, 24, tzinfo=UTC)
KEY = "0x" + "5a" * 32
CREDS = {"apiKey": "key-uuid", "secret": "Y2FuYXJ5LXNlY3JldA==", "passphrase": "canary-passphrase"}
SECRETS = [KEY[2:], CREDS["secret"], CREDS["passphrase"]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[tuple[HttpWire, str]]:
    """A server on loopback that answers everything with `handler`, and a wire to it."""
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    wire = HttpWire(Hosts.under(url))
    try:
        yield wire, url
    finally:
        await wire.close()
        await runner.cleanup()


def answer(body: object, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


async def test_what_is_sent_is_exactly_what_was_given() -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        names = {k.decode(): v.decode() for k, v in request.raw_headers}
        seen.append((request.method, request.raw_path, names, await request.read()))
        return answer({"a": 1})

    body = b'{"salt":1,"x":"\\u00e9"}'
    async with served(handler) as (wire, _):
        response = await wire.request(
            "POST", "/order", headers={"POLY_ADDRESS": "0xAb"}, body=body, timeout_s=5
        )
        await wire.request("GET", "/data/orders", query={"next_cursor": "MA=="}, timeout_s=5)
        await wire.request("GET", "/gamma/markets/slug/a-b", timeout_s=5)
    method, path, names, sent = seen[0]
    assert (method, path, sent) == ("POST", "/order", body)
    assert names["POLY_ADDRESS"] == "0xAb"
    assert names["Content-Type"] == "application/json"
    assert names["Accept-Encoding"] == "identity"
    assert seen[1][1] in {"/data/orders?next_cursor=MA==", "/data/orders?next_cursor=MA%3D%3D"}
    assert "Content-Type" not in seen[1][2]
    assert seen[2][1] == "/gamma/markets/slug/a-b"
    assert (response.status, response.body) == (200, b'{"a": 1}')
    assert response.headers["content-type"].startswith("application/json")


async def test_no_redirect_is_followed_with_our_headers_or_secrets() -> None:
    paths: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        raise web.HTTPFound("/elsewhere")

    async with served(handler) as (wire, _):
        assert (await wire.request("GET", "/order", timeout_s=5)).status == 302
        with pytest.raises(WireError):
            async with wire.connect("/ws/user"):
                pass
    assert paths == ["/order", "/ws/user"]


async def test_no_answer_in_time_is_a_wire_error() -> None:
    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return answer({})

    async with served(handler) as (wire, _):
        with pytest.raises(WireError, match=r"within 0\.1 s"):
            await wire.request("GET", "/ok", timeout_s=0.1)


async def test_an_answer_that_stops_halfway_is_a_wire_error() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"success":true,')
        assert request.transport is not None
        request.transport.close()
        return response

    async with served(handler) as (wire, _):
        with pytest.raises(WireError):
            await wire.request("POST", "/order", body=b"{}", timeout_s=5)


async def test_an_answer_that_is_too_large_is_a_wire_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire_module, "RESPONSE_BYTES_MAX", 1000)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * int(request.query["size"]))

    async with served(handler) as (wire, _):
        whole = await wire.request("GET", "/", query={"size": "1000"}, timeout_s=5)
        assert len(whole.body) == 1000
        with pytest.raises(WireError, match="1000 bytes"):
            await wire.request("GET", "/", query={"size": "1001"}, timeout_s=5)


async def test_nobody_there_is_a_wire_error() -> None:
    async def handler(request: web.Request) -> web.Response:
        return answer({})

    async with served(handler) as (_, url):
        pass
    wire = HttpWire(Hosts.under(url))
    with pytest.raises(WireError):
        await wire.request("GET", "/ok", timeout_s=5)
    with pytest.raises(WireError):
        async with wire.connect("/ws/market"):
            pass
    await wire.close()


async def test_a_post_is_sent_once_even_if_the_connection_dies() -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.method)
        if len(seen) > 1:
            assert request.transport is not None
            request.transport.abort()
        return answer({})

    async with served(handler) as (wire, _):
        await wire.request("POST", "/order", body=b"{}", timeout_s=5)
        with pytest.raises(WireError):
            await wire.request("POST", "/order", body=b"{}", timeout_s=5)
    assert seen == ["POST", "POST"]


async def test_a_socket_speaks_text_and_says_when_it_is_closed() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            if message.data == "bye":
                break
            await socket.send_str(f"{request.path} {message.data}")
        return socket

    async with served(handler) as (wire, _), wire.connect("/ws/market") as socket:
        await socket.send("PING")
        assert await socket.receive() == "/ws/market PING"
        await socket.send("bye")
        with pytest.raises(WireClosed):
            await socket.receive()
        with pytest.raises(WireClosed):
            await socket.send("late")


def test_the_real_hosts_are_four() -> None:
    hosts = Hosts.of_polymarket()
    assert hosts.url("/order") == "https://clob.polymarket.com/order"
    assert hosts.url("/gamma/markets") == "https://gamma-api.polymarket.com/markets"
    assert hosts.url("/data-api/v2/trades") == "https://data-api.polymarket.com/v2/trades"
    sockets = "wss://ws-subscriptions-clob.polymarket.com/ws/user"
    assert hosts.url("/ws/user") == sockets
    embedded = Hosts.under("http://127.0.0.1:8137/")
    assert embedded.url("/ws/market") == "ws://127.0.0.1:8137/ws/market"
    assert embedded.url("/data-api/v2/trades") == "http://127.0.0.1:8137/data-api/v2/trades"


# ---- the venue's reads on a server that misbehaves

QUICK = VenueSettings(backoff_s=(0.001, 0.002), read_timeout_s=1, write_timeout_s=1, pages_max=5)
ORDER = SignedOrder(
    "0x" + "ab" * 32, b'{"order":{"side":"BUY"},"orderType":"GTC","postOnly":false}', 1, 1
)


def ignore(word: str) -> None:
    """For tests that do not ask what was odd."""


@asynccontextmanager
async def venue_on(
    handler: Handler,
    odd: Callable[[str], None] = ignore,
    clock: Callable[[], datetime] = lambda: AT,
) -> AsyncIterator[Venue]:
    """A started venue; `handler` sees everything but the start."""

    async def with_start(request: web.Request) -> web.StreamResponse:
        if request.path == "/auth/api-key":
            return answer(CREDS)
        return await handler(request)

    async with served(with_start) as (wire, _):
        yield await started(wire, odd, clock)


async def started(
    wire: HttpWire, odd: Callable[[str], None], clock: Callable[[], datetime]
) -> Venue:
    venue = Venue(wire, Signer(SecretStr(KEY), 137), clock, rng=Random(1), odd=odd, settings=QUICK)
    await venue.start()
    assert venue.credentials == Credentials(
        CREDS["apiKey"], SecretStr(CREDS["secret"]), SecretStr(CREDS["passphrase"])
    )
    return venue


PAGES_THAT_ARE_NO_LIST: list[object] = [
    None,
    [],
    {},
    {"data": []},
    {"data": [], "next_cursor": ""},
    {"data": [], "next_cursor": None},
    {"data": None, "next_cursor": "LTE="},
    {"data": [], "next_cursor": "MA=="},
    {"data": [{"status": "LIVE"}], "next_cursor": "LTE="},
    {"data": ["0xab"], "next_cursor": "LTE="},
    {"data": [{"id": "0xab", "status": "LIVE", "size_matched": "x"}], "next_cursor": "LTE="},
]


@pytest.mark.parametrize("page", PAGES_THAT_ARE_NO_LIST, ids=repr)
async def test_what_is_not_a_complete_list_is_unreachable(page: object) -> None:
    async def handler(request: web.Request) -> web.Response:
        return answer(page)

    async with venue_on(handler) as venue:
        with pytest.raises(VenueUnreachable):
            await venue.open_orders()


async def test_cursors_that_never_end_are_stopped() -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.query["next_cursor"])
        return answer({"data": [], "next_cursor": f"c{len(asked)}"})

    async with venue_on(handler) as venue:
        with pytest.raises(VenueUnreachable, match="does not end"):
            await venue.trades(AT)
    assert asked == ["MA==", "c1", "c2", "c3", "c4"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
async def test_a_read_is_tried_a_bounded_number_of_times(status: int) -> None:
    count = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return answer({"error": "later"}, status)

    async with venue_on(handler) as venue:
        with pytest.raises(VenueUnreachable, match=f"{status}: later"):
            await venue.balance()
    assert count == QUICK.read_tries


async def test_a_refusal_that_waiting_cannot_cure_is_not_tried_again() -> None:
    count = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return answer({"error": "Unauthorized/Invalid api key"}, 401)

    async with venue_on(handler) as venue:
        with pytest.raises(VenueUnreachable, match="401"):
            await venue.balance()
    assert count == 1


async def test_a_page_of_html_is_no_answer() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=b"123", content_type="text/html")

    async with venue_on(handler) as venue:
        with pytest.raises(VenueUnreachable, match="HTML"):
            await venue.server_time()
        assert isinstance(await venue.submit(ORDER), Unknown)


async def test_headers_are_made_afresh_for_each_try() -> None:
    times: list[str] = []
    seconds = itertools.count()

    async def handler(request: web.Request) -> web.Response:
        times.append(request.headers["POLY_TIMESTAMP"])
        return answer({}, 500)

    async with venue_on(handler, clock=lambda: AT + timedelta(seconds=next(seconds))) as venue:
        with pytest.raises(VenueUnreachable):
            await venue.balance()
    assert len(set(times)) == QUICK.read_tries


async def test_nothing_secret_is_in_what_we_say_even_if_they_echo_it() -> None:
    """The server sends back every header and body it got, and its own secrets, in its errors."""

    async def handler(request: web.Request) -> web.Response:
        echoed = " ".join([*request.headers.values(), (await request.read()).decode(), *SECRETS])
        status = int(request.headers.get("X", "400"))
        said = f"Invalid order payload: {echoed}\n\x1b[31m"
        return answer({"error": said[:5000], "canceled": 1}, status)

    said: list[str] = []
    async with venue_on(handler) as venue:
        outcome = await venue.submit(ORDER)
        assert isinstance(outcome, Refused)
        said.append(repr(outcome))
        for attempt in (
            venue.cancel(["0xab"]),
            venue.balance(),
            venue.open_orders(),
            venue.order("0xab"),
            venue.book("1"),
        ):
            with pytest.raises(VenueError) as caught:
                await attempt
            said.append("".join(traceback.format_exception(caught.value)))
        said += [repr(venue), repr(venue.signer), repr(venue.credentials)]
    for text in said:
        assert "\x1b" not in text
        for secret in SECRETS[1:]:
            assert secret not in text
    assert any("[redacted]" in text for text in said)


async def test_a_wire_error_carries_no_headers() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return answer({})

    async with venue_on(handler) as venue:
        with pytest.raises(VenueUnreachable) as caught:
            await venue.balance()
        text = "".join(traceback.format_exception(caught.value))
        outcome = await venue.submit(ORDER)
    assert isinstance(outcome, Unknown)
    for secret in SECRETS:
        assert secret not in text + outcome.text


async def test_a_cancel_answer_names_only_what_was_asked() -> None:
    body: list[object] = []

    async def handler(request: web.Request) -> web.Response:
        body.append(json.loads(await request.read()))
        return answer({"canceled": ["0xAA", "0xff"], "not_canceled": {"0xBB": "gone", "0xee": ""}})

    async with venue_on(handler) as venue:
        found = await venue.cancel(["0xcc", "0xbb", "0xaa", "0xaa"])
    assert body == [["0xaa", "0xbb", "0xcc"]]
    assert found.cancelled == {"0xaa"}
    assert found.not_cancelled == {"0xbb": "gone"}


async def test_a_read_waits_as_long_as_it_is_told() -> None:
    count = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        if count > 1:
            return answer(1790000000)
        return web.json_response({"error": "slow down"}, status=429, headers={"Retry-After": "1"})

    async with venue_on(handler) as venue:
        began = time.perf_counter()
        await venue.server_time()
        assert time.perf_counter() - began >= 1
    assert count == 2


MODES = [
    (425, {"error": "Service is not ready"}, {}, VenueMode.RESTARTING, 2),
    (425, "", {"Retry-After": "7"}, VenueMode.RESTARTING, 7),
    (503, {"code": "post_only_mode", "retry_after_seconds": 79}, {}, VenueMode.POST_ONLY, 79),
    (503, {"error": "Trading is currently cancel-only."}, {}, VenueMode.CANCEL_ONLY, 2),
    (503, {"error": "Trading is currently disabled."}, {}, VenueMode.CLOSED, 2),
    (503, {"error": "trading is disabled"}, {"Retry-After": "9999"}, VenueMode.CLOSED, 300),
    (503, {"error": "upstream connect error"}, {"Retry-After": "9"}, VenueMode.NORMAL, 0),
    (500, {"error": "post-only mode"}, {}, VenueMode.NORMAL, 0),
]


@pytest.mark.parametrize(("status", "body", "headers", "mode", "seconds"), MODES)
@pytest.mark.parametrize("ask", ["order", "cancel"])
async def test_a_mode_is_believed_for_as_long_as_it_is_told(
    ask: str,
    status: int,
    body: object,
    headers: dict[str, str],
    mode: VenueMode,
    seconds: int,
) -> None:
    now = AT

    async def handler(request: web.Request) -> web.Response:
        return web.json_response(body, status=status, headers=headers)

    async with venue_on(handler, clock=lambda: now) as venue:
        if ask == "order":
            await venue.submit(ORDER)
        else:
            with pytest.raises(VenueError):
                await venue.cancel(["0xab"])
        if ask == "order" or body != "":
            assert venue.mode is mode
            now = AT + timedelta(seconds=seconds) - timedelta(milliseconds=1)
            assert venue.mode is mode
        now = AT + timedelta(seconds=seconds)
        assert venue.mode is VenueMode.NORMAL


async def test_what_we_have_never_seen_is_told_and_what_is_ordinary_is_not() -> None:
    replies = iter(
        [
            answer({"error": "some new sentence"}, 400),
            answer({"errorMsg": "", "orderID": ORDER.order_id, "status": "sleeping"}),
            answer({"error": "Internal server error"}, 500),
            answer({"error": "Too Many Requests"}, 429),
        ]
    )
    odd: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        return next(replies)

    async with venue_on(handler, odd.append) as venue:
        for _ in range(4):
            assert isinstance(await venue.submit(ORDER), Unknown)
    assert odd == [
        "answer to an order: 400: some new sentence",
        "answer to an order: 200 with status 'sleeping'",
    ]


async def test_a_socket_that_disagrees_with_a_query_is_subscribed_anew() -> None:
    """It shows one book and the query another; then it is silent (faults W1, W2, W15)."""
    frames: list[dict[str, object]] = []
    bids = [{"price": "0.4", "size": "10"}]

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/auth/api-key":
            return answer(CREDS)
        if request.path == "/book":
            return answer({"bids": bids, "asks": []})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.data == "PING":
                await socket.send_str("PONG")
                continue
            frames.append(json.loads(message.data))
            if len(frames) == 1:
                empty = {"event_type": "book", "asset_id": "7", "bids": [], "asks": []}
                await socket.send_str(json.dumps([empty]))
        return socket

    def wall() -> datetime:
        return datetime.now(UTC)

    async with served(handler) as (wire, _):
        streams = Streams(
            wire,
            await started(wire, ignore, wall),
            wall,
            rng=Random(1),
            hearers=Hearers(ignore, lambda report: None, lambda gap: None, ignore, ignore),
            settings=StreamSettings(stale_s=0.1, retry_s=0.1),
        )
        streams.watch(["7"])
        running = asyncio.create_task(streams.run())
        async with asyncio.timeout(5):
            while len(frames) < 4:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        book = streams.book("7")
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert book is not None
    assert [str(level.price) for level in book.bids] == ["0.4"]
    market = [frame for frame in frames if frame.get("type") != "user"]
    assert [frame.get("operation", frame.get("type")) for frame in market] == [
        "market",
        "unsubscribe",
        "subscribe",
    ]
    assert {json.dumps(frame["assets_ids"]) for frame in market} == {'["7"]'}

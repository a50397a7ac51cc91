"""The exchange on a loopback port: HTTP and both WebSocket channels, one process, one thread.

Nothing is decided here: requests go to `Exchange.handle`, frames to a `Session`, time to
`Exchange.advance`, and what a `Response` says is done to the client. If the engine breaks (an
exception other than a refusal), the process ends: its memory can't be trusted any more, its
database can.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from aiohttp import WSMsgType, web

from runner.exchange.api import Exchange
from runner.exchange.faults import Fault
from runner.exchange.feeds import Session
from runner.exchange.population import Scenario
from runner.exchange.requests import MARK
from runner.exchange.scenario import ScenarioError, default_scenario, load
from runner.exchange.settlement import Delays
from runner.exchange.state import ForeignState, StateLocked

HOST = "127.0.0.1"
"""The only address it ever listens on: nobody else may take it for an exchange."""

T = TypeVar("T")

_BODY_MAX = 1 << 20
_FRAME_MAX = 1 << 20
_HANG_S = 3600
_SHUTDOWN_S = 2.0


class _Server:
    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.broken = asyncio.Event()
        self.failure: Exception | None = None
        self._changed = asyncio.Event()
        self._sessions: set[Session] = set()

    async def drive(self) -> None:
        """Lets the exchange do what is due, when it is due."""
        while True:
            self._changed.clear()
            due = self.exchange.next_due()
            wait_s = None if due is None else (due - self.exchange.now()).total_seconds()
            if wait_s is not None and wait_s <= 0:
                self._guarded(self.exchange.advance)
                await asyncio.sleep(0)
                continue
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One HTTP request, or the handshake of a socket."""
        if request.path.startswith("/ws/"):
            return await self._socket(request)
        body = await request.read()
        if self.broken.is_set():
            return _cut(request)
        response = self._guarded(
            lambda: self.exchange.handle(request.method, request.raw_path, request.headers, body)
        )
        self._changed.set()
        if (pending := response.pending) is not None:
            known = asyncio.Event()
            pending.on_answer = known.set
            await known.wait()
            response = pending.response or response
        if response.lost:
            if response.hang:
                await asyncio.sleep(_HANG_S)
            return _cut(request)
        if response.delay_s:
            await asyncio.sleep(response.delay_s)
        return web.Response(status=response.status, headers=response.headers, body=response.body)

    async def close_sockets(self, app: web.Application) -> None:
        """Ends every socket, so that a shutdown waits for nobody."""
        del app
        for session in list(self._sessions):
            session.close()

    def _guarded(self, call: Callable[[], T]) -> T:
        """Calls the engine; if it breaks, so does the server."""
        try:
            return call()
        except Exception as error:
            self.failure = error
            self.broken.set()
            raise

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        try:
            session = self.exchange.connect(request.path)
        except ValueError:
            return web.Response(status=404)
        socket = web.WebSocketResponse(max_msg_size=_FRAME_MAX)
        await socket.prepare(request)
        wake = asyncio.Event()
        session.on_frame = wake.set
        self._sessions.add(session)
        sender = asyncio.create_task(_send(socket, session, wake))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._guarded(partial(session.receive, message.data))
        finally:
            self._sessions.discard(session)
            session.close()
            await sender
        return socket


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    """Marks what aiohttp answers by itself, and the handshakes of sockets."""
    del request
    response.headers.update(MARK)


def _cut(request: web.Request) -> web.Response:
    """Closes a client's connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _send(socket: web.WebSocketResponse, session: Session, wake: asyncio.Event) -> None:
    """Sends a session's frames until either side ends it."""
    while True:
        await wake.wait()
        wake.clear()
        while session.outgoing:
            try:
                await socket.send_str(session.outgoing.popleft())
            except ConnectionResetError:
                session.close()
                return
        if session.closed:
            await socket.close()
            return


@asynccontextmanager
async def serving(exchange: Exchange, port: int) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Serves an exchange on the loopback address for the time of the context.

    If the engine broke, its exception rises at the end of the context.

    Args:
        exchange: What to serve; it stays the caller's to close.
        port: 0 for any free one.

    Yields:
        The base URL, and an event that is set if the engine breaks.

    Raises:
        OSError: The port is taken.
    """
    server = _Server(exchange)
    app = web.Application(client_max_size=_BODY_MAX)
    app.router.add_route("*", "/{path:.*}", server.answer)
    app.on_response_prepare.append(_mark)
    app.on_shutdown.append(server.close_sockets)
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S
    )
    await runner.setup()
    drive = asyncio.create_task(server.drive())
    try:
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        yield f"http://{HOST}:{site.port}", server.broken
    finally:
        drive.cancel()
        await asyncio.wait([drive])
        await runner.cleanup()
    if server.failure is not None:
        raise server.failure


async def serve(exchange: Exchange, port: int) -> None:
    """Serves until SIGINT or SIGTERM; tells its address on the first line of stdout.

    If the engine breaks, its exception ends the serving.

    Raises:
        OSError: The port is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serving(exchange, port) as (url, broken):
        sys.stdout.write(json.dumps({"url": url, "pid": os.getpid()}) + "\n")
        sys.stdout.flush()
        waits = [asyncio.create_task(event.wait()) for event in (stop, broken)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


def wall_clock() -> datetime:
    """The time of this machine, UTC: what the exchange runs on unless it is given another."""
    return datetime.now(UTC)  # noqa: TID251  (the shell of this process: its clock starts here)


def opened(
    state: Path | None,
    scenario: Scenario,
    clock: Callable[[], datetime],
    real_wallet: str | None = None,
) -> Exchange:
    """An exchange populated by a scenario; accounts are funded when its state is new.

    Raises:
        StateLocked: Another exchange uses the database.
        ForeignState: It holds orders of markets that the scenario doesn't list.
    """
    delays = Delays(scenario.mined_ms, scenario.confirmed_ms)
    exchange = Exchange(state, clock, scenario.seed, scenario.markets, delays)
    if real_wallet is not None:
        exchange.accounts.turn_away(real_wallet)
    if exchange.is_new:
        for funding in scenario.accounts:
            exchange.fund(funding.address, funding.cash, funding.tokens)
    for fault in scenario.faults:
        exchange.faults.add(Fault.model_validate(fault))
    for traders in scenario.traders(exchange.made_at):
        exchange.add_traders(traders)
    exchange.advance()
    return exchange


def run(
    port: int,
    state: Path | None,
    seed: int | None,
    scenario: str | Path | None,
    clock: Callable[[], datetime] = wall_clock,
    *,
    real_wallet: str | None = None,
) -> int:
    """`pmrun exchange`: serves until told to stop. If the engine breaks, its exception rises.

    Args:
        port: 0 for any free one.
        state: Its database; None keeps everything in memory.
        seed: All chance comes from it; None for the scenario's own.
        scenario: A file, or the name of a packaged one; None for the default one.
        clock: Tells the time, UTC.
        real_wallet: An address that has no part in a simulation: neither funded nor admitted.

    Returns:
        The exit code of contract 2: 0, 1 if the port can't be had, 2 for a scenario that can't be
        used (also with this database), 3 if another exchange uses the database. Why is on stderr.
    """
    try:
        chosen = default_scenario(seed or 0) if scenario is None else load(scenario, seed)
        exchange = opened(state, chosen, clock, real_wallet)
    except StateLocked as error:
        return _said(error, 3)
    except (ScenarioError, ForeignState) as error:
        return _said(error, 2)
    try:
        asyncio.run(serve(exchange, port))
    except OSError as error:
        return _said(error, 1)
    finally:
        exchange.close()
    return 0


def _said(error: Exception, code: int) -> int:
    sys.stderr.write(f"{error}\n")
    return code

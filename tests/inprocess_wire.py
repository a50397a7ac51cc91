"""The wire port against the embedded exchange in this process, on the loop's (virtual) time.

The same requests and frames as over sockets, and what networks do to them:

1. A request that was sent arrives, whether or not its sender still waits (or lives): it is
   carried by a task of the network's, which a time-out or a cancelled sender does not stop.
2. `Response.lost`, `hang` and `delay_s` are honoured as `runner.exchange.requests` says.
3. Answers and requests each take `latency()` seconds; frames of sockets none, so that an event
   can come before the answer that it belongs to.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from runner.exchange.api import Exchange
from runner.exchange.feeds import Session
from runner.venue.ports import WireClosed, WireError, WireResponse, WireSocket


class InProcessWire:
    """One client's connection to `exchange`. To be made inside the running loop.

    After `fail(down=True)` nothing arrives in either direction, as on a dead network.
    `attempts` counts connections asked for.
    """

    def __init__(self, exchange: Exchange, latency: Callable[[], float] = lambda: 0.0) -> None:
        self.attempts = 0
        self._down = False
        self._exchange = exchange
        self._latency = latency
        self._moved = asyncio.Event()
        self._sockets: set[_Socket] = set()
        self._driver = asyncio.create_task(self._drive(), name="the exchange's driver")

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
        """One request, one whole answer; raises WireError."""
        target = f"{path}?{urlencode(query)}" if query else path
        carried = asyncio.create_task(
            self._carry(method, target, dict(headers or {}), body, timeout_s)
        )
        try:
            async with asyncio.timeout(timeout_s):
                answer = await asyncio.shield(carried)
        except TimeoutError:
            raise WireError(f"{method} {path}: no answer within {timeout_s} s") from None
        if answer is None:
            raise WireError(f"{method} {path}: the connection was closed")
        return answer

    async def _carry(
        self, method: str, target: str, headers: dict[str, str], body: bytes, timeout_s: float
    ) -> WireResponse | None:
        await asyncio.sleep(self._latency())
        if self._dead():
            return None
        response = self._exchange.handle(method, target, headers, body)
        self._moved.set()
        if (pending := response.pending) is not None:
            known = asyncio.Event()
            pending.on_answer = known.set
            await known.wait()
            response = pending.response or response
        if response.lost:
            await asyncio.sleep(timeout_s if response.hang else self._latency())
            return None
        await asyncio.sleep(response.delay_s)
        await asyncio.sleep(self._latency())
        if self._dead():
            return None
        names = {name.lower(): value for name, value in response.headers.items()}
        return WireResponse(response.status, names, response.body)

    @asynccontextmanager
    async def connect(self, path: str) -> AsyncIterator[WireSocket]:
        """Open a socket of the exchange's; raises WireError."""
        self.attempts += 1
        await asyncio.sleep(self._latency())
        if self._dead():
            raise WireError(f"{path}: nobody there")
        socket = _Socket(self._exchange.connect(path), self._dead, self._moved)
        self._sockets.add(socket)
        try:
            yield socket
        finally:
            self._sockets.discard(socket)
            socket.session.close()

    def fail(self, *, down: bool) -> None:
        """Let the network die, or come back. Open sockets stay open and silent (half-open)."""
        self._down = down
        for socket in self._sockets:
            socket.frames.set()

    def _dead(self) -> bool:
        return self._down

    def cut(self) -> None:
        """End every open socket at once."""
        for socket in list(self._sockets):
            socket.session.close()

    def inject(self, path: str, text: str) -> None:
        """A frame that the exchange never sent, on every open socket of `path`."""
        for socket in self._sockets:
            if socket.session.path == path:
                socket.session.push(text)

    async def close(self) -> None:
        """Let go. What was already sent still arrives."""
        self._driver.cancel()
        self.cut()

    async def _drive(self) -> None:
        """Let the exchange do what is due, when it is due."""
        loop = asyncio.get_running_loop()
        while True:
            self._moved.clear()
            due = self._exchange.next_due()
            if due is None:
                await self._moved.wait()
                continue
            wait_s = (due - self._exchange.now()).total_seconds()
            if wait_s <= 0:
                self._exchange.advance()
                continue
            timer = loop.call_later(wait_s, self._moved.set)
            try:
                await self._moved.wait()
            finally:
                timer.cancel()


class _Socket:
    def __init__(self, session: Session, dead: Callable[[], bool], moved: asyncio.Event) -> None:
        self.session = session
        self.frames = asyncio.Event()
        self._dead = dead
        self._moved = moved
        session.on_frame = self.frames.set

    async def send(self, text: str) -> None:
        if self._dead():
            return
        if self.session.closed:
            raise WireClosed("closed")
        self.session.receive(text)
        self._moved.set()

    async def receive(self) -> str:
        while self._dead() or not self.session.outgoing:
            if self.session.closed and not self._dead():
                raise WireClosed("closed")
            self.frames.clear()
            await self.frames.wait()
        await asyncio.sleep(0)
        return self.session.outgoing.popleft()

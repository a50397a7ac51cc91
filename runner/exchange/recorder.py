"""Records the market channel of an exchange, any that speaks it, as `recordings` reads it.

A client, and nothing of the embedded exchange: it subscribes, keeps the connection alive, opens a
new one when it is lost, and writes every frame as it came.

Invariants:
    1. Every event of the channel is one line, in the order of arrival; `recv_ms` never falls.
    2. What comes after a lost connection starts with whole books, so that a replay is right again
       from there on.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

import aiohttp

from runner.exchange.agenda import unix_ms
from runner.exchange.server import wall_clock

PING_S = 10.0
"""Between two text PINGs (reference 6)."""

SILENCE_MAX_S = 30.0
"""Without any frame, PONG included, the connection is taken for dead."""

_RETRY_S = (0.5, 30.0)
_CONNECT_S = 10.0
_FRAME_MAX = 8 << 20
_SHORTEST_S = 0.001


class OutOfReach(OSError):
    """The exchange didn't take the first connection."""


def socket_url(url: str) -> str:
    """The market channel of an exchange: a bare address gets the channel's path.

    Raises:
        ValueError: Not an address with http, https, ws or wss.
    """
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise ValueError(f"{url}: not an address such as http://127.0.0.1:8137")
    path = parts.path if parts.path.strip("/") else "/ws/market"
    return parts._replace(scheme=scheme, path=path).geturl()


class Recorder:
    """Writes frames to a stream.

    Attributes:
        written: How many lines there are so far.
    """

    def __init__(self, out: TextIO, clock: Callable[[], datetime]) -> None:
        self.written = 0
        self._out = out
        self._clock = clock
        self._last_ms = 0

    def take(self, text: str) -> None:
        """Writes the events of one text frame; what isn't JSON (PONG) is none."""
        try:
            found = json.loads(text)
        except ValueError:
            return
        self._last_ms = max(self._last_ms, unix_ms(self._clock()))
        for frame in found if isinstance(found, list) else [found]:
            record = {"recv_ms": self._last_ms, "src_index": self.written, "frame": frame}
            self._out.write(json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n")
            self.written += 1
        self._out.flush()


async def record(
    url: str,
    tokens: Sequence[str],
    recorder: Recorder,
    gap: Callable[[str], None],
    *,
    silence_max_s: float = SILENCE_MAX_S,
) -> None:
    """Records until it is cancelled.

    Args:
        url: As `socket_url` gives it.
        tokens: What to subscribe to.
        recorder: Takes the frames.
        gap: Told why whenever the connection was lost; a new one is opened, sooner or later.
        silence_max_s: Without any frame for so long, the connection is taken for dead.

    Raises:
        OutOfReach: The first connection could not be opened.
    """
    wait_s = _RETRY_S[0]
    heard = False
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async for text in _frames(session, url, tokens, silence_max_s):
                    heard, wait_s = True, _RETRY_S[0]
                    recorder.take(text)
                gap("the connection was closed")
            except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError
                if not heard:
                    raise OutOfReach(f"{url}: {str(error) or type(error).__name__}") from error
                gap(str(error) or type(error).__name__)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _RETRY_S[1])


async def _frames(
    session: aiohttp.ClientSession, url: str, tokens: Sequence[str], silence_max_s: float
) -> AsyncIterator[str]:
    """The text frames of one connection, until it ends; raises TimeoutError when it is silent."""
    async with asyncio.timeout(_CONNECT_S):
        socket = await session.ws_connect(url, max_msg_size=_FRAME_MAX)
    loop = asyncio.get_running_loop()
    async with socket:
        await socket.send_json({"type": "market", "assets_ids": list(tokens)})
        heard_at = loop.time()
        ping_at = heard_at + PING_S
        while loop.time() < heard_at + silence_max_s:
            try:
                until = min(ping_at, heard_at + silence_max_s)
                message = await socket.receive(timeout=max(until - loop.time(), _SHORTEST_S))
            except TimeoutError:
                message = None
            if loop.time() >= ping_at:
                await socket.send_str("PING")
                ping_at += PING_S
            if message is None:
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            heard_at = loop.time()
            yield message.data
        raise TimeoutError(f"nothing heard for {silence_max_s} s")


def run(
    url: str,
    tokens: Sequence[str],
    out: Path,
    seconds: int | None,
    clock: Callable[[], datetime] = wall_clock,
) -> int:
    """`pmrun record`: records until told to stop, or for so many seconds.

    Args:
        url: The exchange, or its market channel.
        tokens: What to record.
        out: A file that doesn't exist yet; gzipped if its name ends with .gz.
        seconds: None for without end.
        clock: Tells the time, UTC.

    Returns:
        The exit code of contract 2: 0, 2 for an address that is none or a file that can't be made,
        4 if the exchange is out of reach. Why, and each gap, is on stderr.
    """
    try:
        target = socket_url(url)
        with closing(_opened(out)) as stream:
            recorder = Recorder(stream, clock)
            asyncio.run(_until_stopped(record(target, tokens, recorder, _say), seconds))
    except OutOfReach as error:
        out.unlink()
        _say(str(error))
        return 4
    except (ValueError, OSError) as error:
        _say(str(error))
        return 2
    _say(f"{recorder.written} frames in {out}")
    return 0


def _opened(out: Path) -> TextIO:
    if out.suffix == ".gz":
        return gzip.open(out, "xt", encoding="utf-8")
    return out.open("x", encoding="utf-8")


async def _until_stopped(recording: Coroutine[Any, Any, None], seconds: int | None) -> None:
    """Runs it until SIGINT or SIGTERM, or for so long; it ends earlier only by its exception."""
    task = asyncio.create_task(recording)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    if seconds is not None:
        loop.call_later(seconds, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")

"""The recorder on real sockets: what it writes is what a replay shows."""

import asyncio
import io
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from runner.exchange.api import Exchange
from runner.exchange.recorder import OutOfReach, Recorder, record, socket_url
from runner.exchange.recordings import load_recording, read_recording
from runner.exchange.replay import Pace, Replay
from runner.exchange.server import serving, wall_clock
from tests.exchange.kit import RAIN, SNOW, START, Clock, Trader, cents, make, shares

PMRUN = Path(sys.executable).with_name("pmrun")
YES, NO = RAIN.token_ids


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        ("http://127.0.0.1:8137", "ws://127.0.0.1:8137/ws/market"),
        ("https://clob.example/", "wss://clob.example/ws/market"),
        ("wss://sockets.example/ws/market", "wss://sockets.example/ws/market"),
    ],
)
def test_an_address_gets_the_channels_path(given: str, opened: str) -> None:
    assert socket_url(given) == opened


@pytest.mark.parametrize("given", ["127.0.0.1:8137", "ftp://x", "http:", ""])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        socket_url(given)


def test_each_event_is_a_line_and_time_never_goes_back() -> None:
    clock, out = Clock(), io.StringIO()
    recorder = Recorder(out, clock)
    recorder.take('[{"event_type":"book"},{"event_type":"book","asset_id":"ü"}]')
    recorder.take("PONG")
    clock.forward(-5)
    recorder.take('{"event_type":"price_change"}')
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["src_index"] for line in lines] == [0, 1, 2]
    assert {line["recv_ms"] for line in lines} == {int(START.timestamp() * 1000)}
    assert recorder.written == 3


class Recording:
    """A recorder at work on `exchange`."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        self.recorder = Recorder(self.out, wall_clock)
        self.gaps: list[str] = []

    @asynccontextmanager
    async def running(self, url: str, **more: float) -> AsyncIterator[None]:
        recording = record(socket_url(url), [YES, NO], self.recorder, self.gaps.append, **more)
        task = asyncio.create_task(recording)
        await self.until(2)
        yield
        task.cancel()
        await asyncio.wait([task])

    async def until(self, written: int) -> None:
        async with asyncio.timeout(10):
            while self.recorder.written < written:
                await asyncio.sleep(0.01)

    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(line)["frame"] for line in self.out.getvalue().splitlines()]


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(None, wall_clock, 7, [RAIN, SNOW])


def rest_book(exchange: Exchange, token: str) -> dict[str, Any]:
    body = exchange.handle("GET", f"/book?token_id={token}", {}, b"").body
    book: dict[str, Any] = json.loads(body)
    return {side: book[side] for side in ("bids", "asks")}


async def test_what_was_recorded_replays_to_the_same_books(
    exchange: Exchange, tmp_path: Path
) -> None:
    recording = Recording()
    ann, bob = Trader(exchange, 1, "10000", t1001="900"), Trader(exchange, 2, "10000", t1002="900")
    async with serving(exchange, 0) as (url, _), recording.running(url):
        for number in range(60):
            who, token = (ann, YES) if number % 3 else (bob, NO)
            side, price = ("BUY", 45 - number % 7) if number % 2 else ("SELL", 52 + number % 5)
            answer = who.post(token, side, cents(price), shares(str(10 + number)))
            assert answer.status == 200, answer.body
            if number % 5 == 4:
                bob.post(YES, "BUY", cents(56), shares("12"), "FAK")
            if number % 11 == 10:
                ann.send("DELETE", "/cancel-all")
            await asyncio.sleep(0.005)
        last = len(recording.frames())
        async with asyncio.timeout(10):
            while len(recording.frames()) > last or last == 2:
                last = len(recording.frames())
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)
    path = tmp_path / "recorded.jsonl"
    path.write_text(recording.out.getvalue(), encoding="utf-8")
    kinds = {frame["event_type"] for frame in recording.frames()}
    assert kinds == {"book", "price_change", "last_trade_price"}

    clock = Clock()
    other = make(clock)
    loaded = load_recording(path, YES, NO)
    other.add_traders(Replay(RAIN.condition_id, loaded, Pace(START, Fraction(1))))
    other.advance()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    began = lines[0]["recv_ms"]
    compared = 0
    for here, after in zip(lines, [*lines[1:], None], strict=True):
        frame = here["frame"]
        moved = after is None or after["recv_ms"] > here["recv_ms"]
        if frame["event_type"] == "book" and moved:
            clock.now = START + timedelta(milliseconds=here["recv_ms"] - began)
            other.advance()
            shown = {side: frame[side] for side in ("bids", "asks")}
            assert rest_book(other, frame["asset_id"]) == shown
            compared += 1
    assert compared > 5
    clock.forward(60)
    other.advance()
    for token in (YES, NO):
        assert rest_book(other, token) == rest_book(exchange, token)
        assert rest_book(other, token)["bids"]


async def test_a_lost_connection_is_told_and_opened_again(exchange: Exchange) -> None:
    recording = Recording()
    ann = Trader(exchange, 1)
    async with serving(exchange, 0) as (url, _), recording.running(url):
        for session in list(exchange.feeds._sessions):
            session.close()
        await recording.until(4)
        assert recording.gaps == ["the connection was closed"]
        ann.place(YES, "BUY", cents(40), shares("10"))
        await recording.until(5)
    assert [f["event_type"] for f in recording.frames()] == ["book"] * 4 + ["price_change"]


async def test_a_silent_connection_is_taken_for_dead(exchange: Exchange) -> None:
    recording = Recording()
    async with serving(exchange, 0) as (url, _), recording.running(url, silence_max_s=0.1):
        await recording.until(4)
    assert recording.gaps[0] == "nothing heard for 0.1 s"


async def test_an_exchange_that_is_not_there() -> None:
    recording = Recording()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OutOfReach, match=str(port)):
        await record(socket_url(f"http://127.0.0.1:{port}"), [YES], recording.recorder, print)


class TestCommand:
    def pmrun(self, *given: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PMRUN, "record", *map(str, given)], capture_output=True, text=True, timeout=30
        )

    async def test_a_packed_file_that_replays(self, exchange: Exchange, tmp_path: Path) -> None:
        path = tmp_path / "day.jsonl.gz"
        async with serving(exchange, 0) as (url, _):
            process = await asyncio.create_subprocess_exec(
                PMRUN, "record", url, YES, NO, "--out", path, stderr=asyncio.subprocess.PIPE
            )
            ann = Trader(exchange, 1)
            async with asyncio.timeout(20):
                while not exchange.feeds._sessions:
                    await asyncio.sleep(0.05)
            for _ in range(20):
                ann.place(YES, "BUY", cents(40), shares("10"))
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, said = await process.communicate()
        assert (process.returncode, b"frames in" in said) == (0, True)
        recording = load_recording(path, YES, NO)
        assert len(recording.events) > 10

    def test_exit_codes(self, tmp_path: Path) -> None:
        there = tmp_path / "there.jsonl"
        there.write_text("mine")
        new = tmp_path / "new.jsonl"
        assert self.pmrun("127.0.0.1", YES, "--out", new).returncode == 2
        assert self.pmrun("http://127.0.0.1:1", YES, "--out", there).returncode == 2
        assert there.read_text() == "mine"
        assert self.pmrun("http://127.0.0.1:1", YES, "--out", new).returncode == 4
        assert not new.exists()


def test_frames_of_other_markets_in_the_same_file_are_skipped() -> None:
    clock, out = Clock(), io.StringIO()
    recorder = Recorder(out, clock)
    hall = make(clock)
    session = hall.connect("/ws/market")
    first = {"type": "market", "assets_ids": [YES, *SNOW.token_ids]}
    session.receive(json.dumps({**first, "custom_feature_enabled": True}))
    ann = Trader(hall, 1)
    ann.place(YES, "BUY", cents(40), shares("10"))
    ann.place(SNOW.token_ids[1], "BUY", cents(30), shares("20"))
    while session.outgoing:
        recorder.take(session.outgoing.popleft())
    lines = out.getvalue().splitlines()
    rain, snow = read_recording(lines, YES, NO), read_recording(lines, *SNOW.token_ids)
    assert rain.events != snow.events
    assert {timed.at_us for timed in (*rain.events, *snow.events)} == {0}

"""The market and user sockets: latest books, reports as they come, and gaps said aloud.

A frame only ever wakes somebody; losing or repeating any of them costs time, not correctness.

1. Every opened connection, unparsable frame and lost book is a gap: `on_gap(channel)` tells the
   owner to read the account or the books again (faults W4, W5).
2. A book is shown only while a snapshot, the changes since and the last word heard agree and are
   young; a silent token is compared with a query, and resubscribed if they differ (faults W1, W2).
3. There is no queue: each frame is worked off before the next is read, so that a burst is held
   back by the socket and memory does not grow (faults W11).
4. Liveness needs frames: a text PING every 10 s, and no frame at all within the read deadline
   ends the connection (faults W17). Reconnects back off with full jitter (faults W18).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any

from runner.core.errors import VenueUnreachable
from runner.venue.books import LiveBook
from runner.venue.ports import WireClosed, WireError
from runner.venue.translate import (
    Unreadable,
    mapping,
    order_report,
    parse,
    sequence,
    trade_reports,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from datetime import datetime
    from random import Random

    from runner.core.model import Book, OrderReport, TradeReport
    from runner.venue.client import Venue
    from runner.venue.ports import Wire, WireSocket
    from runner.venue.translate import Json


class Channel(StrEnum):
    """The two sockets (reference 6)."""

    MARKET = "market"
    USER = "user"


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Times and limits of the sockets, in seconds.

    Attributes:
        ping_s: between two PINGs (reference 6).
        read_deadline_s: without any frame, PONG included, the connection is dead.
        stale_s: a token silent for so long is compared with a query.
        age_max_s: a book neither heard of nor confirmed for so long is not shown.
        retry_s: between two queries for one token.
        backoff_s: first and largest bound of the wait before a reconnect.
        settled_s: a connection that lived so long was a good one: back-off starts anew.
        tokens_max: tokens on the socket (above some 500 snapshots go missing, reference 6.3);
            those beyond are kept by queries alone, every `stale_s`.
    """

    ping_s: float = 10.0
    read_deadline_s: float = 15.0
    stale_s: float = 10.0
    age_max_s: float = 30.0
    retry_s: float = 2.0
    backoff_s: tuple[float, float] = (0.25, 30.0)
    settled_s: float = 30.0
    tokens_max: int = 200


@dataclass(frozen=True, slots=True)
class Hearers:
    """Who is told. All are plain calls that must not block; they may only note and wake.

    Attributes:
        on_book: this token's book changed, or can no longer be shown.
        on_report: the exchange says something of an order or a trade of ours.
        on_gap: something may have been missed on this channel: read it again.
        on_market: this token's rules changed (tick, resolution): read them again.
        odd: a word of the exchange that we do not know; for an alert.
    """

    on_book: Callable[[str], None]
    on_report: Callable[[OrderReport | TradeReport], None]
    on_gap: Callable[[Channel], None]
    on_market: Callable[[str], None]
    odd: Callable[[str], None]


class Streams:
    """Both sockets of one account. `run` keeps them open until it is cancelled.

    Args:
        wire: where to connect.
        venue: for the queries that confirm or replace a book, and the credentials.
        clock: the time, aware and UTC.
        rng: jitter.
        hearers: who is told.
        settings: times and limits.
    """

    def __init__(
        self,
        wire: Wire,
        venue: Venue,
        clock: Callable[[], datetime],
        *,
        rng: Random,
        hearers: Hearers,
        settings: StreamSettings | None = None,
    ) -> None:
        self._wire = wire
        self._venue = venue
        self._clock = clock
        self._rng = rng
        self._hear = hearers
        self._settings = settings or StreamSettings()
        self._books: dict[str, LiveBook] = {}
        self._retry_at: dict[str, float] = {}
        self._again: set[str] = set()
        self._subscribe = asyncio.Event()
        self._look = asyncio.Event()
        self.up: set[Channel] = set()

    def watch(self, tokens: Iterable[str]) -> None:
        """From now on keep the books of exactly these tokens."""
        wanted = set(tokens)
        for token in self._books.keys() - wanted:
            del self._books[token]
            self._retry_at.pop(token, None)
        for token in sorted(wanted - self._books.keys()):
            self._books[token] = LiveBook(_now())
        self._subscribe.set()
        self._look.set()

    def book(self, token_id: str) -> Book | None:
        """The latest book of a watched token; None while there is none to be trusted."""
        live = self._books.get(token_id)
        if live is None or _now() - live.heard_s > self._settings.age_max_s:
            return None
        return live.show()

    async def run(self) -> None:
        """Keep both sockets and all books, until cancelled.

        Raises:
            VenueUnreachable: the venue was not started: there are no credentials.
        """
        self._venue.credentials  # noqa: B018 - fails here and not in a reconnect loop
        await _together(
            self._keep(Channel.MARKET, self._market),
            self._keep(Channel.USER, self._user),
            self._confirm(),
        )

    # ---- connections

    async def _keep(
        self, channel: Channel, session: Callable[[WireSocket], Awaitable[None]]
    ) -> None:
        failures = 0
        while True:
            if channel is Channel.MARKET:
                await self._something_to_watch()
            opened = _now()
            try:
                async with self._wire.connect(f"/ws/{channel}") as socket:
                    await session(socket)
            except (WireClosed, WireError, TimeoutError):
                self._lost(channel)
            failures = 0 if _now() - opened >= self._settings.settled_s else failures + 1
            first, largest = self._settings.backoff_s
            await asyncio.sleep(self._rng.uniform(0, min(first * 2 ** min(failures, 16), largest)))

    def _lost(self, channel: Channel) -> None:
        self.up.discard(channel)
        if channel is Channel.MARKET:
            for token, live in self._books.items():
                live.drop()
                self._hear.on_book(token)

    async def _something_to_watch(self) -> None:
        while not self._books:
            self._subscribe.clear()
            await self._subscribe.wait()

    async def _market(self, socket: WireSocket) -> None:
        tokens = self._on_socket()
        first = {"type": "market", "assets_ids": sorted(tokens), "initial_dump": True, "level": 2}
        await socket.send(_dump(first))
        self._opened(Channel.MARKET)
        await _together(
            self._ping(socket),
            self._follow(socket, tokens),
            self._receive(socket, Channel.MARKET, self._market_event),
        )

    async def _user(self, socket: WireSocket) -> None:
        creds = self._venue.credentials
        auth = {
            "apiKey": creds.api_key,
            "secret": creds.secret.get_secret_value(),
            "passphrase": creds.passphrase.get_secret_value(),
        }
        await socket.send(_dump({"type": "user", "auth": auth}))
        self._opened(Channel.USER)
        await _together(self._ping(socket), self._receive(socket, Channel.USER, self._user_event))

    def _opened(self, channel: Channel) -> None:
        self.up.add(channel)
        self._hear.on_gap(channel)

    async def _ping(self, socket: WireSocket) -> None:
        while True:
            await asyncio.sleep(self._settings.ping_s)
            await socket.send("PING")

    async def _receive(
        self, socket: WireSocket, channel: Channel, take: Callable[[Json], None]
    ) -> None:
        while True:
            async with asyncio.timeout(self._settings.read_deadline_s):
                text = await socket.receive()
            if text == "PONG":
                continue
            try:
                said: Any = parse(text)
                for event in said if isinstance(said, list) else [said]:
                    take(mapping(event))
            except Unreadable:
                self._gap(channel)

    async def _follow(self, socket: WireSocket, tokens: set[str]) -> None:
        """Change the subscription to what is watched, and ask again for what is suspect."""
        while True:
            await self._subscribe.wait()
            self._subscribe.clear()
            wanted, again = self._on_socket(), self._again & tokens
            self._again.clear()
            if gone := (tokens - wanted) | again:
                await socket.send(_dump({"operation": "unsubscribe", "assets_ids": sorted(gone)}))
            if new := (wanted - tokens) | (again & wanted):
                await socket.send(_dump({"operation": "subscribe", "assets_ids": sorted(new)}))
            tokens = wanted

    def _on_socket(self) -> set[str]:
        return set(list(self._books)[: self._settings.tokens_max])

    # ---- frames

    def _market_event(self, event: Json) -> None:
        """One event of the market channel; kinds that we do not use pass by (reference 6.1)."""
        match event.get("event_type"):
            case "book":
                token = str(event.get("asset_id"))
                if live := self._books.get(token):
                    live.replace(event, self._clock(), _now())
                    self._changed(token, live)
            case "price_change":
                entries = [mapping(entry) for entry in sequence(event.get("price_changes"))]
                for token, group in groupby(sorted(entries, key=_asset), key=_asset):
                    if live := self._books.get(token):
                        live.change(list(group), self._clock(), _now())
                        self._changed(token, live)
            case "tick_size_change":
                token = str(event.get("asset_id"))
                if live := self._books.get(token):
                    live.drop()
                    self._doubt(token)
                    self._hear.on_market(token)
            case "market_resolved":
                for token in sequence(event.get("assets_ids")):
                    if token in self._books:
                        self._hear.on_market(token)

    def _user_event(self, event: Json) -> None:
        match event.get("event_type"):
            case "order":
                self._hear.on_report(order_report(event, self._hear.odd))
            case "trade":
                legs = trade_reports(event, self._venue.signer.funder, self._hear.odd)
                for leg in legs:
                    self._hear.on_report(leg)

    def _changed(self, token: str, live: LiveBook) -> None:
        if live.suspect:
            self._doubt(token)
        else:
            self._hear.on_book(token)

    def _doubt(self, token: str) -> None:
        """Stop showing this book until a whole one comes, and ask for that."""
        self._books[token].suspect = True
        self._look.set()
        self._hear.on_book(token)

    def _gap(self, channel: Channel) -> None:
        if channel is Channel.MARKET:
            for token in self._books:
                self._doubt(token)
        self._hear.on_gap(channel)

    # ---- queries that confirm or replace

    async def _confirm(self) -> None:
        while True:
            due = {token: self._due_at(token) for token in self._books}
            now = _now()
            ready = [token for token, at in due.items() if at <= now]
            if ready:
                await asyncio.gather(*map(self._compare, ready))
                continue
            self._look.clear()
            try:
                async with asyncio.timeout(min(due.values()) - now if due else None):
                    await self._look.wait()
            except TimeoutError:
                continue

    def _due_at(self, token: str) -> float:
        live = self._books[token]
        wanted = live.heard_s if live.suspect else live.heard_s + self._settings.stale_s
        return max(wanted, self._retry_at.get(token, 0.0))

    async def _compare(self, token: str) -> None:
        """Read the book; if no frame came meanwhile it is the truth, else ask the socket anew."""
        live = self._books[token]
        version = live.version
        self._retry_at[token] = _now() + self._settings.retry_s
        try:
            book = await self._venue.book(token)
        except VenueUnreachable:
            return  # still stale, tried again after retry_s; not shown once too old
        if self._books.get(token) is not live:
            return
        if live.version == version:
            if not live.adopt(book, _now()):
                return
            self._hear.on_book(token)
        elif not live.suspect:
            return
        self._again.add(token)
        self._subscribe.set()


async def _together(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until one fails, then stop the others and raise what it raised.

    Not a TaskGroup: in Python 3.11 one that fails at the moment it is cancelled loses the
    cancellation, and the loop around it would go on for ever.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _asset(entry: Json) -> str:
    return str(entry.get("asset_id"))


def _dump(message: Json) -> str:
    return json.dumps(message, separators=(",", ":"))


def _now() -> float:
    return asyncio.get_running_loop().time()

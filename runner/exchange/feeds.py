"""Both WebSocket channels (reference 6), without sockets.

A `Session` is one connection: the driver hands it the client's text frames and sends what it
finds in `outgoing`. Frames are prepared while the engine works and delivered by `flush`, after
the database has committed what they tell; what networks and the exchange do to them on the way
(`faults`) happens there too.

Invariants:
    1. No frame tells anything that is not durable.
    2. A book frame comes before any price change of its asset on the same connection.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from heapq import heappop, heappush
from typing import Any, Literal

from runner.exchange.accounts import Accounts
from runner.exchange.agenda import instant
from runner.exchange.faults import Faults
from runner.exchange.listings import Listing, dump
from runner.exchange.markets import ONE, Side, decimal_text
from runner.exchange.records import ApiKey, Order, Trade
from runner.exchange.shapes import order_event, trade_event

Channel = Literal["/ws/market", "/ws/user"]

_BOOK_KEYS = (
    "asset_id",
    "market",
    "timestamp",
    "hash",
    "bids",
    "asks",
    "tick_size",
    "last_trade_price",
)

_OUTGOING_MAX = 10_000
"""Frames waiting on one connection before it is closed as too slow."""


class Session:
    """One client's connection to a channel.

    Args:
        feeds: The channels.
        path: Which one.

    `outgoing` holds the text frames to send, oldest first; `on_frame` (if set) is called whenever
    something was put there and when the exchange closed the session (`closed`). `markets` is None
    while no market was named: a user socket then hears of all of them. `overtaken` frames wait
    for the next one to go first.
    """

    def __init__(self, feeds: "Feeds", path: Channel) -> None:
        self.path = path
        self.outgoing: deque[str] = deque()
        self.on_frame: Callable[[], None] | None = None
        self.closed = False
        self.assets: set[str] = set()
        self.custom = False
        self.greeted = False
        self.key: ApiKey | None = None
        self.markets: set[str] | None = None
        self.overtaken: list[str] = []
        self._feeds = feeds

    def receive(self, text: str) -> None:
        """Takes a text frame of the client's."""
        self._feeds.receive(self, text)

    def close(self) -> None:
        """Ends the session, from either side."""
        if not self.closed:
            self.closed = True
            self._feeds.forget(self)
            self._wake()

    def push(self, text: str) -> None:
        """Puts a frame into `outgoing`; a client too slow to read is cut off."""
        if self.closed:
            return
        if len(self.outgoing) >= _OUTGOING_MAX:
            self.close()
            return
        self.outgoing.append(text)
        self._wake()

    def _wake(self) -> None:
        if self.on_frame is not None:
            self.on_frame()


class Feeds:
    """Everybody who listens, and the frames that wait for the next `flush`."""

    def __init__(
        self,
        listings: Mapping[str, Listing],
        tokens: Mapping[str, Listing],
        accounts: Accounts,
        faults: Faults,
    ) -> None:
        self._listings = listings
        self._tokens = tokens
        self._accounts = accounts
        self._faults = faults
        self._sessions: list[Session] = []
        self._waiting: list[tuple[Session, object]] = []
        self._books: dict[str, Listing] = {}
        self._tops: dict[str, tuple[int | None, int | None]] = {}
        self._late: list[tuple[int, int, Session, str]] = []
        self._delayed = 0

    def open(self, path: Channel) -> Session:
        """A new connection."""
        session = Session(self, path)
        self._sessions.append(session)
        return session

    def forget(self, session: Session) -> None:
        """Stops sending to a session."""
        self._sessions.remove(session)

    def receive(self, session: Session, text: str) -> None:
        """A frame of the client's: PING, the first message, or a change of subscription."""
        if text == "PING":
            session.push("PONG")
            return
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            session.push("INVALID OPERATION")
        elif session.path == "/ws/user":
            self._user_frame(session, message)
        else:
            self._market_frame(session, message)

    def order(self, order: Order, kind: str, now_ms: int, killed: str | None = None) -> None:
        """Tells an order's owner what became of it."""
        listeners = [s for s in self._users(order.condition_id) if _address(s) == order.signer]
        if listeners:
            market = self._listings[order.condition_id].market
            event = order_event(order, market, kind, now_ms, killed)
            self._waiting += [(session, event) for session in listeners]

    def trade(self, trade: Trade, now_ms: int) -> None:
        """Tells both sides of a trade where it is in its life."""
        market = self._listings[trade.condition_id].market
        for session in self._users(trade.condition_id):
            side = self.side_of(trade, _address(session))
            if side is not None:
                self._waiting.append((session, trade_event(trade, market, side, now_ms)))

    def side_of(self, trade: Trade, address: str) -> Literal["TAKER", "MAKER"] | None:
        """What the owner of an address's keys is in a trade; None if no party."""
        if self._accounts.address_of(trade.owner) == address:
            return "TAKER"
        makers = (self._accounts.address_of(maker.owner) for maker in trade.makers)
        return "MAKER" if address in makers else None

    def last_trade(
        self, listing: Listing, outcome: int, side: Side, price: int, size: int, now_ms: int
    ) -> None:
        """Publishes a trade, in the taker's terms, and the book after it."""
        token_id = listing.market.token_ids[outcome]
        event: dict[str, object] = {
            "event_type": "last_trade_price",
            "asset_id": token_id,
            "market": listing.market.condition_id,
            "price": decimal_text(price),
            "size": decimal_text(size),
            "side": side,
            "fee_rate_bps": "0",
            "timestamp": str(now_ms),
            "transaction_hash": "",
        }
        self._waiting += [(s, event) for s in self._listeners(token_id)]
        self._books[listing.market.condition_id] = listing

    def tick_change(self, listing: Listing, old: int, now_ms: int) -> None:
        """Publishes a market's new tick for both tokens."""
        for token_id in listing.market.token_ids:
            event: dict[str, object] = {
                "event_type": "tick_size_change",
                "asset_id": token_id,
                "market": listing.market.condition_id,
                "old_tick_size": decimal_text(old),
                "new_tick_size": decimal_text(listing.market.tick),
                "timestamp": str(now_ms),
            }
            self._waiting += [(s, event) for s in self._listeners(token_id)]

    def resolved(self, listing: Listing, winner: int | None, now_ms: int) -> None:
        """Publishes a market's outcome to those who asked for such frames.

        Without a winner (each outcome pays half) the frame names none; an assumption.
        """
        market = listing.market
        event: dict[str, object] = {
            "event_type": "market_resolved",
            "id": str(listing.number),
            "market": market.condition_id,
            "assets_ids": list(market.token_ids),
            "winning_asset_id": None if winner is None else market.token_ids[winner],
            "winning_outcome": None if winner is None else market.outcomes[winner],
            "timestamp": str(now_ms),
        }
        listeners = {id(s): s for t in market.token_ids for s in self._listeners(t) if s.custom}
        self._waiting += [(session, event) for session in listeners.values()]

    def new_market(self, listing: Listing, now_ms: int) -> None:
        """Publishes that a market has opened to those who asked for such frames."""
        market = listing.market
        event: dict[str, object] = {
            "event_type": "new_market",
            "id": str(listing.number),
            "question": market.question,
            "market": market.condition_id,
            "slug": market.slug,
            "description": market.description,
            "assets_ids": list(market.token_ids),
            "outcomes": list(market.outcomes),
            "event_message": {"id": str(listing.number), "slug": market.event_slug},
            "timestamp": str(now_ms),
            "tags": [],
            "condition_id": market.condition_id,
            "active": True,
            "clob_token_ids": list(market.token_ids),
            "order_price_min_tick_size": decimal_text(market.tick),
        }
        self._waiting += [(s, event) for s in self._sessions if s.custom]

    def next_due(self) -> datetime | None:
        """When the next frame that was delayed is due; None if none is."""
        return instant(self._late[0][0]) if self._late else None

    def act(self, engine: object) -> None:
        """Delivers the delayed frame that is due next: what it tells has long been durable."""
        del engine
        _, _, session, text = heappop(self._late)
        session.push(text)

    def flush(self, now_ms: int) -> None:
        """Delivers what waited, then the changes of every book that was touched."""
        for listing in self._listings.values():
            if listing.book.touched:
                self._book_changes(listing, now_ms)
        self._books.clear()
        waiting, self._waiting = self._waiting, []
        strike = self._faults.strike
        paths = sorted({session.path for session, _ in waiting})
        stalled = {path: strike("stall_sockets", path=path) is not None for path in paths}
        texts: dict[int, str] = {}
        for session, event in waiting:
            if not stalled[session.path]:
                if (text := texts.get(id(event))) is None:
                    text = texts[id(event)] = dump(event).decode()
                self._deliver(session, text, now_ms)

    def _deliver(self, session: Session, text: str, now_ms: int) -> None:
        """Sends a frame, or does with it what the faults want."""
        strike, path = self._faults.strike, session.path
        if strike("drop_frames", path=path):
            return
        if strike("malform_frames", path=path):
            text = text[: len(text) // 2]
        if fault := strike("delay_frames", path=path):
            self._delayed += 1
            due = now_ms + round(1000 * fault.seconds)
            heappush(self._late, (due, self._delayed, session, text))
            return
        if strike("reorder_frames", path=path):
            session.overtaken.append(text)
            return
        overtaken, session.overtaken = session.overtaken, []
        again = [text] if strike("repeat_frames", path=path) else []
        for frame in (text, *again, *overtaken):
            session.push(frame)

    def _book_changes(self, listing: Listing, now_ms: int) -> None:
        book = listing.book
        touched, book.touched = sorted(book.touched), set()
        listing.changed_at = now_ms
        condition_id, tokens = listing.market.condition_id, listing.market.token_ids
        before, top = self._tops.get(condition_id), (book.best(True), book.best(False))
        self._tops[condition_id] = top
        listeners = {id(s): s for token in tokens for s in self._listeners(token)}
        if not listeners:
            return
        changes = [
            self._price_change(listing, outcome, bid, price)
            for bid, price in touched
            for outcome in (0, 1)
        ]
        change: dict[str, object] = {
            "event_type": "price_change",
            "market": condition_id,
            "timestamp": str(now_ms),
            "price_changes": changes,
        }
        self._waiting += [(session, change) for session in listeners.values()]
        for outcome, token_id in enumerate(tokens):
            if condition_id in self._books:
                frame = book_frame(listing, outcome)
                self._waiting += [(session, frame) for session in self._listeners(token_id)]
            if before != top:
                self._best_change(listing, outcome, now_ms)

    def _price_change(
        self, listing: Listing, outcome: int, bid: bool, price: int
    ) -> dict[str, object]:
        best_bid, best_ask = listing.best(outcome, True), listing.best(outcome, False)
        return {
            "asset_id": listing.market.token_ids[outcome],
            "price": decimal_text(price if outcome == 0 else ONE - price),
            "size": decimal_text(listing.book.level_size(bid, price)),
            "side": "BUY" if bid == (outcome == 0) else "SELL",
            "hash": listing.summary(outcome)["hash"],
            "best_bid": decimal_text(best_bid or 0),
            "best_ask": decimal_text(ONE if best_ask is None else best_ask),
        }

    def _best_change(self, listing: Listing, outcome: int, now_ms: int) -> None:
        token_id = listing.market.token_ids[outcome]
        bid, best_ask = listing.best(outcome, True) or 0, listing.best(outcome, False)
        ask = ONE if best_ask is None else best_ask
        event: dict[str, object] = {
            "event_type": "best_bid_ask",
            "market": listing.market.condition_id,
            "asset_id": token_id,
            "best_bid": decimal_text(bid),
            "best_ask": decimal_text(ask),
            "spread": decimal_text(ask - bid),
            "timestamp": str(now_ms),
        }
        self._waiting += [(s, event) for s in self._listeners(token_id) if s.custom]

    def _market_frame(self, session: Session, message: dict[str, Any]) -> None:
        assets = message.get("assets_ids", [])
        operation = message.get("operation")
        first = message.get("type") == "market"
        changes = session.greeted and operation in ("subscribe", "unsubscribe")
        if not (first or changes) or not isinstance(assets, list):
            session.push("INVALID OPERATION")
            return
        session.greeted = True
        session.custom = bool(message.get("custom_feature_enabled", session.custom))
        known = [asset for asset in assets if isinstance(asset, str) and asset in self._tokens]
        if operation == "unsubscribe":
            session.assets.difference_update(known)
            return
        session.assets.update(known)
        if message.get("initial_dump", True):
            session.push(dump([self._book_of(asset) for asset in known]).decode())

    def _user_frame(self, session: Session, message: dict[str, Any]) -> None:
        if session.key is None:
            auth = message.get("auth")
            words = auth if isinstance(auth, dict) else {}
            texts = [str(words.get(name, "")) for name in ("apiKey", "secret", "passphrase")]
            session.key = self._accounts.subscriber(*texts)
            if message.get("type") != "user" or session.key is None:
                session.close()
                return
        given = message.get("markets")
        markets = {m for m in given if isinstance(m, str)} if isinstance(given, list) else set()
        if message.get("operation") == "unsubscribe":
            session.markets = None if session.markets is None else session.markets - markets
        elif markets:
            session.markets = (session.markets or set()) | markets

    def _book_of(self, token_id: str) -> dict[str, object]:
        listing = self._tokens[token_id]
        return book_frame(listing, listing.market.token_ids.index(token_id))

    def _listeners(self, token_id: str) -> list[Session]:
        return [session for session in self._sessions if token_id in session.assets]

    def _users(self, condition_id: str) -> list[Session]:
        return [
            session
            for session in self._sessions
            if session.key is not None
            and (session.markets is None or condition_id in session.markets)
        ]


def book_frame(listing: Listing, outcome: int) -> dict[str, object]:
    """A whole book as the market channel sends it: every value is text (reference 6.1).

    Its hash is that of `GET /book`, which has two more keys.
    """
    return {"event_type": "book", **{key: listing.summary(outcome)[key] for key in _BOOK_KEYS}}


def _address(session: Session) -> str:
    return session.key.address if session.key else ""

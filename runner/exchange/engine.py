"""The exchange over an injected clock: no sockets, no threads, no ambient time.

Invariants:
    1. Cash and tokens of an account never go below zero, and are conserved (see `desk`, which
       reserves, and `settlement`, which moves them).
    2. Things happen in the order they are due, whoever calls and however late.
    3. Nothing is answered or published before `commit`.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from runner.exchange.accounts import Accounts
from runner.exchange.agenda import Agenda, instant
from runner.exchange.crowd import Crowd
from runner.exchange.faults import Faults
from runner.exchange.feeds import Feeds
from runner.exchange.gate import Gate
from runner.exchange.listings import Listing
from runner.exchange.markets import MarketConfig, MarketState
from runner.exchange.matching import Book
from runner.exchange.records import Account, ApiKey, Refused, WalletType
from runner.exchange.settlement import CHAIN_DELAYS, Clearing, Delays, draw
from runner.exchange.state import ForeignState, State
from runner.exchange.treasury import Treasury

_HEARTBEAT_LIFE_MS = 10_000
_SWEEP_MS = 5_000
_LOW, _HIGH = 40_000, 960_000
"""A price of the first outcome beyond these is at the extremes (reference 3.4)."""


class Traders(Protocol):
    """Other people: something that trades on its own as time goes by."""

    def next_due(self) -> datetime | None:
        """When `act` wants to be called next; None for never again."""

    def act(self, engine: "Engine") -> None:
        """Does everything that is due by `engine.now()`, and moves `next_due` on."""


class Engine(Crowd):
    """Everything that may happen to markets, accounts, orders and trades, in due time.

    Orders are the desk's (`Desk`), what other people do is the crowd's (`Crowd`); here are time,
    accounts, markets and the taking up of what the database holds.

    Args:
        state_path: The exchange's database file; None for one in memory.
        clock: Tells the time, UTC.
        seed: All chance comes from it: ids, delays, keys, faults.
        markets: What is listed.
        delays: How long trades take to settle.

    Attributes:
        made_at: When the database was first used, UTC.
        is_new: Whether that is now.
        treasury: What wallets do on their own, and the makers' rebates.
        gate: What lets requests in: restarts, modes of trading, limits.

    Raises:
        StateLocked: Another process uses the database.
        ForeignState: It holds orders of a market that is not listed.
    """

    def __init__(
        self,
        state_path: Path | None,
        clock: Callable[[], datetime],
        seed: int,
        markets: Sequence[MarketConfig],
        delays: Delays = CHAIN_DELAYS,
    ) -> None:
        agenda = Agenda(clock)
        now_ms = agenda.now_ms()
        state = State(state_path, now_ms)
        accounts, faults = Accounts(seed), Faults(seed)
        listings = {
            market.condition_id: Listing(market, Book(market.tick), number, now_ms)
            for number, market in enumerate(markets, start=1)
        }
        tokens = {t: listing for listing in listings.values() for t in listing.market.token_ids}
        feeds = Feeds(listings, tokens, accounts, faults)
        clearing = Clearing(agenda, state, feeds, faults, accounts, listings, delays, seed)
        super().__init__(listings, accounts, clearing, feeds, state, agenda, seed)
        self.seed = seed
        self.tokens = tokens
        self.feeds = feeds
        self.faults = faults
        self.trades = clearing.trades
        self.house = clearing.house
        self.is_new = state.is_new
        self.made_at = instant(state.made_at)
        self.gate = Gate()
        self._traders: list[Traders] = [feeds]
        self.dropped_notices: set[int] = set()
        self._load()
        self.treasury = Treasury(self, self.trades, state, agenda)
        self.treasury.watch_days()

    def now(self) -> datetime:
        """The injected clock, UTC."""
        return self._agenda.now()

    def now_ms(self) -> int:
        """The injected clock in Unix milliseconds, rounded down."""
        return self._agenda.now_ms()

    def jump_clock(self, milliseconds: int) -> None:
        """Lets the exchange's clock jump against everybody else's; back if below zero."""
        self._agenda.jump(milliseconds)

    def at(self, due_ms: int, action: Callable[[], None]) -> None:
        """Has `action` done by `advance` at a time (Unix milliseconds)."""
        self._agenda.at(due_ms, action)

    def add_traders(self, traders: Traders) -> None:
        """Lets `traders` act from now on, whenever `advance` finds them due."""
        self._traders.append(traders)

    def next_due(self) -> datetime | None:
        """When `advance` has something to do next; None if nothing is to come."""
        return min((at for at, _ in self._dues()), default=None)

    def advance(self) -> None:
        """Does everything that is due by now, in the order it was due, and commits it."""
        self.catch_up()
        self.commit()

    def catch_up(self) -> None:
        """Does everything that is due by now, without committing it yet."""
        while dues := self._dues():
            due, traders = min(dues, key=lambda entry: entry[0])
            if due > self.now():
                return
            if traders is None:
                self._agenda.do_next()
            else:
                traders.act(self)

    def _dues(self) -> list[tuple[datetime, Traders | None]]:
        """What is due when: the agenda's next thing (None) first, then everybody else's."""
        entries = [(self._agenda.next_due(), None), *((t.next_due(), t) for t in self._traders)]
        return [(at, who) for at, who in entries if at is not None]

    def commit(self) -> None:
        """Makes everything durable, then publishes it."""
        self._refine_ticks()
        self._state.commit()
        self.feeds.flush(self.now_ms())

    def close(self) -> None:
        """Closes the database: what is worth keeping has been committed."""
        self._state.close()

    def fund(
        self,
        address: str,
        cash: int,
        tokens: Mapping[str, int],
        signer: str | None = None,
        wallet_type: WalletType | None = None,
    ) -> Account:
        """Adds cash and tokens to an account, opening it if need be (see `Accounts.fund`).

        Raises:
            Refused: 400 for an unknown token, a bad address or a negative amount.
        """
        unknown = [token for token in tokens if token not in self.tokens]
        if unknown:
            raise Refused(400, f"unknown token {unknown[0]}")
        account = self.accounts.fund(address, cash, tokens, signer, wallet_type)
        self._state.note(account)
        return account

    def note_key(self, key: ApiKey) -> None:
        """Notes that an API key was made or has changed."""
        self._state.note(key)

    def drop_notices(self, notice_ids: Iterable[int]) -> None:
        """Has notices of an account told no more."""
        for notice_id in notice_ids:
            self.dropped_notices.add(notice_id)
            self._state.note_dropped(notice_id)

    def heartbeat(self, key: ApiKey, given: str) -> str | None:
        """A beat of a key's dead man's switch (reference 5.6).

        Returns:
            The id to send next, or None if `given` is not the one expected.
        """
        if given != key.heartbeat_id:
            return None
        now_ms = self.now_ms()
        name = draw(self.seed, f"beat/{key.key}/{now_ms}/{given}")
        key.heartbeat_id = str(uuid.UUID(name[:32], version=4))
        key.heartbeat_at = now_ms
        self._state.note(key)
        self._watch_heartbeat(key)
        return key.heartbeat_id

    def set_tick(self, condition_id: str, tick: int) -> None:
        """Changes a market's tick; resting orders stay where they are.

        Raises:
            ValueError: No such tick.
        """
        listing = self.listings[condition_id]
        old = listing.market.tick
        listing.set_tick(tick)
        self._state.note_market(listing.row())
        self.feeds.tick_change(listing, old, self.now_ms())

    def set_state(self, condition_id: str, state: MarketState, winner: int | None = None) -> None:
        """Opens, pauses, closes or resolves a market; the last two end its open orders.

        Args:
            condition_id: The market.
            state: Paused takes no new orders, and what rests stays (the API shows that it isn't
                accepting orders); closed and resolved end every order.
            winner: Index of the outcome that a resolved market pays a dollar; None: both half.

        Raises:
            ValueError: A winner of a market that isn't resolved, a resolved market that changes,
                a neg-risk market that nobody wins, or a second winner of its event.
        """
        listing = self.listings[condition_id]
        if winner is not None and state != "resolved":
            raise ValueError("only a resolved market has a winner")
        if listing.state == "resolved":
            raise ValueError("a resolved market stays as it is")
        if state == "resolved" and listing.market.neg_risk:
            self._check_event(listing, winner)
        listing.state, listing.winner = state, winner
        self._state.note_market(listing.row())
        if state == "closed":
            self.end_market(condition_id, "CANCELED")
        elif state == "resolved":
            self.end_market(condition_id, "CANCELED_MARKET_RESOLVED")
            self.feeds.resolved(listing, winner, self.now_ms())

    def _check_event(self, listing: Listing, winner: int | None) -> None:
        """At most one market of a neg-risk event comes to Yes, and none to halves (reference 9)."""
        if winner is None:
            raise ValueError("a neg-risk market has a winner")
        for other in self.listings.values():
            siblings = (
                other.market.neg_risk and other.market.event_slug == listing.market.event_slug
            )
            if winner == 0 and siblings and other.winner == 0:
                raise ValueError(f"{other.market.slug} has won this event")

    def _refine_ticks(self) -> None:
        """Gives markets at the extremes their finer tick (reference 3.4); it stays then."""
        for listing in self.listings.values():
            fine = listing.market.fine_tick
            if not listing.book.touched or fine is None or fine >= listing.market.tick:
                continue
            price = listing.midpoint(0) or listing.last_price
            if price is not None and not _LOW <= price <= _HIGH:
                self.set_tick(listing.market.condition_id, fine)

    def _watch_heartbeat(self, key: ApiKey) -> None:
        """The sweep that finds the switch due: every 5 s, 10 s after the last beat."""
        beat = key.heartbeat_at

        def sweep() -> None:
            if key.heartbeat_at == beat and key.heartbeat_id:
                key.heartbeat_id, key.heartbeat_at = "", 0
                self._state.note(key)
                self.sweep(key.key)

        late = beat + _HEARTBEAT_LIFE_MS
        self.at(-(-late // _SWEEP_MS) * _SWEEP_MS, sweep)

    def _load(self) -> None:
        """Takes up where the database ends."""
        self.accounts.load(self._state.accounts(), self._state.keys())
        self.dropped_notices |= self._state.dropped_notices()
        for row in self._state.markets():
            if (listing := self.listings.get(row[0])) is not None:
                listing.restore(row)
        for order in self._state.orders():
            if order.condition_id not in self.listings:
                raise ForeignState(f"the database has orders of {order.condition_id}, not listed")
            self.restore(order)
        for trade in self._state.trades():
            self.restore_trade(trade)
        for key in self.accounts.all_keys():
            if key.heartbeat_id:
                self._watch_heartbeat(key)

"""The exchange's rules over an injected clock: no sockets, no threads, no ambient time.

`Engine` holds markets, accounts, orders and trades. Requests come in through `submit`, `cancel`
and `fund`; other people through the `house_…` calls and the recorded book; time through `advance`.

Invariants:
    1. Price-time priority over one merged book a market (see `matching`).
    2. No account promises more than it has: cash and tokens never go below zero.
    3. Cash moves only between parties: dollars and pairs of tokens are conserved (`settlement`).
    4. An order id is indexed once it has passed every check up to its funds, and never again:
       a killed FAK or FOK is indexed, a refusal for the balance or by post-only is not.
    5. Nothing is answered or published before `commit`.
"""

import hashlib
import heapq
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Protocol

from eth_utils.address import to_checksum_address

from runner.exchange.accounts import Accounts, Funds, cash_funds, token_funds
from runner.exchange.faults import Faults
from runner.exchange.feeds import Feeds
from runner.exchange.listings import Listing
from runner.exchange.markets import ONE, MarketConfig, MarketState, Side, TimeInForce, decimal_text
from runner.exchange.matching import Book, Fill, Want
from runner.exchange.records import (
    Account,
    ApiKey,
    MakerFill,
    Order,
    OrderStatus,
    Refused,
    Trade,
    dollars,
)
from runner.exchange.settlement import CHAIN_DELAYS, Delays, course, settle
from runner.exchange.state import MarketRow, State

NOT_FOUND = "order can't be found - already canceled or matched"
"""The one reason the real exchange gives for not cancelling (reference 4)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOT = 10_000
_HEARTBEAT_LIFE_MS = 10_000
_SWEEP_MS = 5_000
_FOK_KILLED = "order couldn't be fully filled. FOK orders are fully filled or killed."
_FAK_KILLED = (
    "no orders found to match with FAK order. "
    "FAK orders are partially filled or killed if no match is found."
)


class Traders(Protocol):
    """Other people: something that trades on its own as time goes by."""

    def next_due(self) -> datetime | None:
        """When `act` wants to be called next; None for never again."""

    def act(self, engine: "Engine") -> None:
        """Does everything that is due by `engine.now()`, and moves `next_due` on."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What came of an accepted order: its id, whether it rests, and what it gave and got."""

    order_id: str
    rests: bool
    gave: int
    got: int
    trade_ids: tuple[str, ...]


class Engine:
    """Markets, books, accounts, orders and trades, and everything that may happen to them.

    Args:
        state_path: The exchange's database file; None for one in memory.
        clock: Tells the time, UTC.
        seed: All chance comes from it: ids, delays, keys, faults.
        markets: What is listed.
        delays: How long trades take to settle.

    Raises:
        ValueError: The database holds orders of a market that is not listed.
    """

    def __init__(
        self,
        state_path: Path | None,
        clock: Callable[[], datetime],
        seed: int,
        markets: Sequence[MarketConfig],
        delays: Delays = CHAIN_DELAYS,
    ) -> None:
        self.seed = seed
        self._delays = delays
        self.faults = Faults(seed)
        self.accounts = Accounts(seed)
        self.orders: dict[str, Order] = {}
        self.trades: dict[str, Trade] = {}
        self.down_until = 0
        self.post_only_until = 0
        self._clock = clock
        now_ms = self.now_ms()
        self._state = State(state_path, now_ms)
        self.is_new = self._state.is_new
        self.made_at = _EPOCH + timedelta(milliseconds=self._state.made_at)
        self.listings = {
            market.condition_id: Listing(market, Book(market.tick), number, now_ms)
            for number, market in enumerate(markets, start=1)
        }
        self.tokens = {
            token: listing
            for listing in self.listings.values()
            for token in listing.market.token_ids
        }
        self.feeds = Feeds(self.listings, self.tokens, self.accounts, self.faults)
        address = to_checksum_address("0x" + self._draw("house")[:40])
        self.house = Account(address, address)
        self._house_owner = str(uuid.UUID(self._draw("house owner")[:32]))
        self._house_orders: dict[str, Order] = {}
        self._house_count = 0
        self._open: dict[str, dict[str, Order]] = {}
        self._unsettled: dict[str, Trade] = {}
        self._traders: list[Traders] = []
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._agenda_count = 0
        self._load()

    # -- time ------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The injected clock, UTC."""
        return self._clock()

    def now_ms(self) -> int:
        """The injected clock in Unix milliseconds, exactly."""
        return (self._clock() - _EPOCH) // timedelta(milliseconds=1)

    def add_traders(self, traders: Traders) -> None:
        """Lets `traders` act from now on, whenever `advance` finds them due."""
        self._traders.append(traders)

    def next_due(self) -> datetime | None:
        """When `advance` has something to do next; None if nothing is to come."""
        due = [at for at in (traders.next_due() for traders in self._traders) if at is not None]
        if self._agenda:
            due.append(_EPOCH + timedelta(milliseconds=self._agenda[0][0]))
        return min(due, default=None)

    def advance(self) -> None:
        """Does everything that is due by now, in the order it was due, and commits it."""
        self.catch_up()
        self.commit()

    def catch_up(self) -> None:
        """Does everything that is due by now, without committing it yet."""
        while (due := self.next_due()) is not None and due <= self.now():
            if self._agenda and due == _EPOCH + timedelta(milliseconds=self._agenda[0][0]):
                heapq.heappop(self._agenda)[2]()
                continue
            for traders in self._traders:
                if traders.next_due() == due:
                    traders.act(self)

    def commit(self) -> None:
        """Makes everything durable, then publishes it."""
        self._state.commit()
        self.feeds.flush(self.now_ms())

    def at(self, due_ms: int, action: Callable[[], None]) -> None:
        """Has `action` done by `advance` at a time (Unix milliseconds)."""
        self._agenda_count += 1
        heapq.heappush(self._agenda, (due_ms, self._agenda_count, action))

    def close(self) -> None:
        """Commits and closes the database."""
        self._state.commit()
        self._state.close()

    # -- accounts --------------------------------------------------------------------------------

    def fund(
        self, address: str, cash: int, tokens: Mapping[str, int], signer: str | None = None
    ) -> Account:
        """Adds cash and tokens to an account, opening it if need be (see `Accounts.fund`).

        Raises:
            Refused: 400 for an unknown token, a bad address or a negative amount.
        """
        unknown = [token for token in tokens if token not in self.tokens]
        if unknown:
            raise Refused(400, f"unknown token {unknown[0]}")
        account = self.accounts.fund(address, cash, tokens, signer)
        self._state.note(account)
        return account

    def note_key(self, key: ApiKey) -> None:
        """Notes that an API key was made or has changed."""
        self._state.note(key)

    def open_orders(self, maker: str) -> Iterable[Order]:
        """The orders of an account that are in the book, oldest first."""
        return list(self._open.get(maker, {}).values())

    def cash(self, account: Account) -> Funds:
        """An account's cash, with what of it is promised."""
        orders = self._open.get(account.address, {}).values()
        return cash_funds(account, orders, self._unsettled.values())

    def holding(self, account: Account, token_id: str) -> Funds:
        """An account's shares of a token, with what of them is promised."""
        orders = self._open.get(account.address, {}).values()
        return token_funds(account, token_id, orders, self._unsettled.values())

    def heartbeat(self, key: ApiKey, given: str) -> str | None:
        """A beat of a key's dead man's switch (reference 5.6).

        Returns:
            The id to send next, or None if `given` is not the one expected.
        """
        if given != key.heartbeat_id:
            return None
        now_ms = self.now_ms()
        key.heartbeat_id = str(uuid.UUID(self._draw(f"beat/{key.key}/{now_ms}/{given}")[:32]))
        key.heartbeat_at = now_ms
        self._state.note(key)
        self._watch_heartbeat(key)
        return key.heartbeat_id

    # -- orders ----------------------------------------------------------------------------------

    def submit(self, order: Order) -> Placed:
        """Takes an order that is signed and well-formed: matches it, and rests what is left.

        A GTC or GTD buy that meets better prices stops at its shares, a FAK or FOK buy at its
        dollars (reference 3.7 leaves the first open).

        Raises:
            Refused: 400 with the text of reference 3.9.
        """
        listing = self.listings[order.condition_id]
        if order.order_id in self.orders:
            raise Refused(400, f"order {order.order_id} is invalid. Duplicated.")
        if not listing.accepting:
            raise Refused(400, "the market is not yet ready to process new orders")
        crosses = listing.book.crosses(order.bid, order.book_price)
        if order.post_only and crosses:
            raise Refused(400, "invalid post-only order: order crosses book")
        amount = _dollar_bound(order)
        if crosses and order.side == "BUY" and amount < ONE:
            shown = decimal_text(amount)
            raise Refused(
                400, f"invalid amount for a marketable BUY order (${shown}), min size: $1"
            )
        want = _want(order)
        fills = listing.book.plan(want)
        self._check_funds(order, listing, fills, crosses)
        self.orders[order.order_id] = order
        self._state.note(order)
        if order.time_in_force == "FOK" and not listing.book.satisfies(want, fills):
            raise self._kill(order, _FOK_KILLED)
        if order.time_in_force == "FAK" and not fills:
            raise self._kill(order, _FAK_KILLED)
        if order.time_in_force in {"GTC", "GTD"}:
            self.feeds.order(order, "PLACEMENT", self.now_ms())
        trades = self._match(order, listing, fills)
        self._rest(order, listing)
        paid = sum(dollars(t.price, t.size) for t in trades)
        got = sum(t.size for t in trades)
        gave, got = (paid, got) if order.side == "BUY" else (got, paid)
        rests = order.closed_at is None
        return Placed(order.order_id, rests, gave, got, tuple(t.trade_id for t in trades))

    def cancel(self, order_id: str, signer: str) -> bool:
        """Takes an order of a signer's off the book; False if there is none (any more)."""
        order = self.orders.get(order_id)
        if order is None or order.signer != signer or order.closed_at is not None:
            return False
        self._close(order, "CANCELED")
        return True

    def _check_funds(
        self, order: Order, listing: Listing, fills: Sequence[Fill], crosses: bool
    ) -> None:
        account = self.accounts.find(order.maker) or Account(order.maker, order.signer)
        if order.side == "SELL":
            self.holding(account, order.token_id).refuse_beyond(order.size)
            return
        market = listing.market
        stated = _dollar_bound(order)
        if crosses:
            stated += market.taker_fee(order.size, order.price)
        exact, left = 0, order.size
        for fill in fills:
            price = _own_price(order, fill.price)
            exact += dollars(price, fill.size) + market.taker_fee(fill.size, price)
            left -= fill.size
        if order.time_in_force in {"GTC", "GTD"}:
            exact += order.price * left // ONE
        self.cash(account).refuse_beyond(max(stated, exact))

    def _kill(self, order: Order, why: str) -> Refused:
        order.status, order.closed_at = "CANCELED", self.now_ms()
        self.feeds.order(order, "CANCELLATION", self.now_ms(), killed=why)
        return Refused(400, why)

    def _match(
        self, taker: Order, listing: Listing, fills: Sequence[Fill], *, announce: bool = True
    ) -> list[Trade]:
        trades = []
        for price, group in groupby(fills, key=lambda fill: fill.price):
            makers = tuple(self._fill_maker(taker.bid, listing, fill) for fill in group)
            size = sum(maker.size for maker in makers)
            own_price = _own_price(taker, price)
            taker.matched += size
            if announce:
                self._publish_last(listing, taker.outcome, taker.side, own_price, size)
            trade = self._trade(taker, listing, own_price, size, makers)
            if trade is not None:
                trades.append(trade)
        return trades

    def _rest(self, order: Order, listing: Listing) -> None:
        """Rests what is left of a matched order, or ends it."""
        rests = order.time_in_force in {"GTC", "GTD"} and order.leaves >= listing.book.quantum
        if not rests:
            self._close(order, "MATCHED")
            return
        listing.book.add(order.order_id, order.bid, order.book_price, order.leaves)
        if order.owner == self._house_owner:
            return
        if order.matched:
            self.feeds.order(order, "UPDATE", self.now_ms())
        self._open.setdefault(order.maker, {})[order.order_id] = order
        self._watch_expiry(order)

    def _close(self, order: Order, status: OrderStatus) -> None:
        """Ends an order, whatever of it is in the book."""
        self.listings[order.condition_id].book.remove(order.order_id)
        order.status, order.closed_at = status, self.now_ms()
        if order.owner == self._house_owner:
            self._house_orders.pop(order.order_id, None)
            return
        self._open.get(order.maker, {}).pop(order.order_id, None)
        self._state.note(order)
        kind = "UPDATE" if status == "MATCHED" else "CANCELLATION"
        self.feeds.order(order, kind, order.closed_at)

    def _watch_expiry(self, order: Order) -> None:
        if order.expires_at is not None:
            self.at(order.expires_at, lambda: self._expire(order))

    def _expire(self, order: Order) -> None:
        if order.closed_at is None:
            self._close(order, "CANCELED")

    def _watch_heartbeat(self, key: ApiKey) -> None:
        """The sweep that finds the switch due: every 5 s, 10 s after the last beat."""
        late = key.heartbeat_at + _HEARTBEAT_LIFE_MS
        beat = key.heartbeat_at

        def sweep() -> None:
            if key.heartbeat_at != beat or not key.heartbeat_id:
                return
            key.heartbeat_id, key.heartbeat_at = "", 0
            self._state.note(key)
            for orders in list(self._open.values()):
                for order in list(orders.values()):
                    if order.owner == key.key:
                        self._close(order, "CANCELED")

        self.at(-(-late // _SWEEP_MS) * _SWEEP_MS, sweep)

    # -- trades ----------------------------------------------------------------------------------

    def _fill_maker(self, taker_bid: bool, listing: Listing, fill: Fill) -> MakerFill:
        """Carries out one fill on the maker's side."""
        place = listing.book.take(taker_bid, fill)
        if fill.order_id is None or place is None:
            self._house_count += 1
            name = self._draw(f"displayed/{self._house_count}/{self.now_ms()}")
            side: Side = "SELL" if taker_bid else "BUY"
            return self._maker_fill(
                f"0x{name}", self._house_owner, self.house.address, listing, 0, side, fill
            )
        order = self.orders.get(fill.order_id) or self._house_orders[fill.order_id]
        order.matched += fill.size
        if listing.book.resting(order.order_id) is None:
            self._close(order, "MATCHED")
        elif order.owner != self._house_owner:
            self._state.note(order)
            self.feeds.order(order, "UPDATE", self.now_ms())
        return self._maker_fill(
            order.order_id, order.owner, order.maker, listing, order.outcome, order.side, fill
        )

    def _maker_fill(
        self,
        order_id: str,
        owner: str,
        address: str,
        listing: Listing,
        outcome: int,
        side: Side,
        fill: Fill,
    ) -> MakerFill:
        price = fill.price if outcome == 0 else ONE - fill.price
        token_id = listing.market.token_ids[outcome]
        return MakerFill(order_id, owner, address, outcome, token_id, side, price, fill.size)

    def _trade(
        self,
        taker: Order,
        listing: Listing,
        price: int,
        size: int,
        makers: tuple[MakerFill, ...],
    ) -> Trade | None:
        """Books a trade and sets its course; None if only the house is in it."""
        house_taker = taker.owner == self._house_owner
        if house_taker and all(maker.owner == self._house_owner for maker in makers):
            return None
        now_ms = self.now_ms()
        name = self._draw(f"trade/{len(self.trades)}")
        fails = self.faults.strike("fail_trade") is not None
        retries = not fails and self.faults.strike("retry_trade") is not None
        trade = Trade(
            trade_id=str(uuid.UUID(name[:32], version=4)),
            condition_id=listing.market.condition_id,
            taker_order_id=taker.order_id,
            owner=taker.owner,
            address=taker.maker,
            outcome=taker.outcome,
            token_id=taker.token_id,
            side=taker.side,
            price=price,
            size=size,
            fee=0 if house_taker else listing.market.taker_fee(size, price),
            makers=makers,
            matched_at=now_ms,
            updated_at=now_ms,
            course=course(now_ms, self._delays, Random(name), retries=retries, fails=fails),  # noqa: S311  (repeatable)
        )
        self.trades[trade.trade_id] = self._unsettled[trade.trade_id] = trade
        self._state.note(trade)
        for order_id in (taker.order_id, *(maker.order_id for maker in makers)):
            if (order := self.orders.get(order_id)) is not None:
                order.trades.append(trade.trade_id)
        self.feeds.trade(trade, now_ms)
        self._watch_trade(trade)
        return trade

    def _watch_trade(self, trade: Trade) -> None:
        if trade.course:
            self.at(trade.course[0][0], lambda: self._step_trade(trade))

    def _step_trade(self, trade: Trade) -> None:
        """The next step of a trade's life; MINED is the one that moves cash and tokens."""
        _, status = trade.course.pop(0)
        trade.status, trade.updated_at = status, self.now_ms()
        if status == "MINED":
            trade.tx_hash = "0x" + self._draw(f"tx/{trade.trade_id}")
            for account in settle(trade, self._wallet):
                if account is not self.house:
                    self._state.note(account)
        if not trade.unsettled:
            self._unsettled.pop(trade.trade_id, None)
        self._state.note(trade)
        self.feeds.trade(trade, trade.updated_at)
        self._watch_trade(trade)

    def _wallet(self, address: str) -> Account:
        if address == self.house.address:
            return self.house
        account = self.accounts.find(address)
        if account is None:
            raise LookupError(f"a trade of {address}, which has no account")
        return account

    def _publish_last(
        self, listing: Listing, outcome: int, side: Side, price: int, size: int
    ) -> None:
        first_side: Side = side if outcome == 0 else ("SELL" if side == "BUY" else "BUY")
        first_price = price if outcome == 0 else ONE - price
        now_ms = self.now_ms()
        listing.last_price, listing.last_side = first_price, first_side
        listing.history.append((now_ms // 1000, first_price))
        self._note_listing(listing)
        self.feeds.last_trade(listing, outcome, side, price, size, now_ms)

    # -- other people ----------------------------------------------------------------------------

    def house_order(
        self,
        condition_id: str,
        outcome: int,
        side: Side,
        price: int,
        size: int,
        time_in_force: TimeInForce = "GTC",
    ) -> str | None:
        """An order of an anonymous trader with unlimited funds.

        It matches by price and time like any other, is visible in the book, and its trades with
        accounts are ordinary trades. It isn't recorded: a restart of the process forgets it.

        Args:
            condition_id: The market.
            outcome: 0 or 1, the index of the token traded.
            side: BUY or SELL of that token.
            price: Millionths of a dollar, of that token; a multiple of the tick.
            size: Millionths of a share.
            time_in_force: GTC rests with what is left; FAK drops it; FOK is all or nothing.

        Returns:
            The id of the order if (part of) it rests, else None.

        Raises:
            KeyError: No such market.
            ValueError: A price off the tick or out of range, or a size of no whole lot (0.01).
        """
        listing = self.listings[condition_id]
        tick = listing.market.tick
        if price % tick or not tick <= price <= ONE - tick or size <= 0 or size % _LOT:
            raise ValueError(f"no such order: {size} at {price}, tick {tick}")
        if not listing.accepting:
            return None
        self._house_count += 1
        order = Order(
            order_id="0x" + self._draw(f"order/{self._house_count}/{self.now_ms()}"),
            owner=self._house_owner,
            maker=self.house.address,
            signer=self.house.address,
            condition_id=condition_id,
            outcome=outcome,
            token_id=listing.market.token_ids[outcome],
            side=side,
            price=price,
            size=size,
            dollars=None,
            time_in_force=time_in_force,
            expiration=0,
            post_only=False,
            received_at=self.now_ms(),
        )
        want = _want(order)
        fills = listing.book.plan(want)
        if time_in_force == "FOK" and not listing.book.satisfies(want, fills):
            return None
        self._house_orders[order.order_id] = order
        self._match(order, listing, fills)
        self._rest(order, listing)
        return order.order_id if order.closed_at is None else None

    def house_cancel(self, order_id: str) -> bool:
        """Takes a house order off the book; False if it isn't there any more (filled)."""
        order = self._house_orders.get(order_id)
        if order is None:
            return False
        self._close(order, "CANCELED")
        return True

    def set_displayed(self, condition_id: str, side: Side, price: int, size: int) -> None:
        """Sets the anonymous size of one level of a recorded book. It never fills anything.

        In terms of the first outcome: BUY is a bid for the first token. Size 0 removes the level.
        Giving the size that was given last changes nothing, so that what takers consumed since
        stays consumed; call it for every level of every recorded frame. A smaller size reduces
        what is `ahead` of account orders to at most the displayed size.
        """
        self.listings[condition_id].book.set_displayed(side == "BUY", price, size)

    def displayed(self, condition_id: str) -> dict[tuple[Side, int], int]:
        """The sizes last given to `set_displayed`, by side and price (without the zeros)."""
        recorded = self.listings[condition_id].book.recorded()
        return {("BUY" if bid else "SELL", price): size for (bid, price), size in recorded.items()}

    def recorded_print(self, condition_id: str, side: Side, price: int, size: int) -> None:
        """A recorded trade: an anonymous taker of `side` traded `size` at `price`.

        In terms of the first outcome. Account orders at prices better for the taker fill first,
        then, once what is `ahead` of them has traded, those at its price; never more than `size`
        in all. Displayed sizes stay as they are (the recording's next frame tells them).
        Publishes the last trade price.
        """
        listing = self.listings[condition_id]
        bid = side == "BUY"
        fills, passed = listing.book.plan_print(bid, price, size)
        self._house_count += 1
        taker = Order(
            order_id="0x" + self._draw(f"print/{self._house_count}/{self.now_ms()}"),
            owner=self._house_owner,
            maker=self.house.address,
            signer=self.house.address,
            condition_id=condition_id,
            outcome=0,
            token_id=listing.market.token_ids[0],
            side=side,
            price=price,
            size=size,
            dollars=None,
            time_in_force="FAK",
            expiration=0,
            post_only=False,
            received_at=self.now_ms(),
        )
        self._match(taker, listing, fills, announce=False)
        listing.book.print_passed(bid, price, passed)
        self._publish_last(listing, 0, side, price, size)

    # -- markets ---------------------------------------------------------------------------------

    def set_tick(self, condition_id: str, tick: int) -> None:
        """Changes a market's tick; resting orders stay where they are.

        Raises:
            ValueError: No such tick.
        """
        listing = self.listings[condition_id]
        old = listing.market.tick
        listing.market = listing.market.with_tick(tick)
        listing.book.new_tick(tick)
        self._note_listing(listing)
        self.feeds.tick_change(listing, old, self.now_ms())

    def set_state(self, condition_id: str, state: MarketState, winner: int | None = None) -> None:
        """Opens, pauses, closes or resolves a market; the last two end its open orders.

        Raises:
            ValueError: Resolved without a winner.
        """
        if (state == "resolved") != (winner is not None):
            raise ValueError("a resolved market, and only that, has a winner")
        listing = self.listings[condition_id]
        listing.state, listing.winner = state, winner
        self._note_listing(listing)
        if state not in {"closed", "resolved"}:
            return
        ended: OrderStatus = "CANCELED_MARKET_RESOLVED" if state == "resolved" else "CANCELED"
        everyone = [order for orders in self._open.values() for order in orders.values()]
        for order in [*everyone, *self._house_orders.values()]:
            if order.condition_id == condition_id:
                self._close(order, ended)
        if winner is not None:
            self.feeds.resolved(listing, winner, self.now_ms())

    def _note_listing(self, listing: Listing) -> None:
        market = listing.market
        last = (listing.last_price, listing.last_side)
        row = (market.condition_id, market.tick, listing.state, listing.winner, *last)
        self._state.note_market(row)

    def _load(self) -> None:
        """Takes up where the database ends: books, agenda, everything."""
        self.accounts.load(self._state.accounts(), self._state.keys())
        for row in self._state.markets():
            self._load_market(row)
        for order in self._state.orders():
            if order.condition_id not in self.listings:
                raise ValueError(f"the database has orders of {order.condition_id}, not listed")
            self.orders[order.order_id] = order
        for trade in self._state.trades():
            self.trades[trade.trade_id] = trade
            for order_id in (trade.taker_order_id, *(maker.order_id for maker in trade.makers)):
                if order_id in self.orders:
                    self.orders[order_id].trades.append(trade.trade_id)
            if trade.unsettled:
                self._unsettled[trade.trade_id] = trade
            self._watch_trade(trade)
        for order in self.orders.values():
            if order.closed_at is None:
                book = self.listings[order.condition_id].book
                book.add(order.order_id, order.bid, order.book_price, order.leaves, restored=True)
                self._open.setdefault(order.maker, {})[order.order_id] = order
                self._watch_expiry(order)
        for key in self.accounts.all_keys():
            if key.heartbeat_id:
                self._watch_heartbeat(key)

    def _load_market(self, row: MarketRow) -> None:
        condition_id, tick, state, winner, last_price, last_side = row
        listing = self.listings.get(condition_id)
        if listing is not None:
            listing.market = listing.market.with_tick(tick)
            listing.book.new_tick(tick)
            listing.state, listing.winner = state, winner
            listing.last_price, listing.last_side = last_price, last_side

    def _draw(self, name: str) -> str:
        """64 hex digits that look random, from the seed and a name."""
        return hashlib.sha256(f"{self.seed}/{name}".encode()).hexdigest()


def _want(order: Order) -> Want:
    size = None if order.dollars is not None else order.size
    return Want(order.bid, order.book_price, size, order.dollars, mirrored=order.outcome == 1)


def _own_price(order: Order, book_price: int) -> int:
    return book_price if order.outcome == 0 else ONE - book_price


def _dollar_bound(order: Order) -> int:
    """Dollars an order may move at its limit."""
    return order.dollars if order.dollars is not None else dollars(order.price, order.size)

"""The desk: what happens to an order, from its first check to its end, and who it trades with.

Accounts' orders come in through `submit` and `cancel`; other people through `Crowd`. Where a
market delays takers, an order that would meet the book at once is held first (reference 3.8): it
counts against its account's funds, is in no book, and can't be cancelled.

Invariants:
    1. Price-time priority over one merged book a market (see `matching`).
    2. No account promises more than it has.
    3. An order id is indexed once it has passed every check up to its funds, and never again:
       a killed FAK or FOK is indexed, a refusal for the balance or by post-only is not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from runner.exchange.accounts import Accounts
from runner.exchange.agenda import Agenda
from runner.exchange.credit import Funds, Views, cash_funds, spenders, token_funds
from runner.exchange.feeds import Feeds
from runner.exchange.listings import Listing
from runner.exchange.markets import ONE, Side, TimeInForce, decimal_text
from runner.exchange.matching import Fill, Want
from runner.exchange.records import (
    Account,
    Held,
    MakerFill,
    Order,
    OrderStatus,
    Placed,
    Refused,
    Trade,
    dollars,
)
from runner.exchange.settlement import Clearing, draw
from runner.exchange.state import State

_NOT_READY = "the market is not yet ready to process new orders"
_FOK_KILLED = "order couldn't be fully filled. FOK orders are fully filled or killed."
_FAK_KILLED = (
    "no orders found to match with FAK order. "
    "FAK orders are partially filled or killed if no match is found."
)


class Desk:
    """Orders of accounts and of other people, and the books they meet in.

    Args:
        listings: The markets.
        accounts: The wallets.
        clearing: Books what matched.
        feeds: Tells what happens.
        state: Keeps it.
        agenda: Tells the time, and what is due.
        seed: Ids of other people's orders come from it.
    """

    def __init__(
        self,
        listings: Mapping[str, Listing],
        accounts: Accounts,
        clearing: Clearing,
        feeds: Feeds,
        state: State,
        agenda: Agenda,
        seed: int,
    ) -> None:
        self.listings = listings
        self.accounts = accounts
        self.orders: dict[str, Order] = {}
        self.views = Views()
        self._clearing = clearing
        clearing.on_return = self._give_back
        self._feeds = feeds
        self._state = state
        self._agenda = agenda
        self._seed = seed
        self._house_orders: dict[str, Order] = {}
        self._house_count = 0
        self._open: dict[str, dict[str, Order]] = {}
        self._held: dict[str, Order] = {}

    def restore(self, order: Order) -> None:
        """Takes an order over from the database, into the book if it is open."""
        self.orders[order.order_id] = order
        if order.status == "DELAYED":
            market = self.listings[order.condition_id].market
            self._hold(order, order.received_at + market.hold_ms)
        elif order.closed_at is None:
            book = self.listings[order.condition_id].book
            book.add(order.order_id, order.bid, order.book_price, order.leaves, restored=True)
            self._open.setdefault(order.maker, {})[order.order_id] = order
            self._watch_expiry(order)

    def restore_trade(self, trade: Trade) -> None:
        """Takes a trade over from the database, on its course; its orders first."""
        self._note_trade(trade)
        self._clearing.take_up(trade)

    def sweep(self, owner: str) -> None:
        """Cancels every open order that came with an API key (reference 5.6)."""
        self._close_all(self._all_open(), lambda order: order.owner == owner, "CANCELED")

    def end_market(self, condition_id: str, status: OrderStatus) -> None:
        """Ends every order of a market, also those held and other people's."""
        everyone = [*self._all_open(), *self._held.values(), *self._house_orders.values()]
        self._close_all(everyone, lambda order: order.condition_id == condition_id, status)

    def open_orders(self, maker: str) -> Iterable[Order]:
        """The orders of an account that are in the book, oldest first."""
        return list(self._open.get(maker, {}).values())

    def cash(self, account: Account) -> Funds:
        """An account's cash, with what of it is promised."""
        return cash_funds(account, self._promises(account), self._clearing.unsettled.values())

    def holding(self, account: Account, token_id: str) -> Funds:
        """An account's shares of a token, with what of them is promised."""
        unsettled = self._clearing.unsettled.values()
        return token_funds(account, token_id, self._promises(account), unsettled)

    def submit(self, order: Order, *, stale_balance: bool = False) -> Placed | Held:
        """Takes an order that is signed and well-formed: matches it, and rests what is left.

        Where the market delays takers, an order that crosses is held instead.

        A GTC or GTD buy that meets better prices stops at its shares, a FAK or FOK buy at its
        dollars (reference 3.7 leaves the first open).

        Args:
            order: What was posted.
            stale_balance: Whether funds are judged by the balance as it was last looked at.

        Raises:
            Refused: 400 with the text of reference 3.9.
        """
        listing = self.listings[order.condition_id]
        if order.order_id in self.orders:
            raise Refused(400, f"order {order.order_id} is invalid. Duplicated.")
        if not listing.accepting:
            raise Refused(400, _NOT_READY)
        crosses = listing.book.crosses(order.bid, order.book_price)
        if order.post_only and crosses:
            raise Refused(400, "invalid post-only order: order crosses book")
        amount = _dollar_bound(order)
        if crosses and order.side == "BUY" and amount < ONE:
            shown = decimal_text(amount)
            raise Refused(
                400, f"invalid amount for a marketable BUY order (${shown}), min size: $1"
            )
        fills = listing.book.plan(wanted(order))
        self._check_funds(order, listing, fills, crosses, stale_balance)
        self.orders[order.order_id] = order
        self._state.note(order)
        if crosses and listing.market.hold_ms:
            order.status = "DELAYED"
            return self._hold(order, self._agenda.now_ms() + listing.market.hold_ms)
        return self._meet(order, listing, fills)

    def _hold(self, order: Order, due_ms: int) -> Held:
        self._held[order.order_id] = order
        held = Held(order.order_id, due_ms)
        self._agenda.at(due_ms, lambda: self._release(order, held))
        return held

    def _release(self, order: Order, held: Held) -> None:
        """Lets a held order meet the book, whatever that looks like by now."""
        try:
            held.outcome = self._meet_late(order)
        except Refused as refused:
            held.outcome = refused
            if order.closed_at is None:
                self._close(order, "CANCELED")
        self._state.note(order)

    def _meet_late(self, order: Order) -> Placed:
        listing = self.listings[order.condition_id]
        if self._held.pop(order.order_id, None) is None or not listing.accepting:
            raise Refused(400, _NOT_READY)
        order.status = "LIVE"
        crosses = listing.book.crosses(order.bid, order.book_price)
        fills = listing.book.plan(wanted(order))
        self._check_funds(order, listing, fills, crosses, stale=False)
        return self._meet(order, listing, fills)

    def _meet(self, order: Order, listing: Listing, fills: list[Fill]) -> Placed:
        """Carries out the fills of an order that was taken, and rests or ends what is left."""
        if order.time_in_force == "FOK" and not listing.book.satisfies(wanted(order), fills):
            raise self._kill(order, _FOK_KILLED)
        if order.time_in_force == "FAK" and not fills:
            raise self._kill(order, _FAK_KILLED)
        if order.time_in_force in {"GTC", "GTD"}:
            self._feeds.order(order, "PLACEMENT", self._agenda.now_ms())
        trades = self._match(order, listing, fills)
        self._rest(order, listing)
        paid = sum(dollars(t.price, t.size) for t in trades)
        got = sum(t.size for t in trades)
        gave, got = (paid, got) if order.side == "BUY" else (got, paid)
        rests = order.closed_at is None
        return Placed(order.order_id, rests, gave, got, tuple(t.trade_id for t in trades))

    def cancel(self, order_id: str, signer: str) -> bool:
        """Takes an order of a signer's off the book; False if there is none (any more, or yet)."""
        order = self.orders.get(order_id)
        if order is None or order.signer != signer or order.status != "LIVE":
            return False
        self._close(order, "CANCELED")
        return True

    def invalidate(self, order_id: str) -> None:
        """The exchange ends an order of its own accord; nothing if it is not open any more."""
        order = self.orders[order_id]
        if order.closed_at is None:
            self._close(order, "INVALID")

    def _give_back(self, trade: Trade) -> None:
        """Shows a failed trade's size as matched no longer; it isn't listed again (reference 7)."""
        makers = ((maker.order_id, maker.size) for maker in trade.makers)
        for order_id, size in ((trade.taker_order_id, trade.size), *makers):
            if (order := self.orders.get(order_id)) is not None:
                order.returned += size
                self._state.note(order)
                self._feeds.order(order, "UPDATE", self._agenda.now_ms())

    def _check_funds(
        self, order: Order, listing: Listing, fills: Sequence[Fill], crosses: bool, stale: bool
    ) -> None:
        account = self.accounts.find(order.maker) or Account(order.maker, order.signer)
        market = listing.market
        if order.side == "SELL":
            approved = {s: account.allowance("CONDITIONAL", s) for s in spenders(market)}
            seen = self.views.balance(account, order.token_id, stale=stale)
            funds = replace(self.holding(account, order.token_id), balance=seen)
            funds.refuse_beyond(order.size, approved)
            return
        stated = _dollar_bound(order)
        if crosses:
            stated += market.taker_fee(order.size, order.price)
        exact, left = 0, order.size
        for book_price, group in groupby(fills, key=lambda fill: fill.price):
            price, size = _own_price(order, book_price), sum(fill.size for fill in group)
            exact += dollars(price, size) + market.taker_fee(size, price)
            left -= size
        if order.time_in_force in {"GTC", "GTD"}:
            exact += order.price * left // ONE
        approved = {s: account.allowance("COLLATERAL", s) for s in spenders(market)}
        seen = self.views.balance(account, "", stale=stale)
        replace(self.cash(account), balance=seen).refuse_beyond(max(stated, exact), approved)

    def _kill(self, order: Order, why: str) -> Refused:
        order.status, order.closed_at = "CANCELED", self._agenda.now_ms()
        self._feeds.order(order, "CANCELLATION", self._agenda.now_ms(), killed=why)
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
            trade = self._clearing.book(taker, listing, own_price, makers)
            if trade is not None:
                trades.append(trade)
                self._note_trade(trade)
        return trades

    def _note_trade(self, trade: Trade) -> None:
        for order_id in (trade.taker_order_id, *(maker.order_id for maker in trade.makers)):
            if (order := self.orders.get(order_id)) is not None:
                order.trades.append(trade.trade_id)

    def _rest(self, order: Order, listing: Listing) -> None:
        """Rests what is left of a matched order, or ends it."""
        rests = order.time_in_force in {"GTC", "GTD"} and order.leaves >= listing.book.quantum
        if not rests:
            self._close(order, "MATCHED")
            return
        listing.book.add(order.order_id, order.bid, order.book_price, order.leaves)
        if order.owner == self._clearing.house_owner:
            return
        if order.matched:
            self._feeds.order(order, "UPDATE", self._agenda.now_ms())
        self._open.setdefault(order.maker, {})[order.order_id] = order
        self._watch_expiry(order)

    def _close(self, order: Order, status: OrderStatus) -> None:
        """Ends an order, whatever of it is in the book."""
        self.listings[order.condition_id].book.remove(order.order_id)
        order.status, order.closed_at = status, self._agenda.now_ms()
        if order.owner == self._clearing.house_owner:
            self._house_orders.pop(order.order_id, None)
            return
        self._open.get(order.maker, {}).pop(order.order_id, None)
        self._held.pop(order.order_id, None)
        self._state.note(order)
        kind = "UPDATE" if status == "MATCHED" else "CANCELLATION"
        self._feeds.order(order, kind, order.closed_at)

    def _all_open(self) -> list[Order]:
        return [order for orders in self._open.values() for order in orders.values()]

    def _promises(self, account: Account) -> list[Order]:
        """The orders that an account's funds must be good for."""
        held = [order for order in self._held.values() if order.maker == account.address]
        return [*self._open.get(account.address, {}).values(), *held]

    def _close_all(
        self, orders: Iterable[Order], which: Callable[[Order], bool], status: OrderStatus
    ) -> None:
        for order in orders:
            if which(order):
                self._close(order, status)

    def _watch_expiry(self, order: Order) -> None:
        if order.expires_at is not None:
            self._agenda.at(order.expires_at, lambda: self._expire(order))

    def _expire(self, order: Order) -> None:
        if order.closed_at is None:
            self._close(order, "CANCELED")

    def _fill_maker(self, taker_bid: bool, listing: Listing, fill: Fill) -> MakerFill:
        """Carries out one fill on the maker's side; displayed liquidity is an order for itself."""
        place = listing.book.take(taker_bid, fill)
        if place is None:
            side: Side = "SELL" if taker_bid else "BUY"
            order = self._house(listing, 0, side, fill.price, fill.size, "GTC")
        else:
            order = self.orders.get(place.order_id) or self._house_orders[place.order_id]
        order.matched += fill.size
        if listing.book.resting(order.order_id) is None:
            self._close(order, "MATCHED")
        elif order.owner != self._clearing.house_owner:
            self._state.note(order)
            self._feeds.order(order, "UPDATE", self._agenda.now_ms())
        return MakerFill(
            order_id=order.order_id,
            owner=order.owner,
            address=order.maker,
            outcome=order.outcome,
            token_id=order.token_id,
            side=order.side,
            price=_own_price(order, fill.price),
            size=fill.size,
        )

    def _publish_last(
        self, listing: Listing, outcome: int, side: Side, price: int, size: int
    ) -> None:
        first_side: Side = side if outcome == 0 else ("SELL" if side == "BUY" else "BUY")
        first_price = price if outcome == 0 else ONE - price
        now_ms = self._agenda.now_ms()
        listing.last_price, listing.last_side = first_price, first_side
        listing.history.append((now_ms // 1000, first_price))
        self._state.note_market(listing.row())
        self._feeds.last_trade(listing, outcome, side, price, size, now_ms)

    def _house(
        self,
        listing: Listing,
        outcome: int,
        side: Side,
        price: int,
        size: int,
        time_in_force: TimeInForce,
    ) -> Order:
        self._house_count += 1
        now_ms, address = self._agenda.now_ms(), self._clearing.house.address
        return Order(
            order_id="0x" + draw(self._seed, f"order/{self._house_count}/{now_ms}"),
            owner=self._clearing.house_owner,
            maker=address,
            signer=address,
            condition_id=listing.market.condition_id,
            outcome=outcome,
            token_id=listing.market.token_ids[outcome],
            side=side,
            price=price,
            size=size,
            dollars=None,
            time_in_force=time_in_force,
            expiration=0,
            post_only=False,
            received_at=now_ms,
        )


def wanted(order: Order) -> Want:
    """What an order asks of the book."""
    size = None if order.dollars is not None else order.size
    return Want(order.bid, order.book_price, size, order.dollars, mirrored=order.outcome == 1)


def _own_price(order: Order, book_price: int) -> int:
    return book_price if order.outcome == 0 else ONE - book_price


def _dollar_bound(order: Order) -> int:
    """Dollars an order may move at its limit."""
    return order.dollars if order.dollars is not None else dollars(order.price, order.size)

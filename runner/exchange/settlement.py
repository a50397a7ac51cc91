"""Clearing: the books of trades, and the life of a trade after the match (reference 7).

MATCHED is the engine's word; a few seconds later the transaction is MINED, which moves cash and
tokens, and CONFIRMED. It may be RETRYING in between, or FAILED: then nothing moves, and what an
order matched is not listed again.
"""

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from runner.exchange.accounts import Accounts
from runner.exchange.agenda import Agenda
from runner.exchange.credit import spenders
from runner.exchange.faults import Faults
from runner.exchange.feeds import Feeds
from runner.exchange.listings import Listing
from runner.exchange.markets import MarketConfig, Side
from runner.exchange.records import (
    UNLIMITED,
    Account,
    Approval,
    MakerFill,
    Order,
    Trade,
    TradeStatus,
    dollars,
)
from runner.exchange.signatures import checksummed
from runner.exchange.state import State


@dataclass(frozen=True, slots=True)
class Delays:
    """Shortest and longest time from match to mined, and from mined to confirmed; milliseconds."""

    mined_ms: tuple[int, int]
    confirmed_ms: tuple[int, int]


CHAIN_DELAYS = Delays(mined_ms=(1_500, 4_000), confirmed_ms=(2_000, 6_000))
"""Those of a chain with blocks of some two seconds."""


def course(
    matched_at: int,
    delays: Delays,
    chance: Random,
    *,
    retries: bool = False,
    fails: bool = False,
) -> list[tuple[int, TradeStatus]]:
    """What will happen to a trade, and when (Unix milliseconds).

    Args:
        matched_at: Unix milliseconds.
        delays: How long each step takes; a retry or a failure as long as being mined.
        chance: Where the delays are drawn from.
        retries: Whether the first transaction doesn't go through.
        fails: Whether no transaction ever does.
    """
    steps: list[TradeStatus] = ["RETRYING"] if retries else []
    steps += ["FAILED"] if fails else ["MINED", "CONFIRMED"]
    at = matched_at
    result = []
    for status in steps:
        at += chance.randint(*(delays.confirmed_ms if status == "CONFIRMED" else delays.mined_ms))
        result.append((at, status))
    return result


def draw(seed: int, name: str) -> str:
    """64 hex digits that look random, from the seed and a name."""
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


def _fee(market: MarketConfig, side: Side, size: int, price: int) -> int:
    """The taker's fee; that of a sale comes out of what it brings, so it is never more."""
    fee = market.taker_fee(size, price)
    return fee if side == "BUY" else min(fee, dollars(price, size))


class Clearing:
    """Every trade that an account is in, and what is still to become of it.

    Args:
        agenda: Where the steps to come are noted.
        state: Where trades and wallets are kept.
        feeds: Where each step is told.
        faults: What may befall a trade (`fail_trade`, `retry_trade`).
        accounts: The wallets.
        listings: The markets.
        delays: How long the steps take.
        seed: Ids and delays come from it.

    `on_return` is told of failed trades whose size returns to their orders.

    `house` is the wallet of everybody else: its funds are unlimited, so its balances may be below
    zero. They close the books: cash and tokens of all wallets and the house are conserved.
    """

    def __init__(
        self,
        agenda: Agenda,
        state: State,
        feeds: Feeds,
        faults: Faults,
        accounts: Accounts,
        listings: Mapping[str, Listing],
        delays: Delays,
        seed: int,
    ) -> None:
        self.on_return: Callable[[Trade], None] = lambda _: None
        self.trades: dict[str, Trade] = {}
        self.unsettled: dict[str, Trade] = {}
        address = checksummed("0x" + draw(seed, "house")[:40])
        self.house = Account(address, address)
        self.house_owner = str(uuid.UUID(draw(seed, "house owner")[:32], version=4))
        self._agenda = agenda
        self._state = state
        self._feeds = feeds
        self._faults = faults
        self._accounts = accounts
        self._listings = listings
        self._delays = delays
        self._seed = seed

    def book(
        self, taker: Order, listing: Listing, price: int, makers: tuple[MakerFill, ...]
    ) -> Trade | None:
        """Books what matched at one price, and sets its course.

        Args:
            taker: The taker's order.
            listing: The market.
            price: The taker's price, of its own token.
            makers: The makers' parts.

        Returns:
            The trade, or None if only the house is in it: such a trade concerns nobody.
        """
        house_taker = taker.owner == self.house_owner
        if house_taker and all(maker.owner == self.house_owner for maker in makers):
            return None
        now_ms = self._agenda.now_ms()
        size = sum(maker.size for maker in makers)
        name = draw(self._seed, f"trade/{len(self.trades)}")
        failure = self._faults.strike("fail_trade")
        fails = failure is not None
        retries = not fails and self._faults.strike("retry_trade") is not None
        chance = Random(name)  # noqa: S311  (delays must be repeatable, not secret)
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
            fee=_fee(listing.market, taker.side, size, price),
            makers=makers,
            matched_at=now_ms,
            updated_at=now_ms,
            course=course(now_ms, self._delays, chance, retries=retries, fails=fails),
            returns=failure is not None and failure.size_returns,
        )
        self._state.note(trade)
        self._feeds.trade(trade, now_ms)
        self.take_up(trade)
        return trade

    def take_up(self, trade: Trade) -> None:
        """Follows a trade, new or from the database, on its course."""
        self.trades[trade.trade_id] = trade
        if trade.unsettled:
            self.unsettled[trade.trade_id] = trade
        self._watch(trade)

    def _watch(self, trade: Trade) -> None:
        if trade.course:
            self._agenda.at(trade.course[0][0], lambda: self._step(trade))

    def _step(self, trade: Trade) -> None:
        """The next step of a trade's life; MINED is the one that moves cash and tokens."""
        _, trade.status = trade.course.pop(0)
        trade.updated_at = self._agenda.now_ms()
        if trade.status == "MINED":
            trade.tx_hash = "0x" + draw(self._seed, f"tx/{trade.trade_id}")
            self._settle(trade)
        if not trade.unsettled:
            self.unsettled.pop(trade.trade_id, None)
        self._state.note(trade)
        self._feeds.trade(trade, trade.updated_at)
        if trade.status == "FAILED" and trade.returns:
            self.on_return(trade)
        self._watch(trade)

    def _settle(self, trade: Trade) -> None:
        """Moves cash and tokens of every leg, and uses up what allowance is limited.

        Buyers' dollars pay sellers; where buyers of both outcomes meet, their dollars are locked
        for a new pair of tokens, and where sellers meet, a pair is given back for its dollar.
        """
        spender = spenders(self._listings[trade.condition_id].market)[0]
        for leg in trade.legs():
            account = self._wallet(leg.address)
            approval: Approval = ("COLLATERAL", spender)
            if account.allowances.get(approval, UNLIMITED) != UNLIMITED:
                account.allowances[approval] = max(0, account.allowances[approval] - leg.gives_cash)
            sign = 1 if leg.side == "BUY" else -1
            account.cash -= sign * leg.dollars + leg.fee
            account.tokens[leg.token_id] = account.tokens.get(leg.token_id, 0) + sign * leg.size
            if account is not self.house:
                self._state.note(account)

    def _wallet(self, address: str) -> Account:
        if address == self.house.address:
            return self.house
        account = self._accounts.find(address)
        if account is None:
            raise LookupError(f"a trade of {address}, which has no account")
        return account

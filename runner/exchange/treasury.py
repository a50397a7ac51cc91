"""What happens to wallets outside trading: pairs made and given back, winners paid, makers rebated.

The first three stand for transactions of the wallet's own on chain (reference 9); the exchange
does none of them by itself. Amounts are millionths of a dollar or of a share.

Invariants:
    1. A pair is worth a dollar: splitting and merging move exactly that, and redeeming pays what
       the market's payouts say, rounded down a base unit.
    2. What is promised to open orders or to trades that haven't settled stays.
    3. A day's rebates are booked once, and never more than the makers' share of its fees.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction

from runner.exchange.agenda import Agenda
from runner.exchange.desk import Desk
from runner.exchange.listings import Listing
from runner.exchange.markets import ONE
from runner.exchange.records import Account, Rebate, Refused, Trade
from runner.exchange.state import State

_DAY_MS = 86_400_000
_LEAST_REBATE = ONE
"""Rebates of a day below a dollar aren't paid (reference 7); an assumption: they lapse."""


def rebates(trades: Iterable[Trade], rates: Mapping[str, int]) -> dict[str, int]:
    """What each maker gets of the fees of some trades, before the least amount.

    A maker's part is that of the trade's fee that its fill has of the trade; the fractions are
    added up exactly, and the sum is rounded down.

    Args:
        trades: Those that count.
        rates: The makers' share of the fees by condition id, in millionths.
    """
    parts: defaultdict[str, Fraction] = defaultdict(Fraction)
    for trade in trades:
        for maker in trade.makers:
            fee = Fraction(trade.fee * maker.size, trade.size)
            parts[maker.address] += fee * Fraction(rates[trade.condition_id], ONE)
    return {address: int(part) for address, part in parts.items()}


class Treasury:
    """Wallets' own transactions, and the daily rebates.

    Args:
        desk: What accounts have and have promised.
        trades: Every trade.
        state: Where wallets and rebates are kept.
        agenda: Tells the time, and when a day is over.
    """

    def __init__(
        self, desk: Desk, trades: Mapping[str, Trade], state: State, agenda: Agenda
    ) -> None:
        self.rebates: list[Rebate] = list(state.rebates())
        self._desk = desk
        self._trades = trades
        self._state = state
        self._agenda = agenda

    def split(self, account: Account, listing: Listing, size: int) -> None:
        """Makes pairs of both tokens for a dollar each.

        Raises:
            Refused: 400, if that isn't free.
        """
        self._need(self._desk.cash(account).free, size)
        account.cash -= size
        for token_id in listing.market.token_ids:
            account.tokens[token_id] = account.tokens.get(token_id, 0) + size
        self._state.note(account)

    def merge(self, account: Account, listing: Listing, size: int) -> None:
        """Gives pairs of both tokens back for a dollar each.

        Raises:
            Refused: 400, if they aren't free.
        """
        tokens = listing.market.token_ids
        self._need(min(self._desk.holding(account, token).free for token in tokens), size)
        for token_id in tokens:
            account.tokens[token_id] -= size
        account.cash += size
        self._state.note(account)

    def redeem(self, account: Account, listing: Listing) -> int:
        """Pays out every token of a resolved market that isn't in a trade still to settle.

        Returns:
            The dollars paid, millionths.

        Raises:
            Refused: 400, if the market isn't resolved.
        """
        if listing.state != "resolved":
            raise Refused(400, "the market is not resolved")
        paid = 0
        for outcome, token_id in enumerate(listing.market.token_ids):
            size = self._desk.holding(account, token_id).free
            if size > 0:
                account.tokens[token_id] -= size
                paid += size * listing.payout(outcome) // ONE
        account.cash += paid
        self._state.note(account)
        return paid

    def watch_days(self) -> None:
        """Books what days that are over still owe, and notes to do so at each midnight, UTC.

        Without a market that rebates there is nothing to watch.
        """
        if not any(x.market.rebate_rate for x in self._desk.listings.values()):
            return
        today = self._agenda.now_ms() // _DAY_MS
        done = {rebate.day for rebate in self.rebates}
        for day in sorted(set(self._by_day()) - done):
            if day < today:
                self._book(day)
        self._agenda.at((today + 1) * _DAY_MS, self.watch_days)

    def _by_day(self) -> Mapping[int, list[Trade]]:
        """Trades by the day they were confirmed: those are final, and so are their days."""
        days: defaultdict[int, list[Trade]] = defaultdict(list)
        for trade in self._trades.values():
            if trade.status == "CONFIRMED":
                days[trade.updated_at // _DAY_MS].append(trade)
        return days

    def _book(self, day: int) -> None:
        rates = {c: x.market.rebate_rate for c, x in self._desk.listings.items()}
        for address, amount in rebates(self._by_day()[day], rates).items():
            account = self._desk.accounts.find(address)
            if account is None or amount < _LEAST_REBATE:
                continue
            account.cash += amount
            rebate = Rebate(day, address, amount)
            self.rebates.append(rebate)
            self._state.note(account)
            self._state.note(rebate)

    def _need(self, free: int, size: int) -> None:
        if size <= 0 or free < size:
            raise Refused(400, "not that much is free")

"""What an account may still promise: balances less what orders and trades hold, and allowances.

All amounts are base units: millionths of a dollar or of a share.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runner.exchange.markets import MarketConfig
from runner.exchange.records import Account, Order, Refused, Trade
from runner.exchange.signatures import NEG_RISK_ADAPTER, market_contract

_SHORT_OF = "not enough balance / allowance: the {what} is not enough -> "


@dataclass(frozen=True, slots=True)
class Funds:
    """What an account has of one asset, and what of it is promised."""

    balance: int
    active: int
    matched: int

    @property
    def free(self) -> int:
        """What may still be promised."""
        return self.balance - self.active - self.matched

    def refuse_beyond(self, amount: int, allowances: Mapping[str, int]) -> None:
        """Refuses an order that needs more than is free, or than a spender may move.

        Args:
            amount: What the order needs, fees included.
            allowances: What each contract that takes part may move. An assumption: what open
                orders and unsettled trades hold counts against it as it does for the balance.

        Raises:
            Refused: 400 with the sums (reference 3.9).
        """
        sums = ""
        if self.active:
            sums += f", sum of active orders: {self.active}"
        if self.matched:
            sums += f", sum of matched orders: {self.matched}"
        sums += f", order amount (inc. fees): {amount}"
        if self.free < amount:
            what = _SHORT_OF.format(what="balance")
            raise Refused(400, f"{what}balance: {self.balance}{sums}")
        for spender, allowance in allowances.items():
            if allowance - self.active - self.matched < amount:
                what = _SHORT_OF.format(what="allowance")
                raise Refused(400, f"{what}spender: {spender}, allowance: {allowance}{sums}")


class Views:
    """The exchange's cached view of balances (reference 5.5).

    It is refreshed by whoever looks, so it is only behind where a fault (`stale_balance`) keeps
    somebody from refreshing it. What was never looked at is seen as nothing.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}

    def refresh(self, account: Account, token_id: str) -> None:
        """Looks at an account's balance of a token; of cash if `token_id` is empty."""
        held = account.tokens.get(token_id, 0) if token_id else account.cash
        self._seen[account.address, token_id] = held

    def balance(self, account: Account, token_id: str, *, stale: bool) -> int:
        """The balance as it is seen: as it is now, or if `stale` as it was last looked at."""
        if not stale:
            self.refresh(account, token_id)
        return self._seen.get((account.address, token_id), 0)


def spenders(market: MarketConfig) -> tuple[str, ...]:
    """The contracts that must be allowed to move funds for an order (reference 3.2).

    The exchange itself is first; it is the one that uses the allowance up.
    """
    contract = market_contract(market.neg_risk, market.version)
    adapted = market.neg_risk and market.version == "v1"
    return (contract, NEG_RISK_ADAPTER) if adapted else (contract,)


def cash_funds(account: Account, orders: Iterable[Order], unsettled: Iterable[Trade]) -> Funds:
    """The account's cash, and what its open buys and unsettled trades have promised of it."""
    active = sum(order.cost_left for order in orders if order.side == "BUY")
    legs = (leg for trade in unsettled for leg in trade.legs() if leg.address == account.address)
    return Funds(account.cash, active, sum(leg.gives_cash for leg in legs))


def token_funds(
    account: Account, token_id: str, orders: Iterable[Order], unsettled: Iterable[Trade]
) -> Funds:
    """The account's shares of a token, and what its open sells and unsettled trades promise."""
    sells = (order for order in orders if order.side == "SELL" and order.token_id == token_id)
    matched = sum(
        leg.gives_tokens
        for trade in unsettled
        for leg in trade.legs()
        if leg.address == account.address and leg.token_id == token_id
    )
    return Funds(account.tokens.get(token_id, 0), sum(o.leaves for o in sells), matched)

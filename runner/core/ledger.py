"""Trades of our own orders -> positions, profit and loss.

Entry points: `book` (one execution after those before it), `fold` (all of a token's executions),
`equity`.

1. The order of a fold is (matched_at, trade_id, order_id), whatever order the trades came in.
2. A failed trade contributes nothing: no transfer took place. It is reversed by folding anew.
3. Shares count from the match on; `settled` counts confirmed trades only.
4. Cost is kept as a total in millionths of a dollar. A trade costs price x size, rounded half-even
   to a millionth; a part that is closed takes its share of the cost, rounded half-even, and the
   rest stays: cost added is always cost taken out plus cost left. A position that is closed whole
   takes all of it.
5. Fees stand apart from cost and from what is realised.
6. Shares sold that we did not buy (the account held them before) leave a negative position, whose
   cost is minus what they brought; buying them back realises the difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runner.core.model import Position, Side, TradeState
from runner.core.money import ZERO, exact, ratio_to_nearest_micro, to_nearest_micro

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from decimal import Decimal

    from runner.core.model import Liquidity


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of one order of ours, as it is booked. `fee` in dollars."""

    trade_id: str
    order_id: str
    token_id: str
    side: Side
    price: Decimal
    size: Decimal
    fee: Decimal
    state: TradeState
    liquidity: Liquidity
    matched_at: datetime

    @property
    def rank(self) -> tuple[datetime, str, str]:
        """Where it stands among the executions of its token."""
        return (self.matched_at, self.trade_id, self.order_id)


def book(position: Position, execution: Execution) -> tuple[Position, Decimal | None]:
    """`position` with `execution` booked after all before it, and what it realised.

    None is realised by an execution that closes nothing. The token must be the same.
    """
    if execution.state is TradeState.FAILED:
        return position, None
    with exact():
        # In a position's own sign: what a sell brings in is negative cost.
        signed = execution.size if execution.side is Side.BUY else -execution.size
        closing = _closing(position.shares, signed)
        money = to_nearest_micro(signed * execution.price)
        closing_money = _share(money, closing, signed)
        released = _share(position.cost, closing, position.shares)
        realized = None if closing == ZERO else released - closing_money
        confirmed = execution.state is TradeState.CONFIRMED
        booked = replace(
            position,
            shares=position.shares + signed,
            settled=position.settled + (signed if confirmed else ZERO),
            cost=position.cost + released + (money - closing_money),
            realized=position.realized + (realized or ZERO),
            fees=position.fees + execution.fee,
        )
        return booked, realized


def _closing(shares: Decimal, signed: Decimal) -> Decimal:
    """The part of a signed trade that closes a position: opposite in sign, or zero."""
    if shares > ZERO > signed:
        return max(signed, -shares)
    if shares < ZERO < signed:
        return min(signed, -shares)
    return ZERO


def _share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """`amount` x `part` / `whole`; no part of anything, nothing included, is zero."""
    return ZERO if part == ZERO else ratio_to_nearest_micro(amount, part, whole)


def fold(
    token_id: str, executions: Iterable[Execution]
) -> tuple[Position, dict[tuple[str, str], Decimal]]:
    """A token's position from all its executions, and what each closing one realised.

    The keys are (trade id, order id). Executions of other tokens are no part of it.
    """
    position, realized = Position(token_id), {}
    ours = (e for e in executions if e.token_id == token_id)
    for execution in sorted(ours, key=lambda e: e.rank):
        position, gain = book(position, execution)
        if gain is not None:
            realized[execution.trade_id, execution.order_id] = gain
    return position, realized


def equity(positions: Mapping[str, Position], marks: Mapping[str, Decimal]) -> Decimal | None:
    """Profit and loss since the beginning: realised, less fees, plus open at the marks.

    None when a token that is held has no mark: then nothing can be said.
    """
    total = ZERO
    with exact():
        for token, position in positions.items():
            total += position.realized - position.fees
            if position.shares != ZERO:
                mark = marks.get(token)
                if mark is None:
                    return None
                total += position.shares * mark - position.cost
    return total

"""What comes back from the world, as values. The loop takes them in at the start of a pass."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from runner.core.model import MarketInfo, OrderReport, TradeReport
    from runner.core.plan import MarketRef
    from runner.venue.ports import CancelAnswer, Outcome


@dataclass(frozen=True, slots=True)
class PostDone:
    """A POST came to its outcome. `repeat`: it sent bytes that had been sent before."""

    order_id: str
    outcome: Outcome
    repeat: bool


@dataclass(frozen=True, slots=True)
class CancelDone:
    """A cancel came to its answer, or to none."""

    order_ids: tuple[str, ...]
    answer: CancelAnswer | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Reported:
    """The exchange said something of an order or a trade, unasked."""

    report: OrderReport | TradeReport


@dataclass(frozen=True, slots=True)
class AccountRead:
    """One complete look at the account: every live order, every trade since, and who is missing.

    `looked_up` holds the answer for each of our working orders that the list of live orders does
    not have; None is the exchange's null, which proves nothing.
    """

    started_at: datetime
    open_orders: tuple[OrderReport, ...]
    trades: tuple[TradeReport, ...]
    looked_up: Mapping[str, OrderReport | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """A look at the account failed. It says nothing about any order."""

    error: str


@dataclass(frozen=True, slots=True)
class MarketSeen:
    """What the exchange says of a market a job named."""

    ref: MarketRef
    info: MarketInfo


@dataclass(frozen=True, slots=True)
class MarketMissing:
    """A market a job named could not be read, or does not exist (`permanent`)."""

    ref: MarketRef
    error: str
    permanent: bool


Item = PostDone | CancelDone | Reported | AccountRead | ReadFailed | MarketSeen | MarketMissing


def facts(item: Item) -> Iterable[Item]:
    """An item as single facts, so that one that contradicts does not take others with it."""
    if not isinstance(item, AccountRead):
        return (item,)
    trades = tuple(Reported(report) for report in item.trades)
    orders = tuple(Reported(report) for report in item.open_orders)
    return (*trades, *orders, replace(item, trades=(), open_orders=()))

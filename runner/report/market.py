"""One market as `pmrun market` shows it: what one needs to write a plan."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from runner.core.money import plain
from runner.report import cells

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class TokenView:
    """One outcome's token and its book's best. Prices in dollars a share, None where none is."""

    token_id: str
    outcome: str
    best_bid: Decimal | None
    best_ask: Decimal | None
    midpoint: Decimal | None
    last_trade: Decimal | None


@dataclass(frozen=True, slots=True)
class MarketView:
    """One market at one time. `at` is when the exchange answered."""

    slug: str
    question: str
    condition_id: str
    tick: Decimal
    min_size: Decimal
    neg_risk: bool
    accepting: bool
    tokens: tuple[TokenView, ...]
    at: datetime


def document(view: MarketView) -> dict[str, Any]:
    """The market as one JSON document; decimals and the time as text."""
    return asdict(view)


def table(view: MarketView) -> RenderableType:
    """The market as a table, one row a token. Token ids are whole: they go into plans."""
    rows = cells.table("outcome", ">bid", ">ask", ">midpoint", ">last trade", "token_id")
    for token in view.tokens:
        prices = (token.best_bid, token.best_ask, token.midpoint, token.last_trade)
        rows.add_row(
            Text(cells.clean(token.outcome)),
            *(cells.DASH if price is None else plain(price) for price in prices),
            Text(cells.clean(token.token_id)),
        )
    state = "accepting orders" if view.accepting else "not accepting orders"
    facts = (
        f"slug {cells.clean(view.slug)}\ncondition_id {cells.clean(view.condition_id)}\n"
        f"tick {plain(view.tick)}, minimum size {plain(view.min_size)} shares, "
        f"{'neg-risk, ' if view.neg_risk else ''}{state}; as of {view.at:%H:%M:%S} UTC\n"
    )
    return Group(Text(cells.clean(view.question), style="bold"), Text(facts), rows)

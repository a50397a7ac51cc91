"""One market as `pmrun market` shows it: what one needs to write a plan."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from runner.core.model import Book, MarketInfo
from runner.core.money import plain
from runner.report import cells

if TYPE_CHECKING:
    from rich.console import RenderableType

Outcomes = Sequence[tuple[MarketInfo, Book, str | None]]
"""Each outcome's rules, its book, and the price of its last trade as the exchange tells it."""


def document(outcomes: Outcomes) -> dict[str, Any]:
    """The market as one JSON document; decimals as text, None where there is no price."""
    market = outcomes[0][0]
    return {
        "slug": market.slug,
        "question": market.question,
        "condition_id": market.condition_id,
        "tick": plain(market.tick),
        "min_size": plain(market.min_size),
        "neg_risk": market.neg_risk,
        "accepting": market.accepting,
        "at": market.at.isoformat(),
        "tokens": [
            {
                "outcome": info.outcome,
                "token_id": info.token_id,
                "best_bid": _text(book.bids[0].price if book.bids else None),
                "best_ask": _text(book.asks[0].price if book.asks else None),
                "midpoint": _text(_midpoint(book)),
                "last_trade": last,
                "book_at": book.at.isoformat(),
            }
            for info, book, last in outcomes
        ],
    }


def _text(price: Decimal | None) -> str | None:
    return None if price is None else plain(price)


def _midpoint(book: Book) -> Decimal | None:
    if not book.bids or not book.asks:
        return None
    return (book.bids[0].price + book.asks[0].price) / 2


def table(outcomes: Outcomes) -> RenderableType:
    """The market as a table, one row a token. Token ids are whole: they go into plans."""
    facts = document(outcomes)
    rows = cells.table("outcome", ">bid", ">ask", ">midpoint", ">last trade", "token_id")
    for token in facts["tokens"]:
        prices = (token[name] for name in ("best_bid", "best_ask", "midpoint", "last_trade"))
        rows.add_row(
            Text(cells.clean(token["outcome"])),
            *(Text(cells.DASH if price is None else cells.clean(price)) for price in prices),
            Text(cells.clean(token["token_id"])),
        )
    state = "accepting orders" if facts["accepting"] else "not accepting orders"
    lines = (
        f"slug {cells.clean(facts['slug'])}\ncondition_id {cells.clean(facts['condition_id'])}\n"
        f"tick {facts['tick']}, minimum size {facts['min_size']} shares, "
        f"{'neg-risk, ' if facts['neg_risk'] else ''}{state}; as of {facts['at']}\n"
    )
    return Group(Text(cells.clean(facts["question"]), style="bold"), Text(lines), rows)

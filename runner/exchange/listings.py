"""A listed market: its terms, its book, its last trades, and how the API shows them.

Prices and sizes leave as decimal text; only where the real API sends JSON numbers (ticks,
minimum sizes, rates) they leave as such, made from the exact text.
"""

import hashlib
import json
import re
from collections import deque
from dataclasses import dataclass, field

from runner.exchange.markets import ONE, MarketConfig, MarketState, Side, decimal_text
from runner.exchange.matching import Book

_HISTORY = 10_000

INTERVALS = {
    "1h": 3_600,
    "6h": 21_600,
    "1d": 86_400,
    "1w": 604_800,
    "1m": 2_592_000,
}
"""The spans of the price histories in seconds; `max` and `all` have none."""


@dataclass(frozen=True, slots=True)
class Number:
    """Decimal text that `dump` writes as a JSON number, digit for digit: no float on the way."""

    text: str


_MARKED = re.compile(r'"\\u0000([0-9.-]+)\\u0000"')


def dump(value: object) -> bytes:
    """Compact JSON, as the real API sends it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_marked)
    return _MARKED.sub(r"\1", text).encode()


def _marked(value: object) -> str:
    if not isinstance(value, Number):
        raise TypeError(f"not JSON: {value!r}")
    return f"\0{value.text}\0"


MarketRow = tuple[str, int, MarketState, int | None, int | None, Side]
"""What the database keeps of a market: (condition id, tick, state, winner, last price, side)."""


@dataclass(slots=True)
class Listing:
    """One market as it stands: its terms, state, book and last trade.

    Args:
        market: The terms, with the tick now in force.
        book: The merged book.
        number: Its place in the list; Gamma's id.
        changed_at: Unix milliseconds of the book's last change.
        state: open, paused, closed or resolved.
        winner: Index of the winning outcome once resolved; None then if each pays half.
        last_price: Of the last trade, in terms of the first outcome; None before the first.
        last_side: The taker's side of that trade, in terms of the first outcome.
        history: (Unix seconds, price of the first outcome) of the last trades.
    """

    market: MarketConfig
    book: Book
    number: int
    changed_at: int
    state: MarketState = "open"
    winner: int | None = None
    last_price: int | None = None
    last_side: Side = "BUY"
    history: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    _summaries: dict[int, tuple[tuple[int, int | None], dict[str, object]]] = field(
        default_factory=dict
    )

    @property
    def accepting(self) -> bool:
        """Whether new orders are taken."""
        return self.state == "open"

    @property
    def ended(self) -> bool:
        """Whether it will never trade again."""
        return self.state in {"closed", "resolved"}

    def payout(self, outcome: int) -> int:
        """What a share of an outcome pays once resolved, in millionths of a dollar."""
        if self.winner is None:
            return ONE // 2
        return ONE if self.winner == outcome else 0

    def row(self) -> MarketRow:
        """What of it outlives the process."""
        last = (self.last_price, self.last_side)
        return (self.market.condition_id, self.market.tick, self.state, self.winner, *last)

    def restore(self, row: MarketRow) -> None:
        """Takes over what the database holds of it."""
        _, tick, self.state, self.winner, self.last_price, self.last_side = row
        self.set_tick(tick)

    def set_tick(self, tick: int) -> None:
        """Changes the tick; resting orders stay where they are.

        Raises:
            ValueError: No such tick.
        """
        self.market = self.market.with_tick(tick)
        self.book.new_tick(tick)

    def levels(self, outcome: int, bid: bool) -> list[dict[str, str]]:
        """A side of an outcome's book, worst first (reference 5.4)."""
        levels = self.book.levels(bid == (outcome == 0))
        return [
            {"price": decimal_text(p if outcome == 0 else ONE - p), "size": decimal_text(size)}
            for p, size in levels
        ]

    def best(self, outcome: int, bid: bool) -> int | None:
        """The best price of a side of an outcome's book."""
        price = self.book.best(bid == (outcome == 0))
        return price if price is None or outcome == 0 else ONE - price

    def midpoint(self, outcome: int) -> int | None:
        """Halfway between best bid and ask, or None if a side is empty."""
        bid, ask = self.best(outcome, True), self.best(outcome, False)
        return None if bid is None or ask is None else (bid + ask) // 2

    def last(self, outcome: int) -> int | None:
        """The last trade's price as an outcome sees it."""
        price = self.last_price
        return price if price is None or outcome == 0 else ONE - price

    def summary(self, outcome: int) -> dict[str, object]:
        """The body of `GET /book`, kept until the book changes.

        The hash is computed as the official client does it (reference 5.4).
        """
        key = (self.book.version, self.last_price)
        known = self._summaries.get(outcome)
        if known and known[0] == key:
            return known[1]
        last = self.last(outcome)
        body: dict[str, object] = {
            "market": self.market.condition_id,
            "asset_id": self.market.token_ids[outcome],
            "timestamp": str(self.changed_at),
            "hash": "",
            "bids": self.levels(outcome, True),
            "asks": self.levels(outcome, False),
            "min_order_size": decimal_text(self.market.min_size),
            "tick_size": decimal_text(self.market.tick),
            "neg_risk": self.market.neg_risk,
            "last_trade_price": decimal_text(last) if last is not None else "",
        }
        body["hash"] = hashlib.sha1(dump(body), usedforsecurity=False).hexdigest()
        self._summaries[outcome] = (key, body)
        return body

    def short_form(self) -> dict[str, object]:
        """The body of `GET /clob-markets/{condition}`: neg risk is left out when false."""
        market = self.market
        tokens = zip(market.token_ids, market.outcomes, strict=True)
        body: dict[str, object] = {
            "c": market.condition_id,
            "t": [{"t": token, "o": outcome} for token, outcome in tokens],
            "mos": number(market.min_size),
            "mts": number(market.tick),
            "mbf": 0,
            "tbf": 0,
            "fd": {"r": number(market.fee_rate), "e": market.fee_exponent, "to": True},
            "ao": self.accepting,
            "sd": market.seconds_delay,
            "itode": market.taker_delay_ms > 0,
        }
        if market.neg_risk:
            body["nr"] = True
        return body

    def long_form(self) -> dict[str, object]:
        """The body of `GET /markets/{condition}`."""
        market = self.market
        return {
            "enable_order_book": True,
            "active": True,
            "closed": self.ended,
            "archived": False,
            "accepting_orders": self.accepting,
            "minimum_order_size": number(market.min_size),
            "minimum_tick_size": number(market.tick),
            "condition_id": market.condition_id,
            "question_id": market.condition_id,
            "question": market.question,
            "description": market.description,
            "market_slug": market.slug,
            "end_date_iso": market.end_text,
            "game_start_time": None,
            "seconds_delay": market.seconds_delay,
            "fpmm": "",
            "maker_base_fee": 0,
            "taker_base_fee": 0,
            "neg_risk": market.neg_risk,
            "neg_risk_market_id": market.neg_risk_event_id,
            "neg_risk_request_id": "",
            "is_50_50_outcome": self.state == "resolved" and self.winner is None,
            "tokens": [
                {
                    "token_id": token,
                    "outcome": market.outcomes[i],
                    "price": number(self.shown_price(i)),
                    "winner": self.winner == i,
                }
                for i, token in enumerate(market.token_ids)
            ],
            "tags": [],
        }

    def simplified_form(self) -> dict[str, object]:
        """A row of `GET /simplified-markets`."""
        long = self.long_form()
        kept = ("condition_id", "tokens", "active", "closed", "archived", "accepting_orders")
        none: dict[str, object] = {"rates": None, "min_size": 0, "max_spread": 0}
        return {name: long[name] for name in kept} | {"rewards": none}

    def points(self, outcome: int, first: int, last: int, bucket_s: int) -> list[tuple[int, int]]:
        """Past prices of an outcome: of each bucket the last, as (Unix seconds, millionths).

        Args:
            outcome: 0 or 1.
            first: Unix seconds, inclusive.
            last: Unix seconds, inclusive.
            bucket_s: Seconds, at least 1.
        """
        found = {t // bucket_s: (t, price) for t, price in self.history if first <= t <= last}
        return [(t, price if outcome == 0 else ONE - price) for t, price in found.values()]

    def shown_price(self, outcome: int) -> int:
        """The price by which an outcome is valued: its payout, middle or last trade; else half."""
        if self.state == "resolved":
            return self.payout(outcome)
        return self.midpoint(outcome) or self.last(outcome) or ONE // 2


def number(value: int) -> Number:
    """Millionths as a JSON number."""
    return Number(decimal_text(value))

"""One token's book as snapshots and changes build it up, and whether it may be believed.

1. Nothing is shown before a snapshot: changes alone make no book (faults W3).
2. A book is suspect from the moment anything contradicts it until the next whole book, and a
   suspect book is not shown (faults W5, W13 to W15).
3. `version` changes with every frame, so that a slow answer never overwrites newer frames.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from runner.core.model import Side
from runner.venue.translate import Json, Unreadable, crossed, exact, levels, make_book, side

if TYPE_CHECKING:
    from datetime import datetime

    from runner.core.model import Book

Sides = dict[Side, dict[Decimal, Decimal]]
"""Sizes by price, for both sides."""


class LiveBook:
    """The latest we know of one token's book. Times in seconds are the loop's clock."""

    def __init__(self, heard_s: float) -> None:
        self.version = 0
        self.heard_s = heard_s
        self.suspect = False
        self._sides: Sides | None = None
        self._at: datetime | None = None
        self._shown: Book | None = None

    def show(self) -> Book | None:
        """The book, unless there is none or it is suspect."""
        if self._sides is None or self._at is None or self.suspect:
            return None
        if self._shown is None:
            self._shown = make_book(self._sides[Side.BUY], self._sides[Side.SELL], self._at)
        return self._shown

    def replace(self, of: Json, now: datetime, heard_s: float) -> None:
        """Take a whole book from a frame (reference 6.1). Raises Unreadable."""
        self._take(levels(of.get("bids")), levels(of.get("asks")), now, heard_s)

    def adopt(self, book: Book, heard_s: float) -> bool:
        """Take a whole book from a query; whether it differs from what the frames had made."""
        before = self.show()
        same = before is not None and (before.bids, before.asks) == (book.bids, book.asks)
        self._take(dict(book.bids), dict(book.asks), book.at, heard_s)
        return not same

    def change(self, entries: list[Json], now: datetime, heard_s: float) -> None:
        """Apply one message's changes: each gives the new absolute size of a level.

        The best prices that the last entry tells must then be ours, else the book is suspect.

        Raises:
            Unreadable: an entry makes no sense; the book is then suspect.
        """
        if self._sides is None:
            return
        self.version += 1
        self._at, self._shown = now, None
        self.heard_s = heard_s
        try:
            fits = _apply(self._sides, entries)
        except Unreadable:
            self.suspect = True
            raise
        self.suspect = self.suspect or not fits

    def drop(self) -> None:
        """Forget everything: the connection is gone, or the grid has changed."""
        self.version += 1
        self._sides, self._shown = None, None

    def _take(
        self,
        bids: dict[Decimal, Decimal],
        asks: dict[Decimal, Decimal],
        now: datetime,
        heard_s: float,
    ) -> None:
        self.version += 1
        self._sides = {Side.BUY: bids, Side.SELL: asks}
        self._at, self._shown = now, None
        self.heard_s = heard_s
        self.suspect = crossed(make_book(bids, asks, now))


def _apply(sides: Sides, entries: list[Json]) -> bool:
    """Change `sides` in place; whether they still make sense and end where the last entry says."""
    for entry in entries:
        price, size = exact(entry.get("price")), exact(entry.get("size"))
        if not 0 < price < 1 or size < 0:
            raise Unreadable("a change with an impossible price or size")
        of = sides[side(entry.get("side"))]
        of.pop(price, None)
        if size:
            of[price] = size
    bid, ask = max(sides[Side.BUY], default=None), min(sides[Side.SELL], default=None)
    if bid is not None and ask is not None and bid > ask:
        return False
    last = entries[-1]
    return _told(last.get("best_bid"), bid) and _told(last.get("best_ask"), ask)


def _told(said: object, best: Decimal | None) -> bool:
    """Whether the best price told is ours; 0 and 1 stand for an empty side, absent says nothing."""
    if said is None or said == "":
        return True
    told = exact(said)
    return best is None if told in {0, 1} else told == best

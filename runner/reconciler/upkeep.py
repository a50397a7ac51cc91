"""What is written down beside the trading: marks, counts, the switch, what is odd.

Part of a pass's transaction like everything else; most of it only every few seconds.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from runner.core.ledger import equity
from runner.core.model import TradingState
from runner.reconciler.desk import day_began_with

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from runner.core.model import JobKey
    from runner.reconciler.account_reads import AccountReads
    from runner.reconciler.metrics import Metrics
    from runner.reconciler.tokens import Tokens
    from runner.store import Latch, Writes
    from runner.venue.client import Venue
    from runner.venue.streams import Streams


class Upkeep:
    """The runner's own records."""

    def __init__(
        self,
        venue: Venue,
        streams: Streams,
        latch: Latch,
        tokens: Tokens,
        reads: AccountReads,
        metrics: Metrics,
        *,
        odd: list[str],
        now: datetime,
        period_s: float,
    ) -> None:
        self._venue = venue
        self._streams = streams
        self._latch = latch
        self._tokens = tokens
        self._reads = reads
        self._metrics = metrics
        self._odd = odd
        self._period = timedelta(seconds=period_s)
        self._foreign: set[str] = set()
        self.due_at = now

    def follow_latch(self, tx: Writes, woken: set[JobKey]) -> bool:
        """Whether trading is halted; a change is recorded, and every job looks at it."""
        halted = self._latch.is_set()
        state = TradingState.HALTED if halted else TradingState.ACTIVE
        before = tx.runner("trading_state")
        if before != state.value:
            tx.set_runner("trading_state", state.value)
            if halted or before is not None:
                event = "halted" if halted else "unhalted"
                tx.event("runner", "runner", event, detail=self._latch.reason() or "")
            woken.update(job.key for job in tx.open_jobs())
        return halted

    def write(self, tx: Writes, now: datetime, foreign: Iterable[str]) -> None:
        """Alerts at once; the rest when it is due."""
        for ident in sorted(set(foreign) - self._foreign):
            self._foreign.add(ident)
            tx.alert(
                "warning", "FOREIGN_ORDER", f"live order {ident} is not of this database; untouched"
            )
        odd, self._odd[:] = list(self._odd), []
        for word in odd:
            tx.alert("warning", "VENUE_UNRECOGNISED", word)
        if now < self.due_at:
            return
        self.due_at = now + self._period
        held = [t for t, position in tx.positions().items() if position.shares]
        for token in sorted({*self._tokens, *held}):
            book = self._streams.book(token)
            if book is not None and book.bids and book.asks:
                tx.set_mark(token, book.mid or book.bids[0].price, book.at)
        # a day's loss counts from its beginning, not from its first order
        day_began_with(tx, now, equity(tx.positions(), tx.marks()))
        if self._metrics.changed:
            tx.set_runner("metrics", self._metrics.dump())
            self._metrics.changed = False
        for key, value in (
            ("venue_mode", self._venue.mode.value),
            ("synced", "yes" if self._reads.synced else "no"),
        ):
            tx.set_runner(key, value)

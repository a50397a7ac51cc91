"""When the whole account is read again, and whether we are in sync with the exchange.

Reads come at the start, after every gap of the user socket, every so often, and soon and then less
soon while an order is unresolved. Nothing new is submitted until a read that began after the last
gap has been taken in.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from runner.core.model import OrderState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from runner.reconciler.act import Actor
    from runner.reconciler.inbox import AccountRead
    from runner.reconciler.metrics import Metrics
    from runner.store import Store

_DELAYS_S = (0.25, 0.5, 1.0, 2.0, 5.0)
_TRADES_MARGIN = timedelta(minutes=2)


class AccountReads:
    """Schedules reads of the account."""

    def __init__(
        self,
        store: Store,
        actor: Actor,
        metrics: Metrics,
        now: Callable[[], datetime],
        period_s: float,
    ) -> None:
        self._store = store
        self._actor = actor
        self._metrics = metrics
        self._now = now
        self._period = timedelta(seconds=period_s)
        self._tries = 0
        self._gap_at = now()
        self.due_at = now()
        self.synced = False

    def gap(self) -> None:
        """Reports may be missing from now on back to the last read."""
        self._gap_at = self._now()
        self.synced = False
        self._tries = 0
        self.soon()

    def soon(self) -> None:
        """Something is unresolved: read the account soon, then less and less soon."""
        wait = _DELAYS_S[min(self._tries, len(_DELAYS_S) - 1)]
        self.due_at = min(self.due_at, self._now() + timedelta(seconds=wait))

    def taken(self, item: AccountRead) -> bool:
        """A read was taken in; whether it puts us in sync."""
        self.synced = self.synced or item.started_at >= self._gap_at
        return self.synced

    def read_if_due(self, now: datetime) -> None:
        """Start a read if it is time, and none is under way."""
        if now < self.due_at:
            return
        self.due_at = now + self._period
        if self._actor.reading:
            self.soon()
            return
        rows = self._store.working_rows()
        unresolved = any(
            row.working.state in (OrderState.UNKNOWN, OrderState.CLOSING) for row in rows
        )
        self._tries = self._tries + 1 if unresolved else 0
        self._metrics.count("account_reads")
        working = tuple(
            row.working.order_id for row in rows if row.working.state is not OrderState.SUBMITTING
        )
        since = [row.working.created_at for row in rows]
        if (provisional := self._store.oldest_provisional()) is not None:
            since.append(provisional)
        if (latest := self._store.latest_trade()) is not None:
            since.append(latest)
        self._actor.read_account(min(since, default=now) - _TRADES_MARGIN, working)

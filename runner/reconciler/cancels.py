"""Recorded cancels, sent again and again until the end of their order is proven."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from runner.core.model import OrderState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from runner.reconciler.act import Actor
    from runner.reconciler.metrics import Metrics
    from runner.store import Store

_DELAYS_S = (1.0, 2.0, 5.0, 5.0, 10.0, 30.0, 60.0)


class Cancels:
    """Which cancels are due when. What is to be cancelled stands in the database."""

    def __init__(self, store: Store, actor: Actor, metrics: Metrics) -> None:
        self._store = store
        self._actor = actor
        self._metrics = metrics
        self._due: dict[str, tuple[datetime, int]] = {}

    def know(self, order_ids: Iterable[str], now: datetime) -> None:
        """These are to be cancelled: at once, unless they are being tried already."""
        for ident in order_ids:
            self._due.setdefault(ident, (now, 0))

    def due(self) -> list[datetime]:
        """When to look again; answers that are under way wake the loop themselves."""
        under_way = self._actor.cancelling | self._actor.posting
        return [at for ident, (at, _) in self._due.items() if ident not in under_way]

    def send(self, now: datetime) -> None:
        """Send every cancel that is due, but none that could overtake its order's own POST."""
        ready = []
        for ident, (at, tries) in list(self._due.items()):
            if at > now or ident in self._actor.cancelling or ident in self._actor.posting:
                continue
            row = self._store.order(ident)
            if row is None or row.working.state in (OrderState.CLOSED, OrderState.CLOSING):
                del self._due[ident]
                continue
            ready.append(ident)
            wait = _DELAYS_S[min(tries, len(_DELAYS_S) - 1)]
            self._due[ident] = (now + timedelta(seconds=wait), tries + 1)
        if ready:
            self._metrics.count("cancels", len(ready))
            self._actor.cancel(tuple(ready))

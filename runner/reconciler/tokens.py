"""Which tokens the open jobs trade: whose books are watched, and whose rules are kept fresh.

The books of tokens that are held are watched too: losses are counted at their prices.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from runner.reconciler.work import parse_job

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from runner.core.model import JobKey
    from runner.reconciler.act import Actor
    from runner.reconciler.inbox import MarketSeen
    from runner.store import Store, Writes
    from runner.venue.streams import Streams


class Tokens:
    """The tokens of the open jobs."""

    def __init__(self, store: Store, actor: Actor, streams: Streams, period_s: float) -> None:
        self._store = store
        self._actor = actor
        self._streams = streams
        self._period = timedelta(seconds=period_s)
        self._jobs: dict[str, set[JobKey]] = {}
        self._asked_at: dict[str, datetime] = {}
        self._watched: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[str]:
        return iter([token for token, keys in self._jobs.items() if keys])

    def jobs(self, token_id: str) -> frozenset[JobKey]:
        """The open jobs on a token."""
        return frozenset(self._jobs.get(token_id, ()))

    def know(self, key: JobKey, token_id: str | None) -> None:
        """A job trades this token."""
        if token_id is not None:
            self._jobs.setdefault(token_id, set()).add(key)

    def forget(self, ended: Iterable[JobKey]) -> None:
        """These jobs have ended."""
        for key in ended:
            for keys in self._jobs.values():
                keys.discard(key)

    def stale(self, token_id: str) -> None:
        """A token's rules changed: ask for them afresh."""
        self._asked_at.pop(token_id, None)

    def seen(self, tx: Writes, item: MarketSeen) -> set[JobKey]:
        """The rules of a market came: jobs that named it learn their token. Returns its jobs."""
        info, woken = item.info, set()
        tx.put_market(info)
        for job in tx.open_jobs():
            if job.token_id is None and parse_job(job.spec).market == item.ref:
                tx.set_job_token(job.key, info.token_id)
                self.know(job.key, info.token_id)
                woken.add(job.key)
            elif job.token_id == info.token_id:
                woken.add(job.key)
        return woken

    def keep(self, now: datetime) -> None:
        """Watch these tokens' books and what is held; read rules again that have grown old."""
        tokens = frozenset(token for token, keys in self._jobs.items() if keys)
        # what is held is valued at its market, whether or not a job still trades it
        held = {token for token, position in self._store.positions().items() if position.shares}
        if tokens | held != self._watched:
            self._watched = tokens | held
            self._streams.watch(self._watched)
        for token in sorted(tokens):
            asked = self._asked_at.get(token)
            if asked is not None and now - asked < self._period:
                continue
            job = self._store.job(min(self._jobs[token]))
            if job is not None:
                self._asked_at[token] = now
                self._actor.ask_market(parse_job(job.spec).market)

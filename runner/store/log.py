"""The event log, and the compare-and-set that every change of a state goes through.

Each is called inside one transaction of `Store.transaction`. A move of a state machine is a
compare-and-set on its row plus one row in the event log, and nothing else writes a `state`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.core.errors import StaleState
from runner.store.reads import Reads
from runner.store.rows import stamp

if TYPE_CHECKING:
    import sqlite3
    from datetime import datetime


class Log(Reads):
    """One transaction's log, and the reads that see it. `now` is the pass's one clock read."""

    def __init__(self, connection: sqlite3.Connection, now: datetime) -> None:
        super().__init__(connection)
        self._now = now
        self.now_us = stamp(now)

    def event(
        self,
        subject: str,
        ident: str,
        event: str,
        *,
        from_state: str | None = None,
        to_state: str | None = None,
        detail: str = "",
    ) -> None:
        """Append one row to the event log."""
        self._db.execute(
            "INSERT INTO event (at, subject, id, event, from_state, to_state, detail)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self.now_us, subject, ident, event, from_state, to_state, detail),
        )

    def alert(self, severity: str, code: str, message: str) -> None:
        """Raise an alert, once while the same one is unacknowledged."""
        known = self._db.execute(
            "SELECT 1 FROM alert WHERE code = ? AND message = ? AND acknowledged_at IS NULL",
            (code, message),
        ).fetchone()
        if known is None:
            self._db.execute(
                "INSERT INTO alert (at, severity, code, message) VALUES (?, ?, ?, ?)",
                (self.now_us, severity, code, message),
            )
            self.event("runner", "alert", code.lower(), detail=message)

    def set_runner(self, key: str, value: str) -> None:
        """Remember one value of the runner's own."""
        self._db.execute(
            "INSERT INTO runner (key, value, at) VALUES (?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value, at = excluded.at",
            (key, value, self.now_us),
        )

    def _swap(self, sql: str, values: tuple[object, ...], what: str) -> None:
        if self._db.execute(sql, values).rowcount != 1:
            raise StaleState(f"{what} was not in the state its writer believed")

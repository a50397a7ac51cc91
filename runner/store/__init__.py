"""The state database: facts in, derived numbers out, one writer.

Entry points: `Store.open` for the runner, `open_readonly` for whoever only looks. Beside the
database lie its lock (`lock`), the halt latch (`latch`) and the spool of commands (`spool`).

1. Nothing is sent to the exchange that is not in `child_order` under its id.
2. Every change of a state and its row in the event log are one transaction.
3. Trades are always booked; an order that would exceed its job's total never is.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from runner.store.database import open_database, open_readonly, transaction
from runner.store.latch import Latch
from runner.store.lock import RunnerLock
from runner.store.reads import Reads
from runner.store.writes import Writes

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

__all__ = ["Latch", "Reads", "RunnerLock", "Store", "Writes", "open_readonly"]


class Store(Reads):
    """The database of one runner."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open for writing, with every schema step applied.

        Raises:
            SafetyRefusal: it is damaged, or was written by a newer release.
        """
        return cls(open_database(path))

    @contextmanager
    def transaction(self, now: datetime) -> Iterator[Writes]:
        """One commit, or nothing."""
        with transaction(self._connection):
            yield Writes(self._connection, now)

    def close(self) -> None:
        """Close; what was committed stays."""
        self._connection.close()

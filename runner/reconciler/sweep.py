"""Cancel everything of ours until the exchange shows nothing of it live. Needs no runner.

It reads the ids of our orders from the database (read-only, so that a locked one does not stop it)
and believes only the exchange about what is live.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

from runner.core.errors import VenueError
from runner.store import Store, open_readonly

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from runner.venue.client import Venue

ROUNDS = 20
PAUSE_S = 0.5


class VenueSweep:
    """One sweep. `write` says that no runner writes the database, so that the intents are ours."""

    def __init__(
        self, state: Path, venue: Venue, now: Callable[[], datetime], *, write: bool
    ) -> None:
        self._state = state
        self._venue = venue
        self._now = now
        self._write = write

    async def run(self, why: str) -> int:
        """Cancel until nothing of ours is live; the number that still may be.

        Raises:
            VenueError: the exchange could not be asked at all.
        """
        ours = self._ids()
        if self._write:
            self._note(why)
        await self._venue.start()
        left, calm = ours, 0
        for turn in range(ROUNDS):
            try:
                live = {report.order_id for report in await self._venue.open_orders()}
                left = (ours | self._ids()) & live
                if not left:
                    calm += 1
                    if calm == 2:
                        return 0
                else:
                    calm = 0
                    await self._venue.cancel(sorted(left))
            except VenueError:
                calm = 0
                if turn == ROUNDS - 1:
                    raise
            await asyncio.sleep(PAUSE_S)
        return len(left)

    def _ids(self) -> set[str]:
        """Every order of ours that may be live, by the database."""
        with contextlib.closing(open_readonly(self._state)) as connection:
            rows = connection.execute("SELECT order_id FROM open_orders").fetchall()
        return {row["order_id"] for row in rows}

    def _note(self, why: str) -> None:
        try:
            store = Store.open(self._state)
        except sqlite3.OperationalError:
            return  # locked: the latch holds all the same, and the next start records the ends
        try:
            with store.transaction(self._now()) as tx:
                for order in tx.working():
                    tx.request_cancel(order.order_id, why)
                tx.event("runner", "runner", "sweep", detail=why)
        finally:
            store.close()

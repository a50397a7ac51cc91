"""Typed reads: facts as stored, and what is derived from them by SQL.

Every read works inside a pass's transaction as well, and then sees what the pass has written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.core.model import JobKey, Position, TradeState
from runner.core.money import from_micros
from runner.store.rows import (
    JobRow,
    OrderRow,
    PlanRow,
    market_info,
    moment,
    position_of,
    slice_of,
    stamp,
    working_order,
)

if TYPE_CHECKING:
    import sqlite3
    from datetime import datetime
    from decimal import Decimal

    from runner.core.model import MarketInfo, Slice, WorkingOrder

_PLAN = """
    SELECT p.*, r.content_hash FROM plan p
    LEFT JOIN revision r ON r.plan = p.plan AND r.n = p.revision
"""
_JOB = """
    SELECT j.*, (SELECT COALESCE(SUM(t.size), 0) FROM trade t
        WHERE t.plan = j.plan AND t.job = j.job AND t.state <> 'failed') AS filled
    FROM job j
"""
_ORDER = """
    SELECT o.*, (SELECT COALESCE(SUM(t.size), 0) FROM trade t WHERE t.order_id = o.order_id)
        AS matched
    FROM child_order o
"""
_OPEN_JOB = "('waiting', 'working', 'paused', 'draining')"


class Reads:
    """Everything that is asked of the database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    # plans and jobs

    def plans(self) -> tuple[PlanRow, ...]:
        """Every plan ever known, by id."""
        return tuple(PlanRow.of(row) for row in self._db.execute(f"{_PLAN} ORDER BY p.plan"))

    def plan(self, plan: str) -> PlanRow | None:
        """One plan."""
        row = self._db.execute(f"{_PLAN} WHERE p.plan = ?", (plan,)).fetchone()
        return None if row is None else PlanRow.of(row)

    def revision_text(self, plan: str) -> str:
        """The canonical JSON of the plan's revision in force."""
        row = self._db.execute(
            "SELECT r.spec FROM revision r JOIN plan p ON p.plan = r.plan AND p.revision = r.n"
            " WHERE p.plan = ?",
            (plan,),
        ).fetchone()
        return str(row["spec"])

    def jobs(self, plan: str) -> tuple[JobRow, ...]:
        """The jobs of one plan, in the order of its file."""
        rows = self._db.execute(f"{_JOB} WHERE j.plan = ? ORDER BY j.ordinal", (plan,))
        return tuple(JobRow.of(row) for row in rows)

    def job(self, key: JobKey) -> JobRow | None:
        """One job."""
        row = self._db.execute(f"{_JOB} WHERE j.plan = ? AND j.job = ?", key).fetchone()
        return None if row is None else JobRow.of(row)

    def open_jobs(self) -> tuple[JobRow, ...]:
        """Every job that has not ended."""
        rows = self._db.execute(f"{_JOB} WHERE j.state IN {_OPEN_JOB} ORDER BY j.plan, j.ordinal")
        return tuple(JobRow.of(row) for row in rows)

    def slices(self, key: JobKey, segment: int) -> tuple[Slice, ...]:
        """The slices of one segment of a job, in order."""
        rows = self._db.execute(
            "SELECT * FROM slice WHERE plan = ? AND job = ? AND segment = ? ORDER BY n",
            (*key, segment),
        )
        return tuple(slice_of(row) for row in rows)

    # orders

    def order(self, order_id: str) -> OrderRow | None:
        """One child order."""
        row = self._db.execute(f"{_ORDER} WHERE o.order_id = ?", (order_id,)).fetchone()
        return None if row is None else OrderRow.of(row)

    def job_orders(self, key: JobKey) -> tuple[OrderRow, ...]:
        """The working orders of one job, oldest first."""
        rows = self._db.execute(
            f"{_ORDER} WHERE o.plan = ? AND o.job = ? AND o.state <> 'closed'"
            " ORDER BY o.created_at, o.order_id",
            key,
        )
        return tuple(OrderRow.of(row) for row in rows)

    def working_rows(self) -> tuple[OrderRow, ...]:
        """Every order that may be live, oldest first."""
        rows = self._db.execute(
            f"{_ORDER} WHERE o.state <> 'closed' ORDER BY o.created_at, o.order_id"
        )
        return tuple(OrderRow.of(row) for row in rows)

    def working(self) -> tuple[WorkingOrder, ...]:
        """Every order that may be live, as the core sees it."""
        rows = self._db.execute(
            f"{_ORDER} WHERE o.state <> 'closed' ORDER BY o.created_at, o.order_id"
        )
        return tuple(working_order(row) for row in rows)

    def working_on(self, token_id: str, complement: str) -> tuple[WorkingOrder, ...]:
        """The orders that may be live on one market: on a token and on the other outcome's."""
        rows = self._db.execute(
            f"{_ORDER} WHERE o.token_id IN (?, ?) AND o.state <> 'closed'"
            " ORDER BY o.created_at, o.order_id",
            (token_id, complement),
        )
        return tuple(working_order(row) for row in rows)

    def recent_submits(self, since: datetime) -> int:
        """How many orders were recorded since `since`."""
        [count] = self._db.execute(
            "SELECT COUNT(*) FROM child_order WHERE created_at > ?", (stamp(since),)
        ).fetchone()
        return int(count)

    # trades, positions, money

    def provisional(self, key: JobKey | None = None) -> int:
        """How many trades (of one job) are neither confirmed nor failed."""
        where, values = ("", ()) if key is None else (" AND plan = ? AND job = ?", tuple(key))
        [count] = self._db.execute(
            "SELECT COUNT(*) FROM trade WHERE state IN ('matched', 'mined', 'retrying')" + where,
            values,
        ).fetchone()
        return int(count)

    def oldest_provisional(self) -> datetime | None:
        """When the oldest trade that can still change was matched."""
        [at] = self._db.execute(
            "SELECT MIN(matched_at) FROM trade WHERE state IN ('matched', 'mined', 'retrying')"
        ).fetchone()
        return None if at is None else moment(at)

    def latest_trade(self) -> datetime | None:
        """When the newest booked trade was matched."""
        [at] = self._db.execute("SELECT MAX(matched_at) FROM trade").fetchone()
        return None if at is None else moment(at)

    def positions(self, scope: str = "") -> dict[str, Position]:
        """Positions by token: of the account (empty scope) or of one plan's trades alone."""
        rows = self._db.execute("SELECT * FROM position WHERE scope = ?", (scope,))
        return {row["token_id"]: position_of(row) for row in rows}

    def trade_state(self, trade_id: str, order_id: str) -> TradeState | None:
        """The state of one execution, None when it is not booked."""
        row = self._db.execute(
            "SELECT state FROM trade WHERE trade_id = ? AND order_id = ?", (trade_id, order_id)
        ).fetchone()
        return None if row is None else TradeState(row["state"])

    def day_equity(self, day: str) -> Decimal | None:
        """Equity when the UTC day began for this runner."""
        row = self._db.execute("SELECT equity FROM day WHERE day = ?", (day,)).fetchone()
        return None if row is None else from_micros(row["equity"])

    # markets and the runner itself

    def market(self, token_id: str) -> MarketInfo | None:
        """What the exchange last said of a token."""
        row = self._db.execute("SELECT * FROM market WHERE token_id = ?", (token_id,)).fetchone()
        return None if row is None else market_info(row)

    def marks(self) -> dict[str, Decimal]:
        """The price each token is valued at, where there is one."""
        rows = self._db.execute("SELECT token_id, mark FROM market WHERE mark IS NOT NULL")
        return {row["token_id"]: from_micros(row["mark"]) for row in rows}

    def last_event(self) -> int:
        """The number of the newest row of the event log, 0 while it is empty."""
        [seq] = self._db.execute("SELECT COALESCE(MAX(seq), 0) FROM event").fetchone()
        return int(seq)

    def events_after(self, seq: int) -> list[sqlite3.Row]:
        """The rows of the event log after number `seq`, in order."""
        rows = self._db.execute("SELECT * FROM event WHERE seq > ? ORDER BY seq", (seq,))
        return rows.fetchall()

    def runner(self, key: str) -> str | None:
        """One value of the runner's own."""
        row = self._db.execute("SELECT value FROM runner WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row["value"])

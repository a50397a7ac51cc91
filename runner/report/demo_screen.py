"""What the demo shows while it runs: each job's progress, and the last things that happened."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from runner.core.errors import SafetyRefusal
from runner.report.cells import clean
from runner.store import open_readonly

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

_JOBS = """
    SELECT j.*, (SELECT COUNT(*) FROM orders o WHERE o.plan = j.plan AND o.job = j.job) AS orders,
        (SELECT COUNT(*) FROM trades t WHERE t.plan = j.plan AND t.job = j.job) AS fills
    FROM jobs j ORDER BY j.plan, j.job
"""
_BAR = 20


def render(state: Path, elapsed: float) -> RenderableType:
    """The picture of the database at `state`, `elapsed` seconds into the demo."""
    try:
        with contextlib.closing(open_readonly(state)) as connection:
            jobs = connection.execute(_JOBS).fetchall()
            events = connection.execute(
                "SELECT * FROM timeline WHERE subject IN ('plan', 'job', 'trade', 'runner')"
                " ORDER BY seq DESC LIMIT 5"
            ).fetchall()
    except (SafetyRefusal, sqlite3.OperationalError):
        return Text(f"{elapsed:4.0f} s  the runner is starting")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("plan/job", "state", "side", "progress", "filled", "average", "limit", "orders"):
        table.add_column(name, no_wrap=True)
    for job in jobs:
        table.add_row(*_cells(job))
    lines = [
        Text(
            f"  {event['at'][11:19]}  {event['subject']} {clean(event['id'])[:40]}"
            f"  {event['event']}  {clean(event['detail'])[:60]}",
            style="dim",
        )
        for event in reversed(events)
    ]
    return Group(Text(f"{elapsed:4.0f} s"), table, *lines)


def _cells(job: sqlite3.Row) -> list[str]:
    total, filled = job["total_shares"] or 0, job["filled_shares"]
    done = min(_BAR, int(_BAR * filled / total)) if total else 0
    average = job["average_price"]
    return [
        f"{job['plan']}/{job['job']}",
        job["state"],
        job["side"],
        "█" * done + "·" * (_BAR - done),
        f"{filled:g}/{total:g}",
        "" if average is None else f"{average:.4f}",
        f"{job['limit_price']:g}",
        f"{job['orders']} ({job['fills']} fills)",
    ]

"""What the runner is doing, read from its database as one JSON document (`read`).

`screen.py` makes pictures of it. Everything shown has an age: of the plan's last event, of the
order, of the price a position is valued at, of the loop's last look (faults O12).

Metrics are what the runner stored under the key `metrics`: `counts` by name, and `latencies` by
name as `p50_ms`, `p99_ms`, `max_ms` of `n`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runner.report import cells
from runner.store.latch import Latch
from runner.store.lock import holder

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from runner.core.model import Limits

Row = dict[str, Any]


def read(connection: sqlite3.Connection, state: Path, limits: Limits, now: datetime) -> Row:
    """Everything `pmrun status` shows, as one JSON document. Ages are in seconds."""
    performance = _rows(connection, "SELECT * FROM performance ORDER BY plan")
    positions = _positions(connection, now)
    orders = _rows(connection, "SELECT * FROM open_orders ORDER BY submitted_at, order_id")
    for order in orders:
        order["age_s"] = _age(order["submitted_at"], now)
        order["market"] = _names(connection).get(order["token_id"], "")
    return {
        "at": now.isoformat(),
        "database": str(state),
        "runner": _runner(connection, state, now),
        "plans": _plans(connection, now),
        "jobs": jobs_now(connection, now),
        "open_orders": orders,
        "orders_by_state": dict(
            connection.execute("SELECT state, COUNT(*) FROM orders GROUP BY state").fetchall()
        ),
        "positions": positions,
        "performance": performance,
        "limits": _limits_used(connection, limits, performance, positions, orders, now),
        "alerts": _rows(
            connection,
            "SELECT * FROM alerts WHERE acknowledged_at IS NULL ORDER BY alert_id DESC LIMIT 20",
        ),
    }


def _rows(connection: sqlite3.Connection, sql: str, values: Sequence[object] = ()) -> list[Row]:
    return [dict(row) for row in connection.execute(sql, values)]


def _age(at: str | None, now: datetime) -> float | None:
    moment = cells.moment(at)
    return None if moment is None else round((now - moment).total_seconds(), 3)


def _names(connection: sqlite3.Connection) -> dict[str, str]:
    """Tokens by what people call them: outcome and market."""
    return {
        row["token_id"]: f"{row['outcome']} · {row['slug']}"
        for row in connection.execute("SELECT token_id, outcome, slug FROM market")
    }


def _runner(connection: sqlite3.Connection, state: Path, now: datetime) -> Row:
    stored = {row["key"]: row for row in connection.execute("SELECT key, value, at FROM runner")}

    def value(key: str) -> str | None:
        return stored[key]["value"] if key in stored else None

    def age(at: datetime | None) -> float | None:
        return None if at is None else round((now - at).total_seconds(), 3)

    def written(key: str) -> datetime | None:
        return cells.stamped(stored[key]["at"]) if key in stored else None

    return {
        "running_pid": holder(state),
        "looked_age_s": age(written("venue_mode")),  # the loop notes it every few seconds
        "started_age_s": age(cells.moment(value("started_at"))),
        "halt_reason": Latch(state).reason(),
        "trading_state": value("trading_state"),
        "trading_state_age_s": age(written("trading_state")),
        "venue_mode": value("venue_mode"),
        "exchange": _exchange_url(state),
        "metrics": json.loads(value("metrics") or "{}"),
        "metrics_age_s": age(written("metrics")),
    }


def _exchange_url(state: Path) -> str | None:
    """Where the exchange recorded beside the database is, if the record says so (contract 6)."""
    try:
        record = json.loads((state.parent / "exchange.json").read_text(encoding="utf-8"))
        return str(record["url"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _plans(connection: sqlite3.Connection, now: datetime) -> list[Row]:
    plans = _rows(
        connection,
        "SELECT p.*, (SELECT MAX(at) FROM event WHERE subject = 'plan' AND id = p.plan) AS changed"
        " FROM plans p ORDER BY p.accepted_at, p.plan",
    )
    for plan in plans:
        changed = plan.pop("changed")
        since = None if changed is None else (now - cells.stamped(changed)).total_seconds()
        plan["changed_age_s"] = since
    return plans


def jobs_now(connection: sqlite3.Connection, now: datetime) -> list[Row]:
    """Every job with its progress, its market by name, and its ages."""
    jobs = _rows(
        connection,
        "SELECT v.*, p.state AS plan_state, j.started_at AS started, j.ends_at AS ends,"
        " (SELECT MAX(at) FROM event WHERE subject = 'job' AND id = j.plan || '/' || j.job)"
        " AS changed"
        " FROM jobs v JOIN job j ON j.plan = v.plan AND j.job = v.job"
        " JOIN plan p ON p.plan = v.plan ORDER BY p.accepted_at, p.plan, j.ordinal",
    )
    names = _names(connection)
    for job in jobs:
        job["market"] = names.get(job["token_id"] or "", "")
        changed = job.pop("changed")
        job["changed_age_s"] = (
            None if changed is None else (now - cells.stamped(changed)).total_seconds()
        )
        for key, name in (("started", "started_at"), ("ends", "ends_at")):
            at = job.pop(key)
            job[name] = None if at is None else cells.stamped(at).isoformat()
        job["next_action_in_s"] = _until(job["next_action_at"], now)
    return jobs


def _until(at: str | None, now: datetime) -> float | None:
    age = _age(at, now)
    return None if age is None else -age


def _positions(connection: sqlite3.Connection, now: datetime) -> list[Row]:
    positions = _rows(
        connection,
        "SELECT p.*, m.mark_at FROM positions p LEFT JOIN market m ON m.token_id = p.token_id"
        " ORDER BY p.token_id",
    )
    names = _names(connection)
    for position in positions:
        marked = position.pop("mark_at")
        position["mark_age_s"] = (
            None if marked is None else (now - cells.stamped(marked)).total_seconds()
        )
        position["market"] = names.get(position["token_id"], "")
    return positions


def _limits_used(
    connection: sqlite3.Connection,
    limits: Limits,
    performance: list[Row],
    positions: list[Row],
    orders: list[Row],
    now: datetime,
) -> list[Row]:
    """Each limit of the settings beside what counts against it now, unknown orders in full."""
    total = next((row for row in performance if row["plan"] == "(all)"), None)
    buying: dict[str, float] = {}
    for order in orders:
        if order["side"] == "buy":
            buying[order["token_id"]] = buying.get(order["token_id"], 0.0) + order["leaves"]
    held = {position["token_id"]: position["shares"] for position in positions}
    largest = max((held.get(t, 0.0) + buying.get(t, 0.0) for t in {*held, *buying}), default=0.0)
    used = {
        "max_position_size": (largest, "shares of the largest position, resting buys included"),
        "max_total_exposure": (total["exposure"] if total else 0.0, "dollars at stake in all"),
        "max_daily_loss": (_day_loss(connection, total, now), "dollars lost since 00:00 UTC"),
        "max_open_orders": (float(len(orders)), "orders that may be live"),
    }
    return [
        {"limit": name, "used": value, "of": _number(getattr(limits, name)), "what": what}
        for name, (value, what) in used.items()
        if getattr(limits, name) is not None
    ]


def _number(value: Any) -> float:
    return float(value)  # a view's REAL and a limit meet on a screen, nowhere else


def _day_loss(connection: sqlite3.Connection, total: Row | None, now: datetime) -> float | None:
    """What the day has cost so far, None while the day's opening value is not recorded."""
    row = connection.execute(
        "SELECT equity FROM day WHERE day = ?", (f"{now:%Y-%m-%d}",)
    ).fetchone()
    if row is None or total is None:
        return None
    equity: float = total["realized_pnl"] + total["unrealized_pnl"] - total["fees"]
    opened: float = row["equity"] / 1_000_000
    return max(0.0, opened - equity)

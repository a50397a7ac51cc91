"""What the runner is doing, read from its database: for `pmrun status` and the live progress.

`read` makes one JSON document, `screen` a picture of it, `progress` the short picture that `pmrun
up` redraws. Everything shown has an age: of the plan's last event, of the order, of the price a
position is valued at, of the loop's last look (faults O12).

Metrics are whatever the runner stored under the key `metrics`, by name: a number is a count, a
group (`{"p50_ms": 1.2, "p99_ms": 3.4, "n": 37}`) a latency.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from runner.report import cells
from runner.store.latch import Latch
from runner.store.lock import holder

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from rich.console import RenderableType

    from runner.core.model import Limits

Row = dict[str, Any]

_OPEN_PLANS = frozenset({"accepted", "running", "paused"})
_ENDED_SHOWN = 8  # plans on the screen that are over; --json has all
_ORDERS_SHOWN = 25
_BAR_CELLS = 12
_STYLES = {
    "completed": "green", "filled": "green", "confirmed": "green", "active": "green",
    "normal": "green", "running": "cyan", "working": "cyan", "live": "cyan",
    "partially_filled": "cyan", "paused": "yellow", "draining": "yellow", "cancelling": "yellow",
    "unknown": "bold yellow", "expired": "yellow", "failed": "bold red", "rejected": "red",
    "halted": "bold white on red", "reducing": "bold yellow", "closed": "red",
}  # fmt: skip


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
        "jobs": _jobs(connection, now),
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


def screen(status: Row) -> RenderableType:
    """The status as people read it."""
    parts: list[RenderableType] = [_head(status), Text()]
    parts.append(_jobs_table(_shown_jobs(status)) if status["jobs"] else Text("no plans yet"))
    if status["open_orders"]:
        parts += [Text(), _orders_table(status["open_orders"])]
    if status["positions"]:
        parts += [Text(), _positions_table(status["positions"], status["performance"])]
    parts += [Text(), _limits_table(status["limits"])]
    if status["runner"]["metrics"]:
        parts += [Text(), _metrics(status["runner"])]
    parts += [_alert(alert) for alert in status["alerts"]]
    return Group(*parts)


def progress(connection: sqlite3.Connection, now: datetime) -> RenderableType:
    """The short picture that is redrawn while the runner runs: one row a job, cheap to read."""
    jobs = _jobs(connection, now)
    open_orders, matched = connection.execute(
        "SELECT (SELECT COUNT(*) FROM child_order WHERE state <> 'closed'),"
        " (SELECT COUNT(*) FROM trade WHERE state <> 'failed')"
    ).fetchone()
    values = {row["key"]: row["value"] for row in connection.execute("SELECT * FROM runner")}
    head = Text.assemble(
        (f"{now:%H:%M:%S} UTC", "dim"),
        "   trading ",
        _word(values.get("trading_state", cells.DASH)),
        "   exchange ",
        _word(values.get("venue_mode", cells.DASH)),
        f"   {open_orders} orders open   {matched} trades",
    )
    return Group(head, Text(), _progress_table(jobs))


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

    def age(key: str) -> float | None:
        if key not in stored:
            return None
        return round((now - cells.stamped(stored[key]["at"])).total_seconds(), 3)

    def value(key: str) -> str | None:
        return stored[key]["value"] if key in stored else None

    return {
        "running_pid": holder(state),
        "halt_reason": Latch(state).reason(),
        "trading_state": value("trading_state"),
        "trading_state_age_s": age("trading_state"),
        "venue_mode": value("venue_mode"),
        "venue_mode_age_s": age("venue_mode"),
        "exchange": value("exchange"),
        "started_at": value("started_at"),
        "looked_age_s": age("loop_at"),
        "metrics": json.loads(value("metrics") or "{}"),
        "metrics_age_s": age("metrics"),
    }


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


def _jobs(connection: sqlite3.Connection, now: datetime) -> list[Row]:
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


def _word(text: str) -> tuple[str, str]:
    return cells.clean(text), _STYLES.get(text, "")


def _table(*columns: str) -> Table:
    """A plain table; a name that starts with `>` is a column of numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(
            name.removeprefix(">"),
            justify="right" if name.startswith(">") else "left",
            header_style="bold dim",
            no_wrap=True,
        )
    return table


def _head(status: Row) -> Text:
    runner = status["runner"]
    pid = runner["running_pid"]
    lines = Text.assemble(
        ("pmrun", "bold"),
        f"  {cells.clean(status['database'])}  ",
        (f"running (pid {pid})", "green") if pid else ("not running", "bold yellow"),
        f", looked {cells.age(runner['looked_age_s'])} ago\n",
        "trading ",
        _word("halted" if runner["halt_reason"] else runner["trading_state"] or cells.DASH),
        f" ({cells.age(runner['trading_state_age_s'])})   exchange ",
        _word(runner["venue_mode"] or cells.DASH),
        f" ({cells.age(runner['venue_mode_age_s'])})  {cells.clean(runner['exchange'] or '')}",
    )
    if runner["halt_reason"]:
        lines.append(f"\nhalted: {cells.clean(runner['halt_reason'])}", "bold red")
    return lines


def _shown_jobs(status: Row) -> list[Row]:
    """The jobs of every open plan, and of the plans that ended last."""
    ended = [plan for plan in status["plans"] if plan["state"] not in _OPEN_PLANS]
    ended.sort(key=lambda plan: plan["ended_at"] or "")
    hidden = {plan["plan"] for plan in ended[:-_ENDED_SHOWN]}
    return [job for job in status["jobs"] if job["plan"] not in hidden]


def _bar(part: float) -> Text:
    full = round(min(max(part, 0.0), 1.0) * _BAR_CELLS)
    return Text.assemble(("━" * full, "green"), ("━" * (_BAR_CELLS - full), "bright_black"))


def _jobs_table(jobs: Iterable[Row]) -> Table:
    table = _table(
        "plan", "job", "market", "side", "state", "progress", ">filled", ">of", ">average",
        ">arrival", ">limit", ">next", ">changed", "why",
    )  # fmt: skip
    for plan, rows in groupby(jobs, key=lambda job: job["plan"]):
        for n, job in enumerate(rows):
            total = job["total_shares"]
            table.add_row(
                Text(cells.clean(plan) if n == 0 else "", style="bold"),
                Text(cells.clean(job["job"])),
                Text(cells.clean(job["market"].split(" · ")[0])),
                job["side"],
                Text(*_word(job["state"])),
                _bar(job["filled_shares"] / total) if total else Text(),
                cells.shares(job["filled_shares"]),
                cells.shares(total),
                cells.price(job["average_price"]),
                cells.price(job["arrival_price"]),
                cells.price(job["limit_price"]),
                _next(job["next_action_in_s"]),
                cells.age(job["changed_age_s"]),
                Text(cells.clean(job["reason"])[:60]),
            )
    return table


def _progress_table(jobs: Iterable[Row]) -> Table:
    """The columns that fit a terminal of 80."""
    table = _table("job", "side", "state", "progress", ">filled", ">average", ">limit", "why")
    for job in jobs:
        total = job["total_shares"]
        table.add_row(
            Text(cells.clean(f"{job['plan']}/{job['job']}")),
            job["side"],
            Text(*_word(job["state"])),
            _bar(job["filled_shares"] / total) if total else Text(),
            f"{cells.shares(job['filled_shares'])} of {cells.shares(total)}",
            cells.price(job["average_price"]),
            cells.price(job["limit_price"]),
            Text(cells.clean(job["reason"])[:40]),
        )
    return table


def _next(seconds: float | None) -> str:
    if seconds is None:
        return cells.DASH
    return "now" if seconds <= 0 else cells.age(-seconds)


def _orders_table(orders: list[Row]) -> Table:
    table = _table(
        "order", "plan/job", "market", "side", ">price", ">size", ">filled", ">leaves", "tif",
        "state", ">age",
    )  # fmt: skip
    for order in orders[-_ORDERS_SHOWN:]:
        table.add_row(
            cells.short(order["order_id"]),
            Text(cells.clean(f"{order['plan']}/{order['job']}")),
            Text(cells.clean(order["market"].split(" · ")[0])),
            order["side"],
            cells.price(order["price"]),
            cells.shares(order["size"]),
            cells.shares(order["filled"]),
            cells.shares(order["leaves"]),
            order["time_in_force"],
            Text(*_word(order["state"])),
            cells.age(order["age_s"]),
        )
    if len(orders) > _ORDERS_SHOWN:
        table.add_row(f"and {len(orders) - _ORDERS_SHOWN} older")
    return table


def _positions_table(positions: list[Row], performance: list[Row]) -> Table:
    table = _table(
        "position", ">shares", ">settled", ">entry", ">mark", ">realized", ">unrealized", ">fees",
        ">exposure", ">mark age",
    )  # fmt: skip
    for position in positions:
        name = position["market"] or cells.short(position["token_id"])
        table.add_row(
            Text(cells.clean(name)),
            cells.shares(position["shares"]),
            cells.shares(position["settled_shares"]),
            cells.price(position["average_entry_price"]),
            cells.price(position["mark_price"]),
            cells.dollars(position["realized_pnl"], sign=True),
            cells.dollars(position["unrealized_pnl"], sign=True),
            cells.dollars(position["fees"]),
            cells.dollars(position["exposure"]),
            cells.age(position["mark_age_s"]),
        )
    for row in performance:
        if row["plan"] == "(all)":
            table.add_row(
                "all", "", "", "", "",
                cells.dollars(row["realized_pnl"], sign=True),
                cells.dollars(row["unrealized_pnl"], sign=True),
                cells.dollars(row["fees"]),
                cells.dollars(row["exposure"]),
                style="bold",
            )  # fmt: skip
    return table


def _limits_table(limits: list[Row]) -> Table:
    table = _table("limit", ">used", ">of", "", "")
    for row in limits:
        part = None if row["used"] is None else row["used"] / row["of"]
        table.add_row(
            row["limit"],
            cells.shares(row["used"]),
            cells.shares(row["of"]),
            Text() if part is None else _bar(part),
            Text(row["what"], style="dim"),
        )
    return table


def _metrics(runner: Row) -> Text:
    counts, latencies = [], []
    for name, value in runner["metrics"].items():
        if isinstance(value, dict):
            facts = " ".join(f"{cells.clean(k)} {v}" for k, v in value.items())
            latencies.append(f"{cells.clean(name)}: {facts}")
        else:
            counts.append(f"{cells.clean(name)} {value}")
    lines = ["   ".join(counts), *latencies, f"counted {cells.age(runner['metrics_age_s'])} ago"]
    return Text("\n".join(line for line in lines if line), style="dim")


def _alert(alert: Row) -> Text:
    style = "bold red" if alert["severity"] == "critical" else "yellow"
    text = f"\n{alert['severity']} {alert['code']}: {alert['message']} ({alert['at']})"
    return Text(cells.clean(text[1:]), style=style)

"""The status as people read it: `screen` for `pmrun status`, `progress` for `pmrun up`."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from runner.report import cells
from runner.report.status import jobs_now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from datetime import datetime

    from rich.console import RenderableType
    from rich.table import Table

    from runner.report.status import Row

_OPEN_PLANS = frozenset({"accepted", "running", "paused"})
_ENDED_SHOWN = 8  # plans on the screen that are over; --json has all
_ORDERS_SHOWN = 25
_EVENTS_SHOWN = 5
_BAR_CELLS = 12
_STYLES = {
    "completed": "green", "filled": "green", "confirmed": "green", "active": "green",
    "normal": "green", "running": "cyan", "working": "cyan", "live": "cyan",
    "partially_filled": "cyan", "paused": "yellow", "draining": "yellow", "cancelling": "yellow",
    "unknown": "bold yellow", "expired": "yellow", "failed": "bold red", "rejected": "red",
    "halted": "bold white on red", "reducing": "bold yellow", "closed": "red",
}  # fmt: skip


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
    """The short picture that is redrawn while the runner runs: a row a job, the last events."""
    jobs = jobs_now(connection, now)
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
    return Group(head, Text(), _progress_table(jobs), Text(), *_latest(connection))


def _word(text: str) -> tuple[str, str]:
    return cells.clean(text), _STYLES.get(text, "")


def _head(status: Row) -> Text:
    runner = status["runner"]
    pid = runner["running_pid"]
    lines = Text.assemble(
        ("pmrun", "bold"),
        f"  {cells.clean(status['database'])}  ",
        (f"running (pid {pid})", "green") if pid else ("not running", "bold yellow"),
        f", started {cells.age(runner['started_age_s'])} ago,"
        f" looked {cells.age(runner['looked_age_s'])} ago\n",
        "trading ",
        _word("halted" if runner["halt_reason"] else runner["trading_state"] or cells.DASH),
        f" (since {cells.age(runner['trading_state_age_s'])})   exchange ",
        _word(runner["venue_mode"] or cells.DASH),
        f"  {cells.clean(runner['exchange'] or '')}",
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
    table = cells.table(
        "plan", "job", "market", "side", "state", "progress", ">filled", ">of", ">average",
        ">arrival", ">limit", ">next", ">changed", "~why",
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
                cells.cut(job["reason"]),
            )
    return table


def _latest(connection: sqlite3.Connection) -> list[Text]:
    """The last things that happened, the newest at the bottom; of orders only their trades."""
    rows = connection.execute(
        "SELECT at, subject, id, event, to_state, detail FROM timeline"
        " WHERE subject <> 'order' ORDER BY seq DESC LIMIT ?",
        (_EVENTS_SHOWN,),
    ).fetchall()
    lines = []
    for row in reversed(rows):
        facts = (row["at"][11:19], row["subject"], cells.short(row["id"]), row["event"],
                 row["detail"])  # fmt: skip
        line = cells.cut("  ".join(fact for fact in facts if fact))
        line.stylize("dim")
        lines.append(line)
    return lines


def _progress_table(jobs: Iterable[Row]) -> Table:
    """The columns that fit a terminal of 80."""
    table = cells.table("job", "side", "state", "progress", ">filled", ">average", ">limit", "~why")
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
            cells.cut(job["reason"]),
        )
    return table


def _next(seconds: float | None) -> str:
    if seconds is None:
        return cells.DASH
    return "now" if seconds <= 0 else cells.age(-seconds)


def _orders_table(orders: list[Row]) -> Table:
    table = cells.table(
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
    table = cells.table(
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
    table = cells.table("limit", ">used", ">of", "", "")
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


def _metrics(runner: Row) -> RenderableType:
    """Counts in a line, and a table of how long things take, in milliseconds."""
    metrics = runner["metrics"]
    counts = metrics.get("counts", {}).items()
    line = "   ".join(f"{cells.clean(name).replace('_', ' ')} {n}" for name, n in counts)
    since = f"since the start, as of {cells.age(runner['metrics_age_s'])} ago"
    table = cells.table("latency, ms", ">median", ">99 %", ">longest", ">of")
    for name, took in metrics.get("latencies", {}).items():
        times = (f"{took[key]:,.1f}" for key in ("p50_ms", "p99_ms", "max_ms"))
        table.add_row(cells.clean(name).replace("_", " "), *times, str(took["n"]))
    return Group(Text(f"{line}   ({since})", style="dim"), Text(), table)


def _alert(alert: Row) -> Text:
    style = "bold red" if alert["severity"] == "critical" else "yellow"
    text = f"\n{alert['severity']} {alert['code']}: {alert['message']} ({alert['at']})"
    return Text(cells.clean(text[1:]), style=style)

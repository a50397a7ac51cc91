"""What the execution of each job was worth: fills against arrival, limit and schedule.

`read` gathers one frozen `JobReport` a job, exact, from the tables' integers; `document` is its
JSON (rounded for reading: the exact integers are in the tables), `tables` its picture in text.
Slippage is a cost: positive means worse than the price at arrival, for a buy as for a sell.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from runner.core.errors import PlanError
from runner.core.money import from_micros
from runner.report import cells
from runner.store.rows import maybe_decimal, maybe_moment, moment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from datetime import datetime

    from rich.console import RenderableType
    from rich.table import Table

ZERO = Decimal(0)
_ALL = "(all)"


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution that has not failed. `fee` is in dollars."""

    at: datetime
    price: Decimal
    size: Decimal
    fee: Decimal
    liquidity: str
    state: str


@dataclass(frozen=True, slots=True)
class OrderSpan:
    """One child order: where it stood, from when to when (`until` None: it may be live)."""

    order_id: str
    since: datetime
    until: datetime | None
    price: Decimal
    size: Decimal
    end_reason: str | None


@dataclass(frozen=True, slots=True)
class BookSeen:
    """The best of the book that a decision saw, in terms of the job's own token."""

    at: datetime
    bid: Decimal | None
    ask: Decimal | None


@dataclass(frozen=True, slots=True)
class Planned:
    """From `at` on, so many shares should be done in all."""

    at: datetime
    shares: Decimal


@dataclass(frozen=True, slots=True)
class JobReport:
    """One job: its facts, and what its plots are drawn from. Money in dollars."""

    plan: str
    job: str
    side: str
    state: str
    reason: str
    market: str
    outcome: str
    total: Decimal | None
    limit: Decimal
    arrival: Decimal | None
    started_at: datetime | None
    ended_at: datetime | None
    orders: tuple[OrderSpan, ...]
    fills: tuple[Fill, ...]
    books: tuple[BookSeen, ...]
    schedule: tuple[Planned, ...]

    @property
    def filled(self) -> Decimal:
        """Shares, failed trades left out."""
        return sum((fill.size for fill in self.fills), ZERO)

    @property
    def value(self) -> Decimal:
        """Dollars that changed hands, fees apart."""
        return sum((fill.size * fill.price for fill in self.fills), ZERO)

    @property
    def average(self) -> Decimal | None:
        """Average price of the fills."""
        return self.value / self.filled if self.filled else None

    @property
    def fees(self) -> Decimal:
        """Dollars paid in fees."""
        return sum((fill.fee for fill in self.fills), ZERO)

    def _worse_than(self, price: Decimal | None) -> Decimal | None:
        if price is None or self.average is None:
            return None
        return self.average - price if self.side == "buy" else price - self.average

    @property
    def slippage(self) -> Decimal | None:
        """Dollars a share that the fills were worse than the price at arrival."""
        return self._worse_than(self.arrival)

    @property
    def slippage_cost(self) -> Decimal | None:
        """The same over all that was filled."""
        return None if self.slippage is None else self.slippage * self.filled

    @property
    def limit_room(self) -> Decimal | None:
        """Dollars a share that the fills were better than the limit."""
        worse = self._worse_than(self.limit)
        return None if worse is None else -worse

    @property
    def maker_share(self) -> Decimal | None:
        """The part of the filled shares that rested, 0 to 1."""
        rested = sum((fill.size for fill in self.fills if fill.liquidity == "maker"), ZERO)
        return rested / self.filled if self.filled else None

    @property
    def requotes(self) -> int:
        """Orders that were cancelled before they were filled: each gave way to another price."""
        return sum(1 for order in self.orders if order.end_reason == "cancelled")

    @property
    def orders_per_fill(self) -> Decimal | None:
        """Child orders for each execution."""
        return Decimal(len(self.orders)) / len(self.fills) if self.fills else None


@dataclass(frozen=True, slots=True)
class Report:
    """The jobs of the plans asked for, and those plans' rows of the `performance` view."""

    jobs: tuple[JobReport, ...]
    performance: tuple[dict[str, Any], ...]


def read(connection: sqlite3.Connection, plan: str | None = None) -> Report:
    """The report on one plan, or on all.

    Raises:
        PlanError: no plan has that id.
    """
    if plan is not None and not _one(connection, "SELECT 1 FROM plan WHERE plan = ?", plan):
        raise PlanError(f"{cells.clean(plan)}: no plan of this name in the database")
    rows = connection.execute(
        "SELECT j.*, m.slug, m.outcome, m.complement FROM job j JOIN plan p ON p.plan = j.plan"
        " LEFT JOIN market m ON m.token_id = j.token_id"
        " WHERE ?1 IS NULL OR j.plan = ?1 ORDER BY p.accepted_at, p.plan, j.ordinal",
        (plan,),
    ).fetchall()
    performance = [
        dict(row)
        for row in connection.execute("SELECT * FROM performance ORDER BY plan")
        if row["plan"] in {plan, _ALL} or plan is None
    ]
    return Report(tuple(_job(connection, row) for row in rows), tuple(performance))


def _one(connection: sqlite3.Connection, sql: str, *values: object) -> Any:
    row = connection.execute(sql, values).fetchone()
    return None if row is None else row[0]


def _job(connection: sqlite3.Connection, row: sqlite3.Row) -> JobReport:
    key = (row["plan"], row["job"])
    fills = tuple(
        Fill(
            at=moment(trade["matched_at"]),
            price=from_micros(trade["price"]),
            size=from_micros(trade["size"]),
            fee=from_micros(trade["fee"]),
            liquidity=trade["liquidity"],
            state=trade["state"],
        )
        for trade in connection.execute(
            "SELECT * FROM trade WHERE plan = ? AND job = ? AND state <> 'failed'"
            " ORDER BY matched_at, trade_id, order_id",
            key,
        )
    )
    orders = tuple(
        OrderSpan(
            order_id=order["order_id"],
            since=moment(order["created_at"]),
            until=maybe_moment(order["ended_at"]),
            price=from_micros(order["price"]),
            size=from_micros(order["size"]),
            end_reason=order["end_reason"],
        )
        for order in connection.execute(
            "SELECT * FROM child_order WHERE plan = ? AND job = ? ORDER BY created_at, order_id",
            key,
        )
    )
    return JobReport(
        plan=row["plan"],
        job=row["job"],
        side=row["side"],
        state=row["state"],
        reason=row["reason"],
        market=row["slug"] or "",
        outcome=row["outcome"] or cells.short(row["token_id"] or ""),
        total=maybe_decimal(row["total"]),
        limit=from_micros(row["limit_price"]),
        arrival=maybe_decimal(row["arrival_price"]),
        started_at=maybe_moment(row["started_at"]),
        ended_at=maybe_moment(row["ended_at"]),
        orders=orders,
        fills=fills,
        books=_books(connection, row["token_id"], row["complement"]),
        schedule=_schedule(connection, key, fills),
    )


def _books(
    connection: sqlite3.Connection, token: str | None, complement: str | None
) -> tuple[BookSeen, ...]:
    """What any decision on this market saw, the other outcome's book mirrored (1 - price)."""
    seen = []
    for order in connection.execute(
        "SELECT token_id, decision, created_at FROM child_order WHERE token_id IN (?, ?)"
        " ORDER BY created_at, order_id",
        (token, complement),
    ):
        facts = json.loads(order["decision"], parse_float=Decimal, parse_int=Decimal)
        bid, ask = (
            None if facts.get(side) is None else Decimal(facts[side]) for side in ("bid", "ask")
        )
        if order["token_id"] != token:
            bid, ask = (None if p is None else 1 - p for p in (ask, bid))
        if bid is not None or ask is not None:
            seen.append(BookSeen(moment(order["created_at"]), bid, ask))
    return tuple(seen)


def _schedule(
    connection: sqlite3.Connection, key: tuple[str, str], fills: tuple[Fill, ...]
) -> tuple[Planned, ...]:
    """Each segment starts from what was filled by then; the next one cuts it off."""
    segments: dict[int, list[Planned]] = {}
    for row in connection.execute(
        "SELECT segment, due_at, planned FROM slice WHERE plan = ? AND job = ? ORDER BY segment, n",
        key,
    ):
        at = moment(row["due_at"])
        planned = segments.setdefault(row["segment"], [])
        done = planned[-1].shares if planned else _filled_by(fills, at)
        planned.append(Planned(at, done + from_micros(row["planned"])))
    steps: list[Planned] = []
    for planned in segments.values():
        steps = [step for step in steps if step.at < planned[0].at] + planned
    return tuple(steps)


def _filled_by(fills: tuple[Fill, ...], at: datetime) -> Decimal:
    return sum((fill.size for fill in fills if fill.at < at), ZERO)


def document(report: Report) -> dict[str, Any]:
    """The report as one JSON document; numbers are rounded for reading."""
    return {
        "jobs": [_facts(job) for job in report.jobs],
        "performance": list(report.performance),
    }


def _facts(job: JobReport) -> dict[str, Any]:
    return {
        "plan": job.plan,
        "job": job.job,
        "market": job.market,
        "outcome": job.outcome,
        "side": job.side,
        "state": job.state,
        "reason": job.reason,
        "total_shares": _number(job.total),
        "filled_shares": _number(job.filled),
        "average_price": _number(job.average),
        "arrival_price": _number(job.arrival),
        "limit_price": _number(job.limit),
        "slippage": _number(job.slippage),
        "slippage_cost": _number(job.slippage_cost),
        "limit_room": _number(job.limit_room),
        "maker_share": _number(job.maker_share),
        "orders": len(job.orders),
        "fills": len(job.fills),
        "requotes": job.requotes,
        "orders_per_fill": _number(job.orders_per_fill),
        "fees": _number(job.fees),
        "started_at": job.started_at,
        "ended_at": job.ended_at,
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(round(value, 6))


def tables(report: Report) -> RenderableType:
    """The report as tables: executions job by job, and P&L plan by plan."""
    if not report.jobs:
        return Text("no plans yet")
    return Group(_execution_table(report.jobs), Text(), _performance_table(report.performance))


def _execution_table(jobs: Iterable[JobReport]) -> Table:
    table = cells.table(
        "plan/job", "side", "state", ">filled", ">of", ">average", ">arrival", ">limit",
        ">slippage", ">cost", ">maker", ">orders", ">fills", ">requotes", ">fees",
    )  # fmt: skip
    for job in jobs:
        numbers = _facts(job)
        table.add_row(
            Text(cells.clean(f"{job.plan}/{job.job}")),
            Text(cells.clean(f"{job.side} {job.outcome}")),
            job.state,
            cells.shares(numbers["filled_shares"]),
            cells.shares(numbers["total_shares"]),
            cells.price(numbers["average_price"]),
            cells.price(numbers["arrival_price"]),
            cells.price(numbers["limit_price"]),
            cells.signed_price(numbers["slippage"]),
            cells.dollars(numbers["slippage_cost"], sign=True),
            cells.percent(numbers["maker_share"]),
            str(len(job.orders)),
            str(len(job.fills)),
            str(job.requotes),
            cells.dollars(numbers["fees"]),
        )
    return table


def _performance_table(rows: Iterable[dict[str, Any]]) -> Table:
    table = cells.table(
        "plan", ">realized", ">unrealized", ">fees", ">exposure", ">closing trades", ">win rate",
        ">average win", ">average loss",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            Text(cells.clean("all" if row["plan"] == _ALL else row["plan"])),
            cells.dollars(row["realized_pnl"], sign=True),
            cells.dollars(row["unrealized_pnl"], sign=True),
            cells.dollars(row["fees"]),
            cells.dollars(row["exposure"]),
            str(row["closed_trades"]),
            cells.percent(row["win_rate"]),
            cells.dollars(row["average_win"], sign=True),
            cells.dollars(row["average_loss"], sign=True),
            style="bold" if row["plan"] == _ALL else "",
        )
    return table

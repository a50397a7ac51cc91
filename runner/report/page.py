"""The report as one HTML page that needs nothing else: no script, no font, no image, no network.

Every text from a plan file or from the exchange is escaped (faults S11), and the page forbids
itself to load anything (a content security policy), should one ever slip through.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from itertools import groupby
from string import Template
from typing import TYPE_CHECKING, Any

from runner.report import cells, plots
from runner.report.execution import ZERO

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from decimal import Decimal

    from runner.report.execution import Fill, JobReport, Report

_LEGEND_PRICE = (
    "<figcaption><b>Price</b>"
    '<span><i style="color:var(--book)"></i>best bid and ask seen by our decisions</span>'
    '<span><i style="color:var(--order)"></i>our orders</span>'
    '<span><i class="dot" style="color:var(--maker);background:currentColor"></i>maker fill</span>'
    '<span><i class="dot" style="color:var(--taker)"></i>taker fill</span></figcaption>'
)
_LEGEND_PROGRESS = (
    "<figcaption><b>Shares filled</b>"
    '<span><i style="color:var(--maker)"></i>filled</span>'
    '<span><i style="color:var(--planned);border-top-style:dashed"></i>schedule</span></figcaption>'
)


def render(report: Report, now: datetime) -> str:
    """The whole page, as of `now`."""
    parts = [_head(report, now), _performance(report.performance)]
    for plan, jobs in groupby(report.jobs, key=lambda job: job.plan):
        parts.append(f"<h2>{_text(plan)}</h2>")
        parts += [_job(job, now) for job in jobs]
    template = Template(files("runner.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(title="pmrun: execution report", body="\n".join(parts))


def _text(value: object) -> str:
    return escape(cells.clean(value))


def _head(report: Report, now: datetime) -> str:
    orders = sum(len(job.orders) for job in report.jobs)
    fills = sum(len(job.fills) for job in report.jobs)
    value = sum((job.value for job in report.jobs), ZERO)
    return (
        "<h1>Execution report</h1>"
        f'<p class="soft">{len(report.jobs)} jobs, {orders} orders, {fills} fills worth '
        f"{cells.dollars(float(value))} dollars. As of {now:%Y-%m-%d %H:%M:%S} UTC; "
        "times are UTC, prices are dollars a share. A cost against arrival is positive where the "
        "fills were worse than the price at the start.</p>"
    )


def _performance(rows: Iterable[dict[str, Any]]) -> str:
    body = "".join(
        f'<tr class="{"all" if row["plan"] == "(all)" else ""}">'
        f"<td>{_text('all' if row['plan'] == '(all)' else row['plan'])}</td>"
        + "".join(
            f'<td class="n">{text}</td>'
            for text in (
                _signed(row["realized_pnl"]),
                _signed(row["unrealized_pnl"]),
                cells.dollars(row["fees"]),
                cells.dollars(row["exposure"]),
                str(row["closed_trades"]),
                cells.percent(row["win_rate"]),
            )
        )
        + "</tr>"
        for row in rows
    )
    heads = "".join(
        f'<th class="n">{name}</th>'
        for name in ("realized", "unrealized", "fees", "exposure", "closing trades", "win rate")
    )
    return (
        '<div class="card"><h3>Profit and loss, dollars</h3><div class="scroll">'
        f"<table><tr><th>plan</th>{heads}</tr>{body}</table></div></div>"
    )


def _signed(value: float) -> str:
    kind = "good" if value > 0 else "bad" if value < 0 else ""
    return f'<span class="{kind}">{cells.dollars(value, sign=True)}</span>'


def _job(job: JobReport, now: datetime) -> str:
    market = f"{_text(job.outcome)} of {_text(job.market)}" if job.market else _text(job.outcome)
    state = f'<span class="state {_text(job.state)}">{_text(job.state)}</span>'
    parts = [
        f'<div class="card"><h3>{_text(job.job)}: {_text(job.side)} {market} {state}</h3>',
        f'<p class="reason">{_text(job.reason)}</p>' if job.reason else "",
        f'<dl class="facts">{"".join(_fact(*fact) for fact in _facts(job))}</dl>',
    ]
    if job.orders:
        parts += [
            f"<figure>{_LEGEND_PRICE}{plots.price_plot(job, now)}</figure>",
            f"<figure>{_LEGEND_PROGRESS}{plots.progress_plot(job, now)}</figure>",
        ]
    if job.fills:
        parts.append(_fills(job.fills))
    parts.append("</div>")
    return "\n".join(part for part in parts if part)


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _facts(job: JobReport) -> Iterable[tuple[str, str, str]]:
    """(name, value, remark) of what is known; a remark is small print behind the value."""
    of_total = ""
    if job.total:
        part = cells.percent(float(job.filled / job.total))
        of_total = f"of {cells.shares(float(job.total))}, {part}"
    cost, per_fill = _float(job.slippage_cost), _float(job.orders_per_fill)
    in_all = "" if cost is None else f"{cells.dollars(cost, sign=True)} $"
    ratio = "" if per_fill is None else f"{per_fill:.1f} a fill"
    yield "filled", cells.shares(float(job.filled)), of_total
    yield "average price", cells.price(_float(job.average)), ""
    yield "arrival price", cells.price(_float(job.arrival)), ""
    yield "limit price", cells.price(float(job.limit)), ""
    yield "cost against arrival", cells.signed_price(_float(job.slippage)), in_all
    yield "better than limit", cells.signed_price(_float(job.limit_room)), ""
    yield "maker share", cells.percent(_float(job.maker_share)), ""
    yield "orders", str(len(job.orders)), ratio
    yield "requotes", str(job.requotes), ""
    yield "fees", cells.dollars(float(job.fees)), ""


def _fact(name: str, value: str, remark: str) -> str:
    small = f" <small>{remark}</small>" if remark else ""
    return f"<div><dt>{name}</dt><dd>{value}{small}</dd></div>"


def _fills(fills: Sequence[Fill]) -> str:
    rows = "".join(
        f"<tr><td>{fill.at:%H:%M:%S}</td>"
        f'<td class="n">{cells.shares(float(fill.size))}</td>'
        f'<td class="n">{cells.price(float(fill.price))}</td>'
        f'<td class="n">{cells.dollars(float(fill.fee))}</td>'
        f"<td>{_text(fill.liquidity)}</td><td>{_text(fill.state)}</td></tr>"
        for fill in fills
    )
    return (
        f"<details><summary>{len(fills)} fills</summary>"
        '<div class="scroll"><table><tr><th>time</th><th class="n">shares</th>'
        '<th class="n">price</th><th class="n">fee</th><th></th><th>state</th></tr>'
        f"{rows}</table></div></details>"
    )

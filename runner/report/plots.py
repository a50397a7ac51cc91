"""Two plots as inline SVG text, by pure functions: the price a job traded at, and its progress.

No script and nothing from outside: colours are classes that the page's style sheet fills in for
dark and light, details are `<title>` elements that a browser shows on hover. Here, and only here,
prices and sizes become floats: they are about to be pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING

from runner.core.money import plain
from runner.report.cells import price, shares

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from runner.report.execution import BookSeen, Fill, JobReport, OrderSpan, Planned

WIDTH, HEIGHT = 760, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 26
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_DOT_MIN, _DOT_MAX = 3.0, 8.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """The plot's rectangle: time from left to right, values from bottom to top."""

    start: datetime
    end: datetime
    low: float
    high: float

    def x(self, at: datetime) -> float:
        """Pixels from the left; times outside the frame go to its edge."""
        part = (at - self.start) / (self.end - self.start)
        return _LEFT + min(max(part, 0.0), 1.0) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Pixels from the top; values outside the frame go to its edge."""
        part = (value - self.low) / (self.high - self.low)
        return HEIGHT - _BOTTOM - min(max(part, 0.0), 1.0) * (HEIGHT - _TOP - _BOTTOM)


def price_plot(job: JobReport, now: datetime) -> str:
    """Best bid and ask as our decisions saw them, our orders, each fill, limit and arrival."""
    start, end = _span(job, now)
    seen = [book for book in job.books if start <= book.at <= end]
    values = [
        *(float(order.price) for order in job.orders),
        *(float(fill.price) for fill in job.fills),
        *(float(p) for book in seen for p in (book.bid, book.ask) if p is not None),
    ]
    if job.arrival is not None:
        values.append(float(job.arrival))
    limit = float(job.limit)
    low, high = min(values, default=limit), max(values, default=limit)
    spread = max(high - low, 0.01)
    if low - 1.5 * spread <= limit <= high + 1.5 * spread:  # else it would flatten all the rest
        low, high = min(low, limit), max(high, limit)
    margin = 0.08 * max(high - low, 0.01)
    frame = Frame(start, end, low - margin, high + margin)
    parts = [
        *_axes(frame, decimals=3 if high - low < 0.05 else 2),
        *_book_band(frame, seen),
        *_level(frame, job.limit, "limit", f"limit {price(float(job.limit))}"),
        *_level(frame, job.arrival, "arrival", f"arrival {price(_float(job.arrival))}"),
        *(_order_bar(frame, order, now) for order in job.orders),
        *_fill_dots(frame, job.fills),
    ]
    return _svg(parts, f"Price of {job.plan}/{job.job} over time")


def progress_plot(job: JobReport, now: datetime) -> str:
    """Cumulative shares filled, against the schedule of the slices and the total."""
    start, end = _span(job, now)
    total = float(job.total or 0)
    high = max(total, float(job.filled), 1.0) * 1.06
    frame = Frame(start, end, 0.0, high)
    done = [(start, 0.0)]
    sizes = (float(fill.size) for fill in job.fills)
    done += zip((fill.at for fill in job.fills), accumulate(sizes), strict=True)
    done.append((end, done[-1][1]))
    parts = [
        *_axes(frame, decimals=0),
        *_level(frame, job.total, "arrival", f"total {shares(_float(job.total))}"),
        *_planned(frame, job.schedule, end),
        f'<polyline class="done" points="{_points(_stairs(frame, done))}"/>',
    ]
    return _svg(parts, f"Shares of {job.plan}/{job.job} filled over time")


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _span(job: JobReport, now: datetime) -> tuple[datetime, datetime]:
    """From the first to the last thing that happened, at least a second."""
    times = [
        *(order.since for order in job.orders),
        *(order.until or now for order in job.orders),
        *(fill.at for fill in job.fills),
        *(step.at for step in job.schedule if job.ended_at is None or step.at <= job.ended_at),
        *(at for at in (job.started_at, job.ended_at) if at is not None),
    ]
    start = min(times, default=now)
    end = max(times, default=now)
    return start, max(end, start + timedelta(seconds=1))


def _svg(parts: Iterable[str], label: str) -> str:
    body = "\n".join(part for part in parts if part)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">\n'
        f"{body}\n</svg>"
    )


def round_steps(low: float, high: float, count: int) -> list[float]:
    """About `count` round values (1, 2 or 5 times a power of ten apart) from `low` to `high`."""
    raw = (high - low) / max(count, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _time_steps(start: datetime, end: datetime) -> list[datetime]:
    seconds = (end - start).total_seconds()
    step = next((s for s in _STEPS_S if seconds / s <= 8), math.ceil(seconds / 8))
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    n = math.ceil((start - midnight).total_seconds() / step)
    times = []
    while (at := midnight + timedelta(seconds=n * step)) <= end:
        times.append(at)
        n += 1
    return times


def _axes(frame: Frame, *, decimals: int) -> list[str]:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for value in round_steps(frame.low, frame.high, 5):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{value:,.{decimals}f}</text>"
        )
    for at in _time_steps(frame.start, frame.end):
        x = frame.x(at)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{at:%H:%M:%S}</text>"
        )
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    return parts


def _level(frame: Frame, value: Decimal | None, kind: str, text: str) -> list[str]:
    """A line across; a value far outside is said in words at the edge it lies beyond."""
    if value is None:
        return []
    right = WIDTH - _RIGHT
    # The limit is named on the right and all else on the left, so that names don't meet.
    x, anchor = (right, "end") if kind == "limit" else (_LEFT + 4, "start")
    note = f'<text class="note {kind}" x="{x}" text-anchor="{anchor}"'
    if float(value) > frame.high:
        return [f'{note} y="{_TOP + 4}">{text} ↑</text>']
    if float(value) < frame.low:
        return [f'{note} y="{HEIGHT - _BOTTOM - 6}">{text} ↓</text>']
    y = frame.y(float(value))
    return [
        f'<line class="{kind}" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'{note} y="{y - 4:.1f}">{text}</text>',
    ]


def _stairs(frame: Frame, steps: Sequence[tuple[datetime, float]]) -> list[Point]:
    """A line that keeps each value until the next one."""
    points: list[Point] = []
    for at, value in steps:
        if points:
            points.append((frame.x(at), points[-1][1]))
        points.append((frame.x(at), frame.y(value)))
    return points


def _points(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _book_band(frame: Frame, seen: Sequence[BookSeen]) -> list[str]:
    """Best bid and best ask, and the spread between them where both are known."""
    sides = {
        side: _stairs(
            frame,
            [(b.at, float(p)) for b in seen if (p := getattr(b, side)) is not None],
        )
        for side in ("bid", "ask")
    }
    right = WIDTH - _RIGHT
    lines = {side: [*points, (right, points[-1][1])] for side, points in sides.items() if points}
    parts = []
    if len(lines) == 2:
        around = [*lines["bid"], *reversed(lines["ask"])]
        parts.append(f'<polygon class="spread" points="{_points(around)}"/>')
    parts += [
        f'<polyline class="book" points="{_points(line)}"><title>best {side}</title></polyline>'
        for side, line in lines.items()
    ]
    return parts


def _order_bar(frame: Frame, order: OrderSpan, now: datetime) -> str:
    left, right = frame.x(order.since), frame.x(order.until or now)
    end = order.end_reason or "open"
    y = frame.y(float(order.price))
    title = f"order {plain(order.size)} at {plain(order.price)}, {order.since:%H:%M:%S}: {end}"
    kind = "order refused" if end == "refused" else "order"
    return (
        f'<line class="{kind}" x1="{left:.1f}" x2="{max(right, left + 3):.1f}" y1="{y:.1f}" '
        f'y2="{y:.1f}"><title>{escape(title)}</title></line>'
    )


def _fill_dots(frame: Frame, fills: Sequence[Fill]) -> list[str]:
    """A dot a fill: its area follows the size, a ring means that it took liquidity."""
    largest = max((float(fill.size) for fill in fills), default=1.0)
    dots = []
    for fill in fills:
        radius = max(_DOT_MIN, _DOT_MAX * math.sqrt(float(fill.size) / largest))
        title = (
            f"{plain(fill.size)} filled at {plain(fill.price)} ({fill.liquidity}), "
            f"{fill.at:%H:%M:%S}, {fill.state}"
        )
        dots.append(
            f'<circle class="fill {escape(fill.liquidity)}" cx="{frame.x(fill.at):.1f}" '
            f'cy="{frame.y(float(fill.price)):.1f}" r="{radius:.1f}">'
            f"<title>{escape(title)}</title></circle>"
        )
    return dots


def _planned(frame: Frame, schedule: Sequence[Planned], end: datetime) -> list[str]:
    if not schedule:
        return []
    steps = [(schedule[0].at, 0.0)] + [(step.at, float(step.shares)) for step in schedule]
    steps = [(at, shares) for at, shares in steps if at <= end]
    steps.append((end, steps[-1][1]))
    line = _points(_stairs(frame, steps))
    return [f'<polyline class="planned" points="{line}"><title>schedule</title></polyline>']

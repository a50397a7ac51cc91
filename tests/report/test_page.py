"""The HTML page and the plots: self-contained, escaped, and showing what happened."""

import itertools
import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.report import execution, page, plots
from runner.store import open_readonly
from tests.report import sample

VOID = {"meta", "line", "polyline", "circle", "polygon"}


class _Outline(HTMLParser):
    """Every tag with its attributes, and whether each one opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID or tag in {"line", "polyline", "circle"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def report(tmp_path: Path) -> execution.Report:
    connection = open_readonly(sample.build(tmp_path / "runner.db"))
    found = execution.read(connection)
    connection.close()
    return found


def _outline(text: str) -> _Outline:
    outline = _Outline()
    outline.feed(text)
    outline.close()
    return outline


def test_the_page_needs_nothing_from_outside(report: execution.Report) -> None:
    text = page.render(report, sample.NOW)
    outline = _outline(text)
    assert outline.open == []
    for tag, attributes in outline.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
        assert not {"src", "href", "xlink:href", "srcset", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"https?://|url\(|@import|javascript:", text)
    [policy] = [a["content"] for _, a in outline.tags if "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_text_from_outside_is_text(report: execution.Report) -> None:
    text = page.render(report, sample.NOW)
    assert "<script" not in text
    assert "\x1b" not in text
    assert '<script>alert("x")</script>\\x1b[31m' in _outline(text).text
    evil = replace(report.jobs[0], plan=sample.EVIL, job=sample.EVIL, market=sample.EVIL,
                   outcome=sample.EVIL, state=sample.EVIL)  # fmt: skip
    assert "<script" not in page.render(replace(report, jobs=(evil,)), sample.NOW)


def test_the_page_shows_each_fill_order_and_the_limit(report: execution.Report) -> None:
    text = page.render(report, sample.NOW)
    jobs = {job.job: job for job in report.jobs}
    assert text.count('<circle class="fill maker"') == len(jobs["build"].fills)
    assert text.count('<circle class="fill taker"') == len(jobs["exit"].fills)
    orders = sum(len(job.orders) for job in report.jobs)
    assert len(re.findall(r'<line class="order(?: refused)?"', text)) == orders
    for part in (
        "limit 0.55",
        "arrival 0.515",
        "total 80",
        "schedule",
        "12 filled at 0.52 (maker)",
    ):
        assert part in text
    assert text.count("<svg") == 4  # two a job that had orders


def test_an_empty_report_is_a_page_too() -> None:
    text = page.render(execution.Report((), ()), sample.NOW)
    assert "0 jobs, 0 orders, 0 fills" in text
    assert _outline(text).open == []


@given(
    low=st.floats(0, 1e5, allow_nan=False),
    size=st.floats(1e-4, 1e5, allow_nan=False),
    count=st.integers(1, 10),
)
def test_axis_steps_are_few_inside_and_evenly_spaced(low: float, size: float, count: int) -> None:
    steps = plots.round_steps(low, low + size, count)
    assert len(steps) <= count + 1
    assert all(low - size * 1e-6 <= step <= low + size * (1 + 1e-6) for step in steps)
    gaps = [b - a for a, b in itertools.pairwise(steps)]
    assert all(abs(gap - gaps[0]) <= 1e-6 * max(1.0, abs(gap)) for gap in gaps)


@given(
    prices=st.lists(st.integers(1, 999), max_size=6),
    seconds=st.lists(st.integers(0, 200_000), min_size=6, max_size=6),
    limit=st.integers(1, 999),
    days=st.integers(0, 40),
)
def test_every_coordinate_lies_inside_the_picture(
    prices: list[int], seconds: list[int], limit: int, days: int
) -> None:
    fills = tuple(
        sorted(
            (
                execution.Fill(
                    at=sample.T0 + timedelta(seconds=at),
                    price=Decimal(price) / 1000,
                    size=Decimal(price),
                    fee=Decimal(0),
                    liquidity="maker",
                    state="confirmed",
                )
                for price, at in zip(prices, seconds, strict=False)
            ),
            key=lambda fill: fill.at,
        )
    )
    orders = tuple(
        execution.OrderSpan("0x", fill.at, None, fill.price, fill.size, None) for fill in fills
    )
    books = tuple(execution.BookSeen(f.at, f.price, None) for f in fills)
    schedule = tuple(execution.Planned(f.at, f.size) for f in fills)
    job = execution.JobReport(
        "p", "j", "buy", "working", "", "m", "Up", Decimal(500), Decimal(limit) / 1000, None,
        sample.T0, None, orders, fills, books, schedule,
    )  # fmt: skip
    now = sample.T0 + timedelta(days=days)
    for svg in (plots.price_plot(job, now), plots.progress_plot(job, now)):
        assert _outline(svg).open == []
        xs = re.findall(r'\b(?:x|x1|x2|cx)="([^"]+)"', svg)
        ys = re.findall(r'\b(?:y|y1|y2|cy)="([^"]+)"', svg)
        for line in re.findall(r'points="([^"]*)"', svg):
            for pair in line.split():
                x, y = pair.split(",")
                xs.append(x)
                ys.append(y)
        assert all(0 <= float(x) <= plots.WIDTH for x in xs)
        assert all(0 <= float(y) <= plots.HEIGHT for y in ys)
        assert len(re.findall(r'class="tick"[^>]*text-anchor="middle"', svg)) <= 9

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core import pace
from runner.core.errors import PlanError
from runner.core.model import Job, JobKey, JobState, MarketInfo, Segment, Side, Slice
from runner.core.money import LOT, floor_to
from runner.core.plan import CatchUp, JobSpec, MarketRef, Split, Strategy

D = Decimal
T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MIN = D(5)


def spec_of(**split: object) -> JobSpec:
    given_split = {"strategy": Strategy.TWAP, **split}
    return JobSpec(
        market=MarketRef(token_id="1"),
        side=Side.BUY,
        total_shares=D(1),
        limit_price=D("0.5"),
        time_window_minutes=D(60),
        split=Split.model_validate(given_split),
    )


def job_of(
    total: str, *, filled: str = "0", end: timedelta = HOUR, max_order: str = "100", **split: object
) -> Job:
    spec = spec_of(**split)
    segment = Segment(1, T0, D(0))
    slices = pace.plan_slices(
        spec,
        remaining=D(total),
        segment=segment,
        end=T0 + end,
        max_order_size=D(max_order),
    )
    return Job(
        key=JobKey("p", "j"),
        spec=spec,
        state=JobState.WORKING,
        token_id="1",
        total=D(total),
        filled=D(filled),
        segment=segment,
        slices=slices,
        ends_at=T0 + end,
        seed="s",
        max_order_size=D(max_order),
    )


def after(job: Job, changed: tuple[Slice, ...]) -> Job:
    latest = {row.n: row for row in changed}
    return replace(job, slices=tuple(latest.get(row.n, row) for row in job.slices))


def fill(job: Job, shares: Decimal) -> Job:
    return replace(job, filled=job.filled + shares)


def run(job: Job, seen_slices: list[int], least: Decimal = MIN) -> list[Decimal]:
    """Look at the job in these slices; everything legal that is due fills at once."""
    orders = []
    for n in seen_slices:
        now = job.slices[n - 1].due_at
        due = pace.due(job, now, least)
        job = after(job, due.changed)
        if due.quantity >= least:
            orders.append(due.quantity)
            job = fill(job, due.quantity)
    return orders


@given(
    total=st.integers(1, 10**7).map(lambda n: D(n).scaleb(-2)),
    slices=st.integers(1, 300),
)
def test_slices_sum_to_the_total_exactly_and_differ_by_a_lot_at_most(
    total: Decimal, slices: int
) -> None:
    job = job_of(str(total), slices=slices)
    planned = [row.planned for row in job.slices]
    assert sum(planned) == total
    assert len(planned) == slices
    assert max(planned) - min(planned) <= D("0.01")
    assert [row.n for row in job.slices] == list(range(1, slices + 1))
    assert job.slices[0].due_at == T0
    assert all(T0 <= row.due_at < T0 + HOUR for row in job.slices)


def test_how_many_slices() -> None:
    assert len(job_of("1000", max_order="100").slices) == 10
    assert len(job_of("1000.01", max_order="100").slices) == 11
    every_seven = job_of("100", interval_seconds=D(420)).slices
    assert len(every_seven) == 9
    assert every_seven[0].due_at == T0
    assert len(job_of("100", interval_seconds=D("0.72")).slices) == pace.MAX_SLICES
    assert {b.due_at - a.due_at for a, b in pairwise(every_seven)} == {timedelta(minutes=7)}


def test_a_later_segment_keeps_the_share_of_slices_its_window_still_has() -> None:
    spec = spec_of(slices=12)
    for minutes, count in ((60, 12), (30, 6), (31, 7), (1, 1), (0, 1)):
        slices = pace.plan_slices(
            spec,
            remaining=D(40),
            segment=Segment(2, T0 + HOUR - timedelta(minutes=minutes), D(60)),
            end=T0 + HOUR,
            max_order_size=D(100),
        )
        assert len(slices) == count
        assert sum(row.planned for row in slices) == 40
        assert {row.segment for row in slices} == {2}


def test_digits_finer_than_a_lot_stay_with_the_last_slice() -> None:
    planned = [row.planned for row in job_of("10.005", slices=3).slices]
    assert planned == [D("3.34"), D("3.33"), D("3.335")]


def test_no_slices_where_none_are_needed() -> None:
    assert job_of("100", strategy=Strategy.SINGLE).slices == ()
    spec = spec_of()
    none_left = pace.plan_slices(
        spec,
        remaining=D(0),
        segment=Segment(1, T0, D(0)),
        end=T0 + HOUR,
        max_order_size=D(9),
    )
    assert none_left == ()


@pytest.mark.parametrize(
    ("split", "end", "complaint"),
    [
        ({"strategy": Strategy.VWAP}, T0 + HOUR, "not available"),
        ({}, None, "time_window_minutes"),
        ({"interval_seconds": D("0.5")}, T0 + HOUR, "at most 5000"),
    ],
)
def test_what_cannot_be_planned(
    split: dict[str, object], end: datetime | None, complaint: str
) -> None:
    with pytest.raises(PlanError, match=complaint):
        pace.plan_slices(
            spec_of(**split),
            remaining=D(100),
            segment=Segment(1, T0, D(0)),
            end=end,
            max_order_size=D(100),
        )


@given(
    total=st.integers(0, 10**6),
    weights=st.lists(st.integers(0, 1000), min_size=1, max_size=50).filter(any),
)
def test_apportion_is_exact_and_fair(total: int, weights: list[int]) -> None:
    shares = pace.apportion(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share * sum(weights) - total * weight) < sum(weights)


@pytest.mark.parametrize("weights", [[], [0, 0], [2, -1]])
def test_apportion_needs_weights(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        pace.apportion(10, weights)


def test_single_is_due_at_once() -> None:
    job = job_of("100.019", filled="30", strategy=Strategy.SINGLE)
    assert pace.due(job, T0, MIN) == pace.Due(D("70.019"))


@pytest.mark.parametrize(
    ("catch_up", "orders"),
    [
        (CatchUp.SPREAD, [D(5)] * 8),
        (CatchUp.NEXT_SLICE, [D(8)] * 5),
        (CatchUp.NONE, [D(8)] * 5),
    ],
)
def test_forty_in_ten_slices_with_a_minimum_of_five(
    catch_up: CatchUp, orders: list[Decimal]
) -> None:
    job = job_of("40", slices=10, catch_up=catch_up)
    assert run(job, list(range(1, 11))) == orders


@given(
    total=st.integers(500, 100_000).map(lambda n: D(n).scaleb(-2)),
    slices=st.integers(1, 60),
    catch_up=st.sampled_from(CatchUp),
)
def test_when_all_that_is_due_fills_nothing_is_left_and_nothing_is_illegal(
    total: Decimal, slices: int, catch_up: CatchUp
) -> None:
    job = job_of(str(total), slices=slices, catch_up=catch_up)
    orders = run(job, list(range(1, slices + 1)))
    assert sum(orders) == total
    assert min(orders) >= MIN


@pytest.mark.parametrize(
    ("catch_up", "orders"),
    [
        (CatchUp.SPREAD, [D(10), D(30), D(30), D(30)]),
        (CatchUp.NEXT_SLICE, [D(10), D(70), D(10), D(10)]),
        (CatchUp.NONE, [D(10), D(10), D(10), D(10)]),
    ],
)
def test_downtime_over_several_slices(catch_up: CatchUp, orders: list[Decimal]) -> None:
    """Ten slices of 10; down from the second to the seventh: what passed is behind, not lost."""
    job = job_of("100", slices=10, catch_up=catch_up)
    assert run(job, [1, 8, 9, 10]) == orders


def test_rows_open_and_close_once_with_what_was_done_while_open() -> None:
    job = job_of("40", slices=4)
    first = pace.due(job, T0, MIN)
    assert first.changed == (replace(job.slices[0], opened_at=T0),)
    assert first.next_at == T0 + HOUR / 4
    job = fill(after(job, first.changed), D(7))
    again = pace.due(job, T0 + timedelta(minutes=1), MIN)
    assert (again.quantity, again.changed) == (D(3), ())
    late = T0 + timedelta(minutes=46)
    last = pace.due(job, late, MIN)
    assert [(row.n, row.opened_at, row.filled) for row in last.changed] == [
        (1, T0, D(7)),
        (2, None, D(0)),
        (3, None, D(0)),
        (4, late, None),
    ]
    assert last.quantity == D(33)
    assert last.next_at is None
    job = fill(after(job, last.changed), D(13))
    assert [(row.n, row.filled) for row in pace.closing(job)] == [(4, D(13))]


def test_spread_shares_what_is_behind_over_what_is_to_come() -> None:
    """Twelve slices of 10; a restart in the seventh after three partial fills."""
    job = job_of("120", slices=12)
    for n, done in enumerate(["10", "4", "0", "10.5", "0", "3"], start=1):
        due = pace.due(job, job.slices[n - 1].due_at, MIN)
        job = fill(after(job, due.changed), D(done))
    due = pace.due(job, job.slices[6].due_at, MIN)
    assert due.quantity == D("15.41")  # (120 - 27.5) / 6, floored to a lot
    job = after(job, due.changed)
    assert pace.due(fill(job, D(6)), job.slices[6].due_at, MIN).quantity == D("9.41")


def test_half_fills_and_late_reports_never_buy_more() -> None:
    """Four slices of 10; every fill is reported one slice late: still 40 in all, not 43.9."""
    job = job_of("40", slices=4)
    late = D(0)
    for row in job.slices:
        due = pace.due(job, row.due_at, MIN)
        job = fill(after(job, due.changed), late)
        shown = pace.due(job, row.due_at, MIN).quantity
        assert job.filled + shown <= 40
        late = floor_to(shown / 2, LOT)
    assert pace.due(fill(job, late), T0 + HOUR, MIN).quantity == 40 - job.filled - late


def test_fills_finer_than_a_lot_leave_exactly_the_rest_due() -> None:
    """An order of 25 that filled 10.0026 shows 14.9974, and that is what is due."""
    for strategy in (Strategy.SINGLE, Strategy.TWAP):
        job = job_of("25", filled="10.0026", strategy=strategy, slices=1)
        assert pace.due(job, T0, MIN).quantity == D("14.9974")


def test_a_failed_trade_is_done_again_in_the_slice_that_is_open() -> None:
    job = job_of("40", slices=4)
    job = fill(after(job, pace.due(job, T0, MIN).changed), D(10))
    second = job.slices[1].due_at
    job = after(job, pace.due(job, second, MIN).changed)
    assert pace.due(job, second, MIN).quantity == 10
    assert pace.due(fill(job, D(-10)), second, MIN).quantity == 20
    end = T0 + HOUR
    job = after(fill(job, D(-10)), pace.due(fill(job, D(-10)), end, MIN).changed)
    assert pace.due(job, end, MIN).quantity == 40


def test_a_later_segment_begins_with_what_was_filled_before_it() -> None:
    job = job_of("40", slices=4)
    job = replace(job, total=D(100), filled=D(60), segment=Segment(1, T0, D(60)))
    first = pace.due(job, T0, MIN)
    assert first.quantity == 10
    job = fill(after(job, first.changed), D(4))
    assert pace.due(job, T0, MIN).quantity == 6
    assert [row.filled for row in pace.closing(job)] == [D(4)]


def test_an_end_that_could_never_be_legal_comes_with_what_is_before_it() -> None:
    for catch_up in CatchUp:
        assert run(job_of("9.99", slices=2, catch_up=catch_up), [1, 2]) == [D("9.99")]
        assert run(job_of("10", slices=2, catch_up=catch_up), [1, 2]) == [D(5), D(5)]


def test_never_caught_up_means_by_the_batch() -> None:
    """Slices of 4, taken two by two because the least is 5."""
    job = job_of("40", slices=10, catch_up=CatchUp.NONE)
    assert run(job, list(range(1, 10))) == [D(8)] * 4
    second = job.slices[1].due_at
    job = after(job, pace.due(job, second, MIN).changed)
    assert pace.due(fill(job, D(3)), second, MIN).quantity == 5
    third = job.slices[2].due_at
    assert pace.due(fill(job, D(3)), third, MIN).quantity == 4
    fourth = job.slices[3].due_at
    assert pace.due(fill(job, D(3)), fourth, MIN).quantity == 8


def test_rows_of_an_older_segment_are_left_alone() -> None:
    job = job_of("40", slices=4)
    old = tuple(replace(row, segment=0) for row in job.slices)
    mixed = replace(job, slices=old + job.slices)
    assert pace.due(mixed, T0, MIN) == pace.due(job, T0, MIN)


def test_nothing_is_due_before_the_start() -> None:
    job = job_of("40", slices=4)
    assert pace.due(job, T0 - timedelta(seconds=1), MIN) == pace.Due(D(0), (), T0)


@given(
    total=st.integers(500, 10**6).map(lambda n: D(n).scaleb(-2)),
    slices=st.integers(1, 40),
    catch_up=st.sampled_from(CatchUp),
    steps=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 100)), max_size=30),
)
def test_due_stays_within_what_is_left(
    total: Decimal, slices: int, catch_up: CatchUp, steps: list[tuple[int, int]]
) -> None:
    job, now = job_of(str(total), slices=slices, catch_up=catch_up), T0
    for seconds, percent in steps:
        now += timedelta(seconds=seconds)
        due = pace.due(job, now, MIN)
        assert 0 <= due.quantity <= job.remaining
        assert due.next_at is None or due.next_at > now
        job = after(job, due.changed)
        assert pace.due(job, now, MIN) == replace(due, changed=())
        job = fill(job, (due.quantity * percent / 100).quantize(D("0.01"), rounding="ROUND_DOWN"))
    if catch_up is not CatchUp.NONE:
        assert pace.due(job, T0 + HOUR, MIN).quantity == job.remaining


@given(slices=st.integers(1, 40), moments=st.lists(st.integers(0, 3600), min_size=2, max_size=20))
def test_next_slice_never_falls_without_fills(slices: int, moments: list[int]) -> None:
    job = job_of("123.45", slices=slices, catch_up=CatchUp.NEXT_SLICE)
    dues = [pace.due(job, T0 + timedelta(seconds=s), MIN).quantity for s in sorted(moments)]
    assert dues == sorted(dues)


@pytest.mark.parametrize(
    ("bound", "filled", "least"),
    [
        (None, "0", "5"),
        ("10", "0", "10"),
        ("10", "90", "10"),
        ("10", "90.01", "5"),
        ("2", "0", "5"),
    ],
)
def test_the_smallest_order(bound: str | None, filled: str, least: str) -> None:
    job = job_of("100", filled=filled, min_order_size=D(bound) if bound else None)
    info = MarketInfo(
        token_id="1",
        complement="2",
        condition_id="0x0",
        slug="s",
        question="q",
        outcome="Yes",
        tick=D("0.01"),
        min_size=MIN,
        neg_risk=False,
        accepting=True,
        fee_rate=D(0),
        fee_exponent=1,
        at=T0,
    )
    assert pace.least(job, info) == D(least)

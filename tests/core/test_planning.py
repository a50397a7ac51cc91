from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from runner.core import pace
from runner.core.diff import diff
from runner.core.errors import PlanError
from runner.core.lifecycles import JOB, PLAN
from runner.core.model import (
    Book,
    Decision,
    Job,
    JobKey,
    JobState,
    Level,
    Market,
    MarketInfo,
    Memory,
    OrderState,
    Quote,
    Segment,
    Side,
    Submit,
    TimeInForce,
    WorkingOrder,
)
from runner.core.plan import AtEnd, Gate, JobSpec, MarketRef, QuoteSpec, Split, Strategy, Style
from runner.core.planning import Ending, decide, drained, ending, gate_holds, worst_end

D = Decimal
T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = JobKey("p", "j")
MIN = D(5)
INFO = MarketInfo(
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
BOOK = Book((Level(D("0.34"), D(100)),), (Level(D("0.45"), D(10)),), T0)
MARKET = Market(INFO, BOOK)
FRESH = Memory()


def job_of(
    total: str = "100",
    *,
    filled: str = "0",
    style: Style = Style.TOP_BIDDER,
    strategy: Strategy = Strategy.TWAP,
    slices: int = 4,
    at_end: AtEnd = AtEnd.CANCEL,
) -> Job:
    spec = JobSpec(
        market=MarketRef(token_id="1"),
        side=Side.BUY,
        total_shares=D(total),
        limit_price=D("0.40"),
        time_window_minutes=D(60),
        at_end=at_end,
        split=Split(strategy=strategy, slices=slices if strategy is Strategy.TWAP else None),
        quote=QuoteSpec(style=style),
    )
    segment = Segment(1, T0, D(0))
    return Job(
        key=KEY,
        spec=spec,
        state=JobState.WORKING,
        token_id="1",
        total=D(total),
        filled=D(filled),
        segment=segment,
        slices=pace.plan_slices(
            spec, remaining=D(total), segment=segment, end=T0 + HOUR, max_order_size=D(100)
        ),
        ends_at=T0 + HOUR,
        seed="s",
        max_order_size=D(100),
    )


def order(size: str, price: str = "0.35", state: OrderState = OrderState.LIVE) -> WorkingOrder:
    return WorkingOrder(
        order_id="0x1",
        key=KEY,
        token_id="1",
        side=Side.BUY,
        price=D(price),
        size=D(size),
        matched=D(0),
        state=state,
        cancel_requested=False,
        created_at=T0,
        expires_at=None,
        time_in_force=TimeInForce.GTD,
    )


def test_pace_times_quoting() -> None:
    job = job_of()
    decision = decide(job, FRESH, MARKET, T0)
    assert decision == Decision(
        quote=Quote(Side.BUY, D("0.35"), D(25), TimeInForce.GTC, post_only=True),
        hold=False,
        reasons=("QUOTE: best 0.34, ours 0.35",),
        memory=Memory(moved_at=T0, price=D("0.35")),
        wake_at=T0 + HOUR / 4,
        slices=(replace(job.slices[0], opened_at=T0),),
        least=MIN,
        at=T0,
    )


def test_it_wakes_at_whatever_comes_first() -> None:
    last = T0 + HOUR * 3 / 4
    assert decide(job_of(), FRESH, MARKET, last).wake_at == T0 + HOUR
    high = replace(job_of(), working=(order("25", "0.39"),))
    assert decide(high, FRESH, MARKET, T0).wake_at == T0 + timedelta(seconds=5)
    assert decide(job_of(at_end=AtEnd.KEEP), FRESH, MARKET, T0 + HOUR * 2).wake_at is None
    assert decide(job_of(at_end=AtEnd.KEEP), FRESH, MARKET, T0 + HOUR).wake_at is None


def test_nothing_due_shows_nothing() -> None:
    decision = decide(job_of(filled="25"), FRESH, MARKET, T0)
    assert (decision.quote, decision.hold) == (None, False)
    assert decision.reasons == ("NOTHING_DUE",)
    assert decision.wake_at == T0 + HOUR / 4


def test_too_little_to_be_legal_waits_but_what_works_is_looked_after() -> None:
    job = job_of(filled="22")
    decision = decide(job, FRESH, MARKET, T0)
    assert decision.quote is None
    assert decision.reasons == ("BELOW_MINIMUM: 3 due, 5 is the least",)
    enough = decide(job_of(filled="20"), FRESH, MARKET, T0).quote
    assert enough is not None
    assert enough.size == 5
    decision = decide(replace(job, working=(order("3"),)), FRESH, MARKET, T0)
    assert decision.quote is not None
    assert decision.quote.size == 3


def test_a_market_that_accepts_nothing_is_waited_for() -> None:
    closed = replace(MARKET, info=replace(INFO, accepting=False))
    decision = decide(job_of(), FRESH, closed, T0)
    assert (decision.quote, decision.hold) == (None, True)
    assert decision.reasons == ("MARKET_NOT_ACCEPTING",)


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.WORKING])
def test_only_a_working_job_wants_anything(state: JobState) -> None:
    decision = decide(replace(job_of(), state=state), FRESH, MARKET, T0)
    assert (decision.quote, decision.hold) == (None, False)


def test_a_crossing_buy_must_be_worth_a_dollar() -> None:
    cheap = Book((), (Level(D("0.04"), D(500)),), T0)
    job = replace(
        job_of(style=Style.LIMIT, strategy=Strategy.SINGLE),
        spec=job_of(style=Style.LIMIT, strategy=Strategy.SINGLE).spec.model_copy(
            update={"limit_price": D("0.04")}
        ),
    )
    assert decide(job, FRESH, Market(INFO, cheap), T0).least == 25


def test_a_pass_decides_in_tens_of_microseconds() -> None:
    """A guard against accidental quadratic work, with room for a slow machine."""
    job = job_of(slices=100, total="10000")
    bids = tuple(Level(D(n).scaleb(-3), D(100)) for n in range(390, 300, -1))
    market = Market(INFO, Book(bids, BOOK.asks, T0))
    late = T0 + HOUR * 99 / 100
    began = time.perf_counter()
    for _ in range(200):
        diff(job, decide(job, FRESH, market, late))
    assert (time.perf_counter() - began) / 200 < 0.002


def test_a_whole_job_by_hand() -> None:
    """TWAP under a top bidder, each order filled in full by the next slice: exactly the total."""
    job, memory, orders = job_of("101.01", slices=7), FRESH, []
    for row in job.slices:
        decision = decide(job, memory, MARKET, row.due_at)
        latest = {changed.n: changed for changed in decision.slices}
        memory = decision.memory
        job = replace(job, slices=tuple(latest.get(s.n, s) for s in job.slices))
        for action in diff(job, decision).actions:
            assert isinstance(action, Submit)
            orders.append(action.size)
            job = replace(job, filled=job.filled + action.size)
    assert orders == [D("14.43")] * 7
    assert ending(job, T0, MIN) == Ending(JobState.COMPLETED, "TOTAL_REACHED: 101.01 of 101.01")


@pytest.mark.parametrize(
    ("gate", "side", "book", "holds"),
    [
        (Gate(price_at_most=D("0.45")), Side.BUY, BOOK, True),
        (Gate(price_at_most=D("0.44")), Side.BUY, BOOK, False),
        (Gate(price_at_least=D("0.45")), Side.BUY, BOOK, True),
        (Gate(price_at_least=D("0.46")), Side.BUY, BOOK, False),
        (Gate(price_at_least=D("0.34")), Side.SELL, BOOK, True),
        (Gate(price_at_least=D("0.35")), Side.SELL, BOOK, False),
        (Gate(price_at_most=D("0.45")), Side.BUY, None, False),
        (Gate(price_at_most=D("0.45")), Side.BUY, replace(BOOK, asks=()), False),
    ],
)
def test_the_gate(gate: Gate, side: Side, book: Book | None, holds: bool) -> None:
    assert gate_holds(gate, side, book) is holds


@pytest.mark.parametrize(
    ("filled", "at", "at_end", "end", "code"),
    [
        ("0", T0, AtEnd.CANCEL, None, ""),
        ("100", T0, AtEnd.CANCEL, JobState.COMPLETED, "TOTAL_REACHED"),
        ("101", T0, AtEnd.CANCEL, JobState.COMPLETED, "TOTAL_REACHED"),
        ("95.01", T0, AtEnd.CANCEL, JobState.COMPLETED, "REMAINDER_TOO_SMALL: 4.99 left"),
        ("95", T0, AtEnd.CANCEL, None, ""),
        ("40", T0 + HOUR, AtEnd.CANCEL, JobState.EXPIRED, "WINDOW_OVER: 60 of 100 left"),
        ("40", T0 + HOUR, AtEnd.KEEP, None, ""),
        ("97", T0 + HOUR, AtEnd.KEEP, JobState.COMPLETED, "REMAINDER_TOO_SMALL"),
    ],
)
def test_endings(filled: str, at: datetime, at_end: AtEnd, end: JobState | None, code: str) -> None:
    seen = ending(job_of(filled=filled, at_end=at_end), at, MIN)
    if end is None:
        assert seen is None
    else:
        assert seen is not None
        assert seen.state is end
        assert seen.reason.startswith(code)


def test_a_small_remainder_that_still_works_is_waited_for() -> None:
    assert ending(replace(job_of(filled="97"), working=(order("3"),)), T0, MIN) is None


def test_taking_at_the_end_is_not_pretended() -> None:
    with pytest.raises(PlanError, match="not available yet"):
        ending(job_of(at_end=AtEnd.TAKE), T0 + HOUR, MIN)


@pytest.mark.parametrize(
    ("filled", "intended", "at", "event"),
    [
        ("100", JobState.COMPLETED, T0, "completed"),
        ("96", JobState.COMPLETED, T0, "completed"),
        ("90", JobState.COMPLETED, T0, "reopened"),
        ("95", JobState.COMPLETED, T0, "reopened"),
        ("90", JobState.COMPLETED, T0 + HOUR, "expired"),
        ("90", JobState.WITHDRAWN, T0, "withdrawn"),
        ("90", JobState.EXPIRED, T0 + HOUR, "expired"),
        ("90", JobState.FAILED, T0, "failed"),
    ],
)
def test_drained(filled: str, intended: JobState, at: datetime, event: str) -> None:
    job = replace(job_of(filled=filled), state=JobState.DRAINING)
    assert drained(job, intended, at, MIN, provisional=False) == event
    assert JOB.allows(JobState.DRAINING, event)
    assert drained(job, intended, at, MIN, provisional=True) is None
    busy = replace(job, working=(order("5", state=OrderState.UNKNOWN),))
    assert drained(busy, intended, at, MIN, provisional=False) is None


def test_kept_jobs_have_no_window_that_closes() -> None:
    job = replace(job_of(filled="90", at_end=AtEnd.KEEP), state=JobState.DRAINING)
    seen = drained(job, JobState.COMPLETED, T0 + HOUR * 2, MIN, provisional=False)
    assert seen == "reopened"


@pytest.mark.parametrize(
    ("states", "event"),
    [
        (["completed", "completed"], "completed"),
        (["completed", "withdrawn"], "withdrawn"),
        (["withdrawn", "expired", "completed"], "expired"),
        (["expired", "failed", "withdrawn"], "failed"),
        (["completed", "expired", "failed", "withdrawn"], "failed"),
        (["completed", "working"], None),
        (["completed", "draining"], None),
        ([], None),
    ],
)
def test_a_plan_ends_as_the_worst_of_its_jobs(states: list[str], event: str | None) -> None:
    assert worst_end(JobState(state) for state in states) == event
    if event is not None:
        assert {event} <= {name for name, *_ in PLAN.table}

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.diff import ORDERS_AT_PRICE, Changes, diff
from runner.core.errors import InvariantBroken
from runner.core.model import (
    Cancel,
    Decision,
    Job,
    JobKey,
    JobState,
    Memory,
    OrderState,
    Quote,
    Segment,
    Side,
    Submit,
    TimeInForce,
    WorkingOrder,
)
from runner.core.plan import JobSpec, MarketRef, QuoteSpec, Style

D = Decimal
T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEY = JobKey("p", "j")


def order(
    n: int,
    size: str,
    *,
    price: str = "0.50",
    matched: str = "0",
    state: OrderState = OrderState.LIVE,
    leaving: bool = False,
) -> WorkingOrder:
    """The n-th order of the job by age."""
    return WorkingOrder(
        order_id=f"0x{n}",
        key=KEY,
        token_id="1",
        side=Side.BUY,
        price=D(price),
        size=D(size),
        matched=D(matched),
        state=state,
        cancel_requested=leaving,
        created_at=T0 + timedelta(seconds=n),
        expires_at=None,
        time_in_force=TimeInForce.GTD,
    )


def job_of(
    *working: WorkingOrder,
    total: str = "1000",
    filled: str = "0",
    cap: str = "100",
    style: Style = Style.LIMIT,
) -> Job:
    return Job(
        key=KEY,
        spec=JobSpec(
            market=MarketRef(token_id="1"),
            side=Side.BUY,
            total_shares=D(1000),
            limit_price=D("0.50"),
            quote=QuoteSpec(style=style),
        ),
        state=JobState.WORKING,
        token_id="1",
        total=D(total),
        filled=D(filled),
        segment=Segment(1, T0, D(0)),
        slices=(),
        ends_at=None,
        seed="s",
        max_order_size=D(cap),
        working=working,
    )


def want(
    size: str | None, *, price: str = "0.50", hold: bool = False, tif: str = "gtc"
) -> Decision:
    quote = None
    if size is not None:
        quote = Quote(Side.BUY, D(price), D(size), TimeInForce(tif), post_only=True)
    return Decision(quote, hold, (), Memory(), least=D(5))


def sizes(changes: Changes) -> list[Decimal]:
    assert all(isinstance(action, Submit) for action in changes.actions)
    return [action.size for action in changes.actions if isinstance(action, Submit)]


def cancelled(changes: Changes) -> list[str]:
    assert all(isinstance(action, Cancel) for action in changes.actions)
    return [action.order_id for action in changes.actions if isinstance(action, Cancel)]


def carried_out(job: Job, changes: Changes, state: OrderState) -> Job:
    """The job once the actions are recorded (submitting) or in force (live)."""
    gone = {action.order_id for action in changes.actions if isinstance(action, Cancel)}
    working = tuple(
        replace(o, cancel_requested=o.cancel_requested or o.order_id in gone) for o in job.working
    )
    start = len(working) + 100
    working += tuple(
        order(start + n, str(action.size), price=str(action.price), state=state)
        for n, action in enumerate(changes.actions)
        if isinstance(action, Submit)
    )
    return replace(job, working=working)


def test_a_new_order_carries_the_quote() -> None:
    assert diff(job_of(), want("40")).actions == (
        Submit(KEY, "1", Side.BUY, D("0.50"), D(40), TimeInForce.GTC, post_only=True),
    )


def test_an_order_at_the_wanted_price_keeps_its_place() -> None:
    assert diff(job_of(order(1, "40")), want("40")) == Changes()
    assert diff(job_of(order(1, "40")), replace(want("40"), least=D(0))) == Changes()
    assert diff(job_of(order(1, "40", matched="15"), filled="15"), want("25")) == Changes()


def test_growth_adds_an_order_and_never_resizes() -> None:
    assert sizes(diff(job_of(order(1, "40")), want("60"))) == [D(20)]


def test_growth_below_the_legal_minimum_waits() -> None:
    assert diff(job_of(order(1, "40")), want("44.99")) == Changes()
    assert sizes(diff(job_of(order(1, "40")), want("45"))) == [D(5)]


def test_every_child_is_capped() -> None:
    assert sizes(diff(job_of(), want("250"))) == [D(100), D(100), D(50)]


def test_at_most_four_at_a_price_and_one_for_a_top_bidder() -> None:
    assert sizes(diff(job_of(), want("1000"))) == [D(100)] * ORDERS_AT_PRICE
    three = [order(n, "100") for n in range(3)]
    assert sizes(diff(job_of(*three), want("1000"))) == [D(100)]
    assert sizes(diff(job_of(style=Style.TOP_BIDDER), want("250"))) == [D(100)]
    assert diff(job_of(order(1, "7"), style=Style.TOP_BIDDER), want("250")) == Changes()


@pytest.mark.parametrize(
    ("total", "expected"),
    [("203", ["100", "98", "5"]), ("106", ["100", "6"]), ("104", ["99", "5"]), ("100", ["100"])],
)
def test_no_order_leaves_the_job_an_illegal_rest(total: str, expected: list[str]) -> None:
    assert sizes(diff(job_of(total=total), want(total))) == [D(size) for size in expected]


def test_two_of_the_least_are_better_than_one_and_a_rest() -> None:
    assert sizes(diff(job_of(total="10", cap="7"), want("10"))) == [D(5), D(5)]


def test_a_rest_that_cannot_be_avoided_is_left() -> None:
    job = job_of(total="9", cap="5")
    assert sizes(diff(job, want("9"))) == [D(5)]


def test_shrinking_cancels_the_youngest_first() -> None:
    job = job_of(order(1, "40"), order(3, "30"), order(2, "20"))
    assert cancelled(diff(job, want("60"))) == ["0x3"]
    assert cancelled(diff(job, want("59"))) == ["0x3", "0x2"]
    assert cancelled(diff(job, want("90"))) == []
    assert diff(job, want("60")).actions == (Cancel("0x3", "SHRINK: 90 shown, 60 wanted"),)


def test_less_than_a_lot_too_much_is_no_reason_to_lose_a_place() -> None:
    job = job_of(order(1, "25", matched="10.0026"), filled="10.0026")
    assert diff(job, want("14.9974")) == Changes()
    assert diff(job, want("14.99")) == Changes()
    assert cancelled(diff(job, want("14.9874"))) == ["0x1"]
    fine = job_of(total="100", filled="0.0026")
    assert sizes(diff(fine, want("99.9974"))) == [D("99.99")]


def test_a_new_price_cancels_first_and_replaces_after_the_proven_end() -> None:
    job = job_of(order(1, "40"))
    moving = diff(job, want("40", price="0.49"))
    assert moving.actions == (Cancel("0x1", "MOVE: to 0.49"),)
    job = carried_out(job, moving, OrderState.LIVE)
    assert diff(job, want("40", price="0.49")) == Changes()
    closing = job_of(order(1, "40", state=OrderState.CLOSING))
    assert diff(closing, want("40", price="0.49")) == Changes()
    assert sizes(diff(job_of(), want("40", price="0.49"))) == [D(40)]


def test_nothing_wanted_cancels_everything_once() -> None:
    job = job_of(order(1, "40"), order(2, "9", price="0.48"), order(3, "5", leaving=True))
    assert cancelled(diff(job, want(None))) == ["0x1", "0x2"]
    assert {a.why for a in diff(job, want(None)).actions if isinstance(a, Cancel)} == {"NOT_WANTED"}


@pytest.mark.parametrize("state", [OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.CLOSING])
def test_nothing_new_while_an_order_is_in_motion(state: OrderState) -> None:
    assert diff(job_of(order(1, "40", state=state)), want("100")).actions == ()
    assert diff(job_of(order(1, "40", leaving=True)), want("100")).actions == ()


def test_what_is_still_being_sent_is_not_cancelled_until_its_outcome_is_known() -> None:
    job = job_of(order(1, "40", state=OrderState.SUBMITTING), order(2, "40"))
    assert cancelled(diff(job, want(None))) == ["0x2"]
    lost = job_of(order(1, "40", state=OrderState.UNKNOWN))
    assert cancelled(diff(lost, want(None))) == ["0x1"]


def test_hold_leaves_everything_as_it_is() -> None:
    job = job_of(order(1, "40"), order(2, "40", price="0.40"))
    assert diff(job, want(None, hold=True)) == Changes()
    assert diff(job, want("500", hold=True)) == Changes()


def test_even_while_holding_nothing_stands_past_the_limit_or_the_total() -> None:
    """A revision may lower either while the book is stale."""
    past = job_of(order(1, "40", price="0.51"), order(2, "40"))
    assert diff(past, want(None, hold=True)).actions == (Cancel("0x1", "PAST_LIMIT: limit 0.5"),)
    exact = job_of(order(1, "40"), order(2, "40"), total="100", filled="20")
    assert diff(exact, want(None, hold=True)) == Changes()
    less = job_of(order(3, "40"), order(1, "40"), order(2, "30"), total="100", filled="20")
    assert diff(less, want(None, hold=True)).actions == (Cancel("0x3", "SHRINK: 10 left"),)
    unknown = order(1, "40", state=OrderState.UNKNOWN)
    over = job_of(unknown, total="100", filled="61")
    assert diff(over, want("40", hold=True)).repeatable == frozenset()
    assert cancelled(diff(over, want("40", hold=True))) == ["0x1"]


def test_a_sell_past_its_limit_is_a_sell_below_it() -> None:
    job = job_of()
    spec = job.spec.model_copy(update={"side": Side.SELL})
    at, below = (
        replace(order(n, "40", price=price), side=Side.SELL)
        for n, price in enumerate(["0.50", "0.49"])
    )
    job = replace(job, spec=spec, working=(at, below))
    assert cancelled(diff(job, want(None, hold=True))) == ["0x1"]


def test_an_unknown_order_may_be_repeated_only_while_it_is_wanted_as_it_is() -> None:
    unknown = order(1, "40", state=OrderState.UNKNOWN)
    assert diff(job_of(unknown), want("40")).repeatable == {"0x1"}
    assert diff(job_of(unknown), want("100")).repeatable == {"0x1"}
    assert diff(job_of(unknown), want("40", hold=True)).repeatable == {"0x1"}
    assert diff(job_of(unknown), want("39.995")).repeatable == {"0x1"}
    for other in (want("39.99"), want("40", price="0.49"), want(None), want(None, hold=True)):
        assert diff(job_of(unknown), other).repeatable == frozenset()
    assert diff(job_of(unknown), want("39.99", hold=True)).repeatable == frozenset()
    leaving = replace(unknown, cancel_requested=True)
    assert diff(job_of(leaving), want("40")).repeatable == frozenset()
    two = job_of(unknown, order(2, "40", state=OrderState.UNKNOWN))
    assert diff(two, want("60")).repeatable == {"0x1"}
    assert cancelled(diff(two, want("60"))) == ["0x2"]


def test_a_dollar_bounded_buy_comes_in_whole_cents() -> None:
    assert sizes(diff(job_of(), want("40.3", price="0.49", tif="fak"))) == [D(40)]


def test_more_than_the_total_is_never_asked_for() -> None:
    with pytest.raises(InvariantBroken, match="exceed the total"):
        diff(job_of(total="100", filled="60"), want("41"))
    with pytest.raises(InvariantBroken, match="exceed the total"):
        diff(job_of(order(1, "50"), total="100", filled="60"), want("60"))


def test_failed_trades_count_as_leaves_gone_and_not_as_filled() -> None:
    """Of 40 all matched, 10 failed: the order is over, and 10 are missing again."""
    job = job_of(order(1, "40", matched="40", state=OrderState.LIVE), total="40", filled="30")
    assert sizes(diff(job, want("10"))) == [D(10)]


orders = st.lists(
    st.builds(
        order,
        st.integers(1, 10**6),
        st.integers(1, 5000).map(lambda n: str(D(n).scaleb(-2))),
        price=st.sampled_from(["0.50", "0.49"]),
        state=st.sampled_from(list(OrderState)[:-1]),
        leaving=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda o: o.order_id,
)


@given(
    working=orders,
    filled=st.integers(0, 3000).map(lambda n: D(n).scaleb(-2)),
    spare=st.integers(0, 50_000).map(lambda n: D(n).scaleb(-2)),
    part=st.integers(0, 100),
    cap=st.integers(5, 100),
    style=st.sampled_from([Style.LIMIT, Style.TOP_BIDDER]),
    hold=st.booleans(),
)
def test_total_kept_sizes_legal_and_idempotent(
    working: list[WorkingOrder],
    filled: Decimal,
    spare: Decimal,
    part: int,
    cap: int,
    style: Style,
    hold: bool,
) -> None:
    total = filled + sum((o.leaves for o in working), D(0)) + spare
    job = job_of(*working, total=str(total), filled=str(filled), cap=str(cap), style=style)
    here = sum((o.leaves for o in working if o.price == D("0.50")), D(0))
    decision = want(str(((here + spare) * part / 100).quantize(D("0.01"), "ROUND_DOWN")), hold=hold)
    changes = diff(job, decision)
    new = [action for action in changes.actions if isinstance(action, Submit)]
    assert filled + sum((o.leaves for o in working), D(0)) + sum(a.size for a in new) <= total
    assert all(D(5) <= action.size <= cap for action in new)
    assert not new or all(o.state is OrderState.LIVE for o in working)
    for state in (OrderState.SUBMITTING, OrderState.LIVE):
        done = carried_out(job, changes, state)
        assert diff(done, decision).actions == ()


def test_a_young_unknown_order_is_settled_before_it_is_moved() -> None:
    """It is sent again rather than cancelled: what never arrived could not be proven gone."""
    young = order(1, "40", price="0.48", state=OrderState.UNKNOWN)
    moved = replace(want("40"), at=young.created_at + timedelta(seconds=29))
    assert diff(job_of(young), moved) == Changes(repeatable=frozenset({"0x1"}))

    old = replace(moved, at=young.created_at + timedelta(seconds=30))
    assert [type(action) for action in diff(job_of(young), old).actions] == [Cancel]

    past = order(1, "40", price="0.51", state=OrderState.UNKNOWN)
    assert [type(action) for action in diff(job_of(past), moved).actions] == [Cancel]
    nothing = replace(moved, quote=None)
    assert [type(action) for action in diff(job_of(young), nothing).actions] == [Cancel]
    live = replace(young, state=OrderState.LIVE)
    assert [type(action) for action in diff(job_of(live), moved).actions] == [Cancel]

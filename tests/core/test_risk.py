from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core import money
from runner.core.model import (
    Book,
    JobKey,
    Level,
    Limits,
    Market,
    MarketInfo,
    OrderState,
    Position,
    RiskView,
    Side,
    Submit,
    TimeInForce,
    TradingState,
    WorkingOrder,
)
from runner.core.risk import Allow, Code, Deny, Verdict, check

D = Decimal
T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEY = JobKey("p", "j")
OTHER = JobKey("q", "j")
INFO = MarketInfo(
    token_id="yes",
    complement="no",
    condition_id="0x0",
    slug="the-market",
    question="q",
    outcome="Yes",
    tick=D("0.01"),
    min_size=D(5),
    neg_risk=False,
    accepting=True,
    fee_rate=D("0.07"),
    fee_exponent=1,
    at=T0,
)
BOOK = Book((Level(D("0.48"), D(100)),), (Level(D("0.52"), D(100)),), T0)
MARKET = Market(INFO, BOOK)
BUY = Submit(KEY, "yes", Side.BUY, D("0.50"), D(10), TimeInForce.GTC, post_only=True)
SELL = replace(BUY, side=Side.SELL)
VIEW = RiskView(
    trading=TradingState.ACTIVE,
    limits=Limits(),
    plan_limits=Limits(),
    plan_max_loss=None,
    positions={},
    plan_positions={},
    working=(),
    day_pnl=D(0),
    plan_pnl=D(0),
)


def ask(
    submit: Submit = BUY, *, limit: str | None = None, market: Market = MARKET, **view: Any
) -> Verdict:
    price = D(limit) if limit else D("0.50")
    return check(submit, price, market, replace(VIEW, **view))


def code(verdict: Verdict) -> Code | None:
    return verdict.code if isinstance(verdict, Deny) else None


def order(
    size: str,
    price: str = "0.40",
    *,
    side: Side = Side.BUY,
    token: str = "yes",
    key: JobKey = OTHER,
    matched: str = "0",
    state: OrderState = OrderState.LIVE,
) -> WorkingOrder:
    return WorkingOrder(
        order_id="0x1",
        key=key,
        token_id=token,
        side=side,
        price=D(price),
        size=D(size),
        matched=D(matched),
        state=state,
        cancel_requested=False,
        created_at=T0,
        expires_at=None,
        time_in_force=TimeInForce.GTD,
    )


def held(shares: str, cost: str = "0", token: str = "yes") -> dict[str, Position]:
    return {token: Position(token, D(shares), D(shares), D(cost))}


def test_an_ordinary_order_is_allowed() -> None:
    assert ask() == Allow()
    assert ask(SELL) == Allow()


def test_a_denial_reads_as_code_and_facts() -> None:
    verdict = ask(limits=Limits(max_order_size=D(9)))
    assert str(verdict) == "SIZE_ABOVE_MAXIMUM: 10 would pass 9"


# One test a code. Every pair is a boundary: the last that is allowed, the first that is denied.


def test_trading_halted() -> None:
    for submit in (BUY, SELL):
        assert code(ask(submit, trading=TradingState.HALTED)) is Code.TRADING_HALTED


def test_trading_reducing() -> None:
    reducing: dict[str, Any] = {"trading": TradingState.REDUCING, "positions": held("10")}
    assert code(ask(BUY, **reducing)) is Code.TRADING_REDUCING
    assert ask(SELL, **reducing) == Allow()
    assert code(ask(replace(SELL, size=D("10.01")), **reducing)) is Code.TRADING_REDUCING
    selling = (order("0.01", "0.60", side=Side.SELL),)
    assert code(ask(SELL, working=selling, **reducing)) is Code.TRADING_REDUCING


def test_market_not_accepting() -> None:
    market = replace(MARKET, info=replace(INFO, accepting=False))
    assert code(ask(market=market)) is Code.MARKET_NOT_ACCEPTING


@pytest.mark.parametrize(
    ("price", "denied"), [("0.01", False), ("0.99", False), ("0", True), ("1", True), ("NaN", True)]
)
def test_price_out_of_range(price: str, denied: bool) -> None:
    verdict = ask(replace(BUY, price=D(price), size=D(100)), limit="0.99")
    assert (code(verdict) is Code.PRICE_OUT_OF_RANGE) is denied


def test_price_off_tick() -> None:
    assert code(ask(replace(BUY, price=D("0.495")))) is Code.PRICE_OFF_TICK
    fine = replace(MARKET, info=replace(INFO, tick=D("0.005")))
    assert ask(replace(BUY, price=D("0.495")), market=fine) == Allow()


@pytest.mark.parametrize(("submit", "worse"), [(BUY, "0.499999"), (SELL, "0.500001")])
def test_price_past_limit(submit: Submit, worse: str) -> None:
    assert ask(submit, limit="0.5") == Allow()
    assert code(ask(submit, limit=worse)) is Code.PRICE_PAST_LIMIT


def test_price_outside_collar() -> None:
    collar = Limits(price_collar=D("0.02"))
    assert ask(replace(BUY, price=D("0.52")), limit="0.9", limits=collar) == Allow()
    far = replace(BUY, price=D("0.53"))
    assert code(ask(far, limit="0.9", limits=collar)) is Code.PRICE_OUTSIDE_COLLAR
    assert ask(replace(SELL, price=D("0.48")), limit="0.1", limits=collar) == Allow()
    low = replace(SELL, price=D("0.47"))
    assert code(ask(low, limit="0.1", limits=collar)) is Code.PRICE_OUTSIDE_COLLAR
    assert ask(replace(BUY, price=D("0.10")), limits=collar) == Allow()


@pytest.mark.parametrize("book", [None, replace(BOOK, bids=()), replace(BOOK, asks=())])
def test_price_reference_missing(book: Book | None) -> None:
    market = replace(MARKET, book=book)
    collar = Limits(price_collar=D("0.02"))
    assert code(ask(market=market, limits=collar)) is Code.PRICE_REFERENCE_MISSING
    assert ask(market=market) == Allow()


@pytest.mark.parametrize(
    ("size", "denied"), [("5", False), ("4.99", True), ("0", True), ("-5", True), ("NaN", True)]
)
def test_size_below_minimum(size: str, denied: bool) -> None:
    verdict = ask(replace(BUY, size=D(size)))
    assert (code(verdict) is Code.SIZE_BELOW_MINIMUM) is denied


def test_nothing_is_no_size_even_where_the_market_has_no_minimum() -> None:
    market = replace(MARKET, info=replace(INFO, min_size=D(0)))
    assert ask(replace(BUY, size=D("0.01")), market=market) == Allow()
    assert code(ask(replace(BUY, size=D(0)), market=market)) is Code.SIZE_BELOW_MINIMUM


def test_size_off_lot() -> None:
    assert ask(replace(BUY, size=D("10.01"))) == Allow()
    assert code(ask(replace(BUY, size=D("10.001")))) is Code.SIZE_OFF_LOT
    taking = replace(BUY, price=D("0.49"), time_in_force=TimeInForce.FAK, post_only=False)
    assert ask(replace(taking, size=D(10))) == Allow()
    assert code(ask(replace(taking, size=D("10.01")))) is Code.SIZE_OFF_LOT


def test_size_above_maximum() -> None:
    assert ask(limits=Limits(max_order_size=D(10))) == Allow()
    assert code(ask(limits=Limits(max_order_size=D("9.99")))) is Code.SIZE_ABOVE_MAXIMUM


def test_value_below_minimum() -> None:
    cheap = replace(MARKET, book=Book((), (Level(D("0.10"), D(9)),), T0))
    taking = replace(BUY, price=D("0.10"), post_only=False)
    assert ask(taking, market=cheap) == Allow()
    small = replace(taking, size=D("9.99"))
    assert code(ask(small, market=cheap)) is Code.VALUE_BELOW_MINIMUM
    assert ask(replace(small, post_only=True), market=cheap) == Allow()
    assert ask(replace(small, price=D("0.09")), market=cheap) == Allow()
    assert ask(small, market=replace(cheap, book=None)) == Allow()


def test_value_above_maximum() -> None:
    for submit in (BUY, SELL):
        assert ask(submit, limits=Limits(max_order_value=D(5))) == Allow()
        verdict = ask(submit, limits=Limits(max_order_value=D("4.99")))
        assert code(verdict) is Code.VALUE_ABOVE_MAXIMUM


def test_orders_too_many() -> None:
    two = (order("5"), order("5", state=OrderState.UNKNOWN))
    assert ask(working=two, limits=Limits(max_open_orders=3)) == Allow()
    assert code(ask(working=two, limits=Limits(max_open_orders=2))) is Code.ORDERS_TOO_MANY


def test_orders_too_fast() -> None:
    limits = Limits(max_orders_per_second=3)
    assert ask(recent_submits=2, limits=limits) == Allow()
    assert code(ask(recent_submits=3, limits=limits)) is Code.ORDERS_TOO_FAST


@pytest.mark.parametrize("state", [s for s in OrderState if s is not OrderState.CLOSED])
def test_self_match(state: OrderState) -> None:
    def market(price: str, side: Side) -> Market:
        return replace(MARKET, own=(order("5", price, side=side, state=state),))

    assert ask(BUY, market=market("0.51", Side.SELL)) == Allow()
    assert code(ask(BUY, market=market("0.50", Side.SELL))) is Code.SELF_MATCH
    assert ask(SELL, market=market("0.49", Side.BUY)) == Allow()
    assert code(ask(SELL, market=market("0.50", Side.BUY))) is Code.SELF_MATCH
    assert ask(BUY, market=market("0.50", Side.BUY)) == Allow()


def test_position_above_maximum() -> None:
    limits = Limits(max_position_size=D(100))
    resting = (
        order("50", matched="20"),
        order("40", state=OrderState.UNKNOWN),
        order("999", side=Side.SELL, price="0.9"),
        order("999", token="no"),
    )
    assert ask(working=resting, positions=held("20"), limits=limits) == Allow()
    verdict = ask(working=resting, positions=held("20.01"), limits=limits)
    assert code(verdict) is Code.POSITION_ABOVE_MAXIMUM
    assert ask(SELL, working=resting, positions=held("500"), limits=limits) == Allow()


def test_exposure_above_maximum() -> None:
    """Held 20, resting 30 x 0.40 in another market, unknown 10 x 0.50 with its fee, new 5."""
    working = (
        order("30", token="another"),
        order("10", "0.50", state=OrderState.UNKNOWN),
        order("999", "0.90", side=Side.SELL),
    )
    exposed = D(20) + D(12) + D(5) + D("0.175") + D(5)
    view: dict[str, Any] = {"working": working, "positions": held("40", "20", "another")}
    assert ask(**view, limits=Limits(max_total_exposure=exposed)) == Allow()
    tight = Limits(max_total_exposure=exposed - D("0.000001"))
    assert code(ask(**view, limits=tight)) is Code.EXPOSURE_ABOVE_MAXIMUM
    assert ask(SELL, **view, limits=tight) == Allow()
    free = {"yes": (D(0), 1)}
    cheaper = Limits(max_total_exposure=exposed - D("0.175"))
    assert ask(**view, limits=cheaper, fee_schedules=free) == Allow()


def test_exposure_counts_the_fee_of_an_order_that_may_take() -> None:
    limits = Limits(max_total_exposure=D(5))
    assert ask(limits=limits) == Allow()
    taking = replace(BUY, post_only=False)
    assert code(ask(taking, limits=limits)) is Code.EXPOSURE_ABOVE_MAXIMUM
    assert ask(taking, limits=Limits(max_total_exposure=D("5.175"))) == Allow()


@pytest.mark.parametrize(
    ("pnl", "expected"),
    [
        ("-499.999999", None),
        ("-500", Code.LOSS_REACHED_MAXIMUM),
        ("100", None),
        ("NaN", Code.LOSS_NOT_KNOWN),
        (None, Code.LOSS_NOT_KNOWN),
    ],
)
def test_daily_loss(pnl: str | None, expected: Code | None) -> None:
    day = None if pnl is None else D(pnl)
    limits = Limits(max_daily_loss=D(500))
    assert code(ask(day_pnl=day, limits=limits)) is expected
    assert ask(SELL, day_pnl=day, limits=limits) == Allow()
    assert ask(day_pnl=day) == Allow()


def test_plan_size_above_maximum() -> None:
    assert ask(plan_limits=Limits(max_order_size=D(10))) == Allow()
    verdict = ask(plan_limits=Limits(max_order_size=D("9.99")))
    assert code(verdict) is Code.PLAN_SIZE_ABOVE_MAXIMUM


def test_plan_position_above_maximum() -> None:
    limits = Limits(max_position_size=D(30))
    working = (order("15", key=KEY), order("999", key=OTHER))
    assert ask(working=working, plan_positions=held("5"), plan_limits=limits) == Allow()
    verdict = ask(working=working, plan_positions=held("5.01"), plan_limits=limits)
    assert code(verdict) is Code.PLAN_POSITION_ABOVE_MAXIMUM


def test_plan_exposure_above_maximum() -> None:
    working = (order("10", key=KEY), order("999", key=OTHER))
    view: dict[str, Any] = {"working": working, "plan_positions": held("4", "2")}
    assert ask(**view, plan_limits=Limits(max_total_exposure=D(11))) == Allow()
    verdict = ask(**view, plan_limits=Limits(max_total_exposure=D("10.99")))
    assert code(verdict) is Code.PLAN_EXPOSURE_ABOVE_MAXIMUM


@pytest.mark.parametrize(
    ("pnl", "expected"),
    [
        ("-49.99", None),
        ("-50", Code.PLAN_LOSS_REACHED_MAXIMUM),
        (None, Code.PLAN_LOSS_NOT_KNOWN),
    ],
)
def test_plan_loss(pnl: str | None, expected: Code | None) -> None:
    loss = None if pnl is None else D(pnl)
    assert code(ask(plan_pnl=loss, plan_max_loss=D(50))) is expected


@given(
    price=st.integers(-10, 110).map(lambda n: D(n).scaleb(-2)),
    size=st.integers(-100, 2000).map(lambda n: D(n).scaleb(-2)),
    side=st.sampled_from(Side),
    tif=st.sampled_from(TimeInForce),
    limit=st.integers(1, 99).map(lambda n: D(n).scaleb(-2)),
)
def test_whatever_is_allowed_can_be_signed_and_respects_the_limit(
    price: Decimal, size: Decimal, side: Side, tif: TimeInForce, limit: Decimal
) -> None:
    submit = Submit(KEY, "yes", side, price, size, tif, post_only=False)
    if check(submit, limit, MARKET, VIEW) == Allow():
        pair = money.amounts(side, price, size, tif, INFO.tick)
        assert money.never_worse(side, *pair, limit)


def test_every_code_has_its_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [member for member in Code if f"Code.{member}" not in source] == []

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.ledger import Execution, book, equity, fold
from runner.core.model import Liquidity, Position, Side, TradeState

D = Decimal
T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MICRO = Fraction(1, 1_000_000)


def execution(
    n: int,
    side: Side,
    size: str,
    price: str,
    *,
    fee: str = "0",
    state: TradeState = TradeState.CONFIRMED,
) -> Execution:
    return Execution(
        trade_id=f"t{n}",
        order_id="0x1",
        token_id="yes",
        side=side,
        price=D(price),
        size=D(size),
        fee=D(fee),
        state=state,
        liquidity=Liquidity.MAKER,
        matched_at=T0 + timedelta(seconds=n),
    )


def test_a_round_trip() -> None:
    trades = [
        execution(1, Side.BUY, "100", "0.40", fee="0.1"),
        execution(2, Side.BUY, "50", "0.46"),
        execution(3, Side.SELL, "60", "0.50", fee="0.2"),
        execution(4, Side.SELL, "90", "0.40"),
    ]
    position, realized = fold("yes", trades[:2])
    assert (position.shares, position.cost, position.realized) == (D(150), D(63), D(0))
    assert realized == {}
    position, realized = fold("yes", trades[:3])
    assert (position.shares, position.cost) == (D(90), D("37.8"))
    assert realized == {("t3", "0x1"): D("4.8")}  # 60 x (0.50 - 0.42)
    position, realized = fold("yes", trades)
    assert position == Position("yes", D(0), D(0), D(0), D(3), D("0.3"))
    assert realized["t4", "0x1"] == D("-1.8")


def test_a_failed_trade_contributes_nothing() -> None:
    failed = execution(1, Side.BUY, "100", "0.40", fee="1", state=TradeState.FAILED)
    assert book(Position("yes"), failed) == (Position("yes"), None)


@pytest.mark.parametrize("state", [s for s in TradeState if s is not TradeState.FAILED])
def test_only_what_is_confirmed_is_settled(state: TradeState) -> None:
    position, _ = fold("yes", [execution(1, Side.BUY, "10", "0.5", state=state)])
    assert position.shares == 10
    assert position.settled == (10 if state is TradeState.CONFIRMED else 0)


def test_selling_what_was_not_bought_here_and_buying_it_back() -> None:
    sold, none = book(Position("yes"), execution(1, Side.SELL, "10", "0.60"))
    assert (sold.shares, sold.cost, none) == (D(-10), D(-6), None)
    back, gain = book(sold, execution(2, Side.BUY, "4", "0.50"))
    assert (back.shares, back.cost, gain) == (D(-6), D("-3.6"), D("0.4"))
    across, gain = book(back, execution(3, Side.BUY, "10", "0.70"))
    assert (across.shares, across.cost, gain) == (D(4), D("2.8"), D("-0.6"))


def test_a_third_of_a_cost_is_rounded_and_the_rest_stays() -> None:
    bought, _ = fold("yes", [execution(1, Side.BUY, "0.03", "0.3333")])
    assert bought.cost == D("0.009999")
    one, gain = book(bought, execution(2, Side.SELL, "0.01", "0.5"))
    assert (one.cost, gain) == (D("0.006666"), D("0.001667"))
    gone, gain = book(one, execution(3, Side.SELL, "0.02", "0.5"))
    assert (gone.cost, gain) == (D(0), D("0.003334"))


def test_other_tokens_are_no_part_of_it() -> None:
    other = replace(execution(1, Side.BUY, "10", "0.5"), token_id="no")
    assert fold("yes", [other]) == (Position("yes"), {})


def test_equity_needs_a_mark_for_what_is_held() -> None:
    held = Position("yes", shares=D(10), cost=D(4), realized=D(2), fees=D("0.5"))
    flat = Position("no", realized=D(-1))
    positions = {"yes": held, "no": flat}
    assert equity(positions, {"yes": D("0.55")}) == D(2)
    assert equity(positions, {"no": D("0.55")}) is None
    assert equity({}, {}) == 0


executions = st.lists(
    st.builds(
        lambda n, side, size, price, fee, state: execution(
            n, side, str(size), str(price), fee=str(fee), state=state
        ),
        st.integers(1, 60),
        st.sampled_from(Side),
        st.integers(1, 10**9).map(lambda n: D(n).scaleb(-6)),
        st.integers(1, 9999).map(lambda n: D(n).scaleb(-4)),
        st.integers(0, 10**5).map(lambda n: D(n).scaleb(-5)),
        st.sampled_from(TradeState),
    ),
    max_size=25,
    unique_by=lambda e: e.trade_id,
)


@given(trades=executions, seed=st.integers(0, 999))
def test_the_order_of_arrival_does_not_matter(trades: list[Execution], seed: int) -> None:
    shuffled = list(trades)
    Random(seed).shuffle(shuffled)
    assert fold("yes", shuffled) == fold("yes", trades)


@given(trades=executions)
def test_booking_one_by_one_equals_folding_all(trades: list[Execution]) -> None:
    position, gains = Position("yes"), {}
    for trade in sorted(trades, key=lambda e: e.rank):
        position, gain = book(position, trade)
        if gain is not None:
            gains[trade.trade_id, trade.order_id] = gain
    assert (position, gains) == fold("yes", trades)


@given(trades=executions)
def test_shares_fees_and_money_are_conserved(trades: list[Execution]) -> None:
    """Money paid in = cost left - realised: to the micro, whatever the rounding of parts."""
    position, gains = fold("yes", trades)
    alive = [t for t in trades if t.state is not TradeState.FAILED]
    signs = {Side.BUY: 1, Side.SELL: -1}
    assert position.shares == sum(signs[t.side] * t.size for t in alive)
    assert position.settled == sum(
        signs[t.side] * t.size for t in alive if t.state is TradeState.CONFIRMED
    )
    assert position.fees == sum(t.fee for t in alive)
    assert position.realized == sum(gains.values())
    paid = sum(
        signs[t.side] * round(Fraction(t.size) * Fraction(t.price) / MICRO) * MICRO for t in alive
    )
    assert Fraction(position.cost) - Fraction(position.realized) == paid
    if position.shares == 0:
        assert position.cost == 0


@given(trades=executions)
def test_average_cost_agrees_with_the_obvious_model(trades: list[Execution]) -> None:
    """Exact fractions, one share of cost at a time: within a micro a trade."""
    shares, cost, realized = Fraction(0), Fraction(0), Fraction(0)
    for trade in sorted(trades, key=lambda e: e.rank):
        if trade.state is TradeState.FAILED:
            continue
        left = Fraction(trade.size) * (1 if trade.side is Side.BUY else -1)
        price = Fraction(trade.price)
        if shares * left < 0:
            closing = left if abs(left) <= abs(shares) else -shares
            average = cost / shares
            realized += (average - price) * closing
            cost += average * closing
            shares += closing
            left -= closing
        shares += left
        cost += left * price
    position, _ = fold("yes", trades)
    assert Fraction(position.shares) == shares
    assert abs(Fraction(position.cost) - cost) <= MICRO * 2 * max(1, len(trades))
    assert abs(Fraction(position.realized) - realized) <= MICRO * 3 * max(1, len(trades))

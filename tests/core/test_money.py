from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core import money
from runner.core.model import Side, TimeInForce

D = Decimal

# reference 3.4: tick -> decimals of an amount
TICKS = {"0.1": 3, "0.01": 4, "0.005": 5, "0.0025": 6, "0.001": 5, "0.0001": 6}

ticks = st.sampled_from([D(t) for t in TICKS])
sides = st.sampled_from(Side)
resting = st.sampled_from([TimeInForce.GTC, TimeInForce.GTD])
sizes = st.integers(1, 10_000_000).map(lambda n: D(n).scaleb(-2))


@st.composite
def prices(draw: st.DrawFn) -> tuple[Decimal, Decimal]:
    tick = draw(ticks)
    n = draw(st.integers(1, int(1 / tick) - 1))
    return tick * n, tick


@pytest.mark.parametrize(
    ("side", "price", "size", "tick", "pair"),
    [
        (Side.BUY, "0.52", "100", "0.01", (52000000, 100000000)),
        (Side.SELL, "0.57", "12.5", "0.01", (12500000, 7125000)),
        (Side.BUY, "0.057", "200.13", "0.001", (11407410, 200130000)),
        (Side.BUY, "0.0123", "55.55", "0.0001", (683265, 55550000)),
    ],
)
def test_amounts_of_the_reference(
    side: Side, price: str, size: str, tick: str, pair: tuple[int, int]
) -> None:
    assert money.amounts(side, D(price), D(size), TimeInForce.GTC, D(tick)) == pair


@given(side=sides, where=prices(), size=sizes, tif=resting)
def test_signed_integers_are_the_price_exactly(
    side: Side, where: tuple[Decimal, Decimal], size: Decimal, tif: TimeInForce
) -> None:
    price, tick = where
    maker, taker = money.amounts(side, price, size, tif, tick)
    dollars, shares = (maker, taker) if side is Side.BUY else (taker, maker)
    assert Fraction(dollars, shares) == Fraction(price)
    assert shares == size * 1_000_000
    assert dollars % 10 ** (6 - TICKS[str(tick)]) == 0
    assert money.never_worse(side, maker, taker, price)
    worse = price - D("0.000001") if side is Side.BUY else price + D("0.000001")
    assert not money.never_worse(side, maker, taker, worse)


@given(where=prices(), lots=st.integers(1, 1000), tif=st.sampled_from(["fak", "fok"]))
def test_what_takes_dollars_spends_whole_cents(
    where: tuple[Decimal, Decimal], lots: int, tif: str
) -> None:
    price, tick = where
    step = money.lot(Side.BUY, TimeInForce(tif), price)
    maker, taker = money.amounts(Side.BUY, price, step * lots, TimeInForce(tif), tick)
    assert maker % 10_000 == 0
    assert taker % 10_000 == 0
    assert Fraction(maker, taker) == Fraction(price)


@given(where=prices())
def test_no_smaller_step_would_do(where: tuple[Decimal, Decimal]) -> None:
    price, _ = where
    step = money.lot(Side.BUY, TimeInForce.FAK, price)
    smaller = [n for n in range(1, int(step * 100)) if (price * n) % 1 == 0]
    assert smaller == []
    assert (price * step * 100) % 1 == 0


def test_sells_and_resting_buys_have_the_plain_lot() -> None:
    assert money.lot(Side.SELL, TimeInForce.FAK, D("0.985")) == D("0.01")
    assert money.lot(Side.BUY, TimeInForce.GTC, D("0.985")) == D("0.01")
    assert money.lot(Side.BUY, TimeInForce.FAK, D("0.985")) == D(2)
    with pytest.raises(ValueError, match="no order at price"):
        money.lot(Side.BUY, TimeInForce.FAK, D(0))


@pytest.mark.parametrize(
    ("price", "size", "tif", "tick", "complaint"),
    [
        ("0.453", "10", "gtc", "0.005", "tick"),
        ("0", "10", "gtc", "0.01", "tick"),
        ("1", "10", "gtc", "0.01", "tick"),
        ("0.995", "10", "gtc", "0.01", "tick"),
        ("0.50", "0", "gtc", "0.01", "size"),
        ("0.50", "-5", "gtc", "0.01", "size"),
        ("0.50", "5.001", "gtc", "0.01", "size"),
        ("0.52", "0.26", "fak", "0.01", "size"),
        ("0.00001", "0.01", "gtc", "0.00001", "finer than a millionth"),
    ],
)
def test_what_would_need_rounding_is_refused(
    price: str, size: str, tif: str, tick: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        money.amounts(Side.BUY, D(price), D(size), TimeInForce(tif), D(tick))


@given(micros=st.integers(-(10**15), 10**15))
def test_micros_there_and_back(micros: int) -> None:
    assert money.to_micros(money.from_micros(micros)) == micros


def test_the_largest_amount() -> None:
    assert money.to_micros(D("1E+30")) == 10**36
    with pytest.raises(ValueError, match="no amount"):
        money.to_micros(D("1E+31"))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1E+999999", "0.0000001", "1e-7"])
def test_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match=r"no amount|finer"):
        money.to_micros(D(text))


@given(value=st.integers(-(10**12), 10**12).map(money.from_micros), step=ticks)
def test_rounding_goes_where_its_name_says(value: Decimal, step: Decimal) -> None:
    low, high = money.floor_to(value, step), money.ceil_to(value, step)
    assert value - step < low <= value <= high < value + step
    assert money.on_tick(low, step)
    assert money.on_tick(high, step)
    assert (low == high) == money.on_tick(value, step)
    assert money.towards_passive(Side.BUY, value, step) == low
    assert money.towards_passive(Side.SELL, value, step) == high


def test_a_hostile_ambient_context_changes_nothing() -> None:
    with decimal.localcontext(prec=2):
        assert money.amounts(Side.BUY, D("0.057"), D("200.13"), TimeInForce.GTC, D("0.001")) == (
            11407410,
            200130000,
        )
        assert money.mirror(D("0.0025")) == D("0.9975")
        assert money.fee(D("123.45"), D("0.5"), D("0.07"), 1) == D("2.16038")


def test_exact_traps_what_would_round() -> None:
    with money.exact():
        with pytest.raises(decimal.Inexact):
            D(1) / D(3)
        assert D("0.1") + D("0.2") == D("0.3")


@pytest.mark.parametrize(
    ("limit", "side", "holds"),
    [
        ("0.55", Side.BUY, True),
        ("0.549999", Side.BUY, False),
        ("0.55", Side.SELL, True),
        ("0.550001", Side.SELL, False),
    ],
)
def test_never_worse_on_the_boundary(limit: str, side: Side, holds: bool) -> None:
    pair = (5_500_000, 10_000_000) if side is Side.BUY else (10_000_000, 5_500_000)
    assert money.never_worse(side, *pair, D(limit)) is holds


def test_nothing_for_nothing_is_worse() -> None:
    assert not money.never_worse(Side.BUY, 0, 10, D("0.5"))
    assert not money.never_worse(Side.SELL, 10, 0, D("0.5"))


def test_fee_of_the_reference_and_its_rounding() -> None:
    assert money.fee(D(100), D("0.5"), D("0.07"), 1) == D("1.75")
    assert money.fee(D("0.01"), D("0.01"), D("0.04"), 1) == D("0.00001")  # 0.00000396, up
    assert money.fee(D(100), D("0.5"), D(0), 1) == 0
    assert money.fee(D(0), D("0.5"), D("0.07"), 1) == 0


@given(
    side=sides,
    where=prices(),
    size=sizes,
    better=st.integers(0, 10_000),
    exponent=st.integers(1, 3),
)
def test_no_execution_within_the_limit_costs_more_than_the_bound(
    side: Side, where: tuple[Decimal, Decimal], size: Decimal, better: int, exponent: int
) -> None:
    limit, tick = where
    room = int(limit / tick) if side is Side.BUY else int((1 - limit) / tick)
    step = tick * (better % room)
    price = limit - step if side is Side.BUY else limit + step
    rate = D("0.07")
    for tif in (TimeInForce.GTC, TimeInForce.FAK):
        bound = money.fee_bound(side, size, limit, tif, (rate, exponent))
        shares = size
        if money.dollar_bounded(side, tif):
            shares = (size * limit / price).quantize(D("0.000001"), rounding=decimal.ROUND_FLOOR)
        assert money.fee(shares, price, rate, exponent) <= bound


def test_fee_bound_edges() -> None:
    free = (D(0), 0)
    assert money.fee_bound(Side.BUY, D(10), D("0.5"), TimeInForce.FAK, free) == 0
    with pytest.raises(ValueError, match="exponent 0"):
        money.fee_bound(Side.BUY, D(10), D("0.5"), TimeInForce.FAK, (D("0.01"), 0))


@pytest.mark.parametrize(
    ("text", "shown"), [("0.5500", "0.55"), ("100", "100"), ("1E+2", "100"), ("0.000000", "0")]
)
def test_plain(text: str, shown: str) -> None:
    assert money.plain(D(text)) == shown


@given(
    amount=st.integers(-(10**9), 10**9),
    part=st.integers(0, 10**6),
    whole=st.integers(-(10**6), 10**6).filter(bool),
)
def test_a_share_is_rounded_once_and_half_even(amount: int, part: int, whole: int) -> None:
    seen = money.ratio_to_nearest_micro(*map(money.from_micros, (amount, part, whole)))
    assert money.to_micros(seen) == round(Fraction(amount * part, whole))


def test_the_nearest_micro_is_half_even() -> None:
    assert money.to_nearest_micro(D("0.0000005")) == 0
    assert money.to_nearest_micro(D("0.0000015")) == D("0.000002")
    assert money.to_nearest_micro(D("-0.00000151")) == D("-0.000002")
    micro, two = D("0.000001"), D(2)
    halves = [money.ratio_to_nearest_micro(micro * n, D(1), two) / micro for n in range(-3, 4)]
    assert halves == [-2, -1, 0, 0, 0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        money.ratio_to_nearest_micro(D(1), D(1), D(0))

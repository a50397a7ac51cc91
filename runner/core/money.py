"""Prices, sizes and money: exact, in whole millionths, every rounding named by its direction.

Entry points: `to_micros` and `from_micros` (the border to storage and to signed integers),
`floor_to` and `ceil_to`, `amounts` (the integers of a signed order), `never_worse`, `fee`.

Invariants:
    1. Nothing here reads the ambient decimal context (faults N11): arithmetic that could round is
       done in integers, and `exact()` gives the rest of the core a context that traps rounding.
    2. `amounts` are exact products: maker / taker is the price, never a neighbour of it (N3).
    3. A fee is never estimated too low.
"""

from __future__ import annotations

from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)
from math import gcd
from typing import TYPE_CHECKING

from runner.core.model import Side, TimeInForce

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

LOT = Decimal("0.01")
"""The size step of every order, in shares (reference 3.4: sizes have two decimals)."""

ZERO = Decimal(0)
ONE = Decimal(1)

_MICRO = 1_000_000
_LOT_MICROS = 10_000
_FEE_UNITS = 100_000  # fees have five decimals (reference 7)
_LARGEST_EXPONENT = 30  # beyond any supply of shares; keeps 1E+999999 from becoming an integer

_EXACT = Context(
    prec=60,
    rounding=ROUND_HALF_EVEN,
    traps=[Inexact, InvalidOperation, DivisionByZero, Overflow, FloatOperation],
)
_ROUNDING = Context(prec=60, traps=[InvalidOperation, DivisionByZero, Overflow, FloatOperation])
_MICRO_STEP = Decimal("0.000001")


def exact() -> AbstractContextManager[Context]:
    """A local decimal context in which an operation that would round raises instead.

    Raises, inside the block:
        decimal.Inexact: a result does not fit exactly.
        decimal.FloatOperation: a binary float met a Decimal.
    """
    return localcontext(_EXACT)


def to_micros(value: Decimal) -> int:
    """`value` in millionths, exactly.

    Raises:
        ValueError: not finite, absurdly large, or finer than a millionth.
    """
    if not value.is_finite() or value.adjusted() > _LARGEST_EXPONENT:
        raise ValueError(f"{value} is no amount")
    over, under = value.as_integer_ratio()
    micros, rest = divmod(over * _MICRO, under)
    if rest:
        raise ValueError(f"{value} is finer than a millionth")
    return micros


def from_micros(micros: int) -> Decimal:
    """The amount of so many millionths, exactly."""
    return Decimal(micros).scaleb(-6, _EXACT)


def to_nearest_micro(value: Decimal) -> Decimal:
    """`value` rounded half-even to a millionth: for what is divided, never for what is signed."""
    return value.quantize(_MICRO_STEP, rounding=ROUND_HALF_EVEN, context=_ROUNDING)


def ratio_to_nearest_micro(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """`amount` x `part` / `whole`, rounded once, half-even to a millionth.

    Raises:
        ZeroDivisionError: `whole` is zero.
        ValueError: an argument is no exact number of millionths.
    """
    over, under = to_micros(amount) * to_micros(part), to_micros(whole)
    if under < 0:
        over, under = -over, -under
    micros, rest = divmod(over, under)
    if 2 * rest > under or (2 * rest == under and micros % 2):
        micros += 1
    return from_micros(micros)


def plain(value: Decimal) -> str:
    """`value` as people write it: no exponent, no trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is at most `value` (towards minus infinity)."""
    unit = to_micros(step)
    return from_micros(to_micros(value) // unit * unit)


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is at least `value` (towards plus infinity)."""
    unit = to_micros(step)
    return from_micros(-(-to_micros(value) // unit) * unit)


def towards_passive(side: Side, price: Decimal, tick: Decimal) -> Decimal:
    """`price` on the grid of `tick`, rounded away from aggression: a buy down, a sell up (X30)."""
    return floor_to(price, tick) if side is Side.BUY else ceil_to(price, tick)


def on_tick(price: Decimal, tick: Decimal) -> bool:
    """Whether `price` is a whole number of ticks.

    Finer than a millionth is no error here: the answer is just no.
    """
    over, under = price.as_integer_ratio()
    step_over, step_under = tick.as_integer_ratio()
    return over * step_under % (step_over * under) == 0


def in_range(price: Decimal, tick: Decimal) -> bool:
    """Whether `price` lies in the market's range, tick to 1 - tick (reference 3.4)."""
    return tick <= price <= _EXACT.subtract(ONE, tick)


def mirror(price: Decimal) -> Decimal:
    """The same price seen from the other outcome: 1 - price."""
    return _EXACT.subtract(ONE, price)


def value_of(shares: Decimal, price: Decimal) -> Decimal:
    """Dollars for `shares` at `price`, exactly.

    Raises:
        decimal.Inexact: more digits than any real amount has.
    """
    return _EXACT.multiply(shares, price)


def dollar_bounded(side: Side, time_in_force: TimeInForce) -> bool:
    """Whether the order is limited by the dollars it gives, not by shares (reference 3.7).

    A FAK or FOK buy is: with price improvement it brings more shares than its `size`.
    """
    return side is Side.BUY and time_in_force in {TimeInForce.FAK, TimeInForce.FOK}


def lot(side: Side, time_in_force: TimeInForce, price: Decimal) -> Decimal:
    """The size step of an order at `price`, in shares.

    0.01, except for a FAK or FOK buy: its dollars must be whole cents and its shares whole
    hundredths (reference 3.4), so its step is the smallest size for which both hold.

    Raises:
        ValueError: `price` is not positive or finer than a millionth.
    """
    if not dollar_bounded(side, time_in_force):
        return LOT
    micros = to_micros(price)
    if micros <= 0:
        raise ValueError(f"no order at price {price}")
    return from_micros(_LOT_MICROS * (_MICRO // gcd(micros, _MICRO)))


def amounts(
    side: Side, price: Decimal, size: Decimal, time_in_force: TimeInForce, tick: Decimal
) -> tuple[int, int]:
    """(maker amount, taker amount) of the order to sign, in millionths (reference 3.4).

    A buy gives dollars and takes shares; a sell gives shares and takes dollars. Dollars are
    exactly price x size: an order for which they would have to be rounded is not made.

    Raises:
        ValueError: the price is off the tick or out of range, the size is not a positive whole
            number of lots, or the product is finer than a millionth.
    """
    if not on_tick(price, tick) or not in_range(price, tick):
        raise ValueError(f"price {plain(price)} does not fit the tick {plain(tick)}")
    shares, step = to_micros(size), to_micros(lot(side, time_in_force, price))
    if shares <= 0 or shares % step:
        raise ValueError(f"size {plain(size)} is no positive multiple of {step} millionths")
    dollars, rest = divmod(to_micros(price) * shares, _MICRO)
    if rest:
        raise ValueError(f"{plain(price)} x {plain(size)} is finer than a millionth of a dollar")
    return (dollars, shares) if side is Side.BUY else (shares, dollars)


def never_worse(side: Side, maker: int, taker: int, limit: Decimal) -> bool:
    """Whether signed integers respect `limit` (faults N3): exact, by cross multiplication.

    For a buy dollars / shares <= limit, for a sell dollars / shares >= limit.
    """
    if maker <= 0 or taker <= 0:
        return False
    over, under = limit.as_integer_ratio()
    if side is Side.BUY:
        return maker * under <= over * taker
    return taker * under >= over * maker


def fee(shares: Decimal, price: Decimal, rate: Decimal, exponent: int) -> Decimal:
    """The taker fee in dollars: shares x rate x (p(1-p))^exponent (reference 7).

    Five decimals, rounded UP: the direction at the exchange is unverified, so the dearer one is
    taken. Makers pay nothing; that is for the caller to know.
    """
    n_shares, d_shares = shares.as_integer_ratio()
    n_rate, d_rate = rate.as_integer_ratio()
    n_price, d_price = price.as_integer_ratio()
    over = n_shares * n_rate * (n_price * (d_price - n_price)) ** exponent
    under = d_shares * d_rate * (d_price * d_price) ** exponent
    return Decimal(-(-over * _FEE_UNITS // under)).scaleb(-5, _EXACT)


def fee_bound(
    side: Side,
    size: Decimal,
    limit: Decimal,
    time_in_force: TimeInForce,
    schedule: tuple[Decimal, int],
) -> Decimal:
    """The most an order can cost in fees, in dollars, whatever it trades at within its limit.

    `schedule` is (rate, exponent). The fee is highest at the price nearest to 0.5 that the limit
    allows. A dollar-bounded buy may bring more shares at better prices: dollars x rate x
    p^(e-1) (1-p)^e is below dollars x rate for every exponent from 1 on.

    Raises:
        ValueError: a dollar-bounded buy under exponent 0 has no useful bound.
    """
    rate, exponent = schedule
    if rate == ZERO:
        return ZERO
    if dollar_bounded(side, time_in_force):
        if exponent < 1:
            raise ValueError("no fee bound for a dollar-bounded buy under exponent 0")
        return fee(value_of(size, limit), limit, rate, 0)
    half = Decimal("0.5")
    worst = min(limit, half) if side is Side.BUY else max(limit, half)
    return fee(size, worst, rate, exponent)

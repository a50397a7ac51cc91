"""New orders against limits: allow, or deny with a code.

Entry point: `check`, the one place where a limit is applied. Cancels never come here: they always
pass. The first rule of `_RULES` that denies gives the answer.

What counts:
    - Everything that may be live counts in full: resting, being sent, unknown, closing.
    - Position of a token: shares held by our own trades from their match on (failed ones apart),
      plus the leaves of every working buy of it, plus the new buy.
    - Exposure in dollars: the cost of all shares held, plus leaves x price of every working buy,
      plus the new buy; with the fee bound of every buy that may still take (one that is live rests,
      and makers pay nothing: reference 7). A fee schedule that is not known is taken to be that of
      the market asked about.
    - A sell gives away shares that are held, so it makes the position smaller: limits on position,
      exposure and loss do not stop it.
    - A quantity limit allows what reaches it and denies what passes it. A loss limit denies from
      the moment it is reached.
    - An input that is missing denies (faults I22).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from runner.core import money
from runner.core.model import OrderState, Side, TradingState
from runner.core.money import ONE, ZERO, exact, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from decimal import Decimal

    from runner.core.model import Market, Position, RiskView, Submit, WorkingOrder


class Code(StrEnum):
    """Why an order is denied: CATEGORY_CONDITION."""

    TRADING_HALTED = "TRADING_HALTED"
    TRADING_REDUCING = "TRADING_REDUCING"
    MARKET_NOT_ACCEPTING = "MARKET_NOT_ACCEPTING"
    PRICE_OUT_OF_RANGE = "PRICE_OUT_OF_RANGE"
    PRICE_OFF_TICK = "PRICE_OFF_TICK"
    PRICE_PAST_LIMIT = "PRICE_PAST_LIMIT"
    PRICE_OUTSIDE_COLLAR = "PRICE_OUTSIDE_COLLAR"
    PRICE_REFERENCE_MISSING = "PRICE_REFERENCE_MISSING"
    SIZE_BELOW_MINIMUM = "SIZE_BELOW_MINIMUM"
    SIZE_OFF_LOT = "SIZE_OFF_LOT"
    SIZE_ABOVE_MAXIMUM = "SIZE_ABOVE_MAXIMUM"
    VALUE_BELOW_MINIMUM = "VALUE_BELOW_MINIMUM"
    VALUE_ABOVE_MAXIMUM = "VALUE_ABOVE_MAXIMUM"
    ORDERS_TOO_MANY = "ORDERS_TOO_MANY"
    ORDERS_TOO_FAST = "ORDERS_TOO_FAST"
    SELF_MATCH = "SELF_MATCH"
    POSITION_ABOVE_MAXIMUM = "POSITION_ABOVE_MAXIMUM"
    EXPOSURE_ABOVE_MAXIMUM = "EXPOSURE_ABOVE_MAXIMUM"
    LOSS_REACHED_MAXIMUM = "LOSS_REACHED_MAXIMUM"
    LOSS_NOT_KNOWN = "LOSS_NOT_KNOWN"
    PLAN_SIZE_ABOVE_MAXIMUM = "PLAN_SIZE_ABOVE_MAXIMUM"
    PLAN_POSITION_ABOVE_MAXIMUM = "PLAN_POSITION_ABOVE_MAXIMUM"
    PLAN_EXPOSURE_ABOVE_MAXIMUM = "PLAN_EXPOSURE_ABOVE_MAXIMUM"
    PLAN_LOSS_REACHED_MAXIMUM = "PLAN_LOSS_REACHED_MAXIMUM"
    PLAN_LOSS_NOT_KNOWN = "PLAN_LOSS_NOT_KNOWN"


@dataclass(frozen=True, slots=True)
class Allow:
    """The order may be recorded and sent."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The order may not be sent. Reads `CODE: facts`."""

    code: Code
    facts: str

    def __str__(self) -> str:
        return f"{self.code}: {self.facts}"


Verdict = Allow | Deny


@dataclass(frozen=True, slots=True)
class _Asked:
    """One order with all that is known when it is asked about."""

    submit: Submit
    limit_price: Decimal
    market: Market
    view: RiskView

    @property
    def buys(self) -> bool:
        return self.submit.side is Side.BUY

    @property
    def value(self) -> Decimal:
        return money.value_of(self.submit.size, self.submit.price)

    @property
    def plans(self) -> Iterable[WorkingOrder]:
        """Working orders of the plan that asks."""
        return [o for o in self.view.working if o.key.plan == self.submit.key.plan]


def check(submit: Submit, limit_price: Decimal, market: Market, view: RiskView) -> Verdict:
    """Whether `submit` may be sent now.

    `limit_price` is the job's own; `market` must be that of the order's token; `view` includes what
    this pass has allowed already.
    """
    with exact():
        asked = _Asked(submit, limit_price, market, view)
        for rule in _RULES:
            for denial in rule(asked):
                return denial
    return Allow()


def _trading(a: _Asked) -> Iterator[Deny]:
    match a.view.trading:
        case TradingState.HALTED:
            yield Deny(Code.TRADING_HALTED, "nothing new is sent")
        case TradingState.REDUCING:
            held = _held(a.view.positions, a.submit.token_id)
            free = held - _leaves(a.view.working, a.submit.token_id, Side.SELL)
            if a.buys or a.submit.size > free:
                facts = f"{a.submit.side} {plain(a.submit.size)}, {plain(free)} held and free"
                yield Deny(Code.TRADING_REDUCING, facts)
        case TradingState.ACTIVE:
            pass
    if not a.market.info.accepting:
        yield Deny(Code.MARKET_NOT_ACCEPTING, a.market.info.slug)


def _price(a: _Asked) -> Iterator[Deny]:
    price, tick = a.submit.price, a.market.info.tick
    if not price.is_finite() or not money.in_range(price, tick):
        yield Deny(Code.PRICE_OUT_OF_RANGE, f"{price}, tick {plain(tick)}")
    elif not money.on_tick(price, tick):
        yield Deny(Code.PRICE_OFF_TICK, f"{plain(price)}, tick {plain(tick)}")
    past = price > a.limit_price if a.buys else price < a.limit_price
    if past:
        facts = f"{a.submit.side} at {plain(price)}, limit {plain(a.limit_price)}"
        yield Deny(Code.PRICE_PAST_LIMIT, facts)


def _collar(a: _Asked) -> Iterator[Deny]:
    """Far from the middle in the direction that costs; a passive price harms nobody."""
    collar, book = a.view.limits.price_collar, a.market.book
    if collar is None:
        return
    if book is None or not book.bids or not book.asks:
        yield Deny(Code.PRICE_REFERENCE_MISSING, "a collar is set, and there is no fresh middle")
        return
    twice = book.bids[0].price + book.asks[0].price
    away = 2 * a.submit.price - twice if a.buys else twice - 2 * a.submit.price
    if away > 2 * collar:
        facts = f"{plain(a.submit.price)}, twice the middle {plain(twice)}, collar {plain(collar)}"
        yield Deny(Code.PRICE_OUTSIDE_COLLAR, facts)


def _size(a: _Asked) -> Iterator[Deny]:
    size, info, limits = a.submit.size, a.market.info, a.view.limits
    if not size.is_finite() or size < info.min_size or size <= ZERO:
        yield Deny(Code.SIZE_BELOW_MINIMUM, f"{size}, minimum {plain(info.min_size)}")
    step = money.lot(a.submit.side, a.submit.time_in_force, a.submit.price)
    if money.floor_to(size, step) != size:
        yield Deny(Code.SIZE_OFF_LOT, f"{plain(size)}, step {plain(step)}")
    if limits.max_order_size is not None and size > limits.max_order_size:
        yield _above(Code.SIZE_ABOVE_MAXIMUM, size, limits.max_order_size)
    plan_max = a.view.plan_limits.max_order_size
    if plan_max is not None and size > plan_max:
        yield _above(Code.PLAN_SIZE_ABOVE_MAXIMUM, size, plan_max)


def _signed(a: _Asked) -> Iterator[Deny]:
    """The integers that will be signed, against the limit (faults N3, I6)."""
    s = a.submit
    maker, taker = money.amounts(s.side, s.price, s.size, s.time_in_force, a.market.info.tick)
    if not money.never_worse(s.side, maker, taker, a.limit_price):
        yield Deny(Code.PRICE_PAST_LIMIT, f"signed {maker}/{taker}, limit {plain(a.limit_price)}")


def _value(a: _Asked) -> Iterator[Deny]:
    book, most = a.market.book, a.view.limits.max_order_value
    takes = book is not None and book.asks and book.asks[0].price <= a.submit.price
    if a.buys and takes and not a.submit.post_only and a.value < ONE:
        facts = f"${plain(a.value)} for a buy that trades at once, minimum $1"
        yield Deny(Code.VALUE_BELOW_MINIMUM, facts)
    if most is not None and a.value > most:
        yield _above(Code.VALUE_ABOVE_MAXIMUM, a.value, most)


def _counts(a: _Asked) -> Iterator[Deny]:
    limits, view = a.view.limits, a.view
    if limits.max_open_orders is not None and len(view.working) >= limits.max_open_orders:
        yield Deny(Code.ORDERS_TOO_MANY, f"{len(view.working)} open, {limits.max_open_orders} max")
    rate = limits.max_orders_per_second
    if rate is not None and view.recent_submits >= rate:
        yield Deny(Code.ORDERS_TOO_FAST, f"{view.recent_submits} in this second, {rate} max")


def _self_match(a: _Asked) -> Iterator[Deny]:
    """Against every order of ours in this book, mirrored ones too (faults M21)."""
    for order in a.market.own:
        if order.side is a.submit.side or order.leaves == ZERO:
            continue
        meets = order.price <= a.submit.price if a.buys else order.price >= a.submit.price
        if meets:
            facts = f"{a.submit.side} at {plain(a.submit.price)} meets {order.order_id}"
            yield Deny(Code.SELF_MATCH, f"{facts} at {plain(order.price)}")


def _position(a: _Asked) -> Iterator[Deny]:
    if not a.buys:
        return
    for limits, positions, working, code in (
        (a.view.limits, a.view.positions, a.view.working, Code.POSITION_ABOVE_MAXIMUM),
        (a.view.plan_limits, a.view.plan_positions, a.plans, Code.PLAN_POSITION_ABOVE_MAXIMUM),
    ):
        if limits.max_position_size is None:
            continue
        would = _held(positions, a.submit.token_id) + a.submit.size
        would += _leaves(working, a.submit.token_id, Side.BUY)
        if would > limits.max_position_size:
            yield _above(code, would, limits.max_position_size)


def _exposure(a: _Asked) -> Iterator[Deny]:
    if not a.buys:
        return
    for limits, positions, working, code in (
        (a.view.limits, a.view.positions, a.view.working, Code.EXPOSURE_ABOVE_MAXIMUM),
        (a.view.plan_limits, a.view.plan_positions, a.plans, Code.PLAN_EXPOSURE_ABOVE_MAXIMUM),
    ):
        if limits.max_total_exposure is None:
            continue
        would = _exposed(a, positions, working)
        if would > limits.max_total_exposure:
            yield _above(code, would, limits.max_total_exposure)


def _exposed(
    a: _Asked,
    positions: Mapping[str, Position],
    working: Iterable[WorkingOrder],
) -> Decimal:
    """Dollars that could be lost with the new buy, all told."""
    own = (a.market.info.fee_rate, a.market.info.fee_exponent)
    s = a.submit
    total = sum((position.cost for position in positions.values()), a.value)
    if not s.post_only:
        total += money.fee_bound(s.side, s.size, s.price, s.time_in_force, own)
    for order in working:
        if order.side is not Side.BUY:
            continue
        total += money.value_of(order.leaves, order.price)
        if order.state is not OrderState.LIVE:
            schedule = a.view.fee_schedules.get(order.token_id, own)
            total += money.fee_bound(
                order.side, order.leaves, order.price, order.time_in_force, schedule
            )
    return total


def _loss(a: _Asked) -> Iterator[Deny]:
    if not a.buys:
        return
    view = a.view
    for most, pnl, reached, unknown in (
        (
            view.limits.max_daily_loss,
            view.day_pnl,
            Code.LOSS_REACHED_MAXIMUM,
            Code.LOSS_NOT_KNOWN,
        ),
        (
            view.plan_max_loss,
            view.plan_pnl,
            Code.PLAN_LOSS_REACHED_MAXIMUM,
            Code.PLAN_LOSS_NOT_KNOWN,
        ),
    ):
        if most is None:
            continue
        if pnl is None or not pnl.is_finite():
            yield Deny(unknown, "the loss could not be computed")
        elif -pnl >= most:
            yield Deny(reached, f"lost {plain(-pnl)}, {plain(most)} max")


_RULES: tuple[Callable[[_Asked], Iterator[Deny]], ...] = (
    _trading,
    _price,
    _collar,
    _size,
    _signed,
    _value,
    _counts,
    _self_match,
    _position,
    _exposure,
    _loss,
)


def _above(code: Code, value: Decimal, most: Decimal) -> Deny:
    return Deny(code, f"{plain(value)} would pass {plain(most)}")


def _held(positions: Mapping[str, Position], token_id: str) -> Decimal:
    position = positions.get(token_id)
    return ZERO if position is None else position.shares


def _leaves(working: Iterable[WorkingOrder], token_id: str, side: Side) -> Decimal:
    return sum(
        (order.leaves for order in working if order.token_id == token_id and order.side is side),
        ZERO,
    )

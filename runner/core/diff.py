"""Quotes against working orders: what to submit and what to cancel.

Entry point: `diff`. An order at the wanted price keeps its place in the queue: growth adds an order
(at most four at a price; iceberg and top bidder one), never a resize, and shrinking cancels the
youngest first. Fills may be finer than a lot, so less than a lot too much is no reason to shrink. A
change of price cancels now and submits in a later pass, once the end is proven.

Invariants:
    1. filled + leaves of every working order + new sizes <= total. Asserted.
    2. Nothing new while one of the job's orders is submitting, unknown, closing or being
       cancelled, nor in a pass that cancels one.
    3. Idempotent: with its own actions carried out, `diff` has nothing to add.
    4. Every new order is legal in size, and none leaves the job a rest that is not, where a
       smaller order avoids that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from runner.core.errors import InvariantBroken
from runner.core.model import Cancel, OrderState, Side, Submit
from runner.core.money import LOT, ZERO, exact, floor_to, lot, plain
from runner.core.plan import Strategy, Style

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from runner.core.model import Decision, Job, Quote, WorkingOrder

ORDERS_AT_PRICE = 4
"""Orders of one job at one price (contract 3): growth adds, so this bounds the crumbs."""


REPEAT_WITHIN = timedelta(seconds=30)
"""Age up to which the same bytes of an unknown order may be sent again (design 6)."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do about one job.

    `repeatable`: unknown orders that are still wanted as they are. Only their recorded bytes may be
    sent again, under the further conditions of design 6; every other unknown order may not.
    """

    actions: tuple[Submit | Cancel, ...] = ()
    repeatable: frozenset[str] = frozenset()


def diff(job: Job, decision: Decision) -> Changes:
    """The actions that make the job's working orders what `decision` wants.

    Raises:
        InvariantBroken: what it wants would exceed the job's total.
    """
    with exact():
        quote = decision.quote
        standing = _standing(job, quote, decision.at)
        at_price = sorted(standing, key=lambda order: order.created_at)
        if decision.hold:
            cancels = _even_while_holding(job)
            gone = {cancel.order_id for cancel in cancels}
            kept = [order for order in at_price if order.order_id not in gone]
            return Changes(tuple(cancels), _repeatable(kept, quote))
        kept, cancels = _keep(job, quote, at_price)
        if cancels or quote is None or any(map(_in_motion, job.working)):
            return Changes(tuple(cancels), _repeatable(kept, quote))
        return Changes(tuple(_grow(job, quote, kept, decision.least)))


def _even_while_holding(job: Job) -> list[Cancel]:
    """What may not stand even while nothing is known of the market (after a revision).

    Orders past the limit, and the youngest of those that together exceed what is left.
    """
    standing = sorted(
        (order for order in job.working if not _leaving(order)), key=lambda o: o.created_at
    )
    room = job.remaining
    cancels: list[Cancel] = []
    for order in standing:
        if _past_limit(job, order):
            why = f"PAST_LIMIT: limit {plain(job.spec.limit_price)}"
        elif order.leaves > room:
            why = f"SHRINK: {plain(room)} left"
        else:
            room -= order.leaves
            continue
        if order.state is not OrderState.SUBMITTING:
            cancels.append(Cancel(order.order_id, why))
    return cancels


def _standing(job: Job, quote: Quote | None, at: datetime | None) -> list[WorkingOrder]:
    """Orders where the quote wants them, and not on their way out.

    A young unknown order is wanted wherever it is within the limit, though the quote may have
    moved on: sending its bytes again settles within seconds what a cancel of something that may
    never have arrived could only prove when its life is over. Once live, it moves like any other.
    """
    if quote is None:
        return []
    return [
        order
        for order in job.working
        if order.side is quote.side
        and not _leaving(order)
        and (order.price == quote.price or _to_be_settled(job, order, at))
    ]


def _to_be_settled(job: Job, order: WorkingOrder, at: datetime | None) -> bool:
    if order.state is not OrderState.UNKNOWN or at is None:
        return False
    return at - order.created_at < REPEAT_WITHIN and not _past_limit(job, order)


def _past_limit(job: Job, order: WorkingOrder) -> bool:
    limit = job.spec.limit_price
    return order.price > limit if job.spec.side is Side.BUY else order.price < limit


def _leaving(order: WorkingOrder) -> bool:
    return order.cancel_requested or order.state is OrderState.CLOSING


def _in_motion(order: WorkingOrder) -> bool:
    return order.cancel_requested or order.state is not OrderState.LIVE


def _repeatable(kept: list[WorkingOrder], quote: Quote | None) -> frozenset[str]:
    """Unknown orders among the oldest that together fit the quote."""
    room = ZERO if quote is None else quote.size
    fit: list[str] = []
    for order in kept:
        room -= order.leaves
        if room > -LOT and order.state is OrderState.UNKNOWN:
            fit.append(order.order_id)
    return frozenset(fit)


def _keep(
    job: Job, quote: Quote | None, at_price: list[WorkingOrder]
) -> tuple[list[WorkingOrder], list[Cancel]]:
    """Which orders stay, oldest first, and a cancel for each of the others.

    An order whose own POST is still out is not cancelled yet: the cancel could overtake it and
    would then prove nothing. Its outcome, accepted or unknown, comes back here.
    """
    kept = list(at_price)
    showing = sum((order.leaves for order in kept), ZERO)
    wanted = ZERO if quote is None else quote.size
    why = {
        order.order_id: "NOT_WANTED" if quote is None else f"MOVE: to {plain(quote.price)}"
        for order in job.working
    }
    while kept and showing - wanted >= LOT:
        youngest = kept.pop()
        why[youngest.order_id] = f"SHRINK: {plain(showing)} shown, {plain(wanted)} wanted"
        showing -= youngest.leaves
    stay = {order.order_id for order in kept}
    cancels = [
        Cancel(order.order_id, why[order.order_id])
        for order in job.working
        if order.order_id not in stay
        and not _leaving(order)
        and order.state is not OrderState.SUBMITTING
    ]
    return kept, cancels


def _grow(job: Job, quote: Quote, kept: list[WorkingOrder], least: Decimal) -> list[Submit]:
    """New orders for what the quote shows too little, as few as `max_order_size` allows."""
    step = lot(quote.side, quote.time_in_force, quote.price)
    growth = quote.size - sum((order.leaves for order in kept), ZERO)
    room = job.total - job.filled - sum((order.leaves for order in job.working), ZERO)
    if growth > max(room, ZERO):
        raise InvariantBroken(
            f"{job.key}: {plain(growth)} more shares would exceed the total of {plain(job.total)},"
            f" {plain(job.filled)} filled, room for {plain(room)}"
        )
    new: list[Submit] = []
    for _ in range(_orders_at_price(job) - len(kept)):
        size = _part(growth, room, job.max_order_size, least, step)
        if size < least or size <= ZERO:
            break
        growth, room = growth - size, room - size
        new.append(
            Submit(
                key=job.key,
                token_id=job.token_id,
                side=quote.side,
                price=quote.price,
                size=size,
                time_in_force=quote.time_in_force,
                post_only=quote.post_only,
            )
        )
    return new


def _part(growth: Decimal, room: Decimal, cap: Decimal, least: Decimal, step: Decimal) -> Decimal:
    """The size of one new order: at most `cap`, and smaller if else `room` kept an illegal rest."""
    part = floor_to(min(growth, cap), step)
    usable = floor_to(room, step)
    if ZERO < usable - part < least:
        smaller = floor_to(usable - least, step)
        if smaller >= least:
            return min(part, smaller)
    return part


def _orders_at_price(job: Job) -> int:
    spec = job.spec
    alone = spec.quote.style is Style.TOP_BIDDER or spec.split.strategy is Strategy.ICEBERG
    return 1 if alone else ORDERS_AT_PRICE

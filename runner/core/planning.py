"""decide(): pace x quoting, and how jobs and plans end.

Entry points: `decide` (what a working job wants), `ending` and `drained` (when a job leaves, and as
what), `worst_end` (what its plan becomes), `gate_holds` (a job's `when`).

Reasons are short codes with facts, and the same as long as nothing changes: they are stored only
when they change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runner.core import pace, quoting
from runner.core.errors import PlanError
from runner.core.model import Decision, JobState, Side
from runner.core.money import ZERO, exact, plain
from runner.core.plan import AtEnd

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    from runner.core.model import Book, Job, Market, Memory
    from runner.core.plan import Gate

_WORST_FIRST = (JobState.FAILED, JobState.EXPIRED, JobState.WITHDRAWN, JobState.COMPLETED)


@dataclass(frozen=True, slots=True)
class Ending:
    """The end a job is to have once it has drained, and why."""

    state: JobState
    reason: str


def decide(job: Job, memory: Memory, market: Market, now: datetime) -> Decision:
    """What the job wants now. Nothing has happened yet.

    Raises:
        PlanError: the plan asks for something that is not available yet.
    """
    if job.state is not JobState.WORKING:
        return Decision(None, hold=False, reasons=(f"NOT_WORKING: {job.state}",), memory=memory)
    with exact():
        return replace(_decide(job, memory, market, now), at=now)


def _decide(job: Job, memory: Memory, market: Market, now: datetime) -> Decision:
    least = pace.least(job, market.info)
    due = pace.due(job, now, least)
    wake_at = _earliest(due.next_at, _future(job.ends_at, now))
    if due.quantity <= ZERO:
        return Decision(None, False, ("NOTHING_DUE",), memory, wake_at, due.changed)
    if not market.info.accepting:
        reasons = ("MARKET_NOT_ACCEPTING",)
        return Decision(None, True, reasons, memory, wake_at, due.changed)
    if due.quantity < least and not job.working:
        reasons = (f"BELOW_MINIMUM: {plain(due.quantity)} due, {plain(least)} is the least",)
        return Decision(None, False, reasons, memory, wake_at, due.changed)
    quoted = quoting.quote(job, market, due.quantity, least, memory, now)
    return Decision(
        quote=quoted.quote,
        hold=quoted.hold,
        reasons=quoted.reasons,
        memory=quoted.memory,
        wake_at=_earliest(wake_at, quoted.wake_at),
        slices=due.changed,
        stop=quoted.stop,
        least=least if quoted.quote is None else quoting.least_to_show(market, quoted.quote, least),
    )


def _future(at: datetime | None, now: datetime) -> datetime | None:
    return at if at is not None and at > now else None


def _earliest(*times: datetime | None) -> datetime | None:
    return min((at for at in times if at is not None), default=None)


def gate_holds(gate: Gate, side: Side, book: Book | None) -> bool:
    """Whether a job's `when` holds: on the best price it could trade at now.

    Without a fresh book, or with nothing to trade with, it does not.
    """
    if book is None:
        return False
    levels = book.asks if side is Side.BUY else book.bids
    if not levels:
        return False
    price = levels[0].price
    if gate.price_at_most is not None and price > gate.price_at_most:
        return False
    return gate.price_at_least is None or price >= gate.price_at_least


def ending(job: Job, now: datetime, market_min: Decimal) -> Ending | None:
    """The end that a job which is not draining yet should have now, if any (contract 3).

    It is completed when everything is filled, up to a remainder too small to be legal that no
    order works, or whose window is over. Past its window it expires, unless `at_end` says keep.

    Raises:
        PlanError: `at_end: take` is not available yet.
    """
    with exact():
        left = job.remaining
        if left <= ZERO:
            filled = f"{plain(job.filled)} of {plain(job.total)}"
            return Ending(JobState.COMPLETED, f"TOTAL_REACHED: {filled}")
        over = job.ends_at is not None and now >= job.ends_at and job.spec.at_end is AtEnd.CANCEL
        if left < market_min and (over or not job.working):
            reason = f"REMAINDER_TOO_SMALL: {plain(left)} left, {plain(market_min)} is the least"
            return Ending(JobState.COMPLETED, reason)
        if job.ends_at is None or now < job.ends_at:
            return None
        match job.spec.at_end:
            case AtEnd.KEEP:
                return None
            case AtEnd.TAKE:
                raise PlanError("at_end take is not available yet")
            case AtEnd.CANCEL:
                reason = f"WINDOW_OVER: {plain(left)} of {plain(job.total)} left"
                return Ending(JobState.EXPIRED, reason)


def drained(
    job: Job, intended: JobState, now: datetime, market_min: Decimal, *, provisional: bool
) -> str | None:
    """The event of the job machine for a draining job, None while it must go on draining.

    It drains while an order of it works or a trade is provisional. If a trade failed, so that a
    legal amount is left of a job that was to be completed, it works again while its window is
    open, and else expires.
    """
    if job.working or provisional:
        return None
    if intended is not JobState.COMPLETED or job.remaining < market_min:
        return intended.value
    window_open = job.ends_at is None or now < job.ends_at or job.spec.at_end is AtEnd.KEEP
    return "reopened" if window_open else JobState.EXPIRED.value


def worst_end(states: Iterable[JobState]) -> str | None:
    """The event that ends a plan with these jobs: the worst of their ends (contract 3).

    None while a job has not ended, or without jobs.
    """
    ends = set(states)
    if not ends <= set(_WORST_FIRST):
        return None
    return next((state.value for state in _WORST_FIRST if state in ends), None)

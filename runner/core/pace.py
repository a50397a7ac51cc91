"""How much should be done by now: curves on segments, with slices as rows.

Entry points: `plan_slices` (once a segment: at acceptance, revision and resume) and `due` (every
pass). `single` has no slices: everything is due at once. TWAP opens its n-th slice at
start + (n-1) x interval.

What is behind, also after downtime over several slices, is never lost except by `catch_up: none`:

- `next_slice`: it is due when the next slice opens, whole.
- `spread`: when a slice opens, what is left is shared out anew over it and the slices after it, in
  proportion to what they planned.
- `none`: what an open slice did not do is never caught up.

The remainder rule. A slice smaller than the legal minimum waits until enough has added up. What
would be left at the end too small to be legal is due together with the last legal amount before
it. So 40 shares in 10 slices with a minimum of 5 become orders of 5 or more that sum to 40.

Invariants:
    1. The slices of a segment sum to exactly what was left when it began.
    2. `due` is never negative and never more than what is left of the total.
    3. Without fills, `due` under `next_slice` never falls as time passes.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from runner.core.errors import PlanError
from runner.core.model import Slice
from runner.core.money import LOT, ZERO, floor_to, from_micros, to_micros
from runner.core.plan import CatchUp, Strategy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from decimal import Decimal

    from runner.core.model import Job, MarketInfo, Segment
    from runner.core.plan import JobSpec

MAX_SLICES = 5000
"""Slices of one segment: each is a row, and every pass walks them."""


@dataclass(frozen=True, slots=True)
class Due:
    """What the curve asks for now.

    `quantity`: shares that should be working or, if too few to be legal, waiting. `changed`: rows
    that opened or closed. `next_at`: when the curve moves next, None if it does not.
    """

    quantity: Decimal
    changed: tuple[Slice, ...] = ()
    next_at: datetime | None = None


def span(seconds: Decimal) -> timedelta:
    """So many seconds as a duration, exact to the microsecond."""
    return timedelta(microseconds=to_micros(seconds))


def plan_slices(
    spec: JobSpec,
    *,
    remaining: Decimal,
    segment: Segment,
    end: datetime | None,
    max_order_size: Decimal,
) -> tuple[Slice, ...]:
    """The slices of a new segment: `remaining` shares from `segment.at` to `end`.

    How many: by `interval_seconds`; else `slices`, of which a segment that begins later than its
    job keeps the share that its window still has; else as many as `max_order_size` calls for.
    Amounts are whole lots by largest remainder, the earlier slice first among equals; a total
    finer than a lot leaves its last digits to the last slice.

    Raises:
        PlanError: the strategy is not available yet, has no window, or needs too many slices.
    """
    if spec.split.strategy is Strategy.SINGLE or remaining <= 0:
        return ()
    if spec.split.strategy is not Strategy.TWAP:
        raise PlanError(f"strategy {spec.split.strategy} is not available yet")
    if end is None:
        raise PlanError("twap needs time_window_minutes")
    window = max(end - segment.at, timedelta(0))
    count, interval = _grid(spec, remaining, window, max_order_size)
    if count > MAX_SLICES:
        raise PlanError(f"{count} slices: at most {MAX_SLICES}, so take a longer interval")
    micros = to_micros(remaining)
    lots, rest = divmod(micros, to_micros(LOT))
    planned = [share * to_micros(LOT) for share in apportion(lots, [1] * count)]
    planned[-1] += rest
    return tuple(
        Slice(
            segment=segment.n,
            n=n,
            due_at=segment.at + (interval * (n - 1) if interval else window * (n - 1) // count),
            planned=from_micros(amount),
        )
        for n, amount in enumerate(planned, start=1)
    )


def _grid(
    spec: JobSpec, remaining: Decimal, window: timedelta, max_order_size: Decimal
) -> tuple[int, timedelta | None]:
    """How many slices, and how far apart if that does not follow from the window."""
    split = spec.split
    micro = timedelta(microseconds=1)
    if split.interval_seconds is not None:
        interval = span(split.interval_seconds)
        return max(1, -(-window // interval)), interval
    if split.slices is not None:
        whole = to_micros(spec.time_window_minutes) * 60 if spec.time_window_minutes else 0
        share = -(-split.slices * (window // micro) // whole) if whole else split.slices
        return max(1, min(share, split.slices)), None
    return max(1, -(-to_micros(remaining) // to_micros(max_order_size))), None


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """`total` units shared out in proportion to `weights`, exactly, by largest remainder (N9).

    The earlier of equal remainders comes first.

    Raises:
        ValueError: no weights, a negative one, or none above zero.
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise ValueError("weights must be positive")
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def least(job: Job, info: MarketInfo) -> Decimal:
    """The smallest order the job may place: the plan's bound, and never below the market's.

    The last of a job may be as small as the market allows, or a plan's own bound would leave it
    undone.
    """
    bound = job.spec.split.min_order_size
    if bound is not None and job.remaining >= bound:
        return max(bound, info.min_size)
    return info.min_size


def due(job: Job, now: datetime, least_size: Decimal) -> Due:
    """What should be working now, and which slices open or close.

    Orders that work already are part of the quantity, so it is as fine as fills are, which may be
    finer than a lot. It may be below `least_size`: then it waits.
    """
    if job.spec.split.strategy is Strategy.SINGLE:
        return Due(job.remaining)
    rows = [row for row in job.slices if row.segment == job.segment.n]
    opened = bisect_right(rows, now, key=lambda row: row.due_at)
    next_at = rows[opened].due_at if opened < len(rows) else None
    if opened == 0:
        return Due(ZERO, (), next_at)
    done = job.filled - job.segment.filled
    changed = _turned(rows[:opened], done, now)
    if changed:
        latest = {row.n: row for row in changed}
        rows = [latest.get(row.n, row) for row in rows]
    wanted = _wanted(job.spec.split.catch_up, rows, opened, done, least_size)
    return Due(max(ZERO, min(wanted, job.remaining)), changed, next_at)


def _wanted(
    catch_up: CatchUp, rows: list[Slice], opened: int, done: Decimal, least_size: Decimal
) -> Decimal:
    """The curve with the first `opened` of `rows` open or closed, minus what is done of it."""
    planned = [row.planned for row in rows]
    closed = _sum(row.filled for row in rows[:opened])
    match catch_up:
        case CatchUp.NEXT_SLICE:
            return _cumulative(planned, opened, least_size) - done
        case CatchUp.SPREAD:
            return _spread(planned, opened, closed, least_size) - (done - closed)
        case CatchUp.NONE:
            start, batch = _batch(planned, opened, least_size)
            return batch - (done - _sum(row.filled for row in rows[:start]))


def _sum(amounts: Iterable[Decimal | None]) -> Decimal:
    return sum((amount for amount in amounts if amount is not None), ZERO)


def closing(job: Job) -> tuple[Slice, ...]:
    """The rows to close when the segment ends (a revision, a pause, the end of the job)."""
    rows = [row for row in job.slices if row.segment == job.segment.n]
    done = job.filled - job.segment.filled
    return _closed([row for row in rows if row.opened_at is not None], rows, done)


def _turned(passed: list[Slice], done: Decimal, now: datetime) -> tuple[Slice, ...]:
    """Rows whose time has come: the last one opens, those before it close."""
    *before, current = passed
    changed = _closed(before, passed, done)
    if current.opened_at is None:
        changed += (replace(current, opened_at=now),)
    return changed


def _closed(candidates: list[Slice], rows: list[Slice], done: Decimal) -> tuple[Slice, ...]:
    """`candidates` not yet closed, closed: the first gets what was done since, the rest nothing.

    Never a negative amount: a trade that failed after its slice closed makes the slice open now
    do it again.
    """
    known = _sum(row.filled for row in rows)
    since = max(ZERO, done - known)
    changed: list[Slice] = []
    for row in candidates:
        if row.filled is None:
            changed.append(replace(row, filled=since))
            since = ZERO
    return tuple(changed)


def _cumulative(planned: list[Decimal], opened: int, least_size: Decimal) -> Decimal:
    """The plan's sum up to the open slice, with an illegal end folded in."""
    return _with_end(sum(planned[:opened], ZERO), sum(planned[opened:], ZERO), least_size)


def _spread(planned: list[Decimal], opened: int, closed: Decimal, least_size: Decimal) -> Decimal:
    """The open slice's part of what was left when it opened."""
    left = max(ZERO, sum(planned, ZERO) - closed)
    ahead = sum(planned[opened - 1 :], ZERO)
    if ahead == ZERO:
        return left
    micros = to_micros(left) * to_micros(planned[opened - 1]) // to_micros(ahead)
    part = floor_to(from_micros(micros), LOT)
    return _with_end(part, left - part, least_size) if part >= least_size else part


def _with_end(amount: Decimal, after: Decimal, least_size: Decimal) -> Decimal:
    """`amount`, and with it what comes after if that alone could never be legal."""
    return amount + after if ZERO < after < least_size else amount


def _batch(planned: list[Decimal], opened: int, least_size: Decimal) -> tuple[int, Decimal]:
    """How many slices lie before the open slice's batch, and what the batch asks for so far.

    Slices too small alone are taken together until they are legal; what is left over at the end
    belongs to the last batch, and is asked for with it.
    """
    ends, held = [0], ZERO
    for n, amount in enumerate(planned, start=1):
        held += amount
        if held >= least_size:
            ends.append(n)
            held = ZERO
    starts = ends[:-1] or ends
    start = max(n for n in starts if n < opened)
    whole = start == starts[-1] and start < ends[-1] <= opened
    return start, sum(planned[start:] if whole else planned[start:opened], ZERO)

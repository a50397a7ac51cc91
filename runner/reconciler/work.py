"""Decide: one woken job, from its facts to what it wants next.

Called inside the pass's transaction. What it wants sent it only collects; the loop sends it after
the commit.

1. A halted runner records cancels and nothing else.
2. Nothing is submitted while the account is not in sync with the exchange, or the book is stale.
3. A job leaves for its end through draining: the intended end is stored, and comes true when no
   order of the job works and no trade of it is provisional.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from runner.core import pace, planning
from runner.core.errors import InvariantBroken, PlanError
from runner.core.model import (
    Book,
    Job,
    JobState,
    Market,
    PlanState,
    Segment,
    TimeInForce,
)
from runner.core.money import LOT, floor_to, plain
from runner.core.plan import FilledOf, JobSpec, NeedState, Style
from runner.reconciler.config import REFUSALS_MAX
from runner.reconciler.intents import parse_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from runner.core.model import JobKey, Slice
    from runner.reconciler.config import Config
    from runner.reconciler.desk import Desk
    from runner.reconciler.intents import Intents
    from runner.store import Writes
    from runner.store.rows import JobRow, PlanRow

_ENDED = frozenset({JobState.COMPLETED, JobState.WITHDRAWN, JobState.EXPIRED, JobState.FAILED})


@lru_cache(maxsize=4096)
def parse_job(spec: str) -> JobSpec:
    """A stored job, as it was accepted."""
    return JobSpec.model_validate_json(spec)


def window_end(spec: JobSpec, start: datetime) -> datetime | None:
    """When a job that starts at `start` is over; None without a window."""
    minutes = spec.time_window_minutes
    return None if minutes is None else start + pace.span(minutes * 60)


class Worker:
    """Drives jobs inside one transaction."""

    def __init__(
        self,
        tx: Writes,
        now: datetime,
        config: Config,
        desk: Desk,
        intents: Intents,
        *,
        book: Callable[[str], Book | None],
        halted: bool,
    ) -> None:
        self._tx = tx
        self._now = now
        self._config = config
        self._desk = desk
        self._intents = intents
        self._book = book
        self._halted = halted
        self.wanted = intents.wanted

    def work(self, key: JobKey) -> None:
        """Look at one job, and take it as far as it can go now."""
        job, plan = self._tx.job(key), self._tx.plan(key.plan)
        if job is None or plan is None or job.state in _ENDED:
            return
        self.wanted.wake[key] = None
        try:
            self._advance(job, plan)
        except PlanError as error:
            # what only shows with the market or the runner's limits known: that job stops
            self._intend(self._fresh(key), JobState.FAILED, f"PLAN_IMPOSSIBLE: {error}")
            self._drain(self._fresh(key))
        self._plan_follows(key.plan)

    def _advance(self, job: JobRow, plan: PlanRow) -> None:
        """From state to state, as far as it goes."""
        key = job.key
        held = bool(plan.paused_by) or job.paused_by_operator
        if held and job.state in (JobState.WAITING, JobState.WORKING):
            self._close_slices(job)
            self._tx.move_job(key, "paused", _why_paused(plan, job))
        elif not held and job.state is JobState.PAUSED:
            self._tx.move_job(key, "resumed")
        job = self._fresh(key)
        if job.state is JobState.WAITING:
            self._wait(job)
            job = self._fresh(key)
            if job.state is JobState.WAITING:  # a revision can send a job back to wait
                self._cancel_all(job, "the job waits")
        if job.state is JobState.WORKING:
            self._drive(job, plan)
            job = self._fresh(key)
        if job.state is JobState.PAUSED:
            self._cancel_all(job, "the job is paused")
            self._end_if_over(job)
            job = self._fresh(key)
        if job.state is JobState.DRAINING:
            self._drain(job)

    def _fresh(self, key: JobKey) -> JobRow:
        job = self._tx.job(key)
        if job is None:
            raise InvariantBroken(f"job {key} vanished")
        return job

    # waiting

    def _wait(self, job: JobRow) -> None:
        """Start the job if its market is known, its time has come, its needs and gate hold."""
        spec = parse_job(job.spec)
        key = job.key
        if job.token_id is None:
            self.wanted.markets.append(spec.market)
        if not self._needs_met(job, spec):
            return
        job = self._fresh(key)
        if self._end_if_over(job):
            return
        if job.starts_at > self._now:
            self._intents.look_again(key, job.starts_at)
            self._tx.set_next_action(key, job.starts_at, "WAITING: its start has not come")
            return
        info = None if job.token_id is None else self._tx.market(job.token_id)
        poll = self._now + pace.span(spec.quote.poll_interval)
        if info is None or job.token_id is None:
            self._intents.look_again(key, poll)
            self._tx.set_next_action(key, poll, "WAITING: its market is being read")
            return
        book = self._book(job.token_id)
        if spec.when is not None and not planning.gate_holds(spec.when, spec.side, book):
            self._intents.look_again(key, poll)
            self._tx.set_next_action(key, poll, "WAITING: its price gate does not hold")
            return
        if book is None:
            self._intents.look_again(key, poll)
            self._tx.set_next_action(key, poll, "WAITING: no fresh book")
            return
        self._tx.move_job(key, "started")
        if (arrival := book.mid) is not None:
            self._tx.set_arrival(key, arrival)
            self._tx.set_mark(job.token_id, arrival, book.at)
        self._anchor(self._fresh(key), spec)

    def _needs_met(self, job: JobRow, spec: JobSpec) -> bool:
        """Whether the job may start; withdraws it when a need ended otherwise."""
        key = job.key
        for name, wanted in spec.needs.items():
            need = self._tx.job(key._replace(job=name))
            if need is None or need.state not in _ENDED:
                self._tx.set_next_action(key, None, f"WAITING: needs {name}")
                return False
            if wanted is NeedState.COMPLETED and need.state is not JobState.COMPLETED:
                self._tx.intend(key, JobState.WITHDRAWN, f"NEED_ENDED: {name} ended {need.state}")
                return False
        if isinstance(spec.total_shares, FilledOf) and job.total is None:
            source = self._tx.job(key._replace(job=spec.total_shares.job))
            total = Decimal(0) if source is None else floor_to(source.filled, LOT)
            if total <= 0:
                self._tx.intend(
                    key, JobState.WITHDRAWN, f"NEED_EMPTY: {spec.total_shares.job} filled nothing"
                )
                return False
            self._tx.set_job_total(key, total)
        if spec.needs and job.segment == 0 and job.ends_at is None and spec.start is None:
            self._tx.set_job_window(key, self._now, window_end(spec, self._now))
        return True

    def _anchor(self, job: JobRow, spec: JobSpec) -> None:
        """Begin a new segment of the curve: the first at the job's start, later ones now."""
        at = job.starts_at if job.segment == 0 else self._now
        segment = Segment(job.segment + 1, at, job.filled)
        core = self._core_job(job, spec, self._plan(job.key.plan), segment=segment, slices=())
        slices = pace.plan_slices(
            spec,
            remaining=core.remaining,
            segment=segment,
            end=job.ends_at,
            max_order_size=core.max_order_size,
        )
        self._tx.start_segment(job.key, segment.n, segment.at, segment.filled, slices)

    def _close_slices(self, job: JobRow) -> None:
        if job.segment and job.segment_at is not None:
            plan = self._tx.plan(job.key.plan)
            spec = parse_job(job.spec)
            if plan is not None and job.total is not None:
                core = self._core_job(job, spec, plan)
                self._tx.save_slices(job.key, pace.closing(core))

    # working

    def _drive(self, job: JobRow, plan: PlanRow) -> None:
        """Compare what the job wants with what works, and record the difference."""
        key, spec = job.key, parse_job(job.spec)
        if self._end_if_over(job):
            return
        if job.incurable >= REFUSALS_MAX:
            last = f"REFUSED_FOR_GOOD: {REFUSALS_MAX} refusals in a row; see its orders"
            self._intend(job, JobState.FAILED, last)
            return
        info = None if job.token_id is None else self._tx.market(job.token_id)
        if info is None or job.token_id is None:
            raise InvariantBroken(f"{key} works without a market")
        core = self._core_job(job, spec, plan)
        if self._over_filled(core, spec):
            return
        book = self._book(job.token_id)
        if spec.when is not None and not planning.gate_holds(spec.when, spec.side, book):
            self._close_slices(job)
            self._tx.move_job(key, "gated", "its price gate does not hold")
            self._cancel_all(job, "the price gate does not hold")
            self._intents.look_again(key, self._now + pace.span(spec.quote.poll_interval))
            return
        if self._halted:
            self._cancel_all(job, "trading is halted")
            self._tx.set_next_action(key, None, "TRADING_HALTED")
            return
        market = Market(info=info, book=book, own=self._desk.own(info))
        decision = planning.decide(core, job.memory, market, self._now)
        if decision.slices:
            self._tx.save_slices(key, decision.slices)
        if decision.stop is not None:
            self._intend(job, JobState.WITHDRAWN, decision.stop)
            return
        reasons = list(decision.reasons)
        shown = self._intents.carry_out(job, core, market, decision, reasons)
        if shown and decision.memory != job.memory:
            self._tx.save_memory(key, decision.memory)
        self._intents.look_again(key, decision.wake_at)
        self._intents.look_again(key, self._now + pace.span(spec.quote.poll_interval))
        self._intents.look_again(key, job.ends_at)
        self._tx.set_next_action(key, decision.wake_at, "; ".join(reasons))

    def _over_filled(self, core: Job, spec: JobSpec) -> bool:
        """Facts are always booked; an excess that no rule explains pauses the plan."""
        bounded = spec.quote.time_in_force in (TimeInForce.FAK, TimeInForce.FOK)
        if core.filled <= core.total or bounded or spec.quote.style is Style.TAKE:
            return False
        text = f"{core.key}: filled {plain(core.filled)} of {plain(core.total)}"
        self._tx.alert("critical", "JOB_OVER_FILLED", text)
        self._tx.set_pause(core.key.plan, "runner", on=True)
        self.wanted.also.update(job.key for job in self._tx.jobs(core.key.plan))
        return True

    def _core_job(
        self,
        job: JobRow,
        spec: JobSpec,
        plan: PlanRow,
        *,
        segment: Segment | None = None,
        slices: tuple[Slice, ...] | None = None,
    ) -> Job:
        bounds = [
            spec.split.max_order_size,
            parse_plan(self._tx.revision_text(plan.plan)).risk.max_order_size,
            self._config.limits.max_order_size,
        ]
        total = job.total if job.total is not None else Decimal(0)
        return Job(
            key=job.key,
            spec=spec,
            state=job.state,
            token_id=job.token_id or "",
            total=total,
            filled=job.filled,
            segment=segment
            or Segment(job.segment, job.segment_at or job.starts_at, job.segment_filled),
            slices=self._tx.slices(job.key, job.segment) if slices is None else slices,
            ends_at=job.ends_at,
            seed=job.seed,
            max_order_size=min((b for b in bounds if b is not None), default=max(total, LOT)),
            working=tuple(row.working for row in self._tx.job_orders(job.key)),
        )

    # ending

    def _end_if_over(self, job: JobRow) -> bool:
        """Send the job draining if everything is filled or its window is over."""
        plan = self._tx.plan(job.key.plan)
        if plan is None or job.total is None:
            return False
        info = None if job.token_id is None else self._tx.market(job.token_id)
        core = self._core_job(job, parse_job(job.spec), plan)
        ending = planning.ending(core, self._now, Decimal(0) if info is None else info.min_size)
        if ending is None:
            self._intents.look_again(job.key, job.ends_at)
            return False
        self._intend(job, ending.state, ending.reason)
        return True

    def _intend(self, job: JobRow, end: JobState, reason: str) -> None:
        self._close_slices(job)
        self._tx.intend(job.key, end, reason)
        self._cancel_all(job, f"the job is to end: {reason}")

    def _cancel_all(self, job: JobRow, why: str) -> None:
        for row in self._tx.job_orders(job.key):
            self._tx.request_cancel(row.working.order_id, why)

    def _drain(self, job: JobRow) -> None:
        """Let the intended end come true once nothing can change any more."""
        key, end = job.key, job.intended_end
        if end is None:
            raise InvariantBroken(f"{key} drains towards no end")
        self._cancel_all(job, f"the job is to end {end}")
        info = None if job.token_id is None else self._tx.market(job.token_id)
        event = planning.drained(
            self._core_job(job, parse_job(job.spec), self._plan(key.plan)),
            end,
            self._now,
            Decimal(0) if info is None else info.min_size,
            provisional=self._tx.provisional(key) > 0,
        )
        if event is None:
            return
        if event == "reopened":
            why = "TRADE_FAILED: the window is open"
            self._tx.move_job(key, event, why)
            self._tx.change_intent(key, None, why)
            self._anchor(self._fresh(key), parse_job(job.spec))
            self.wanted.also.add(key)
            return
        lost = end is JobState.COMPLETED and event != end.value
        self._tx.move_job(key, event, "TRADE_FAILED: the window is over" if lost else job.reason)
        self.wanted.ended.add(key)
        self.wanted.also.update(other.key for other in self._tx.jobs(key.plan))

    def _plan(self, plan: str) -> PlanRow:
        row = self._tx.plan(plan)
        if row is None:
            raise InvariantBroken(f"plan {plan} vanished")
        return row

    def _plan_follows(self, name: str) -> None:
        """The plan's own machine follows from its jobs and its reasons to pause."""
        plan, jobs = self._plan(name), self._tx.jobs(name)
        states = [job.state for job in jobs]
        if plan.state not in (PlanState.ACCEPTED, PlanState.RUNNING, PlanState.PAUSED):
            return
        if all(state in _ENDED for state in states):
            worst = planning.worst_end(states)
            reason = next((job.reason for job in jobs if job.state.value == worst), "")
            if worst is not None:
                self._tx.move_plan(name, worst, reason)
        elif plan.paused_by:
            if plan.state is not PlanState.PAUSED:
                self._tx.move_plan(name, "paused", ", ".join(sorted(plan.paused_by)))
        else:
            begun = any(
                job.segment > 0 or job.state not in (JobState.WAITING, JobState.PAUSED)
                for job in jobs
            )
            if plan.state is PlanState.PAUSED:
                self._tx.move_plan(name, "resumed" if begun else "reaccepted")
            elif plan.state is PlanState.ACCEPTED and begun:
                self._tx.move_plan(name, "started")


def _why_paused(plan: PlanRow, job: JobRow) -> str:
    reasons = sorted(plan.paused_by) + (["operator (job)"] if job.paused_by_operator else [])
    return "PAUSED by " + ", ".join(reasons)

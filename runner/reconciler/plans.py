"""The plans folder's changes, carried out in the database (contract 3, after the table).

1. A file that is rejected touches nothing that runs, and burns no id.
2. An edit is a new revision: the difference is applied, nothing filled is forgotten.
3. A plan whose file is gone is paused at once, and withdrawn only after the grace.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from runner.core.model import JobKey, JobState, PlanState
from runner.core.plan import FilledOf
from runner.core.plan_changes import (
    Back,
    Known,
    Missing,
    New,
    Problem,
    Rejected,
    Renamed,
    Revised,
    changes,
    printable,
)
from runner.core.plan_reading import unavailable
from runner.reconciler.commands import withdraw
from runner.reconciler.work import parse_job, window_end
from runner.steps import Step, reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from runner.core.plan import JobSpec, Plan
    from runner.core.plan_changes import Change, Scan
    from runner.reconciler.config import Config
    from runner.reconciler.inbox import MarketMissing
    from runner.store import Writes
    from runner.store.rows import JobRow, PlanRow

_ENDED = frozenset({JobState.COMPLETED, JobState.WITHDRAWN, JobState.EXPIRED, JobState.FAILED})
_TWICE_WITHIN = timedelta(seconds=2)
_OPEN = frozenset({PlanState.ACCEPTED, PlanState.RUNNING, PlanState.PAUSED})


class Plans:
    """Follows the folder. Remembers the scan before, and what it has reported already."""

    def __init__(self, config: Config, seed: Callable[[], str]) -> None:
        self._grace = timedelta(seconds=config.removal_grace_s)
        self._seed = seed
        self._previous: Scan | None = None
        self._reported: set[tuple[str, str, str]] = set()
        self._missing: dict[str, datetime] = {}
        self._no_market: dict[str, datetime] = {}
        self._unreadable = ""

    def recover(self, plans: Iterable[PlanRow]) -> None:
        """What is remembered, as the database has it: after a start, and after a pass undone."""
        self._reported = set()
        self._missing = {
            plan.plan: plan.missing_since
            for plan in plans
            if plan.missing_since is not None and plan.state in _OPEN
        }

    def due(self) -> list[datetime]:
        """When the grace of each missing plan is over."""
        return [since + self._grace for since in self._missing.values()]

    def follow(self, tx: Writes, scan: Scan, now: datetime) -> set[JobKey]:
        """Carry out what a scan asks for; returns the jobs to look at."""
        if not scan.readable and scan.reason != self._unreadable:
            tx.alert("warning", "FOLDER_UNREADABLE", f"{scan.reason}; running plans go on")
        self._unreadable = scan.reason
        known = [
            Known(
                plan.plan,
                plan.state,
                plan.content_hash,
                plan.file,
                plan.ended_at,
                plan.missing_since,
            )
            for plan in tx.plans()
        ]
        woken: set[JobKey] = set()
        for change in changes(scan, self._previous, known):
            woken |= self._carry_out(tx, change, now)
        self._previous = scan
        return woken

    def _carry_out(self, tx: Writes, change: Change, now: datetime) -> set[JobKey]:
        match change:
            case New(plan, file, content_hash, text):
                return self._accept(tx, plan, file, content_hash, text, now)
            case Revised(plan, file, content_hash, text):
                return self._revise(tx, plan, file, content_hash, text, now)
            case Renamed(plan_id, file):
                tx.set_file(plan_id, file, None)
                tx.event("plan", plan_id, "renamed", detail=file)
                return set()
            case Back(plan_id, file):
                self._missing.pop(plan_id, None)
                tx.set_file(plan_id, file, None)
                tx.set_pause(plan_id, "removal", on=False)
                tx.event("plan", plan_id, "file_back", detail=file)
                return _keys(tx, plan_id)
            case Missing(plan_id):
                row = tx.plan(plan_id)
                self._missing[plan_id] = now
                tx.set_file(plan_id, "" if row is None else row.file, now)
                tx.set_pause(plan_id, "removal", on=True)
                tx.event("plan", plan_id, "file_missing")
                return _keys(tx, plan_id)
            case Rejected():
                self._reject(tx, change)
                return set()

    def _reject(self, tx: Writes, change: Rejected) -> None:
        """Report a file that is not carried out, once as long as it lies there unchanged."""
        lines = [problem.render(printable(change.file)) for problem in change.problems]
        name = (change.file, change.content_hash, "\n".join(lines))
        if name in self._reported:
            return
        self._reported.add(name)
        text = "\n".join(lines)
        tx.alert("warning", "PLAN_REJECTED", text)
        plan_id = change.plan_id
        if plan_id is None:
            tx.event("plan", printable(change.file), "rejected", detail=text)
        elif (row := tx.plan(plan_id)) is None or row.state is PlanState.REJECTED:
            tx.put_rejected(plan_id, change.file, text)
        else:
            tx.event("plan", plan_id, "edit_rejected", detail=text)

    def _refuse(
        self, tx: Writes, plan: Plan, file: str, content_hash: str, problems: Iterable[str]
    ) -> set[JobKey]:
        found = tuple(Problem(1, 1, *text.split(": ", 1)) for text in problems)
        self._reject(tx, Rejected(file, content_hash, found, plan.plan))
        return set()

    def _accept(
        self, tx: Writes, plan: Plan, file: str, content_hash: str, text: str, now: datetime
    ) -> set[JobKey]:
        """A new plan: its revision, its jobs, all in one transaction."""
        missing = [f"{field}: {why}" for field, why in unavailable(plan)]
        if missing:
            return self._refuse(tx, plan, file, content_hash, missing)
        tx.put_plan(plan.plan, file, content_hash, text, plan.model_dump_json())
        if plan.paused:
            tx.set_pause(plan.plan, "file", on=True)
        for ordinal, (name, spec) in enumerate(plan.jobs.items()):
            self._add_job(tx, JobKey(plan.plan, name), ordinal, spec, now)
        reach(Step.PLAN_ACCEPTED)
        return _keys(tx, plan.plan)

    def _add_job(self, tx: Writes, key: JobKey, ordinal: int, spec: JobSpec, now: datetime) -> None:
        starts_at = spec.start or now
        waits = bool(spec.needs) and spec.start is None
        tx.put_job(
            key,
            ordinal=ordinal,
            side=spec.side,
            total=None if isinstance(spec.total_shares, FilledOf) else spec.total_shares,
            limit_price=spec.limit_price,
            spec=spec.model_dump_json(),
            seed=self._seed() if spec.split.seed is None else str(spec.split.seed),
            starts_at=starts_at,
            ends_at=None if waits else window_end(spec, starts_at),
        )

    def _revise(
        self, tx: Writes, plan: Plan, file: str, content_hash: str, text: str, now: datetime
    ) -> set[JobKey]:
        """A running plan's new revision: the difference is applied."""
        jobs = {job.key.job: job for job in tx.jobs(plan.plan)}
        wrong = [f"{field}: {why}" for field, why in unavailable(plan)]
        wrong += [
            f"jobs.{name}.{what}: a job never changes its {what}: give the job another name"
            for name, spec in plan.jobs.items()
            if name in jobs
            for what in _changed_for_good(jobs[name], spec)
        ]
        if wrong:
            return self._refuse(tx, plan, file, content_hash, wrong)
        tx.put_revision(plan.plan, content_hash, text, plan.model_dump_json())
        tx.set_file(plan.plan, file, None)
        tx.set_pause(plan.plan, "file", on=plan.paused)
        for ordinal, (name, spec) in enumerate(plan.jobs.items()):
            key = JobKey(plan.plan, name)
            if name not in jobs:
                self._add_job(tx, key, ordinal, spec, now)
            elif jobs[name].state not in _ENDED | {JobState.DRAINING}:
                _revise_job(tx, jobs[name], ordinal, spec, now)
        for name, job in jobs.items():
            if name not in plan.jobs and job.state not in _ENDED:
                withdraw(tx, plan.plan, "WITHDRAWN: its plan no longer has it", only=job.key)
        reach(Step.PLAN_ACCEPTED)
        return _keys(tx, plan.plan)

    def withdraw_removed(self, tx: Writes, now: datetime) -> set[JobKey]:
        """Withdraw the plans whose files are gone for longer than the grace."""
        woken: set[JobKey] = set()
        for plan, since in list(self._missing.items()):
            if now - since >= self._grace:
                del self._missing[plan]
                woken |= withdraw(tx, plan, "WITHDRAWN: its file was removed")
        return woken

    def market_missing(
        self, tx: Writes, item: MarketMissing, woken: set[JobKey], now: datetime
    ) -> None:
        """A job's market does not exist. Once is no proof; twice, seconds apart, ends the job."""
        if not item.permanent:
            return
        name = item.ref.model_dump_json()
        first = self._no_market.setdefault(name, now)
        if now - first < _TWICE_WITHIN:
            return
        del self._no_market[name]
        for job in tx.open_jobs():
            if job.token_id is None and parse_job(job.spec).market == item.ref:
                if job.state is not JobState.DRAINING:
                    tx.intend(job.key, JobState.FAILED, f"NO_SUCH_MARKET: {item.error}")
                woken.add(job.key)


def _keys(tx: Writes, plan: str) -> set[JobKey]:
    return {job.key for job in tx.jobs(plan)}


def _changed_for_good(job: JobRow, spec: JobSpec) -> list[str]:
    """What a revision may not change of a job: what it trades, and which way."""
    old = parse_job(job.spec)
    return [
        name
        for name, changed in (
            ("side", old.side != spec.side),
            ("market", old.market != spec.market),
        )
        if changed
    ]


def _revise_job(tx: Writes, job: JobRow, ordinal: int, spec: JobSpec, now: datetime) -> None:
    """One job's new terms. A working job's curve is anchored anew, at what is filled by now."""
    key, old = job.key, parse_job(job.spec)
    starts_at = job.starts_at if spec.start == old.start else spec.start or now
    not_yet = bool(spec.needs) and spec.start is None and job.segment == 0
    total = job.total if isinstance(spec.total_shares, FilledOf) else spec.total_shares
    tx.revise_job(
        key,
        ordinal=ordinal,
        total=total,
        limit_price=spec.limit_price,
        spec=spec.model_dump_json(),
        starts_at=starts_at,
        ends_at=None if not_yet else window_end(spec, starts_at),
    )
    tx.set_backoff(key, 0, 0, None)
    if job.state is JobState.WORKING:
        tx.move_job(key, "paused", "REVISED")
        tx.move_job(key, "resumed")

"""What an operator asks for through the spool, obeyed inside a pass's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.core.model import JobKey, JobState, OrderState, PlanState
from runner.store.spool import Answer, Command

if TYPE_CHECKING:
    from runner.store import Latch, Writes

_OPEN_PLAN = frozenset({PlanState.ACCEPTED, PlanState.RUNNING, PlanState.PAUSED})
_OPEN_JOB = frozenset({JobState.WAITING, JobState.WORKING, JobState.PAUSED})


def obey(tx: Writes, command: Command, latch: Latch) -> tuple[Answer, set[JobKey]]:
    """Carry a command out as far as the database goes; returns the jobs to look at."""
    match command.command:
        case "pause" | "resume":
            return _pause(tx, command, on=command.command == "pause")
        case "cancel":
            return _withdraw(tx, command)
        case "cancel_order":
            return _cancel_order(tx, command)
        case "cancel_all":
            return _cancel_all(tx)
        case "unhalt":
            if latch.newer_than(command.asked_at):
                return Answer(False, "halted again since that was asked: ask anew"), set()
            reason = latch.reason()
            latch.clear()
            tx.event("runner", "runner", "unhalt_asked", detail=command.reason)
            return (
                Answer(True, "trading resumes" if reason else "was not halted"),
                {job.key for job in tx.open_jobs()},
            )
        case other:
            return Answer(False, f"no command {other!r}"), set()


def _target(tx: Writes, target: str) -> tuple[str, JobKey | None] | Answer:
    """PLAN or PLAN/JOB as one that exists and has not ended, or the answer that says why not."""
    name, _, job = target.partition("/")
    plan = tx.plan(name)
    if plan is None:
        return Answer(False, f"no plan {name!r}")
    if plan.state not in _OPEN_PLAN:
        return Answer(False, f"plan {name} has ended: {plan.state}")
    if not job:
        return name, None
    row = tx.job(JobKey(name, job))
    if row is None:
        return Answer(False, f"plan {name} has no job {job!r}")
    if row.state not in _OPEN_JOB:
        return Answer(False, f"job {target} has ended or is ending: {row.state}")
    return name, row.key


def _pause(tx: Writes, command: Command, *, on: bool) -> tuple[Answer, set[JobKey]]:
    found = _target(tx, command.target)
    if isinstance(found, Answer):
        return found, set()
    name, key = found
    if key is None:
        changed = tx.set_pause(name, "operator", on=on)
        if not on:
            # what the runner itself paused (an excess) an operator's resume clears too
            changed = tx.set_pause(name, "runner", on=False) or changed
    else:
        tx.set_job_pause(key, on=on)
        changed = True
    verb = "paused" if on else "resumed"
    tx.event("plan", name, f"operator_{verb}", detail=f"{command.target} {command.reason}".strip())
    plan = tx.plan(name)
    others = sorted((plan.paused_by if plan is not None else frozenset()) - {"operator"})
    text = f"{command.target} {verb}" if changed else f"{command.target} was {verb} already"
    if not on and others:
        text += f"; still paused by {', '.join(others)}"
    keys = {job.key for job in tx.jobs(name)} if key is None else {key}
    return Answer(True, text), keys


def _withdraw(tx: Writes, command: Command) -> tuple[Answer, set[JobKey]]:
    found = _target(tx, command.target)
    if isinstance(found, Answer):
        return found, set()
    name, key = found
    reason = f"WITHDRAWN by the operator {command.reason}".strip()
    keys = withdraw(tx, name, reason, only=key)
    return Answer(True, f"{command.target} is being withdrawn; its orders are cancelled"), keys


def withdraw(tx: Writes, plan: str, reason: str, *, only: JobKey | None = None) -> set[JobKey]:
    """Send a plan's jobs (or one) draining towards withdrawn, and cancel their orders."""
    keys = set()
    for job in tx.jobs(plan):
        if job.state in _OPEN_JOB and only in (None, job.key):
            tx.intend(job.key, JobState.WITHDRAWN, reason)
            keys.add(job.key)
    return keys


def _cancel_order(tx: Writes, command: Command) -> tuple[Answer, set[JobKey]]:
    row = tx.order(command.target)
    if row is None:
        return Answer(False, f"no order {command.target} of ours"), set()
    if row.working.state is OrderState.CLOSED:
        return Answer(False, f"order {command.target} has ended already"), set()
    key = row.working.key
    tx.request_cancel(command.target, f"cancelled by the operator {command.reason}".strip())
    tx.set_job_pause(key, on=True)
    tx.event("job", str(key), "operator_paused", detail=f"with order {command.target}")
    return Answer(True, f"order {command.target} is being cancelled; job {key} is paused"), {key}


def _cancel_all(tx: Writes) -> tuple[Answer, set[JobKey]]:
    keys: set[JobKey] = set()
    plans = [plan.plan for plan in tx.plans() if plan.state in _OPEN_PLAN]
    for name in plans:
        tx.set_pause(name, "operator", on=True)
        tx.event("plan", name, "operator_paused", detail="cancel --all")
        keys.update(job.key for job in tx.jobs(name))
    working = tx.working()
    for order in working:
        tx.request_cancel(order.order_id, "cancel --all")
    text = f"{len(plans)} plans paused, {len(working)} orders being cancelled"
    return Answer(True, text), keys

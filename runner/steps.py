"""Named steps: the durable and network boundaries at which a crash must be survivable.

In production `reach` does nothing. A crash test arms it: `arm(n, stop)` calls `stop` when the n-th
step of the run is reached (or the n-th of one name). The command line arms it from the environment
variable `PMRUN_STOP_AT` (`N` or `NAME:N`) with a real SIGKILL; tests in process arm it with an
exception that nothing catches.

A test walks the source and fails if a named step is never reached.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Step(StrEnum):
    """Every boundary, in the order in which a plan meets them."""

    MIGRATE = "migrate"
    PLAN_READ = "plan.read"
    PLAN_ACCEPTED = "plan.accepted"
    PASS_BEFORE_COMMIT = "pass.before_commit"
    PASS_COMMITTED = "pass.committed"
    POST_BEFORE_SEND = "post.before_send"
    POST_ANSWERED = "post.answered"
    OUTCOME_RECORDED = "outcome.recorded"
    CANCEL_BEFORE_SEND = "cancel.before_send"
    CANCEL_ANSWERED = "cancel.answered"
    REPORT_RECEIVED = "report.received"
    REPORTS_RECORDED = "reports.recorded"
    RECONCILE_READ = "reconcile.read"
    RECONCILE_RECORDED = "reconcile.recorded"
    REPEAT_BEFORE_SEND = "repeat.before_send"
    COMMAND_TAKEN = "command.taken"
    COMMAND_DONE = "command.done"
    LATCH_SET = "latch.set"
    SHUTDOWN = "shutdown"


class _Armed:
    """The one armed stop of this process, if any."""

    def __init__(self) -> None:
        self.left = 0
        self.name: str | None = None
        self.stop: Callable[[], None] | None = None
        self.seen: dict[Step, int] = {}


_armed = _Armed()


def arm(n: int, stop: Callable[[], None], *, name: str | None = None) -> None:
    """Call `stop` at the n-th step reached from now on (counting only `name` if given)."""
    _armed.left, _armed.name, _armed.stop = n, name, stop
    _armed.seen = {}


def disarm() -> dict[Step, int]:
    """Forget the armed stop; return how often each step was reached since `arm`."""
    _armed.stop = None
    return _armed.seen


def reach(step: Step) -> None:
    """Mark a boundary. Free unless armed."""
    if _armed.stop is None:
        return
    _armed.seen[step] = _armed.seen.get(step, 0) + 1
    if _armed.name is not None and _armed.name != step.value:
        return
    _armed.left -= 1
    if _armed.left <= 0:
        _armed.stop()  # also ever after: a process that was stopped takes no further step

"""The plans folder as values, and what a scan of it means for the known plans (contract 3).

`changes` is pure and looks at levels, not edges: called again with the same scans it says the same,
so whoever carries it out may be interrupted anywhere. A rejection repeats as long as its file lies
there: (file, content hash, message) names it.

1. A plan is missing only if two scans in a row agree and both could read the whole folder.
2. Whatever lies under the name of a plan's file keeps that plan from being missing, as long as it
   can't be read as another plan.
3. A running plan is touched only by a file that is valid and has settled.
4. At most one file speaks for an id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.core.model import PlanState
from runner.core.plan_text import echo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from runner.core.plan import Plan


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with a plan file. Lines and columns count from 1, in characters.

    `field` is the dotted name of the key at fault (`jobs.build.limit_price`), or `file`.
    """

    line: int
    column: int
    field: str
    message: str

    def render(self, path: str) -> str:
        """The line a person reads: `path:line:column: field: message`."""
        return f"{path}:{self.line}:{self.column}: {self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class PlanFile:
    """One file of the folder: its plan, or its problems.

    `content_hash` is the SHA-256 of its bytes in hex, or of the reason why it can't be read.
    `text` is empty unless there is a plan, so that nothing of a bad file is kept (S4).
    `appeared_at` is when it was first seen (a rename keeps that), None: at the first scan already.
    """

    name: str
    content_hash: str
    text: str
    plan: Plan | None
    problems: tuple[Problem, ...]
    settled: bool
    appeared_at: datetime | None


@dataclass(frozen=True, slots=True)
class Scan:
    """The folder at one moment; `reason` says why it isn't readable. Files are sorted by name.

    `complete` is false while some new files are still to be read, in the next scans.
    """

    at: datetime
    readable: bool
    reason: str
    files: tuple[PlanFile, ...] = ()
    complete: bool = True

    @property
    def settled(self) -> bool:
        """Whether nothing is still being written or to be read: if not, look again soon."""
        return self.complete and all(file.settled for file in self.files)


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of one plan id.

    `file` and `content_hash` are those of its newest accepted revision. `ended_at` is None while
    it hasn't ended, `missing_since` while its file is there.
    """

    plan: str
    state: PlanState
    content_hash: str
    file: str
    ended_at: datetime | None = None
    missing_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class New:
    """A plan whose id was never accepted."""

    plan: Plan
    file: str
    content_hash: str
    text: str


@dataclass(frozen=True, slots=True)
class Revised:
    """A known plan with other content: a new revision of it."""

    plan: Plan
    file: str
    content_hash: str
    text: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """A known plan's file has another name now. Nothing else about it changed."""

    plan_id: str
    file: str


@dataclass(frozen=True, slots=True)
class Back:
    """A missing plan's file is there again. If its content differs, `Revised` follows."""

    plan_id: str
    file: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A running plan's file is gone: two scans agree."""

    plan_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that is not carried out. `plan_id` names the plan that it would have changed."""

    file: str
    content_hash: str
    problems: tuple[Problem, ...]
    plan_id: str | None


Change = New | Revised | Renamed | Back | Missing | Rejected


def changes(scan: Scan, previous: Scan | None, known: Iterable[Known]) -> list[Change]:
    """What `scan`, after `previous` (None: it is the first), asks to be done, in order.

    Plans whose state is `rejected` were never accepted: their ids are free.
    """
    if not scan.readable or not scan.complete:
        return []
    plans = {one.plan: one for one in known if one.state is not PlanState.REJECTED}
    by_file = {one.file: one.plan for one in plans.values() if one.ended_at is None}
    found: list[Change] = []
    for file in scan.files:
        if file.plan is None and file.settled:
            plan_id = by_file.get(file.name)
            found.append(Rejected(file.name, file.content_hash, file.problems, plan_id))
    for plan_id, files in _by_id(scan).items():
        one = plans.get(plan_id)
        if one is None:
            found += _newcomers(files)
        elif one.ended_at is not None:
            found += _after_the_end(one, one.ended_at, files, scan)
        else:
            found += _running(one, files)
    found += [
        Missing(one.plan)
        for one in plans.values()
        if one.ended_at is None
        and one.missing_since is None
        and _absent(one, scan)
        and previous is not None
        and previous.readable
        and previous.complete
        and _absent(one, previous)
    ]
    return found


def _by_id(scan: Scan) -> dict[str, list[PlanFile]]:
    groups: dict[str, list[PlanFile]] = {}
    for file in scan.files:
        if file.plan is not None:
            groups.setdefault(file.plan.plan, []).append(file)
    return groups


def _absent(one: Known, scan: Scan) -> bool:
    """Whether no file of `scan` speaks for the plan, nor may be about to (invariant 2)."""
    for file in scan.files:
        if file.plan is not None and file.plan.plan == one.plan:
            return False
        if file.name == one.file and (file.plan is None or not file.settled):
            return False
    return True


def _reject(file: PlanFile, message: str) -> Rejected:
    problem = Problem(1, 1, "plan", message)
    plan_id = file.plan.plan if file.plan else None
    return Rejected(file.name, file.content_hash, (problem,), plan_id)


def _names(files: Iterable[PlanFile]) -> str:
    return " and ".join(printable(file.name) for file in files)


def _newcomers(files: list[PlanFile]) -> Iterator[Change]:
    """Files with an id that was never accepted: one is a new plan, several are none."""
    if len(files) == 1:
        (file,) = files
        if file.plan is not None and file.settled:
            yield New(file.plan, file.name, file.content_hash, file.text)
        return
    # While one of them is still being written, wait: it may get another id.
    if all(file.settled for file in files):
        for file in files:
            others = _names(other for other in files if other is not file)
            yield _reject(file, f"has the same plan id as {others}: an id names one plan")


def _running(one: Known, files: list[PlanFile]) -> Iterator[Change]:
    """Files with the id of a plan that is on its way: its own file speaks, others are rejected."""
    own = _own(one, files)
    for file in files:
        if file is not own and file.settled:
            where = printable(own.name if own else one.file)
            message = f"{one.plan} is already running from {where}: give this plan an id of its own"
            yield _reject(file, message)
    if own is None or own.plan is None or not own.settled:
        return
    if one.missing_since is not None:
        yield Back(one.plan, own.name)
    elif own.name != one.file:
        yield Renamed(one.plan, own.name)
    if own.content_hash != one.content_hash:
        yield Revised(own.plan, own.name, own.content_hash, own.text)


def _own(one: Known, files: list[PlanFile]) -> PlanFile | None:
    """The file that speaks for a running plan: by name, else the only one, else by content."""
    for candidates in (
        [file for file in files if file.name == one.file],
        files,
        [file for file in files if file.content_hash == one.content_hash],
    ):
        if len(candidates) == 1:
            return candidates[0]
    return None


def _after_the_end(
    one: Known, ended_at: datetime, files: list[PlanFile], scan: Scan
) -> Iterator[Change]:
    """Files with the id of an ended plan: its own file may stay, anything newer is rejected."""
    own_is_there = any(file.name == one.file for file in scan.files)
    for file in files:
        if not file.settled:
            continue
        same = file.content_hash == one.content_hash
        late = file.appeared_at is not None and file.appeared_at > ended_at
        if same and file.name == one.file and not late:
            continue
        if same and not own_is_there and not late:
            own_is_there = True
            yield Renamed(one.plan, file.name)
            continue
        message = f"{one.plan} has ended, and never runs again: give this plan an id of its own"
        yield _reject(file, message)


def printable(name: str) -> str:
    """A file name as it may be printed: anything unusual in it is escaped."""
    return name if name.isascii() and name.isprintable() else echo(name)

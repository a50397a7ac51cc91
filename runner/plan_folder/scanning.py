"""The plans folder as it is now. A scan is the truth; file events only say when to scan.

1. A folder that is missing or can't be read is never an empty one: `readable` is false.
2. A file is opened once, without following links or waiting, and only the bytes that were read
   are checked, hashed and parsed (faults F21 to F23).
3. A file is `settled` when its content has stood for `settle_s`: what is still being written is
   neither accepted nor rejected (F1).
4. Names mean nothing but order and display: the identity of a plan is inside its file (F4, F25).
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from runner.core.plan import Plan
from runner.core.plan_changes import PlanFile, Problem, Scan
from runner.plan_folder.reading import FILE_SIZE_MAX, read_plan

if TYPE_CHECKING:
    from pathlib import Path

FILES_MAX = 10_000
READS_MAX = 100  # files read in one scan, about a millisecond each: the caller's loop stands still
SETTLE_S = 0.2
STEADY_AFTER_US = 2_000_000  # file times can be this coarse (F27)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is remembered of a file: its stamp when it was read, and since when it is so."""

    stamp: tuple[int, ...]
    steady: bool
    since: datetime
    file: PlanFile


class _Unreadable(Exception):
    """The file is there, and is not read: says why."""


class _Later(Exception):
    """This scan has read enough: the file is for the next one."""


class PlanFolder:
    """A plans folder and what was seen of it, so that a scan parses only what changed.

    Not for two scans at once.
    """

    def __init__(self, folder: Path, settle_s: float = SETTLE_S) -> None:
        self.folder = folder
        self._settle = timedelta(seconds=settle_s)
        self._seen: dict[str, _Seen] = {}
        self._device: int | None = None
        self._scanned = False
        self._reads_left = READS_MAX

    def scan(self, now: datetime) -> Scan:
        """Reads the folder as it is, at most `READS_MAX` new or changed files of it (F28).

        Raises nothing for anything the folder may hold.
        """
        try:
            handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            return Scan(now, readable=False, reason=f"the plans folder: {error.strerror}")
        try:
            return self._scan(handle, now)
        except OSError as error:
            return Scan(now, readable=False, reason=f"the plans folder: {error.strerror}")
        finally:
            os.close(handle)

    def _scan(self, handle: int, now: datetime) -> Scan:
        names = sorted(name for name in os.listdir(handle) if _is_plan_name(name))
        device = os.fstat(handle).st_dev
        if len(names) > FILES_MAX:
            reason = f"the plans folder has {len(names)} plan files, more than {FILES_MAX}"
            return Scan(now, readable=False, reason=reason)
        if not names and self._seen and device != self._device:
            # An unmounted folder leaves an empty one in its place (F7).
            return Scan(now, readable=False, reason="the plans folder is not the same one: empty")
        seen: dict[str, _Seen] = {}
        complete = True
        self._reads_left = READS_MAX
        for name in names:
            try:
                found = self._look(handle, name, now)
            except _Later:
                complete = False
                found = self._seen.get(name)
            if found is not None:
                seen[name] = found
        for name, appeared_at in self._renamed(seen):
            file = replace(seen[name].file, appeared_at=appeared_at)
            seen[name] = replace(seen[name], file=file)
        self._seen, self._device = seen, device
        self._scanned = self._scanned or complete
        return Scan(now, True, "", tuple(found.file for found in seen.values()), complete)

    def _renamed(self, seen: dict[str, _Seen]) -> list[tuple[str, datetime | None]]:
        """New names whose content was there under a name that is gone: since when it was."""
        gone = {
            old.file.content_hash: old.file.appeared_at
            for name, old in self._seen.items()
            if name not in seen
        }
        return [
            (name, gone[new.file.content_hash])
            for name, new in seen.items()
            if name not in self._seen and new.file.content_hash in gone
        ]

    def _look(self, handle: int, name: str, now: datetime) -> _Seen | None:
        before = self._seen.get(name)
        if before is None and not self._reads_left:
            raise _Later
        try:
            if before and before.steady and _stamp(_lstat(handle, name)) == before.stamp:
                return before
            data, status = _read(handle, name)
        except FileNotFoundError:
            return None  # gone since the folder was listed
        except _Unreadable as error:
            return self._remember(before, _refused(name, str(error)), None, now)
        except OSError as error:
            why = f"can't be read: {error.strerror}"
            return self._remember(before, _refused(name, why), None, now)
        content_hash = hashlib.sha256(data).hexdigest()
        if before and before.file.content_hash == content_hash:
            return self._remember(before, before.file, status, now)
        if not self._reads_left:
            raise _Later
        self._reads_left -= 1
        return self._remember(before, _parsed(name, content_hash, data), status, now)

    def _remember(
        self, before: _Seen | None, file: PlanFile, status: os.stat_result | None, now: datetime
    ) -> _Seen:
        same = before is not None and before.file.content_hash == file.content_hash
        since = before.since if before and same else now
        # By the file's own times, the later one, as either may be set back. Times may lie in the
        # future: then only having seen the same twice counts.
        changed_ns = max(status.st_mtime_ns, status.st_ctime_ns) if status else None
        age_us = -1 if changed_ns is None else _microseconds(now) - changed_ns // 1000
        settle_us = self._settle // _MICROSECOND
        appeared = before.file.appeared_at if before else now if self._scanned else None
        return _Seen(
            stamp=_stamp(status) if status else (),
            steady=age_us >= max(STEADY_AFTER_US, settle_us),
            since=since,
            file=replace(
                file,
                settled=now - since >= self._settle or age_us >= settle_us,
                appeared_at=appeared,
            ),
        )


def _is_plan_name(name: str) -> bool:
    """Editors' own files start with a dot or end in `~` or something else (F26)."""
    return name.endswith((".yaml", ".yml")) and not name.startswith(".")


def _lstat(handle: int, name: str) -> os.stat_result:
    return os.stat(name, dir_fd=handle, follow_symlinks=False)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_mode,
        status.st_nlink,
        status.st_uid,
    )


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _read(handle: int, name: str) -> tuple[bytes, os.stat_result]:
    try:
        descriptor = os.open(name, _OPEN_FLAGS, dir_fd=handle)
    except OSError as error:
        if stat.S_ISLNK(_lstat(handle, name).st_mode):
            raise _Unreadable("is a link: put the file itself into the folder") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _Unreadable("is not a regular file")
        if status.st_uid != os.geteuid():
            raise _Unreadable("belongs to another user of this machine: only your own are read")
        if status.st_mode & stat.S_IWOTH:
            raise _Unreadable("can be written by every user of this machine: chmod o-w")
        if status.st_nlink != 1:
            raise _Unreadable("has a second name (a hard link): copy the file instead")
        data = b""
        # One byte more than allowed is enough to know that it is too large.
        while part := os.read(descriptor, FILE_SIZE_MAX + 1 - len(data)):
            data += part
        return data, status
    finally:
        os.close(descriptor)


def _parsed(name: str, content_hash: str, data: bytes) -> PlanFile:
    found = read_plan(data)
    if isinstance(found, Plan):
        return PlanFile(name, content_hash, data.decode(), found, (), False, None)
    return PlanFile(name, content_hash, "", None, tuple(found), False, None)


def _refused(name: str, why: str) -> PlanFile:
    content_hash = hashlib.sha256(why.encode()).hexdigest()
    return PlanFile(name, content_hash, "", None, (Problem(1, 1, "file", why),), False, None)

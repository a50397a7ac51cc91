"""One runner a database: a lock held by the kernel, so it dies with its process.

A file beside the database is locked with flock; the pid inside is only there for people. A stale
file never blocks, and a reused pid never matters. Whoever asks who holds it (`holder`) has it for a
moment himself, so that `acquire` takes no for an answer only after a little while.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from runner.core.errors import SafetyRefusal

if TYPE_CHECKING:
    from pathlib import Path


_TRIES = 20  # whoever only asks who holds the lock has it for a moment
_BETWEEN_S = 0.02


def _path(state: Path) -> Path:
    return state.with_name(state.name + ".lock")


class RunnerLock:
    """Held from `acquire` until `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, state: Path) -> RunnerLock:
        """Take the lock of the database at `state`.

        Raises:
            SafetyRefusal: another runner holds it.
        """
        descriptor = os.open(_path(state), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for left in reversed(range(_TRIES)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if left:
                    time.sleep(_BETWEEN_S)
                    continue
                pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise SafetyRefusal(
                    f"another runner (pid {pid or 'unknown'}) works on {state}: one runner a "
                    "database; stop that one, or give another --state"
                ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Let go. Closing the descriptor unlocks."""
        os.close(self._descriptor)


def holder(state: Path) -> int | None:
    """The pid of the runner that works on the database at `state`, or None."""
    try:
        descriptor = os.open(_path(state), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else -1
    else:
        return None
    finally:
        os.close(descriptor)

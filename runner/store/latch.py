"""The halt latch: a small file beside the database, read before every POST.

It is a file, and not only a row, so that `pmrun halt` works while the database is locked and the
runner is dead or hung. Whoever sets it makes it durable before anything else; whoever clears it
says why in the event log.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import TYPE_CHECKING, Final

from runner.steps import Step, reach

if TYPE_CHECKING:
    from pathlib import Path


class Latch:
    """The latch of one database."""

    def __init__(self, state: Path) -> None:
        self.path: Final = state.with_name(state.name + ".halt")

    def is_set(self) -> bool:
        """Whether trading is halted. One stat: cheap enough for every POST."""
        return self.path.exists()

    def reason(self) -> str | None:
        """Why it is set, or None when it is not."""
        return self._read("reason")

    def newer_than(self, at: datetime) -> bool:
        """Whether it was set after `at`; one that cannot be read counts as newer."""
        since = self._read("at")
        try:
            return since is not None and datetime.fromisoformat(since) > at
        except ValueError:
            return True

    def _read(self, field: str) -> str | None:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return str(json.loads(text)[field])
        except (ValueError, KeyError, TypeError):
            return "the latch file is unreadable; it halts all the same"

    def set(self, reason: str, now: datetime) -> None:
        """Set it, durably. Setting it again keeps the first reason."""
        text = json.dumps({"reason": reason, "at": now.isoformat()})
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return
        try:
            os.write(descriptor, text.encode("utf-8"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._sync_folder()
        reach(Step.LATCH_SET)

    def clear(self) -> None:
        """Clear it, durably."""
        self.path.unlink(missing_ok=True)
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

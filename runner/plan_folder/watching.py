"""Hints that the plans folder may have changed. Losing all of them costs time, nothing else (F24).

The operating system's file events are turned into calls of one function. Whatever keeps them from
coming (a missing folder, no more watches, a file system without events) is a sentence in
`Watcher.reason`, for `status`; the periodic scan does not depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from watchdog.events import (
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watchdog.observers.api import ObservedWatch

# Not opening and closing: a scan does that itself, and would wake itself up for ever.
_EVENTS: list[type[FileSystemEvent]] = [
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


class _Handler(FileSystemEventHandler):
    def __init__(self, hint: Callable[[], None]) -> None:
        self._hint = hint

    def on_any_event(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - only that it came
        self._hint()


class Watcher:
    """Calls `hint` from a thread of its own when the folder may have changed.

    `hint` must be safe to call from another thread and must not raise.
    """

    def __init__(self, folder: Path, hint: Callable[[], None]) -> None:
        self._folder = folder
        self._handler = _Handler(hint)
        self._observer = Observer()
        self._watch: ObservedWatch | None = None
        self._identity: tuple[int, int] | None = None
        self.reason = "not started"

    def start(self) -> None:
        """Starts watching; a folder that is missing is watched once `refresh` finds it."""
        self._observer.start()
        self.refresh()

    def refresh(self) -> None:
        """Follows a folder that came, went or was replaced. Cheap: call it with every scan."""
        try:
            status = self._folder.stat()
            identity = (status.st_dev, status.st_ino)
        except OSError as error:
            identity = None
            self.reason = f"the plans folder: {error.strerror}"
        if identity == self._identity and (identity is None or self._watch is not None):
            return
        if self._watch is not None:
            self._observer.unschedule(self._watch)
            self._watch = None
        self._identity = identity
        if identity is None:
            return
        try:
            self._watch = self._observer.schedule(
                self._handler, self._folder, event_filter=_EVENTS, follow_symlink=True
            )
            self.reason = ""
        except OSError as error:  # no watches left, or the folder went away meanwhile
            self.reason = f"no file events: {error.strerror}"

    def stop(self) -> None:
        """Stops the thread and waits for it."""
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()
        self.reason = "stopped"

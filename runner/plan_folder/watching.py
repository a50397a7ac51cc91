"""Hints that the plans folder may have changed. Losing all of them costs time, nothing else (F24).

The operating system's file events are turned into calls of one function. Whatever keeps them from
coming (a missing folder, no more watches, a file system without events) is a sentence in
`Watcher.reason`, for `status`; the periodic scan does not depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from watchdog.events import (
    DirDeletedEvent,
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

    from watchdog.observers.api import BaseObserver, ObservedWatch

# Not opening, nor closing what was only read: a scan does that, and would wake itself for ever.
_EVENTS: list[type[FileSystemEvent]] = [
    DirDeletedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


class _Handler(FileSystemEventHandler):
    """`folder_gone` says that the watched folder itself was deleted, and its watch with it."""

    def __init__(self, hint: Callable[[], None]) -> None:
        self._hint = hint
        self.folder_gone = False

    def on_any_event(self, event: FileSystemEvent) -> None:
        if isinstance(event, DirDeletedEvent):
            self.folder_gone = True
        self._hint()


class Watcher:
    """Calls `hint` from a thread of its own when the folder may have changed.

    `hint` must be safe to call from another thread and must not raise.
    """

    def __init__(self, folder: Path, hint: Callable[[], None]) -> None:
        self._folder = folder
        self._hint = hint
        self._observer: BaseObserver | None = None
        self._handler = _Handler(hint)
        self._watch: ObservedWatch | None = None
        self._identity: tuple[int, int] | None = None
        self.reason = "not started"

    def start(self) -> None:
        """Starts watching; a folder that is missing is watched once `refresh` finds it."""
        try:
            self._observer = Observer()
            self._observer.start()
        except OSError as error:  # the machine has no watches left
            self._observer = None
            self.reason = f"no file events: {error.strerror}"
            return
        self.refresh()

    def refresh(self) -> None:
        """Follows a folder that came, went or was replaced. Cheap: call it with every scan."""
        if self._observer is None:
            return
        try:
            status = self._folder.stat()
        except OSError as error:
            self._unwatch(self._observer)
            self.reason = f"no file events: {error.strerror}"
            return
        identity = (status.st_dev, status.st_ino)
        # A folder deleted and made again often gets the same inode: its own end tells them apart.
        if self._watch and identity == self._identity and not self._handler.folder_gone:
            return
        self._unwatch(self._observer)
        self._handler = _Handler(self._hint)
        try:
            self._watch = self._observer.schedule(
                self._handler, self._folder, event_filter=_EVENTS, follow_symlink=True
            )
        except OSError as error:  # no watches left, or the folder went away meanwhile
            self.reason = f"no file events: {error.strerror}"
            return
        self._identity = identity
        self.reason = ""

    def _unwatch(self, observer: BaseObserver) -> None:
        if self._watch is not None:
            observer.unschedule(self._watch)
            self._watch = None

    def stop(self) -> None:
        """Stops the thread and waits for it."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None
        self.reason = "stopped"

"""File events become hints, through the real operating system; losing them is survivable."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.plan_folder import Watcher


class Hints:
    """Waits for the next hint, however many came."""

    def __init__(self) -> None:
        self._came = threading.Event()

    def __call__(self) -> None:
        self._came.set()

    def clear(self) -> None:
        while self.came(0.2):
            pass

    def came(self, timeout_s: float = 5) -> bool:
        found = self._came.wait(timeout_s)
        self._came.clear()
        return found


@pytest.fixture
def hints() -> Hints:
    return Hints()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "plans"


@pytest.fixture
def watcher(folder: Path, hints: Hints) -> Iterator[Watcher]:
    watcher = Watcher(folder, hints)
    yield watcher
    watcher.stop()
    assert not [thread for thread in threading.enumerate() if "notify" in thread.name.lower()]


def test_each_kind_of_change_is_hinted_and_reading_is_not(
    folder: Path, watcher: Watcher, hints: Hints
) -> None:
    folder.mkdir()
    watcher.start()
    assert watcher.reason == ""
    path = folder / "a.yaml"
    path.write_text("x")
    assert hints.came()
    hints.clear()
    path.write_text("xy")
    assert hints.came()
    hints.clear()
    path.rename(folder / "b.yaml")
    assert hints.came()
    hints.clear()
    assert (folder / "b.yaml").read_text() == "xy"
    list(folder.iterdir())
    assert not hints.came(0.3)
    (folder / "b.yaml").unlink()
    assert hints.came()


def test_a_folder_that_appears_later_goes_and_comes_again_is_followed(
    folder: Path, watcher: Watcher, hints: Hints
) -> None:
    watcher.start()
    assert "No such file" in watcher.reason
    for _ in range(3):  # the new folder often has the inode of the old one
        folder.mkdir()
        watcher.refresh()
        assert watcher.reason == ""
        hints.clear()
        (folder / "a.yaml").write_text("x")
        assert hints.came()
        hints.clear()
        shutil.rmtree(folder)
        assert hints.came()
        hints.clear()
    watcher.refresh()
    assert "No such file" in watcher.reason


def test_a_watcher_that_was_never_started_stops(watcher: Watcher) -> None:
    watcher.refresh()
    assert watcher.reason == "not started"

"""The folder as it is: what is read, what is not, and when a file has settled (F1, F7, F21-F28)."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.core.model import PlanState
from runner.plan_folder import (
    Known,
    Missing,
    PlanFile,
    PlanFolder,
    Rejected,
    Scan,
    changes,
    printable,
    scanning,
)

PLAN = """\
version: 1
plan: {id}
market: {{token_id: "7"}}
jobs:
  build: {{side: buy, total_shares: {total}, limit_price: 0.5}}
"""
LATER = datetime.now(UTC) + timedelta(hours=1)  # so that files written now are long settled


def text(plan: str = "a-plan", total: str = "10") -> str:
    return PLAN.format(id=plan, total=total)


def age(path: Path, seconds: float = 3600) -> None:
    """Sets both times of a file, seen from `LATER`."""
    at = LATER.timestamp() - seconds
    os.utime(path, (at, at))


def files(scan: Scan) -> dict[str, PlanFile]:
    assert scan.readable, scan.reason
    return {file.name: file for file in scan.files}


def why(scan: Scan, name: str) -> str:
    file = files(scan)[name]
    assert file.plan is None
    assert file.text == ""
    (problem,) = file.problems
    return problem.message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "plans"
    path.mkdir()
    return path


def test_f26_only_plan_files_are_read_in_order_of_name(folder: Path) -> None:
    names = [
        "b.yaml",
        "a.yml",
        ".hidden.yaml",
        "c.yaml~",
        "#d.yaml#",
        "e.yaml.swp",
        "f.txt",
        "yaml",
    ]
    for name in names:
        (folder / name).write_text(text(f"p-{names.index(name)}"))
    (folder / "examples").mkdir()
    (folder / "examples" / "g.yaml").write_text(text("g"))
    scan = PlanFolder(folder).scan(LATER)
    assert [file.name for file in scan.files] == ["a.yml", "b.yaml"]
    assert scan.settled
    first = scan.files[0]
    assert first.plan is not None
    assert first.plan.plan == "p-1"
    assert first.text == text("p-1")
    assert len(first.content_hash) == 64


def test_f7_a_missing_or_unreadable_folder_is_not_an_empty_one(tmp_path: Path) -> None:
    scan = PlanFolder(tmp_path / "plans").scan(LATER)
    assert not scan.readable
    assert "No such file" in scan.reason
    (tmp_path / "file").write_text("")
    assert not PlanFolder(tmp_path / "file").scan(LATER).readable
    empty = tmp_path / "empty"
    empty.mkdir()
    assert files(PlanFolder(empty).scan(LATER)) == {}


def test_f7_an_empty_folder_on_another_device_is_an_unmounted_one(folder: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == folder.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    (folder / "a.yaml").write_text(text())
    watched = folder.parent / "link"
    watched.symlink_to(folder)
    plans = PlanFolder(watched)
    assert list(files(plans.scan(LATER))) == ["a.yaml"]
    unmounted = other / f"pmrun-test-{os.getpid()}"
    unmounted.mkdir()
    try:
        watched.unlink()
        watched.symlink_to(unmounted)
        assert not plans.scan(LATER).readable
    finally:
        unmounted.rmdir()
    watched.unlink()
    watched.symlink_to(folder)
    assert list(files(plans.scan(LATER))) == ["a.yaml"]


def test_f21_f22_only_a_regular_file_of_ours_with_one_name_is_read(
    folder: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text(text("secret"))
    (folder / "link.yaml").symlink_to(secret)
    (folder / "dangling.yaml").symlink_to(tmp_path / "nothing")
    (folder / "loop.yaml").symlink_to(folder / "loop.yaml")
    os.link(secret, folder / "hard.yaml")
    (folder / "dir.yaml").mkdir()
    os.mkfifo(folder / "pipe.yaml")
    (folder / "open.yaml").write_text(text())
    (folder / "open.yaml").chmod(0o666)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s.yaml"))
        scan = PlanFolder(folder).scan(LATER)
    for name in ("link.yaml", "dangling.yaml", "loop.yaml"):
        assert "is a link" in why(scan, name)
    assert "hard link" in why(scan, "hard.yaml")
    assert "not a regular file" in why(scan, "dir.yaml")
    assert "not a regular file" in why(scan, "pipe.yaml")
    assert "can't be read" in why(scan, "s.yaml")
    assert "every user of this machine" in why(scan, "open.yaml")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_f22_a_file_of_another_user_is_not_read(folder: Path) -> None:
    (folder / "a.yaml").write_text(text())
    os.chown(folder / "a.yaml", 12345, 12345)
    assert "belongs to another user" in why(PlanFolder(folder).scan(LATER), "a.yaml")


def test_a_file_over_64_kib_is_not_read_to_its_end(folder: Path) -> None:
    with (folder / "big.yaml").open("wb") as big:
        big.truncate(1 << 40)  # sparse: reading it would take for ever
    assert "larger than 65536 bytes" in why(PlanFolder(folder).scan(LATER), "big.yaml")


def test_odd_names_and_times_harm_nothing(folder: Path) -> None:
    name = os.fsdecode(b"\xff\n\x1b[31m.yaml")
    (folder / name).write_text(text())
    os.utime(folder / name, (2**33, 2**33))  # beyond the year 2200
    scan = PlanFolder(folder).scan(LATER)
    assert files(scan)[name].plan is not None
    assert printable(name).isprintable()


def test_f1_a_file_settles_when_its_content_has_stood(folder: Path) -> None:
    path = folder / "a.yaml"
    plans = PlanFolder(folder, settle_s=0.2)
    path.write_text(text()[:40])
    # `now` before the file's own times: only two equal looks count.
    now = datetime.now(UTC) - timedelta(hours=1)
    assert not plans.scan(now).settled
    assert not plans.scan(now + timedelta(seconds=0.1)).settled
    path.write_text(text())  # the writer goes on
    assert not plans.scan(now + timedelta(seconds=0.25)).settled
    assert not plans.scan(now + timedelta(seconds=0.44)).settled
    scan = plans.scan(now + timedelta(seconds=0.46))
    assert scan.settled
    assert files(scan)["a.yaml"].plan is not None


def test_f1_an_old_file_is_settled_at_first_sight(folder: Path) -> None:
    (folder / "a.yaml").write_text(text())
    assert not PlanFolder(folder).scan(datetime.now(UTC)).settled
    assert PlanFolder(folder).scan(datetime.now(UTC) + timedelta(seconds=0.3)).settled


def test_f27_an_edit_that_keeps_size_and_time_is_seen(folder: Path) -> None:
    path = folder / "a.yaml"
    path.write_text(text(total="10"))
    status = path.stat()
    plans = PlanFolder(folder)
    before = files(plans.scan(LATER))["a.yaml"]
    path.write_text(text(total="99"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = files(plans.scan(LATER))["a.yaml"]
    assert path.stat().st_size == status.st_size
    assert before.content_hash != after.content_hash
    assert after.plan is not None
    assert str(after.plan.jobs["build"].total_shares) == "99"


def test_f23_only_the_bytes_that_were_read_are_hashed_and_parsed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is replaced right after it was opened: the old bytes count, all of them."""
    path = folder / "a.yaml"
    path.write_text(text("old"))
    real = os.fstat

    def swap(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return status
        new = folder / "tmp"
        new.write_text(text("new"))
        new.replace(path)
        return status

    plans = PlanFolder(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", swap)
        file = files(plans.scan(LATER))["a.yaml"]
    assert file.plan is not None
    assert file.plan.plan == "old"
    assert file.text == text("old")
    again = files(plans.scan(LATER))["a.yaml"]
    assert again.plan is not None
    assert again.plan.plan == "new"


def test_unchanged_files_are_not_opened_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        (folder / f"{n}.yaml").write_text(text(f"p{n}"))
    plans = PlanFolder(folder)
    first = plans.scan(LATER)
    opened: list[object] = []
    real = os.open

    def count(path: str, *args: int, **kwargs: int) -> int:
        opened.append(path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", count)
    second = plans.scan(LATER)
    assert opened == [folder]
    assert second.files == first.files
    (folder / "3.yaml").write_text(text("p3", "11"))
    plans.scan(LATER)
    assert opened == [folder, folder, "3.yaml"]


def test_f28_more_files_than_the_cap_make_the_folder_unreadable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "FILES_MAX", 3)
    for n in range(4):
        (folder / f"{n}.yaml").write_text(text(f"p{n}"))
    scan = PlanFolder(folder).scan(LATER)
    assert not scan.readable
    assert "4 plan files, more than 3" in scan.reason
    (folder / "0.yaml").unlink()
    assert len(files(PlanFolder(folder).scan(LATER))) == 3


def test_when_a_file_appeared_survives_a_rename_but_not_a_removal(folder: Path) -> None:
    plans = PlanFolder(folder)
    (folder / "old.yaml").write_text(text("old"))
    assert files(plans.scan(LATER))["old.yaml"].appeared_at is None
    (folder / "new.yaml").write_text(text("new"))
    second = LATER + timedelta(seconds=1)
    assert files(plans.scan(second))["new.yaml"].appeared_at == second
    (folder / "old.yaml").rename(folder / "moved.yaml")
    (folder / "new.yaml").rename(folder / "newer.yaml")
    found = files(plans.scan(LATER + timedelta(seconds=2)))
    assert found["moved.yaml"].appeared_at is None
    assert found["newer.yaml"].appeared_at == second
    kept = (folder / "moved.yaml").read_bytes()
    (folder / "moved.yaml").unlink()
    plans.scan(LATER + timedelta(seconds=3))
    (folder / "moved.yaml").write_bytes(kept)
    fourth = LATER + timedelta(seconds=4)
    assert files(plans.scan(fourth))["moved.yaml"].appeared_at == fourth


def test_the_folder_may_go_and_come_back(folder: Path) -> None:
    plans = PlanFolder(folder)
    (folder / "a.yaml").write_text(text())
    assert plans.scan(LATER).readable
    away = folder.with_name("away")
    folder.rename(away)
    assert not plans.scan(LATER).readable
    away.rename(folder)
    assert list(files(plans.scan(LATER))) == ["a.yaml"]
    shutil.rmtree(folder)
    folder.mkdir()
    assert files(plans.scan(LATER)) == {}


def test_f28_a_scan_reads_a_bounded_number_of_new_files_and_the_next_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "READS_MAX", 3)
    for n in range(8):
        (folder / f"{n}.yaml").write_text(text("same" if n in {0, 7} else f"p{n}"))
    plans = PlanFolder(folder)
    scans = [plans.scan(LATER + timedelta(seconds=n)) for n in range(4)]
    assert [len(scan.files) for scan in scans] == [3, 6, 8, 8]
    assert [scan.complete for scan in scans] == [False, False, True, True]
    assert not scans[0].settled
    assert all(file.appeared_at is None for file in scans[3].files)
    # Nothing is decided on half a folder: the two files with one id are found in any case.
    assert changes(scans[0], None, []) == []
    found = changes(scans[2], scans[1], [])
    rejected = [change.file for change in found if isinstance(change, Rejected)]
    assert rejected == ["0.yaml", "7.yaml"]
    for n in range(5):
        (folder / f"{n}.yaml").write_text(text(f"q{n}"))
    known = [Known("p1", PlanState.RUNNING, "", "1.yaml")]
    scans = [plans.scan(LATER + timedelta(seconds=n)) for n in range(10, 13)]
    assert [scan.complete for scan in scans] == [False, True, True]
    assert Missing("p1") not in changes(scans[1], scans[0], known)
    assert Missing("p1") in changes(scans[2], scans[1], known)

"""What the folder's changes mean for running plans: contract 3, sentence by sentence.

Each test works on a real folder, scanned for real; `Desk` keeps what a store would know.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.core.model import PlanState
from runner.plan_folder import (
    Back,
    Change,
    Known,
    Missing,
    New,
    PlanFolder,
    Rejected,
    Renamed,
    Revised,
    Scan,
    changes,
)

START = datetime.now(UTC) + timedelta(hours=1)  # files written now have long settled by then


def text(plan: str = "a-plan", total: str = "10") -> str:
    return (
        f'version: 1\nplan: {plan}\nmarket: {{token_id: "7"}}\njobs:\n'
        f"  build: {{side: buy, total_shares: {total}, limit_price: 0.5}}\n"
    )


@dataclass
class Desk:
    """A folder and a store's knowledge, brought up to date by each look."""

    folder: Path
    plans: PlanFolder
    now: datetime = START
    previous: Scan | None = None

    def __post_init__(self) -> None:
        self.known: dict[str, Known] = {}

    def look(self) -> list[Change]:
        """One scan, a second later; what it asks for is done."""
        self.now += timedelta(seconds=1)
        scan = self.plans.scan(self.now)
        found = changes(scan, self.previous, self.known.values())
        self.previous = scan
        for change in found:
            match change:
                case New(plan, file, content_hash) | Revised(plan, file, content_hash):
                    state = PlanState.RUNNING
                    self.known[plan.plan] = Known(plan.plan, state, content_hash, file)
                case Renamed(plan_id, file) | Back(plan_id, file):
                    one = self.known[plan_id]
                    self.known[plan_id] = replace(one, file=file, missing_since=None)
                case Missing(plan_id):
                    one = self.known[plan_id]
                    self.known[plan_id] = replace(one, missing_since=self.now)
                case Rejected():
                    pass
        return found

    def end(self, plan: str) -> None:
        one = self.known[plan]
        self.known[plan] = replace(one, state=PlanState.COMPLETED, ended_at=self.now)

    def restart(self) -> None:
        """The process begins anew: what it had seen of the folder is gone, the store is not."""
        self.plans = PlanFolder(self.folder)
        self.previous = None

    def write(self, name: str, content: str) -> None:
        (self.folder / name).write_text(content)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    folder = tmp_path / "plans"
    folder.mkdir()
    return Desk(folder, PlanFolder(folder))


@pytest.fixture
def running(desk: Desk) -> Desk:
    """A plan runs from a.yaml."""
    desk.write("a.yaml", text())
    (new,) = desk.look()
    assert isinstance(new, New)
    assert (new.plan.plan, new.file, new.text) == ("a-plan", "a.yaml", text())
    assert desk.look() == []
    return desk


def message(change: Change) -> str:
    assert isinstance(change, Rejected)
    (problem,) = change.problems
    return problem.message


def test_editing_the_file_of_a_running_plan_makes_a_new_revision(running: Desk) -> None:
    running.write("a.yaml", text(total="20"))
    (revised,) = running.look()
    assert isinstance(revised, Revised)
    assert str(revised.plan.jobs["build"].total_shares) == "20"
    assert revised.text == text(total="20")
    assert running.look() == []


def test_the_same_scans_say_the_same_until_it_is_done(running: Desk) -> None:
    running.write("a.yaml", text(total="20"))
    scan = running.plans.scan(running.now)
    once = changes(scan, running.previous, running.known.values())
    assert once == changes(scan, running.previous, running.known.values())
    assert [type(change) for change in once] == [Revised]


def test_a_half_written_file_is_neither_accepted_nor_rejected_nor_missing(desk: Desk) -> None:
    desk.now = datetime.now(UTC) - timedelta(hours=1)  # nothing has settled by its times
    desk.plans = PlanFolder(desk.folder, settle_s=1.5)
    desk.write("a.yaml", text())
    assert desk.look() == []
    assert desk.look() == []
    assert [type(change) for change in desk.look()] == [New]
    for half in (text()[:30], text()[:60], text()[:-20], ""):
        desk.write("a.yaml", half)
        assert desk.look() == []
    desk.write("a.yaml", text(total="30"))
    assert desk.look() == []
    assert desk.look() == []
    assert [type(change) for change in desk.look()] == [Revised]


def test_an_edit_that_does_not_validate_leaves_the_revision_in_force_and_is_reported(
    running: Desk,
) -> None:
    before = dict(running.known)
    for _ in range(3):
        running.write("a.yaml", text(total="ten"))
        (rejected,) = running.look()
        assert isinstance(rejected, Rejected)
        assert rejected.plan_id == "a-plan"
        assert rejected.problems[0].field == "jobs.build.total_shares"
    assert running.known == before
    running.write("a.yaml", text())
    assert running.look() == []


def test_removing_the_file_takes_two_scans_that_agree(running: Desk) -> None:
    (running.folder / "a.yaml").unlink()
    assert running.look() == []
    assert running.look() == [Missing("a-plan")]
    assert running.look() == []


def test_a_file_gone_for_one_scan_only_is_not_removed(running: Desk) -> None:
    for _ in range(3):
        (running.folder / "a.yaml").unlink()
        assert running.look() == []
        running.write("a.yaml", text())
        assert running.look() == []


def test_after_a_restart_removal_takes_two_scans_again(running: Desk) -> None:
    (running.folder / "a.yaml").unlink()
    running.look()
    running.restart()
    assert running.look() == []
    assert running.look() == [Missing("a-plan")]


def test_the_same_id_back_resumes_it(running: Desk) -> None:
    (running.folder / "a.yaml").unlink()
    running.look()
    running.look()
    running.write("a.yaml", text())
    assert running.look() == [Back("a-plan", "a.yaml")]
    assert running.look() == []


def test_the_same_id_back_under_another_name_with_other_content(running: Desk) -> None:
    (running.folder / "a.yaml").unlink()
    running.look()
    running.look()
    running.write("b.yaml", text(total="30"))
    back, revised = running.look()
    assert back == Back("a-plan", "b.yaml")
    assert isinstance(revised, Revised)
    assert running.look() == []


def test_a_missing_folder_never_means_all_removed(running: Desk) -> None:
    shutil.rmtree(running.folder)
    for _ in range(5):
        assert running.look() == []
    running.folder.mkdir()
    assert running.look() == []  # one readable scan says nothing yet
    running.write("a.yaml", text())
    assert running.look() == []


def test_a_folder_that_comes_back_without_the_file_takes_two_readable_scans(running: Desk) -> None:
    away = running.folder.with_name("away")
    running.folder.rename(away)
    running.look()
    (away / "a.yaml").unlink()
    away.rename(running.folder)
    assert running.look() == []
    assert running.look() == [Missing("a-plan")]


def test_f4_a_renamed_file_is_the_same_plan(running: Desk) -> None:
    (running.folder / "a.yaml").rename(running.folder / "z.yaml")
    assert running.look() == [Renamed("a-plan", "z.yaml")]
    assert running.look() == []
    running.write("z.yaml", text(total="40"))
    assert [type(change) for change in running.look()] == [Revised]


def test_f5_a_running_plan_stays_and_the_newcomer_with_its_id_is_rejected(running: Desk) -> None:
    running.write("0.yaml", text(total="99"))  # sorts before the running one
    running.write("b.yaml", text())
    for _ in range(2):
        first, second = running.look()
        assert isinstance(first, Rejected)
        assert (first.file, first.plan_id) == ("0.yaml", "a-plan")
        assert message(first) == (
            "a-plan is already running from a.yaml: give this plan an id of its own"
        )
        assert isinstance(second, Rejected)
        assert second.file == "b.yaml"
    # Editing its own file still revises it.
    running.write("a.yaml", text(total="20"))
    assert [type(change) for change in running.look()] == [Rejected, Rejected, Revised]
    # The newcomer takes over once its own file is gone: the id is what counts.
    (running.folder / "0.yaml").unlink()
    (running.folder / "a.yaml").unlink()
    assert [type(change) for change in running.look()] == [Renamed, Revised]


def test_f5_of_two_newcomers_with_one_id_both_are_rejected(desk: Desk) -> None:
    desk.write("a.yaml", text())
    desk.write("b.yaml", text(total="20"))
    for _ in range(2):
        first, second = desk.look()
        assert message(first) == "has the same plan id as b.yaml: an id names one plan"
        assert message(second) == "has the same plan id as a.yaml: an id names one plan"
    assert desk.known == {}
    # A rejected file burns no id.
    (desk.folder / "b.yaml").unlink()
    assert [type(change) for change in desk.look()] == [New]


def test_a_rejected_file_burns_no_id(desk: Desk) -> None:
    desk.write("a.yaml", text(total="0x10"))
    assert [type(change) for change in desk.look()] == [Rejected]
    desk.known["a-plan"] = Known("a-plan", PlanState.REJECTED, "f00", "a.yaml", desk.now)
    desk.write("a.yaml", text())
    assert [type(change) for change in desk.look()] == [New]


def test_f6_an_ended_plan_s_file_may_stay_but_never_runs_again(running: Desk) -> None:
    running.end("a-plan")
    assert running.look() == []
    running.restart()
    assert running.look() == []
    # Edited:
    running.write("a.yaml", text(total="20"))
    (rejected,) = running.look()
    assert message(rejected) == (
        "a-plan has ended, and never runs again: give this plan an id of its own"
    )
    # Put back as it was: nothing to say. Copied: said.
    running.write("a.yaml", text())
    assert running.look() == []
    running.write("b.yaml", text())
    (rejected,) = running.look()
    assert isinstance(rejected, Rejected)
    assert (rejected.file, rejected.plan_id) == ("b.yaml", "a-plan")


def test_f6_an_ended_plan_dropped_again_is_rejected(running: Desk) -> None:
    running.end("a-plan")
    (running.folder / "a.yaml").unlink()
    assert running.look() == []  # and it is not missing: it has ended
    assert running.look() == []
    running.write("a.yaml", text())
    (rejected,) = running.look()
    assert "never runs again" in message(rejected)


def test_an_ended_plan_s_file_may_be_renamed(running: Desk) -> None:
    running.end("a-plan")
    (running.folder / "a.yaml").rename(running.folder / "done.yaml")
    assert running.look() == [Renamed("a-plan", "done.yaml")]
    assert running.look() == []


def test_a_file_that_becomes_another_plan_removes_the_first(running: Desk) -> None:
    running.write("a.yaml", text("other"))
    assert [type(change) for change in running.look()] == [New]
    assert running.look() == [Missing("a-plan")]


def test_a_file_that_cannot_be_opened_keeps_its_plan_running(running: Desk) -> None:
    path = running.folder / "a.yaml"
    path.unlink()
    path.symlink_to(running.folder.parent / "elsewhere.yaml")
    for _ in range(3):
        found = running.look()
        assert all(isinstance(change, Rejected) for change in found)
    assert running.known["a-plan"].missing_since is None


def test_git_stash_and_back_while_plans_run(running: Desk) -> None:
    """All files of the folder go, longer than two scans, and come back as they were."""
    for n in range(5):
        running.write(f"p{n}.yaml", text(f"p{n}"))
    assert len(running.look()) == 5
    kept = {path: path.read_bytes() for path in running.folder.iterdir()}
    for path in kept:
        path.unlink()
    assert running.look() == []
    assert [type(change) for change in running.look()] == [Missing] * 6
    assert running.look() == []
    for path, content in kept.items():
        path.write_bytes(content)
    assert [type(change) for change in running.look()] == [Back] * 6
    assert running.look() == []

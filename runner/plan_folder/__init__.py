"""The plans folder: what its files hold, and when to look.

`read_plan` reads one file's bytes; `PlanFolder.scan` reads the folder; `Watcher` says when to scan
sooner. What a scan means for the known plans is decided by `runner.core.plan_changes`, whose words
are at hand here too.
"""

from runner.core.plan_changes import (
    Back,
    Change,
    Known,
    Missing,
    New,
    PlanFile,
    Problem,
    Rejected,
    Renamed,
    Revised,
    Scan,
    changes,
    printable,
)
from runner.plan_folder.reading import FILE_SIZE_MAX, read_plan
from runner.plan_folder.scanning import FILES_MAX, PlanFolder
from runner.plan_folder.watching import Watcher

__all__ = [
    "FILES_MAX",
    "FILE_SIZE_MAX",
    "Back",
    "Change",
    "Known",
    "Missing",
    "New",
    "PlanFile",
    "PlanFolder",
    "Problem",
    "Rejected",
    "Renamed",
    "Revised",
    "Scan",
    "Watcher",
    "changes",
    "printable",
    "read_plan",
]

"""The plans folder: files in, revisions and rejections out.

`read_plan` reads one file's bytes; `PlanFolder.scan` reads the folder; `changes` decides what a
scan means for the plans that the store knows; `Watcher` says when to look sooner.
"""

from runner.plan_folder.changing import (
    Back,
    Change,
    Known,
    Missing,
    New,
    Rejected,
    Renamed,
    Revised,
    changes,
)
from runner.plan_folder.reading import FILE_SIZE_MAX, Problem, read_plan
from runner.plan_folder.scanning import FILES_MAX, PlanFile, PlanFolder, Scan, printable
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

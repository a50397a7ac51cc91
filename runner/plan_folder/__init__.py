"""The plans folder: files in, revisions and rejections out.

`read_plan` reads one file's bytes; `PlanFolder.scan` reads the folder; `changes` decides what a
scan means for the plans that the store knows; `Watcher` says when to look sooner.
"""

from runner.plan_folder.reading import FILE_SIZE_MAX, Problem, read_plan

__all__ = ["FILE_SIZE_MAX", "Problem", "read_plan"]

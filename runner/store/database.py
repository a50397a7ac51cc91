"""Opening the state database, and the one way to change it.

WAL, synchronous=FULL, foreign keys on, mode 0600. `Database.transaction()` is one commit; it takes
the write lock at its start, so that a decision and what it was decided on belong together.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import sqlite_utils

from runner.core.errors import InvariantBroken, SafetyRefusal
from runner.store.schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUSY_MS = 5_000


def open_readonly(path: Path) -> sqlite3.Connection:
    """The database for reading only, as the command line does.

    Raises:
        SafetyRefusal: there is no database at `path`.
    """
    if not path.is_file():
        raise SafetyRefusal(f"{path}: no state database here; `pmrun up` makes one")
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_BUSY_MS / 1000)
    connection.row_factory = sqlite3.Row
    return connection


def open_database(path: Path) -> sqlite3.Connection:
    """The database for the one process that writes, with every schema step applied.

    Raises:
        SafetyRefusal: it was written by a newer release, or it is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=_BUSY_MS / 1000)
    connection.row_factory = sqlite3.Row
    with ExitStack() as unless_ready:
        unless_ready.callback(connection.close)
        _prepare(connection, path)
        unless_ready.pop_all()
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check the file, and apply the schema steps it lacks."""
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        [(verdict,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError:
        raise  # locked, or the disk: that says nothing of the file
    except sqlite3.DatabaseError as error:
        raise SafetyRefusal(f"{path}: not a database, or damaged: {error}") from error
    if verdict != "ok":
        raise SafetyRefusal(f"{path}: damaged: {verdict}")
    database = sqlite_utils.Database(connection)
    known = {step.name for step in SCHEMA.pending(database)} | {
        step.name for step in SCHEMA.applied(database)
    }
    ours = {step.name for step in SCHEMA.pending(sqlite_utils.Database(memory=True))}
    if newer := known - ours:
        raise SafetyRefusal(
            f"{path}: written by a newer release (schema step {min(newer)}); use that one"
        )
    SCHEMA.apply(database)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One commit, or nothing: also when it is the commit that fails (a full disk, say).

    Raises:
        InvariantBroken: one transaction inside another.
    """
    if connection.in_transaction:
        raise InvariantBroken("one transaction inside another")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.commit()
    finally:
        connection.rollback()  # after a commit there is nothing to undo

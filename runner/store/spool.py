"""The spool: how the command line asks a running runner for something.

One folder beside the database. A command is one JSON file, renamed into place so that it is never
seen half-written; the loop takes them in order of name, obeys each in the transaction of a pass,
and writes the answer beside it. A command that no runner takes stays, and is obeyed when one comes
up, unless its asker withdraws it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from runner.core.errors import PlanError

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = frozenset({"pause", "resume", "cancel", "cancel_order", "cancel_all", "unhalt"})


@dataclass(frozen=True, slots=True)
class Command:
    """What was asked: `target` is PLAN, PLAN/JOB or an order id, empty for `cancel_all`."""

    name: str
    asked_at: datetime
    command: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of it."""

    done: bool
    text: str


def folder(state: Path) -> Path:
    """The spool of the database at `state`."""
    return state.with_name(state.name + ".commands")


def ask(state: Path, command: str, target: str, reason: str, now: datetime) -> str:
    """Put a command into the spool; returns its name, by which the answer is found.

    Raises:
        PlanError: no such command.
    """
    if command not in COMMANDS:
        raise PlanError(f"no command {command!r}; there are {', '.join(sorted(COMMANDS))}")
    place = folder(state)
    place.mkdir(mode=0o700, exist_ok=True)
    name = f"{now:%Y%m%dT%H%M%S.%f}-{os.getpid()}"
    asked = {"command": command, "target": target, "reason": reason, "asked_at": now.isoformat()}
    text = json.dumps(asked)
    temporary = place / f".{name}"
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.rename(place / f"{name}.ask")
    return name


def pending(state: Path) -> tuple[Command, ...]:
    """The commands not yet answered, oldest first. An unreadable one is answered as such."""
    place = folder(state)
    if not place.is_dir():
        return ()
    commands = []
    for path in sorted(place.glob("*.ask")):
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            commands.append(
                Command(
                    path.stem,
                    datetime.fromisoformat(value["asked_at"]),
                    str(value["command"]),
                    str(value["target"]),
                    str(value["reason"]),
                )
            )
        except (ValueError, KeyError, TypeError):
            reply(state, path.stem, Answer(done=False, text="not a command"))
    return tuple(commands)


def reply(state: Path, name: str, answer: Answer) -> None:
    """Write the answer to a command and take the command out of the spool."""
    place = folder(state)
    temporary = place / f".{name}.answer"
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps({"done": answer.done, "text": answer.text}), encoding="utf-8")
    temporary.rename(place / f"{name}.answer")
    (place / f"{name}.ask").unlink(missing_ok=True)


def answer(state: Path, name: str) -> Answer | None:
    """The answer to a command, once; None while there is none."""
    path = folder(state) / f"{name}.answer"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    path.unlink()
    return Answer(done=bool(value["done"]), text=str(value["text"]))


def withdraw(state: Path, name: str) -> bool:
    """Take a command back; False when it was taken already."""
    try:
        (folder(state) / f"{name}.ask").unlink()
    except FileNotFoundError:
        return False
    return True

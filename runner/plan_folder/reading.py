"""A plan file's bytes to a plan, or to all of its problems with their places.

1. `read_plan` never raises for anything a file may hold, and its work is bounded by
   `FILE_SIZE_MAX`.
2. No message, and so no log, holds what looks like a private key (S4), nor a control character
   (S12).
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

from runner.core.plan import Plan
from runner.core.plan_changes import Problem
from runner.core.plan_reading import FAULTS_MAX, read
from runner.core.plan_text import echo
from runner.plan_folder.yaml_tree import Document, Spot, looks_secret, parse, secret_spots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.core.plan_rules import Path

FILE_SIZE_MAX = 64 * 1024

_UNUSUAL = re.compile(r"[^\n\t\x20-\x7e]")
_ODD_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_KEY_MESSAGE = (
    "looks like a private key (64 hex digits): take it out, and replace that key if it is "
    "one. A market's condition id goes under market.condition_id"
)


def read_plan(data: bytes) -> Plan | list[Problem]:
    """Reads a plan file's bytes.

    Returns:
        The plan, or everything that is wrong with the file, in the order of the file.
    """
    if len(data) > FILE_SIZE_MAX:
        message = f"is larger than {FILE_SIZE_MAX} bytes: split it into several plans"
        return [Problem(1, 1, "file", message)]
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        spot = _spot(before, len(before))
        return [Problem(spot.line, spot.column, "file", "is not UTF-8 text: save it as UTF-8")]
    odd = [Problem(spot.line, spot.column, "file", message) for spot, message in _odd(text)]
    if odd:
        return odd[:FAULTS_MAX]
    return _read_text(text)


def _read_text(text: str) -> Plan | list[Problem]:
    document = parse(text)
    problems = {
        Problem(fault.spot.line, fault.spot.column, _field(fault.path) or "file", fault.message)
        for fault in document.faults
    }
    secrets = {Problem(s.line, s.column, "file", _KEY_MESSAGE) for s in secret_spots(text)}
    known_lines = {problem.line for problem in secrets}
    for problem in _in_tree(document.tree, document):
        if problem.line not in known_lines:
            secrets.add(problem)
    problems |= secrets
    if document.cut_short:  # what is missing may only be out of reach
        return sorted(problems)
    plan = read(document.tree)
    if isinstance(plan, Plan):
        return sorted(problems) if problems else plan
    spoilt = {fault.path for fault in document.faults if fault.path}
    for fault in plan:
        if not any(fault.path[: len(path)] == path for path in spoilt):
            spot = document.spot(fault.path, on_key=fault.on_key)
            name = _field(fault.path) or "file"
            problems.add(Problem(spot.line, spot.column, name, fault.message))
    found = sorted(problems)
    if len(found) > FAULTS_MAX:
        last = found[FAULTS_MAX - 1]
        more = f"and {len(found) - FAULTS_MAX} problems or more after this one"
        return [*found[:FAULTS_MAX], Problem(last.line, last.column, "file", more)]
    return found


def _spot(text: str, offset: int) -> Spot:
    start = text.rfind("\n", 0, offset) + 1
    return Spot(text.count("\n", 0, offset) + 1, offset - start + 1)


def _odd(text: str) -> Iterator[tuple[Spot, str]]:
    """Characters that can't be seen, or look like others: refused anywhere in a plan (F16)."""
    for found in _UNUSUAL.finditer(text):
        if unicodedata.category(found[0]) not in _ODD_CATEGORIES:
            continue
        spot = _spot(text, found.start())
        if found[0] == "\ufeff" and found.start() == 0:
            yield spot, "starts with a byte order mark: save it as UTF-8 without one"
        else:
            yield spot, f"holds the invisible character U+{ord(found[0]):04X}: take it out"


def _in_tree(tree: Any, document: Document) -> Iterator[Problem]:
    """What only shows once escapes are read: secrets, and invisible characters."""
    waiting: list[tuple[Path, Any]] = [((), tree)]
    while waiting:
        path, found = waiting.pop()
        if isinstance(found, str):
            yield from _in_text(path, found, document, on_key=False)
        elif isinstance(found, list):
            waiting += [((*path, n), item) for n, item in enumerate(found)]
        else:
            for key, item in found.items():
                yield from _in_text((*path, key), key, document, on_key=True)
                waiting.append(((*path, key), item))


def _in_text(path: Path, found: str, document: Document, *, on_key: bool) -> Iterator[Problem]:
    messages = [message for _, message in _odd(found)]
    if looks_secret(() if on_key else path, found):
        messages.append(_KEY_MESSAGE)
    for message in messages:
        spot = document.spot(path, on_key=on_key)
        yield Problem(spot.line, spot.column, _field(path), message)


def _field(path: Path) -> str:
    """The dotted name of a path, safe to print."""
    name = ""
    for step in path:
        if isinstance(step, int):
            name += f"[{step}]"
        else:
            shown = step if re.fullmatch(r"[A-Za-z0-9_-]{1,63}", step) else echo(step)
            name += f".{shown}" if name else shown
    return name

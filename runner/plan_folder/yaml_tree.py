"""A YAML document as a tree of text, with the place of every key and value.

Nothing is constructed: the parser's events are read one by one, so no tag, alias or merge key ever
does anything (faults F17, F18), and every scalar stays the text it is (F8 to F13).

1. Keys are text and unique; scalars are text; the root is a group of keys.
2. Work is bounded by the text's length: at most `DEPTH_MAX` levels, one document, no aliases.
3. What YAML allows and a plan doesn't is reported with its place, and reading goes on; only a
   syntax error ends it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from runner.core.plan_rules import Path, Tree
from runner.core.plan_text import echo

DEPTH_MAX = 8

_SECRET = re.compile(r"(?<![0-9A-Za-z])(?:0[xX])?(?=[0-9]*[a-fA-F])[0-9a-fA-F]{64}(?![0-9A-Za-z])")
_SYNTAX = {
    "found character that cannot start any token": "a value can't start with this character: "
    "put the value in quotes, and indent with spaces, never tabs",
    "mapping values are not allowed in this context": "': ' can't stand here: put a value that "
    "contains it in quotes, and check the indentation",
    "did not find expected key": "a key is expected here: check indentation and quotes",
    "found unexpected ':'": "a ':' can't stand here: put the value that contains it in quotes",
    "could not find expected ':'": "a ':' is expected after the key",
    "found unexpected end of stream": "the file ends inside a quoted value",
    "did not find expected ',' or ']'": "a list is not closed: ',' or ']' is expected",
    "did not find expected ',' or '}'": "a group is not closed: ',' or '}' is expected",
    "block sequence entries are not allowed in this context": "a list can't start here: put it on "
    "lines of its own, or write it as [a, b]",
}


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a text; lines and columns count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class YamlFault:
    """Something YAML allows and a plan doesn't, or no YAML at all."""

    spot: Spot
    path: Path
    message: str


@dataclass(slots=True)
class Document:
    """What was read: the tree, where things stand in it, and what is wrong with the YAML.

    `cut_short` says that reading ended early, so that what the tree lacks means nothing.
    """

    tree: Tree = field(default_factory=dict)
    keys: dict[Path, Spot] = field(default_factory=dict)
    values: dict[Path, Spot] = field(default_factory=dict)
    groups: set[Path] = field(default_factory=set)
    faults: list[YamlFault] = field(default_factory=list)
    cut_short: bool = False

    def spot(self, path: Path, *, on_key: bool = False) -> Spot:
        """Where `path` stands; for what is missing, where the group stands that lacks it.

        The place of a group or a list is its key, where a reader looks for it.
        """
        while path and path not in self.values:
            path, on_key = path[:-1], True
        value = self.values.get(path, Spot(1, 1))
        return self.keys.get(path, value) if on_key or path in self.groups else value


def secret_spots(text: str) -> list[Spot]:
    """Where `text` holds what looks like a bare private key: 64 hex digits without 0x (S4)."""
    spots = []
    for found in _SECRET.finditer(text):
        if not found[0].lower().startswith("0x"):
            line_start = text.rfind("\n", 0, found.start()) + 1
            line = text.count("\n", 0, found.start()) + 1
            spots.append(Spot(line, found.start() - line_start + 1))
    return spots


def looks_secret(path: Path, value: str) -> bool:
    """Whether a scalar looks like a private key. A condition id has the same form, and a home."""
    at_home = bool(path) and path[-1] == "condition_id" and value.lower().startswith("0x")
    return not at_home and _SECRET.search(value) is not None


def parse(text: str) -> Document:
    """Reads one YAML document whose characters have been checked."""
    reading = _Reading(Document())
    try:
        # typ="safe" is the C parser; only its events are used, nothing is ever constructed.
        for event in YAML(typ="safe").parse(text):
            reading.take(event)
            if reading.document.cut_short:
                break
    except MarkedYAMLError as error:
        reading.stop()
        mark = error.problem_mark or error.context_mark
        spot = Spot(mark.line + 1, mark.column + 1) if mark else Spot(1, 1)
        problem = str(error.problem)
        reading.document.faults.append(YamlFault(spot, (), _SYNTAX.get(problem, problem)))
    except YAMLError:
        reading.stop()
        fault = YamlFault(Spot(1, 1), (), "is not YAML text")
        reading.document.faults.append(fault)
    if reading.documents == 0 and not reading.document.faults:
        reading.stop()
        reading.document.faults.append(YamlFault(Spot(1, 1), (), "the file has no plan in it"))
    return reading.document


@dataclass(slots=True)
class _Open:
    """A group of keys or a list that is being read; `key` awaits its value."""

    path: Path
    content: dict[str, Any] | list[Any]
    key: str | None = None
    key_spot: Spot | None = None
    ignored: bool = False


@dataclass(slots=True)
class _Reading:
    document: Document
    documents: int = 0
    stack: list[_Open] = field(default_factory=list)

    def stop(self) -> None:
        self.document.cut_short = True

    def take(self, event: Event) -> None:
        match event:
            case DocumentStartEvent():
                self._start_document(event)
            case AliasEvent():
                path = self._value(event, "")
                self._fault(event, "aliases (*) are not read: write the value out", path)
            case ScalarEvent():
                self._properties(event, self._value(event, str(event.value)))
            case CollectionStartEvent():
                content: Any = {} if isinstance(event, MappingStartEvent) else []
                self._properties(event, self._value(event, content))
            case MappingEndEvent() | SequenceEndEvent():
                self.stack.pop()
            case _:
                pass  # starts and ends of the stream and of documents say nothing more

    def _fault(self, event: Event, message: str, path: Path = ()) -> None:
        spot = Spot(event.start_mark.line + 1, event.start_mark.column + 1)
        self.document.faults.append(YamlFault(spot, path, message))

    def _start_document(self, event: DocumentStartEvent) -> None:
        self.documents += 1
        if self.documents > 1:
            self._fault(event, "a second document starts here: one file is one plan")
            self.stop()
        elif event.version or event.tags:
            self._fault(event, "directives (%) are not read: leave the line out")

    def _properties(self, event: Any, path: Path) -> None:
        if event.anchor is not None:
            message = "anchors (&) are not read: write the value out where it is needed"
            self._fault(event, message, path)
        if event.tag is not None:
            message = "tags (!) are not read: leave it out, every value is read as text"
            self._fault(event, message, path)

    def _value(self, event: Event, value: Any) -> Path:
        """Takes a key or a value; gives the path it stands at."""
        spot = Spot(event.start_mark.line + 1, event.start_mark.column + 1)
        path: Path = ()
        ignored = False
        if not self.stack:
            if not isinstance(value, dict):
                self._fault(event, "a plan is a group of keys: version, plan, market, jobs")
                self.stop()
                return path
            self.document.tree = value
        else:
            group = self.stack[-1]
            if isinstance(group.content, dict) and group.key is None:
                self._key(event, value, spot)
                if isinstance(value, str):
                    return (*group.path, value)
                ignored, path = True, group.path
            else:
                path, ignored = self._place(group, value)
        if not ignored:
            self.document.values[path] = spot
        if not isinstance(value, str):
            self.document.groups.add(path)
            if len(self.stack) == DEPTH_MAX:
                self._fault(event, f"is nested more than {DEPTH_MAX} levels deep", path)
                self.stop()
            self.stack.append(_Open(path, value, ignored=ignored))
        return path

    def _key(self, event: Event, key: Any, spot: Spot) -> None:
        group = self.stack[-1]
        if not isinstance(key, str):
            self._fault(event, "a key must be a plain word", group.path)
            group.key, group.key_spot = "", None
            return
        group.key, group.key_spot = key, spot
        if not group.ignored and key in group.content:
            first = self.document.keys[*group.path, key]
            message = f"{echo(key)} stands here twice (first in line {first.line}): keep one"
            self._fault(event, message, (*group.path, key))
            group.key_spot = None

    def _place(self, group: _Open, value: Any) -> tuple[Path, bool]:
        """Puts `value` into its group; gives its path, and whether it is to be left out."""
        if isinstance(group.content, list):
            path: Path = (*group.path, len(group.content))
            group.content.append(value)
            return path, group.ignored
        key, key_spot = str(group.key), group.key_spot
        group.key = None
        path = (*group.path, key)
        if group.ignored or key_spot is None:
            return path, True
        group.content[key] = value
        self.document.keys[path] = key_spot
        return path, False

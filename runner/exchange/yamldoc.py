"""A strict YAML document whose every value is text and knows where it stands.

YAML's own guesses (`010` is 8, `1_000` is 1000, `no` is false) are never made: scalars stay as
written, and the schema decides. Refused here: anchors, aliases, tags, merge keys, duplicate keys,
keys that aren't plain text, more than one document.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Value = str | list["Value"] | dict[str, "Value"]
Loc = tuple[str | int, ...]
"""Where a value is: keys and list positions from the top."""

DEPTH_MAX = 16
"""Deepest nesting that is read; a scenario needs six."""

BRACKETS_MAX = 100
"""Most flow brackets open at once, before the text is read at all."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with a document: 1-based line and column, the field, and what to do."""

    line: int
    column: int
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document: its values, where each value and each key stands, and what is wrong.

    `value` is None where the text as a whole isn't one YAML document; a problem says why.
    """

    value: Value | None
    values_at: dict[Loc, tuple[int, int]]
    keys_at: dict[Loc, tuple[int, int]]
    problems: list[Problem] = field(default_factory=list)

    def problem(self, loc: Loc, message: str, *, at_key: bool = False) -> Problem:
        """A problem with the value (or its key) at `loc`, or with what stands nearest to it."""
        places = self.keys_at if at_key else self.values_at
        near = loc
        while near not in places and near:
            near, places = near[:-1], self.values_at
        line, column = places.get(near, (1, 1))
        return Problem(line, column, dotted(loc), message)


def _unclosed(text: str) -> int:
    """The most brackets open at once, those inside of texts counted too."""
    deepest = depth = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def dotted(loc: Loc) -> str:
    """A location as people write it: `markets[0].tick`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return "".join(parts).removeprefix(".") or "document"


def parse(text: str) -> Document:
    """Read one document; what is wrong with it is in its `problems`, and never raised."""
    document = Document(None, {}, {})
    if _unclosed(text) > BRACKETS_MAX:  # the reader's time would grow with their square
        document.problems.append(Problem(1, 1, "document", "nested too deeply"))
        return document
    try:
        # The pure reader: it gives lines and columns, and the same errors everywhere.
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = error.problem or error.context or "not YAML"
        document.problems.append(Problem(line, column, "document", message))
        return document
    except YAMLError as error:
        document.problems.append(Problem(1, 1, "document", str(error)))
        return document
    except RecursionError:
        document.problems.append(Problem(1, 1, "document", "nested too deeply"))
        return document
    if root is None:
        document.problems.append(Problem(1, 1, "document", "is empty"))
        return document
    return Document(
        _plain(root, (), document), document.values_at, document.keys_at, document.problems
    )


def _plain(node: Node, loc: Loc, into: Document) -> Value:
    into.values_at[loc] = (node.start_mark.line + 1, node.start_mark.column + 1)
    refusal = _refusal(node, loc)
    if refusal is not None:  # and nothing below is read: aliases can unfold without end
        into.problems.append(into.problem(loc, refusal))
        return ""
    if isinstance(node, MappingNode):
        return _mapping(node, loc, into)
    if isinstance(node, SequenceNode):
        return [_plain(item, (*loc, index), into) for index, item in enumerate(node.value)]
    return str(node.value)


def _refusal(node: Node, loc: Loc) -> str | None:
    if node.anchor is not None:
        return "anchors and aliases aren't read: write the value out"
    if node.ctag.handle is not None:
        return "tags aren't read"
    if len(loc) >= DEPTH_MAX:
        return "nested too deeply"
    return None


def _mapping(node: MappingNode, loc: Loc, into: Document) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for key_node, value_node in node.value:
        mark = key_node.start_mark
        if not isinstance(key_node, ScalarNode):
            into.problems.append(
                Problem(mark.line + 1, mark.column + 1, dotted(loc), "a key must be plain text")
            )
            continue
        key = str(key_node.value)
        here = (*loc, key)
        first = into.keys_at.get(here)
        into.keys_at[here] = (mark.line + 1, mark.column + 1)
        if first is not None:
            message = f"given twice, first in line {first[0]}"
            into.problems.append(into.problem(here, message, at_key=True))
        elif key == "<<":
            into.problems.append(into.problem(here, "merge keys aren't read", at_key=True))
        values[key] = _plain(value_node, here, into)
    return values

"""A settings file as text with places: what is in it, and where each key stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from runner.core.errors import PlanError
from runner.settings.schema import OUTSIDE, PREFIX, Settings, no_such

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ruamel.yaml.error import StreamMark as Mark
    from ruamel.yaml.events import Event

_SIZE_MAX_BYTES = 64 * 1024
_FRAME_EVENTS = (StreamStartEvent, StreamEndEvent, DocumentStartEvent, DocumentEndEvent)


class Document:
    """A settings file as text: `values` two levels deep, and where each key and value stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        self._places: dict[tuple[str, ...], Mark] = {}

    @classmethod
    def read(cls, path: Path) -> Document:
        """Parse events rather than build objects: nothing in a file can make this slow or deep.

        Raises:
            PlanError: not a mapping of keys, or of groups of keys, to plain values.
        """
        document = cls(path)
        with path.open("rb") as stream:
            data = stream.read(_SIZE_MAX_BYTES + 1)
        if len(data) > _SIZE_MAX_BYTES:
            raise PlanError(f"{path}: larger than {_SIZE_MAX_BYTES // 1024} KiB")
        try:
            text = data.decode("utf-8")
            document._take(iter(YAML(typ="safe", pure=True).parse(text)))
        except UnicodeDecodeError:
            raise PlanError(f"{path}: is not UTF-8 text") from None
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            raise PlanError(f"{path}{where}: {error.problem or 'is not YAML'}") from None
        except YAMLError as error:
            raise PlanError(f"{path}: is not YAML: {error}") from None
        return document

    def _refuse(self, mark: Mark, field: str, message: str) -> NoReturn:
        raise PlanError(f"{self.path}:{mark.line + 1}:{mark.column + 1}: {field}: {message}")

    def _take(self, events: Iterator[Event]) -> None:
        for event in events:
            if isinstance(event, MappingStartEvent) and not self._places:
                self.values = self._mapping(events, ())
            elif isinstance(event, DocumentStartEvent) and self._places:
                self._refuse(event.start_mark, "(file)", "one file holds one document")
            elif not isinstance(event, _FRAME_EVENTS):
                self._refuse(event.start_mark, "(file)", "must be keys, one a line: `risk:`")

    def _mapping(self, events: Iterator[Event], group: tuple[str, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            if not isinstance(event, ScalarEvent):
                self._refuse(event.start_mark, ".".join(group) or "(file)", "a key is plain text")
            place = (*group, event.value)
            if place in self._places:
                self._refuse(event.start_mark, ".".join(place), "stands here twice")
            self._places[place] = event.start_mark
            values[event.value] = self._value(next(events), events, place)
        return values

    def _value(self, event: Event, events: Iterator[Event], place: tuple[str, ...]) -> Any:
        if isinstance(event, MappingStartEvent) and len(place) == 1:
            return self._mapping(events, place)
        if not isinstance(event, ScalarEvent) or event.anchor or event.tag:
            self._refuse(event.start_mark, ".".join(place), "takes one plain value")
        if len(place) == 1 and not event.value:
            return {}  # a group whose keys are all commented out
        return event.value

    def unknown(self) -> list[str]:
        """One line for each key outside the groups that does not belong there."""
        lines = []
        for key in self.values:
            if key in OUTSIDE:
                lines.append(f"{self._where((key,))}: secrets have no place in this file: use .env")
            elif key not in Settings.model_fields:
                lines.append(f"{self._where((key,))}: {no_such((), key)}")
        return lines

    def _where(self, place: tuple[str, ...]) -> str:
        mark = self._places[place]
        return f"{self.path}:{mark.line + 1}:{mark.column + 1}: {'.'.join(place)}"

    def describe(self, problem: Mapping[str, Any], variables: Mapping[str, str]) -> str:
        """One line for one problem pydantic found: where it is, which key, what to write."""
        place = tuple(str(part) for part in problem["loc"])
        message = str(problem["msg"])
        if problem["type"] == "extra_forbidden":
            message = no_such(place[:-1], place[-1])
        elif problem["type"] in {"model_type", "model_attributes_type"}:
            message = "is a group: write its keys below it, indented"
        variable = PREFIX + "__".join(place).upper()
        if variable in {name.upper() for name in variables} or place not in self._places:
            return f"{variable}: {message}"
        return f"{self._where(place)}: {message}"

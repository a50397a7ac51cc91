"""The runner's settings: runner.yaml, the environment and .env, as one typed, frozen value.

Entry point: `load`. A value in the environment (`PMRUN_RISK__MAX_DAILY_LOSS`) beats the same in
`.env`, which beats the one in the file, which beats the default. Every default is safe: nothing is
armed, every limit is small. `runner.example.yaml` and `.env.example` document each key.

1. Every value is read from its text; amounts are exact decimals, never binary floats.
2. A key that does not exist is refused, wherever it stands, with its place.
3. Secrets come from the environment or `.env` only, are opaque, and no message repeats them.
4. A file that others could read secrets from, or write limits into, is refused (faults S5, O7).
"""

from __future__ import annotations

import os
import re
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
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

from runner.core.errors import PlanError, SafetyRefusal
from runner.core.model import Limits
from runner.core.plan_text import amount, duration, integer, nearest, refuse, truth, word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ruamel.yaml.error import StreamMark as Mark
    from ruamel.yaml.events import Event

FILE = Path("runner.yaml")
ENV_FILE = Path(".env")
PREFIX = "PMRUN_"

_SIZE_MAX_BYTES = 64 * 1024
_RAISE_MAX = 3  # how far above its default a limit may go without `confirm_raise` (faults O7)
_OUTSIDE = frozenset({"private_key", "keystore", "keystore_password_file"})  # never in a file
_FRAME_EVENTS = (StreamStartEvent, StreamEndEvent, DocumentStartEvent, DocumentEndEvent)
_NOT_SETTINGS = frozenset({"config", "stop_at"})  # PMRUN_ variables with a meaning of their own


class LogFormat(StrEnum):
    """How log lines look on the terminal. The file is JSON lines either way."""

    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    """The least important line that is still written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _address(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"0x[0-9a-fA-F]{40}", value):
        refuse("is not an address: write 0x and 40 hex digits")
    return value


def _host(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"https://[a-z0-9.-]+", value):
        refuse("must be https:// and a host name, without a path: https://clob.polymarket.com")
    return value


def _private_key(value: object) -> SecretStr:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not re.fullmatch(r"(0x)?[0-9a-fA-F]{64}", text):
        refuse("is not a private key: 64 hex digits, with or without 0x (it is not repeated here)")
    return SecretStr(text)


def _not_yet(value: object) -> str:
    if value is not None:
        refuse("encrypted keystores are not available yet: use PMRUN_PRIVATE_KEY in .env")
    return ""


def _seconds(*, high: int, zero: bool = False) -> Callable[[object], float]:
    read = duration("seconds", 3, high=high, zero=zero)

    def seconds(value: object) -> float:
        # Time is no money: asyncio counts in floats, and so do we.
        return float(read(str(value) if isinstance(value, float) else value))

    return seconds


def _order_life(value: object) -> float:
    found = _seconds(high=30 * 86_400, zero=True)(value)
    if 0 < found < 120:
        refuse("must be 0 (a true GTC) or at least 120: the exchange wants a minute and more")
    return found


_Shares = Annotated[Decimal, BeforeValidator(amount("shares", 2, high=1_000_000_000))]
_Dollars = Annotated[Decimal, BeforeValidator(amount("dollars", 6, high=1_000_000_000))]
_Whole = Annotated[int, BeforeValidator(integer(1, 100_000))]
_Truth = Annotated[bool, BeforeValidator(truth)]
_Address = Annotated[str, BeforeValidator(_address)]
_Path = Annotated[Path, BeforeValidator(lambda value: Path(value) if value else refuse("is empty"))]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ExchangeSettings(_Group):
    """The real exchange. Used by nothing but `--exchange polymarket`."""

    host: Annotated[str, BeforeValidator(_host)] = "https://clob.polymarket.com"
    chain_id: Annotated[int, BeforeValidator(integer(1, 2**31))] = 137
    funder: _Address | None = None
    signature_type: Annotated[int, BeforeValidator(integer(0, 3))] = 0

    @field_validator("signature_type")
    @classmethod
    def _wants_funder(cls, value: int, info: ValidationInfo) -> int:
        if value and info.data.get("funder") is None:
            refuse(f"{value} trades for another wallet: give its address as exchange.funder")
        return value


class RiskSettings(_Group):
    """The runner's own limits. A plan's `risk` can only be tighter."""

    confirm_raise: _Truth = False
    max_position_size: _Shares = Decimal(5000)
    max_total_exposure: _Dollars = Decimal(10_000)
    max_daily_loss: _Dollars = Decimal(500)
    max_order_size: _Shares = Decimal(100)
    max_order_value: _Dollars = Decimal(100)
    max_orders_per_second: _Whole = 5
    max_open_orders: _Whole = 50
    price_collar: Annotated[Decimal, BeforeValidator(amount("dollars", 4, high=1))] | None = None

    @field_validator(
        "max_position_size",
        "max_total_exposure",
        "max_daily_loss",
        "max_order_size",
        "max_order_value",
        "max_orders_per_second",
        "max_open_orders",
    )
    @classmethod
    def _raised_on_purpose(cls, value: Decimal | int, info: ValidationInfo) -> Decimal | int:
        default = cls.model_fields[info.field_name or ""].default
        if value > _RAISE_MAX * default and not info.data.get("confirm_raise"):
            refuse(
                f"{value} is more than {_RAISE_MAX} times the default {default}: "
                "add risk.confirm_raise: true if that is meant"
            )
        return value


class LoggingSettings(_Group):
    """What is logged, how, and where to."""

    level: Annotated[LogLevel, BeforeValidator(word(LogLevel, {"warn": "warning"}))] = LogLevel.INFO
    format: Annotated[LogFormat, BeforeValidator(word(LogFormat, {"text": "console"}))] = (
        LogFormat.CONSOLE
    )
    file: _Path | None = None


class LiveSettings(_Group):
    """The arming of live trading: both, and `--exchange polymarket` with them."""

    armed: _Truth = False
    wallet: _Address | None = None


class ReconcileSettings(_Group):
    """The rhythm of the loop and its bounds. Durations are seconds."""

    rescan_seconds: Annotated[float, BeforeValidator(_seconds(high=3600))] = 2.0
    settle_seconds: Annotated[float, BeforeValidator(_seconds(high=60, zero=True))] = 0.2
    full_reconcile_seconds: Annotated[float, BeforeValidator(_seconds(high=3600))] = 60.0
    removal_grace_seconds: Annotated[
        float, BeforeValidator(_seconds(high=7 * 86_400, zero=True))
    ] = 300.0
    order_life_seconds: Annotated[float, BeforeValidator(_order_life)] = 3600.0
    request_timeout_seconds: Annotated[float, BeforeValidator(_seconds(high=60))] = 10.0
    max_actions_per_pass: _Whole = 100


class Settings(BaseSettings):
    """Every setting. Made by `load`; `Settings()` alone reads the environment but no file."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",  # outside the groups `load` itself refuses what is unknown, with its place
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        hide_input_in_errors=True,
        validate_default=False,
    )

    exchange: ExchangeSettings = ExchangeSettings()
    risk: RiskSettings = RiskSettings()
    logging: LoggingSettings = LoggingSettings()
    live: LiveSettings = LiveSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    private_key: Annotated[SecretStr, BeforeValidator(_private_key)] | None = None
    keystore: Annotated[str, BeforeValidator(_not_yet)] = ""
    keystore_password_file: Annotated[str, BeforeValidator(_not_yet)] = ""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment beats .env, and both beat the file (which `load` passes as arguments)."""
        del settings_cls, file_secret_settings
        return env_settings, dotenv_settings, init_settings

    def limits(self) -> Limits:
        """The runner's limits as the risk checks take them."""
        return Limits(**{k: v for k, v in dict(self.risk).items() if k != "confirm_raise"})

    def log_file(self, state: Path) -> Path:
        """Where the log of the runner on the database at `state` goes."""
        return self.logging.file or state.parent / "logs" / "runner.log"


def load(config: Path | None = None, *, env_file: Path = ENV_FILE) -> Settings:
    """The settings of this directory: `config`, or PMRUN_CONFIG, or runner.yaml if there is one.

    Raises:
        PlanError: something in them is wrong; one line a problem, each with its place.
        SafetyRefusal: a file of settings belongs to somebody else, or others may read or write it.
    """
    named = config or os.environ.get(f"{PREFIX}CONFIG")
    path = Path(named or FILE)
    document = _Document(path)
    if named is not None or path.exists():
        _check_permissions(path, 0o022, "chmod go-w")
        document = _Document.read(path)
    variables = dict(os.environ)
    if env_file.exists():
        _check_permissions(env_file, 0o077, "chmod 600")
        variables |= {name: value or "" for name, value in dotenv_values(env_file).items()}
    problems = document.unknown() + _unknown_variables(variables)
    try:
        settings = Settings(_env_file=env_file, **document.values)
    except ValidationError as error:
        problems += [
            document.describe(problem, variables)
            for problem in error.errors(include_input=False, include_url=False)
        ]
    else:
        if not problems:
            return settings
    raise PlanError("\n".join(problems))


def _check_permissions(path: Path, forbidden: int, cure: str) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise PlanError(f"{path}: there is no such settings file") from None
    if status.st_uid not in {os.geteuid(), 0}:
        raise SafetyRefusal(f"{path}: belongs to another user; settings must be your own")
    if status.st_mode & forbidden:
        raise SafetyRefusal(f"{path}: others may use it; run `{cure} {path}` first")


def _unknown_variables(variables: Mapping[str, str]) -> list[str]:
    """One line for each misspelt PMRUN_ variable: it was meant to change something."""
    known = set(Settings.model_fields) | _NOT_SETTINGS
    firsts = {
        name: name.upper().removeprefix(PREFIX).lower().split("__")[0]
        for name in variables
        if name.upper().startswith(PREFIX)
    }
    return [
        f"{name}: {_no_such((), first)}"
        for name, first in sorted(firsts.items())
        if first not in known
    ]


class _Document:
    """A settings file as text: `values` two levels deep, and where each key and value stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        self._places: dict[tuple[str, ...], Mark] = {}

    @classmethod
    def read(cls, path: Path) -> _Document:
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
            if key in _OUTSIDE:
                lines.append(f"{self._where((key,))}: secrets have no place in this file: use .env")
            elif key not in Settings.model_fields:
                lines.append(f"{self._where((key,))}: {_no_such((), key)}")
        return lines

    def _where(self, place: tuple[str, ...]) -> str:
        mark = self._places[place]
        return f"{self.path}:{mark.line + 1}:{mark.column + 1}: {'.'.join(place)}"

    def describe(self, problem: Mapping[str, Any], variables: Mapping[str, str]) -> str:
        """One line for one problem pydantic found: where it is, which key, what to write."""
        place = tuple(str(part) for part in problem["loc"])
        message = str(problem["msg"])
        if problem["type"] == "extra_forbidden":
            message = _no_such(place[:-1], place[-1])
        elif problem["type"] in {"model_type", "model_attributes_type"}:
            message = "is a group: write its keys below it, indented"
        variable = PREFIX + "__".join(place).upper()
        if variable in {name.upper() for name in variables} or place not in self._places:
            return f"{variable}: {message}"
        return f"{self._where(place)}: {message}"


def _no_such(group: tuple[str, ...], key: str) -> str:
    known = set(Settings.model_fields) - _OUTSIDE
    if group:
        kind = Settings.model_fields[group[0]].annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            known = set(kind.model_fields)
    if meant := nearest(key, known):
        return f"there is no such setting: did you mean {meant}?"
    return f"there is no such setting here; there are {', '.join(sorted(known))}"

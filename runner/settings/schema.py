"""Every setting with its type, its bounds and its safe default."""

from __future__ import annotations

import re
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from runner.core.model import Limits
from runner.core.plan_text import amount, duration, integer, nearest, refuse, truth, word

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "PMRUN_"
OUTSIDE = frozenset({"private_key", "keystore", "keystore_password_file"})  # never in a file
_RAISE_MAX = 3  # how far above its default a limit may go without `confirm_raise` (faults O7)


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
    if 0 < found < 150:
        refuse("must be 0 (a true GTC) or at least 150: the exchange wants three minutes in all")
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


def no_such(group: tuple[str, ...], key: str) -> str:
    """What to say of a key that does not exist in `group` (empty: outside the groups)."""
    known = set(Settings.model_fields) - OUTSIDE
    if group:
        kind = Settings.model_fields[group[0]].annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            known = set(kind.model_fields)
    if meant := nearest(key, known):
        return f"there is no such setting: did you mean {meant}?"
    return f"there is no such setting here; there are {', '.join(sorted(known))}"

"""The keys of a scenario file, version 1, and what each may hold (docs/scenarios.md).

Every value arrives as text. Decimals are kept exactly, as integers in millionths of a dollar, a
share (seconds: in milliseconds); each bound is named in the message of its refusal.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from runner.exchange.faults import FaultName
from runner.exchange.gate import TradingMode
from runner.exchange.markets import ONE, MarketState, ProtocolVersion, decimal_text, millionths
from runner.exchange.yamldoc import Document, Loc, Problem


def _decimal(low: int, high: int, places: int = 6) -> BeforeValidator:
    """A plain decimal of at most `places` places; it and its bounds count its smallest step."""
    step = 10 ** (6 - places)
    bounds = f"from {decimal_text(low * step)} to {decimal_text(high * step)}"

    def read(text: object) -> int:
        pattern = rf"{'-?' if low < 0 else ''}[0-9]{{1,12}}(\.[0-9]{{1,{places}}})?"
        plain = isinstance(text, str) and re.fullmatch(pattern, text)
        value = millionths(str(text)) // step if plain else low - 1
        if not low <= value <= high:
            raise ValueError(f"must be a plain decimal {bounds}, with at most {places} places")
        return value

    return BeforeValidator(read)


def _whole(low: int, high: int) -> BeforeValidator:
    """A whole number from `low` to `high`."""

    def read(text: object) -> int:
        if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,18}", text):
            raise ValueError(f"must be a whole number from {low} to {high}")
        if not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return BeforeValidator(read)


def _text(pattern: str, says: str) -> BeforeValidator:
    """Text that matches `pattern` in full."""

    def read(text: object) -> str:
        if not isinstance(text, str) or not re.fullmatch(pattern, text):
            raise ValueError(f"must be {says}")
        return text

    return BeforeValidator(read)


def _not_empty(items: object) -> object:
    if items == []:
        raise ValueError("must have at least one")
    return items


def _yes_no(text: object) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text == "true"


def _utc(text: object) -> datetime:
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text):
        raise ValueError("must be a UTC time such as 2026-12-31T23:00:00Z")
    return datetime.fromisoformat(text)


def _ascending(bounds: tuple[int, int]) -> tuple[int, int]:
    if bounds[0] > bounds[1]:
        raise ValueError("must be [low, high]")
    return bounds


Price = Annotated[int, _decimal(1, ONE - 1)]
Amount = Annotated[int, _decimal(0, 10**9 * ONE)]
Size = Annotated[int, _decimal(10_000, 10**9 * ONE)]
Share = Annotated[int, _decimal(1, ONE)]
Seconds = Annotated[int, _decimal(0, 86_400_000, places=3)]
Count = Annotated[int, _whole(1, 10**9)]
YesNo = Annotated[bool, BeforeValidator(_yes_no)]
Utc = Annotated[datetime, BeforeValidator(_utc)]
SecondsRange = Annotated[tuple[Seconds, Seconds], AfterValidator(_ascending)]
SizeRange = Annotated[tuple[Size, Size], AfterValidator(_ascending)]
Text = Annotated[str, _text(r"(?s).{1,10000}", "text, and not empty")]
Slug = Annotated[
    str, _text(r"[a-z0-9][a-z0-9-]{0,99}", "lower-case letters, digits and hyphens, at most 100")
]
Address = Annotated[str, _text(r"0x[0-9a-fA-F]{40}", "0x and 40 hex digits")]
ConditionId = Annotated[str, _text(r"0x[0-9a-f]{64}", "0x and 64 lower-case hex digits")]
TokenId = Annotated[str, _text(r"[1-9][0-9]{0,77}", "a token id in decimal digits")]
RequestPath = Annotated[
    str, _text(r"/\S*", "the path of a request or a shell pattern of it, such as /order")
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Fee(_Strict):
    """Taker fee: shares x rate x (p x (1 - p)) ^ exponent dollars; the makers' share of it."""

    rate: Annotated[int, _decimal(0, ONE)] = 0
    exponent: Annotated[int, _whole(1, 4)] = 1
    rebate: Annotated[int, _decimal(0, ONE)] = 0


class Settlement(_Strict):
    """How long a trade takes from its match to mined, and from mined to confirmed."""

    mined_seconds: SecondsRange = (1_500, 4_000)
    confirmed_seconds: SecondsRange = (2_000, 6_000)


class Account(_Strict):
    """A funded account: dollars, and shares by market slug and outcome."""

    address: Address
    cash: Amount = 0
    tokens: dict[str, dict[str, Amount]] = {}


class FaultKeys(_Strict):
    """What goes wrong, as `POST /_exchange/faults` takes it (`faults.Fault`)."""

    name: FaultName
    rate: Share | None = None
    every: Count | None = None
    count: Count | None = None
    method: Literal["GET", "POST", "DELETE"] | None = None
    path: RequestPath | None = None
    seconds: Annotated[int, _decimal(-3_600_000, 3_600_000, places=3)] | None = None
    hang: YesNo | None = None
    status: Annotated[int, _whole(200, 599)] | None = None
    retry_after: Annotated[int, _whole(0, 3600)] | None = None
    tick: Text | None = None
    size_returns: YesNo | None = None


class Book(_Strict):
    """A standing book of the first outcome: size by price, laid once at the start."""

    bids: dict[Price, Size] = {}
    asks: dict[Price, Size] = {}


class FlowKeys(_Strict):
    """Seeded order flow around a wandering fair price of the first outcome (`flow.py`)."""

    fair_price: Price
    wander: Annotated[int, _decimal(0, ONE)] = 50_000
    events_per_minute: Annotated[int, _decimal(10_000, 60_000 * ONE)] = 60 * ONE
    order_size: SizeRange = (10 * ONE, 120 * ONE)
    levels: Annotated[int, _whole(4, 20)] = 6


class ReplayKeys(_Strict):
    """A recorded market: a packaged recording's name, or a path from the scenario's folder."""

    file: Text
    speed: Annotated[int, _decimal(10_000, 1000 * ONE)] = ONE
    start_seconds: Seconds = 0
    at_end: Literal["stop", "loop"] = "stop"


class RestartKeys(_Strict):
    """An engine restart: 425 for a while, then post-only (reference 8.3)."""

    down_seconds: Seconds = 20_000
    post_only_seconds: Seconds = 120_000


class ScheduleKeys(_Strict):
    """One thing that happens at a set time: to a market (tick or state), or to all of trading."""

    at_seconds: Seconds
    market: Slug | None = None
    tick: Price | None = None
    state: MarketState | None = None
    winner: Text | None = None
    restart: RestartKeys | None = None
    mode: TradingMode | None = None


class Market(_Strict):
    """One market of two outcomes, and who else trades on it: nobody, a book, flow or a replay."""

    slug: Slug
    question: Text
    event: Slug | None = None
    description: str = ""
    outcomes: tuple[Text, Text] = ("Yes", "No")
    condition_id: ConditionId | None = None
    token_ids: tuple[TokenId, TokenId] | None = None
    tick: Price = 10_000
    min_size: Size = 5 * ONE
    neg_risk: YesNo = False
    fee: Fee | None = None
    version: ProtocolVersion = "v1"
    fine_tick: Price | None = None
    taker_delay_seconds: Seconds = 0
    delay_seconds: Annotated[int, _whole(0, 3600)] = 0
    end: Utc | None = None
    opens_after_seconds: Seconds | None = None
    book: Book | None = None
    flow: FlowKeys | None = None
    replay: ReplayKeys | None = None


class ScenarioFile(_Strict):
    """A whole scenario file."""

    version: Literal["1"]
    description: str = ""
    seed: Annotated[int, _whole(0, 10**18 - 1)] = 0
    settlement: Settlement = Settlement()
    fee: Fee = Fee()
    accounts: tuple[Account, ...] = ()
    faults: tuple[FaultKeys, ...] = ()
    schedule: tuple[ScheduleKeys, ...] = ()
    markets: Annotated[tuple[Market, ...], BeforeValidator(_not_empty)]


KEYS = sorted({name for model in _Strict.__subclasses__() for name in model.model_fields})
"""Every key a scenario file knows, for near misses."""


_SAID_PLAINLY = {
    "missing": "is required",
    "model_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "string_type": "must be text",
}


def problems_of(error: ValidationError, document: Document) -> Iterator[Problem]:
    """What doesn't fit the schema, each with its place in the document."""
    refused = {(problem.line, problem.column) for problem in document.problems}
    for detail in error.errors(include_url=False):
        loc: Loc = detail["loc"]
        at_key = loc[-1:] == ("[key]",)
        if at_key:
            loc = loc[:-1]
        match detail["type"]:
            case "value_error":
                message = str(detail["ctx"]["error"])
            case "extra_forbidden":
                near = difflib.get_close_matches(str(loc[-1]), KEYS, 1)
                message = f"no such key; did you mean {near[0]}?" if near else "no such key"
                at_key = True
            case _:
                message = _SAID_PLAINLY.get(detail["type"], detail["msg"])
        problem = document.problem(loc, message, at_key=at_key)
        if (problem.line, problem.column) not in refused:  # what wasn't read can't be judged
            yield problem

"""The schema of a plan file, version 1 (contract 3).

Field names are the YAML keys. A value that was not given is None where its default depends on the
market or the runner's settings; every other default stands here. A file's tree is read by
`plan_rules.read`, which also applies the rules between keys; `json_schema` is for editors.

1. Every scalar is read by `plan_text`, from its text; no float ever holds one.
2. A plan's JSON form is again a tree that the schema reads, into an equal plan.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from runner.core import plan_text, plan_words
from runner.core.model import Side, TimeInForce

JOBS_MAX = 100
PROFILE_LENGTH_MAX = 1440
SIZE_MAX = 999_999_999
WINDOW_MINUTES_MAX = 525_600
DAY_SECONDS = 86_400
SLICES_MAX = 10_000
SEED_MAX = 2**63 - 1


class Strategy(StrEnum):
    """How much should be done by now."""

    SINGLE = "single"
    TWAP = "twap"
    VWAP = "vwap"
    POV = "pov"
    ICEBERG = "iceberg"
    RANDOM = "random"


class Style(StrEnum):
    """What to show, at what price."""

    LIMIT = "limit"
    JOIN = "join"
    TOP_BIDDER = "top_bidder"
    TAKE = "take"


class CatchUp(StrEnum):
    """What happens to what is behind the curve."""

    SPREAD = "spread"
    NEXT_SLICE = "next_slice"
    NONE = "none"


class AtEnd(StrEnum):
    """What happens to what is left at the end of the window."""

    CANCEL = "cancel"
    TAKE = "take"
    KEEP = "keep"


class BeyondLimit(StrEnum):
    """What a pegged quote does while the market is past its limit."""

    REST = "rest"
    WITHDRAW = "withdraw"
    STOP = "stop"


class NeedState(StrEnum):
    """How a needed job must have ended."""

    COMPLETED = "completed"
    ENDED = "ended"


def _number_schema(note: str) -> WithJsonSchema:
    forms = [{"type": "number"}, {"type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.[0-9]+)?$"}]
    return WithJsonSchema({"description": note, "anyOf": forms})


def _word_schema(kind: type[StrEnum]) -> WithJsonSchema:
    words = [str(member) for member in kind]
    letters = ["".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in w) for w in words]
    forms = [{"enum": words}, {"type": "string", "pattern": f"^({'|'.join(letters)})$"}]
    return WithJsonSchema({"description": f"{', '.join(words)}; in any case", "anyOf": forms})


def _text_schema(pattern: str, note: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": note})


def _whole_schema(note: str) -> WithJsonSchema:
    forms = [{"type": "integer"}, {"type": "string", "pattern": "^(0|[1-9][0-9]*)$"}]
    return WithJsonSchema({"description": note, "anyOf": forms})


_size = plan_text.amount("shares", 2, high=SIZE_MAX)
_size_or_zero = plan_text.amount("shares", 2, high=SIZE_MAX, low_allowed=True)
_dollars = plan_text.amount("dollars", 6, high=SIZE_MAX)
_seconds = plan_text.duration("seconds", 3, high=DAY_SECONDS, zero=False)
_seconds_or_zero = plan_text.duration("seconds", 3, high=DAY_SECONDS, zero=True)
_minutes = plan_text.duration("minutes", 4, high=WINDOW_MINUTES_MAX, zero=False)

_ID_SCHEMA = _text_schema(
    "^[a-z0-9][a-z0-9-]{0,62}$", "lower-case letters, digits and hyphens, 63 at most"
)
Id = Annotated[str, BeforeValidator(plan_text.identifier), _ID_SCHEMA]
TokenId = Annotated[
    str,
    BeforeValidator(plan_text.token_id),
    _text_schema("^[1-9][0-9]{0,77}$", "all digits of the token's id, in quotes"),
]
ConditionId = Annotated[
    str,
    BeforeValidator(plan_text.condition_id),
    _text_schema("^0[xX][0-9a-fA-F]{64}$", "0x and 64 hex digits; needs outcome"),
]
Slug = Annotated[
    str,
    BeforeValidator(plan_text.slug),
    _text_schema("^[a-z0-9][a-z0-9_-]{0,199}$", "the last part of its address; needs outcome"),
]
Outcome = Annotated[
    str, BeforeValidator(plan_text.label), WithJsonSchema({"type": "string", "maxLength": 100})
]
Price = Annotated[
    Decimal, BeforeValidator(plan_text.price), _number_schema("dollars a share, between 0 and 1")
]
Size = Annotated[
    Decimal, BeforeValidator(_size), _number_schema("shares, more than 0, two decimals at most")
]
SizeOrZero = Annotated[
    Decimal, BeforeValidator(_size_or_zero), _number_schema("shares, two decimals at most")
]
Money = Annotated[Decimal, BeforeValidator(_dollars), _number_schema("dollars, more than 0")]
Fraction = Annotated[Decimal, BeforeValidator(plan_text.fraction), _number_schema("from 0 to 1")]
Share = Annotated[Decimal, BeforeValidator(plan_text.share), _number_schema("above 0, up to 1")]
Seconds = Annotated[Decimal, BeforeValidator(_seconds), _number_schema("seconds, more than 0")]
SecondsOrZero = Annotated[Decimal, BeforeValidator(_seconds_or_zero), _number_schema("seconds")]
Minutes = Annotated[Decimal, BeforeValidator(_minutes), _number_schema("minutes, more than 0")]
Slices = Annotated[
    int, BeforeValidator(plan_text.integer(1, SLICES_MAX)), _whole_schema("1 to 10,000")
]
Ticks = Annotated[int, BeforeValidator(plan_text.integer(1, 1000)), _whole_schema("1 to 1,000")]
Seed = Annotated[int, BeforeValidator(plan_text.integer(0, SEED_MAX)), _whole_schema("0 and up")]
Truth = Annotated[bool, BeforeValidator(plan_text.truth), WithJsonSchema({"type": "boolean"})]
Moment = Annotated[
    datetime,
    BeforeValidator(plan_text.moment),
    PlainSerializer(lambda at: at.isoformat(), when_used="json"),
    _text_schema("^20", "a UTC time such as 2026-01-31T14:30:00Z, or one with another offset"),
]

SideWord = Annotated[
    Side, BeforeValidator(plan_text.word(Side, plan_words.SIDES)), _word_schema(Side)
]
StrategyWord = Annotated[
    Strategy,
    BeforeValidator(plan_text.word(Strategy, plan_words.STRATEGIES)),
    _word_schema(Strategy),
]
StyleWord = Annotated[
    Style, BeforeValidator(plan_text.word(Style, plan_words.STYLES)), _word_schema(Style)
]
TimeInForceWord = Annotated[
    TimeInForce,
    BeforeValidator(plan_text.word(TimeInForce, plan_words.TIMES_IN_FORCE)),
    _word_schema(TimeInForce),
]
CatchUpWord = Annotated[
    CatchUp, BeforeValidator(plan_text.word(CatchUp, plan_words.CATCH_UPS)), _word_schema(CatchUp)
]
AtEndWord = Annotated[
    AtEnd, BeforeValidator(plan_text.word(AtEnd, plan_words.AT_ENDS)), _word_schema(AtEnd)
]
BeyondLimitWord = Annotated[
    BeyondLimit,
    BeforeValidator(plan_text.word(BeyondLimit, plan_words.BEYOND_LIMITS)),
    _word_schema(BeyondLimit),
]
NeedStateWord = Annotated[
    NeedState,
    BeforeValidator(plan_text.word(NeedState, plan_words.NEED_STATES)),
    _word_schema(NeedState),
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MarketRef(_Frozen):
    """Names one token: by itself, or by condition or slug with an outcome."""

    token_id: TokenId | None = None
    condition_id: ConditionId | None = None
    slug: Slug | None = None
    outcome: Outcome | None = None


class FilledOf(_Frozen):
    """A total that is what another job of the plan has filled: `filled(JOB)`."""

    job: str

    @model_serializer
    def _as_written(self) -> str:
        return f"filled({self.job})"


def _total(value: object) -> Decimal | FilledOf:
    if isinstance(value, FilledOf):
        return value
    if (job := plan_text.filled_job(value)) is not None:
        return FilledOf(job=job)
    if isinstance(value, str) and value.lower().lstrip().startswith("filled"):
        plan_text.refuse(f"{plan_text.echo(value)}: write filled(JOB), with a job of this plan")
    return _size(value)


def _profile(value: object) -> tuple[Decimal, ...] | Literal["measured"]:
    if isinstance(value, str):
        if value.lower() == "measured" and value.isascii():
            return "measured"
        plan_text.refuse(f"{plan_text.echo(value)}: write measured, or a list such as [3, 1, 2]")
    if not isinstance(value, list | tuple) or not 0 < len(value) <= PROFILE_LENGTH_MAX:
        plan_text.refuse(f"must be measured, or a list of 1 to {PROFILE_LENGTH_MAX} weights")
    weights = tuple(plan_text.number(item) for item in value)
    if not any(weights):
        plan_text.refuse("has only zeros: at least one weight must be more than 0")
    return weights


def _delays(value: object) -> tuple[Decimal, Decimal]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        plan_text.refuse("must be a list of two: the shortest and the longest wait, as [1, 5]")
    low, high = (_seconds_or_zero(item) for item in value)
    if low > high:
        plan_text.refuse(f"[{low}, {high}]: the shortest wait comes first, write [{high}, {low}]")
    return low, high


Total = Annotated[
    Decimal | FilledOf,
    BeforeValidator(_total),
    WithJsonSchema(
        {
            "description": "shares, or filled(JOB): what that job of this plan has filled",
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}],
        }
    ),
]
Profile = Annotated[
    tuple[Decimal, ...] | Literal["measured"],
    BeforeValidator(_profile),
    WithJsonSchema(
        {"anyOf": [{"const": "measured"}, {"type": "array", "items": {"type": "number"}}]}
    ),
]
Delays = Annotated[
    tuple[Decimal, Decimal],
    BeforeValidator(_delays),
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}),
]


class Gate(_Frozen):
    """Works only while it holds. The price is the best one this job could trade at now."""

    price_at_most: Price | None = None
    price_at_least: Price | None = None


class Split(_Frozen):
    """How the total is cut into children over time."""

    strategy: StrategyWord = Strategy.SINGLE
    min_order_size: Size | None = None
    max_order_size: Size | None = None
    slices: Slices | None = None
    interval_seconds: Seconds | None = None
    profile: Profile = "measured"
    participation: Share | None = None
    max_participation: Share | None = None
    display_size: Size | None = None
    display_variance: Fraction | None = None
    refill_delay_seconds: Delays | None = None
    size_variance: Fraction | None = None
    time_variance: Fraction | None = None
    catch_up: CatchUpWord = CatchUp.SPREAD
    seed: Seed | None = None


class QuoteSpec(_Frozen):
    """What is shown, and at what price."""

    style: StyleWord = Style.LIMIT
    time_in_force: TimeInForceWord | None = None
    post_only: Truth | None = None
    shares_per_order: Size | None = None
    improve_ticks: Ticks = 1
    min_competing_size: SizeOrZero = Decimal(0)
    step_down_after_seconds: SecondsOrZero = Decimal(5)
    dwell_seconds: SecondsOrZero = Decimal("0.5")
    beyond_limit: BeyondLimitWord = BeyondLimit.REST
    poll_interval: Seconds = Decimal(3)


class JobSpec(_Frozen):
    """One job: a parent order."""

    market: MarketRef
    side: SideWord
    total_shares: Total
    limit_price: Price
    start: Moment | None = None
    time_window_minutes: Minutes | None = None
    needs: Annotated[dict[str, NeedStateWord], BeforeValidator(plan_text.needed)] = {}
    when: Gate | None = None
    at_end: AtEndWord = AtEnd.CANCEL
    split: Split = Split()
    quote: QuoteSpec = QuoteSpec()


class PlanRisk(_Frozen):
    """A plan's own limits: only tighter than the runner's."""

    max_order_size: Size | None = None
    max_position_size: Size | None = None
    max_exposure: Money | None = None
    max_loss: Money | None = None


class Plan(_Frozen):
    """One plan file. Each job's `market` is filled in from the plan's where it gives none."""

    version: Annotated[
        Literal[1], BeforeValidator(plan_text.version), WithJsonSchema({"enum": [1, "1"]})
    ]
    plan: Id
    description: Annotated[
        str, BeforeValidator(plan_text.prose), WithJsonSchema({"type": "string", "maxLength": 2000})
    ] = ""
    market: MarketRef | None = None
    paused: Truth = False
    jobs: Annotated[dict[Id, JobSpec], Field(min_length=1, max_length=JOBS_MAX)]
    risk: PlanRisk = PlanRisk()

    @model_validator(mode="before")
    @classmethod
    def _inherit_market(cls, tree: Any) -> Any:
        if not isinstance(tree, dict) or tree.get("market") is None:
            return tree
        jobs = tree.get("jobs")
        if not isinstance(jobs, dict):
            return tree
        heirs = {
            name: {"market": tree["market"], **job} if isinstance(job, dict) else job
            for name, job in jobs.items()
        }
        return tree | {"jobs": heirs}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a plan file, for editors (`pmrun schema`).

    Numbers may be written as YAML numbers or as text. It describes each key; the rules between
    keys are checked by `pmrun validate` alone.
    """
    schema = Plan.model_json_schema()
    job = schema["$defs"]["JobSpec"]
    job["required"].remove("market")  # a job without one inherits its plan's
    job["properties"]["needs"] = {
        "description": "jobs that must have completed; or {JOB: completed | ended}",
        "anyOf": [{"type": "array", "items": {"type": "string"}}, job["properties"]["needs"]],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pmrun plan, version 1",
        **{key: value for key, value in schema.items() if key != "title"},
    }

"""The schema of a plan file, version 1 (contract 3).

Field names are the YAML keys. A value that was not given is None where its default depends on the
market or the runner's settings; every other default stands here.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from runner.core.model import Side, TimeInForce


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


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MarketRef(_Frozen):
    """Names one token: by itself, or by condition or slug with an outcome."""

    token_id: str | None = None
    condition_id: str | None = None
    slug: str | None = None
    outcome: str | None = None


class FilledOf(_Frozen):
    """A total that is what another job of the plan has filled: `filled(JOB)`."""

    job: str


class Gate(_Frozen):
    """Works only while it holds. The price is the best one this job could trade at now."""

    price_at_most: Decimal | None = None
    price_at_least: Decimal | None = None


class Split(_Frozen):
    """How the total is cut into children over time."""

    strategy: Strategy = Strategy.SINGLE
    min_order_size: Decimal | None = None
    max_order_size: Decimal | None = None
    slices: int | None = None
    interval_seconds: Decimal | None = None
    profile: tuple[Decimal, ...] | Literal["measured"] = "measured"
    participation: Decimal | None = None
    max_participation: Decimal | None = None
    display_size: Decimal | None = None
    display_variance: Decimal | None = None
    refill_delay_seconds: tuple[Decimal, Decimal] | None = None
    size_variance: Decimal | None = None
    time_variance: Decimal | None = None
    catch_up: CatchUp = CatchUp.SPREAD
    seed: int | None = None


class QuoteSpec(_Frozen):
    """What is shown, and at what price."""

    style: Style = Style.LIMIT
    time_in_force: TimeInForce | None = None
    post_only: bool | None = None
    shares_per_order: Decimal | None = None
    improve_ticks: int = 1
    min_competing_size: Decimal = Decimal(0)
    step_down_after_seconds: Decimal = Decimal(5)
    dwell_seconds: Decimal = Decimal("0.5")
    beyond_limit: BeyondLimit = BeyondLimit.REST
    poll_interval: Decimal = Decimal(3)


class JobSpec(_Frozen):
    """One job: a parent order."""

    market: MarketRef
    side: Side
    total_shares: Decimal | FilledOf
    limit_price: Decimal
    start: datetime | None = None
    time_window_minutes: Decimal | None = None
    needs: dict[str, NeedState] = {}
    when: Gate | None = None
    at_end: AtEnd = AtEnd.CANCEL
    split: Split = Split()
    quote: QuoteSpec = QuoteSpec()


class PlanRisk(_Frozen):
    """A plan's own limits: only tighter than the runner's."""

    max_order_size: Decimal | None = None
    max_position_size: Decimal | None = None
    max_exposure: Decimal | None = None
    max_loss: Decimal | None = None


class Plan(_Frozen):
    """One plan file. Each job's `market` is filled in from the plan's where it gives none."""

    version: Literal[1]
    plan: str
    description: str = ""
    market: MarketRef | None = None
    paused: bool = False
    jobs: dict[str, JobSpec]
    risk: PlanRisk = PlanRisk()

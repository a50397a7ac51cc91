"""The words of the trade as types: enums, ids and frozen records.

Prices, sizes and money are `Decimal` in whole millionths (the chain's own unit). Prices are dollars
a share in (0, 1), sizes are shares. Times are aware UTC datetimes. Nothing here decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.core.plan import JobSpec


class Side(StrEnum):
    """Which way shares go: `buy` brings them in, `sell` gives them away."""

    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class TimeInForce(StrEnum):
    """How long a child order lives (reference 3.7)."""

    GTC = "gtc"
    GTD = "gtd"
    FOK = "fok"
    FAK = "fak"


class Liquidity(StrEnum):
    """Whether an execution of ours rested (maker) or crossed (taker)."""

    MAKER = "maker"
    TAKER = "taker"


class PlanState(StrEnum):
    """States of a plan (contract 5)."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    FAILED = "failed"
    REJECTED = "rejected"


class JobState(StrEnum):
    """States of a job, the parent order (contract 5)."""

    WAITING = "waiting"
    WORKING = "working"
    PAUSED = "paused"
    DRAINING = "draining"
    COMPLETED = "completed"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    FAILED = "failed"


class OrderState(StrEnum):
    """States of a child order. How much of it is filled is no state: its trades tell."""

    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    LIVE = "live"
    CLOSING = "closing"
    CLOSED = "closed"


class TradeState(StrEnum):
    """States of one execution (reference 7). Only confirmed and failed are final."""

    MATCHED = "matched"
    MINED = "mined"
    RETRYING = "retrying"
    CONFIRMED = "confirmed"
    FAILED = "failed"


class EndReason(StrEnum):
    """Why a child order is closed; the `orders` view makes its words of it."""

    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REFUSED = "refused"
    NEVER_ARRIVED = "never_arrived"


class TradingState(StrEnum):
    """The switch. Cancels always pass; `reducing` lets through what makes a position smaller."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


class VenueMode(StrEnum):
    """What the exchange accepts at the moment (reference 8.3)."""

    NORMAL = "normal"
    RESTARTING = "restarting"
    POST_ONLY = "post_only"
    CANCEL_ONLY = "cancel_only"
    CLOSED = "closed"


class JobKey(NamedTuple):
    """Names one job for ever: plan ids are never reused."""

    plan: str
    job: str

    def __str__(self) -> str:
        return f"{self.plan}/{self.job}"


class Level(NamedTuple):
    """One price level of a book: all that is shown there, ours included."""

    price: Decimal
    size: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """One token's order book, both sides best first. `at` is when we received it."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    at: datetime

    @property
    def mid(self) -> Decimal | None:
        """Halfway between the best prices; the only best price of a one-sided book; or None."""
        best = [side[0].price for side in (self.bids, self.asks) if side]
        return sum(best, Decimal(0)) / len(best) if best else None


@dataclass(frozen=True, slots=True)
class MarketInfo:
    """What orders on one token must obey, as the exchange last said (a snapshot with its age).

    `fee_rate` and `fee_exponent` give the taker fee: shares x rate x (p(1-p))^exponent
    (reference 7). `complement` is the other outcome's token: buying here at p is selling there
    at 1 - p.
    """

    token_id: str
    complement: str
    condition_id: str
    slug: str
    question: str
    outcome: str
    tick: Decimal
    min_size: Decimal
    neg_risk: bool
    accepting: bool
    fee_rate: Decimal
    fee_exponent: int
    at: datetime


@dataclass(frozen=True, slots=True)
class WorkingOrder:
    """A child order that may be live: everything from the intent on that is not proven finished.

    `matched` is the sum of all its trades, failed ones too; `leaves` is size minus matched.
    """

    order_id: str
    key: JobKey
    token_id: str
    side: Side
    price: Decimal
    size: Decimal
    matched: Decimal
    state: OrderState
    cancel_requested: bool
    created_at: datetime
    expires_at: datetime | None
    time_in_force: TimeInForce

    @property
    def leaves(self) -> Decimal:
        """Shares that may still trade."""
        return max(self.size - self.matched, Decimal(0))


@dataclass(frozen=True, slots=True)
class Market:
    """What one decision sees of a market: the rules, the book, and our own orders in it.

    `own` holds every working order of ours, from every plan of this account, that shows in this
    token's book: orders on the token itself, and orders on the complement mirrored to this token
    (side flipped, price 1 - p). `book` is None while there is no fresh one.
    """

    info: MarketInfo
    book: Book | None
    own: tuple[WorkingOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """Where a curve is anchored. Acceptance, a revision and a resume each start a new one."""

    n: int
    at: datetime
    filled: Decimal


@dataclass(frozen=True, slots=True)
class Slice:
    """One planned part of a segment. `filled` is set when it closes: what was done while open."""

    segment: int
    n: int
    due_at: datetime
    planned: Decimal
    opened_at: datetime | None = None
    filled: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What a job must remember between passes beyond its fills. Small, stored as JSON.

    `alone_since`: a pegged quote stands better than its rivals call for since then. `moved_at`:
    when its price last changed, and `price`: what to (what it shows may still be on its way).
    """

    alone_since: datetime | None = None
    moved_at: datetime | None = None
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One parent order as a pass sees it: its spec with every default made explicit, and its row.

    `total` is resolved (a `filled(JOB)` total is a number by the time the job works).
    `filled` leaves failed trades out. `max_order_size` is the smallest of the job's, its plan's
    and the runner's. `ends_at` is None for a job without a window.
    """

    key: JobKey
    spec: JobSpec
    state: JobState
    token_id: str
    total: Decimal
    filled: Decimal
    segment: Segment
    slices: tuple[Slice, ...]
    ends_at: datetime | None
    seed: str
    max_order_size: Decimal
    working: tuple[WorkingOrder, ...] = ()

    @property
    def remaining(self) -> Decimal:
        """Shares of the total not yet done."""
        return max(self.total - self.filled, Decimal(0))


@dataclass(frozen=True, slots=True)
class Quote:
    """What a job wants to show right now.

    `size` counts all that shows at this price, and may be finer than a lot, as fills are.
    """

    side: Side
    price: Decimal
    size: Decimal
    time_in_force: TimeInForce
    post_only: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What `decide` wants. Everything is a value; nothing has happened yet.

    `quote` None means show nothing. `hold` means leave the working orders exactly as they are; a
    quote beside it is where they stand and may stay. `least` is the smallest size a new order for
    this quote may have. `stop` names the reason to end the job (for example BEYOND_LIMIT). `slices`
    are those whose row changed (opened, or closed with what was filled). `wake_at` is when to look
    again even if nothing happens.
    """

    quote: Quote | None
    hold: bool
    reasons: tuple[str, ...]
    memory: Memory
    wake_at: datetime | None = None
    slices: tuple[Slice, ...] = ()
    stop: str | None = None
    least: Decimal = Decimal(0)
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Submit:
    """Record and send one new child order."""

    key: JobKey
    token_id: str
    side: Side
    price: Decimal
    size: Decimal
    time_in_force: TimeInForce
    post_only: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    """Record and send the cancel of one working order."""

    order_id: str
    why: str


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What the exchange says of one order, from wherever it came (reply, poll or socket).

    `venue` translates the exchange's words into `status`. `matched` None means it did not say.
    """

    order_id: str
    status: ReportStatus
    matched: Decimal | None
    trade_ids: tuple[str, ...] = ()
    text: str = ""


class ReportStatus(StrEnum):
    """An order's status as reported, in our words.

    `present` proves that the exchange has or had the order and says nothing else ("Duplicated");
    `unrecognised` is a word we do not know, which proves nothing about how the order stands.
    """

    PRESENT = "present"
    LIVE = "live"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNRECOGNISED = "unrecognised"


@dataclass(frozen=True, slots=True)
class TradeReport:
    """One execution of one order of ours: our own leg, whichever outcome the taker traded.

    `fee` is in dollars, None where the exchange does not say (the ledger then computes it).
    """

    trade_id: str
    order_id: str
    token_id: str
    side: Side
    price: Decimal
    size: Decimal
    state: TradeState
    liquidity: Liquidity
    matched_at: datetime
    fee: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The runner's own limits, or a plan's. None means no limit of that kind here."""

    max_position_size: Decimal | None = None
    max_total_exposure: Decimal | None = None
    max_daily_loss: Decimal | None = None
    max_order_size: Decimal | None = None
    max_order_value: Decimal | None = None
    max_orders_per_second: int | None = None
    max_open_orders: int | None = None
    price_collar: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Shares of one token by our own trades: matched axis and settled axis, average cost.

    `cost` is what the shares held were bought for, fees apart; `average` = cost / shares.
    """

    token_id: str
    shares: Decimal = Decimal(0)
    settled: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class RiskView:
    """Everything `risk.check` may look at, gathered by the shell in one read.

    `positions` by token; `working` is every order of ours that may be live, unknown ones in full,
    with what this pass has already allowed. `marks` are the prices positions are valued at.
    `day_pnl` is the change of equity since the UTC day began (negative is a loss); `plan_pnl` and
    `plan_positions`, `plan_exposure_cost` are the same things restricted to the plan that asks.
    None for `day_pnl` means it could not be computed: deny. `fee_schedules` are (rate, exponent)
    by token, for the tokens of `working`.
    """

    trading: TradingState
    limits: Limits
    plan_limits: Limits
    plan_max_loss: Decimal | None
    positions: Mapping[str, Position]
    plan_positions: Mapping[str, Position]
    working: tuple[WorkingOrder, ...]
    day_pnl: Decimal | None
    plan_pnl: Decimal | None
    recent_submits: int = 0
    marks: Mapping[str, Decimal] = field(default_factory=dict)
    fee_schedules: Mapping[str, tuple[Decimal, int]] = field(default_factory=dict)

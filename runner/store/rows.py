"""Rows as frozen records, and the exact conversions between them and the integers stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from runner.core.model import (
    EndReason,
    JobKey,
    JobState,
    MarketInfo,
    Memory,
    OrderState,
    PlanState,
    Position,
    Side,
    Slice,
    TimeInForce,
    WorkingOrder,
)
from runner.core.money import from_micros, to_micros

if TYPE_CHECKING:
    import sqlite3
    from decimal import Decimal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def stamp(at: datetime) -> int:
    """A time as microseconds since 1970 UTC."""
    return (at - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """Microseconds since 1970 as an aware UTC time."""
    return _EPOCH + timedelta(microseconds=value)


def maybe_stamp(at: datetime | None) -> int | None:
    """As `stamp`, for a column that may be empty."""
    return None if at is None else stamp(at)


def maybe_moment(value: int | None) -> datetime | None:
    """As `moment`, for a column that may be empty."""
    return None if value is None else moment(value)


def maybe_decimal(value: int | None) -> Decimal | None:
    """As `decimal`, for a column that may be empty."""
    return None if value is None else from_micros(value)


def dump_memory(memory: Memory) -> str:
    """A job's memory as the small JSON value of its row."""
    value = {
        name: stamp(at)
        for name, at in (("alone_since", memory.alone_since), ("moved_at", memory.moved_at))
        if at is not None
    }
    if memory.price is not None:
        value["price"] = to_micros(memory.price)
    return json.dumps(value, separators=(",", ":"))


def load_memory(text: str) -> Memory:
    """The inverse of `dump_memory`."""
    value: dict[str, int] = json.loads(text)
    return Memory(
        alone_since=maybe_moment(value.get("alone_since")),
        moved_at=maybe_moment(value.get("moved_at")),
        price=maybe_decimal(value.get("price")),
    )


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One plan. The four pause reasons are separate, and each clears only its own."""

    plan: str
    state: PlanState
    reason: str
    revision: int
    content_hash: str
    file: str
    paused_by: frozenset[str]
    missing_since: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, row: sqlite3.Row) -> PlanRow:
        """From `plan` joined with its revision's `content_hash`."""
        return cls(
            plan=row["plan"],
            state=PlanState(row["state"]),
            reason=row["reason"],
            revision=row["revision"],
            content_hash=row["content_hash"] or "",
            file=row["file"],
            paused_by=frozenset(
                who for who in ("file", "operator", "removal", "runner") if row[f"paused_by_{who}"]
            ),
            missing_since=maybe_moment(row["missing_since"]),
            ended_at=maybe_moment(row["ended_at"]),
        )


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job's row as it stands, apart from its orders, trades and slices."""

    key: JobKey
    ordinal: int
    state: JobState
    reason: str
    side: Side
    token_id: str | None
    total: Decimal | None
    spec: str
    seed: str
    arrival_price: Decimal | None
    segment: int
    segment_at: datetime | None
    segment_filled: Decimal
    starts_at: datetime
    ends_at: datetime | None
    memory: Memory
    paused_by_operator: bool
    intended_end: JobState | None
    refusals: int
    incurable: int
    retry_at: datetime | None
    next_action_at: datetime | None
    filled: Decimal

    @classmethod
    def of(cls, row: sqlite3.Row) -> JobRow:
        """From `job` with its `filled` sum."""
        return cls(
            key=JobKey(row["plan"], row["job"]),
            ordinal=row["ordinal"],
            state=JobState(row["state"]),
            reason=row["reason"],
            side=Side(row["side"]),
            token_id=row["token_id"],
            total=maybe_decimal(row["total"]),
            spec=row["spec"],
            seed=row["seed"],
            arrival_price=maybe_decimal(row["arrival_price"]),
            segment=row["segment"],
            segment_at=maybe_moment(row["segment_at"]),
            segment_filled=from_micros(row["segment_filled"]),
            starts_at=moment(row["starts_at"]),
            ends_at=maybe_moment(row["ends_at"]),
            memory=load_memory(row["memory"]),
            paused_by_operator=bool(row["paused_by_operator"]),
            intended_end=JobState(row["intended_end"]) if row["intended_end"] else None,
            refusals=row["refusals"],
            incurable=row["incurable"],
            retry_at=maybe_moment(row["retry_at"]),
            next_action_at=maybe_moment(row["next_action_at"]),
            filled=from_micros(row["filled"]),
        )


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One child order with all that resolving it needs."""

    working: WorkingOrder
    end_reason: EndReason | None
    body: bytes
    reported_matched: Decimal | None
    final_matched: Decimal | None
    sends: int
    sent_at: datetime | None
    absent_reads: int
    absent_at: datetime | None
    cancel_requested_at: datetime | None

    @classmethod
    def of(cls, row: sqlite3.Row) -> OrderRow:
        """From `child_order` with its `matched` sum."""
        return cls(
            working=working_order(row),
            end_reason=EndReason(row["end_reason"]) if row["end_reason"] else None,
            body=row["body"],
            reported_matched=maybe_decimal(row["reported_matched"]),
            final_matched=maybe_decimal(row["final_matched"]),
            sends=row["sends"],
            sent_at=maybe_moment(row["sent_at"]),
            absent_reads=row["absent_reads"],
            absent_at=maybe_moment(row["absent_at"]),
            cancel_requested_at=maybe_moment(row["cancel_requested_at"]),
        )


def working_order(row: sqlite3.Row) -> WorkingOrder:
    """From `child_order` with its `matched` sum."""
    return WorkingOrder(
        order_id=row["order_id"],
        key=JobKey(row["plan"], row["job"]),
        token_id=row["token_id"],
        side=Side(row["side"]),
        price=from_micros(row["price"]),
        size=from_micros(row["size"]),
        matched=from_micros(row["matched"]),
        state=OrderState(row["state"]),
        cancel_requested=row["cancel_requested_at"] is not None,
        created_at=moment(row["created_at"]),
        expires_at=maybe_moment(row["expires_at"]),
        time_in_force=TimeInForce(row["time_in_force"]),
    )


def market_info(row: sqlite3.Row) -> MarketInfo:
    """From `market`."""
    return MarketInfo(
        token_id=row["token_id"],
        complement=row["complement"],
        condition_id=row["condition_id"],
        slug=row["slug"],
        question=row["question"],
        outcome=row["outcome"],
        tick=from_micros(row["tick"]),
        min_size=from_micros(row["min_size"]),
        neg_risk=bool(row["neg_risk"]),
        accepting=bool(row["accepting"]),
        fee_rate=from_micros(row["fee_rate"]),
        fee_exponent=row["fee_exponent"],
        at=moment(row["at"]),
    )


def slice_of(row: sqlite3.Row) -> Slice:
    """From `slice`."""
    return Slice(
        segment=row["segment"],
        n=row["n"],
        due_at=moment(row["due_at"]),
        planned=from_micros(row["planned"]),
        opened_at=maybe_moment(row["opened_at"]),
        filled=maybe_decimal(row["filled"]),
    )


def position_of(row: sqlite3.Row) -> Position:
    """From `position`."""
    return Position(
        token_id=row["token_id"],
        shares=from_micros(row["shares"]),
        settled=from_micros(row["settled"]),
        cost=from_micros(row["cost"]),
        realized=from_micros(row["realized"]),
        fees=from_micros(row["fees"]),
    )


def json_detail(**facts: Any) -> str:
    """Facts of an event as compact JSON; decimals and times as text."""
    return json.dumps(facts, separators=(",", ":"), default=str, sort_keys=True)

"""What goes wrong, when, from a seed.

A fault is set by name and by how often it strikes: `rate` (a probability), `every` (each n-th
time), or every time; `count` limits how many times in all. Nothing here changes the exchange:
faults are asked for at the places that they concern, and counted. What each does is told in
docs/scenarios.md; requests meet theirs in `mishaps`, frames in `feeds`, orders in `desk`, trades
in `settlement`.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from http import HTTPStatus
from random import Random
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from runner.exchange.markets import TICKS, millionths

FaultName = Literal[
    "lose_request",
    "lose_answer",
    "delay_request",
    "delay_answer",
    "refuse_request",
    "error_after_accept",
    "html_answer",
    "truncate_answer",
    "null_order",
    "empty_orders",
    "stale_answer",
    "torn_page",
    "cut_pages",
    "stale_balance",
    "change_tick",
    "jump_clock",
    "fill_before_cancel",
    "venue_cancel",
    "fail_trade",
    "retry_trade",
    "stall_sockets",
    "drop_frames",
    "repeat_frames",
    "reorder_frames",
    "delay_frames",
    "malform_frames",
]

_ALWAYS = frozenset({"name", "rate", "every", "count"})
_REQUEST = frozenset({"method", "path"})
_SOCKET = frozenset({"path"})

OPTIONS: Mapping[FaultName, frozenset[str]] = {
    "lose_request": _REQUEST | {"hang"},
    "lose_answer": _REQUEST | {"hang"},
    "delay_request": _REQUEST | {"hang", "seconds"},
    "delay_answer": _REQUEST | {"seconds"},
    "refuse_request": _REQUEST | {"status", "retry_after"},
    "error_after_accept": _REQUEST | {"status"},
    "html_answer": _REQUEST | {"status"},
    "truncate_answer": _REQUEST,
    "null_order": _REQUEST,
    "empty_orders": _REQUEST,
    "stale_answer": _REQUEST | {"seconds"},
    "torn_page": _REQUEST,
    "cut_pages": _REQUEST,
    "stale_balance": _REQUEST,
    "change_tick": _REQUEST | {"tick"},
    "jump_clock": _REQUEST | {"seconds"},
    "fill_before_cancel": _REQUEST,
    "venue_cancel": frozenset({"seconds"}),
    "fail_trade": frozenset({"size_returns"}),
    "retry_trade": frozenset(),
    "stall_sockets": _SOCKET,
    "drop_frames": _SOCKET,
    "repeat_frames": _SOCKET,
    "reorder_frames": _SOCKET,
    "delay_frames": _SOCKET | {"seconds"},
    "malform_frames": _SOCKET,
}
"""What else each fault can be told, besides how often it strikes."""


def _known(status: int) -> int:
    if status not in set(HTTPStatus) or status < 200:
        raise ValueError("no status of an answer")
    return status


class Fault(BaseModel):
    """One fault as set through the control face.

    Args:
        name: What goes wrong.
        rate: Probability that it strikes, 0 to 1.
        every: Strikes each n-th time instead.
        count: Strikes at most that many times.
        method: Only requests of this method.
        path: Only requests, or sockets, whose path matches this shell pattern.
        seconds: How late or how stale; for `jump_clock` how far, and below zero backwards.
        hang: For lost answers: leave the client waiting instead of closing the connection.
        status: The answer's HTTP status; by default 429 for a refusal, 502 for an HTML page and
            500 for an error after acceptance.
        retry_after: Value of the Retry-After header, whole seconds; without it there is none.
        tick: For `change_tick`: the new tick, as decimal text.
        size_returns: For `fail_trade`: whether the order's matched size is shown smaller again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: FaultName
    rate: float | None = Field(default=None, ge=0, le=1)
    every: int | None = Field(default=None, ge=1)
    count: int | None = Field(default=None, ge=1)
    method: str | None = None
    path: str | None = None
    seconds: float = Field(default=1.0, ge=-3600, le=3600)
    hang: bool = False
    status: Annotated[int, AfterValidator(_known)] | None = None
    retry_after: int | None = Field(default=None, ge=0, le=3600)
    tick: str = "0.001"
    size_returns: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        idle = sorted(self.model_fields_set - _ALWAYS - OPTIONS[self.name])
        if idle:
            raise ValueError(f"{self.name} has no {idle[0]}")
        if self.seconds < 0 and self.name != "jump_clock":
            raise ValueError("seconds must not be below zero")
        if (self.status or 400) < 400 and self.name != "html_answer":
            raise ValueError("status must be that of an error")
        if millionths(self.tick) not in TICKS:
            raise ValueError(f"no such tick: {self.tick}")
        return self


class _Standing:
    def __init__(self, fault: Fault, chance: Random) -> None:
        self.fault = fault
        self.seen = 0
        self.struck = 0
        self._chance = chance

    def strikes(self) -> bool:
        fault = self.fault
        if fault.count is not None and self.struck >= fault.count:
            return False
        self.seen += 1
        if fault.every is not None:
            hit = self.seen % fault.every == 0
        elif fault.rate is not None:
            hit = self._chance.random() < fault.rate
        else:
            hit = True
        self.struck += hit
        return hit


class Faults:
    """The faults in force."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._made = 0
        self._standing: list[_Standing] = []

    def add(self, fault: Fault) -> None:
        """Puts a fault in force, beside those that are."""
        self._made += 1
        self._standing.append(_Standing(fault, Random(f"{self._seed}/fault/{self._made}")))  # noqa: S311  (chance must be repeatable)

    def clear(self) -> None:
        """Ends all faults."""
        self._standing.clear()

    def strike(self, name: FaultName, method: str = "", path: str = "") -> Fault | None:
        """Whether a fault strikes here and now; counts that it was asked."""
        for standing in self._standing:
            fault = standing.fault
            if (
                fault.name == name
                and (fault.method is None or fault.method.upper() == method)
                and (fault.path is None or fnmatchcase(path, fault.path))
                and standing.strikes()
            ):
                return fault
        return None

    def longest_seconds(self, name: FaultName) -> float | None:
        """The longest `seconds` of the faults of a name; None if none is in force."""
        faults = (standing.fault for standing in self._standing)
        return max((fault.seconds for fault in faults if fault.name == name), default=None)

    def report(self) -> list[dict[str, object]]:
        """Every fault in force, how often it was asked and how often it struck."""
        return [
            {
                **standing.fault.model_dump(exclude_defaults=True),
                "seen": standing.seen,
                "struck": standing.struck,
            }
            for standing in self._standing
        ]

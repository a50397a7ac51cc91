"""What goes wrong, when, from a seed.

A fault is set by name and by how often it strikes: `rate` (a probability), `every` (each n-th
time), or every time; `count` limits how many times in all. `method` and `path` (a shell pattern)
restrict it to some requests. Nothing here changes the exchange: faults are asked for at the
places that they concern, and counted.
"""

from fnmatch import fnmatchcase
from random import Random
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FaultName = Literal[
    "lose_answer",
    "lose_request",
    "delay_request",
    "delay_answer",
    "error_after_accept",
    "null_order",
    "empty_orders",
    "fail_trade",
    "retry_trade",
    "stall_sockets",
    "drop_frames",
]


class Fault(BaseModel):
    """One fault as set through the control face.

    Args:
        name: What goes wrong. `lose_answer`: the request is applied and never answered;
            `lose_request`: it is not even applied; `delay_request`: it is never answered, and
            applied `seconds` later; `delay_answer`: applied at once, answered `seconds` later;
            `error_after_accept`: applied, then answered 500; `null_order` and `empty_orders`:
            those reads answer nothing; `fail_trade`, `retry_trade`: what becomes of a trade;
            `stall_sockets`: sockets stay open and silent but for PONG; `drop_frames`: single
            frames are lost.
        rate: Probability that it strikes, 0 to 1.
        every: Strikes each n-th time instead.
        count: Strikes at most that many times.
        method: Only requests of this method.
        path: Only requests whose path matches this shell pattern.
        seconds: For the delays.
        hang: For lost answers: leave the client waiting instead of closing the connection.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: FaultName
    rate: float | None = Field(default=None, ge=0, le=1)
    every: int | None = Field(default=None, ge=1)
    count: int | None = Field(default=None, ge=1)
    method: str | None = None
    path: str | None = None
    seconds: float = Field(default=1.0, ge=0, le=3600)
    hang: bool = False


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

"""The state machines of plan, job, order and trade: declared once, as tables.

`transitions` holds and checks each table; `advance` is a pure look-up. No models are bound and no
callbacks used: what a move means for the world is decided elsewhere and recorded in the same
transaction as the move. `docs/lifecycles.md` is generated from these tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from transitions import Machine

from runner.core.errors import IllegalTransition
from runner.core.model import JobState, OrderState, PlanState, TradeState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from enum import StrEnum

S = TypeVar("S", bound="StrEnum")


class Lifecycle(Generic[S]):
    """One state machine: a table of (event, sources, destination)."""

    def __init__(
        self,
        name: str,
        states: type[S],
        initial: S,
        final: frozenset[S],
        table: Sequence[tuple[str, Sequence[S], S, str]],
    ) -> None:
        """Check the table and hold it. The fourth column says what the event means."""
        self.name = name
        self.states = states
        self.initial = initial
        self.final = final
        self.table = tuple(
            (event, tuple(sources), dest, why) for event, sources, dest, why in table
        )
        self._machine = Machine(
            model=None,
            name=name,
            states=[state.value for state in states],
            transitions=[
                {"trigger": event, "source": [s.value for s in sources], "dest": dest.value}
                for event, sources, dest, _ in self.table
            ],
            initial=None,
            auto_transitions=False,
        )

    def advance(self, state: S, event: str) -> S:
        """Where `event` leads from `state`.

        Raises:
            IllegalTransition: the table has no such move.
        """
        match self._machine.get_transitions(trigger=event, source=state.value):
            case [move]:
                return self.states(str(move.dest))
            case _:
                raise IllegalTransition(f"{self.name}: no event {event!r} while {state.value}")

    def allows(self, state: S, event: str) -> bool:
        """Whether the table has a move for `event` from `state`."""
        return len(self._machine.get_transitions(trigger=event, source=state.value)) == 1


_P, _J, _O, _T = PlanState, JobState, OrderState, TradeState

PLAN: Lifecycle[PlanState] = Lifecycle(
    "plan",
    PlanState,
    _P.ACCEPTED,
    frozenset({_P.COMPLETED, _P.WITHDRAWN, _P.EXPIRED, _P.FAILED, _P.REJECTED}),
    [
        ("started", [_P.ACCEPTED], _P.RUNNING, "a job left waiting"),
        ("paused", [_P.ACCEPTED, _P.RUNNING], _P.PAUSED, "the first reason to pause appeared"),
        ("resumed", [_P.PAUSED], _P.RUNNING, "the last reason to pause cleared; jobs had started"),
        ("reaccepted", [_P.PAUSED], _P.ACCEPTED, "the last reason cleared; no job had started"),
        ("completed", [_P.ACCEPTED, _P.RUNNING, _P.PAUSED], _P.COMPLETED, "every job completed"),
        (
            "withdrawn",
            [_P.ACCEPTED, _P.RUNNING, _P.PAUSED],
            _P.WITHDRAWN,
            "a job was withdrawn, none ended worse",
        ),
        ("expired", [_P.ACCEPTED, _P.RUNNING, _P.PAUSED], _P.EXPIRED, "a job expired, none failed"),
        ("failed", [_P.ACCEPTED, _P.RUNNING, _P.PAUSED], _P.FAILED, "a job failed"),
        (
            "mended",
            [_P.REJECTED],
            _P.ACCEPTED,
            "the file was put right: a rejected file burns no id",
        ),
    ],
)

JOB: Lifecycle[JobState] = Lifecycle(
    "job",
    JobState,
    _J.WAITING,
    frozenset({_J.COMPLETED, _J.WITHDRAWN, _J.EXPIRED, _J.FAILED}),
    [
        (
            "started",
            [_J.WAITING],
            _J.WORKING,
            "its start has come, its needs are met, its gate holds",
        ),
        ("gated", [_J.WORKING], _J.WAITING, "its price gate stopped holding"),
        ("paused", [_J.WAITING, _J.WORKING], _J.PAUSED, "its plan or the job itself was paused"),
        (
            "resumed",
            [_J.PAUSED],
            _J.WAITING,
            "nothing holds it any more; it starts again if it may",
        ),
        (
            "draining",
            [_J.WAITING, _J.WORKING, _J.PAUSED],
            _J.DRAINING,
            "it is to end; its orders and trades are not finished yet",
        ),
        (
            "reopened",
            [_J.DRAINING],
            _J.WORKING,
            "a trade failed while draining towards completion, and the window is open",
        ),
        (
            "completed",
            [_J.DRAINING],
            _J.COMPLETED,
            "everything is filled, up to a remainder too small to be legal",
        ),
        (
            "withdrawn",
            [_J.DRAINING],
            _J.WITHDRAWN,
            "it was withdrawn by its file, an operator or a need",
        ),
        ("expired", [_J.DRAINING], _J.EXPIRED, "its window is over with something left"),
        (
            "failed",
            [_J.DRAINING],
            _J.FAILED,
            "it cannot go on for a reason that waiting does not cure",
        ),
    ],
)

ORDER: Lifecycle[OrderState] = Lifecycle(
    "order",
    OrderState,
    _O.SUBMITTING,
    frozenset({_O.CLOSED}),
    [
        ("sighted", [_O.SUBMITTING, _O.UNKNOWN], _O.LIVE, "the exchange has it"),
        ("refused", [_O.SUBMITTING], _O.CLOSED, "the exchange proved that it did nothing"),
        ("lost", [_O.SUBMITTING], _O.UNKNOWN, "no answer: it counts in full, and is looked for"),
        (
            "never_arrived",
            [_O.UNKNOWN],
            _O.CLOSED,
            "its life and the grace are over, and two complete reads lack it",
        ),
        (
            "ended",
            [_O.SUBMITTING, _O.UNKNOWN, _O.LIVE],
            _O.CLOSING,
            "the exchange says it is over; trades may be missing",
        ),
        ("complete", [_O.CLOSING], _O.CLOSED, "its end is known and its trades add up"),
    ],
)

TRADE: Lifecycle[TradeState] = Lifecycle(
    "trade",
    TradeState,
    _T.MATCHED,
    frozenset({_T.CONFIRMED, _T.FAILED}),
    [
        ("mined", [_T.MATCHED, _T.RETRYING], _T.MINED, "its settlement is in a block"),
        ("retrying", [_T.MATCHED, _T.MINED], _T.RETRYING, "its settlement is tried again"),
        ("confirmed", [_T.MATCHED, _T.MINED, _T.RETRYING], _T.CONFIRMED, "settled for good"),
        (
            "failed",
            [_T.MATCHED, _T.MINED, _T.RETRYING],
            _T.FAILED,
            "no transfer took place: reversed exactly",
        ),
    ],
)

LIFECYCLES: tuple[
    Lifecycle[PlanState] | Lifecycle[JobState] | Lifecycle[OrderState] | Lifecycle[TradeState], ...
] = (PLAN, JOB, ORDER, TRADE)


def mermaid(lifecycle: Lifecycle[Any]) -> str:
    """The machine as a Mermaid state diagram.

    Every state that no event leads to is a beginning; every final one that nothing leaves an end.
    """
    reached = {dest for _, _, dest, _ in lifecycle.table}
    left = {source for _, sources, _, _ in lifecycle.table for source in sources}
    lines = ["stateDiagram-v2"]
    lines += [
        f"    [*] --> {state.value}"
        for state in lifecycle.states
        if state is lifecycle.initial or state not in reached
    ]
    lines += [
        f"    {source.value} --> {dest.value}: {event}"
        for event, sources, dest, _ in lifecycle.table
        for source in sources
    ]
    lines += [
        f"    {state.value} --> [*]"
        for state in lifecycle.states
        if state in lifecycle.final and state not in left
    ]
    return "\n".join(lines) + "\n"


def document() -> str:
    """The whole text of `docs/lifecycles.md`."""
    title = "# Life cycles\n\n"
    note = "Generated by `make docs` from `runner/core/lifecycles.py`; a test compares.\n"
    parts = [title, note]
    for lifecycle in LIFECYCLES:
        rows = "".join(
            f"| `{event}` | {', '.join(source.value for source in sources)} | {dest.value} |"
            f" {why} |\n"
            for event, sources, dest, why in lifecycle.table
        )
        parts.append(
            f"\n## {lifecycle.name.capitalize()}\n\n```mermaid\n{mermaid(lifecycle)}```\n\n"
            f"| event | from | to | means |\n|---|---|---|---|\n{rows}"
        )
    return "".join(parts)

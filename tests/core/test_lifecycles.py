from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from runner.core.errors import IllegalTransition
from runner.core.lifecycles import JOB, LIFECYCLES, ORDER, PLAN, TRADE, Lifecycle, document, mermaid
from runner.core.model import JobState, OrderState, PlanState, TradeState

DOCS = Path(__file__).parents[2] / "docs" / "lifecycles.md"
MACHINES: list[Any] = list(LIFECYCLES)
PAIRS = [
    pytest.param(machine, state, event, id=f"{machine.name}-{state}-{event}")
    for machine in MACHINES
    for state, event in product(
        machine.states, sorted({event for event, *_ in machine.table} | {"no_such_event"})
    )
]


def moves(machine: Lifecycle[Any]) -> dict[tuple[Any, str], Any]:
    return {
        (source, event): dest for event, sources, dest, _ in machine.table for source in sources
    }


@pytest.mark.parametrize(("machine", "state", "event"), PAIRS)
def test_every_pair_moves_as_the_table_says_or_not_at_all(
    machine: Any, state: Any, event: str
) -> None:
    dest = moves(machine).get((state, event))
    assert machine.allows(state, event) is (dest is not None)
    if dest is not None:
        assert machine.advance(state, event) is dest
    else:
        with pytest.raises(IllegalTransition, match=f"{machine.name}: no event"):
            machine.advance(state, event)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: str(machine.name))
def test_a_pair_stands_in_one_row_only(machine: Any) -> None:
    rows = [(source, event) for event, sources, _, _ in machine.table for source in sources]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: str(machine.name))
def test_every_state_that_is_not_final_leads_to_a_final_one(machine: Any) -> None:
    leads = set(machine.final)
    while more := {source for (source, _), dest in moves(machine).items() if dest in leads} - leads:
        leads |= more
    assert leads == set[Any](machine.states)


def test_nothing_leaves_a_final_state_but_a_rejected_file_put_right() -> None:
    leaving = {
        (machine.name, source, event)
        for machine in MACHINES
        for source, event in moves(machine)
        if source in machine.final
    }
    assert leaving == {("plan", PlanState.REJECTED, "mended")}


def test_every_state_is_reached_but_those_where_a_life_begins() -> None:
    never = {
        (machine.name, state)
        for machine in MACHINES
        for state in set[Any](machine.states) - set(moves(machine).values())
    }
    assert never == {
        ("plan", PlanState.REJECTED),
        ("order", OrderState.SUBMITTING),
        ("trade", TradeState.MATCHED),
    }


def test_there_are_four_machines() -> None:
    assert [(m.name, m.states) for m in MACHINES] == [
        ("plan", PlanState),
        ("job", JobState),
        ("order", OrderState),
        ("trade", TradeState),
    ]
    assert (PLAN.initial, JOB.initial, ORDER.initial, TRADE.initial) == (
        PlanState.ACCEPTED,
        JobState.WAITING,
        OrderState.SUBMITTING,
        TradeState.MATCHED,
    )


def test_an_order_that_is_over_never_lives_again() -> None:
    after = {OrderState.CLOSING, OrderState.CLOSED}
    assert all(dest in after for (source, _), dest in moves(ORDER).items() if source in after)


def test_the_diagram_of_a_small_machine() -> None:
    assert mermaid(TRADE).splitlines()[:3] == [
        "stateDiagram-v2",
        "    [*] --> matched",
        "    matched --> mined: mined",
    ]
    assert mermaid(TRADE).splitlines()[-2:] == ["    confirmed --> [*]", "    failed --> [*]"]


def test_the_document_shows_the_tables() -> None:
    assert DOCS.read_text(encoding="utf-8") == document(), "run `make docs`"

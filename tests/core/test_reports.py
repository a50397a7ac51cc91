from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest

from runner.core import reports
from runner.core.lifecycles import ORDER
from runner.core.model import EndReason, OrderReport, OrderState, ReportStatus
from runner.core.reports import Answer, Said

D = Decimal
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SAID: list[Said] = [*ReportStatus, *Answer]


def rows_of_the_docstring() -> dict[tuple[OrderState, Said], str | None]:
    assert reports.__doc__ is not None
    lines = reports.__doc__.split("::")[1].split("1. ")[0].split("\n")
    head, *body = [line.split() for line in lines if line.strip()]
    assert head[0] == "said"
    words: dict[str, Said] = {word.value: word for word in SAID}
    return {
        (OrderState(state), words[row[0]]): None if event == "-" else event
        for row in body
        for state, event in zip(head[1:], row[1:], strict=True)
    }


@pytest.mark.parametrize(("state", "said"), list(product(OrderState, SAID)))
def test_each_row_is_as_the_docstring_draws_it_and_legal(state: OrderState, said: Said) -> None:
    event = reports.meaning(state, said)
    assert reports.TABLE[state, said][1]
    assert event == rows_of_the_docstring()[state, said]
    if event is not None:
        assert ORDER.allows(state, event)


def test_the_table_has_no_other_rows() -> None:
    assert set(reports.TABLE) == set(product(OrderState, SAID))


def test_absence_never_ends_an_order() -> None:
    assert {reports.meaning(state, Answer.ABSENT) for state in OrderState} == {None}


def test_what_is_over_never_comes_back() -> None:
    for said in SAID:
        assert reports.meaning(OrderState.CLOSING, said) is None
        assert reports.meaning(OrderState.CLOSED, said) is None


def test_duplicated_proves_that_an_unknown_order_is_there() -> None:
    event = reports.meaning(OrderState.UNKNOWN, ReportStatus.PRESENT)
    assert event is not None
    assert ORDER.advance(OrderState.UNKNOWN, event) is OrderState.LIVE


@pytest.mark.parametrize(
    ("said", "matched", "life_s", "reason"),
    [
        ("filled", "10", None, EndReason.FILLED),
        ("cancelled", "10", None, EndReason.FILLED),
        ("expired", "10.4", -1, EndReason.FILLED),
        ("filled", "9.99", None, EndReason.CANCELLED),
        ("cancelled", "3", None, EndReason.CANCELLED),
        ("cancelled", "3", 61, EndReason.CANCELLED),
        ("cancelled", "3", 60, EndReason.EXPIRED),
        ("expired", "0", None, EndReason.EXPIRED),
        ("expired", "3", 3600, EndReason.EXPIRED),
    ],
)
def test_what_an_order_came_to(
    said: str, matched: str, life_s: int | None, reason: EndReason
) -> None:
    expires_at = None if life_s is None else NOW + timedelta(seconds=life_s)
    report = OrderReport("0x1", ReportStatus(said), None)
    seen = reports.ended_reason(
        report, matched=D(matched), size=D(10), expires_at=expires_at, now=NOW
    )
    assert seen is reason

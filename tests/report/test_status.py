"""Status, execution analysis and their pictures, from a real database."""

import io
import json
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from runner.core.errors import PlanError
from runner.report import cells, execution, screen, status
from runner.settings import Settings
from runner.store import Latch, RunnerLock, open_readonly
from tests.report import sample


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return sample.build(tmp_path / "runner.db")


@pytest.fixture
def connection(state: Path) -> Iterator[sqlite3.Connection]:
    opened = open_readonly(state)
    yield opened
    opened.close()


def _read(connection: sqlite3.Connection, state: Path) -> status.Row:
    return status.read(connection, state, Settings().limits(), sample.NOW)


def _picture(renderable: object, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_status_is_one_json_document_with_ages(connection: sqlite3.Connection, state: Path) -> None:
    found = json.loads(json.dumps(_read(connection, state)))
    assert found["runner"]["running_pid"] is None
    assert found["runner"]["trading_state"] == "active"
    assert found["runner"]["looked_age_s"] == 1
    assert found["runner"]["started_age_s"] == 130
    assert found["runner"]["metrics"]["counts"] == {"requotes": 3}
    assert found["runner"]["exchange"] is None
    assert {plan["plan"]: plan["state"] for plan in found["plans"]} == {
        "quiet": "withdrawn",
        "twap-up": "running",
    }
    build = next(job for job in found["jobs"] if job["job"] == "build")
    assert build["filled_shares"] == 45
    assert build["market"] == "Up · btc-updown"
    assert build["next_action_in_s"] == 1
    [order] = found["open_orders"]
    assert (order["state"], order["leaves"], order["age_s"]) == ("partially_filled", 15, 49)
    assert found["orders_by_state"] == {
        "cancelled": 1, "filled": 3, "partially_filled": 1, "rejected": 1,
    }  # fmt: skip
    [position] = found["positions"]
    assert (position["shares"], position["mark_age_s"]) == (35, 10)


def test_limits_count_resting_orders_and_the_day(
    connection: sqlite3.Connection, state: Path
) -> None:
    used = {row["limit"]: (row["used"], row["of"]) for row in _read(connection, state)["limits"]}
    assert used["max_position_size"] == (50, 5000)  # 35 held, 15 more resting
    assert used["max_total_exposure"] == (pytest.approx(18.3 + 0.52 * 15), 10000)
    assert used["max_daily_loss"] == (0, 500)
    assert used["max_open_orders"] == (1, 50)


def test_a_day_that_lost_shows_the_loss(connection: sqlite3.Connection, state: Path) -> None:
    writer = sqlite3.connect(state)
    writer.execute("UPDATE day SET equity = 10000000")
    writer.commit()
    writer.close()
    used = {row["limit"]: row["used"] for row in _read(connection, state)["limits"]}
    assert used["max_daily_loss"] == pytest.approx(10 - (0.85 + 1.30 - 0.012))


def test_a_day_without_an_opening_value_is_not_called_a_zero(
    connection: sqlite3.Connection, state: Path
) -> None:
    writer = sqlite3.connect(state)
    writer.execute("DELETE FROM day")
    writer.commit()
    writer.close()
    used = {row["limit"]: row["used"] for row in _read(connection, state)["limits"]}
    assert used["max_daily_loss"] is None


def test_the_screen_shows_what_people_ask_for(connection: sqlite3.Connection, state: Path) -> None:
    text = _picture(screen.screen(_read(connection, state)))
    for part in ("not running", "twap-up", "build", "45", "0.5227", "OUTBID", "partially_filled",
                 "max_daily_loss", "requotes 3", "post to answer", "+1.30"):  # fmt: skip
        assert part in text
    assert "\x1b" not in text
    assert "\\x1b[31m" in text


def test_a_running_runner_and_a_halt_are_seen(connection: sqlite3.Connection, state: Path) -> None:
    lock = RunnerLock.acquire(state)
    Latch(state).set("book looks wrong", sample.NOW)
    (state.parent / "exchange.json").write_text('{"url": "http://127.0.0.1:8137"}')
    try:
        text = _picture(screen.screen(_read(connection, state)))
    finally:
        lock.release()
    assert "running (pid" in text
    assert "http://127.0.0.1:8137" in text
    assert "halted: book looks wrong" in text


def test_progress_fits_a_narrow_terminal(connection: sqlite3.Connection) -> None:
    text = _picture(screen.progress(connection, sample.NOW), width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "twap-up/build" in text
    assert "45 of 80" in text


def test_execution_is_exact(connection: sqlite3.Connection) -> None:
    jobs = {job.job: job for job in execution.read(connection, "twap-up").jobs}
    build = jobs["build"]
    assert build.filled == 45
    assert build.value == Decimal("23.52")
    assert build.average == Decimal("23.52") / 45
    assert build.slippage_cost == pytest.approx(Decimal("23.52") - 45 * Decimal("0.515"))
    assert build.limit_room == Decimal("0.55") - Decimal("23.52") / 45
    assert build.maker_share == 1
    assert build.requotes == 1
    assert build.orders_per_fill == 1
    sold = jobs["exit"]
    assert sold.slippage == Decimal("-0.01")  # sold above arrival: a gain
    assert sold.limit_room == Decimal("0.03")
    assert sold.maker_share == 0
    assert sold.fees == Decimal("0.012")


def test_a_failed_trade_counts_for_nothing(state: Path) -> None:
    writer = sqlite3.connect(state)
    writer.execute("UPDATE trade SET state = 'failed' WHERE trade_id = 't3-0'")
    writer.commit()
    writer.close()
    reader = open_readonly(state)
    [build, _] = execution.read(reader, "twap-up").jobs
    reader.close()
    assert build.filled == 25


def test_the_schedule_restarts_from_what_was_filled(state: Path) -> None:
    writer = sqlite3.connect(state)
    writer.executemany(
        "INSERT INTO slice (plan, job, segment, n, due_at, planned) VALUES ('twap-up', 'build',"
        " 1, ?, ?, 17500000)",
        [(1, sample.us(70)), (2, sample.us(110))],
    )
    writer.commit()
    writer.close()
    reader = open_readonly(state)
    [build, _] = execution.read(reader, "twap-up").jobs
    reader.close()
    seconds = [((step.at - sample.T0).total_seconds(), step.shares) for step in build.schedule]
    assert seconds == [(1, 20), (41, 40), (70, Decimal("57.5")), (110, 75)]


def test_books_of_the_other_outcome_are_mirrored(state: Path) -> None:
    writer = sqlite3.connect(state)
    writer.execute("UPDATE child_order SET token_id = ? WHERE order_id = ?",
                   (sample.DOWN, sample.order_id(5)))  # fmt: skip
    writer.commit()
    writer.close()
    reader = open_readonly(state)
    [build, _] = execution.read(reader, "twap-up").jobs
    reader.close()
    mirrored = next(book for book in build.books if (book.at - sample.T0).total_seconds() == 100)
    assert (mirrored.bid, mirrored.ask) == (Decimal("0.37"), Decimal("0.40"))


def test_an_unknown_plan_is_the_askers_mistake(connection: sqlite3.Connection) -> None:
    with pytest.raises(PlanError, match="nope: no plan of this name"):
        execution.read(connection, "nope")


def test_the_report_in_text_and_json(connection: sqlite3.Connection) -> None:
    report = execution.read(connection)
    text = _picture(execution.tables(report))
    assert "twap-up/build" in text
    assert "+0.0077" in text
    facts = json.loads(json.dumps(execution.document(report), default=str))
    build = next(job for job in facts["jobs"] if job["job"] == "build")
    assert build["average_price"] == 0.522667
    assert {row["plan"] for row in facts["performance"]} == {"(all)", "quiet", "twap-up"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.04, "0.0 s"), (9.96, "10.0 s"), (59, "59 s"), (119, "119 s"), (120, "2 min"),
     (7200, "2 h"), (200_000, "2 d"), (-5, "in 5.0 s")],
)  # fmt: skip
def test_ages_read_well(seconds: float | None, text: str) -> None:
    assert cells.age(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.50"), (0.5227, "0.5227"), (0.001, "0.001"), (None, "–"), (0.52266, "0.5227")],
)
def test_prices_read_well(value: float | None, text: str) -> None:
    assert cells.price(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1,234.5"), (10, "10"), (100, "100"), (0.25, "0.25"), (None, "–")],
)
def test_shares_read_well(value: float | None, text: str) -> None:
    assert cells.shares(value) == text

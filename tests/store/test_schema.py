"""What the database itself promises: its views, what it refuses, and how it opens."""

import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from runner import steps
from runner.core.errors import InvariantBroken, SafetyRefusal, StaleState
from runner.core.model import (
    EndReason,
    JobKey,
    Liquidity,
    Side,
    Submit,
    TimeInForce,
    TradeReport,
    TradeState,
)
from runner.store import RunnerLock, Store, open_readonly
from runner.store.database import open_database, transaction

NOW = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC)
KEY = JobKey("one", "buy")
TOKEN = "1001"

# contract 5, word by word
VIEWS = {
    "plans": "plan, revision, state, reason, file, accepted_at, ended_at",
    "jobs": "plan, job, side, token_id, state, reason, total_shares, filled_shares,"
    " average_price, limit_price, arrival_price, next_action_at",
    "orders": "order_id, plan, job, token_id, side, price, size, filled, leaves,"
    " time_in_force, state, reason, submitted_at, ended_at",
    "open_orders": "order_id, plan, job, token_id, side, price, size, filled, leaves,"
    " time_in_force, state, reason, submitted_at, ended_at",
    "trades": "trade_id, order_id, plan, job, token_id, side, price, size, fee, liquidity,"
    " state, matched_at",
    "positions": "token_id, shares, settled_shares, average_entry_price, mark_price,"
    " realized_pnl, unrealized_pnl, fees, exposure",
    "performance": "plan, closed_trades, win_rate, average_win, average_loss, realized_pnl,"
    " unrealized_pnl, fees, exposure",
    "timeline": "seq, at, subject, id, event, from_state, to_state, detail",
    "alerts": "alert_id, at, severity, code, message, acknowledged_at",
}
REAL = frozenset(
    {
        *("total_shares", "filled_shares", "shares", "settled_shares", "size", "filled", "leaves"),
        *("average_price", "limit_price", "arrival_price", "price", "mark_price"),
        *("average_entry_price", "realized_pnl", "unrealized_pnl", "fee", "fees", "exposure"),
        *("win_rate", "average_win", "average_loss"),
    }
)
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runner.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A database with one working job of 30 shares."""
    opened = Store.open(path)
    with opened.transaction(NOW) as tx:
        tx.put_plan("one", "one.yaml", "hash", "text", "{}")
        tx.put_job(
            KEY,
            ordinal=0,
            side=Side.BUY,
            total=Decimal(30),
            limit_price=Decimal("0.51"),
            spec="{}",
            seed="1",
            starts_at=NOW,
            ends_at=None,
        )
        tx.set_job_token(KEY, TOKEN)
    yield opened
    opened.close()


def put_order(store: Store, n: int, size: str) -> str:
    order_id = f"0x{n:064x}"
    submit = Submit(
        key=KEY,
        token_id=TOKEN,
        side=Side.BUY,
        price=Decimal("0.51"),
        size=Decimal(size),
        time_in_force=TimeInForce.GTD,
        post_only=False,
    )
    with store.transaction(NOW) as tx:
        tx.put_order(
            submit,
            order_id=order_id,
            time_in_force=TimeInForce.GTD,
            maker_amount=1,
            taker_amount=1,
            expires_at=None,
            body=b"{}",
            decision="{}",
        )
    return order_id


def put_trade(
    store: Store, order_id: str, size: str, state: TradeState = TradeState.MATCHED, n: int = 1
) -> bool:
    report = TradeReport(
        trade_id=f"trade-{n}",
        order_id=order_id,
        token_id=TOKEN,
        side=Side.BUY,
        price=Decimal("0.51"),
        size=Decimal(size),
        fee=Decimal(0),
        liquidity=Liquidity.MAKER,
        state=state,
        matched_at=NOW,
    )
    with store.transaction(NOW) as tx:
        return tx.book_trade(report, KEY, Decimal(0))


def move(store: Store, order_id: str, event: str) -> None:
    end_reason = EndReason.CANCELLED if event == "ended" else None
    with store.transaction(NOW) as tx:
        tx.move_order(order_id, event, end_reason=end_reason)


# views


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_has_the_columns_of_the_contract_in_its_order(
    store: Store, path: Path, view: str
) -> None:
    with open_readonly(path) as connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({view})")]
    wanted = VIEWS[view].split(", ")
    assert [column for column in columns if column in wanted] == wanted


def test_views_show_decimals_as_real_and_times_as_utc_text(store: Store, path: Path) -> None:
    order_id = put_order(store, 1, "30")
    put_trade(store, order_id, "10")
    with store.transaction(NOW) as tx:
        tx.alert("warning", "A_CODE", "a message")
        tx.set_arrival(KEY, Decimal("0.5"))
        tx.set_next_action(KEY, NOW, "because")
    seen = set()
    with open_readonly(path) as connection:
        for view in VIEWS:
            rows = connection.execute(f"SELECT * FROM {view}").fetchall()
            assert rows, view
            for row in rows:
                for name in row.keys():  # noqa: SIM118  (a row iterates over its values)
                    if row[name] is None:
                        continue
                    if name in REAL:
                        assert isinstance(row[name], float), (view, name)
                        seen.add(name)
                    elif name == "at" or name.endswith("_at"):
                        assert ISO.fullmatch(row[name]), (view, name)
                        seen.add(name)
    assert {"price", "size", "leaves", "average_price", "accepted_at", "matched_at", "at"} <= seen


def test_the_words_of_order_states_are_those_of_the_contract(store: Store, path: Path) -> None:
    def state() -> tuple[str, float]:
        with open_readonly(path) as connection:
            [row] = connection.execute("SELECT state, leaves FROM orders").fetchall()
        return row["state"], row["leaves"]

    order_id = put_order(store, 1, "30")
    assert state() == ("submitting", 30.0)
    move(store, order_id, "lost")
    assert state() == ("unknown", 30.0)
    move(store, order_id, "sighted")
    assert state() == ("live", 30.0)
    put_trade(store, order_id, "10")
    assert state() == ("partially_filled", 20.0)
    with store.transaction(NOW) as tx:
        assert tx.request_cancel(order_id, "why")
    assert state() == ("cancelling", 20.0)
    move(store, order_id, "ended")
    assert state() == ("cancelling", 20.0)
    move(store, order_id, "complete")
    assert state() == ("cancelled", 0.0)


# what the database refuses


def test_an_order_that_would_let_its_job_exceed_its_total_is_refused(store: Store) -> None:
    first = put_order(store, 1, "20")
    with pytest.raises(sqlite3.IntegrityError, match="exceed its total"):
        put_order(store, 2, "10.000001")
    # matched counts once, whether working or filled
    put_trade(store, first, "15")
    with pytest.raises(sqlite3.IntegrityError, match="exceed its total"):
        put_order(store, 2, "10.000001")
    # what an ended order left over is free again
    move(store, first, "ended")
    move(store, first, "complete")
    with pytest.raises(sqlite3.IntegrityError, match="exceed its total"):
        put_order(store, 2, "15.000001")
    put_order(store, 2, "15")
    # and so is what failed
    put_trade(store, first, "15", TradeState.FAILED)
    put_order(store, 3, "15")
    with pytest.raises(sqlite3.IntegrityError, match="exceed its total"):
        put_order(store, 4, "0.000001")


def test_a_trade_is_booked_even_beyond_the_total(store: Store) -> None:
    order_id = put_order(store, 1, "30")
    assert put_trade(store, order_id, "31")
    assert store.positions()[TOKEN].shares == 31


def test_the_event_log_cannot_be_changed(store: Store, path: Path) -> None:
    other = sqlite3.connect(path)
    for statement in (
        "UPDATE event SET detail = 'nothing to see'",
        "DELETE FROM event",
        "DELETE FROM event WHERE seq = 1",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(statement)
        other.rollback()
    assert other.execute("SELECT COUNT(*) FROM event").fetchone()[0] >= 3
    other.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE plan SET state = 'Running'",
        "UPDATE job SET state = 'done'",
        "UPDATE job SET total = -1",
        "UPDATE job SET total = 30.5",
        "UPDATE job SET limit_price = 1000000",
        "UPDATE child_order SET size = 0",
        "UPDATE child_order SET price = 0.51",
        "UPDATE child_order SET state = 'closed'",
        "UPDATE child_order SET end_reason = 'filled'",
        "UPDATE child_order SET side = 'BUY'",
        "UPDATE child_order SET job = 'none'",
        "UPDATE trade SET size = 0",
        "UPDATE trade SET state = 'settled'",
        "UPDATE trade SET order_id = '0x'",
        "UPDATE plan SET paused_by_operator = 2",
        "INSERT INTO alert VALUES (1, 0, 'loud', 'A', 'b', NULL)",
        "INSERT INTO revision VALUES ('none', 1, 'h', 't', '{}', 0)",
    ],
)
def test_what_must_never_be_is_refused_whoever_writes(
    store: Store, path: Path, statement: str
) -> None:
    put_trade(store, put_order(store, 1, "30"), "10")
    other = sqlite3.connect(path)
    other.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError):
        other.execute(statement)
    other.close()


def test_a_move_of_what_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(StaleState), store.transaction(NOW) as tx:
        tx.move_order("0x" + "f" * 64, "lost")
    with pytest.raises(StaleState), store.transaction(NOW) as tx:
        tx.move_job(JobKey("one", "none"), "started")


# transactions


def test_a_transaction_is_one_commit_or_nothing(store: Store, path: Path) -> None:
    watcher = sqlite3.connect(path)

    def version() -> int:
        return int(watcher.execute("PRAGMA data_version").fetchone()[0])

    def events() -> int:
        return int(watcher.execute("SELECT COUNT(*) FROM event").fetchone()[0])

    before, had = version(), events()
    with store.transaction(NOW) as tx:
        for n in range(50):
            tx.event("runner", "runner", f"event {n}")
            assert version() == before
    assert (version() != before, events()) == (True, had + 50)
    with pytest.raises(StaleState), store.transaction(NOW) as tx:  # noqa: PT012  (both matter)
        tx.event("runner", "runner", "undone")
        tx.move_plan("none", "started")
    assert events() == had + 50
    with pytest.raises(InvariantBroken), store.transaction(NOW), store.transaction(NOW):
        pass
    # and a transaction that changes nothing writes nothing
    before = version()
    with store.transaction(NOW) as tx:
        tx.set_pause("one", "file", on=False)
    assert version() == before
    watcher.close()


def test_a_trade_told_twice_is_booked_once(store: Store) -> None:
    order_id = put_order(store, 1, "30")
    assert put_trade(store, order_id, "10")
    assert not put_trade(store, order_id, "10")
    assert put_trade(store, order_id, "10", TradeState.CONFIRMED)
    assert not put_trade(store, order_id, "10", TradeState.MINED)
    assert not put_trade(store, order_id, "10", TradeState.CONFIRMED)
    assert store.positions()[TOKEN].shares == store.positions()[TOKEN].settled == 10


# opening


class Killed(BaseException):
    """The process was killed here."""


def kill() -> None:
    raise Killed


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type <> 'index' AND name NOT LIKE 'sqlite_%'"
    )
    names = {row[0] for row in rows}
    connection.close()
    return names


@pytest.mark.parametrize("n", [1, 2, 9, 20, 30])
def test_a_migration_killed_halfway_leaves_nothing_of_itself(path: Path, n: int) -> None:
    steps.arm(n, kill, name="migrate")
    try:
        with pytest.raises(Killed):
            Store.open(path)
    finally:
        steps.disarm()
    assert tables(path) <= {"_sqlite_migrations"}
    Store.open(path).close()
    assert set(VIEWS) <= tables(path)


def test_a_database_opened_again_keeps_what_was_in_it(store: Store, path: Path) -> None:
    order_id = put_order(store, 1, "30")
    store.close()
    again = Store.open(path)
    found = again.order(order_id)
    again.close()
    assert found is not None
    assert found.working.size == 30


def test_a_database_of_a_newer_release_is_refused_and_left_alone(store: Store, path: Path) -> None:
    store.close()
    other = sqlite3.connect(path)
    other.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
        " VALUES ('pmrun', '9999 what is to come', '2030-01-01')"
    )
    other.commit()
    other.close()
    with pytest.raises(SafetyRefusal, match=r"newer release \(schema step 9999 what is to come\)"):
        Store.open(path)


@pytest.mark.parametrize("at", [0, 40_000])
def test_a_damaged_database_is_refused(store: Store, path: Path, at: int) -> None:
    store.close()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(8192))
    with pytest.raises(SafetyRefusal, match="damaged"):
        Store.open(path)


def test_the_database_belongs_to_its_owner_alone(store: Store, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    put_order(store, 1, "30")
    for beside in path.parent.glob("runner.db-*"):
        assert stat.S_IMODE(beside.stat().st_mode) == 0o600


def test_whoever_only_looks_cannot_write(store: Store, path: Path) -> None:
    with (
        open_readonly(path) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM plan")


def test_one_runner_a_database(path: Path) -> None:
    lock = RunnerLock.acquire(path)
    with pytest.raises(SafetyRefusal, match=f"pid {os.getpid()}"):
        RunnerLock.acquire(path)
    lock.release()
    RunnerLock.acquire(path).release()


def test_a_commit_that_fails_leaves_nothing_and_no_open_transaction(tmp_path: Path) -> None:
    """Deferred keys are checked by the commit itself: it fails after everything was written."""
    connection = open_database(tmp_path / "runner.db")

    def write_an_orphan() -> None:
        with transaction(connection):
            connection.execute("PRAGMA defer_foreign_keys = ON")
            connection.execute("INSERT INTO revision VALUES ('nobody', 1, 'h', '', '', 0)")

    with pytest.raises(sqlite3.IntegrityError):
        write_an_orphan()
    assert not connection.in_transaction
    assert connection.execute("SELECT COUNT(*) FROM revision").fetchone()[0] == 0
    with transaction(connection):
        connection.execute("INSERT INTO day VALUES ('2026-11-24', 0)")
    connection.close()

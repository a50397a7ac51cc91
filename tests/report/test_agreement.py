"""What counts as agreement between the database and the exchange's ledger."""

import contextlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from runner.core.model import (
    JobKey,
    Liquidity,
    Side,
    Submit,
    TimeInForce,
    TradeReport,
    TradeState,
)
from runner.report.agreement import Agreement, compare
from runner.store import Store, open_readonly

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY = JobKey("p", "j")
IDENT = "0x" + "a1" * 32
OURS = "0x" + "11" * 20


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """One order of 10 at 0.5, of which a trade of 4 is booked."""
    path = tmp_path / "runner.db"
    store = Store.open(path)
    with store.transaction(NOW) as tx:
        tx.put_plan("p", "p.yaml", "h", "", "{}")
        tx.put_job(
            KEY,
            ordinal=0,
            side=Side.BUY,
            total=Decimal(10),
            limit_price=Decimal("0.5"),
            spec="{}",
            seed="1",
            starts_at=NOW,
            ends_at=None,
        )
        tx.put_order(
            Submit(KEY, "7", Side.BUY, Decimal("0.5"), Decimal(10), TimeInForce.GTC, False),
            order_id=IDENT,
            time_in_force=TimeInForce.GTC,
            maker_amount=5_000_000,
            taker_amount=10_000_000,
            expires_at=None,
            body=b"{}",
            decision="{}",
        )
        tx.move_order(IDENT, "sighted")
        tx.book_trade(
            TradeReport(
                "t1",
                IDENT,
                "7",
                Side.BUY,
                Decimal("0.5"),
                Decimal(4),
                TradeState.MINED,
                Liquidity.MAKER,
                NOW,
            ),
            KEY,
            Decimal(0),
        )
    store.close()
    return path


def ledger(**changes: Any) -> dict[str, Any]:
    order = {
        "order_id": IDENT,
        "owner": OURS,
        "side": "BUY",
        "price": "0.5",
        "size": "10",
        "matched": changes.get("matched", "4"),
    }
    trade = {
        "trade_id": "t1",
        "taker_order_id": "0xother",
        "size": "9",
        "status": changes.get("status", "MINED"),
        "maker_orders": [{"order_id": IDENT, "size": changes.get("size", "4")}],
    }
    return {
        "orders": [] if changes.get("empty") else [order],
        "trades": [] if changes.get("empty") or changes.get("no_trade") else [trade],
    }


def agreement(state: Path, found: dict[str, Any]) -> Agreement:
    with contextlib.closing(open_readonly(state)) as connection:
        return compare(connection, found, OURS)


def test_the_same_orders_and_trades_agree(state: Path) -> None:
    assert str(agreement(state, ledger())) == "orders 1/1, trades 1/1 agree"


def test_a_trade_whose_next_state_was_not_heard_yet_agrees(state: Path) -> None:
    assert not agreement(state, ledger(status="CONFIRMED")).differences


@pytest.mark.parametrize(
    "changes",
    [
        {"matched": "5"},
        {"size": "3"},
        {"no_trade": True},
        {"empty": True},
    ],
)
def test_any_other_difference_is_named(state: Path, changes: dict[str, Any]) -> None:
    found = agreement(state, ledger(**changes))
    assert found.differences
    assert str(found).endswith("DIFFER")


def test_an_end_that_is_not_the_true_one_is_named(state: Path) -> None:
    store = Store.open(state)
    with store.transaction(NOW) as tx:
        tx.book_trade(
            TradeReport(
                "t1",
                IDENT,
                "7",
                Side.BUY,
                Decimal("0.5"),
                Decimal(4),
                TradeState.CONFIRMED,
                Liquidity.MAKER,
                NOW,
            ),
            KEY,
            Decimal(0),
        )
    store.close()
    assert agreement(state, ledger(status="FAILED")).differences


def test_an_order_in_the_database_only_must_say_that_it_never_was(state: Path) -> None:
    [said] = agreement(state, {"orders": [], "trades": []}).differences[:1]
    assert "in the database only" in said

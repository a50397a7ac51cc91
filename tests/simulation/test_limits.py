"""Limits, the halt latch and the operator's commands on the running system."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from runner import steps
from runner.store import Latch, spool
from tests.simulation.rig import LIMITS, NO, Rig, job, plan, simulated
from tests.virtual_time import now, run

LIVE = "SELECT 1 FROM orders WHERE state = 'live'"
ENDED = "SELECT 1 FROM plans WHERE ended_at IS NOT NULL"
RESULT = "SELECT state, filled_shares FROM jobs"


def one(**keys: object) -> str:
    return plan("one", {"buy": job(**keys)})


def limit(rig: Rig, **limits: object) -> None:
    rig.with_config(limits=replace(LIMITS, **limits))  # type: ignore[arg-type]  # fields of Limits


async def started(rig: Rig, text: str, name: str = "one") -> None:
    rig.drop(f"{name}.yaml", text)
    await rig.until("SELECT 1 FROM orders WHERE plan = ? AND state = 'live'", name)


async def denied(rig: Rig, name: str, code: str) -> None:
    """The plan's job is held back by that limit, for as long as one cares to look."""
    await rig.until("SELECT 1 FROM jobs WHERE plan = ? AND reason LIKE ?", name, f"{code}:%")
    await asyncio.sleep(60)
    assert rig.rows("SELECT 1 FROM orders WHERE plan = ?", name) == []
    assert rig.rows("SELECT 1 FROM timeline WHERE event = 'denied' AND detail LIKE ?", f"{code}:%")


def live_at_exchange(rig: Rig) -> int:
    return sum(order["status"] == "LIVE" for order in rig.ledger()["orders"])


# limits


@simulated
async def test_the_position_limit_counts_what_rests(rig: Rig) -> None:
    limit(rig, max_position_size=Decimal(35))
    async with rig.runner():
        await started(rig, one())
        rig.drop("two.yaml", plan("two", {"buy": job(total_shares=10)}))
        await denied(rig, "two", "POSITION_ABOVE_MAXIMUM")
        # filled counts as much
        rig.hit("30")
        await rig.until(ENDED)
        await denied(rig, "two", "POSITION_ABOVE_MAXIMUM")
        # the other outcome is another token
        rig.drop("no.yaml", plan("no", {"buy": job(limit_price="0.40")}, market=NO))
        await rig.until("SELECT 1 FROM orders WHERE plan = 'no' AND state = 'live'")


@simulated
async def test_the_exposure_limit_counts_what_is_unknown(rig: Rig) -> None:
    limit(rig, max_total_exposure=Decimal(20))
    rig.with_config(order_life_s=180.0)
    async with rig.runner():
        rig.fault("lose_request", method="POST", path="/order")
        rig.drop("one.yaml", one())  # 15.30 dollars that may or may not be at the exchange
        await rig.until("SELECT 1 FROM orders WHERE state = 'unknown'")
        rig.drop("two.yaml", plan("two", {"buy": job(total_shares=10)}))
        await denied(rig, "two", "EXPOSURE_ABOVE_MAXIMUM")
        rig.drop("one.yaml", plan("one", {"buy": job()}, paused=True))
        rig.clear_faults()
        # proven to have never arrived, it makes room
        await rig.until("SELECT 1 FROM orders WHERE plan = 'two' AND state = 'live'", within_s=500)
        assert rig.value("SELECT exposure FROM performance WHERE plan = '(all)'") == 5.1


@simulated
async def test_the_daily_loss_limit_stops_buying_from_the_moment_it_is_reached(rig: Rig) -> None:
    limit(rig, max_daily_loss=Decimal(5))
    async with rig.runner():
        await started(rig, one())
        rig.hit("30")
        await rig.until(ENDED)
        # the market falls: bids at 0.30, asks at 0.34, so 30 shares lost 19 cents each
        rig.hit("320")
        rig.house("buy", "0.30", "50")
        rig.house("sell", "0.34", "50")
        await rig.until("SELECT 1 FROM positions WHERE unrealized_pnl < -5")
        rig.drop("two.yaml", plan("two", {"buy": job(limit_price="0.31")}))
        await denied(rig, "two", "LOSS_REACHED_MAXIMUM")
        assert rig.value("SELECT unrealized_pnl FROM performance WHERE plan = 'one'") == -5.7
        # selling what is held is still allowed
        rig.drop("out.yaml", plan("out", {"sell": job(side="sell", limit_price="0.33")}))
        await rig.until("SELECT 1 FROM orders WHERE plan = 'out' AND state = 'live'")


def test_a_days_loss_counts_from_its_beginning_whether_or_not_anything_trades(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        rig = Rig(tmp_path)
        rig.book()
        limit(rig, max_daily_loss=Decimal(5))
        async with rig.runner():
            await started(rig, one())
            rig.hit("30")
            await rig.until(ENDED)
            await asyncio.sleep(300)  # past midnight, and nothing is asked for
            rig.hit("320")
            rig.house("buy", "0.30", "50")
            rig.house("sell", "0.34", "50")
            await rig.until("SELECT 1 FROM positions WHERE unrealized_pnl < -5")
            rig.drop("two.yaml", plan("two", {"buy": job(limit_price="0.31")}))
            await denied(rig, "two", "LOSS_REACHED_MAXIMUM")
        rig.check()

    run(main(), start=datetime(2026, 11, 24, 23, 56, tzinfo=UTC))


@simulated
async def test_no_order_is_larger_than_the_runner_and_the_plan_allow(rig: Rig) -> None:
    limit(rig, max_order_size=Decimal(10))
    async with rig.runner():
        await started(rig, one())
        sizes = [row["size"] for row in rig.rows("SELECT size FROM orders")]
        assert sizes == [10.0, 10.0, 10.0]
        tighter = plan("two", {"buy": job()}, risk={"max_order_size": 8})
        await started(rig, tighter, "two")
        sizes = [row["size"] for row in rig.rows("SELECT size FROM orders WHERE plan = 'two'")]
        assert max(sizes) <= 8
        wider = plan("three", {"buy": job()}, risk={"max_order_size": 80})
        await started(rig, wider, "three")
        sizes = [row["size"] for row in rig.rows("SELECT size FROM orders WHERE plan = 'three'")]
        assert max(sizes) <= 10


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_order_value": Decimal(12)}, "VALUE_ABOVE_MAXIMUM"),
        ({"max_open_orders": 0}, "ORDERS_TOO_MANY"),
        ({"max_orders_per_second": 0}, "ORDERS_TOO_FAST"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@simulated
async def test_the_other_limits_of_the_runner_hold_orders_back(
    rig: Rig, limits: dict[str, object], code: str
) -> None:
    limit(rig, **limits)
    async with rig.runner():
        rig.drop("one.yaml", one())
        await denied(rig, "one", code)


@simulated
async def test_a_price_collar_holds_back_a_price_far_above_the_middle(rig: Rig) -> None:
    limit(rig, price_collar=Decimal("0.05"))
    async with rig.runner():
        rig.drop("one.yaml", one(limit_price="0.70"))
        await denied(rig, "one", "PRICE_OUTSIDE_COLLAR")


@pytest.mark.parametrize(
    ("risk", "code"),
    [
        ({"max_position_size": 20}, "PLAN_POSITION_ABOVE_MAXIMUM"),
        ({"max_exposure": 15}, "PLAN_EXPOSURE_ABOVE_MAXIMUM"),
    ],
)
@simulated
async def test_a_plans_own_limits_are_tighter_and_bind_only_that_plan(
    rig: Rig, risk: dict[str, object], code: str
) -> None:
    async with rig.runner():
        rig.drop("tight.yaml", plan("tight", {"buy": job()}, risk=risk))
        await denied(rig, "tight", code)
        await started(rig, one())


@simulated
async def test_a_plans_own_loss_limit_stops_its_buying(rig: Rig) -> None:
    async with rig.runner():
        jobs = {"buy": job(), "more": job(limit_price="0.31", needs=["buy"])}
        rig.drop("one.yaml", plan("one", jobs, risk={"max_loss": 5}))
        await rig.until(LIVE)
        rig.hit("350")
        rig.house("buy", "0.30", "50")
        rig.house("sell", "0.34", "50")
        await rig.until("SELECT 1 FROM jobs WHERE reason LIKE 'PLAN_LOSS_REACHED_MAXIMUM:%'")
        await asyncio.sleep(60)
        assert rig.value("SELECT COUNT(*) FROM orders") == 1


# the emergency stop


@simulated
async def test_halted_sends_no_order_cancels_and_survives_a_restart(rig: Rig) -> None:
    latch = Latch(rig.state)
    async with rig.runner():
        await started(rig, one())
        latch.set("drill", now())
        await rig.until("SELECT 1 FROM orders WHERE state = 'cancelled'")
        rig.drop("two.yaml", plan("two", {"buy": job()}))
        await asyncio.sleep(120)
        assert rig.value("SELECT COUNT(*) FROM orders") == 1
        assert live_at_exchange(rig) == 0
        assert rig.value("SELECT value FROM runner WHERE key = 'trading_state'") == "halted"
        assert {row["state"] for row in rig.rows("SELECT state FROM plans")} == {"running"}
    async with rig.runner():
        await asyncio.sleep(60)
        assert rig.value("SELECT COUNT(*) FROM orders") == 1
        answer = await rig.ask("unhalt")
        assert answer.done
        assert not latch.is_set()
        await rig.until("SELECT 1 FROM orders WHERE plan = 'one' AND state = 'live'")
        await rig.until("SELECT 1 FROM orders WHERE plan = 'two' AND state = 'live'")
        again = await rig.ask("unhalt")
        assert (again.done, again.text) == (True, "was not halted")


@simulated
async def test_an_order_recorded_but_not_sent_because_of_the_halt_is_proven_unsent(
    rig: Rig,
) -> None:
    async with rig.runner():
        await started(rig, one(total_shares=10))
        latch = Latch(rig.state)

        def halt_once_recorded() -> None:
            if rig.rows("SELECT 1 FROM orders WHERE plan = 'two' AND state = 'submitting'"):
                latch.set("drill", now())

        steps.arm(1, halt_once_recorded, name="pass.committed")
        try:
            rig.drop("two.yaml", plan("two", {"buy": job()}))
            await asyncio.sleep(60)
        finally:
            steps.disarm()
        [order] = rig.rows("SELECT order_id, state, reason FROM orders WHERE plan = 'two'")
        assert order["state"] == "rejected"
        assert order["reason"].startswith("TRADING_HALTED")
        assert order["order_id"] not in {each["order_id"] for each in rig.ledger()["orders"]}
        assert live_at_exchange(rig) == 0


@simulated
async def test_a_broken_invariant_halts_and_leaves_the_books_as_they_were(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.hit("12")
        await rig.until("SELECT 1 FROM trades WHERE state = 'confirmed'")
        [trade] = rig.account("GET", "/data/trades")["data"]
        [ours] = [m for m in trade["maker_orders"] if m["maker_address"] == rig.owner]
        ours["side"] = "SELL"
        ours["asset_id"] = "1002"
        forged = trade | {"id": "forged", "event_type": "trade", "type": "TRADE"}
        assert rig.wire is not None
        rig.wire.inject("/ws/user", json.dumps(forged))
        await rig.until("SELECT 1 FROM alerts WHERE code = 'TRADING_HALTED'")
        reason = Latch(rig.state).reason()
        assert reason is not None
        assert "another token or side" in reason
        await rig.until("SELECT 1 FROM alerts WHERE code = 'FACT_CONTRADICTS'")
        await rig.until("SELECT 1 FROM orders WHERE state = 'cancelled'")
        assert rig.row(RESULT) == {"state": "working", "filled_shares": 12.0}
        # observing goes on
        assert rig.value("SELECT COUNT(*) FROM trades") == 1
    async with rig.runner():
        await asyncio.sleep(30)
        assert live_at_exchange(rig) == 0


# commands


@simulated
async def test_pause_and_resume_of_a_plan_keep_its_progress(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.hit("12")
        await rig.until("SELECT 1 FROM jobs WHERE filled_shares = 12")
        assert (await rig.ask("pause", "one")).text == "one paused"
        await rig.until("SELECT 1 FROM orders WHERE state = 'cancelled'")
        assert rig.row("SELECT state, reason FROM plans") == {
            "state": "paused",
            "reason": "operator",
        }
        assert (await rig.ask("pause", "one")).text == "one was paused already"
        assert (await rig.ask("resume", "one")).text == "one resumed"
        await rig.until("SELECT 1 FROM orders WHERE state = 'live' AND size = 18")
        assert rig.row(RESULT) == {"state": "working", "filled_shares": 12.0}


@simulated
async def test_pause_and_resume_of_one_job_leave_the_others_alone(rig: Rig) -> None:
    jobs = {"a": job(), "b": job(limit_price="0.50", total_shares=10)}
    async with rig.runner():
        rig.drop("p.yaml", plan("p", jobs))
        await rig.until("SELECT 1 FROM orders WHERE job = 'a' AND state = 'live'")
        await rig.until("SELECT 1 FROM orders WHERE job = 'b' AND state = 'live'")
        assert (await rig.ask("pause", "p/a")).done
        await rig.until("SELECT 1 FROM orders WHERE job = 'a' AND state = 'cancelled'")
        await asyncio.sleep(20)
        assert rig.rows("SELECT job, state FROM jobs ORDER BY job") == [
            {"job": "a", "state": "paused"},
            {"job": "b", "state": "working"},
        ]
        assert rig.value("SELECT state FROM orders WHERE job = 'b'") == "live"
        assert rig.value("SELECT state FROM plans") == "running"
        assert (await rig.ask("resume", "p/a")).done
        await rig.until("SELECT 1 FROM orders WHERE job = 'a' AND state = 'live'")


@simulated
async def test_cancel_of_a_job_and_of_a_plan_withdraw_them_with_their_orders(rig: Rig) -> None:
    jobs = {"a": job(), "b": job(limit_price="0.50", total_shares=10)}
    async with rig.runner():
        rig.drop("p.yaml", plan("p", jobs))
        await rig.until("SELECT 1 FROM orders WHERE job = 'b' AND state = 'live'")
        assert (await rig.ask("cancel", "p/a")).done
        await rig.until("SELECT 1 FROM jobs WHERE job = 'a' AND state = 'withdrawn'")
        assert rig.value("SELECT state FROM jobs WHERE job = 'b'") == "working"
        assert (await rig.ask("cancel", "p")).done
        await rig.until(ENDED)
        assert rig.row("SELECT state, reason FROM plans") == {
            "state": "withdrawn",
            "reason": "WITHDRAWN by the operator because",
        }
        assert live_at_exchange(rig) == 0
        # its file still lies there: it stays withdrawn
        await asyncio.sleep(30)
        assert rig.value("SELECT COUNT(*) FROM orders") == 2
        answer = await rig.ask("pause", "p")
        assert (answer.done, answer.text) == (False, "plan p has ended: withdrawn")


@simulated
async def test_cancel_of_an_order_pauses_its_job(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        ident = rig.value("SELECT order_id FROM orders")
        assert (await rig.ask("cancel_order", ident)).done
        await rig.until("SELECT 1 FROM orders WHERE state = 'cancelled'")
        await asyncio.sleep(30)
        assert rig.value("SELECT COUNT(*) FROM orders") == 1
        assert rig.row("SELECT state, reason FROM jobs") == {
            "state": "paused",
            "reason": "PAUSED by operator (job)",
        }
        assert not (await rig.ask("cancel_order", ident)).done
        assert not (await rig.ask("cancel_order", "0x" + "0" * 64)).done
        assert (await rig.ask("resume", "one/buy")).done
        await rig.until(LIVE)


@simulated
async def test_cancel_all_pauses_every_plan_and_new_plans_are_still_accepted(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        await started(rig, plan("two", {"buy": job(limit_price="0.50")}), "two")
        answer = await rig.ask("cancel_all")
        assert answer.text == "2 plans paused, 2 orders being cancelled"
        await asyncio.sleep(10)
        assert live_at_exchange(rig) == 0
        assert {row["state"] for row in rig.rows("SELECT state FROM plans")} == {"paused"}
        await started(rig, plan("three", {"buy": job()}), "three")


@simulated
async def test_what_does_not_exist_is_answered_as_such(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        for command, target, text in (
            ("pause", "none", "no plan 'none'"),
            ("cancel", "one/none", "plan one has no job 'none'"),
            ("resume", "none/x", "no plan 'none'"),
        ):
            answer = await rig.ask(command, target)
            assert (answer.done, answer.text) == (False, text)
        assert rig.value("SELECT state FROM orders") == "live"


@simulated
async def test_a_command_asked_while_no_runner_runs_is_obeyed_by_the_next(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
    name = spool.ask(rig.state, "pause", "one", "later", now())
    async with rig.runner():
        await asyncio.sleep(30)
        answer = spool.answer(rig.state, name)
        assert answer is not None
        assert answer.done
        assert rig.value("SELECT state FROM plans") == "paused"
        assert rig.value("SELECT COUNT(*) FROM orders") == 1

"""Needs, gates, starts and ends of jobs and plans on the running system (contract 3)."""

import asyncio
from datetime import timedelta

import pytest

from tests.simulation.rig import Rig, job, plan, simulated
from tests.virtual_time import now

LIVE = "SELECT 1 FROM orders WHERE state = 'live'"
ENDED = "SELECT 1 FROM plans WHERE ended_at IS NOT NULL"


def jobs_of(rig: Rig) -> dict[str, str]:
    return {row["job"]: row["state"] for row in rig.rows("SELECT job, state FROM jobs")}


@simulated
async def test_a_sell_of_what_another_job_filled_starts_when_that_has_completed(rig: Rig) -> None:
    jobs = {
        "build": job(total_shares=20),
        "leave": job(
            side="sell", needs=["build"], total_shares="filled(build)", limit_price="0.55"
        ),
    }
    async with rig.runner(until_done=True) as task:
        rig.drop("p.yaml", plan("p", jobs))
        await rig.until(LIVE)
        assert rig.row("SELECT state, total_shares FROM jobs WHERE job = 'leave'") == {
            "state": "waiting",
            "total_shares": None,
        }
        rig.hit("20")
        # matched shares can be sold only when they are settled: until then, refused and backed off
        await rig.until("SELECT 1 FROM orders WHERE job = 'leave' AND state = 'live'")
        assert rig.value("SELECT total_shares FROM jobs WHERE job = 'leave'") == 20.0
        rig.house("buy", "0.55", "20", take=True)
        await asyncio.wait_for(task, 120)
    assert jobs_of(rig) == {"build": "completed", "leave": "completed"}
    position = rig.row("SELECT shares, realized_pnl FROM positions")
    assert position == {"shares": 0.0, "realized_pnl": 0.8}
    assert rig.row("SELECT closed_trades, win_rate FROM performance WHERE plan = 'p'") == {
        "closed_trades": 1,
        "win_rate": 1.0,
    }


@simulated
async def test_a_need_that_ends_otherwise_withdraws_the_job_and_the_plan_is_its_worst(
    rig: Rig,
) -> None:
    jobs = {
        "build": job(time_window_minutes=1),
        "after": job(needs=["build"]),
        "anyway": job(needs={"build": "ended"}, limit_price="0.50", time_window_minutes=2),
    }
    async with rig.runner(until_done=True) as task:
        rig.drop("p.yaml", plan("p", jobs))
        await rig.until("SELECT 1 FROM orders WHERE job = 'anyway' AND state = 'live'", within_s=90)
        assert jobs_of(rig) == {"build": "expired", "after": "withdrawn", "anyway": "working"}
        assert rig.value("SELECT reason FROM jobs WHERE job = 'after'") == (
            "NEED_ENDED: build ended expired"
        )
        rig.hit("300", "0.50")
        await asyncio.wait_for(task, 200)
    assert jobs_of(rig)["anyway"] == "completed"
    assert rig.row("SELECT state, reason FROM plans") == {
        "state": "expired",
        "reason": "WINDOW_OVER: 30 of 30 left",
    }


@simulated
async def test_filled_of_a_job_that_filled_nothing_withdraws(rig: Rig) -> None:
    jobs = {
        "build": job(time_window_minutes=1),
        "leave": job(side="sell", needs={"build": "ended"}, total_shares="filled(build)"),
    }
    async with rig.runner(until_done=True) as task:
        rig.drop("p.yaml", plan("p", jobs))
        await asyncio.wait_for(task, 200)
    assert jobs_of(rig) == {"build": "expired", "leave": "withdrawn"}
    assert rig.value("SELECT reason FROM jobs WHERE job = 'leave'") == (
        "NEED_EMPTY: build filled nothing"
    )


@simulated
async def test_a_job_works_only_while_its_gate_holds(rig: Rig) -> None:
    async with rig.runner():
        rig.drop("p.yaml", plan("p", {"buy": job(when={"price_at_most": "0.55"})}))
        await asyncio.sleep(20)
        assert jobs_of(rig) == {"buy": "waiting"}
        assert rig.rows("SELECT 1 FROM orders") == []
        rig.house("sell", "0.54", "20")
        await rig.until(LIVE)
        assert rig.value("SELECT state FROM plans") == "running"
        rig.house("buy", "0.54", "20", take=True)
        await rig.until("SELECT 1 FROM orders WHERE state = 'cancelled'")
        assert jobs_of(rig) == {"buy": "waiting"}
        rig.house("sell", "0.54", "20")
        await rig.until(LIVE)
        rig.hit("30", "0.51")
        await rig.until(ENDED)
        assert jobs_of(rig) == {"buy": "completed"}


@simulated
async def test_a_job_starts_at_its_start_and_its_window_counts_from_there(rig: Rig) -> None:
    start = now().replace(microsecond=0) + timedelta(minutes=5)
    keys = {"start": start.strftime("%Y-%m-%dT%H:%M:%SZ"), "time_window_minutes": 5}
    async with rig.runner():
        rig.drop("p.yaml", plan("p", {"buy": job(**keys)}))
        await rig.until(LIVE, within_s=400)
        assert start <= now() <= start + timedelta(seconds=2)
        await rig.until(ENDED, within_s=400)
        assert start + timedelta(minutes=5) <= now() <= start + timedelta(minutes=5, seconds=10)
        assert jobs_of(rig) == {"buy": "expired"}


@simulated
async def test_a_window_that_is_over_already_expires_without_an_order(rig: Rig) -> None:
    start = now() - timedelta(hours=2)
    keys = {"start": start.strftime("%Y-%m-%dT%H:%M:%SZ"), "time_window_minutes": 5}
    async with rig.runner(until_done=True) as task:
        rig.drop("p.yaml", plan("p", {"buy": job(**keys)}))
        await asyncio.wait_for(task, 60)
    assert jobs_of(rig) == {"buy": "expired"}
    assert rig.rows("SELECT 1 FROM orders") == []


@simulated
async def test_at_end_keep_has_no_end_of_its_own(rig: Rig) -> None:
    async with rig.runner(until_done=True) as task:
        rig.drop("p.yaml", plan("p", {"buy": job(time_window_minutes=2, at_end="keep")}))
        await rig.until(LIVE)
        await asyncio.sleep(600)
        assert jobs_of(rig) == {"buy": "working"}
        rig.hit("30")
        await asyncio.wait_for(task, 60)
    assert jobs_of(rig) == {"buy": "completed"}


@simulated
async def test_a_remainder_too_small_to_be_legal_completes_and_is_named(rig: Rig) -> None:
    async with rig.runner(until_done=True) as task:
        rig.drop("p.yaml", plan("p", {"buy": job(total_shares=20)}))
        await rig.until(LIVE)
        rig.hit("17")
        await rig.until("SELECT 1 FROM jobs WHERE filled_shares = 17")
        assert jobs_of(rig) == {"buy": "working"}  # the order still works its last 3 shares
        await rig.ask("pause", "p")
        await asyncio.wait_for(task, 60)
    assert jobs_of(rig) == {"buy": "completed"}
    assert rig.value("SELECT reason FROM jobs") == ("REMAINDER_TOO_SMALL: 3 left, 5 is the least")


@pytest.mark.parametrize(
    "market", [{"slug": "no-such-market", "outcome": "Yes"}, {"token_id": '"123456789"'}]
)
@simulated
async def test_a_market_that_does_not_exist_fails_the_job(
    rig: Rig, market: dict[str, object]
) -> None:
    async with rig.runner(until_done=True) as task:
        rig.drop("p.yaml", plan("p", {"buy": job()}, market=market))
        await asyncio.wait_for(task, 60)
    assert jobs_of(rig) == {"buy": "failed"}
    assert rig.value("SELECT reason FROM jobs").startswith("NO_SUCH_MARKET")
    assert rig.value("SELECT state FROM plans") == "failed"


@simulated
async def test_an_unknown_outcome_fails_the_job(rig: Rig) -> None:
    market = {"slug": "rain-tomorrow", "outcome": "Perhaps"}
    async with rig.runner(until_done=True) as task:
        rig.drop("p.yaml", plan("p", {"buy": job()}, market=market))
        await asyncio.wait_for(task, 60)
    assert rig.value("SELECT reason FROM jobs").startswith("NO_SUCH_MARKET")


@simulated
async def test_a_plan_is_accepted_until_a_job_leaves_waiting(rig: Rig) -> None:
    start = now().replace(microsecond=0) + timedelta(minutes=1)
    async with rig.runner():
        keys = {"start": start.strftime("%Y-%m-%dT%H:%M:%SZ")}
        rig.drop("p.yaml", plan("p", {"buy": job(**keys)}))
        await rig.until("SELECT 1 FROM plans WHERE state = 'accepted'")
        await asyncio.sleep(50)
        assert rig.value("SELECT state FROM plans") == "accepted"
        await rig.ask("pause", "p")
        assert rig.value("SELECT state FROM plans") == "paused"
        await rig.ask("resume", "p")
        await asyncio.sleep(1)
        assert rig.value("SELECT state FROM plans") == "accepted"
        await rig.until("SELECT 1 FROM plans WHERE state = 'running'")


@simulated
async def test_a_restart_while_paused_and_waiting_changes_nothing(rig: Rig) -> None:
    jobs = {"buy": job(), "then": job(needs=["buy"])}
    async with rig.runner():
        rig.drop("p.yaml", plan("p", jobs))
        await rig.until(LIVE)
        await rig.ask("pause", "p")
        await asyncio.sleep(5)
    before = rig.rows("SELECT job, state, filled_shares FROM jobs")
    async with rig.runner():
        await asyncio.sleep(60)
        assert rig.rows("SELECT job, state, filled_shares FROM jobs") == before
        assert rig.rows("SELECT 1 FROM open_orders") == []
        await rig.ask("resume", "p")
        await rig.until(LIVE)

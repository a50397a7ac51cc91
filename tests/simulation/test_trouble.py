"""What the network and the exchange do wrong: the totals hold, and what is unknown is resolved."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from tests.simulation.rig import Rig, job, plan, simulated
from tests.virtual_time import now

LIVE = "SELECT 1 FROM orders WHERE state = 'live'"
UNKNOWN = "SELECT 1 FROM orders WHERE state = 'unknown'"
ENDED = "SELECT 1 FROM plans WHERE ended_at IS NOT NULL"
RESULT = "SELECT state, filled_shares FROM jobs"
DONE = {"state": "completed", "filled_shares": 30.0}


def one(**keys: object) -> str:
    return plan("one", {"buy": job(**keys)})


def twap(**keys: object) -> str:
    """60 shares in six slices over five minutes, first in the queue."""
    spec = {"strategy": "twap", "slices": 6}
    more = {"total_shares": 60, "limit_price": "0.54", "time_window_minutes": 5}
    return plan("one", {"buy": job(split=spec, quote={"style": "top_bidder"}, **more, **keys)})


async def started(rig: Rig, text: str) -> None:
    rig.drop("one.yaml", text)
    await rig.until(LIVE)


@asynccontextmanager
async def crowd(rig: Rig) -> AsyncIterator[None]:
    """Others trade while the block runs."""
    task = asyncio.create_task(rig.takers())
    try:
        yield
    finally:
        task.cancel()


@simulated
async def test_null_for_a_live_order_proves_nothing(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.fault("null_order")
        await asyncio.sleep(120)
        assert rig.value("SELECT state FROM orders") == "live"
        rig.hit("30")
        await rig.until(ENDED)
        assert rig.row(RESULT) == DONE


@simulated
async def test_an_empty_list_of_live_orders_proves_nothing(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.fault("empty_orders")
        await asyncio.sleep(120)
        assert rig.value("SELECT state FROM orders") == "live"
        rig.hit("30")
        await rig.until(ENDED)
        assert rig.row(RESULT) == DONE


@simulated
async def test_reads_that_lack_a_live_order_never_let_a_second_one_stand_beside_it(
    rig: Rig,
) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.fault("empty_orders")
        rig.fault("null_order")
        for _ in range(60):
            live = [o for o in rig.ledger()["orders"] if o["status"] == "LIVE"]
            assert sum(float(o["size"]) for o in live) <= 30
            await asyncio.sleep(1)
        rig.clear_faults()
        await rig.until(LIVE, within_s=90)
        rig.hit("60")
        await rig.until(ENDED, within_s=90)
        assert rig.row(RESULT) == DONE


@simulated
async def test_silent_sockets_cost_time_and_no_fill(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.fault("stall_sockets")
        rig.hit("12", "0.51")
        await rig.until("SELECT 1 FROM jobs WHERE filled_shares = 12", within_s=60)
        rig.hit("18", "0.51")
        await rig.until(ENDED, within_s=120)
        assert rig.row(RESULT) == DONE


@pytest.mark.parametrize("rate", [0.1, 0.5])
@simulated
async def test_lost_frames_cost_time_and_nothing_else(rig: Rig, rate: float) -> None:
    rig.fault("drop_frames", rate=rate)
    async with rig.runner(), crowd(rig):
        rig.drop("one.yaml", twap())
        await rig.until(ENDED, within_s=600)
        assert rig.value("SELECT average_price FROM jobs") <= 0.54
        await asyncio.sleep(30)


@simulated
async def test_an_engine_restart_is_waited_for_and_the_post_only_time_after_it(rig: Rig) -> None:
    async with rig.runner():
        rig.control("restart", seconds=10, post_only_seconds=120)
        began = now()
        # 425 proves nothing: the same bytes are sent again until the engine is back
        quiet = job(
            limit_price="0.50", total_shares=10, quote={"style": "limit", "post_only": True}
        )
        rig.drop("two.yaml", plan("two", {"buy": quiet}))
        await rig.until("SELECT 1 FROM orders WHERE plan = 'two' AND state = 'live'", within_s=30)
        assert now() - began >= timedelta(seconds=10)
        assert rig.value("SELECT COUNT(*) FROM orders") == 1
        # a plain limit order might take: it is not taken on before post-only time is over
        rig.drop("one.yaml", one())
        await rig.until("SELECT 1 FROM orders WHERE plan = 'one' AND state = 'live'", within_s=200)
        assert now() - began >= timedelta(seconds=130)
        assert rig.rows("SELECT 1 FROM orders WHERE state = 'unknown'") == []
        rig.hit("60", "0.50")
        await rig.until("SELECT 1 FROM plans WHERE plan = 'one' AND state = 'completed'")
        assert rig.value("SELECT incurable FROM job WHERE plan = 'one'") == 0


@simulated
async def test_a_request_that_never_arrived_is_repeated_with_the_same_bytes(rig: Rig) -> None:
    async with rig.runner():
        rig.fault("lose_request", method="POST", path="/order", count=1, hang=True)
        rig.drop("one.yaml", one())
        await rig.until(LIVE, within_s=30)
        assert rig.rows("SELECT 1 FROM timeline WHERE event = 'lost'")
        assert rig.row("SELECT COUNT(*) AS n, MAX(sends) AS sends FROM child_order") == {
            "n": 1,
            "sends": 2,
        }


@simulated
async def test_a_lost_request_no_longer_wanted_is_unknown_until_its_end_can_be_proven(
    rig: Rig,
) -> None:
    rig.with_config(order_life_s=180.0)
    async with rig.runner():
        rig.fault("lose_request", method="POST", path="/order", count=1, hang=True)
        rig.drop("one.yaml", one())
        await rig.until("SELECT 1 FROM orders")
        await rig.ask("pause", "one")
        await rig.until(UNKNOWN)
        [order] = rig.rows("SELECT expires_at, sends FROM child_order")
        proven_at = datetime.fromtimestamp(order["expires_at"] / 1e6, now().tzinfo)
        proven_at += timedelta(minutes=2)
        await asyncio.sleep((proven_at - now()).total_seconds() - 2)
        assert rig.rows(UNKNOWN)
        assert rig.value("SELECT exposure FROM performance WHERE plan = '(all)'") == 15.3
        await rig.until("SELECT 1 FROM orders WHERE state = 'expired'")
        assert rig.value("SELECT reason FROM orders").startswith("NEVER_ARRIVED")
        assert rig.value("SELECT sends FROM child_order") == 1
        assert rig.ledger()["orders"] == []


@simulated
async def test_while_an_order_is_unknown_its_job_sends_no_other(rig: Rig) -> None:
    rig.with_config(order_life_s=180.0)
    async with rig.runner():
        rig.fault("lose_request", method="POST", path="/order", hang=True)
        rig.drop("one.yaml", one())
        await rig.until(UNKNOWN)
        await asyncio.sleep(60)
        rig.clear_faults()
        await asyncio.sleep(120)
        # too late to repeat (30 s), too early to be proven
        assert rig.value("SELECT COUNT(*) FROM orders") == 1
        await rig.until(LIVE, within_s=300)
        assert rig.value("SELECT COUNT(*) FROM orders") == 2
        rig.hit("60")
        await rig.until(ENDED)
        assert rig.row(RESULT) == DONE


@pytest.mark.parametrize(
    "fault",
    [
        {"name": "lose_answer", "every": 3},
        {"name": "lose_answer", "every": 3, "hang": True},
        {"name": "error_after_accept", "every": 3},
        {"name": "lose_request", "every": 3},
        {"name": "delay_request", "every": 3, "seconds": 8, "hang": True},
        {"name": "delay_request", "every": 2, "seconds": 40},
        {"name": "delay_answer", "every": 3, "seconds": 7},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
@simulated
async def test_with_every_nth_post_in_doubt_nothing_is_bought_twice_and_the_plan_ends(
    rig: Rig, fault: dict[str, object]
) -> None:
    rig.with_config(order_life_s=180.0)
    rig.fault(**fault, method="POST", path="/order")  # type: ignore[arg-type]  # names of the fault
    async with rig.runner(until_done=True) as task, crowd(rig):
        rig.drop("one.yaml", twap(at_end="keep"))
        await asyncio.wait_for(task, 3000)
    assert rig.row(RESULT) == {"state": "completed", "filled_shares": 60.0}


@simulated
async def test_cancels_without_an_answer_are_sent_again_until_the_end_is_proven(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.fault("lose_request", method="DELETE", path="/orders", count=3)
        rig.fault("stall_sockets")
        await rig.ask("pause", "one")
        await rig.until("SELECT 1 FROM orders WHERE state = 'cancelled'", within_s=60)
        assert [order["status"] for order in rig.ledger()["orders"]] == ["CANCELED"]


@simulated
async def test_a_dead_network_pauses_new_orders_and_costs_no_fill(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        assert rig.wire is not None
        rig.wire.fail(down=True)
        rig.hit("12", "0.51")
        await asyncio.sleep(90)
        assert rig.row(RESULT) == {"state": "working", "filled_shares": 0.0}
        rig.wire.fail(down=False)
        await rig.until("SELECT 1 FROM jobs WHERE filled_shares = 12", within_s=120)
        rig.hit("18", "0.51")
        await rig.until(ENDED, within_s=120)
        assert rig.row(RESULT) == DONE


@simulated
async def test_a_restart_goes_on_where_the_runner_stopped(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.hit("12")
        await rig.until("SELECT 1 FROM trades WHERE state = 'confirmed'")
    # a clean stop leaves nothing in the book
    assert [order["status"] for order in rig.ledger()["orders"]] == ["CANCELED"]
    async with rig.runner():
        await rig.until("SELECT 1 FROM orders WHERE state = 'live' AND size = 18")
        rig.hit("30")
        await rig.until(ENDED)
        assert rig.row(RESULT) == DONE

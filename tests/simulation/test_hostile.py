"""The runner against every fault the exchange knows: bought once, never beyond, and it ends."""

import asyncio

import pytest

from tests.simulation.rig import Rig, job, plan, simulated
from tests.simulation.test_trouble import crowd

FAULTS: dict[str, list[dict[str, object]]] = {
    "answers": [
        {"name": "refuse_request", "rate": 0.1},
        {"name": "refuse_request", "rate": 0.1, "retry_after": 4},
        {"name": "refuse_request", "rate": 0.1, "status": 503},
        {"name": "html_answer", "rate": 0.1},
        {"name": "html_answer", "rate": 0.1, "status": 200},
        {"name": "truncate_answer", "rate": 0.1},
    ],
    "reads": [
        {"name": "stale_answer", "rate": 0.3, "seconds": 8, "path": "/data/*"},
        {"name": "torn_page", "rate": 0.2},
        {"name": "cut_pages", "rate": 0.2},
    ],
    "trades": [
        {"name": "fail_trade", "rate": 0.2, "size_returns": True},
        {"name": "fail_trade", "rate": 0.2},
        {"name": "retry_trade", "every": 2},
    ],
    "frames": [
        {"name": "repeat_frames", "rate": 0.3},
        {"name": "reorder_frames", "rate": 0.2},
        {"name": "delay_frames", "rate": 0.3, "seconds": 6},
        {"name": "malform_frames", "rate": 0.1},
    ],
    "the exchange itself": [
        {"name": "venue_cancel", "every": 3, "seconds": 15},
        {"name": "stale_balance", "rate": 0.5},
        {"name": "jump_clock", "every": 40, "seconds": 3},
    ],
}


@pytest.mark.parametrize("family", FAULTS)
@simulated
async def test_sixty_shares_are_bought_once(rig: Rig, family: str) -> None:
    rig.with_config(order_life_s=180.0)
    for fault in FAULTS[family]:
        rig.fault(**fault)  # type: ignore[arg-type]  # names of the fault
    split = {"strategy": "twap", "slices": 6}
    more = {"total_shares": 60, "limit_price": "0.54", "time_window_minutes": 5}
    buy = job(split=split, quote={"style": "top_bidder"}, at_end="keep", **more)
    async with rig.runner(until_done=True) as task, crowd(rig):
        rig.drop("one.yaml", plan("one", {"buy": buy}))
        await asyncio.wait_for(task, 3000)
    assert [r["name"] for r in rig.exchange.faults.report() if not r["struck"]] == []
    assert rig.row("SELECT state, filled_shares FROM jobs") == {
        "state": "completed",
        "filled_shares": 60.0,
    }


@simulated
async def test_a_fill_that_beats_its_cancel_is_not_bought_again(rig: Rig) -> None:
    async with rig.runner(until_done=True) as task:
        rig.drop("one.yaml", plan("one", {"buy": job(limit_price="0.40")}))
        await rig.until("SELECT 1 FROM orders WHERE state = 'live'")
        rig.fault("fill_before_cancel", count=1)
        rig.drop("one.yaml", plan("one", {"buy": job(limit_price="0.41")}))
        await asyncio.wait_for(task, 3000)
    (report,) = rig.exchange.faults.report()
    assert report["struck"] == 1
    assert rig.row("SELECT state, filled_shares FROM jobs") == {
        "state": "completed",
        "filled_shares": 30.0,
    }

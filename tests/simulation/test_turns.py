"""Orders that wait for their turn: a halt meets them there."""

import asyncio
from dataclasses import replace

from runner.store import Latch
from runner.venue.requests import VenueSettings
from runner.venue.throttle import Rate
from tests.simulation.rig import LIMITS, Rig, job, plan, simulated
from tests.virtual_time import now


@simulated
async def test_an_order_that_waits_for_its_turn_is_not_sent_after_a_halt(rig: Rig) -> None:
    rig.venue_settings = VenueSettings(orders=Rate(1, 1))
    rig.with_config(limits=replace(LIMITS, max_orders_per_second=None))
    jobs = {f"job-{n}": job(total_shares=10, limit_price="0.30") for n in range(5)}
    async with rig.runner():
        rig.drop("five.yaml", plan("five", jobs))
        await rig.until("SELECT 1 FROM orders WHERE state = 'live'")
        assert len(rig.rows("SELECT 1 FROM orders WHERE state = 'submitting'")) >= 3
        Latch(rig.state).set("enough", now())
        sent = len(rig.ledger()["orders"])
        await asyncio.sleep(30)
        assert len(rig.ledger()["orders"]) == sent < 5
        unsent = rig.rows("SELECT 1 FROM orders WHERE reason LIKE 'TRADING_HALTED%'")
        assert len(unsent) == 5 - sent
        assert (await rig.ask("unhalt")).done
        await rig.until("SELECT 1 FROM (SELECT COUNT(*) AS n FROM open_orders) WHERE n = 5")
        await asyncio.sleep(10)

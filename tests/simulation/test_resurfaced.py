"""An order that was proven not to be there, and is there: the proof was wrong (faults I10)."""

import asyncio
from decimal import Decimal
from pathlib import Path

from runner.core.model import EndReason, OrderReport, ReportStatus
from runner.reconciler.intake import Intake
from tests.simulation.rig import Rig, job, plan
from tests.virtual_time import now, run


def test_its_plan_stops_and_it_is_cancelled_by_its_id(tmp_path: Path) -> None:
    async def main() -> None:
        rig = Rig(tmp_path)
        rig.book()
        rig.fault("lose_answer", count=1, path="/order")
        rig.fault("drop_frames", rate=1, path="/ws/user")
        rig.drop("one.yaml", plan("one", {"buy": job()}))
        async with rig.runner():
            await rig.until("SELECT 1 FROM orders WHERE state = 'unknown'")
            assert rig.store is not None
            ident = rig.value("SELECT order_id FROM orders")
            with rig.store.transaction(now()) as tx:
                tx.move_order(ident, "never_arrived", end_reason=EndReason.NEVER_ARRIVED)
            await rig.until("SELECT 1 FROM alerts WHERE code = 'ORDER_RESURFACED'")
            await rig.until("SELECT 1 FROM plans WHERE state = 'paused'")
            await asyncio.sleep(5)
            [order] = [o for o in rig.ledger()["orders"] if o["order_id"] == ident]
            assert order["status"] == "CANCELED"
            assert rig.value("SELECT COUNT(*) FROM orders") == 1

    run(main())


def test_the_end_of_a_killed_order_that_was_refused_is_no_such_thing(tmp_path: Path) -> None:
    async def main() -> None:
        rig = Rig(tmp_path)
        rig.book()
        rig.fault("refuse_request", count=1, path="/order", status=403)
        rig.drop("one.yaml", plan("one", {"buy": job()}))
        async with rig.runner():
            await rig.until("SELECT 1 FROM orders WHERE state = 'rejected'")
            assert rig.store is not None
            ident = rig.value("SELECT order_id FROM orders WHERE state = 'rejected'")
            with rig.store.transaction(now()) as tx:
                intake = Intake(tx, now())
                intake.order_report(OrderReport(ident, ReportStatus.CANCELLED, Decimal(0)))
            assert not intake.resurfaced
        assert not rig.rows("SELECT 1 FROM alerts WHERE code = 'ORDER_RESURFACED'")
        assert not rig.agreement().differences

    run(main())

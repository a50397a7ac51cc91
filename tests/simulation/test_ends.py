"""How the end of an order is proven."""

import asyncio
from decimal import Decimal
from pathlib import Path

from runner.core.model import OrderReport, ReportStatus
from tests.simulation.rig import Rig
from tests.simulation.test_first_path import SINGLE
from tests.venue.world import SIGNER
from tests.virtual_time import run


def test_a_cancellation_event_that_claims_everything_matched_is_not_believed(
    tmp_path: Path,
) -> None:
    """A recorded event of the real exchange says so, of an order without any trade."""

    async def main() -> None:
        rig = Rig(tmp_path)
        rig.book()
        rig.drop("one.yaml", SINGLE)
        async with rig.runner():
            await asyncio.sleep(5)
            [order] = rig.rows("SELECT order_id FROM orders")
            assert rig.reconciler is not None
            assert rig.exchange.cancel(order["order_id"], SIGNER.address)
            rig.reconciler.on_report(
                OrderReport(order["order_id"], ReportStatus.CANCELLED, Decimal(30))
            )
            await asyncio.sleep(5)
            ended = rig.row("SELECT * FROM orders WHERE order_id = ?", order["order_id"])
            assert (ended["state"], ended["filled"]) == ("cancelled", 0.0)
            assert rig.rows("SELECT * FROM open_orders")  # and the job shows its size anew
        assert not rig.agreement().differences

    run(main())

"""One plan, dropped into the folder, trades to completion on the real exchange, in virtual time."""

import asyncio
from pathlib import Path

from tests.simulation.rig import Rig
from tests.virtual_time import run

SINGLE = """
version: 1
plan: one
market: {slug: rain-tomorrow, outcome: "Yes"}
jobs:
  buy:
    side: buy
    total_shares: 30
    limit_price: 0.51
    time_window_minutes: 10
"""

TWAP = """
version: 1
plan: quiet
market: {slug: rain-tomorrow, outcome: "Yes"}
jobs:
  build:
    side: buy
    total_shares: 60
    limit_price: 0.54
    time_window_minutes: 5
    split: {strategy: twap, slices: 6}
    quote: {style: top_bidder}
"""


def test_a_single_order_rests_is_filled_in_parts_and_completes(tmp_path: Path) -> None:
    async def main() -> None:
        rig = Rig(tmp_path)
        rig.book()
        rig.drop("one.yaml", SINGLE)
        async with rig.runner(until_done=True) as task:
            await asyncio.sleep(5)
            assert rig.row("SELECT state, size FROM orders") == {"state": "live", "size": 30.0}
            rig.house("sell", "0.51", "12", take=True)
            await asyncio.sleep(1)
            assert rig.row("SELECT state, filled FROM orders") == {
                "state": "partially_filled",
                "filled": 12.0,
            }
            rig.house("sell", "0.40", "18", take=True)
            await asyncio.wait_for(task, 600)
        assert rig.row("SELECT state, reason FROM plans")["state"] == "completed"
        assert rig.row("SELECT filled_shares, average_price FROM jobs") == {
            "filled_shares": 30.0,
            "average_price": 0.51,
        }
        assert rig.row("SELECT shares, settled_shares, average_entry_price FROM positions") == {
            "shares": 30.0,
            "settled_shares": 30.0,
            "average_entry_price": 0.51,
        }
        assert not rig.agreement().differences

    run(main())


def test_twap_under_a_top_bidder_stays_best_and_never_pays_more(tmp_path: Path) -> None:
    async def main() -> None:
        rig = Rig(tmp_path)
        rig.book()
        rig.drop("quiet.yaml", TWAP)
        takers = asyncio.create_task(rig.takers())
        await rig.until_done(1200)
        takers.cancel()
        job = rig.row("SELECT * FROM jobs")
        assert job["state"] == "completed", job
        assert job["average_price"] <= 0.54
        prices = [row["price"] for row in rig.rows("SELECT price FROM orders")]
        assert max(prices) <= 0.54
        assert rig.row("SELECT SUM(planned) AS total FROM slice")["total"] == 60_000_000
        assert not rig.agreement().differences

    run(main())

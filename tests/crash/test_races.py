"""Fills that race with cancels, while frames get lost and the runner is killed at random steps."""

import asyncio
import os
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from runner.store import Latch
from tests.crash.world import TWAP, CrashRig
from tests.virtual_time import now, run

BUSY = TWAP.replace("total_shares: 20", "total_shares: 120").replace("0.54\n", "0.70\n", 1)
LATE = """
version: 1
plan: late
market: {slug: rain-tomorrow, outcome: "Yes"}
jobs:
  bid: {side: buy, total_shares: 30, limit_price: 0.45, time_window_minutes: 5}
"""


async def _outbid_and_hit(rig: CrashRig, chance: Random) -> None:
    """Others who outbid us, and sell to us just as our cancel is on its way."""
    rig.house("sell", "0.80", "500")
    while True:
        await asyncio.sleep(chance.uniform(0.3, 1.5))
        best = max((o.price for o in rig.witness.orders.values() if o.status == "LIVE"), default=0)
        if best and best < 690_000:
            rig.house("buy", str(Decimal(best + 10_000) / 1_000_000), "2")
        await asyncio.sleep(chance.uniform(0, 0.16))
        rig.house("sell", "0.40", str(chance.randrange(3, 9)), take=True)


async def _race(folder: Path, seed: int) -> None:
    chance = Random(seed)
    folder.mkdir()
    rig = CrashRig(folder, seed=seed, latency=lambda: 0.05, plans_text=(BUSY,))
    rig.fault("drop_frames", rate=chance.choice([0, 0.5, 0.9]))
    rig.fault("lose_answer", method="POST", path="/order", rate=0.1)
    others = asyncio.create_task(_outbid_and_hit(rig, chance))
    for _ in range(chance.randrange(3)):
        await rig.killed(chance.randrange(40, 250))
        rig.check()
    await rig.to_the_end()
    others.cancel()
    await rig.settled()


@pytest.mark.parametrize("seed", range(10))
def test_fills_that_race_with_cancels(folder: Path, seed: int) -> None:
    run(_race(folder / "race", seed))


@pytest.mark.soak
def test_many_fills_that_race_with_cancels(folder: Path) -> None:
    for seed in range(10, 10 + int(os.environ.get("SEEDS", "100"))):
        run(_race(folder / str(seed), seed))


def test_an_order_that_arrives_after_a_halt_is_cancelled(folder: Path) -> None:
    """Halted while an order hangs on its way: it is taken out as soon as it arrives (I14)."""

    async def main() -> None:
        rig = CrashRig(folder, plans_text=(LATE,))
        rig.fault("delay_request", method="POST", path="/order", seconds=40, hang=True)
        async with rig.runner():
            await asyncio.sleep(3)
            assert rig.row("SELECT state FROM orders") == {"state": "submitting"}
            Latch(rig.state).set("a test", now())
            await asyncio.sleep(30)
            assert rig.witness.witnessed == set()
            await asyncio.sleep(90)
            assert len(rig.witness.witnessed) == 1
            assert [order["status"] for order in rig.ledger()["orders"]] == ["CANCELED"]
            assert rig.row("SELECT state, filled FROM orders") == {
                "state": "cancelled",
                "filled": 0.0,
            }
        rig.check()
        assert not rig.agreement().differences

    run(main())

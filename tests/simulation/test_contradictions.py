"""A fact that contradicts what is recorded: trading stops; cancels and observing go on."""

import asyncio
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from runner.core.errors import InvariantBroken
from runner.core.model import Liquidity, Side, TradeReport, TradeState
from runner.plan_folder import PlanFolder
from runner.reconciler import Config
from runner.reconciler.plans import Plans
from runner.store import Latch, Store
from tests.simulation.rig import Rig, job, plan, simulated
from tests.virtual_time import now

LIVE = "SELECT 1 FROM orders WHERE state = 'live'"
HALTED = "SELECT 1 FROM alerts WHERE code = 'TRADING_HALTED'"
CONTRADICTS = "SELECT message FROM alerts WHERE code = 'FACT_CONTRADICTS'"
NONE_OPEN = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM open_orders)"
ENDED = "SELECT 1 FROM plans WHERE ended_at IS NOT NULL"
ONE = plan("one", {"buy": job()})


def impossible(rig: Rig, name: str = "impossible") -> TradeReport:
    """A sale, under the id of our buy."""
    row = rig.row("SELECT order_id, token_id FROM orders ORDER BY submitted_at LIMIT 1")
    return TradeReport(
        trade_id=name,
        order_id=row["order_id"],
        token_id=row["token_id"],
        side=Side.SELL,
        price=Decimal("0.50"),
        size=Decimal(5),
        state=TradeState.MATCHED,
        liquidity=Liquidity.MAKER,
        matched_at=now(),
    )


async def finish(rig: Rig) -> None:
    """Unhalt, and sell what the job still wants."""
    assert (await rig.ask("unhalt")).done
    await rig.until(LIVE)
    rig.hit("30")
    await rig.until(ENDED)
    assert rig.value("SELECT filled_shares FROM jobs") == 30


@simulated
async def test_it_halts_and_cancels_and_the_runner_lives_to_meet_it_again(rig: Rig) -> None:
    async with rig.runner() as task:
        rig.drop("one.yaml", ONE)
        await rig.until(LIVE)
        assert rig.reconciler is not None
        for n in range(3):
            rig.reconciler.on_report(impossible(rig, f"impossible-{n}"))
            await rig.until(f"SELECT 1 FROM ({CONTRADICTS}) WHERE message LIKE '%-{n} %'")
            await asyncio.sleep(0.25)
            assert not rig.rows("SELECT 1 FROM open_orders")
            assert Latch(rig.state).is_set()
            assert not task.done()
        assert not [o for o in rig.ledger()["orders"] if o["status"] == "LIVE"]
        await finish(rig)


@simulated
async def test_the_other_facts_of_its_pass_are_booked(rig: Rig) -> None:
    async with rig.runner():
        rig.drop("one.yaml", ONE)
        await rig.until(LIVE)
        assert rig.reconciler is not None
        assert rig.venue is not None
        rig.fault("drop_frames")
        rig.hit("12", "0.51")
        [trade] = await rig.venue.trades(now() - timedelta(minutes=1))
        rig.reconciler.on_report(impossible(rig))
        rig.reconciler.on_report(trade)
        await asyncio.sleep(0.01)
        assert rig.rows(CONTRADICTS)
        assert rig.value("SELECT filled_shares FROM jobs") == 12
        rig.clear_faults()
        await rig.until(NONE_OPEN)
        await finish(rig)


def test_what_an_undone_pass_had_made_of_the_folder_is_forgotten(tmp_path: Path) -> None:
    """A file found missing in a pass that is undone is not missing: nothing withdraws the plan."""
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans/one.yaml").write_text(ONE)
    folder, at = PlanFolder(tmp_path / "plans", settle_s=0), datetime(2026, 11, 24, tzinfo=UTC)
    plans = Plans(Config(), lambda: "seed")
    with closing(Store.open(tmp_path / "runner.db")) as store:
        with store.transaction(at) as tx:
            plans.follow(tx, folder.scan(at), at)
        (tmp_path / "plans/one.yaml").unlink()
        with store.transaction(at) as tx:
            plans.follow(tx, folder.scan(at), at)
        with suppress(InvariantBroken), store.transaction(at) as tx:
            plans.follow(tx, folder.scan(at), at)
            assert plans.due() == [at + timedelta(seconds=300)]
            raise InvariantBroken("something else")
        plans.recover(store.plans())
        assert plans.due() == []

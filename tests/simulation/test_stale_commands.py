"""Requests that nobody waits for any more."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.store import Latch, spool
from tests.simulation.rig import Rig, job, plan, simulated
from tests.virtual_time import now


@simulated
async def test_an_unhalt_asked_before_a_halt_does_not_clear_it(rig: Rig) -> None:
    """Its asker gave up when the runner died; then somebody halted."""
    name = spool.ask(rig.state, "unhalt", "", "an earlier halt was checked", now())
    Latch(rig.state).set("another one", now() + timedelta(seconds=1))
    await asyncio.sleep(3600)
    async with rig.runner():
        rig.drop("one.yaml", plan("one", {"buy": job()}))
        await rig.until("SELECT 1 FROM jobs WHERE reason = 'TRADING_HALTED'")
        assert Latch(rig.state).reason() == "another one"
        answer = spool.answer(rig.state, name)
        assert answer is not None
        assert not answer.done
        assert (await rig.ask("unhalt")).done
        await rig.until("SELECT 1 FROM orders WHERE state = 'live'")


def test_a_latch_that_cannot_be_read_is_newer_than_any_request(tmp_path: Path) -> None:
    latch, at = Latch(tmp_path / "runner.db"), datetime(2026, 11, 24, tzinfo=UTC)
    assert not latch.newer_than(at)
    latch.path.write_text("{", encoding="utf-8")
    assert latch.newer_than(at)

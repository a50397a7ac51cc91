"""No boundary is named in vain: each is in the source, is reached by a run, and survives a kill."""

import ast
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

import runner
from runner.steps import Step
from runner.store import Latch, spool
from tests.crash.world import CrashRig
from tests.simulation.rig import Crashed
from tests.virtual_time import now, run

SOURCE = Path(runner.__file__).parent


def _reached_in_source() -> set[str]:
    """The members of Step inside calls of `reach`."""
    return {
        inner.attr
        for path in SOURCE.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        if call.func.id == "reach"
        for inner in ast.walk(call)
        if isinstance(inner, ast.Attribute)
        and isinstance(inner.value, ast.Name)
        and inner.value.id == "Step"
    }


def test_every_step_is_a_boundary_of_the_source() -> None:
    assert _reached_in_source() == set(Step.__members__)


async def _operator(rig: CrashRig) -> None:
    """Somebody who pauses and resumes a plan, halts trading and lets it go on."""
    await asyncio.sleep(3)
    spool.ask(rig.state, "pause", "queue", "a look", now())
    await asyncio.sleep(3)
    spool.ask(rig.state, "resume", "queue", "looked", now())
    await asyncio.sleep(3)
    with suppress(Crashed):  # the process of `pmrun halt` may be the one that dies
        Latch(rig.state).set("a test", now())
    await asyncio.sleep(6)
    Latch(rig.state).clear()


@asynccontextmanager
async def _scene(folder: Path) -> AsyncIterator[CrashRig]:
    folder.mkdir()
    rig = CrashRig(folder)
    rig.fault("lose_request", method="POST", path="/order", every=2)
    tasks = [asyncio.create_task(rig.sellers()), asyncio.create_task(_operator(rig))]
    yield rig
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_every_step_is_reached_by_a_run(folder: Path) -> None:
    async def main() -> None:
        async with _scene(folder / "one") as rig:
            assert not await rig.killed(10**6)
            await rig.settled()
            assert rig.seen.keys() == set(Step)

    run(main())


@pytest.mark.parametrize("step", Step)
def test_killed_at_each_step_while_an_operator_interferes(folder: Path, step: Step) -> None:
    async def main() -> None:
        async with _scene(folder / "one") as rig:
            crashed = await rig.killed(1, name=step.value)
            assert crashed or step is Step.LATCH_SET  # there the process of `pmrun halt` dies
            assert rig.seen[step] >= 1
            await rig.to_the_end()
            await rig.settled()

    run(main())

"""The runner is killed at its first step, its second, and so on until a run ends unhit.

After each kill a new runner on the same files goes on. At the end nothing is lost, nothing was
ordered twice, and every plan has ended. The same with answers that get lost, and with orders that
arrive after their sender gave up.
"""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from runner import steps
from runner.store import Store
from tests.crash.world import CrashRig
from tests.simulation.rig import Crashed, stop
from tests.virtual_time import run

SHARES = 6
"""A sweep is cut into so many tests, each with every sixth step, so that all cores help."""

FAULTS: dict[str, tuple[dict[str, object], ...]] = {
    "none": (),
    "every third answer lost": (
        {"name": "lose_answer", "method": "POST", "path": "/order", "every": 3},
    ),
    "every answer lost": ({"name": "lose_answer", "method": "POST", "path": "/order"},),
    "every second order late": (
        {"name": "delay_request", "method": "POST", "path": "/order", "every": 2, "seconds": 14},
    ),
    "every second frame and third answer lost": (
        {"name": "drop_frames", "every": 2},
        {"name": "lose_answer", "method": "POST", "path": "/order", "every": 3},
    ),
    "every third order hangs and is late": (
        {
            "name": "delay_request",
            "method": "POST",
            "path": "/order",
            "every": 3,
            "seconds": 25,
            "hang": True,
        },
    ),
}


async def _killed_at(folder: Path, points: tuple[int, ...], faults: str = "none") -> bool:
    """One world, killed at each of `points` in turn; False if a run ended before its point."""
    folder.mkdir()
    rig = CrashRig(folder)
    Store.open(rig.state).close()  # the schema's own steps are swept below
    for fault in FAULTS[faults]:
        rig.fault(str(fault["name"]), **{k: v for k, v in fault.items() if k != "name"})
    others = asyncio.create_task(rig.sellers())
    hit = True
    for n in points:
        hit = hit and await rig.killed(n)
        rig.check()
    if hit:
        await rig.to_the_end()
    others.cancel()
    await rig.settled(run_again=points[0] % 5 == 0)
    return hit


def _sweep(folder: Path, faults: str, first: int, stride: int) -> int:
    n = first
    while run(_killed_at(folder / str(n), (n,), faults)):
        n += stride
    return n


@pytest.mark.parametrize("faults", FAULTS)
def test_a_run_that_nobody_kills_trades(folder: Path, faults: str) -> None:
    async def main() -> None:
        assert not await _killed_at(folder / "two", (10**6,), faults)
        with closing(sqlite3.connect(folder / "two" / "runner.db")) as database:
            filled = dict(database.execute("SELECT plan, filled_shares FROM jobs").fetchall())
            partial = database.execute("SELECT 1 FROM orders WHERE 0 < filled AND filled < size")
            assert filled["quiet"] > 0
            assert filled["queue"] > 0
            assert partial.fetchone()

    run(main())


@pytest.mark.parametrize("share", range(SHARES))
def test_killed_at_every_step_in_turn(folder: Path, share: int) -> None:
    assert _sweep(folder, "none", 1 + share, SHARES) > 150


@pytest.mark.parametrize("faults", [name for name in FAULTS if name != "none"])
def test_killed_at_a_sample_of_steps_with_faults(folder: Path, faults: str) -> None:
    assert _sweep(folder, faults, 5, 17) > 100


@pytest.mark.soak
@pytest.mark.parametrize("faults", [name for name in FAULTS if name != "none"])
@pytest.mark.parametrize("share", range(SHARES))
def test_killed_at_every_step_in_turn_with_faults(folder: Path, faults: str, share: int) -> None:
    assert _sweep(folder, faults, 1 + share, SHARES) > 100


@pytest.mark.parametrize("seed", range(12))
def test_killed_twice(folder: Path, seed: int) -> None:
    chance = Random(seed)
    points = (chance.randrange(1, 180), chance.randrange(1, 60))
    run(_killed_at(folder / "two", points, sorted(FAULTS)[seed % len(FAULTS)]))


@pytest.mark.soak
def test_killed_again_and_again(folder: Path) -> None:
    for seed in range(int(os.environ.get("SEEDS", "100"))):
        chance = Random(seed)
        points = tuple(chance.randrange(1, 100) for _ in range(chance.randrange(2, 8)))
        run(_killed_at(folder / str(seed), points, chance.choice(sorted(FAULTS))))


def test_killed_while_the_database_is_made(folder: Path) -> None:
    whole = folder / "whole.db"
    Store.open(whole).close()
    n = 0
    while True:
        n += 1
        path = folder / f"{n}.db"
        steps.arm(n, stop)
        try:
            Store.open(path).close()
        except Crashed:
            steps.disarm()
        else:
            break
        Store.open(path).close()
        assert _schema(path) == _schema(whole)
    assert steps.disarm()[steps.Step.MIGRATE] == n - 1 > 20


def _schema(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()

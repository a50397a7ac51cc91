"""Real SIGKILLs on real processes, sockets and files: a kill -9 loses nothing."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.e2e.harness import Place, place, plan

WINDOW_MINUTES = 0.25


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path / "world") as made:
        _plans(made)
        yield made


def _plans(world: Place) -> None:
    """A taker in slices, a queue of small orders, and one that rests.

    Their prices are fixed, so an order that a kill kept from being sent is wanted still, and the
    same bytes are sent again. One no longer wanted counts in full until its life is over, an hour
    later: that is swept on virtual time (tests/crash).
    """
    window = {"time_window_minutes": WINDOW_MINUTES}
    slices = {"strategy": "twap", "slices": 9}
    world.drop(
        "build.yaml", plan("build", total_shares=90, limit_price=0.58, **window, split=slices)
    )
    small = {"shares_per_order": 10}
    world.drop(
        "queue.yaml", plan("queue", total_shares=150, limit_price=0.5, **window, quote=small)
    )
    world.drop("rest.yaml", plan("rest", total_shares=80, limit_price=0.4, **window))


def _random_kills(world: Place, seed: int, kills: int) -> None:
    chance = Random(seed)
    done = 0
    while done < kills:
        world.start()
        time.sleep(chance.uniform(0.4, 2.6))
        if not world.kill_runner():
            break
        done += 1
        world.check_exposure()
    world.start()
    assert world.wait(60) == 0, world.logs()
    world.settled()
    assert done >= kills - 1, "the plans ended before the kills"


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments(world: Place, seed: int) -> None:
    _random_kills(world, seed, 5)
    assert world.ledger()["trades"]


@pytest.mark.soak
@pytest.mark.parametrize("share", range(4))
def test_killed_at_random_moments_for_long(tmp_path: Path, share: int) -> None:
    kills = max(100, int(os.environ.get("SEEDS", "100")))
    for seed in range(100 + share, 100 + kills // 5, 4):
        with place(tmp_path / str(seed)) as made:
            _plans(made)
            _random_kills(made, seed, 5)


def test_killed_at_named_steps(world: Place) -> None:
    points = (
        "migrate:7",
        "plan.accepted:1",
        "pass.before_commit:3",
        "post.before_send:1",
        "post.answered:2",
        "outcome.recorded:1",
        "report.received:2",
        "reconcile.read:2",
        "pass.committed:6",
        "cancel.before_send:1",
        "cancel.answered:1",
        "shutdown:1",
    )
    for point in points:
        world.start(stop_at=point)
        assert world.wait(30) == -9, (point, world.logs())
        world.check_exposure()
    world.start()
    assert world.wait(60) == 0, world.logs()
    world.settled()


def test_the_exchange_is_killed_and_the_runner_lives_through_it(world: Place) -> None:
    world.start()
    world.until(lambda: world.ledger()["trades"])
    world.kill_exchange()
    time.sleep(1.5)
    assert world.runner is not None
    assert world.runner.poll() is None, world.logs()
    before = world.rows("SELECT COUNT(*) AS n FROM trade")[0]["n"]
    world.restart_exchange()
    world.check_exposure()
    world.until(lambda: world.rows("SELECT COUNT(*) AS n FROM trade")[0]["n"] > before)
    assert world.wait(60) == 0, world.logs()
    world.settled()

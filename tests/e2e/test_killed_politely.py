"""Clean stops, the emergency stop and the exit codes, with real processes."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Place, place, plan


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path / "world") as made:
        made.drop("rest.yaml", plan("rest", total_shares=50, limit_price=0.05))
        yield made


def _resting(world: Place) -> None:
    world.start(until_done=False)
    world.until(world.live)


def _order_count(world: Place) -> int:
    return len(world.ledger()["orders"])


def _nothing_is_sent(world: Place, for_s: float = 2.5) -> None:
    before = _order_count(world)
    time.sleep(for_s)
    assert _order_count(world) == before
    assert world.live() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_leaves_nothing_live_and_a_restart_goes_on(
    world: Place, number: signal.Signals
) -> None:
    slices = {"strategy": "twap", "slices": 5}
    short = {"total_shares": 50, "limit_price": 0.6, "time_window_minutes": 0.15}
    world.drop("trade.yaml", plan("trade", **short, split=slices))
    _resting(world)
    world.until(lambda: world.ledger()["trades"])
    began = time.monotonic()
    world.signal(number)
    assert world.wait(10) == 0, world.logs()
    assert time.monotonic() - began < 10
    assert world.live() == []
    assert world.rows("SELECT * FROM open_orders") == []
    assert not world.agreement().differences
    states = {row["plan"]: row["state"] for row in world.rows("SELECT plan, state FROM plans")}
    assert states == {"rest": "running", "trade": "running"}
    world.start()
    world.until(world.live)
    (world.plans / "rest.yaml").write_text(plan("rest", total_shares=50, limit_price=0.6))
    assert world.wait(40) == 0, world.logs()
    world.settled()


def test_halt_with_a_runner_alive_lasts_over_a_restart(world: Place) -> None:
    _resting(world)
    done = world.command("halt", "--reason", "a test")
    assert done.returncode == 0, done
    assert world.live() == []
    _nothing_is_sent(world)
    world.kill_runner()
    world.start(until_done=False)
    world.until(lambda: "runner started" in world.logs())
    _nothing_is_sent(world)
    assert world.command("unhalt", "--reason", "seen").returncode == 0
    world.until(world.live)
    world.signal(signal.SIGTERM)
    assert world.wait(10) == 0
    assert not world.agreement().differences


def test_halt_with_the_runner_dead(world: Place) -> None:
    _resting(world)
    world.kill_runner()
    assert len(world.live()) == 1
    assert world.command("halt", "--reason", "nobody watches").returncode == 0
    assert world.live() == []
    assert world.command("unhalt", "--reason", "seen").returncode == 0
    world.start(until_done=False)
    world.until(world.live)


def test_halt_with_the_runner_stopped_in_its_tracks(world: Place) -> None:
    _resting(world)
    world.signal(signal.SIGSTOP)
    assert world.command("halt", "--reason", "it hangs").returncode == 0
    assert world.live() == []
    world.signal(signal.SIGCONT)
    _nothing_is_sent(world)
    world.signal(signal.SIGTERM)
    assert world.wait(10) == 0
    assert world.rows("SELECT * FROM open_orders") == []
    assert not world.agreement().differences


def test_halt_without_an_exchange_is_4_and_holds_all_the_same(world: Place) -> None:
    _resting(world)
    world.kill_runner()
    world.kill_exchange()
    done = world.command("halt", "--reason", "out of reach")
    assert done.returncode == 4, done
    world.restart_exchange()
    world.start(until_done=False)
    world.until(lambda: world.live() == [])
    _nothing_is_sent(world)
    assert world.command("halt", "--reason", "once more").returncode == 0


def test_a_second_runner_on_a_database_is_refused_with_3(world: Place) -> None:
    _resting(world)
    first = world.runner
    assert first is not None
    world.start()
    assert world.wait(10) == 3
    assert f"pid {first.pid}" in world.logs()
    world.runner = first
    assert len(world.live()) == 1
    assert first.poll() is None

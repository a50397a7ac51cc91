"""What a user may get wrong, as real processes: never a traceback, never a word that is not so."""

import json
import os
import secrets
import shutil
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from runner.store import Latch, Store
from runner.venue.signing import Signer

SCRIPT = Path(sys.executable).with_name("pmrun")
SCENARIO = """\
version: 1
markets:
  - slug: still
    question: Does nothing move here?
    tick: 0.01
    book: {bids: {0.40: 100}, asks: {0.60: 100}}
"""
PLAN = """\
version: 1
plan: rest-low
market: {slug: still, outcome: "Yes"}
jobs:
  rest: {side: buy, total_shares: 20, limit_price: 0.30}
"""
STATE = Path("state/runner.db")


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PMRUN_")]:
        monkeypatch.delenv(name)


def _run(
    *arguments: str, code: int, key: SecretStr | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=_environment(key),
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done
    return done


def _environment(key: SecretStr | None) -> dict[str, str]:
    signs = {} if key is None else {"PMRUN_PRIVATE_KEY": key.get_secret_value()}
    return {**os.environ, "PMRUN_RECONCILE__FULL_RECONCILE_SECONDS": "1", **signs}


class Place:
    """A quiet exchange with two funded accounts, and a runner of the first with one live order."""

    def __init__(self) -> None:
        Path("scenario.yaml").write_text(SCENARIO)
        Path("plans").mkdir()
        Path("plans/rest.yaml").write_text(PLAN)
        self.keys = [SecretStr("0x" + secrets.token_hex(32)) for _ in range(2)]
        command = [str(SCRIPT), "exchange", "--port", "0", "--scenario", "scenario.yaml"]
        self.exchange = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.exchange.stdout is not None
        self.url = json.loads(self.exchange.stdout.readline())["url"]
        for key in self.keys:
            account = {"address": Signer(key, 137).address, "cash": "1000", "tokens": {}}
            self._call("accounts", json.dumps(account).encode())
        with Path("up.err").open("wb") as log:
            self.runner = subprocess.Popen(
                [SCRIPT, "up", "--exchange", self.url],
                env=_environment(self.keys[0]),
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 20
        while not self.live():
            assert time.monotonic() < deadline, Path("up.err").read_text()
            time.sleep(0.05)

    def _call(self, name: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(f"{self.url}/_exchange/{name}", body)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def live(self) -> list[str]:
        """The orders in the book, whoever's."""
        return [o["order_id"] for o in self._call("ledger")["orders"] if o["status"] == "LIVE"]

    def kill_runner(self) -> None:
        """SIGKILL: its order stays in the book."""
        self.runner.kill()
        self.runner.wait()

    def close(self) -> None:
        """End both processes."""
        for process in (self.runner, self.exchange):
            process.kill()
            process.wait()
        assert self.exchange.stdout is not None
        self.exchange.stdout.close()


@pytest.fixture
def place(_own_place: None) -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


def test_only_the_accounts_own_key_says_that_nothing_is_live(place: Place) -> None:
    """Another account's open orders are none of ours: that list is empty, and proves nothing."""
    place.kill_runner()
    for key in (None, place.keys[1]):
        for command in (("halt", "--reason", "now"), ("cancel", "--all")):
            done = _run(*command, code=3, key=key)
            assert Signer(place.keys[0], 137).address in done.stderr
            assert "no order of ours" not in done.stderr
    assert Latch(STATE).is_set()
    assert len(place.live()) == 1
    _run("halt", "--reason", "now", code=0, key=place.keys[0])
    assert place.live() == []


def test_a_database_trades_for_one_account_only(place: Place) -> None:
    """To another account the order would look gone, and be placed a second time."""
    place.kill_runner()
    arguments = ("up", "--until-done", "--exchange", place.url)
    done = _run(*arguments, code=3, key=place.keys[1])
    assert all(Signer(key, 137).address in done.stderr for key in place.keys)
    assert _run("up", "--until-done", code=3).stderr.startswith(str(STATE))  # the paper account
    assert len(place.live()) == 1
    _run("halt", "--reason", "it still names its exchange", code=0, key=place.keys[0])
    assert place.live() == []


def test_a_runner_whose_database_is_taken_away_stops_and_leaves_nothing_live(place: Place) -> None:
    STATE.rename("elsewhere.db")
    assert place.runner.wait(20) == 1
    assert place.live() == []
    assert "removed or replaced" in Path("up.err").read_text()
    assert "Traceback" not in Path("up.err").read_text()


def test_broken_settings_do_not_keep_halt_from_latching() -> None:
    Path("runner.yaml").write_text("risk: {max_daily_loss: much}\n")
    done = _run("halt", "--reason", "now", code=2)
    assert Latch(STATE).is_set()
    assert "runner.yaml:1:8: risk.max_daily_loss" in done.stderr
    Path("runner.yaml").unlink()
    _run("cancel", "--all", code=0)
    _run("unhalt", "--reason", "mended", code=0)
    assert not Latch(STATE).is_set()


@pytest.mark.parametrize("record", ["{bad", "[]"])
def test_a_spoilt_record_of_the_exchange_is_said(record: str) -> None:
    Store.open(STATE).close()
    STATE.with_name("exchange.json").write_text(record)
    assert json.loads(_run("status", "--json", code=0).stdout)["runner"]["exchange"] is None
    for command in (("halt", "--reason", "now"), ("up",)):
        assert "exchange.json: does not name an exchange" in _run(*command, code=4).stderr
    assert Latch(STATE).is_set()


def test_what_is_no_key_no_settings_or_no_database_is_said() -> None:
    STATE.mkdir(parents=True)
    assert _run("up", code=1).stderr == f"{STATE}: Is a directory\n"
    STATE.rmdir()
    STATE.with_name("paper.key").write_text("my key")
    assert "paper.key: holds no key" in _run("up", code=3).stderr
    Path("runner.yaml").mkdir()
    assert "is not a file" in _run("up", code=2).stderr
    shutil.rmtree("runner.yaml")
    Path(".env").write_bytes(b"PMRUN_PRIVATE_KEY=\xff")
    Path(".env").chmod(stat.S_IRUSR)
    assert _run("up", code=2).stderr == ".env: is not UTF-8 text\n"

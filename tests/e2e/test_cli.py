"""The command as people run it: a real process each time, on real files and a real exchange."""

import contextlib
import functools
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from runner import cli
from runner.core.errors import SafetyRefusal
from runner.report import status
from runner.settings import Settings
from runner.store import Latch, RunnerLock, open_readonly
from tests.report import sample

PROJECT = Path(__file__).parents[2]
SCRIPT = Path(sys.executable).with_name("pmrun")
COMMANDS = sorted(typer.main.get_group(cli.app).commands)
PLAN = """\
version: 1
plan: rest-low
market: {slug: will-it-rain-in-lisbon-on-new-years-eve, outcome: "Yes"}
jobs:
  rest: {side: buy, total_shares: 20, limit_price: 0.05}
"""


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PMRUN_")]:
        monkeypatch.delenv(name)


def _run(*arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [SCRIPT, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    if code is not None:
        assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    return done


def test_the_commands_are_those_of_this_release() -> None:
    released = (
        "cancel exchange halt market pause record report resume schema status unhalt up validate"
    )
    assert released.split() == COMMANDS


@functools.cache
def _help(command: str) -> tuple[str, str]:
    """The help of one command: what is before its examples, and the examples."""
    before, _, examples = _run(command, "--help").stdout.partition("Example")
    return before, examples


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    before, text = _help(command)
    examples = re.findall(r"^    (pmrun .+)$", text, re.MULTILINE)
    assert examples
    assert all(example.split()[1] == command for example in examples)
    assert set(re.findall(r"--[a-z-]+", text)) <= set(re.findall(r"--[a-z-]+", before))


def test_the_operations_guide_documents_every_command_and_option() -> None:
    text = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"`pmrun {command}" in text
        options = set(re.findall(r"--[a-z-]+", _help(command)[0]))
        section = re.split(rf"^### `pmrun {command}\b.*$", text, flags=re.MULTILINE)[1]
        section = re.split(r"^##", section, flags=re.MULTILINE)[0]
        assert options - {"--help"} <= set(re.findall(r"--[a-z-]+", section)), command


def test_commands_in_the_documents_exist() -> None:
    for name in ("README.md", "docs/operations.md"):
        text = (PROJECT / name).read_text(encoding="utf-8")
        named = re.findall(r"(?:`|^ *|\$ |/)pmrun ([a-z]+)", text, re.MULTILINE)
        assert named
        assert set(named) <= set(COMMANDS)


def test_the_example_queries_of_the_guide_run(tmp_path: Path) -> None:
    state = sample.build(tmp_path / "runner.db")
    text = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    queries = re.findall(r"```sql\n(.+?)```", text, re.DOTALL)
    assert len(queries) >= 4
    connection = open_readonly(state)
    for block in queries:
        for query in block.split(";"):
            connection.execute(query).fetchall()
    connection.close()


def test_the_first_plan_of_the_readme_is_valid() -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    [plan] = re.findall(r"```yaml\n(.+?)```", text, re.DOTALL)
    Path("first.yaml").write_text(plan)
    done = _run("validate", "first.yaml")
    assert done.stdout == done.stderr == ""


# exit codes


def test_usage_and_input_mistakes_are_2_and_say_where(tmp_path: Path) -> None:
    assert "No such option" in _run("up", "--nope", code=2).stderr
    assert "no such command" in _run("frobnicate", code=2).stderr.lower()
    assert "write embedded" in _run("up", "--exchange", "ftp", code=2).stderr
    assert "--all" in _run("cancel", code=2).stderr
    assert "there is no such file" in _run("validate", "missing.yaml", code=2).stderr
    assert "no such packaged scenario" in _run("exchange", "--scenario", "nope", code=2).stderr
    Path("runner.yaml").write_text("risk:\n  max_order_sise: 3\n")
    Path("runner.yaml").chmod(0o600)
    refused = _run("status", code=2).stderr
    assert refused.startswith("runner.yaml:2:3: risk.max_order_sise: ")


def test_what_is_unsafe_is_3(tmp_path: Path) -> None:
    assert "live trading is not open" in _run("up", "--exchange", "polymarket", code=3).stderr
    assert "loopback" in _run("up", "--exchange", "https://clob.example.com", code=3).stderr
    assert "no state database" in _run("status", code=3).stderr
    Path("other.db").write_text("this is no database, and long enough to look like a page" * 99)
    assert "other.db" in _run("status", "--state", "other.db", code=3).stderr
    Path(".env").write_text("PMRUN_LOGGING__LEVEL=info\n")
    Path(".env").chmod(0o644)
    assert "chmod 600 .env" in _run("up", code=3).stderr
    Path(".env").unlink()
    Path("state").mkdir()
    lock = RunnerLock.acquire(Path("state/runner.db"))
    try:
        assert "another runner" in _run("up", code=3).stderr
    finally:
        lock.release()


@pytest.mark.parametrize("command", ["pause", "resume", "cancel"])
def test_asking_without_a_runner_is_1_and_leaves_nothing_behind(command: str) -> None:
    sample.build(Path("runner.db"))
    before = sorted(path.name for path in Path().iterdir())
    refused = _run(command, "twap-up", "--state", "runner.db", code=1).stderr
    assert "no runner is running" in refused
    assert sorted(path.name for path in Path().iterdir()) == before


def test_an_exchange_out_of_reach_is_4() -> None:
    assert _run("market", "x", "--exchange", "http://127.0.0.1:9", code=4).stderr


# documents on stdout, messages on stderr


def test_validate_says_what_is_wrong_and_where() -> None:
    Path("good.yaml").write_text(PLAN)
    Path("bad.yaml").write_text(PLAN.replace("0.05", "5c").replace("side", "sied"))
    iceberg = "limit_price: 0.05, split: {strategy: iceberg, display_size: 5}"
    Path("later.yaml").write_text(PLAN.replace("limit_price: 0.05", iceberg))
    assert _run("validate", "good.yaml").stdout == ""
    lines = _run("validate", "bad.yaml", code=2).stdout.splitlines()
    assert len(lines) == 3
    assert all(re.match(r"bad\.yaml:5:\d+: jobs\.rest(\.\w+)?: .", line) for line in lines)
    later = _run("validate", "later.yaml")
    assert later.stdout == ""
    assert "not available yet" in later.stderr
    found = json.loads(_run("validate", ".", "--json", code=2).stdout)
    assert not found["valid"]
    assert {p["path"] for p in found["problems"]} == {"bad.yaml"}
    assert {p["path"] for p in found["not_available_yet"]} == {"later.yaml"}


def test_json_is_one_document_and_nothing_else() -> None:
    state = str(sample.build(Path("runner.db")))
    for arguments in (["status"], ["report"], ["report", "twap-up"]):
        done = _run(*arguments, "--json", "--state", state)
        assert isinstance(json.loads(done.stdout), dict)
        assert done.stderr == ""
    assert json.loads(_run("schema").stdout)["properties"]["jobs"]
    both = _run("report", "--json", "--html", "out.html", "--state", state)
    assert json.loads(both.stdout)["jobs"]
    assert both.stderr == "wrote out.html\n"
    assert Path("out.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_tables_are_not_cut_when_piped() -> None:
    state = str(sample.build(Path("runner.db")))
    assert "OUTBID: best 0.52, ours 0.51" in _run("status", "--state", state).stdout
    assert "…" not in _run("report", "--state", state).stdout


def test_help_answers_at_once() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "from runner.cli import main; main()",
               "--help"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    heavy = ("pydantic", "aiohttp", "rich", "structlog", "runner.app", "runner.store")
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "runner.cli" in loaded
    assert not [name for name in loaded if name.startswith(heavy)]


# with a runner and an exchange


class World:
    """A runner in a process of its own, and the embedded exchange that it starts."""

    def __init__(self) -> None:
        Path("plans").mkdir()
        Path("plans/rest.yaml").write_text(PLAN)
        self.runner: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with Path("up.err").open("ab") as errors:
            self.runner = subprocess.Popen([SCRIPT, "up"], stderr=errors)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.runner is not None
        self.runner.send_signal(number)
        return self.runner.wait(timeout=20)

    def status(self) -> dict[str, Any]:
        """As `pmrun status --json` has it, without the price of a process."""
        state = Path("state/runner.db")
        with contextlib.closing(open_readonly(state)) as connection:
            return status.read(connection, state, Settings().limits(), datetime.now(UTC))

    def live_at_the_exchange(self) -> int:
        """By the exchange's own ledger of truth."""
        url = json.loads(Path("state/exchange.json").read_text())["url"]
        with urllib.request.urlopen(f"{url}/_exchange/ledger", timeout=10) as answer:
            ledger = json.load(answer)
        owner = json.loads(Path("state/exchange.json").read_text())["account"].lower()
        return sum(
            order["owner"].lower() == owner and order["closed_at"] is None
            for order in ledger["orders"]
        )

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 25
        while time.monotonic() < deadline:
            with contextlib.suppress(SafetyRefusal, sqlite3.OperationalError):  # not there yet
                found = self.status()
                if holds(found):
                    return found
            time.sleep(0.02)
        raise AssertionError(Path("up.err").read_text()[-3000:])


@pytest.fixture
def world(_own_place: None) -> Iterator[World]:
    made = World()
    made.start()
    yield made
    if made.runner is not None and made.runner.poll() is None:
        made.runner.kill()
        made.runner.wait()
    record = Path("state/exchange.json")
    if record.exists():
        os.kill(json.loads(record.read_text())["pid"], signal.SIGTERM)


def _live(status: dict[str, Any]) -> list[str]:
    return [o["order_id"] for o in status["open_orders"] if o["state"] == "live"]


def _job(status: dict[str, Any]) -> str:
    return str(status["jobs"][0]["state"])


def test_pause_resume_cancel_halt_on_a_running_runner(world: World) -> None:
    first = world.until(lambda s: len(_live(s)) == 1)
    assert world.runner is not None
    assert first["runner"]["running_pid"] == world.runner.pid
    assert first["runner"]["exchange"].startswith("http://127.0.0.1:")

    _run("pause", "rest-low/rest")
    world.until(lambda s: _job(s) == "paused" and not s["open_orders"])
    _run("resume", "rest-low/rest")
    again = world.until(lambda s: len(_live(s)) == 1)
    assert _live(again) != _live(first)

    _run("cancel", _live(again)[0])
    world.until(lambda s: _job(s) == "paused" and not s["open_orders"])
    _run("resume", "rest-low/rest")
    world.until(lambda s: len(_live(s)) == 1)

    _run("cancel", "--all")
    world.until(lambda s: not s["open_orders"] and s["plans"][0]["state"] == "paused")
    _run("resume", "rest-low")
    world.until(lambda s: len(_live(s)) == 1)

    _run("halt", "--reason", "a test")
    halted = world.until(lambda s: not s["open_orders"])
    assert halted["runner"]["halt_reason"] == "a test"
    _run("unhalt", "--reason", "seen enough")
    world.until(lambda s: len(_live(s)) == 1)

    unknown = _run("pause", "no-such-plan", code=1).stderr
    assert "no-such-plan" in unknown
    _run("cancel", "rest-low")
    world.until(lambda s: s["plans"][0]["state"] == "withdrawn")
    assert world.stop() == 0
    assert json.loads(_run("report", "--json").stdout)["jobs"][0]["filled_shares"] == 0


def test_market_shows_what_a_plan_needs(world: World) -> None:
    token = world.until(lambda s: len(_live(s)) == 1)["open_orders"][0]["token_id"]
    slug = "will-it-rain-in-lisbon-on-new-years-eve"
    found = json.loads(_run("market", slug, "--json").stdout)
    assert [token["outcome"] for token in found["tokens"]] == ["Yes", "No"]
    assert found["tokens"][0]["token_id"] == token
    assert found["tick"] == "0.01"
    shown = _run("market", found["tokens"][1]["token_id"]).stdout
    assert slug in shown
    assert token in shown


def test_halt_and_cancel_all_work_without_a_runner(world: World) -> None:
    world.until(lambda s: len(_live(s)) == 1)
    assert world.stop(signal.SIGKILL) == -signal.SIGKILL
    assert world.live_at_the_exchange() == 1
    _run("cancel", "--all")
    assert world.live_at_the_exchange() == 0
    world.start()
    world.until(lambda s: not s["open_orders"] and s["plans"][0]["state"] == "paused")
    _run("resume", "rest-low")
    world.until(lambda s: len(_live(s)) == 1)
    assert world.stop(signal.SIGKILL) == -signal.SIGKILL

    _run("halt", "--reason", "no runner")
    assert world.live_at_the_exchange() == 0
    assert Latch(Path("state/runner.db")).reason() == "no runner"
    assert world.status()["runner"]["halt_reason"] == "no runner"
    _run("unhalt", "--reason", "fine")
    assert not Latch(Path("state/runner.db")).is_set()

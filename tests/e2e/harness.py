"""A runner and an exchange as processes of their own, to be killed by tests."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from runner.report.agreement import Agreement, compare
from runner.store import open_readonly
from tests.venue.world import KEY, SIGNER

SCENARIO = Path(__file__).with_name("busy.yaml")
ENDED = {"completed", "withdrawn", "expired", "failed"}
SETTINGS = {
    "PMRUN_PRIVATE_KEY": KEY.get_secret_value(),
    "PMRUN_RECONCILE__RESCAN_SECONDS": "1",
    "PMRUN_RECONCILE__FULL_RECONCILE_SECONDS": "2",
    "PMRUN_RECONCILE__REQUEST_TIMEOUT_SECONDS": "2",
}

Rows = Callable[[str], list[dict[str, Any]]]


def plan(name: str, **job: object) -> str:
    """A plan file of one job on the busy market."""
    document = {
        "version": 1,
        "plan": name,
        "market": {"slug": "busy", "outcome": "Yes"},
        "jobs": {"work": {"side": "buy", **job}},
    }
    return json.dumps(document)  # JSON is YAML


class Place:
    """One folder with plans, state and an exchange; runners come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plans = folder / "plans"
        self.plans.mkdir(parents=True)
        self.state = folder / "state" / "runner.db"
        self.state.parent.mkdir()
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("PMRUN_")}
        self.environment |= SETTINGS
        self.runner: subprocess.Popen[bytes] | None = None
        self.exchange = self._exchange(0)
        assert self.exchange.stdout is not None
        self.url = str(json.loads(self.exchange.stdout.readline())["url"])

    # the exchange

    def _exchange(self, port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "runner.exchange", "--port", str(port)]
        command += ["--state", str(self.state.with_name("exchange.db"))]
        command += ["--scenario", str(SCENARIO)]
        with self.folder.joinpath("exchange.log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=log
            )

    def kill_exchange(self) -> None:
        """SIGKILL: what it had committed is all that stays."""
        _end(self.exchange, signal.SIGKILL)

    def restart_exchange(self) -> None:
        """The same exchange, on the same port and state."""
        self.exchange = self._exchange(int(self.url.rpartition(":")[2]))
        assert self.exchange.stdout is not None
        assert self.exchange.stdout.readline(), self.logs()

    def ledger(self) -> dict[str, Any]:
        """The exchange's own truth about our account."""
        path = f"{self.url}/_exchange/ledger?owner={SIGNER.address}"
        with urllib.request.urlopen(path, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def live(self) -> list[str]:
        """Our orders that are in the book."""
        return [o["order_id"] for o in self.ledger()["orders"] if o["status"] == "LIVE"]

    # the runner

    def drop(self, name: str, text: str) -> None:
        """Put a plan file into the folder, whole."""
        temporary = self.plans / f".{name}.new"
        temporary.write_text(text, encoding="utf-8")
        temporary.rename(self.plans / name)

    def start(self, *, until_done: bool = True, stop_at: str | None = None) -> None:
        """`pmrun up`, in a process of its own."""
        command = [sys.executable, "-m", "runner", "up", "--exchange", self.url]
        command += ["--plans", str(self.plans), "--state", str(self.state)]
        command += ["--until-done"] if until_done else []
        more = {} if stop_at is None else {"PMRUN_STOP_AT": stop_at}
        with self.folder.joinpath("up.log").open("ab") as log:
            self.runner = subprocess.Popen(
                command, cwd=self.folder, env=self.environment | more, stdout=log, stderr=log
            )

    def wait(self, within_s: float) -> int:
        """The exit code of the runner, once it ends."""
        assert self.runner is not None
        try:
            return self.runner.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the runner does not end\n{self.logs()}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send the runner a signal."""
        assert self.runner is not None
        self.runner.send_signal(number)

    def kill_runner(self) -> bool:
        """SIGKILL; False if it had ended by itself."""
        assert self.runner is not None
        alive = self.runner.poll() is None
        _end(self.runner, signal.SIGKILL)
        return alive

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another pmrun command on the same database."""
        return subprocess.run(
            [sys.executable, "-m", "runner", *arguments, "--state", str(self.state)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def until(self, holds: Callable[[], object], within_s: float = 20) -> None:
        """Wait for something to be seen."""
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)

    def logs(self) -> str:
        """The end of what both processes wrote."""
        names = ("up.log", "exchange.log")
        return "\n".join(
            f"-- {name}\n" + self.folder.joinpath(name).read_text(encoding="utf-8")[-3000:]
            for name in names
            if self.folder.joinpath(name).exists()
        )

    # what came of it

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """What the database says."""
        with contextlib.closing(open_readonly(self.state)) as connection:
            return [dict(row) for row in connection.execute(sql).fetchall()]

    def agreement(self) -> Agreement:
        """The database against the ledger of truth."""
        with contextlib.closing(open_readonly(self.state)) as connection:
            return compare(connection, self.ledger(), SIGNER.address)

    def check_exposure(self) -> None:
        """Nothing was sent unrecorded, and no job can come to more than its total (I1, I4)."""
        orders = self.ledger()["orders"]  # first: what is recorded later can't be in here
        made = "SELECT 1 FROM sqlite_schema WHERE name = 'child_order'"
        if not self.state.exists() or not self.rows(made):
            assert not orders
            return
        job_of = {
            row["order_id"]: (row["plan"], row["job"])
            for row in self.rows("SELECT order_id, plan, job FROM child_order")
        }
        exposed: dict[tuple[str, str], int] = defaultdict(int)
        for order in orders:
            counted = order["size"] if order["status"] == "LIVE" else order["matched"]
            exposed[job_of[order["order_id"]]] += _micros(counted)
        total = {
            (row["plan"], row["job"]): row["total"]
            for row in self.rows("SELECT plan, job, total FROM job")
        }
        assert all(size <= total[job] for job, size in exposed.items()), (exposed, total)

    def settled(self) -> None:
        """What must hold when every plan has ended and no runner runs."""
        states = {row["plan"]: row["state"] for row in self.rows("SELECT plan, state FROM plans")}
        assert states.keys() == {path.stem for path in self.plans.glob("[a-z]*.yaml")}
        assert set(states.values()) <= ENDED, states
        self.check_exposure()
        assert not self.rows("SELECT * FROM alerts WHERE severity = 'critical'")
        agreement = self.agreement()
        assert not agreement.differences, agreement.differences
        assert self.live() == []
        replayed(self.rows)

    def close(self) -> None:
        """End both processes, however they are."""
        for process in (self.runner, self.exchange):
            if process is not None:
                _end(process, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(number)
    process.wait(10)
    if process.stdout is not None:
        process.stdout.close()


def _micros(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * 1_000_000 + int(part.ljust(6, "0"))


@contextlib.contextmanager
def place(folder: Path) -> Iterator[Place]:
    """A place with its exchange running; every process is ended on leaving."""
    made = Place(folder)
    try:
        yield made
    finally:
        made.close()


def replayed(rows: Rows) -> None:
    """The event log, replayed from its beginning, arrives at the state columns (I20)."""
    reached: dict[tuple[str, str], str] = {}
    for row in rows("SELECT * FROM event WHERE to_state IS NOT NULL ORDER BY seq"):
        key = (row["subject"], row["id"])
        assert reached.get(key) == row["from_state"], row
        reached[key] = row["to_state"]
    columns = {
        (kind, row["id"]): row["state"]
        for kind, ident, table in (
            ("plan", "plan", "plan"),
            ("job", "plan || '/' || job", "job"),
            ("order", "order_id", "child_order"),
            ("trade", "trade_id || '/' || order_id", "trade"),
        )
        for row in rows(f"SELECT {ident} AS id, state FROM {table}")
    }
    assert reached == columns

"""`make demo`: the whole promise in about two minutes, on real parts.

Example plans trade on the embedded exchange against a recorded real market. One plan is edited on
the way, the runner is killed with SIGKILL midway and started again, and at the end the database is
compared with the exchange's own ledger. Nothing here is special to the demo but the scenario: what
runs is `pmrun up` as shipped, in processes of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from runner import app, paper
from runner.core.errors import PmrunError, SafetyRefusal
from runner.report import agreement, cells, execution, page, screen
from runner.store import open_readonly

if TYPE_CHECKING:
    from rich.console import RenderableType

    from runner.paper import Exchange

EXAMPLES = Path("plans/examples")
EDIT_AFTER_S = 25.0
KILL_AFTER_S = 50.0
DOWN_FOR_S = 3.0
GIVE_UP_AFTER_S = 240.0
EDITED = ("accumulate-up.yaml", "total_shares: 300", "total_shares: 330")


def main() -> int:
    """Run the demo; 0 when every plan ended and the database agrees with the ledger."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    if not EXAMPLES.is_dir():
        console.print("run the demo from the project's folder: there are no plans/examples here")
        return 2
    folder = Path("state") / f"demo-{app.now():%Y%m%dT%H%M%SZ}"
    plans, state = folder / "plans", folder / "runner.db"
    shutil.copytree(EXAMPLES, plans)
    console.rule("pmrun demo")
    console.print(f"plans      {len(list(plans.iterdir()))} examples copied to {plans}")
    try:
        exchange = paper.join_embedded(state, scenario="demo")
    except PmrunError as error:
        console.print(str(error))
        return 1
    console.print(f"exchange   {exchange.url}, a recorded real market at seven times its speed")
    try:
        return _trade(console, folder, plans, state, exchange)
    finally:
        if exchange.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(exchange.pid, signal.SIGTERM)


def _trade(console: Console, folder: Path, plans: Path, state: Path, exchange: Exchange) -> int:
    began = time.monotonic()  # noqa: TID251 - the demo paces itself; nothing trades by it
    runner = _start(folder, plans, state)
    console.print(f"runner     pmrun up --plans {plans} --state {state} --until-done")
    edited = killed = False
    with Live(console=console, auto_refresh=False) as live:
        while runner.poll() is None:
            elapsed = time.monotonic() - began  # noqa: TID251
            if elapsed > GIVE_UP_AFTER_S:
                runner.kill()
                console.print(f"gave up after {GIVE_UP_AFTER_S:.0f} s; see {folder / 'logs'}")
                return 1
            if not edited and elapsed > EDIT_AFTER_S:
                edited = _edit(plans)
                live.console.print(f"[{elapsed:3.0f} s] edited {EDITED[0]}: now {EDITED[2]}")
            if not killed and elapsed > KILL_AFTER_S:
                killed = True
                runner.send_signal(signal.SIGKILL)
                runner.wait()
                live.console.print(f"[{elapsed:3.0f} s] the runner was killed with SIGKILL")
                time.sleep(DOWN_FOR_S)
                runner = _start(folder, plans, state)
                live.console.print(f"[{elapsed + DOWN_FOR_S:3.0f} s] the runner was started again")
            live.update(_picture(state, elapsed), refresh=True)
            time.sleep(0.5)
        live.update(_picture(state, time.monotonic() - began), refresh=True)  # noqa: TID251
    if runner.returncode != 0:
        console.print(f"the runner ended with {runner.returncode}; see {folder / 'logs'}")
        return 1
    return _conclude(console, folder, state, exchange)


def _picture(state: Path, elapsed: float) -> RenderableType:
    """What the state database shows now."""
    try:
        with contextlib.closing(open_readonly(state)) as connection:
            shown = screen.progress(connection, app.now())
    except (SafetyRefusal, sqlite3.OperationalError):
        shown = Text("the runner is starting")  # the database, or its views, are not there yet
    return Group(Text(f"{elapsed:4.0f} s", style="bold"), shown)


def _start(folder: Path, plans: Path, state: Path) -> subprocess.Popen[bytes]:
    log = folder / "logs" / "runner.out"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "runner", "up", "--until-done"]
    command += ["--plans", str(plans), "--state", str(state)]
    with log.open("ab") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)  # noqa: S603


def _edit(plans: Path) -> bool:
    """Change a total, the way an editor saves: a new file renamed into place."""
    name, before, after = EDITED
    text = (plans / name).read_text("utf-8")
    temporary = plans / f".{name}.new"
    temporary.write_text(text.replace(before, after), "utf-8")
    temporary.rename(plans / name)
    return True


def _conclude(console: Console, folder: Path, state: Path, exchange: Exchange) -> int:
    """What was filled at what price, and whether the two sides agree."""
    with contextlib.closing(open_readonly(state)) as connection:
        found = execution.read(connection)
        html = folder / "report.html"
        html.write_text(page.render(found, app.now()), encoding="utf-8")
        address = json.loads((state.parent / "exchange.json").read_text("utf-8"))["account"]
        verdict = agreement.compare(connection, paper.ledger(exchange.url, address), address)
        console.print(_summary(found))
    console.print(f"database   {state}   (sqlite3 {state} 'SELECT * FROM timeline')")
    console.print(f"report     {html}")
    for difference in verdict.differences:
        console.print(f"  {difference}")
    console.print(Panel(str(verdict), expand=False))
    return 0 if not verdict.differences else 1


def _summary(found: execution.Report) -> Table:
    """What each job filled, at what price against its arrival and its limit."""
    table = cells.table("job", "ended", ">filled", ">average", ">arrival", ">limit", ">fills")
    for job in found.jobs:
        prices = (job.average, job.arrival, job.limit)
        table.add_row(
            f"{job.plan}/{job.job}",
            job.state,
            f"{job.filled:.2f}/{job.total or 0:.0f}",
            *(cells.DASH if price is None else f"{price:.3f}" for price in prices),
            str(len(job.fills)),
        )
    return table


if __name__ == "__main__":
    sys.exit(main())

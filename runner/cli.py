"""The command `pmrun`: parse, call, print. No decision is made here.

Exit codes: 0 done; 1 failed while running; 2 bad input or usage; 3 refused for safety; 4 exchange
out of reach. Documents go to stdout, messages to stderr. Modules are imported by the command that
needs them, so that `--help` answers at once.
"""
# ruff: noqa: PLC0415 - the imports inside the commands are on purpose, see above

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import urlsplit

import typer

from runner.core.errors import PlanError, PmrunError, SafetyRefusal, VenueUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, RenderableType

    from runner.settings import Settings
    from runner.store.spool import Answer

_ANSWER_TICKS = 600  # of 50 ms: how long a running runner may take to obey a command
_WATCH_SECONDS = 1.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

app = typer.Typer(
    name="pmrun",
    help="Trades plans from a folder on Polymarket's order book. Every step is in SQLite.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StateOption = Annotated[
    Path, typer.Option("--state", metavar="FILE", help="The state database.", show_default=True)
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings; default runner.yaml, if it is there."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is recorded.")]
ExchangeOption = Annotated[
    str,
    typer.Option("--exchange", metavar="WHICH", help="embedded, a URL on loopback, or polymarket."),
]
DEFAULT_STATE = Path("state/runner.db")


def main() -> NoReturn:
    """Entry point of `pmrun`: runs the command and turns errors into exit codes."""
    try:
        app(prog_name="pmrun")
    except PmrunError as error:
        _say(str(error))
        sys.exit(_exit_code(error))
    except OSError as error:
        if error.filename is None:
            raise  # of no file that the user could see to
        _say(f"{error.filename}: {error.strerror}")
        sys.exit(1)
    sys.exit(0)


def _exit_code(error: PmrunError) -> int:
    match error:
        case PlanError():
            return 2
        case SafetyRefusal():
            return 3
        case VenueUnreachable():
            return 4
        case _:
            return 1


@app.command(epilog="\b\nExample:\n  pmrun up --plans plans --until-done")
def up(
    plans: Annotated[
        Path, typer.Option("--plans", metavar="DIR", help="The folder of plan files.")
    ] = Path("plans"),
    state: StateOption = DEFAULT_STATE,
    exchange: ExchangeOption = "embedded",
    until_done: Annotated[
        bool, typer.Option("--until-done", help="Stop when every known plan has ended.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Run: watch the plans folder and keep the exchange as the plans want it, until stopped."""
    _check_exchange(exchange)
    settings = _settings(config)
    _arm_stop(os.environ.get("PMRUN_STOP_AT"))
    from runner import app as runner_app

    sys.exit(
        runner_app.run(
            plans=plans,
            state=state,
            exchange=exchange,
            until_done=until_done,
            settings=settings,
        )
    )


@app.command(epilog="\b\nExample:\n  pmrun exchange --port 8137 --seed 7")
def exchange(
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 means any.")
    ] = 8137,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="Its own database; none: kept in memory."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Of chance; else the scenario's own.")
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option("--scenario", metavar="FILE", help="Markets, accounts, traders, faults."),
    ] = None,
) -> None:
    """Run the embedded exchange alone. The first line of stdout says where it listens."""
    real_wallet = _settings(None).live.wallet
    from runner.exchange.server import run

    sys.exit(run(port, state, seed, scenario, real_wallet=real_wallet))


@app.command(
    epilog="\b\nExample:\n  pmrun record http://127.0.0.1:8137 8318 4196 --out day.jsonl.gz"
)
def record(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="An exchange, or its market channel (ws, wss).")
    ],
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="What to record.")],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="A new file; gzipped if its name ends in .gz."),
    ],
    seconds: Annotated[
        int | None, typer.Option("--seconds", metavar="N", min=1, help="Else until stopped.")
    ] = None,
) -> None:
    """Record an exchange's market channel to a file that a scenario can replay."""
    from runner.exchange.recorder import run

    sys.exit(run(url, tokens, out, seconds))


@app.command(epilog="\b\nExample:\n  pmrun validate plans/examples")
def validate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Plan files or folders.")],
    as_json: JsonOption = False,
) -> None:
    """Check plan files: one line a problem, `path:line:column: field: message`. Exit 0 or 2."""
    from runner.core.plan import Plan
    from runner.core.plan_reading import unavailable
    from runner.plan_folder import read_plan
    from runner.report import cells

    lines: list[str] = []
    problems: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for path in _plan_files(paths):
        name = cells.clean(path)
        found = read_plan(_bytes(path))
        if isinstance(found, Plan):
            for field, text in unavailable(found):
                notes.append({"path": name, "field": field, "message": text})
                _say(f"note: {name}: {field}: {text}")
        else:
            lines += [problem.render(name) for problem in found]
            problems += [{"path": name, **asdict(problem)} for problem in found]
    if as_json:
        _print_json({"valid": not problems, "problems": problems, "not_available_yet": notes})
    elif lines:
        print("\n".join(lines))
    sys.exit(2 if problems else 0)


@app.command(epilog="\b\nExample:\n  pmrun market btc-updown-15m-1761786000")
def market(
    ref: Annotated[str, typer.Argument(metavar="SLUG|TOKEN", help="A market or one token.")],
    state: StateOption = DEFAULT_STATE,
    exchange: Annotated[
        str | None,
        typer.Option("--exchange", metavar="URL", help="Default: the one beside the database."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what one needs to write a plan: tokens, tick, minimum size, best prices, last trade."""
    if exchange is not None:
        _check_exchange(exchange)
    from runner import app as runner_app
    from runner.report import market as market_report

    outcomes = runner_app.market(state, ref, exchange)
    if as_json:
        _print_json(market_report.document(outcomes))
    else:
        _print(market_report.table(outcomes))


@app.command(epilog="\b\nExamples:\n  pmrun status --watch\n  pmrun status --json")
def status(
    state: StateOption = DEFAULT_STATE,
    config: ConfigOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Redraw until interrupted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show plans, jobs, orders, positions, P&L, limits used, and how the runner is doing."""
    if watch and as_json:
        raise typer.BadParameter("--watch and --json do not go together")
    limits = _settings(config).limits()
    from runner.report import screen
    from runner.report import status as status_report

    with _database(state) as connection:

        def look() -> dict[str, Any]:
            return status_report.read(connection, state, limits, _now())

        if as_json:
            _print_json(look())
        elif watch:
            _watch(lambda: screen.screen(look()))
        else:
            _print(screen.screen(look()))


@app.command(
    epilog="\b\nExamples:\n  pmrun pause accumulate-yes\n  pmrun pause accumulate-yes/build"
)
def pause(
    target: Annotated[str, typer.Argument(metavar="PLAN[/JOB]")],
    reason: ReasonOption = "",
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Pause a plan or one of its jobs: its orders are cancelled, its progress is kept."""
    _obey("pause", target, reason, state)


@app.command(epilog="\b\nExample:\n  pmrun resume accumulate-yes")
def resume(
    target: Annotated[str, typer.Argument(metavar="PLAN[/JOB]")],
    reason: ReasonOption = "",
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Let a plan or a job that `pause` stopped go on."""
    _obey("resume", target, reason, state)


@app.command(
    epilog="\b\nExamples:\n  pmrun cancel accumulate-yes/build\n  pmrun cancel 0x5f0c...\n"
    "  pmrun cancel --all"
)
def cancel(
    target: Annotated[str | None, typer.Argument(metavar="PLAN[/JOB]|ORDER_ID")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Pause every plan and cancel every order of ours.")
    ] = False,
    reason: ReasonOption = "",
    state: StateOption = DEFAULT_STATE,
    config: ConfigOption = None,
) -> None:
    """Withdraw a plan or job with its orders; cancel one order (its job is paused); or all."""
    if (target is None) != everything:
        raise typer.BadParameter("give either a plan, a job or an order id, or --all")
    if target is not None:
        _obey("cancel_order" if target.startswith("0x") else "cancel", target, reason, state)
        return
    from runner.store.lock import holder

    if holder(state) is not None:
        _obey("cancel_all", "", reason, state)
        return
    from runner import app as runner_app

    sys.exit(runner_app.cancel_all(state, reason, _settings(config)))


@app.command(epilog='\b\nExample:\n  pmrun halt --reason "book looks wrong"')
def halt(
    reason: ReasonOption,
    state: StateOption = DEFAULT_STATE,
    config: ConfigOption = None,
) -> None:
    """Emergency stop: nothing new is sent, and all of ours is cancelled. Survives restarts."""
    from runner import app as runner_app

    sys.exit(runner_app.halt(state, reason, lambda: _settings(config)))


@app.command(epilog='\b\nExample:\n  pmrun unhalt --reason "checked with the exchange"')
def unhalt(
    reason: ReasonOption,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Clear the emergency stop."""
    from runner.store.lock import holder

    if holder(state) is not None:
        _obey("unhalt", "", reason, state)
        return
    from runner import app as runner_app

    sys.exit(runner_app.unhalt(state, reason))


@app.command(epilog="\b\nExample:\n  pmrun schema > plan.schema.json")
def schema() -> None:
    """Print the JSON Schema of a plan file, for editors."""
    from runner.core.plan import json_schema

    _print_json(json_schema())


@app.command(epilog="\b\nExamples:\n  pmrun report\n  pmrun report twap-up --html report.html")
def report(
    plan: Annotated[str | None, typer.Argument(metavar="PLAN", help="One plan; else all.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one HTML page as well.")
    ] = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Show what was filled at what price against arrival and limit, what it cost, and P&L."""
    from runner.report import execution, page

    with _database(state) as connection:
        found = execution.read(connection, plan)
    if html is not None:
        _write(html, page.render(found, _now()))
        _say(f"wrote {html}")
    if as_json:
        _print_json(execution.document(found))
    else:
        _print(execution.tables(found))


@contextmanager
def _database(state: Path) -> Iterator[sqlite3.Connection]:
    """The state database, for reading.

    Raises:
        SafetyRefusal: there is none, or it cannot be read.
    """
    from runner.store import open_readonly

    try:
        with closing(open_readonly(state)) as connection:
            yield connection
    except sqlite3.DatabaseError as error:
        raise SafetyRefusal(f"{state}: cannot be read as a state database: {error}") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PlanError(f"{path}: cannot be written: {error.strerror}") from error


def _now() -> datetime:
    """The wall clock: it stamps requests and tells ages on the screen; nothing is decided by it."""
    return datetime.now(UTC)  # noqa: TID251 - the outermost shell; everything below is handed `now`


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))


def _console() -> Console:
    from rich.console import Console

    # Into a pipe or a file there is no width to fit: nothing is cut short there.
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def _print(renderable: RenderableType) -> None:
    _console().print(renderable)


def _watch(draw: Callable[[], RenderableType]) -> None:
    from rich.live import Live

    try:
        with Live(draw(), console=_console(), auto_refresh=False, screen=True) as live:
            while True:
                time.sleep(_WATCH_SECONDS)
                live.update(draw(), refresh=True)
    except KeyboardInterrupt:
        return


def _settings(config: Path | None) -> Settings:
    from runner.settings import load

    return load(config)


def _check_exchange(text: str) -> None:
    """Only what cannot cost money is open in this release.

    Raises:
        SafetyRefusal: the real exchange, or any address that is not on loopback.
        typer.BadParameter: none of the three forms.
    """
    if text == "embedded":
        return
    if text == "polymarket":
        raise SafetyRefusal(
            "live trading is not open in this release: use --exchange embedded, or the URL of an "
            "embedded exchange on this machine"
        )
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise typer.BadParameter(f"{text!r}: write embedded, polymarket, or http://127.0.0.1:8137")
    if url.hostname not in _LOOPBACK:
        raise SafetyRefusal(f"{url.hostname} is not on this machine: only loopback is open so far")


def _arm_stop(text: str | None) -> None:
    """Crash tests: PMRUN_STOP_AT is `N` or `NAME:N`, the step at which to die by SIGKILL."""
    if text is None:
        return
    from runner.steps import arm

    name, _, count = text.rpartition(":")
    if not count.isdigit():
        raise PlanError("PMRUN_STOP_AT: write N or NAME:N, the step to stop at")
    arm(int(count), lambda: os.kill(os.getpid(), signal.SIGKILL), name=name or None)


def _plan_files(paths: list[Path]) -> Iterator[Path]:
    """The files named, and those of the folders named that the runner would read.

    Raises:
        PlanError: a path that is not there.
    """
    for path in paths:
        if path.is_dir():
            yield from sorted(
                file
                for file in path.iterdir()
                if file.suffix in {".yaml", ".yml"} and not file.name.startswith(".")
            )
        elif path.is_file():
            yield path
        else:
            raise PlanError(f"{path}: there is no such file or folder")


def _obey(command: str, target: str, reason: str, state: Path) -> None:
    """Ask the running runner for something and wait for its answer.

    Raises:
        PmrunError: no runner runs on this database, or it did not do it.
    """
    from runner.store.lock import holder

    if holder(state) is None:
        raise PmrunError(f"no runner is running on {state}: start one with `pmrun up`, then ask")
    answer = _ask(state, command, target, reason)
    if not answer.done:
        raise PmrunError(answer.text)
    _say(answer.text)


def _ask(state: Path, command: str, target: str, reason: str) -> Answer:
    from runner.store import spool

    name = spool.ask(state, command, target, reason, _now())
    try:
        for _ in range(_ANSWER_TICKS):
            answer = spool.answer(state, name)
            if answer is not None:
                return answer
            time.sleep(0.05)
    finally:  # also when interrupted: nobody waits for it any more
        withdrawn = spool.withdraw(state, name)
    if withdrawn:
        raise PmrunError("the runner did not take the request in time; it was withdrawn")
    raise PmrunError("the runner took the request but has not answered: see `pmrun status`")

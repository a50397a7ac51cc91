"""The real runner and the real embedded exchange in one process, on virtual time.

What is restarted is built anew from the files, as a new process would be; what a crash leaves
behind is what was committed, and what was sent.
"""

import asyncio
import contextlib
import inspect
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import wraps
from pathlib import Path
from random import Random
from typing import Any

import structlog

from runner import steps
from runner.core.ledger import Execution, book
from runner.core.model import Limits, Liquidity, Position, Side, TradeState
from runner.core.money import from_micros, to_micros
from runner.exchange.api import Exchange
from runner.exchange.markets import ONE, MarketConfig
from runner.plan_folder import PlanFolder
from runner.reconciler import Config, Reconciler
from runner.report.agreement import Agreement, compare
from runner.store import Latch, Store, open_readonly, spool
from runner.store.rows import moment
from runner.venue.client import Venue
from runner.venue.requests import VenueSettings
from runner.venue.streams import Hearers, Streams
from tests.inprocess_wire import InProcessWire
from tests.venue.world import CUP, RAIN, SIGNER
from tests.virtual_time import now, run

LIMITS = Limits(
    max_position_size=Decimal(5000),
    max_total_exposure=Decimal(10_000),
    max_daily_loss=Decimal(500),
    max_order_size=Decimal(100),
)
CASH = 10_000


YES = {"slug": "rain-tomorrow", "outcome": "Yes"}
NO = {"slug": "rain-tomorrow", "outcome": "No"}


def job(**keys: object) -> dict[str, object]:
    """A job's keys: buy 30 within 0.51, unless told otherwise."""
    return {"side": "buy", "total_shares": 30, "limit_price": "0.51"} | keys


def plan(name: str, jobs: Mapping[str, Mapping[str, object]], **keys: object) -> str:
    """The text of a plan file on RAIN's Yes, unless told otherwise."""
    whole = {"version": 1, "plan": name, "market": YES} | keys | {"jobs": jobs}
    return "\n".join(_yaml(whole)) + "\n"


def _yaml(group: Mapping[str, object], indent: str = "") -> list[str]:
    lines = []
    for key, value in group.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", *_yaml(value, indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{indent}{key}: [{', '.join(map(str, value))}]")
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            lines.append(f"{indent}{key}: {text}")
    return lines


def simulated(
    scenario: Callable[..., Coroutine[Any, Any, None]],
) -> Callable[..., None]:
    """A test on virtual time: the scenario on a rig with a plain book, then what always holds."""
    signature = inspect.signature(scenario)
    first, *others = signature.parameters.values()
    folder = first.replace(name="tmp_path", annotation=Path)

    @wraps(scenario)
    def test(tmp_path: Path, **given: object) -> None:
        async def main() -> None:
            rig = Rig(tmp_path)
            rig.book()
            await scenario(rig, **given)
            rig.check()

        run(main())

    test.__signature__ = signature.replace(parameters=[folder, *others])  # type: ignore[attr-defined]  # read by pytest
    return test


class Crashed(BaseException):
    """The process was killed here."""


def stop() -> None:
    raise Crashed


@dataclass
class Rig:
    """One exchange, one folder of plans, one state database; runners come and go."""

    folder: Path
    seed: int = 1
    config: Config = field(default_factory=lambda: Config(limits=LIMITS))
    latency: Callable[[], float] = lambda: 0.02
    venue_settings: VenueSettings = field(default_factory=VenueSettings)
    markets: tuple[MarketConfig, ...] = (RAIN, CUP)

    def __post_init__(self) -> None:
        self.plans = self.folder / "plans"
        self.plans.mkdir(exist_ok=True)
        self.state = self.folder / "runner.db"
        self.random = Random(self.seed)
        self.owner = SIGNER.address
        self.foreign: set[str] = set()  # orders of the account that a test sent past the runner
        self.exchange = Exchange(None, now, self.seed, list(self.markets))
        self.exchange.fund(SIGNER.address, CASH * ONE, {})
        self.reconciler: Reconciler | None = None
        self.venue: Venue | None = None
        self.wire: InProcessWire | None = None
        self.store: Store | None = None

    # the world

    def house(
        self, side: str, price: str, size: str, *, take: bool = False, outcome: int = 0
    ) -> str | None:
        """Somebody else's order on RAIN; `take` for one that does not rest."""
        ident = self.exchange.house_order(
            RAIN.condition_id,
            outcome,
            "BUY" if side == "buy" else "SELL",
            int(Decimal(price) * ONE),
            int(Decimal(size) * ONE),
            "FAK" if take else "GTC",
        )
        self.exchange.advance()
        return ident

    def book(self) -> None:
        """A plain book on RAIN: bids 0.50 and below, asks 0.56 and above."""
        for price, size in (("0.50", "40"), ("0.49", "80"), ("0.45", "200")):
            self.house("buy", price, size)
        for price, size in (("0.56", "40"), ("0.57", "80"), ("0.60", "500")):
            self.house("sell", price, size)

    async def takers(self, *, every_s: float = 2.0, size: str = "7", low: str = "0.40") -> None:
        """Others who sell into the best bid and buy from the best ask, on and on."""
        while True:
            await asyncio.sleep(every_s)
            self.house("sell", low, size, take=True)
            self.house("buy", "0.58", size, take=True)
            self.house("buy", "0.50", "5")
            self.house("sell", "0.56", "5")

    def drop(self, name: str, text: str) -> None:
        """Put a plan file into the folder, whole."""
        temporary = self.plans / f".{name}.new"
        self.write(temporary, text)
        temporary.rename(self.plans / name)

    def write(self, path: Path, text: str) -> None:
        """Write a file in place; its time of change is the virtual one."""
        path.write_text(text, encoding="utf-8")
        at = int(now().timestamp() * 1_000_000_000)
        os.utime(path, ns=(at, at))

    def hit(self, size: str, price: str = "0.40") -> None:
        """Somebody sells into the best bids."""
        self.house("sell", price, size, take=True)

    def control(self, path: str, **body: object) -> None:
        """One call of the exchange's control face."""
        text = json.dumps(body).encode()
        answer = self.exchange.handle("POST", f"/_exchange/{path}", {}, text)
        assert answer.status == 200, answer.body
        self.exchange.advance()

    def account(self, method: str, path: str, body: bytes = b"") -> Any:
        """The account's owner at another screen: one private call, signed with the same key."""
        venue = self.venue
        assert venue is not None
        headers = venue.signer.l2_headers(venue.credentials, now(), method, path, body)
        answer = self.exchange.handle(method, path, headers, body)
        self.exchange.advance()
        return json.loads(answer.body)

    async def ask(self, command: str, target: str = "", reason: str = "because") -> spool.Answer:
        """What the command line does: into the spool, and wait for the runner's answer."""
        name = spool.ask(self.state, command, target, reason, now())
        for _ in range(100):
            if (answer := spool.answer(self.state, name)) is not None:
                return answer
            await asyncio.sleep(0.1)
        raise AssertionError(f"no answer to {command} {target} within 10 s")

    def fault(self, name: str, **parameters: object) -> None:
        """Switch a fault on over the exchange's control face."""
        body = json.dumps({"name": name, **parameters}).encode()
        answer = self.exchange.handle("POST", "/_exchange/faults", {}, body)
        assert answer.status == 200, answer.body

    def clear_faults(self) -> None:
        assert self.exchange.handle("DELETE", "/_exchange/faults", {}, b"").status == 200

    def ledger(self) -> dict[str, Any]:
        """The exchange's own truth about our account."""
        target = f"/_exchange/ledger?owner={SIGNER.address}"
        found: dict[str, Any] = json.loads(self.exchange.handle("GET", target, {}, b"").body)
        found["orders"] = [o for o in found["orders"] if o["order_id"] not in self.foreign]
        return found

    # the runner

    @asynccontextmanager
    async def runner(self, *, until_done: bool = False) -> AsyncIterator[asyncio.Task[None]]:
        """A runner on the files as they are. Leaving the block stops it."""
        wire = self.wire = InProcessWire(self.exchange, self.latency)
        store = self.store = Store.open(self.state)
        venue = self.venue = Venue(
            wire,
            SIGNER,
            now,
            rng=Random(self.random.random()),
            settings=self.venue_settings,
            odd=lambda word: None,
        )

        def streams(hearers: Hearers) -> Streams:
            return Streams(wire, venue, now, rng=Random(5), hearers=hearers)

        reconciler = self.reconciler = Reconciler(
            store=store,
            venue=venue,
            streams=streams,
            scan=PlanFolder(self.plans, settle_s=self.config.settle_s).scan,
            latch=Latch(self.state),
            state_path=self.state,
            config=self.config,
            now=now,
            salt=lambda: self.random.getrandbits(53),
            seed=lambda: f"{self.random.getrandbits(128):032x}",
            log=structlog.wrap_logger(structlog.ReturnLogger(), processors=[]),
        )
        task = asyncio.create_task(reconciler.run(until_done=until_done))
        try:
            yield task
        finally:
            if not task.done():
                reconciler.stop()
                await asyncio.wait([task], timeout=30)
            await wire.close()
            store.close()
            if task.done() and not task.cancelled() and task.exception() is not None:
                error = task.exception()
                assert error is not None
                raise error

    async def until_done(self, within_s: float = 7200) -> None:
        """Run a runner until every plan has ended."""
        async with self.runner(until_done=True) as task:
            await asyncio.wait_for(asyncio.shield(task), within_s)

    async def until_crash(self, n: int, *, name: str | None = None, within_s: float = 7200) -> bool:
        """Run a runner that is killed at its n-th step; whether it came that far."""
        steps.arm(n, stop, name=name)
        try:
            await self.until_done(within_s)
        except (Crashed, BaseExceptionGroup):
            return True
        finally:
            self.seen = steps.disarm()
        return False

    # what came of it

    def agreement(self) -> Agreement:
        """The database against the ledger of truth."""
        with contextlib.closing(open_readonly(self.state)) as connection:
            return compare(connection, self.ledger(), SIGNER.address)

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """What a person reads."""
        with contextlib.closing(open_readonly(self.state)) as connection:
            return [dict(row) for row in connection.execute(sql, values).fetchall()]

    def value(self, sql: str, *values: object) -> Any:
        """The one value that a query finds."""
        [found] = self.row(sql, *values).values()
        return found

    async def until(self, sql: str, *values: object, within_s: float = 60) -> None:
        """Let time pass until the query finds something, at most `within_s` seconds."""
        for _ in range(round(within_s / 0.25)):
            if self.state.exists() and self.rows(sql, *values):
                return
            await asyncio.sleep(0.25)
        raise AssertionError(f"not within {within_s} s: {sql} {values}\n{self.story()}")

    def story(self) -> str:
        """The event log, to be read when a test fails."""
        rows = self.rows("SELECT * FROM timeline")
        return "\n".join(" ".join(str(value) for value in row.values()) for row in rows)

    def check(self) -> None:
        """What holds after every run, whatever happened in it."""
        assert not self.agreement().differences, self.story()
        self.check_totals()
        self.check_prices()
        self.check_replay()
        self.check_positions()

    def check_totals(self) -> None:
        """No job has more at the exchange than its total, failed trades apart."""
        ledger = self.ledger()
        failed: dict[str, Decimal] = {}
        for trade in ledger["trades"]:
            if trade["status"] == "FAILED":
                legs = [(trade["taker_order_id"], trade["size"])]
                legs += [(maker["order_id"], maker["size"]) for maker in trade["maker_orders"]]
                for ident, size in legs:
                    failed[ident] = failed.get(ident, Decimal(0)) + Decimal(size)
        matched = {order["order_id"]: Decimal(order["matched"]) for order in ledger["orders"]}
        got: dict[tuple[str, str], Decimal] = {}
        for row in self.rows("SELECT order_id, plan, job FROM child_order"):
            ident, key = row["order_id"], (row["plan"], row["job"])
            net = matched.get(ident, Decimal(0)) - failed.get(ident, Decimal(0))
            got[key] = got.get(key, Decimal(0)) + net
        for row in self.rows("SELECT plan, job, total FROM job"):
            key = row["plan"], row["job"]
            assert got.get(key, Decimal(0)) <= self._total(row), (key, self.story())

    def check_prices(self) -> None:
        """No order was ever sent, nor filled, at a price worse than its job's limit allowed."""
        limits: dict[tuple[str, str], list[Decimal]] = {}
        for row in self.rows("SELECT plan, spec FROM revision"):
            for name, spec in json.loads(row["spec"])["jobs"].items():
                price = Decimal(spec["limit_price"])
                limits.setdefault((row["plan"], name), []).append(price)
        prices = self.rows(
            "SELECT plan, job, side, price FROM child_order"
            " UNION ALL SELECT plan, job, side, price FROM trade"
        )
        for row in prices:
            price, allowed = from_micros(row["price"]), limits[row["plan"], row["job"]]
            assert price <= max(allowed) if row["side"] == "buy" else price >= min(allowed), row

    def _total(self, row: Mapping[str, Any]) -> Decimal:
        """The largest total that a job ever had: it may have been cut below what was filled."""
        specs = self.rows("SELECT spec FROM revision WHERE plan = ?", row["plan"])
        jobs = [json.loads(spec["spec"])["jobs"].get(row["job"], {}) for spec in specs]
        named = [job.get("total_shares") for job in jobs]
        totals = [
            Decimal(total) for total in named if total and not str(total).startswith("filled")
        ]
        return max([*totals, from_micros(row["total"] or 0)])

    def check_replay(self) -> None:
        """The event log, replayed from empty, gives the same state columns (faults I20)."""
        replayed: dict[tuple[str, str], str] = {}
        for row in self.rows("SELECT * FROM event WHERE to_state IS NOT NULL ORDER BY seq"):
            name = row["subject"], row["id"]
            assert replayed.get(name) == row["from_state"], (row, self.story())
            replayed[name] = row["to_state"]
        stored = {
            (row["subject"], row["id"]): row["state"]
            for row in self.rows(
                "SELECT 'plan' AS subject, plan AS id, state FROM plan"
                " UNION ALL SELECT 'job', plan || '/' || job, state FROM job"
                " UNION ALL SELECT 'order', order_id, state FROM child_order"
                " UNION ALL SELECT 'trade', trade_id || '/' || order_id, state FROM trade"
            )
        }
        assert replayed == stored

    def check_positions(self) -> None:
        """Positions are what a fold of all trades from nothing gives."""
        trades = self.rows("SELECT * FROM trade ORDER BY matched_at, trade_id, order_id")
        folded: dict[tuple[str, str], Position] = {}
        for row in trades:
            execution = Execution(
                trade_id=row["trade_id"],
                order_id=row["order_id"],
                token_id=row["token_id"],
                side=Side(row["side"]),
                price=from_micros(row["price"]),
                size=from_micros(row["size"]),
                fee=from_micros(row["fee"]),
                state=TradeState(row["state"]),
                liquidity=Liquidity(row["liquidity"]),
                matched_at=moment(row["matched_at"]),
            )
            for scope in ("", row["plan"]):
                key = scope, row["token_id"]
                before = folded.get(key, Position(row["token_id"]))
                folded[key], _ = book(before, execution)
        fields = ("shares", "settled", "cost", "realized", "fees")
        stored = {
            (row["scope"], row["token_id"]): tuple(row[name] for name in fields)
            for row in self.rows("SELECT * FROM position")
        }
        assert stored == {
            key: tuple(to_micros(getattr(position, name)) for name in fields)
            for key, position in folded.items()
        }

    def row(self, sql: str, *values: object) -> dict[str, Any]:
        [found] = self.rows(sql, *values)
        return found

    def with_config(self, **changes: object) -> None:
        self.config = replace(self.config, **changes)  # type: ignore[arg-type]

"""The real runner and the real embedded exchange in one process, on virtual time.

What is restarted is built anew from the files, as a new process would be; what a crash leaves
behind is what was committed, and what was sent.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import structlog

from runner import steps
from runner.core.model import Limits
from runner.exchange.api import Exchange
from runner.exchange.markets import ONE, MarketConfig
from runner.plan_folder import PlanFolder
from runner.reconciler import Config, Reconciler
from runner.report.agreement import Agreement, compare
from runner.store import Latch, Store, open_readonly
from runner.venue.client import Venue
from runner.venue.requests import VenueSettings
from runner.venue.streams import Hearers, Streams
from tests.inprocess_wire import InProcessWire
from tests.venue.world import CUP, RAIN, SIGNER
from tests.virtual_time import now

LIMITS = Limits(
    max_position_size=Decimal(5000),
    max_total_exposure=Decimal(10_000),
    max_daily_loss=Decimal(500),
    max_order_size=Decimal(100),
)
CASH = 10_000


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
        self.exchange = Exchange(None, now, self.seed, list(self.markets))
        self.exchange.fund(SIGNER.address, CASH * ONE, {})
        self.reconciler: Reconciler | None = None

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
        temporary.write_text(text, encoding="utf-8")
        temporary.rename(self.plans / name)

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
        return found

    # the runner

    @asynccontextmanager
    async def runner(self, *, until_done: bool = False) -> AsyncIterator[asyncio.Task[None]]:
        """A runner on the files as they are. Leaving the block stops it."""
        wire = InProcessWire(self.exchange, self.latency)
        store = Store.open(self.state)
        venue = Venue(
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
            log=structlog.get_logger(),
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

    def row(self, sql: str, *values: object) -> dict[str, Any]:
        [found] = self.rows(sql, *values)
        return found

    def with_config(self, **changes: object) -> None:
        self.config = replace(self.config, **changes)  # type: ignore[arg-type]

"""A world in which the runner is killed at a step, and everything that must hold all the same.

What a dead process leaves behind is what it had committed and what it had already sent: its tasks
end with it, requests on their way still arrive. The exchange and the others who trade live on.
"""

import asyncio
import contextlib
import gc
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.exchange.api import Exchange
from runner.exchange.markets import MarketConfig
from runner.exchange.requests import Request, Response
from runner.exchange.settlement import Delays
from runner.reconciler import Config
from runner.steps import Step
from runner.store import Latch, open_readonly
from tests.e2e.harness import ENDED, replayed
from tests.inprocess_wire import InProcessWire
from tests.simulation.rig import CASH, LIMITS, Rig
from tests.venue.world import SIGNER
from tests.virtual_time import now

TWAP = """
version: 1
plan: quiet
market: {slug: rain-tomorrow, outcome: "Yes"}
jobs:
  build:
    side: buy
    total_shares: 20
    limit_price: 0.54
    time_window_minutes: 0.4
    split: {strategy: twap, slices: 2}
    quote: {style: top_bidder, poll_interval: 30}
"""

JOIN = """
version: 1
plan: queue
market: {slug: rain-tomorrow, outcome: "Yes"}
jobs:
  bid:
    side: buy
    total_shares: 18
    limit_price: 0.50
    time_window_minutes: 0.5
    quote: {style: join, shares_per_order: 12, poll_interval: 30}
"""

LIVE_AT_MOST = {("quiet", "build"): 1, ("queue", "bid"): 4}
"""How many orders of a job may rest at once: a top bidder one, others four at a price."""

CONFIG = Config(limits=LIMITS, rescan_s=20, metrics_s=5)
"""Long periods: each tick is a few more steps to sweep, and every one is the same."""


class Witness(Exchange):
    """The exchange, with somebody beside it who checks each order the moment it is accepted."""

    def __init__(self, seed: int, markets: Sequence[MarketConfig], state: Path) -> None:
        quick = Delays(mined_ms=(300, 900), confirmed_ms=(300, 900))
        super().__init__(None, now, seed, list(markets), quick)
        self.wrong: list[str] = []
        self.witnessed: set[str] = set()
        self._database = state

    def _answer(self, request: Request) -> Response:
        response = super()._answer(request)
        if (request.method, request.path, response.status) == ("POST", "/order", 200):
            self._accepted(str(json.loads(response.body)["orderID"]))
        return response

    def _accepted(self, ident: str) -> None:
        self.witnessed.add(ident)
        with contextlib.closing(open_readonly(self._database)) as connection:
            job_of = {
                row["order_id"]: (row["plan"], row["job"])
                for row in connection.execute("SELECT order_id, plan, job FROM child_order")
            }
            total = {
                (row["plan"], row["job"]): row["total"]
                for row in connection.execute("SELECT plan, job, total FROM job")
            }
        if ident not in job_of:
            self.wrong.append(f"I1: {ident} was sent before it was committed")
        exposed: dict[tuple[str, str], int] = defaultdict(int)
        live: dict[tuple[str, str], int] = defaultdict(int)
        for order_id, job in job_of.items():
            order = self.orders.get(order_id)
            if order is not None:
                exposed[job] += order.matched + (order.leaves if order.status == "LIVE" else 0)
                live[job] += order.status == "LIVE"
        for job, size in exposed.items():
            if size > total[job]:
                self.wrong.append(f"I4: {job} may come to {size} of {total[job]}")
            if live[job] > LIVE_AT_MOST.get(job, 4):
                self.wrong.append(f"I3: {job} has {live[job]} orders in the book")


@dataclass
class CrashRig(Rig):
    """Two plans, others who trade, and a runner that dies where it is told to."""

    plans_text: tuple[str, ...] = (TWAP, JOIN)
    config: Config = field(default_factory=lambda: CONFIG)
    seen: dict[Step, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.witness = Witness(self.seed, self.markets, self.state)
        self.witness.fund(SIGNER.address, CASH * 1_000_000, {})
        self.exchange = self.witness
        for side, price, size in (
            ("buy", "0.50", "4"),
            ("buy", "0.45", "500"),
            ("sell", "0.56", "9"),
        ):
            self.house(side, price, size)
        for number, text in enumerate(self.plans_text):
            self.drop(f"{number}.yaml", text)

    async def sellers(self) -> None:
        """Others who sell into the best bid, on and on."""
        while True:
            await asyncio.sleep(4)
            self.house("sell", "0.40", "7", take=True)

    async def killed(self, n: int, *, name: str | None = None) -> bool:
        """Run until the n-th step kills the runner; False if every plan ended before that."""
        others = asyncio.all_tasks()
        crashed = await self.until_crash(n, name=name)
        dead = [t for t in asyncio.all_tasks() - others if not _on_its_way(t)]
        for task in dead:
            task.cancel()
        await asyncio.gather(*dead, return_exceptions=True)
        gc.collect(0)  # lets go of a database that was being opened
        return crashed

    async def to_the_end(self) -> None:
        """Restart on the same files, and run until every plan has ended."""
        await self.until_done(within_s=6 * 3600)

    def check(self) -> None:
        """What must hold whenever no runner runs."""
        assert not self.witness.wrong, self.witness.wrong
        assert self.witness.witnessed == {
            ident for ident, order in self.witness.orders.items() if order.maker == SIGNER.address
        }

    async def settled(self, *, run_again: bool = True) -> None:
        """What must hold when every plan has ended; with `run_again`, that it stays so."""
        self.check()
        states = {row["plan"]: row["state"] for row in self.rows("SELECT plan, state FROM plans")}
        assert states, "no plan was ever taken up"
        assert set(states.values()) <= ENDED, states
        alerts = self.rows("SELECT code, message FROM alerts WHERE severity = 'critical'")
        assert not alerts
        assert not Latch(self.state).is_set()
        agreement = self.agreement()
        assert not agreement.differences, agreement.differences
        assert self._live() == []
        replayed(self.rows)
        if not run_again:
            return
        before = self._tables()
        await self.to_the_end()
        assert self._tables() == before, "a second run changed something"
        self.check()

    def _live(self) -> list[str]:
        return [o["order_id"] for o in self.ledger()["orders"] if o["status"] == "LIVE"]

    def _tables(self) -> dict[str, Any]:
        names = ("plan", "revision", "job", "slice", "child_order", "trade", "position", "alert")
        tables: dict[str, Any] = {name: self.rows(f"SELECT * FROM {name}") for name in names}
        tables["event"] = self.rows("SELECT * FROM event WHERE subject <> 'runner'")
        tables["exchange"] = [self.ledger()["orders"], self.ledger()["trades"]]
        return tables


def _on_its_way(task: asyncio.Task[Any]) -> bool:
    """Whether a task is a request that has left the process."""
    return getattr(task.get_coro(), "cr_code", None) is InProcessWire._carry.__code__

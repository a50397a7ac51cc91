"""decide, diff and check against a rough little world: nothing bad happens, and everything ends.

The world loses answers, fills partly and tells of it late, fails trades, moves the book and lets
time jump. `traded` is the truth; what the job knows of it is older.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from runner.core import pace
from runner.core.diff import diff
from runner.core.model import (
    Book,
    Cancel,
    Job,
    JobKey,
    JobState,
    Level,
    Limits,
    Market,
    MarketInfo,
    Memory,
    OrderState,
    RiskView,
    Segment,
    Side,
    TimeInForce,
    TradingState,
    WorkingOrder,
)
from runner.core.plan import AtEnd, CatchUp, JobSpec, MarketRef, QuoteSpec, Split, Strategy, Style
from runner.core.planning import decide, ending
from runner.core.risk import Code, Deny, check

D = Decimal
T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = JobKey("p", "j")
INFO = MarketInfo(
    token_id="1",
    complement="2",
    condition_id="0x0",
    slug="s",
    question="q",
    outcome="Yes",
    tick=D("0.01"),
    min_size=D(5),
    neg_risk=False,
    accepting=True,
    fee_rate=D("0.07"),
    fee_exponent=1,
    at=T0,
)


class World:
    """One job, its orders as they are and as they are known, and a market of others."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.rough = True
        self.now = T0
        self.memory = Memory()
        self.arrived: set[str] = set()
        self.traded: dict[str, Decimal] = {}
        self.count = 0
        self.side = self.chance.choice(list(Side))
        self.limit = D(self.chance.randint(35, 45)).scaleb(-2)
        self.bid = 38
        total = D(self.chance.randint(2000, 40000)).scaleb(-2)
        spec = JobSpec(
            market=MarketRef(token_id="1"),
            side=self.side,
            total_shares=total,
            limit_price=self.limit,
            time_window_minutes=D(60),
            at_end=AtEnd.KEEP,
            split=Split(
                strategy=self.chance.choice([Strategy.TWAP, Strategy.SINGLE]),
                catch_up=self.chance.choice([CatchUp.SPREAD, CatchUp.NEXT_SLICE]),
                slices=self.chance.randint(1, 20),
            ),
            quote=QuoteSpec(
                style=self.chance.choice([Style.LIMIT, Style.JOIN, Style.TOP_BIDDER]),
                shares_per_order=self.chance.choice([None, D(30)]),
            ),
        )
        segment = Segment(1, T0, D(0))
        slices = pace.plan_slices(
            spec, remaining=total, segment=segment, end=T0 + HOUR, max_order_size=D(60)
        )
        self.job = Job(
            key=KEY,
            spec=spec,
            state=JobState.WORKING,
            token_id="1",
            total=total,
            filled=D(0),
            segment=segment,
            slices=slices,
            ends_at=T0 + HOUR,
            seed="s",
            max_order_size=D(60),
        )

    def happens(self, percent: int) -> bool:
        return self.chance.randrange(100) < percent

    def market(self) -> Market:
        if self.rough and self.happens(5):
            return Market(INFO, None, self.job.working)
        self.bid = min(60, max(20, self.bid + self.chance.choice([-1, 0, 0, 1])))
        levels: dict[Side, dict[Decimal, Decimal]] = {
            Side.BUY: {D(self.bid - n).scaleb(-2): D(50) for n in range(3)},
            Side.SELL: {D(self.bid + 2 + n).scaleb(-2): D(50) for n in range(3)},
        }
        for order in self.job.working:
            if order.order_id in self.arrived and order.leaves:
                mine = levels[order.side]
                mine[order.price] = mine.get(order.price, D(0)) + order.leaves
        bids, asks = (tuple(Level(*pair) for pair in levels[side].items()) for side in Side)
        book = Book(
            tuple(sorted(bids, reverse=True)),
            tuple(sorted(asks)),
            self.now,
        )
        crossed = book.bids[0].price >= book.asks[0].price
        return Market(INFO, None if crossed else book, self.job.working)

    def trade(self, order: WorkingOrder) -> None:
        """Some of what is left of an order trades."""
        left = order.size - self.traded[order.order_id]
        part = left * self.chance.choice([0, 30, 50, 100, 100]) / 100
        self.traded[order.order_id] += part.quantize(D("0.0001"), rounding="ROUND_DOWN")

    def learn(self, order: WorkingOrder) -> WorkingOrder:
        """The job hears of its trades, or not yet; now and then that one failed."""
        news = self.traded[order.order_id] - order.matched
        if self.happens(50):
            return order
        if not (self.rough and self.happens(5)):
            self.job = replace(self.job, filled=self.job.filled + news)
        return replace(order, matched=order.matched + news)

    def live_on(self, order: WorkingOrder) -> WorkingOrder | None:
        """What becomes of one order in one step; None once its end is proven."""
        there = order.order_id in self.arrived
        if there and order.state is not OrderState.CLOSING and self.happens(30):
            self.trade(order)
        match order.state:
            case OrderState.SUBMITTING:
                fate = self.chance.randrange(100) if self.rough else 0
                if fate < 85:
                    self.arrived.add(order.order_id)
                if fate < 70:
                    return replace(order, state=OrderState.LIVE)
                return replace(order, state=OrderState.UNKNOWN) if fate < 93 else None
            case OrderState.UNKNOWN:
                if not self.happens(30):
                    return order
                return replace(order, state=OrderState.LIVE) if there else None
            case OrderState.LIVE:
                order = self.learn(order)
                over = order.leaves == 0 or (order.cancel_requested and self.happens(50))
                return replace(order, state=OrderState.CLOSING) if over else order
            case _:
                order = self.learn(order)
                known = order.matched == self.traded[order.order_id]
                return None if known and self.happens(60) else order

    def step(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        after = [self.live_on(order) for order in self.job.working]
        self.job = replace(self.job, working=tuple(o for o in after if o is not None))
        market = self.market()
        decision = decide(self.job, self.memory, market, self.now)
        self.memory = decision.memory
        latest = {row.n: row for row in decision.slices}
        self.job = replace(
            self.job, slices=tuple(latest.get(row.n, row) for row in self.job.slices)
        )
        for action in diff(self.job, decision).actions:
            if isinstance(action, Cancel):
                self.cancel(action.order_id)
                continue
            verdict = check(action, self.limit, market, self.view())
            if isinstance(verdict, Deny):
                assert verdict.code is Code.SELF_MATCH
                continue
            self.count += 1
            order = WorkingOrder(
                order_id=f"0x{self.count}",
                key=KEY,
                token_id="1",
                side=action.side,
                price=action.price,
                size=action.size,
                matched=D(0),
                state=OrderState.SUBMITTING,
                cancel_requested=False,
                created_at=self.now,
                expires_at=None,
                time_in_force=TimeInForce.GTD,
            )
            self.traded[order.order_id] = D(0)
            self.job = replace(self.job, working=(*self.job.working, order))
        self.holds()

    def cancel(self, order_id: str) -> None:
        working = tuple(
            replace(o, cancel_requested=True) if o.order_id == order_id else o
            for o in self.job.working
        )
        assert working != self.job.working, "a cancel changes something, or is not asked for"
        self.job = replace(self.job, working=working)

    def view(self) -> RiskView:
        none = Limits()
        return RiskView(
            trading=TradingState.ACTIVE,
            limits=none,
            plan_limits=none,
            plan_max_loss=None,
            positions={},
            plan_positions={},
            working=self.job.working,
            day_pnl=None,
            plan_pnl=None,
        )

    def holds(self) -> None:
        """The invariants, after every step."""
        job = self.job
        assert job.filled + sum((o.leaves for o in job.working), D(0)) <= job.total
        untold = sum((self.traded[o.order_id] - o.matched for o in job.working), D(0))
        assert job.filled + untold <= job.total
        here = [o for o in job.working if not o.cancel_requested]
        for order in here:
            worse = order.price > self.limit if self.side is Side.BUY else order.price < self.limit
            assert not worse
        most = 1 if job.spec.quote.style is Style.TOP_BIDDER else 4
        standing = [o.price for o in here if o.state is OrderState.LIVE]
        assert all(standing.count(price) <= most for price in standing)


@pytest.mark.parametrize("seed", range(100))
def test_nothing_bad_happens_and_everything_ends(seed: int) -> None:
    world = World(seed)
    for _ in range(120):
        world.step(world.chance.choice([0, 1, 5, 60, 60]))
    world.rough = False
    world.bid = int(world.limit * 100) - 1
    for _ in range(600):
        if (end := ending(world.job, world.now, INFO.min_size)) is not None:
            break
        world.step(10)
    else:
        pytest.fail(f"not done: {world.job}")
    assert end.state is JobState.COMPLETED
    assert world.job.remaining < INFO.min_size

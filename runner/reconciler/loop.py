"""The loop: observe, decide, record, act.

1. It starts from the database, so recovery is its first pass.
2. A pass looks only at the jobs that were woken; what it observes, decides and records is one
   commit; only then is anything sent.
3. A hint (file event, socket message, timer) only wakes: losing or repeating one costs time only.
4. A broken invariant sets the halt latch: orders stop, cancels and observing go on.
"""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING

from runner.core.errors import (
    IllegalTransition,
    InvariantBroken,
    StaleState,
    VenueUnreachable,
)
from runner.core.model import OrderState, TradeReport, TradingState
from runner.reconciler.account_reads import AccountReads
from runner.reconciler.act import Actor
from runner.reconciler.cancels import Cancels
from runner.reconciler.commands import obey
from runner.reconciler.desk import Desk
from runner.reconciler.inbox import (
    AccountRead,
    CancelDone,
    Item,
    MarketMissing,
    MarketSeen,
    PostDone,
    ReadFailed,
    Reported,
    facts,
)
from runner.reconciler.intake import Intake
from runner.reconciler.intents import Intents
from runner.reconciler.metrics import Metrics
from runner.reconciler.plans import Plans
from runner.reconciler.tokens import Tokens
from runner.reconciler.upkeep import Upkeep
from runner.reconciler.work import Worker
from runner.steps import Step, reach
from runner.store import spool
from runner.venue.streams import Channel, Hearers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from pathlib import Path

    import structlog

    from runner.core.model import JobKey, OrderReport
    from runner.core.plan_changes import Scan
    from runner.reconciler.config import Config
    from runner.reconciler.intents import Wanted
    from runner.store import Latch, Store, Writes
    from runner.store.rows import OrderRow
    from runner.venue.client import Venue
    from runner.venue.ports import NewOrder, SignedOrder
    from runner.venue.streams import Streams

_BROKEN = (InvariantBroken, IllegalTransition, StaleState, sqlite3.IntegrityError)
_WIND_DOWN_S = 7.0
_CONNECT_WITHIN_S = 30.0
_DETAIL_LOGGED = 160  # characters; the event log has them all


class Reconciler:
    """Drives every plan of one account until it is stopped."""

    def __init__(
        self,
        *,
        store: Store,
        venue: Venue,
        streams: Callable[[Hearers], Streams],
        scan: Callable[[datetime], Scan],
        latch: Latch,
        state_path: Path,
        config: Config,
        now: Callable[[], datetime],
        salt: Callable[[], int],
        seed: Callable[[], str],
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._store = store
        self._venue = venue
        self._odd: list[str] = []
        self._streams = streams(
            Hearers(self.on_book, self.on_report, self.on_gap, self.on_market, self._odd.append)
        )
        self._scan = scan
        self._latch = latch
        self._state_path = state_path
        self._config = config
        self._now = now
        self._salt = salt
        self._log = log
        self._plans = Plans(config, seed)
        self._actor = Actor(venue, latch, self._put, now, self._crash)
        self.metrics = Metrics()
        period_s = config.full_reconcile_s
        self._reads = AccountReads(store, self._actor, self.metrics, now, period_s)
        self._cancels = Cancels(store, self._actor, self.metrics)
        self._tokens = Tokens(store, self._actor, self._streams, period_s)
        self._upkeep = Upkeep(
            venue,
            self._streams,
            latch,
            self._tokens,
            self._reads,
            self.metrics,
            odd=self._odd,
            now=now(),
            period_s=config.metrics_s,
        )
        self._inbox: list[Item] = []
        self._woken: set[JobKey] = set()
        self._timers: dict[JobKey, datetime] = {}
        self._wake = asyncio.Event()
        self._event_at: dict[str, float] = {}
        self._posted_at: dict[str, float] = {}
        self._scan_at = now()
        self._scanned: Scan | None = None
        self._logged = store.last_event()
        self._error: BaseException | None = None
        self._broke = False
        self._stopping = False

    # wake-ups: each says "look again", never "do this"

    def hint_files(self) -> None:
        """Something happened in the plans folder."""
        self._scan_at = self._now()
        self._wake.set()

    def on_book(self, token_id: str) -> None:
        """A book moved."""
        if keys := self._tokens.jobs(token_id):
            self._event_at.setdefault(token_id, self._loop_time())
            self._woken |= keys
            self._wake.set()

    def on_report(self, report: OrderReport | TradeReport) -> None:
        """The exchange said something of an order or a trade."""
        reach(Step.REPORT_RECEIVED)
        self._put(Reported(report))

    def on_market(self, token_id: str) -> None:
        """The rules of a market changed: ask for them afresh."""
        self._tokens.stale(token_id)
        self.on_book(token_id)

    def on_gap(self, channel: Channel) -> None:
        """Messages may be missing: no new order until the account was read again."""
        if channel is Channel.USER:
            self._reads.gap()
        self._wake.set()

    def stop(self) -> None:
        """Stop after the pass under way."""
        self._stopping = True
        self._wake.set()

    def _put(self, item: Item) -> None:
        self._inbox.append(item)
        self._wake.set()

    def _crash(self, error: BaseException) -> None:
        self._error = error
        self._wake.set()

    @staticmethod
    def _loop_time() -> float:
        return asyncio.get_running_loop().time()

    # the loop

    async def run(self, *, until_done: bool = False) -> None:
        """Reconcile until stopped, or with `until_done` until every known plan has ended.

        Raises:
            InvariantBroken: two passes in a row broke.
            VenueUnreachable: the exchange does not answer at the start.
        """
        self._recover()
        await self._connect()
        streams = asyncio.create_task(self._streams.run())
        streams.add_done_callback(self._streams_ended)
        try:
            while not self._stopping:
                self._wake.clear()
                if self._error is not None:
                    raise self._error
                self._pass()
                if until_done and self._all_done():
                    break
                await self._sleep()
            if self._stopping:
                await self._wind_down()
        finally:
            reach(Step.SHUTDOWN)
            streams.remove_done_callback(self._streams_ended)
            streams.cancel()
            await asyncio.gather(streams, return_exceptions=True)
            await self._actor.settle(within_s=8.0)
        self._last_pass()

    async def _wind_down(self) -> None:
        """A clean stop leaves nothing of ours in the book: nobody would watch over it."""
        deadline = self._loop_time() + _WIND_DOWN_S
        while self._loop_time() < deadline and self._error is None:
            self._wake.clear()
            now = self._now()
            inbox, self._inbox = self._inbox, []
            self._take_alone(inbox, now)
            with self._store.transaction(now) as tx:
                working = [order.order_id for order in tx.working()]
                for ident in working:
                    tx.request_cancel(ident, "the runner stops")
            if not working:
                return
            self._cancels.know(working, now)
            self._cancels.send(now)
            self._reads.read_if_due(now)
            try:
                await asyncio.wait_for(self._wake.wait(), 0.25)
            except TimeoutError:
                continue
        self._log.warning("orders may still be live", orders=len(self._store.working()))

    def _streams_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._crash(task.exception() or RuntimeError("the sockets' task ended by itself"))

    async def _connect(self) -> None:
        """Get credentials.

        Raises:
            VenueUnreachable: the exchange did not answer for half a minute; restarts take less.
        """
        wait = 0.25
        give_up = self._loop_time() + _CONNECT_WITHIN_S
        while not self._stopping:
            try:
                await self._venue.start()
            except VenueUnreachable as error:
                if self._loop_time() >= give_up:
                    raise
                self._log.warning("venue unreachable", error=str(error), retry_s=wait)
                try:
                    await asyncio.wait_for(self._wake.wait(), wait)
                except TimeoutError:
                    wait = min(wait * 2, 10.0)
            else:
                return

    def _recover(self) -> None:
        """The first pass's facts: what the process before this one left under way."""
        now = self._now()
        with self._store.transaction(now) as tx:
            for row in tx.working_rows():
                order = row.working
                if order.state is OrderState.SUBMITTING:
                    tx.move_order(
                        order.order_id, "lost", reason="NO_ANSWER: the runner that sent it ended"
                    )
                if order.cancel_requested:
                    self._cancels.know([order.order_id], now)
            tx.set_runner("started_at", now.isoformat())
            tx.event("runner", "runner", "started")
        self._plans.recover(self._store.plans())
        for job in self._store.open_jobs():
            self._woken.add(job.key)
            self._tokens.know(job.key, job.token_id)

    async def _sleep(self) -> None:
        due = [self._reads.due_at, self._scan_at, self._upkeep.due_at, *self._timers.values()]
        due += self._plans.due() + self._cancels.due()
        seconds = (min(due) - self._now()).total_seconds()
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    def _pass(self) -> None:
        """One pass. What breaks it is undone as a whole, and halts trading."""
        now, began = self._now(), self._loop_time()
        self._wake_due(now)
        scan = self._scan_if_due(now)
        inbox, self._inbox = self._inbox, []
        woken, self._woken = self._woken, set()
        events, self._event_at = self._event_at, {}
        commands = spool.pending(self._state_path)
        removals = any(at <= now for at in self._plans.due())
        if not (inbox or woken or commands or scan or removals or self._upkeep.due_at <= now):
            self._cancels.send(now)
            self._reads.read_if_due(now)
            return
        try:
            answers, wanted = self._record(now, inbox, woken, scan, commands)
        except _BROKEN as error:
            self._broken(error, inbox, woken, now)
            return
        self._broke = False
        self._log_events()
        for name, answer in answers:
            spool.reply(self._state_path, name, answer)
        if commands:
            reach(Step.COMMAND_DONE)
        self._act(now, wanted, events)
        self._reads.read_if_due(now)
        self.metrics.time("pass", self._loop_time() - began)
        self.metrics.count("passes")

    def _log_events(self) -> None:
        """What the pass wrote into the event log, for whoever follows the text log."""
        for row in self._store.events_after(self._logged):
            self._logged = row["seq"]
            facts = {
                name: row[column]
                for name, column in (("was", "from_state"), ("now", "to_state"))
                if row[column] is not None
            }
            detail = row["detail"][:_DETAIL_LOGGED]
            self._log.info(
                f"{row['subject']} {row['event']}",
                id=row["id"],
                seq=row["seq"],
                **facts,
                **({"detail": detail} if detail else {}),
            )

    def _broken(
        self, error: Exception, inbox: list[Item], woken: set[JobKey], now: datetime
    ) -> None:
        """A pass broke and was undone: halt, then take its facts in one by one.

        The fact that is itself the contradiction is left out, with an alert. If the next pass
        breaks as well, there is nothing left to try: the process ends with the error.
        """
        if self._broke:
            raise error
        self._broke = True
        self._halt(f"INVARIANT_BROKEN: {error}", now)
        self._plans.recover(self._store.plans())
        self._woken |= woken
        self._wake.set()
        self._take_alone(inbox, now)

    def _take_alone(self, inbox: Iterable[Item], now: datetime) -> None:
        """Take facts in one by one; a contradiction is left out alone, with an alert."""
        for fact in (fact for item in inbox for fact in facts(item)):
            try:
                with self._store.transaction(now) as tx:
                    intake = Intake(tx, now)
                    self._take(tx, intake, fact)
            except _BROKEN as contradiction:
                with self._store.transaction(now) as tx:
                    tx.alert("critical", "FACT_CONTRADICTS", str(contradiction))
            else:
                self._woken |= intake.woken
                if intake.look_again:
                    self._reads.soon()

    def _record(
        self,
        now: datetime,
        inbox: list[Item],
        woken: set[JobKey],
        scan: Scan | None,
        commands: tuple[spool.Command, ...],
    ) -> tuple[list[tuple[str, spool.Answer]], Wanted]:
        with self._store.transaction(now) as tx:
            halted = self._upkeep.follow_latch(tx, woken)
            intake = Intake(tx, now)
            for item in inbox:
                self._take(tx, intake, item)
            woken |= intake.woken
            if scan is not None:
                woken |= self._plans.follow(tx, scan, now)
            woken |= self._plans.withdraw_removed(tx, now)
            answers = []
            for command in commands:
                reach(Step.COMMAND_TAKEN)
                answer, keys = obey(tx, command, self._latch)
                answers.append((command.name, answer))
                woken |= keys
            worker = self._worker(tx, now, halted=halted)
            self._work_through(worker, woken)
            self._upkeep.write(tx, now, intake.foreign)
            self._cancels.know(_to_cancel(tx, woken), now)
            reach(Step.PASS_BEFORE_COMMIT)
        reach(Step.PASS_COMMITTED)
        if inbox:
            reach(Step.REPORTS_RECORDED)
        self.metrics.count("rejects", intake.rejected)
        if intake.resurfaced:
            self._actor.cancel(tuple(sorted(intake.resurfaced)))
        for token in intake.refused_on:
            self._tokens.stale(token)
        if intake.look_again:
            self._reads.soon()
        return answers, worker.wanted

    def _worker(self, tx: Writes, now: datetime, *, halted: bool) -> Worker:
        trading = TradingState.HALTED if halted else TradingState.ACTIVE
        desk = Desk(tx, now, self._config.limits, trading)
        intents = Intents(
            tx,
            now,
            self._config,
            desk,
            sign=self._sign,
            may_repeat=self._may_repeat,
            synced=self._reads.synced,
        )
        book = self._streams.book
        return Worker(tx, now, self._config, desk, intents, book=book, halted=halted)

    def _work_through(self, worker: Worker, woken: set[JobKey]) -> None:
        """Every woken job, and those that these wake in turn; each at most a few times."""
        rounds = 0
        while woken and rounds < 5:
            for key in sorted(woken):
                worker.work(key)
                if len(worker.wanted.posts) > self._config.actions_per_pass:
                    raise InvariantBroken(
                        f"more than {self._config.actions_per_pass} orders in one pass"
                    )
            woken, worker.wanted.also = worker.wanted.also - woken, set()
            rounds += 1

    def _take(self, tx: Writes, intake: Intake, item: Item) -> None:
        """One item of the inbox."""
        match item:
            case PostDone():
                self._note_answer(item)
                intake.post_done(item)
                reach(Step.OUTCOME_RECORDED)
            case CancelDone():
                intake.cancel_done(item)
            case Reported():
                intake.reported(item)
            case AccountRead():
                intake.account_read(item)
                if self._reads.taken(item):
                    intake.woken.update(job.key for job in tx.open_jobs())
                reach(Step.RECONCILE_RECORDED)
            case ReadFailed(error):
                self._log.warning("account read failed", error=error)
                self._reads.soon()
            case MarketSeen():
                intake.woken |= self._tokens.seen(tx, item)
            case MarketMissing():
                self._plans.market_missing(tx, item, intake.woken, self._now())
                if not item.permanent:
                    self._log.warning("market unreadable", error=item.error)

    # acting on what was recorded

    def _act(self, now: datetime, wanted: Wanted, events: dict[str, float]) -> None:
        for key, at in wanted.wake.items():
            if at is None:
                self._timers.pop(key, None)
            else:
                self._timers[key] = at
        self._tokens.forget(wanted.ended)
        if wanted.posts and events:
            began = min(events.values())
            self.metrics.time("event_to_post", self._loop_time() - began)
        for signed in wanted.posts:
            self._posted_at[signed.order_id] = self._loop_time()
            self._actor.post(signed, repeat=False)
        for signed in wanted.repeats:
            self._posted_at[signed.order_id] = self._loop_time()
            self._actor.post(signed, repeat=True)
        self.metrics.count("posts", len(wanted.posts))
        self.metrics.count("repeats", len(wanted.repeats))
        self.metrics.count("requotes", wanted.requotes)
        self.metrics.count("denied", wanted.denied)
        for ref in wanted.markets:
            self._actor.ask_market(ref)
        self._cancels.send(now)
        self._tokens.keep(now)

    def _note_answer(self, item: PostDone) -> None:
        sent = self._posted_at.pop(item.order_id, None)
        if sent is not None:
            self.metrics.time("post_to_answer", self._loop_time() - sent)
            self.metrics.count(type(item.outcome).__name__.lower())

    def _sign(self, order: NewOrder, now: datetime) -> SignedOrder:
        owner = self._venue.credentials.api_key
        return self._venue.signer.sign(order, salt=self._salt(), now=now, owner=owner)

    def _may_repeat(self, row: OrderRow) -> bool:
        """Under the same key, not under way, and not more often than every two seconds."""
        ident = row.working.order_id
        waited = row.sent_at is None or self._now() - row.sent_at >= timedelta(seconds=1)
        same_key = self._venue.credentials.api_key.encode() in row.body
        return waited and same_key and ident not in self._actor.posting

    # plans, timers, ends

    def _wake_due(self, now: datetime) -> None:
        for key, at in list(self._timers.items()):
            if at <= now:
                del self._timers[key]
                self._woken.add(key)

    def _scan_if_due(self, now: datetime) -> Scan | None:
        if now < self._scan_at:
            return None
        scan = self._scan(now)
        reach(Step.PLAN_READ)
        soon = self._config.rescan_s if scan.settled else self._config.settle_s
        self._scan_at = now + timedelta(seconds=soon)
        self._scanned = scan
        return scan

    def _all_done(self) -> bool:
        """Whether every known plan has ended, and no file waits to be one."""
        scan = self._scanned
        if scan is None or not scan.readable or not scan.settled or self._inbox or self._woken:
            return False
        if self._store.open_jobs() or self._store.working():
            return False
        return self._store.provisional() == 0

    def _last_pass(self) -> None:
        """Record the outcomes that came in while stopping, and what was counted."""
        now = self._now()
        inbox, self._inbox = self._inbox, []
        self._take_alone(inbox, now)
        with self._store.transaction(now) as tx:
            tx.set_runner("metrics", self.metrics.dump())
            tx.event("runner", "runner", "stopped")

    def _halt(self, reason: str, now: datetime) -> None:
        """Stop trading: latch first, then the database. Cancels go on."""
        self._log.error("trading halted", reason=reason)
        self._latch.set(reason, now)
        with self._store.transaction(now) as tx:
            tx.alert("critical", "TRADING_HALTED", reason)
            keys = {job.key for job in tx.open_jobs()}
        self._woken |= keys


def _to_cancel(tx: Writes, keys: Iterable[JobKey]) -> list[str]:
    """The orders of these jobs whose cancel is recorded."""
    return [
        row.working.order_id
        for key in sorted(keys)
        for row in tx.job_orders(key)
        if row.cancel_requested_at is not None
    ]

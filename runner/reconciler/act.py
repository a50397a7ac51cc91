"""Act: what was recorded is sent, and every outcome comes back as a value in the inbox.

Nothing here decides, and nothing here touches the database. The halt latch is read before every
POST: an order that was recorded but not sent because of it is proven not to have happened.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from runner.core.errors import VenueRefused, VenueUnknown, VenueUnreachable
from runner.reconciler.inbox import (
    AccountRead,
    CancelDone,
    Item,
    MarketMissing,
    MarketSeen,
    PostDone,
    ReadFailed,
)
from runner.steps import Step, reach
from runner.venue.ports import Refused, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import datetime

    from runner.core.plan import MarketRef
    from runner.store import Latch
    from runner.venue.client import Venue
    from runner.venue.ports import SignedOrder


class Actor:
    """Runs the network tasks of the loop. `put` adds to the inbox and wakes the loop."""

    def __init__(
        self,
        venue: Venue,
        latch: Latch,
        put: Callable[[Item], None],
        now: Callable[[], datetime],
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._venue = venue
        self._latch = latch
        self._put = put
        self._now = now
        self._crashed = crashed
        self._tasks: set[asyncio.Task[None]] = set()
        self.posting: set[str] = set()
        self.cancelling: set[str] = set()
        self.reading = False
        self.asking: set[str] = set()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(error)

    async def settle(self, within_s: float) -> None:
        """Let what is under way come to its outcome; give up after `within_s` seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        for task in tuple(self._tasks):
            task.cancel()

    def post(self, signed: SignedOrder, *, repeat: bool) -> None:
        """Send a recorded order; with `repeat`, the same bytes once more."""
        self.posting.add(signed.order_id)
        self._start(self._post(signed, repeat=repeat))

    async def _post(self, signed: SignedOrder, *, repeat: bool) -> None:
        try:
            await self._venue.turn()
            if self._latch.is_set():
                held = "trading was halted before the order was sent"
                outcome = Unknown(held) if repeat else Refused("TRADING_HALTED", held, curable=True)
                self._put(PostDone(signed.order_id, outcome, repeat))
                return
            reach(Step.REPEAT_BEFORE_SEND if repeat else Step.POST_BEFORE_SEND)
            answer = await self._venue.submit(signed)
            reach(Step.POST_ANSWERED)
            self._put(PostDone(signed.order_id, answer, repeat))
            if isinstance(answer, Refused) and answer.code == "ACCOUNT_BALANCE_SHORT":
                await self._refresh_balance(signed)
        finally:
            self.posting.discard(signed.order_id)

    async def _refresh_balance(self, signed: SignedOrder) -> None:
        """The refusal may come from a stale figure: the job's next try then meets a fresh one."""
        order = json.loads(signed.body)["order"]
        try:
            await self._venue.refresh_balance(
                None if order["side"] == "BUY" else str(order["tokenId"])
            )
        except VenueUnreachable:
            return  # the job backs off and tries again, and so does this

    def cancel(self, order_ids: tuple[str, ...]) -> None:
        """Send the cancels that were recorded."""
        self.cancelling.update(order_ids)
        self._start(self._cancel(order_ids))

    async def _cancel(self, order_ids: tuple[str, ...]) -> None:
        try:
            reach(Step.CANCEL_BEFORE_SEND)
            try:
                answer = await self._venue.cancel(order_ids)
            except (VenueRefused, VenueUnknown, VenueUnreachable) as error:
                self._put(CancelDone(order_ids, None, str(error)))
                return
            reach(Step.CANCEL_ANSWERED)
            self._put(CancelDone(order_ids, answer))
        finally:
            self.cancelling.difference_update(order_ids)

    def read_account(self, since: datetime, working: tuple[str, ...]) -> None:
        """Read the whole account: live orders, trades since, and who is not among them."""
        self.reading = True
        self._start(self._read(since, working))

    async def _read(self, since: datetime, working: tuple[str, ...]) -> None:
        try:
            started = self._now()
            open_orders = await self._venue.open_orders()
            live = {report.order_id for report in open_orders}
            looked_up = {
                ident: await self._venue.order(ident) for ident in working if ident not in live
            }
            # trades last: whatever an answer above says was matched has its trade here
            trades = await self._venue.trades(since)
            reach(Step.RECONCILE_READ)
            self._put(AccountRead(started, open_orders, trades, looked_up))
        except (VenueRefused, VenueUnreachable) as error:
            self._put(ReadFailed(str(error)))
        finally:
            self.reading = False

    def ask_market(self, ref: MarketRef) -> None:
        """Ask what the exchange says of a market."""
        name = ref.model_dump_json()
        if name not in self.asking:
            self.asking.add(name)
            self._start(self._market(ref, name))

    async def _market(self, ref: MarketRef, name: str) -> None:
        try:
            self._put(MarketSeen(ref, await self._venue.market(ref)))
        except VenueRefused as error:
            self._put(MarketMissing(ref, str(error), permanent=True))
        except VenueUnreachable as error:
            self._put(MarketMissing(ref, str(error), permanent=False))
        finally:
            self.asking.discard(name)

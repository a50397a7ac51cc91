"""Record: a decision becomes intents in the database, each checked before it is written.

A new order passes `risk.check`, is signed, and its signed integers are compared with the limit once
more; then it is recorded under its id with the exact bytes to send. What is to be sent after the
commit is collected in `Wanted`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from runner.core import risk
from runner.core.diff import REPEAT_WITHIN, diff
from runner.core.model import Cancel, OrderState, TimeInForce
from runner.core.money import never_worse, plain
from runner.core.plan import Plan
from runner.reconciler.config import GTD_MARGIN
from runner.venue.ports import NewOrder, SignedOrder

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from runner.core.model import Decision, Job, JobKey, Market, Submit
    from runner.core.plan import MarketRef
    from runner.reconciler.config import Config
    from runner.reconciler.desk import Desk
    from runner.store import Writes
    from runner.store.rows import JobRow, OrderRow

_DENIED_RETRY = timedelta(seconds=5)
_HURRIED_RETRY = timedelta(seconds=0.5)


@dataclass(slots=True)
class Wanted:
    """What a pass wants done once it is committed."""

    posts: list[SignedOrder] = field(default_factory=list)
    repeats: list[SignedOrder] = field(default_factory=list)
    markets: list[MarketRef] = field(default_factory=list)
    wake: dict[JobKey, datetime | None] = field(default_factory=dict)
    also: set[JobKey] = field(default_factory=set)
    ended: set[JobKey] = field(default_factory=set)
    requotes: int = 0
    denied: int = 0


@lru_cache(maxsize=4096)
def parse_plan(spec: str) -> Plan:
    """A stored revision, as it was accepted."""
    return Plan.model_validate_json(spec)


class Intents:
    """Records what decisions want, inside one transaction.

    Args:
        tx: the pass's transaction.
        now: its one clock read.
        config: periods and limits.
        desk: the account as the pass sees it.
        sign: makes an order of ours; the same order is the same bytes.
        may_repeat: whether an unknown order's bytes may leave once more just now.
        synced: whether the account was read since the last gap.
    """

    def __init__(
        self,
        tx: Writes,
        now: datetime,
        config: Config,
        desk: Desk,
        *,
        sign: Callable[[NewOrder, datetime], SignedOrder],
        may_repeat: Callable[[OrderRow], bool],
        synced: bool,
    ) -> None:
        self._tx = tx
        self._now = now
        self._config = config
        self._desk = desk
        self._sign = sign
        self._may_repeat = may_repeat
        self._synced = synced
        self.wanted = Wanted()

    def look_again(self, key: JobKey, at: datetime | None) -> None:
        """Wake the job at `at`, or earlier if something else already asked for it.

        A time that has come needs no wake-up: it is what this pass looks at.
        """
        known = self.wanted.wake.get(key)
        if at is not None and at > self._now and (known is None or at < known):
            self.wanted.wake[key] = at

    def _reason(self, key: JobKey) -> str:
        job = self._tx.job(key)
        return "" if job is None else job.reason

    def carry_out(
        self,
        job: JobRow,
        core: Job,
        market: Market,
        decision: Decision,
        reasons: list[str],
    ) -> bool:
        """Turn a decision into recorded intents; False if a new order had to wait.

        Then what the decision would have the job remember of its quote has not happened either.
        """
        shown = True
        result = diff(core, decision)
        for action in result.actions:
            if isinstance(action, Cancel):
                if self._tx.request_cancel(action.order_id, action.why):
                    self.wanted.requotes += 1
                continue
            shown = self._may_submit(job, market, reasons) and self._submit(
                core, action, market, decision, reasons
            )
            if not shown:
                break
        repeatable = result.repeatable if self._synced else frozenset()
        for row in self._tx.job_orders(job.key):
            self._maybe_repeat(row, repeatable)
        return shown

    def _may_submit(self, job: JobRow, market: Market, reasons: list[str]) -> bool:
        """Whether anything new may be recorded for the job now; if not, `reasons` says why."""
        if not self._synced:
            reasons.append("VENUE_SYNCING: waiting for a complete read of the account")
        elif not market.info.accepting:
            reasons.append("MARKET_CLOSED: it accepts no orders")
        elif job.retry_at is not None and self._now < job.retry_at:
            reasons.append("BACKING_OFF: after a refusal")
            self.look_again(job.key, job.retry_at)
        else:
            return True
        return False

    def _maybe_repeat(self, row: OrderRow, repeatable: frozenset[str]) -> None:
        """Send the same bytes of an unknown order once more, if that is still wanted and safe."""
        order = row.working
        if (
            order.state is OrderState.UNKNOWN
            and order.order_id in repeatable
            and row.cancel_requested_at is None
            and self._now - order.created_at < REPEAT_WITHIN
            and self._may_repeat(row)
        ):
            self._tx.note_repeat(order.order_id)
            self.wanted.repeats.append(SignedOrder(order.order_id, row.body, 0, 0))

    def _submit(
        self,
        core: Job,
        submit: Submit,
        market: Market,
        decision: Decision,
        reasons: list[str],
    ) -> bool:
        """Check one new order, sign it and record it; False if it was denied."""
        tx, info = self._tx, market.info
        plan = parse_plan(tx.revision_text(core.key.plan))
        view = self._desk.risk_view(core.key.plan, plan.risk)
        verdict = risk.check(submit, core.spec.limit_price, market, view)
        if isinstance(verdict, risk.Deny):
            self.wanted.denied += 1
            text = str(verdict)
            if text not in (self._reason(core.key)):
                tx.event("job", str(core.key), "denied", detail=text)
            reasons.insert(0, text)
            hurried = verdict.code is risk.Code.ORDERS_TOO_FAST
            self.look_again(core.key, self._now + (_HURRIED_RETRY if hurried else _DENIED_RETRY))
            return False
        wire_tif, expires_at = self._life(submit.time_in_force)
        order = NewOrder(
            token_id=submit.token_id,
            side=submit.side,
            price=submit.price,
            size=submit.size,
            time_in_force=wire_tif,
            post_only=submit.post_only,
            expires_at=expires_at,
            tick=info.tick,
            neg_risk=info.neg_risk,
        )
        signed = self._sign(order, self._now)
        if not never_worse(
            submit.side, signed.maker_amount, signed.taker_amount, core.spec.limit_price
        ):
            tx.event("job", str(core.key), "denied", detail="LIMIT_PRICE: the signed integers")
            return False
        tx.put_order(
            submit,
            order_id=signed.order_id,
            time_in_force=wire_tif,
            maker_amount=signed.maker_amount,
            taker_amount=signed.taker_amount,
            expires_at=expires_at,
            body=signed.body,
            decision=_seen(market, decision),
        )
        self._desk.allowed(signed.order_id, submit)
        self.wanted.posts.append(signed)
        return True

    def _life(self, wanted: TimeInForce) -> tuple[TimeInForce, datetime | None]:
        """What goes on the wire: a plan's gtc is a GTD whose end can be proven (design 6)."""
        life = self._config.order_life_s
        if wanted in (TimeInForce.FAK, TimeInForce.FOK) or life <= 0:
            return wanted, None
        ends = self._now + GTD_MARGIN + timedelta(seconds=life)
        return TimeInForce.GTD, ends.replace(microsecond=0)


def _seen(market: Market, decision: Decision) -> str:
    """What the decision saw of the market, as it is stored with the order it led to."""
    book = market.book
    own = sorted({plain(order.price) for order in market.own})
    return json.dumps(
        {
            "bid": plain(book.bids[0].price) if book and book.bids else None,
            "bid_size": plain(book.bids[0].size) if book and book.bids else None,
            "ask": plain(book.asks[0].price) if book and book.asks else None,
            "ask_size": plain(book.asks[0].size) if book and book.asks else None,
            "book_at": book.at.isoformat() if book else None,
            "tick": plain(market.info.tick),
            "own": own,
            "reasons": list(decision.reasons),
        },
        separators=(",", ":"),
    )

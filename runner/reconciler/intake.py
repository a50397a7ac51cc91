"""Observe: what came back from the world becomes facts in the database.

1. A sighting, of whatever kind, makes an order live; absence alone never ends one.
2. A refusal proves something only for bytes that were sent for the first time.
3. An order is closed when its end is known and its trades add up to what the exchange says it
   matched; if the exchange no longer knows it, two complete reads five seconds apart stand in.
4. An order that was called refused or never arrived, and is seen after all, stops its plan.
5. A trade of an order that is ours is always booked, in whatever state the order is.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from runner.core.errors import InvariantBroken
from runner.core.model import (
    EndReason,
    Liquidity,
    OrderState,
    ReportStatus,
    TimeInForce,
    TradeReport,
)
from runner.core.money import ZERO
from runner.core.money import fee as taker_fee
from runner.core.reports import ended_reason, meaning
from runner.reconciler.config import PROOF_GRACE, READS_APART
from runner.reconciler.inbox import AccountRead, CancelDone, PostDone, Reported
from runner.venue.ports import Accepted, Refused, Unknown

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from runner.core.model import JobKey, OrderReport
    from runner.store import Writes
    from runner.store.rows import OrderRow

_FAK_LIFE = timedelta(minutes=10)
_NEVER_THERE = frozenset({EndReason.REFUSED, EndReason.NEVER_ARRIVED})


def life_over_at(order: OrderRow) -> datetime | None:
    """When an order can no longer be live, whatever happened to it; None for a true GTC."""
    working = order.working
    if working.time_in_force in (TimeInForce.FAK, TimeInForce.FOK):
        return (order.sent_at or working.created_at) + _FAK_LIFE
    return working.expires_at


class Intake:
    """Takes items in, inside one transaction; collects the jobs whose facts changed."""

    def __init__(self, tx: Writes, now: datetime) -> None:
        self._tx = tx
        self._now = now
        self.woken: set[JobKey] = set()
        self.look_again: bool = False
        self.foreign: set[str] = set()
        self.rejected = 0
        self.resurfaced: set[str] = set()  # to be cancelled by id, though we took them for gone
        self.refused_on: set[str] = set()  # tokens whose rules may not be what we believe

    # replies

    def post_done(self, item: PostDone) -> None:
        """A POST came to its outcome."""
        order = self._ours(item.order_id)
        match item.outcome:
            case Accepted(report):
                self.order_report(report)
                self._tx.set_backoff(order.working.key, 0, 0, None)
            case Refused(code, text, curable):
                self._refused(order, item, f"{code}: {text}", curable=curable)
            case Unknown(text):
                if order.working.state is OrderState.SUBMITTING:
                    self._tx.move_order(item.order_id, "lost", reason=f"NO_ANSWER: {text}")
                self.look_again = True
        self.woken.add(order.working.key)

    def _refused(self, order: OrderRow, item: PostDone, reason: str, *, curable: bool) -> None:
        ident, key = item.order_id, order.working.key
        self.rejected += 1
        self.refused_on.add(order.working.token_id)
        if item.repeat or order.working.state is not OrderState.SUBMITTING:
            self._tx.event("order", ident, "repeat_refused", detail=reason)
            self.look_again = True
            return
        self._tx.move_order(ident, "refused", end_reason=EndReason.REFUSED, reason=reason)
        job = self._tx.job(key)
        if job is None:
            raise InvariantBroken(f"order {ident} belongs to no job")
        refusals = job.refusals + 1
        wait = timedelta(seconds=min(60, 2 ** min(refusals - 1, 6)))
        incurable = 0 if curable else job.incurable + 1
        self._tx.set_backoff(key, refusals, incurable, self._now + wait)

    def cancel_done(self, item: CancelDone) -> None:
        """A cancel was answered. It never says what was filled before it."""
        if item.answer is None:
            self.look_again = True
            return
        for ident in item.order_ids:
            order = self._tx.order(ident)
            if order is None or order.working.state is OrderState.CLOSED:
                continue
            self.woken.add(order.working.key)
            self.look_again = True
            if ident in item.answer.cancelled and order.working.state in (
                OrderState.LIVE,
                OrderState.UNKNOWN,
            ):
                self._tx.move_order(ident, "ended", end_reason=EndReason.CANCELLED)

    # reports

    def reported(self, item: Reported) -> None:
        """Something was said unasked."""
        if isinstance(item.report, TradeReport):
            self.trade_report(item.report)
        else:
            self.order_report(item.report)

    def order_report(self, report: OrderReport, *, read: bool = False) -> None:
        """What the exchange says of one order; `read` when we asked for this very order.

        What an order had matched when it ended is believed from such a read, and from elsewhere
        only if its trades say so already: a recorded cancellation event of the real exchange
        gives the full size as matched, without a trade.
        """
        order = self._tx.order(report.order_id)
        if order is None:
            if report.status is ReportStatus.LIVE:
                self.foreign.add(report.order_id)
            return
        ident = report.order_id
        if order.end_reason in _NEVER_THERE and report.status is ReportStatus.LIVE:
            self._resurfaced(order)
        self._tx.note_present(ident)
        if report.matched is not None:
            self._tx.note_matched(ident, report.matched)
        booked = order.working.matched
        said = report.matched
        believed = said if said is not None and (read or said <= booked) else None
        event = meaning(order.working.state, report.status)
        if report.status is ReportStatus.UNRECOGNISED:
            self._tx.alert(
                "warning", "VENUE_UNRECOGNISED", f"order {ident}: {report.text or 'no status'}"
            )
            self.look_again = True
        if event == "ended":
            why = ended_reason(
                report,
                matched=booked if believed is None else believed,
                size=order.working.size,
                expires_at=order.working.expires_at,
                now=self._now,
            )
            self._tx.move_order(ident, "ended", end_reason=why, reason=report.text)
        elif event is not None:
            self._tx.move_order(ident, event)
        if report.status is ReportStatus.PRESENT:
            self.look_again = True  # it exists; how it stands is still to be read
        over = report.status in (
            ReportStatus.FILLED,
            ReportStatus.CANCELLED,
            ReportStatus.EXPIRED,
        )
        if over and believed is not None:
            self._tx.note_final_matched(ident, believed)
        self.woken.add(order.working.key)
        self._settle(ident)

    def trade_report(self, report: TradeReport) -> None:
        """One execution of ours, or its next state."""
        order = self._tx.order(report.order_id)
        if order is None:
            return
        working = order.working
        if (report.token_id, report.side) != (working.token_id, working.side):
            raise InvariantBroken(f"trade {report.trade_id} is on another token or side than ours")
        fee = report.fee if report.fee is not None else self._fee(report)
        if not self._tx.book_trade(report, working.key, fee):
            return
        if order.end_reason in _NEVER_THERE:
            self._resurfaced(order)
        self._tx.note_present(report.order_id)
        self.woken.add(working.key)
        if working.state in (OrderState.SUBMITTING, OrderState.UNKNOWN):
            self._tx.move_order(report.order_id, "sighted")
        self._settle(report.order_id)

    def _resurfaced(self, order: OrderRow) -> None:
        """An order that was proven not to be there is there: a proof was wrong.

        It is no longer counted anywhere, so its plan stops, and it is cancelled by its id.
        """
        key = order.working.key
        self.resurfaced.add(order.working.order_id)
        self._tx.alert(
            "critical",
            "ORDER_RESURFACED",
            f"order {order.working.order_id} of {key} was taken for {order.end_reason}: it exists",
        )
        if self._tx.set_pause(key.plan, "runner", on=True):
            self.woken.update(job.key for job in self._tx.jobs(key.plan))

    def _fee(self, report: TradeReport) -> Decimal:
        info = self._tx.market(report.token_id)
        if info is None:
            raise InvariantBroken(f"trade {report.trade_id} on a market never read")
        if report.liquidity is Liquidity.MAKER:
            return ZERO
        return taker_fee(report.size, report.price, info.fee_rate, info.fee_exponent)

    def _settle(self, ident: str) -> None:
        """Close an order whose end is proven; ask for a read where something is missing."""
        order = self._ours(ident)
        working = order.working
        if working.state is OrderState.LIVE and working.matched >= working.size:
            self._tx.move_order(ident, "ended", end_reason=EndReason.FILLED)
            self._tx.note_final_matched(ident, working.matched)
            order = self._ours(ident)
        if order.working.state is OrderState.CLOSING:
            final, matched = order.final_matched, order.working.matched
            if matched >= order.working.size:
                self._tx.set_end_reason(ident, EndReason.FILLED)
                self._tx.move_order(ident, "complete")
            elif final is not None and matched >= final:
                self._tx.move_order(ident, "complete")
            else:
                self.look_again = True
        elif order.reported_matched is not None and order.reported_matched > working.matched:
            self.look_again = True

    # reads of the whole account

    def account_read(self, item: AccountRead) -> None:
        """One complete look at the account."""
        for trade in item.trades:
            self.trade_report(trade)
        for report in item.open_orders:
            self.order_report(report)
        for ident, answer in item.looked_up.items():
            if answer is not None:
                self.order_report(answer, read=True)
                continue
            order = self._tx.order(ident)
            if order is not None and order.working.state is not OrderState.CLOSED:
                self._absent(order, item.started_at)

    def _absent(self, order: OrderRow, read_at: datetime) -> None:
        """The account does not show an order, and the exchange answers null for it."""
        ident, state = order.working.order_id, order.working.state
        if (order.sent_at or order.working.created_at) >= read_at:
            return  # sent while the read was under way: it proves nothing
        if state is OrderState.SUBMITTING:
            return  # its POST is under way
        over_at = life_over_at(order)
        if state is OrderState.UNKNOWN:
            if over_at is None:
                self._tx.alert(
                    "critical", "ORDER_UNRESOLVED", f"order {ident}: no end can be proven"
                )
                return
            if read_at < over_at + PROOF_GRACE:
                self.look_again = True
                self.woken.add(order.working.key)  # it may send the same bytes once more
                return
        if order.absent_at is not None and self._now - order.absent_at < READS_APART:
            self.look_again = True
            return
        if state is OrderState.LIVE:
            # should the reads be wrong, the cancel makes them right before anything replaces it
            self._tx.request_cancel(ident, "GONE: a complete read lacks it")
            self.woken.add(order.working.key)
        self._tx.note_absent(ident)
        if order.absent_reads + 1 < 2:
            self.look_again = True
            return
        self.woken.add(order.working.key)
        if state is OrderState.UNKNOWN:
            self._tx.move_order(
                ident,
                "never_arrived",
                end_reason=EndReason.NEVER_ARRIVED,
                reason="NEVER_ARRIVED: its life is over, and two complete reads lack it",
            )
            return
        if state is OrderState.LIVE:
            over = over_at is not None and read_at >= over_at - timedelta(seconds=60)
            why = EndReason.EXPIRED if over else EndReason.CANCELLED
            self._tx.move_order(
                ident, "ended", end_reason=why, reason="GONE: two complete reads lack it"
            )
        self._tx.note_final_matched(ident, order.working.matched)
        self._settle(ident)

    def _ours(self, ident: str) -> OrderRow:
        order = self._tx.order(ident)
        if order is None:
            raise InvariantBroken(f"an answer for an order that was never recorded: {ident}")
        return order

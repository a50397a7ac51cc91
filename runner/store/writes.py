"""The few ways in which the database changes.

Each is called inside one transaction of `Store.transaction`. A move of a state machine is a
compare-and-set on its row plus one row in the event log, and nothing else writes a `state`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.core.errors import StaleState
from runner.core.ledger import Execution, book
from runner.core.lifecycles import JOB, ORDER, PLAN, TRADE
from runner.core.model import (
    EndReason,
    JobKey,
    JobState,
    Liquidity,
    OrderState,
    PlanState,
    Position,
    Side,
    TradeState,
)
from runner.core.money import from_micros, to_micros
from runner.store.reads import Reads
from runner.store.rows import dump_memory, json_detail, moment, position_of, stamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    from runner.core.model import MarketInfo, Memory, Slice, Submit, TimeInForce, TradeReport

_FINAL_PLANS = frozenset({"completed", "withdrawn", "expired", "failed"})
PAUSE_REASONS = ("file", "operator", "removal", "runner")
_TRADE_EVENTS = {
    TradeState.MINED: "mined",
    TradeState.RETRYING: "retrying",
    TradeState.CONFIRMED: "confirmed",
    TradeState.FAILED: "failed",
}


def _maybe(at: datetime | None) -> int | None:
    return None if at is None else stamp(at)


class Writes(Reads):
    """One transaction's writes, and the reads that see them. `now` is the pass's one clock read."""

    def __init__(self, connection: sqlite3.Connection, now: datetime) -> None:
        super().__init__(connection)
        self._now = now
        self.now_us = stamp(now)

    # the log

    def event(
        self,
        subject: str,
        ident: str,
        event: str,
        *,
        from_state: str | None = None,
        to_state: str | None = None,
        detail: str = "",
    ) -> None:
        """Append one row to the event log."""
        self._db.execute(
            "INSERT INTO event (at, subject, id, event, from_state, to_state, detail)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self.now_us, subject, ident, event, from_state, to_state, detail),
        )

    def alert(self, severity: str, code: str, message: str) -> None:
        """Raise an alert, once while the same one is unacknowledged."""
        known = self._db.execute(
            "SELECT 1 FROM alert WHERE code = ? AND message = ? AND acknowledged_at IS NULL",
            (code, message),
        ).fetchone()
        if known is None:
            self._db.execute(
                "INSERT INTO alert (at, severity, code, message) VALUES (?, ?, ?, ?)",
                (self.now_us, severity, code, message),
            )
            self.event("runner", "alert", code.lower(), detail=message)

    def set_runner(self, key: str, value: str) -> None:
        """Remember one value of the runner's own."""
        self._db.execute(
            "INSERT INTO runner (key, value, at) VALUES (?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value, at = excluded.at",
            (key, value, self.now_us),
        )

    # plans

    def put_plan(self, plan: str, file: str, content_hash: str, text: str, spec: str) -> None:
        """A new plan, or a rejected id put right: state `accepted`, revision 1."""
        row = self.plan(plan)
        if row is None:
            self._db.execute(
                "INSERT INTO plan (plan, state, revision, file, accepted_at)"
                " VALUES (?, ?, 0, ?, ?)",
                (plan, PLAN.initial.value, file, self.now_us),
            )
            self.event("plan", plan, "accepted", to_state=PLAN.initial.value, detail=file)
        else:
            self.move_plan(plan, "mended")
            self._db.execute(
                "UPDATE plan SET file = ?, accepted_at = ? WHERE plan = ?",
                (file, self.now_us, plan),
            )
        self.put_revision(plan, content_hash, text, spec)

    def put_revision(self, plan: str, content_hash: str, text: str, spec: str) -> int:
        """One more immutable version of a plan; it is in force from now on."""
        [n] = self._db.execute(
            "SELECT COALESCE(MAX(n), 0) + 1 FROM revision WHERE plan = ?", (plan,)
        ).fetchone()
        self._db.execute(
            "INSERT INTO revision (plan, n, content_hash, text, spec, accepted_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (plan, n, content_hash, text, spec, self.now_us),
        )
        self._db.execute("UPDATE plan SET revision = ? WHERE plan = ?", (n, plan))
        self.event("plan", plan, "revision", detail=json_detail(n=n, content_hash=content_hash))
        return int(n)

    def put_rejected(self, plan: str, file: str, reason: str) -> None:
        """A new id whose file is rejected: shown, but it burns nothing."""
        row = self.plan(plan)
        if row is None:
            self._db.execute(
                "INSERT INTO plan (plan, state, reason, revision, file) VALUES (?, ?, ?, 0, ?)",
                (plan, PlanState.REJECTED.value, reason, file),
            )
        elif row.state is PlanState.REJECTED:
            self._db.execute(
                "UPDATE plan SET reason = ?, file = ? WHERE plan = ?", (reason, file, plan)
            )
        self.event(
            "plan",
            plan,
            "rejected",
            to_state="rejected" if row is None else None,
            detail=json_detail(file=file, reason=reason),
        )

    def move_plan(self, plan: str, event: str, reason: str = "") -> PlanState:
        """Advance a plan's machine."""
        row = self.plan(plan)
        if row is None:
            raise StaleState(f"no plan {plan}")
        target = PLAN.advance(row.state, event)
        ended = self.now_us if target.value in _FINAL_PLANS else None
        self._swap(
            "UPDATE plan SET state = ?, reason = ?, ended_at = ? WHERE plan = ? AND state = ?",
            (target.value, reason, ended, plan, row.state.value),
            f"plan {plan}",
        )
        self.event(
            "plan", plan, event, from_state=row.state.value, to_state=target.value, detail=reason
        )
        return target

    def set_pause(self, plan: str, who: str, *, on: bool) -> bool:
        """Set or clear one of a plan's pause reasons; True if that changed it."""
        if who not in PAUSE_REASONS:
            raise StaleState(f"no pause reason {who}")
        changed = self._db.execute(
            f"UPDATE plan SET paused_by_{who} = ? WHERE plan = ? AND paused_by_{who} <> ?",
            (int(on), plan, int(on)),
        ).rowcount
        return bool(changed)

    def set_file(self, plan: str, file: str, missing_since: datetime | None) -> None:
        """Where a plan's file is now, and since when it is missing."""
        self._db.execute(
            "UPDATE plan SET file = ?, missing_since = ? WHERE plan = ?",
            (file, _maybe(missing_since), plan),
        )

    # jobs

    def put_job(
        self,
        key: JobKey,
        *,
        ordinal: int,
        side: Side,
        total: Decimal | None,
        limit_price: Decimal,
        spec: str,
        seed: str,
        starts_at: datetime,
        ends_at: datetime | None,
    ) -> None:
        """A new job, waiting."""
        self._db.execute(
            "INSERT INTO job (plan, job, ordinal, state, side, total, limit_price, spec, seed,"
            " starts_at, ends_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *key,
                ordinal,
                JOB.initial.value,
                side.value,
                None if total is None else to_micros(total),
                to_micros(limit_price),
                spec,
                seed,
                stamp(starts_at),
                _maybe(ends_at),
            ),
        )
        self.event("job", str(key), "accepted", to_state=JOB.initial.value)

    def revise_job(
        self,
        key: JobKey,
        *,
        ordinal: int,
        total: Decimal | None,
        limit_price: Decimal,
        spec: str,
        starts_at: datetime,
        ends_at: datetime | None,
    ) -> None:
        """A job's spec as the new revision has it. What is filled stays filled."""
        self._db.execute(
            "UPDATE job SET ordinal = ?, total = ?, limit_price = ?, spec = ?, starts_at = ?,"
            " ends_at = ? WHERE plan = ? AND job = ?",
            (
                ordinal,
                None if total is None else to_micros(total),
                to_micros(limit_price),
                spec,
                stamp(starts_at),
                _maybe(ends_at),
                *key,
            ),
        )
        self.event("job", str(key), "revised")

    def move_job(self, key: JobKey, event: str, reason: str = "") -> JobState:
        """Advance a job's machine."""
        row = self.job(key)
        if row is None:
            raise StaleState(f"no job {key}")
        target = JOB.advance(row.state, event)
        ended = self.now_us if target in JOB.final else None
        started = self.now_us if event == "started" else None
        self._swap(
            "UPDATE job SET state = ?, reason = ?, ended_at = ?,"
            " started_at = COALESCE(started_at, ?),"
            " next_action_at = CASE WHEN ? THEN NULL ELSE next_action_at END"
            " WHERE plan = ? AND job = ? AND state = ?",
            (
                target.value,
                reason,
                ended,
                started,
                int(target in JOB.final),
                *key,
                row.state.value,
            ),
            f"job {key}",
        )
        self.event(
            "job",
            str(key),
            event,
            from_state=row.state.value,
            to_state=target.value,
            detail=reason,
        )
        return target

    def intend(self, key: JobKey, end: JobState, reason: str) -> None:
        """Send a job draining towards `end`, which is stored."""
        self.move_job(key, "draining", reason)
        self._db.execute(
            "UPDATE job SET intended_end = ? WHERE plan = ? AND job = ?", (end.value, *key)
        )

    def change_intent(self, key: JobKey, end: JobState | None, reason: str) -> None:
        """Another end for a draining job, or none when it is working again."""
        self._db.execute(
            "UPDATE job SET intended_end = ?, reason = ? WHERE plan = ? AND job = ?",
            (None if end is None else end.value, reason, *key),
        )

    def start_segment(
        self, key: JobKey, segment: int, at: datetime, filled: Decimal, slices: Iterable[Slice]
    ) -> None:
        """Anchor the job's curve anew."""
        self._db.execute(
            "UPDATE job SET segment = ?, segment_at = ?, segment_filled = ?"
            " WHERE plan = ? AND job = ?",
            (segment, stamp(at), to_micros(filled), *key),
        )
        self.save_slices(key, slices)
        self.event("job", str(key), "segment", detail=json_detail(n=segment, filled=filled))

    def save_slices(self, key: JobKey, slices: Iterable[Slice]) -> None:
        """Slices as they stand now."""
        self._db.executemany(
            "INSERT INTO slice (plan, job, segment, n, due_at, planned, opened_at, filled)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " opened_at = excluded.opened_at, filled = excluded.filled",
            [
                (
                    *key,
                    each.segment,
                    each.n,
                    stamp(each.due_at),
                    to_micros(each.planned),
                    _maybe(each.opened_at),
                    None if each.filled is None else to_micros(each.filled),
                )
                for each in slices
            ],
        )

    def set_job_token(self, key: JobKey, token_id: str) -> None:
        """The token that the job's market reference names."""
        self._db.execute("UPDATE job SET token_id = ? WHERE plan = ? AND job = ?", (token_id, *key))

    def set_job_total(self, key: JobKey, total: Decimal) -> None:
        """The number that `filled(JOB)` came to."""
        self._db.execute(
            "UPDATE job SET total = ? WHERE plan = ? AND job = ?", (to_micros(total), *key)
        )

    def set_arrival(self, key: JobKey, price: Decimal) -> None:
        """The price at the time the job began, once."""
        self._db.execute(
            "UPDATE job SET arrival_price = ? WHERE plan = ? AND job = ? AND arrival_price IS NULL",
            (to_micros(price), *key),
        )

    def set_job_window(self, key: JobKey, starts_at: datetime, ends_at: datetime | None) -> None:
        """When the job begins and ends, once that is known."""
        self._db.execute(
            "UPDATE job SET starts_at = ?, ends_at = ? WHERE plan = ? AND job = ?",
            (stamp(starts_at), _maybe(ends_at), *key),
        )

    def set_job_pause(self, key: JobKey, *, on: bool) -> None:
        """The operator's own pause of one job."""
        self._db.execute(
            "UPDATE job SET paused_by_operator = ? WHERE plan = ? AND job = ?", (int(on), *key)
        )

    def save_memory(self, key: JobKey, memory: Memory) -> None:
        """What the job must remember."""
        self._db.execute(
            "UPDATE job SET memory = ? WHERE plan = ? AND job = ?", (dump_memory(memory), *key)
        )

    def set_next_action(self, key: JobKey, at: datetime | None, reason: str) -> None:
        """When the job looks again even if nothing happens, and why it does what it does."""
        self._db.execute(
            "UPDATE job SET next_action_at = ?, reason = ?"
            " WHERE plan = ? AND job = ? AND (next_action_at IS NOT ? OR reason IS NOT ?)",
            (_maybe(at), reason, *key, _maybe(at), reason),
        )

    def set_backoff(
        self, key: JobKey, refusals: int, incurable: int, retry_at: datetime | None
    ) -> None:
        """How often in a row the exchange refused the job, and when it may try again.

        `incurable` counts those in a row that waiting cannot cure.
        """
        self._db.execute(
            "UPDATE job SET refusals = ?, incurable = ?, retry_at = ? WHERE plan = ? AND job = ?",
            (refusals, incurable, _maybe(retry_at), *key),
        )

    # orders

    def put_order(
        self,
        submit: Submit,
        *,
        order_id: str,
        time_in_force: TimeInForce,
        maker_amount: int,
        taker_amount: int,
        expires_at: datetime | None,
        body: bytes,
        decision: str,
    ) -> None:
        """A signed order and the intent to send it, under the id the exchange will know it by.

        `time_in_force` is the one on the wire.

        Raises:
            sqlite3.IntegrityError: the database refuses it (it would exceed its job's total).
        """
        self._db.execute(
            "INSERT INTO child_order (order_id, plan, job, token_id, side, price, size,"
            " time_in_force, post_only, maker_amount, taker_amount, expires_at, body, decision,"
            " state, created_at, sends, sent_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
            (
                order_id,
                *submit.key,
                submit.token_id,
                submit.side.value,
                to_micros(submit.price),
                to_micros(submit.size),
                time_in_force.value,
                int(submit.post_only),
                maker_amount,
                taker_amount,
                _maybe(expires_at),
                body,
                decision,
                ORDER.initial.value,
                self.now_us,
                self.now_us,
            ),
        )
        self.event("order", order_id, "recorded", to_state=ORDER.initial.value, detail=decision)

    def move_order(
        self,
        order_id: str,
        event: str,
        *,
        end_reason: EndReason | None = None,
        reason: str = "",
    ) -> OrderState:
        """Advance an order's machine; an end gives its reason."""
        row = self._db.execute(
            "SELECT state FROM child_order WHERE order_id = ?", (order_id,)
        ).fetchone()
        if row is None:
            raise StaleState(f"no order {order_id}")
        target = ORDER.advance(OrderState(row["state"]), event)
        self._swap(
            "UPDATE child_order SET state = ?, ended_at = ?,"
            " end_reason = COALESCE(?, end_reason),"
            " reason = CASE WHEN ? <> '' THEN ? ELSE reason END"
            " WHERE order_id = ? AND state = ?",
            (
                target.value,
                self.now_us if target is OrderState.CLOSED else None,
                None if end_reason is None else end_reason.value,
                reason,
                reason,
                order_id,
                row["state"],
            ),
            f"order {order_id}",
        )
        self.event(
            "order",
            order_id,
            event,
            from_state=row["state"],
            to_state=target.value,
            detail=reason or ("" if end_reason is None else end_reason.value),
        )
        return target

    def set_end_reason(self, order_id: str, end_reason: EndReason) -> None:
        """A better word for an end that is still being proven."""
        self._db.execute(
            "UPDATE child_order SET end_reason = ? WHERE order_id = ? AND state = 'closing'",
            (end_reason.value, order_id),
        )

    def note_matched(self, order_id: str, matched: Decimal) -> None:
        """The largest matched size the exchange has reported."""
        self._db.execute(
            "UPDATE child_order SET reported_matched = MAX(COALESCE(reported_matched, 0), ?)"
            " WHERE order_id = ?",
            (to_micros(matched), order_id),
        )

    def note_final_matched(self, order_id: str, matched: Decimal) -> None:
        """What the exchange says an order that is over had matched in all."""
        self._db.execute(
            "UPDATE child_order SET final_matched = MAX(COALESCE(final_matched, 0), ?)"
            " WHERE order_id = ?",
            (to_micros(matched), order_id),
        )

    def note_absent(self, order_id: str, *, restart: bool = False) -> None:
        """One more complete read of the account in which the order does not appear."""
        self._db.execute(
            "UPDATE child_order SET absent_reads = CASE WHEN ? THEN 1 ELSE absent_reads + 1 END,"
            " absent_at = ? WHERE order_id = ?",
            (int(restart), self.now_us, order_id),
        )

    def note_present(self, order_id: str) -> None:
        """The order was seen: earlier absences prove nothing."""
        self._db.execute(
            "UPDATE child_order SET absent_reads = 0, absent_at = NULL"
            " WHERE order_id = ? AND absent_reads > 0",
            (order_id,),
        )

    def request_cancel(self, order_id: str, why: str) -> bool:
        """The intent to cancel, before anything is sent; False when it was there already."""
        changed = self._db.execute(
            "UPDATE child_order SET cancel_requested_at = ?"
            " WHERE order_id = ? AND cancel_requested_at IS NULL AND state <> 'closed'",
            (self.now_us, order_id),
        ).rowcount
        if changed:
            self.event("order", order_id, "cancel_requested", detail=why)
        return bool(changed)

    def note_repeat(self, order_id: str) -> None:
        """The same bytes are about to be sent once more."""
        self._db.execute(
            "UPDATE child_order SET sends = sends + 1, sent_at = ? WHERE order_id = ?",
            (self.now_us, order_id),
        )
        self.event("order", order_id, "repeated")

    # trades and what follows from them

    def book_trade(self, report: TradeReport, key: JobKey, fee: Decimal) -> bool:
        """Book one execution, or its next state. Facts are always booked. True if it was news."""
        known = self.trade_state(report.trade_id, report.order_id)
        ident = f"{report.trade_id}/{report.order_id}"
        if known is None:
            self._db.execute(
                "INSERT INTO trade (trade_id, order_id, plan, job, token_id, side, price, size,"
                " fee, liquidity, state, matched_at, booked_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    report.trade_id,
                    report.order_id,
                    *key,
                    report.token_id,
                    report.side.value,
                    to_micros(report.price),
                    to_micros(report.size),
                    to_micros(fee),
                    report.liquidity.value,
                    report.state.value,
                    stamp(report.matched_at),
                    self.now_us,
                ),
            )
            self.event(
                "trade",
                ident,
                "booked",
                to_state=report.state.value,
                detail=json_detail(price=report.price, size=report.size, job=str(key)),
            )
        else:
            event = _TRADE_EVENTS.get(report.state)
            if event is None or not TRADE.allows(known, event):
                return False
            target = TRADE.advance(known, event)
            self._swap(
                "UPDATE trade SET state = ? WHERE trade_id = ? AND order_id = ? AND state = ?",
                (target.value, report.trade_id, report.order_id, known.value),
                f"trade {ident}",
            )
            self.event("trade", ident, event, from_state=known.value, to_state=target.value)
        for scope in ("", key.plan):
            self._rebook(scope, report, known is None)
        return True

    def _rebook(self, scope: str, report: TradeReport, new: bool) -> None:
        """Bring a position up to date: by the new trade alone if it is the last, else anew."""
        plan = "" if scope == "" else " AND plan = ?"
        values = [report.token_id] if scope == "" else [report.token_id, scope]
        rank = (stamp(report.matched_at), report.trade_id, report.order_id)
        later = self._db.execute(
            f"SELECT 1 FROM trade WHERE token_id = ?{plan}"
            " AND (matched_at, trade_id, order_id) > (?, ?, ?) LIMIT 1",
            (*values, *rank),
        ).fetchone()
        position = Position(report.token_id)
        only_last = new and later is None
        if only_last:
            row = self._db.execute(
                "SELECT * FROM position WHERE scope = ? AND token_id = ?", (scope, report.token_id)
            ).fetchone()
            position = position if row is None else position_of(row)
        since = " AND trade_id = ? AND order_id = ?" if only_last else ""
        more = (report.trade_id, report.order_id) if only_last else ()
        rows = self._db.execute(
            f"SELECT * FROM trade WHERE token_id = ?{plan}{since}"
            " ORDER BY matched_at, trade_id, order_id",
            (*values, *more),
        ).fetchall()
        for row in rows:
            position, realized = book(position, _execution(row))
            if scope == "":
                gain = None if realized is None else to_micros(realized)
                self._db.execute(
                    "UPDATE trade SET realized = ?"
                    " WHERE trade_id = ? AND order_id = ? AND realized IS NOT ?",
                    (gain, row["trade_id"], row["order_id"], gain),
                )
        self._put_position(scope, position)

    def _put_position(self, scope: str, position: Position) -> None:
        self._db.execute(
            "INSERT INTO position (scope, token_id, shares, settled, cost, realized, fees)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET shares = excluded.shares,"
            " settled = excluded.settled, cost = excluded.cost, realized = excluded.realized,"
            " fees = excluded.fees",
            (
                scope,
                position.token_id,
                to_micros(position.shares),
                to_micros(position.settled),
                to_micros(position.cost),
                to_micros(position.realized),
                to_micros(position.fees),
            ),
        )

    def open_day(self, day: str, equity: Decimal) -> None:
        """Equity at the beginning of a UTC day; only the first call of a day counts."""
        self._db.execute("INSERT OR IGNORE INTO day VALUES (?, ?)", (day, to_micros(equity)))

    # markets

    def put_market(self, info: MarketInfo) -> None:
        """What the exchange says of a token now."""
        self._db.execute(
            "INSERT INTO market (token_id, complement, condition_id, slug, question, outcome,"
            " tick, min_size, neg_risk, accepting, fee_rate, fee_exponent, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (token_id) DO UPDATE SET"
            " tick = excluded.tick, min_size = excluded.min_size,"
            " accepting = excluded.accepting, fee_rate = excluded.fee_rate,"
            " fee_exponent = excluded.fee_exponent, at = excluded.at",
            (
                info.token_id,
                info.complement,
                info.condition_id,
                info.slug,
                info.question,
                info.outcome,
                to_micros(info.tick),
                to_micros(info.min_size),
                int(info.neg_risk),
                int(info.accepting),
                to_micros(info.fee_rate),
                info.fee_exponent,
                stamp(info.at),
            ),
        )

    def set_mark(self, token_id: str, mark: Decimal, at: datetime) -> None:
        """The price a token is valued at."""
        self._db.execute(
            "UPDATE market SET mark = ?, mark_at = ? WHERE token_id = ?",
            (to_micros(mark), stamp(at), token_id),
        )

    def _swap(self, sql: str, values: tuple[object, ...], what: str) -> None:
        if self._db.execute(sql, values).rowcount != 1:
            raise StaleState(f"{what} was not in the state its writer believed")


def _execution(row: sqlite3.Row) -> Execution:
    return Execution(
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

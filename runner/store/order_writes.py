"""How child orders change, what their trades add up to, and what is known of markets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.core.errors import StaleState
from runner.core.ledger import Execution, book
from runner.core.lifecycles import ORDER, TRADE
from runner.core.model import EndReason, JobKey, Liquidity, OrderState, Position, Side, TradeState
from runner.core.money import from_micros, to_micros
from runner.store.log import Log
from runner.store.rows import json_detail, maybe_stamp, moment, position_of, stamp

if TYPE_CHECKING:
    import sqlite3
    from datetime import datetime
    from decimal import Decimal

    from runner.core.model import MarketInfo, Submit, TimeInForce, TradeReport

_TRADE_EVENTS = {
    TradeState.MINED: "mined",
    TradeState.RETRYING: "retrying",
    TradeState.CONFIRMED: "confirmed",
    TradeState.FAILED: "failed",
}


class OrderWrites(Log):
    """Child orders, trades, positions, markets."""

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
                maybe_stamp(expires_at),
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
        """What an order that is over had matched in all; the latest word counts."""
        self._db.execute(
            "UPDATE child_order SET final_matched = ? WHERE order_id = ?",
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
            gain = None if realized is None else to_micros(realized)
            column = "realized" if scope == "" else "plan_realized"
            self._db.execute(
                f"UPDATE trade SET {column} = ?"
                f" WHERE trade_id = ? AND order_id = ? AND {column} IS NOT ?",
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

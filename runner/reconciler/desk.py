"""What one pass knows of the account while it decides: limits used, equity, who trades where.

Everything is read once a pass, and only when a decision asks for it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from runner.core.ledger import equity
from runner.core.model import Limits, OrderState, RiskView, TimeInForce, TradingState, WorkingOrder
from runner.core.money import mirror

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from runner.core.model import MarketInfo, Position, Submit
    from runner.core.plan import PlanRisk
    from runner.store import Writes


def seen_from(info: MarketInfo, order: WorkingOrder) -> WorkingOrder:
    """An order of ours as it shows in one token's book: as it is, or mirrored (design 5)."""
    if order.token_id == info.token_id:
        return order
    return replace(
        order, token_id=info.token_id, side=order.side.opposite, price=mirror(order.price)
    )


def day_began_with(tx: Writes, now: datetime, worth: Decimal | None) -> Decimal | None:
    """What the account was worth when this UTC day began: `worth`, at the first call of a day."""
    day = f"{now:%Y-%m-%d}"
    began = tx.day_equity(day)
    if began is None and worth is not None:
        tx.open_day(day, worth)
        began = worth
    return began


class Desk:
    """The account as one pass sees it."""

    def __init__(self, tx: Writes, now: datetime, limits: Limits, trading: TradingState) -> None:
        self._tx = tx
        self._now = now
        self._limits = limits
        self._trading = trading
        self._working: list[WorkingOrder] | None = None
        self._marks: dict[str, Decimal] | None = None
        self._recent: int | None = None
        self._day_pnl: tuple[Decimal | None] | None = None

    def own(self, info: MarketInfo) -> tuple[WorkingOrder, ...]:
        """Our working orders on one market, from every plan, in this token's terms."""
        orders = self._tx.working_on(info.token_id, info.complement)
        return tuple(seen_from(info, order) for order in orders)

    def risk_view(self, plan: str, risk: PlanRisk) -> RiskView:
        """What `risk.check` may look at for an order of `plan`."""
        if self._working is None:
            self._working = list(self._tx.working())
        if self._marks is None:
            self._marks = self._tx.marks()
        if self._recent is None:
            self._recent = self._tx.recent_submits(self._now - timedelta(seconds=1))
        tokens = {order.token_id for order in self._working}
        infos = (self._tx.market(token) for token in sorted(tokens))
        positions = self._tx.positions()
        plan_positions = self._tx.positions(plan)
        return RiskView(
            trading=self._trading,
            limits=self._limits,
            plan_limits=Limits(
                max_position_size=risk.max_position_size,
                max_total_exposure=risk.max_exposure,
                max_order_size=risk.max_order_size,
            ),
            plan_max_loss=risk.max_loss,
            positions=positions,
            plan_positions=plan_positions,
            working=tuple(self._working),
            day_pnl=self._pnl_today(positions),
            plan_pnl=equity(plan_positions, self._marks),
            recent_submits=self._recent,
            marks=self._marks,
            fee_schedules={
                info.token_id: (info.fee_rate, info.fee_exponent)
                for info in infos
                if info is not None
            },
        )

    def _pnl_today(self, positions: Mapping[str, Position]) -> Decimal | None:
        if self._day_pnl is None:
            now_worth = equity(positions, self._marks or {})
            began = day_began_with(self._tx, self._now, now_worth)
            pnl = None if now_worth is None or began is None else now_worth - began
            self._day_pnl = (pnl,)
        return self._day_pnl[0]

    def allowed(self, order_id: str, submit: Submit) -> None:
        """Count an order that this pass has recorded against the limits of the next."""
        if self._working is not None:
            self._working.append(
                WorkingOrder(
                    order_id=order_id,
                    key=submit.key,
                    token_id=submit.token_id,
                    side=submit.side,
                    price=submit.price,
                    size=submit.size,
                    matched=Decimal(0),
                    state=OrderState.SUBMITTING,
                    cancel_requested=False,
                    created_at=self._now,
                    expires_at=None,
                    time_in_force=TimeInForce.GTC,
                )
            )
        if self._recent is not None:
            self._recent += 1

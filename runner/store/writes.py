"""The few ways in which the database changes, all in one transaction of `Store.transaction`."""

from __future__ import annotations

from runner.store.order_writes import OrderWrites
from runner.store.plan_writes import PlanWrites


class Writes(PlanWrites, OrderWrites):
    """One transaction's writes, and the reads that see them."""

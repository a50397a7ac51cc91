"""Does the database agree with the exchange's own ledger? Order by order, trade by trade.

They agree when every order of ours in the ledger is in the database with the same matched size and
the same trades, and every order that is only in the database is rejected or never arrived, and
says so (contract 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from runner.core.money import from_micros

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was compared, and every difference in a sentence of its own."""

    orders: int
    orders_agree: int
    trades: int
    trades_agree: int
    differences: tuple[str, ...]

    def __str__(self) -> str:
        orders = f"orders {self.orders_agree}/{self.orders}"
        verdict = "agree" if not self.differences else "DIFFER"
        return f"{orders}, trades {self.trades_agree}/{self.trades} {verdict}"


@dataclass(frozen=True, slots=True)
class _Recorded:
    """One order as the database has it."""

    price: Decimal
    size: Decimal
    matched: Decimal
    side: str
    end_reason: str | None


def compare(connection: sqlite3.Connection, ledger: Mapping[str, Any], address: str) -> Agreement:
    """Compare the database with `GET /_exchange/ledger?owner=ADDRESS`.

    Trades are compared by our legs: (trade, order of ours) and its size.
    """
    recorded = {
        row["order_id"]: _Recorded(
            from_micros(row["price"]),
            from_micros(row["size"]),
            from_micros(row["matched"]),
            row["side"],
            row["end_reason"],
        )
        for row in connection.execute(
            "SELECT o.order_id, o.price, o.size, o.side, o.end_reason, (SELECT"
            " COALESCE(SUM(t.size), 0) FROM trade t WHERE t.order_id = o.order_id) AS matched"
            " FROM child_order o"
        )
    }
    booked = {
        (row["trade_id"], row["order_id"]): (from_micros(row["size"]), row["state"])
        for row in connection.execute("SELECT trade_id, order_id, size, state FROM trade")
    }
    differences: list[str] = []
    truth = {
        order["order_id"]: order
        for order in ledger["orders"]
        if str(order["owner"]).lower() == address.lower()
    }
    agree = sum(_same_order(ident, order, recorded, differences) for ident, order in truth.items())
    for ident in sorted(recorded.keys() - truth.keys()):
        if recorded[ident].end_reason in {"refused", "never_arrived"}:
            agree += 1
        else:
            differences.append(f"order {ident}: in the database only, as {recorded[ident]}")
    legs = _legs(ledger, truth.keys())
    same = 0
    for name in sorted(legs.keys() | booked.keys()):
        if name not in booked:
            differences.append(f"trade {name}: in the ledger only, {legs[name]}")
        elif name not in legs:
            differences.append(f"trade {name}: in the database only, {booked[name]}")
        elif _contradict(legs[name], booked[name]):
            differences.append(f"trade {name}: {legs[name]} is booked as {booked[name]}")
        else:
            same += 1
    return Agreement(
        orders=len(truth.keys() | recorded.keys()),
        orders_agree=agree,
        trades=len(legs.keys() | booked.keys()),
        trades_agree=same,
        differences=tuple(differences),
    )


def _contradict(truth: tuple[Decimal, str], ours: tuple[Decimal, str]) -> bool:
    """Another size, or an end that is not the true one; a state that lags behind is no lie."""
    ended = ours[1] in {"confirmed", "failed"}
    return truth[0] != ours[0] or (ended and truth[1] != ours[1])


def _same_order(
    ident: str,
    order: Mapping[str, Any],
    recorded: Mapping[str, _Recorded],
    differences: list[str],
) -> bool:
    ours = recorded.get(ident)
    if ours is None:
        differences.append(f"order {ident}: in the ledger only")
        return False
    if ours.end_reason in {"refused", "never_arrived"}:
        differences.append(f"order {ident}: called {ours.end_reason}, and the exchange has it")
        return False
    truth = (
        str(order["side"]).lower(),
        Decimal(order["price"]),
        Decimal(order["size"]),
        Decimal(order["matched"]),
    )
    if truth != (ours.side, ours.price, ours.size, ours.matched):
        differences.append(f"order {ident}: {truth} is recorded as {ours}")
        return False
    return True


def _legs(ledger: Mapping[str, Any], ours: Any) -> dict[tuple[str, str], tuple[Decimal, str]]:
    """Our part of every trade: size and state by (trade, order)."""
    legs: dict[tuple[str, str], tuple[Decimal, str]] = {}
    for trade in ledger["trades"]:
        state = str(trade["status"]).lower()
        if trade["taker_order_id"] in ours:
            legs[trade["trade_id"], trade["taker_order_id"]] = (Decimal(trade["size"]), state)
        for maker in trade["maker_orders"]:
            if maker["order_id"] in ours:
                size = Decimal(maker["size"])
                legs[trade["trade_id"], maker["order_id"]] = (size, state)
    return legs

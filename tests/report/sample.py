"""A small real state database: two plans, orders in every condition, trades, a book seen.

Built with plain SQL on the real schema, so that every constraint and trigger holds.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runner.store.database import open_database

T0 = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NOW = T0 + timedelta(seconds=130)
UP = "83180000000000000000000000000000000000000000000000000000000000000000000002641"
DOWN = "77160000000000000000000000000000000000000000000000000000000000000000000009999"
EVIL = '<script>alert("x")</script>\x1b[31m'


def us(seconds: float) -> int:
    return int((T0 + timedelta(seconds=seconds)).timestamp() * 1_000_000)


def order_id(n: int) -> str:
    return "0x" + f"{n:064x}"


# (n, job, side, price, size, created, ended, end_reason, fills, bid, ask)
ORDERS: list[tuple[Any, ...]] = [
    (1, "build", "buy", 0.51, 20, 1, 11, "cancelled", [(6, 0.51, 8, "maker")], 0.50, 0.53),
    (2, "build", "buy", 0.52, 12, 12, 30, "filled", [(25, 0.52, 12, "maker")], 0.51, 0.54),
    (3, "build", "buy", 0.53, 20, 41, 60, "filled", [(50, 0.53, 20, "maker")], 0.52, 0.55),
    (4, "build", "buy", 0.52, 20, 81, None, None, [(95, 0.52, 5, "maker")], 0.51, 0.53),
    (5, "exit", "sell", 0.60, 10, 100, 101, "filled", [(100.5, 0.61, 10, "taker")], 0.60, 0.63),
    (6, "exit", "sell", 0.64, 10, 110, 111, "refused", [], 0.60, 0.63),
]


def build(path: Path, plan: str = "twap-up") -> Path:
    """Write the sample into a new database at `path`."""
    db = open_database(path)
    with db:
        db.executemany(
            "INSERT INTO runner (key, value, at) VALUES (?, ?, ?)",
            [
                ("trading_state", "active", us(0)),
                ("venue_mode", "normal", us(129)),
                ("started_at", T0.isoformat(), us(0)),
                (
                    "metrics",
                    json.dumps(
                        {
                            "counts": {"requotes": 3},
                            "latencies": {
                                "post_to_answer": {"n": 6, "p50_ms": 1.2, "p99_ms": 3, "max_ms": 3}
                            },
                        }
                    ),
                    us(129),
                ),
            ],
        )
        db.executemany(
            "INSERT INTO market (token_id, complement, condition_id, slug, question, outcome, tick,"
            " min_size, neg_risk, accepting, fee_rate, fee_exponent, at, mark, mark_at)"
            " VALUES (?, ?, '0xc', 'btc-updown', ?, ?, 10000, 5000000, 0, 1, 0, 1, ?, ?, ?)",
            [
                (UP, DOWN, EVIL, "Up", us(0), 560_000, us(120)),
                (DOWN, UP, EVIL, "Down", us(0), None, None),
            ],
        )
        db.executemany(
            "INSERT INTO plan (plan, state, reason, revision, file, accepted_at, ended_at)"
            " VALUES (?, ?, ?, 1, ?, ?, ?)",
            [
                (plan, "running", "", "a.yaml", us(0), None),
                ("quiet", "withdrawn", EVIL, "b.yaml", us(0), us(40)),
            ],
        )
        job = (
            "INSERT INTO job (plan, job, ordinal, state, reason, side, token_id, total,"
            " limit_price, spec, seed, arrival_price, segment_at, starts_at, ends_at,"
            " next_action_at, started_at, ended_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '{}', 's', ?, ?, ?, ?, ?, ?, ?)"
        )
        db.executemany(
            job,
            [
                (plan, "build", 0, "working", "OUTBID: best 0.52, ours 0.51", "buy", UP, 80_000_000,
                 550_000, 515_000, us(1), us(1), us(161), us(131), us(1), None),
                (plan, "exit", 1, "working", "", "sell", UP, 20_000_000, 580_000, 600_000, us(100),
                 us(100), None, None, us(100), None),
                ("quiet", "only", 0, "withdrawn", EVIL, "buy", DOWN, 10_000_000, 400_000, None,
                 None, us(0), None, None, None, us(40)),
            ],
        )  # fmt: skip
        db.executemany(
            "INSERT INTO slice (plan, job, segment, n, due_at, planned, opened_at, filled)"
            " VALUES (?, 'build', 0, ?, ?, 20000000, ?, ?)",
            [
                (plan, n, us(1 + 40 * (n - 1)), us(1 + 40 * (n - 1)) if n < 4 else None,
                 20_000_000 if n < 3 else None)
                for n in range(1, 5)
            ],
        )  # fmt: skip
        for n, name, side, price, size, created, ended, end_reason, fills, bid, ask in ORDERS:
            decision = {
                "bid": str(bid),
                "ask": str(ask),
                "at": (T0 + timedelta(seconds=created)).isoformat(),
            }
            db.execute(
                "INSERT INTO child_order (order_id, plan, job, token_id, side, price, size,"
                " time_in_force, post_only, maker_amount, taker_amount, expires_at, body, decision,"
                " state, created_at, sends, sent_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'gtd', 1, 1, 1, NULL, x'00', ?, 'live', ?, 1, ?)",
                (order_id(n), plan, name, UP, side, round(price * 1e6), size * 1_000_000,
                 json.dumps(decision), us(created), us(created)),
            )  # fmt: skip
            for k, (at, fill_price, fill_size, liquidity) in enumerate(fills):
                db.execute(
                    "INSERT INTO trade (trade_id, order_id, plan, job, token_id, side, price, size,"
                    " fee, liquidity, state, matched_at, booked_at, realized)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'confirmed', ?, ?, ?)",
                    (f"t{n}-{k}", order_id(n), plan, name, UP, side, round(fill_price * 1e6),
                     fill_size * 1_000_000, 12_000 if liquidity == "taker" else 0, liquidity,
                     us(at), us(at), 850_000 if side == "sell" else None),
                )  # fmt: skip
            if ended is not None:
                db.execute(
                    "UPDATE child_order SET state = 'closed', end_reason = ?, ended_at = ?"
                    " WHERE order_id = ?",
                    (end_reason, us(ended), order_id(n)),
                )
        db.executemany(
            "INSERT INTO position (scope, token_id, shares, settled, cost, realized, fees)"
            " VALUES (?, ?, 35000000, 35000000, 18300000, 850000, 12000)",
            [("", UP), (plan, UP)],
        )
        db.execute("INSERT INTO day VALUES ('2026-03-01', 0)")
        db.execute(
            "INSERT INTO alert (at, severity, code, message) VALUES (?, 'warning', 'PLAN_BAD', ?)",
            (us(3), EVIL),
        )
        db.executemany(
            "INSERT INTO event (at, subject, id, event) VALUES (?, ?, ?, 'x')",
            [(us(0), "plan", plan), (us(100), "job", f"{plan}/exit")],
        )
    db.close()
    return path

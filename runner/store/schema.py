"""The tables, triggers and views of the state database, as steps that are applied once each.

Tables hold facts as integers: prices, sizes and money in millionths, times in microseconds since
1970 UTC. The views of contract 5 are what a person reads: plural, decimals as REAL, times as text.

What the database itself refuses, whoever writes:

1. an order whose size would let its job exceed its total (`child_order_within_total`);
2. a change to, or a deletion from, the event log;
3. states, sides and amounts outside their sets (CHECK), orphans (foreign keys), floats (STRICT).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlite_utils.migrations import Migrations

from runner.steps import Step, reach

if TYPE_CHECKING:
    from sqlite_utils import Database

SCHEMA = Migrations("pmrun")

_TABLES = (
    """
    CREATE TABLE runner (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE plan (
        plan TEXT PRIMARY KEY CHECK (length(plan) BETWEEN 1 AND 63),
        state TEXT NOT NULL CHECK (state IN ('accepted', 'running', 'paused', 'completed',
            'withdrawn', 'expired', 'failed', 'rejected')),
        reason TEXT NOT NULL DEFAULT '',
        revision INTEGER NOT NULL,
        file TEXT NOT NULL,
        accepted_at INTEGER,
        ended_at INTEGER,
        paused_by_file INTEGER NOT NULL DEFAULT 0 CHECK (paused_by_file IN (0, 1)),
        paused_by_operator INTEGER NOT NULL DEFAULT 0 CHECK (paused_by_operator IN (0, 1)),
        paused_by_removal INTEGER NOT NULL DEFAULT 0 CHECK (paused_by_removal IN (0, 1)),
        paused_by_runner INTEGER NOT NULL DEFAULT 0 CHECK (paused_by_runner IN (0, 1)),
        missing_since INTEGER
    ) STRICT
    """,
    """
    CREATE TABLE revision (
        plan TEXT NOT NULL REFERENCES plan (plan),
        n INTEGER NOT NULL CHECK (n >= 1),
        content_hash TEXT NOT NULL,
        text TEXT NOT NULL,
        spec TEXT NOT NULL,
        accepted_at INTEGER NOT NULL,
        PRIMARY KEY (plan, n)
    ) STRICT
    """,
    """
    CREATE TABLE job (
        plan TEXT NOT NULL REFERENCES plan (plan),
        job TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('waiting', 'working', 'paused', 'draining',
            'completed', 'withdrawn', 'expired', 'failed')),
        reason TEXT NOT NULL DEFAULT '',
        side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
        token_id TEXT,
        total INTEGER CHECK (total >= 0),
        limit_price INTEGER NOT NULL CHECK (limit_price > 0 AND limit_price < 1000000),
        spec TEXT NOT NULL,
        seed TEXT NOT NULL,
        arrival_price INTEGER,
        segment INTEGER NOT NULL DEFAULT 0,
        segment_at INTEGER,
        segment_filled INTEGER NOT NULL DEFAULT 0,
        starts_at INTEGER NOT NULL,
        ends_at INTEGER,
        memory TEXT NOT NULL DEFAULT '{}',
        paused_by_operator INTEGER NOT NULL DEFAULT 0 CHECK (paused_by_operator IN (0, 1)),
        intended_end TEXT CHECK (intended_end IN ('completed', 'withdrawn', 'expired', 'failed')),
        refusals INTEGER NOT NULL DEFAULT 0,
        incurable INTEGER NOT NULL DEFAULT 0,
        retry_at INTEGER,
        next_action_at INTEGER,
        started_at INTEGER,
        ended_at INTEGER,
        PRIMARY KEY (plan, job)
    ) STRICT
    """,
    """
    CREATE INDEX job_open ON job (state) WHERE state IN ('waiting', 'working', 'paused', 'draining')
    """,
    """
    CREATE TABLE slice (
        plan TEXT NOT NULL,
        job TEXT NOT NULL,
        segment INTEGER NOT NULL,
        n INTEGER NOT NULL,
        due_at INTEGER NOT NULL,
        planned INTEGER NOT NULL CHECK (planned >= 0),
        opened_at INTEGER,
        filled INTEGER,
        PRIMARY KEY (plan, job, segment, n),
        FOREIGN KEY (plan, job) REFERENCES job (plan, job)
    ) STRICT
    """,
    """
    CREATE TABLE market (
        token_id TEXT PRIMARY KEY,
        complement TEXT NOT NULL,
        condition_id TEXT NOT NULL,
        slug TEXT NOT NULL,
        question TEXT NOT NULL,
        outcome TEXT NOT NULL,
        tick INTEGER NOT NULL CHECK (tick > 0),
        min_size INTEGER NOT NULL CHECK (min_size >= 0),
        neg_risk INTEGER NOT NULL CHECK (neg_risk IN (0, 1)),
        accepting INTEGER NOT NULL CHECK (accepting IN (0, 1)),
        fee_rate INTEGER NOT NULL,
        fee_exponent INTEGER NOT NULL,
        at INTEGER NOT NULL,
        mark INTEGER,
        mark_at INTEGER
    ) STRICT
    """,
    """
    CREATE TABLE child_order (
        order_id TEXT PRIMARY KEY CHECK (length(order_id) = 66),
        plan TEXT NOT NULL,
        job TEXT NOT NULL,
        token_id TEXT NOT NULL,
        side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
        price INTEGER NOT NULL CHECK (price > 0 AND price < 1000000),
        size INTEGER NOT NULL CHECK (size > 0),
        time_in_force TEXT NOT NULL CHECK (time_in_force IN ('gtc', 'gtd', 'fok', 'fak')),
        post_only INTEGER NOT NULL CHECK (post_only IN (0, 1)),
        maker_amount INTEGER NOT NULL CHECK (maker_amount > 0),
        taker_amount INTEGER NOT NULL CHECK (taker_amount > 0),
        expires_at INTEGER,
        body BLOB NOT NULL,
        decision TEXT NOT NULL DEFAULT '{}',
        state TEXT NOT NULL CHECK (state IN ('submitting', 'unknown', 'live', 'closing', 'closed')),
        end_reason TEXT CHECK (end_reason IN ('filled', 'cancelled', 'expired', 'refused',
            'never_arrived')),
        reason TEXT NOT NULL DEFAULT '',
        reported_matched INTEGER,
        final_matched INTEGER,
        created_at INTEGER NOT NULL,
        sends INTEGER NOT NULL DEFAULT 0,
        sent_at INTEGER,
        absent_reads INTEGER NOT NULL DEFAULT 0,
        absent_at INTEGER,
        cancel_requested_at INTEGER,
        ended_at INTEGER,
        FOREIGN KEY (plan, job) REFERENCES job (plan, job),
        CHECK ((state = 'closed') = (ended_at IS NOT NULL)),
        CHECK ((state IN ('closing', 'closed')) = (end_reason IS NOT NULL))
    ) STRICT
    """,
    "CREATE INDEX child_order_working ON child_order (plan, job) WHERE state <> 'closed'",
    "CREATE INDEX child_order_token ON child_order (token_id) WHERE state <> 'closed'",
    "CREATE INDEX child_order_job ON child_order (plan, job)",
    "CREATE INDEX child_order_created ON child_order (created_at)",
    """
    CREATE TABLE trade (
        trade_id TEXT NOT NULL,
        order_id TEXT NOT NULL REFERENCES child_order (order_id),
        plan TEXT NOT NULL,
        job TEXT NOT NULL,
        token_id TEXT NOT NULL,
        side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
        price INTEGER NOT NULL CHECK (price > 0 AND price < 1000000),
        size INTEGER NOT NULL CHECK (size > 0),
        fee INTEGER NOT NULL DEFAULT 0 CHECK (fee >= 0),
        liquidity TEXT NOT NULL CHECK (liquidity IN ('maker', 'taker')),
        state TEXT NOT NULL CHECK (state IN ('matched', 'mined', 'retrying', 'confirmed',
            'failed')),
        matched_at INTEGER NOT NULL,
        booked_at INTEGER NOT NULL,
        realized INTEGER,
        plan_realized INTEGER,
        PRIMARY KEY (trade_id, order_id),
        FOREIGN KEY (plan, job) REFERENCES job (plan, job)
    ) STRICT
    """,
    "CREATE INDEX trade_order ON trade (order_id)",
    "CREATE INDEX trade_job ON trade (plan, job)",
    "CREATE INDEX trade_token ON trade (token_id, matched_at)",
    "CREATE INDEX trade_matched ON trade (matched_at)",
    "CREATE INDEX trade_open ON trade (state) WHERE state IN ('matched', 'mined', 'retrying')",
    """
    CREATE TABLE position (
        scope TEXT NOT NULL,
        token_id TEXT NOT NULL,
        shares INTEGER NOT NULL,
        settled INTEGER NOT NULL,
        cost INTEGER NOT NULL,
        realized INTEGER NOT NULL,
        fees INTEGER NOT NULL,
        PRIMARY KEY (scope, token_id)
    ) STRICT
    """,
    "CREATE TABLE day (day TEXT PRIMARY KEY, equity INTEGER NOT NULL) STRICT",
    """
    CREATE TABLE alert (
        alert_id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        severity TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
        code TEXT NOT NULL,
        message TEXT NOT NULL,
        acknowledged_at INTEGER
    ) STRICT
    """,
    """
    CREATE TABLE event (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        subject TEXT NOT NULL CHECK (subject IN ('plan', 'job', 'order', 'trade', 'runner')),
        id TEXT NOT NULL,
        event TEXT NOT NULL,
        from_state TEXT,
        to_state TEXT,
        detail TEXT NOT NULL DEFAULT ''
    ) STRICT
    """,
    "CREATE INDEX event_subject ON event (subject, id)",
)

_TRIGGERS = (
    """
    CREATE TRIGGER child_order_within_total BEFORE INSERT ON child_order
    WHEN NEW.size
        + (SELECT COALESCE(SUM(t.size), 0) FROM trade t
           WHERE t.plan = NEW.plan AND t.job = NEW.job AND t.state <> 'failed')
        + (SELECT COALESCE(SUM(MAX(o.size - (SELECT COALESCE(SUM(m.size), 0) FROM trade m
               WHERE m.order_id = o.order_id), 0)), 0)
           FROM child_order o
           WHERE o.plan = NEW.plan AND o.job = NEW.job AND o.state <> 'closed')
        > (SELECT COALESCE(j.total, 0) FROM job j WHERE j.plan = NEW.plan AND j.job = NEW.job)
    BEGIN
        SELECT RAISE(ABORT, 'the order would let its job exceed its total');
    END
    """,
    """
    CREATE TRIGGER event_is_append_only_update BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END
    """,
    """
    CREATE TRIGGER event_is_append_only_delete BEFORE DELETE ON event
    BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END
    """,
)


def _utc(column: str) -> str:
    return (
        f"strftime('%Y-%m-%dT%H:%M:%S', {column} / 1000000, 'unixepoch')"
        f" || printf('.%06dZ', {column} % 1000000)"
    )


def _real(column: str) -> str:
    return f"{column} / 1000000.0"


_ORDER_STATE = """
    CASE
        WHEN o.state = 'closed' THEN CASE o.end_reason
            WHEN 'refused' THEN 'rejected'
            WHEN 'never_arrived' THEN 'expired'
            ELSE o.end_reason END
        WHEN o.state IN ('submitting', 'unknown') THEN o.state
        WHEN o.state = 'closing' OR o.cancel_requested_at IS NOT NULL THEN 'cancelling'
        WHEN o.matched > 0 THEN 'partially_filled'
        ELSE 'live'
    END
"""

_ORDERS = f"""
    SELECT o.order_id, o.plan, o.job, o.token_id, o.side, {_real("o.price")} AS price,
        {_real("o.size")} AS size, {_real("o.filled")} AS filled,
        CASE WHEN o.state = 'closed' THEN 0.0
            ELSE {_real("MAX(o.size - o.matched, 0)")} END AS leaves,
        o.time_in_force, {_ORDER_STATE} AS state,
        CASE WHEN o.reason <> '' THEN o.reason
            WHEN o.state = 'closed' THEN upper(o.end_reason) ELSE '' END AS reason,
        {_utc("o.created_at")} AS submitted_at, {_utc("o.ended_at")} AS ended_at
    FROM (
        SELECT c.*,
            (SELECT COALESCE(SUM(t.size), 0) FROM trade t WHERE t.order_id = c.order_id)
                AS matched,
            (SELECT COALESCE(SUM(t.size), 0) FROM trade t
             WHERE t.order_id = c.order_id AND t.state <> 'failed') AS filled
        FROM child_order c
    ) o
"""

_PERFORMANCE = """
    WITH closed AS (
        SELECT plan, plan_realized AS realized FROM trade
        WHERE plan_realized IS NOT NULL AND state <> 'failed'
        UNION ALL
        SELECT '(all)', realized FROM trade WHERE realized IS NOT NULL AND state <> 'failed'
    ),
    wins AS (
        SELECT plan, COUNT(*) AS n,
            AVG(CASE WHEN realized > 0 THEN 1.0 ELSE 0.0 END) AS win_rate,
            AVG(CASE WHEN realized > 0 THEN realized END) / 1000000.0 AS average_win,
            AVG(CASE WHEN realized < 0 THEN realized END) / 1000000.0 AS average_loss
        FROM closed GROUP BY plan
    ),
    held AS (
        SELECT CASE p.scope WHEN '' THEN '(all)' ELSE p.scope END AS plan,
            SUM(p.realized) AS realized, SUM(p.fees) AS fees,
            SUM(COALESCE(p.shares * m.mark / 1000000.0 - p.cost, 0)) AS unrealized,
            SUM(p.cost) AS cost
        FROM position p LEFT JOIN market m ON m.token_id = p.token_id GROUP BY 1
    ),
    resting AS (
        SELECT plan, SUM(price * leaves) AS value FROM open_orders WHERE side = 'buy' GROUP BY plan
        UNION ALL
        SELECT '(all)', SUM(price * leaves) FROM open_orders WHERE side = 'buy'
    ),
    names AS (SELECT plan FROM plan UNION ALL SELECT '(all)')
    SELECT n.plan, COALESCE(w.n, 0) AS closed_trades, w.win_rate, w.average_win, w.average_loss,
        COALESCE(h.realized, 0) / 1000000.0 AS realized_pnl,
        COALESCE(h.unrealized, 0) / 1000000.0 AS unrealized_pnl,
        COALESCE(h.fees, 0) / 1000000.0 AS fees,
        MAX(COALESCE(h.cost, 0), 0) / 1000000.0 + COALESCE(r.value, 0) AS exposure
    FROM names n
    LEFT JOIN wins w ON w.plan = n.plan
    LEFT JOIN held h ON h.plan = n.plan
    LEFT JOIN resting r ON r.plan = n.plan
"""

_VIEWS = (
    f"""
    CREATE VIEW plans AS
    SELECT plan, revision, state, reason, file, {_utc("accepted_at")} AS accepted_at,
        {_utc("ended_at")} AS ended_at
    FROM plan
    """,
    f"""
    CREATE VIEW jobs AS
    SELECT j.plan, j.job, j.side, j.token_id, j.state, j.reason,
        {_real("j.total")} AS total_shares,
        COALESCE({_real("f.filled")}, 0.0) AS filled_shares,
        f.value / f.filled / 1000000.0 AS average_price,
        {_real("j.limit_price")} AS limit_price, {_real("j.arrival_price")} AS arrival_price,
        {_utc("j.next_action_at")} AS next_action_at
    FROM job j LEFT JOIN (
        SELECT plan, job, SUM(size) AS filled, SUM(size * 1.0 * price) AS value
        FROM trade WHERE state <> 'failed' GROUP BY plan, job
    ) f ON f.plan = j.plan AND f.job = j.job
    """,
    f"CREATE VIEW orders AS {_ORDERS}",
    f"CREATE VIEW open_orders AS {_ORDERS} WHERE o.state <> 'closed'",
    f"""
    CREATE VIEW trades AS
    SELECT trade_id, order_id, plan, job, token_id, side, {_real("price")} AS price,
        {_real("size")} AS size, {_real("fee")} AS fee, liquidity, state,
        {_utc("matched_at")} AS matched_at
    FROM trade
    """,
    f"""
    CREATE VIEW positions AS
    SELECT p.token_id, {_real("p.shares")} AS shares, {_real("p.settled")} AS settled_shares,
        CASE WHEN p.shares <> 0 THEN p.cost * 1.0 / p.shares END AS average_entry_price,
        {_real("m.mark")} AS mark_price, {_real("p.realized")} AS realized_pnl,
        (p.shares * m.mark / 1000000.0 - p.cost) / 1000000.0 AS unrealized_pnl,
        {_real("p.fees")} AS fees,
        {_real("MAX(p.cost, 0)")} + COALESCE((SELECT SUM(o.price * o.leaves) FROM open_orders o
            WHERE o.token_id = p.token_id AND o.side = 'buy'), 0.0) AS exposure
    FROM position p LEFT JOIN market m ON m.token_id = p.token_id
    WHERE p.scope = ''
    """,
    f"CREATE VIEW performance AS {_PERFORMANCE}",
    f"""
    CREATE VIEW timeline AS
    SELECT seq, {_utc("at")} AS at, subject, id, event, from_state, to_state, detail FROM event
    """,
    f"""
    CREATE VIEW alerts AS
    SELECT alert_id, {_utc("at")} AS at, severity, code, message,
        {_utc("acknowledged_at")} AS acknowledged_at
    FROM alert
    """,
)


@SCHEMA(name="0001 the first path")
def first_path(db: Database) -> None:
    """Everything the first release records. One transaction: killed halfway, nothing is left."""
    for statement in (*_TABLES, *_TRIGGERS, *_VIEWS):
        db.conn.execute(statement)
        reach(Step.MIGRATE)

"""The exchange's own database: everything that must outlive the process.

SQLite in WAL mode. The working state is in memory; what changed is noted here and written in one
transaction by `commit`, before anything is answered: a SIGKILL loses nothing that was answered
for. (`synchronous` is NORMAL: a power cut may lose the last moments, never the file's integrity.)
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from runner.exchange.listings import MarketRow
from runner.exchange.records import Account, ApiKey, MakerFill, Order, Rebate, Trade

_SCHEMA = """
CREATE TABLE IF NOT EXISTS made (at INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS accounts (
    address TEXT PRIMARY KEY, signer TEXT NOT NULL, cash INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS holdings (
    address TEXT NOT NULL, token_id TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (address, token_id)) STRICT;
CREATE TABLE IF NOT EXISTS api_keys (
    key TEXT PRIMARY KEY, address TEXT NOT NULL, nonce TEXT NOT NULL, secret TEXT NOT NULL,
    passphrase TEXT NOT NULL, active INTEGER NOT NULL, heartbeat_id TEXT NOT NULL,
    heartbeat_at INTEGER NOT NULL, UNIQUE (address, nonce)) STRICT;
CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY, owner TEXT NOT NULL, maker TEXT NOT NULL, signer TEXT NOT NULL,
    condition_id TEXT NOT NULL, outcome INTEGER NOT NULL, token_id TEXT NOT NULL,
    side TEXT NOT NULL, price INTEGER NOT NULL, size INTEGER NOT NULL, dollars INTEGER,
    time_in_force TEXT NOT NULL, expiration INTEGER NOT NULL, post_only INTEGER NOT NULL,
    received_at INTEGER NOT NULL, status TEXT NOT NULL, matched INTEGER NOT NULL,
    closed_at INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS trades (
    trade_id TEXT PRIMARY KEY, condition_id TEXT NOT NULL, taker_order_id TEXT NOT NULL,
    owner TEXT NOT NULL, address TEXT NOT NULL, outcome INTEGER NOT NULL, token_id TEXT NOT NULL,
    side TEXT NOT NULL, price INTEGER NOT NULL, size INTEGER NOT NULL, fee INTEGER NOT NULL,
    makers TEXT NOT NULL, matched_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
    course TEXT NOT NULL, status TEXT NOT NULL, tx_hash TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS markets (
    condition_id TEXT PRIMARY KEY, tick INTEGER NOT NULL, state TEXT NOT NULL, winner INTEGER,
    last_price INTEGER, last_side TEXT NOT NULL) STRICT;
"""
_STEPS = (
    _SCHEMA,
    """
    ALTER TABLE accounts ADD COLUMN wallet_type INTEGER;
    ALTER TABLE accounts ADD COLUMN standing TEXT NOT NULL DEFAULT 'open';
    CREATE TABLE allowances (
        address TEXT NOT NULL, asset TEXT NOT NULL, spender TEXT NOT NULL, amount TEXT NOT NULL,
        PRIMARY KEY (address, asset, spender)) STRICT;
    CREATE TABLE rebates (
        day INTEGER NOT NULL, address TEXT NOT NULL, amount INTEGER NOT NULL,
        PRIMARY KEY (day, address)) STRICT;
    """,
    """
    ALTER TABLE orders ADD COLUMN returned INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE trades ADD COLUMN returns INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE dropped_notices (id INTEGER PRIMARY KEY) STRICT;
    """,
)
"""What brings a database from each version to the next; `user_version` counts those done."""

_KEYS = {
    "holdings": "address, token_id",
    "allowances": "address, asset, spender",
    "rebates": "day, address",
}
_ORDER = [
    "order_id",
    "owner",
    "maker",
    "signer",
    "condition_id",
    "outcome",
    "token_id",
    "side",
    "price",
    "size",
    "dollars",
    "time_in_force",
    "expiration",
    "post_only",
    "received_at",
    "status",
    "matched",
    "closed_at",
    "returned",
]
_TRADE = [
    "trade_id",
    "condition_id",
    "taker_order_id",
    "owner",
    "address",
    "outcome",
    "token_id",
    "side",
    "price",
    "size",
    "fee",
    "makers",
    "matched_at",
    "updated_at",
    "course",
    "status",
    "tx_hash",
    "returns",
]
_ACCOUNT = ["address", "signer", "cash", "wallet_type", "standing"]
_REBATE = ["day", "address", "amount"]
_KEY = ["key", "address", "nonce", "secret", "passphrase", "active", "heartbeat_id", "heartbeat_at"]
_MAKER = ["order_id", "owner", "address", "outcome", "token_id", "side", "price", "size"]
_MARKET = ["condition_id", "tick", "state", "winner", "last_price", "last_side"]


class StateLocked(OSError):
    """The database file belongs to another exchange that is running."""


class ForeignState(ValueError):
    """The database holds orders of markets that are not listed now."""


class State:
    """The database of one exchange.

    Args:
        path: The file; None for one in memory.
        now_ms: When it is opened (Unix milliseconds): what a new one remembers as `made_at`.

    Raises:
        StateLocked: Another process has it open.
    """

    def __init__(self, path: Path | None, now_ms: int) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=1.0)
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._step_up()
        except sqlite3.OperationalError as error:
            self._db.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise StateLocked(f"{path}: another exchange uses it") from error
            raise
        row = self._db.execute("SELECT at FROM made").fetchone()
        self.is_new = row is None
        self.made_at = now_ms if row is None else int(row[0])
        self._unmade = self.is_new
        self._accounts: dict[str, Account] = {}
        self._keys: dict[str, ApiKey] = {}
        self._orders: dict[str, Order] = {}
        self._trades: dict[str, Trade] = {}
        self._markets: dict[str, MarketRow] = {}
        self._rebates: dict[tuple[int, str], Rebate] = {}
        self._dropped: dict[int, None] = {}

    def _step_up(self) -> None:
        done = self._db.execute("PRAGMA user_version").fetchone()[0]
        for number, step in enumerate(_STEPS[done:], start=done + 1):
            self._db.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")

    def close(self) -> None:
        """Closes the database. What was not committed is not kept."""
        self._db.close()

    def note(self, record: Account | ApiKey | Order | Trade | Rebate) -> None:
        """Notes that a record is new or has changed."""
        match record:
            case Account():
                self._accounts[record.address] = record
            case ApiKey():
                self._keys[record.key] = record
            case Order():
                self._orders[record.order_id] = record
            case Trade():
                self._trades[record.trade_id] = record
            case Rebate():
                self._rebates[record.day, record.address] = record

    def note_market(self, row: MarketRow) -> None:
        """Notes a market's changed state."""
        self._markets[row[0]] = row

    def note_dropped(self, notice_id: int) -> None:
        """Notes that a notice of an account was dropped."""
        self._dropped[notice_id] = None

    def commit(self) -> None:
        """Writes everything noted, in one transaction."""
        noted: tuple[dict[Any, Any], ...] = (
            self._accounts,
            self._keys,
            self._orders,
            self._trades,
            self._markets,
            self._rebates,
            self._dropped,
        )
        if not any(noted) and not self._unmade:
            return
        self._db.execute("BEGIN IMMEDIATE")
        if self._unmade:
            self._db.execute("INSERT INTO made (at) VALUES (?)", (self.made_at,))
            self._unmade = False
        self._write(
            "accounts",
            _ACCOUNT,
            (_row(account, _ACCOUNT) for account in self._accounts.values()),
        )
        self._write(
            "allowances",
            ["address", "asset", "spender", "amount"],
            (
                (account.address, *approval, str(amount))
                for account in self._accounts.values()
                for approval, amount in account.allowances.items()
            ),
        )
        self._write(
            "holdings",
            ["address", "token_id", "size"],
            ((a.address, t, size) for a in self._accounts.values() for t, size in a.tokens.items()),
        )
        self._write("api_keys", _KEY, map(_key_row, self._keys.values()))
        self._write("orders", _ORDER, (_row(order, _ORDER) for order in self._orders.values()))
        self._write("trades", _TRADE, map(_trade_row, self._trades.values()))
        self._write("markets", _MARKET, self._markets.values())
        self._write("rebates", _REBATE, (_row(r, _REBATE) for r in self._rebates.values()))
        self._write("dropped_notices", ["id"], ((notice_id,) for notice_id in self._dropped))
        self._db.execute("COMMIT")
        for changed in noted:
            changed.clear()

    def dropped_notices(self) -> set[int]:
        """The ids of every notice ever dropped."""
        return {notice_id for (notice_id,) in self._db.execute("SELECT id FROM dropped_notices")}

    def accounts(self) -> Iterator[Account]:
        """Every account, with its holdings and allowances."""
        for row in self._select("accounts", _ACCOUNT):
            account = Account(**row)
            mine = (account.address,)
            held = self._db.execute("SELECT token_id, size FROM holdings WHERE address = ?", mine)
            account.tokens = dict(held.fetchall())
            allowed = self._db.execute(
                "SELECT asset, spender, amount FROM allowances WHERE address = ?", mine
            )
            account.allowances = {(asset, spender): int(most) for asset, spender, most in allowed}
            yield account

    def keys(self) -> Iterator[ApiKey]:
        """Every API key ever made."""
        for row in self._select("api_keys", _KEY):
            yield ApiKey(**{**row, "nonce": int(row["nonce"]), "active": bool(row["active"])})

    def orders(self) -> Iterator[Order]:
        """Every order, in the order of their arrival; their trades are filled in by the caller."""
        for row in self._select("orders", _ORDER):
            yield Order(**{**row, "post_only": bool(row["post_only"])})

    def trades(self) -> Iterator[Trade]:
        """Every trade, in the order of their making."""
        for row in self._select("trades", _TRADE):
            makers = tuple(MakerFill(**maker) for maker in json.loads(row["makers"]))
            course = [(at, status) for at, status in json.loads(row["course"])]
            returns = bool(row["returns"])
            yield Trade(**{**row, "makers": makers, "course": course, "returns": returns})

    def rebates(self) -> Iterator[Rebate]:
        """Every rebate ever booked."""
        for row in self._select("rebates", _REBATE):
            yield Rebate(**row)

    def markets(self) -> list[MarketRow]:
        """The markets' states as last noted."""
        return self._db.execute(f"SELECT {', '.join(_MARKET)} FROM markets").fetchall()

    def _select(self, table: str, columns: list[str]) -> Iterator[dict[str, Any]]:
        for row in self._db.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY rowid"):
            yield dict(zip(columns, row, strict=True))

    def _write(self, table: str, columns: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
        updates = ", ".join(f"{column} = excluded.{column}" for column in columns)
        key = _KEYS.get(table, columns[0])
        self._db.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
            f" ON CONFLICT ({key}) DO UPDATE SET {updates}",
            rows,
        )


def _row(record: object, columns: list[str]) -> tuple[Any, ...]:
    return tuple(getattr(record, column) for column in columns)


def _key_row(key: ApiKey) -> tuple[Any, ...]:
    values = dict(zip(_KEY, _row(key, _KEY), strict=True))
    return tuple({**values, "nonce": str(key.nonce)}.values())


def _trade_row(trade: Trade) -> tuple[Any, ...]:
    makers = [dict(zip(_MAKER, _row(maker, _MAKER), strict=True)) for maker in trade.makers]
    values = dict(zip(_TRADE, _row(trade, _TRADE), strict=True))
    values |= {"makers": json.dumps(makers), "course": json.dumps(trade.course)}
    return tuple(values.values())

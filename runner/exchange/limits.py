"""Rate limits: token buckets for each signer's orders and cancels, and for everybody's address.

A bucket holds at most its burst and fills at its rate; levels are whole thousandths of a token,
so that a rate per second and a time in milliseconds multiply exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from runner.exchange.records import Refused

SignerMode = Literal["off", "warn", "enforce"]
"""Whether signers' limits are looked at, told of, or also enforced (reference 8.2)."""

Kind = Literal["orders", "cancels"]

TIERS: Mapping[str, Mapping[Kind, tuple[int, int]]] = {
    "Standard": {"orders": (40, 60), "cancels": (80, 120)},
    "Copper": {"orders": (60, 90), "cancels": (120, 180)},
    "Bronze": {"orders": (80, 120), "cancels": (160, 240)},
    "Silver": {"orders": (200, 300), "cancels": (400, 600)},
    "Gold": {"orders": (400, 600), "cancels": (800, 1200)},
    "Platinum": {"orders": (450, 675), "cancels": (900, 1350)},
    "Diamond": {"orders": (525, 787), "cancels": (1050, 1575)},
    "Elite": {"orders": (600, 900), "cancels": (1200, 1800)},
}
"""Tokens a second, and the burst, of each tier (reference 8.2)."""

_TEN_S = 10_000
_TEN_MIN = 600_000
_TOO_MANY = "Too Many Requests"


@dataclass(slots=True)
class Bucket:
    """Tokens that come back as time passes.

    Args:
        tokens: How many come back in `per_ms` milliseconds.
        per_ms: See `tokens`.
        burst: How many it can hold; it starts full.
        at_ms: Unix milliseconds of the last look.
    """

    tokens: int
    per_ms: int
    burst: int
    at_ms: int
    _level: int = 0

    def __post_init__(self) -> None:
        self._level = self.burst * self.per_ms

    def wait_ms(self, cost: int, now_ms: int) -> int:
        """How long until it holds `cost` tokens; 0 if it does now."""
        self._refill(now_ms)
        return max(0, -(-(cost * self.per_ms - self._level) // self.tokens))

    def take(self, cost: int, *, debt: bool = True) -> None:
        """Takes tokens that are there, or (`debt`) that are owed; else down to none."""
        self._level -= cost * self.per_ms
        if not debt:
            self._level = max(0, self._level)

    @property
    def remaining(self) -> int:
        """Whole tokens in it, below zero while it is in debt."""
        return self._level // self.per_ms

    def _refill(self, now_ms: int) -> None:
        passed, self.at_ms = max(0, now_ms - self.at_ms), now_ms
        self._level = min(self.burst * self.per_ms, self._level + passed * self.tokens)


class SignerLimits:
    """What each signer may do in orders and in cancels (reference 8.2).

    In `warn` mode (as the real exchange at the time of the reference) what would be refused is
    carried out, takes nothing, and is told in a header.

    Attributes:
        mode: See `SignerMode`.
        tier: Of every signer that `tiers` doesn't name.
        tiers: Tiers of single signers, by checksummed address.
        cancel_debt: Whether a cancel of everything may leave fewer than no cancels; else none.
    """

    def __init__(self) -> None:
        self.mode: SignerMode = "warn"
        self.tier = "Standard"
        self.tiers: dict[str, str] = {}
        self.cancel_debt = True
        self._buckets: dict[tuple[str, Kind], Bucket] = {}

    def charge(self, signer: str, kind: Kind, cost: int, now_ms: int) -> dict[str, str]:
        """Takes what a request costs, all or nothing.

        Returns:
            The headers of its answer.

        Raises:
            Refused: 429, in `enforce` mode. What costs more than the burst can never be had, so
                that refusal has no Retry-After.
        """
        if self.mode == "off":
            return {}
        bucket = self._bucket(signer, kind, now_ms)
        wait_ms = bucket.wait_ms(cost, now_ms)
        if not wait_ms:
            bucket.take(cost)
            return self._headers(signer, bucket, now_ms)
        headers = self._headers(signer, bucket, now_ms + wait_ms)
        if self.mode == "warn":
            return {**headers, "Poly-RateLimit-Warning": "true"}
        possible = cost <= bucket.burst
        retry_after_s = -(-wait_ms // 1000) if possible else None
        raise Refused(429, _TOO_MANY, retry_after_s=retry_after_s, headers=headers)

    def cancelled(self, signer: str, count: int, now_ms: int) -> dict[str, str]:
        """Takes what a cancel of everything has cost beyond its first token.

        Returns:
            The headers of its answer, instead of those that `charge` gave.
        """
        if self.mode == "off":
            return {}
        bucket = self._bucket(signer, "cancels", now_ms)
        bucket.take(count, debt=self.cancel_debt)
        return self._headers(signer, bucket, now_ms)

    def _bucket(self, signer: str, kind: Kind, now_ms: int) -> Bucket:
        rate, burst = TIERS[self.tiers.get(signer, self.tier)][kind]
        bucket = self._buckets.get((signer, kind))
        if bucket is None or (bucket.tokens, bucket.burst) != (rate, burst):
            bucket = self._buckets[signer, kind] = Bucket(rate, 1000, burst, now_ms)
        return bucket

    def _headers(self, signer: str, bucket: Bucket, reset_ms: int) -> dict[str, str]:
        return {
            "Poly-RateLimit-Remaining": str(bucket.remaining),
            "Poly-RateLimit-Reset": str(-(-reset_ms // 1000)),
            "Poly-RateLimit-Tier": self.tiers.get(signer, self.tier),
        }


@dataclass(frozen=True, slots=True)
class _Scope:
    """Requests that share a limit: patterns of "METHOD path", and how many in how long."""

    patterns: tuple[str, ...]
    per_ten_s: int
    per_ten_min: int | None = None
    but: tuple[str, ...] = ()

    def covers(self, route: str) -> bool:
        return _like(route, self.patterns) and not _like(route, self.but)


def _like(route: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(route, pattern) for pattern in patterns)


_EDGE = (
    _Scope(("* /*",), 15_000),
    _Scope(("* /*",), 9_000, but=("* /gamma/*", "* /data-api/*")),
    _Scope(("GET /book",), 1_500),
    _Scope(("GET /price",), 1_500),
    _Scope(("GET /midpoint",), 1_500),
    _Scope(("* /books", "* /prices", "* /midpoints", "* /spreads"), 500),
    _Scope(("GET /prices-history",), 1_000),
    _Scope(("GET /tick-size*",), 200),
    _Scope(("GET /data/*", "* /notifications"), 900),
    _Scope(("GET /data/orders",), 500),
    _Scope(("GET /data/trades",), 500),
    _Scope(("* /notifications",), 125),
    _Scope(("* /auth/*",), 100),
    _Scope(("GET /balance-allowance",), 200),
    _Scope(("GET /balance-allowance/update",), 50),
    _Scope(("POST /order",), 5_000, 120_000),
    _Scope(("DELETE /order",), 5_000, 120_000),
    _Scope(("POST /orders",), 2_000, 21_000),
    _Scope(("DELETE /orders",), 2_000, 15_000),
    _Scope(("DELETE /cancel-all",), 250, 6_000),
    _Scope(("DELETE /cancel-market-orders",), 1_500, 21_000),
    _Scope(("* /gamma/*",), 4_000),
    _Scope(("* /gamma/events*",), 500),
    _Scope(("* /gamma/markets*",), 300),
    _Scope(("* /data-api/*",), 800),
    _Scope(("* /data-api/v2/trades",), 300),
    _Scope(("* /data-api/v2/positions",), 200),
)
"""The limits of reference 8.1. The real edge queues before it refuses; this one refuses."""


class EdgeLimits:
    """What one address may ask; every client of the embedded exchange has the same, loopback.

    Attributes:
        enforced: Whether anything is counted at all; it isn't unless somebody asks for it.
    """

    def __init__(self) -> None:
        self.enforced = False
        self._buckets: dict[tuple[_Scope, int], Bucket] = {}

    def charge(self, method: str, path: str, now_ms: int) -> None:
        """Counts one request against every limit it comes under, or against none.

        Raises:
            Refused: 429 with Retry-After.
        """
        if not self.enforced:
            return
        route = f"{method} {path}"
        limits = [
            self._bucket(scope, per_ms, most, now_ms)
            for scope in _EDGE
            if scope.covers(route)
            for per_ms, most in ((_TEN_S, scope.per_ten_s), (_TEN_MIN, scope.per_ten_min))
            if most is not None
        ]
        wait_ms = max(bucket.wait_ms(1, now_ms) for bucket in limits)
        if wait_ms:
            raise Refused(429, _TOO_MANY, retry_after_s=-(-wait_ms // 1000))
        for bucket in limits:
            bucket.take(1)

    def _bucket(self, scope: _Scope, per_ms: int, most: int, now_ms: int) -> Bucket:
        bucket = self._buckets.get((scope, per_ms))
        if bucket is None:
            bucket = self._buckets[scope, per_ms] = Bucket(most, per_ms, most, now_ms)
        return bucket

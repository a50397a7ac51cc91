"""How fast we may ask: a token bucket on the loop's clock, so that tests can run it in no time."""

from __future__ import annotations

import asyncio
from typing import NamedTuple


class Rate(NamedTuple):
    """`per_second` sustained, `burst` at once."""

    per_second: int
    burst: int


class TokenBucket:
    """First come, first served. A cost above the burst is paid by waiting, never refused."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._tokens: float = rate.burst
        self._at: float | None = None

    async def take(self, cost: int = 1) -> None:
        """Wait until `cost` tokens are ours. Whoever comes later waits behind this debt."""
        now = asyncio.get_running_loop().time()
        if self._at is not None:
            gained = (now - self._at) * self._rate.per_second
            self._tokens = min(self._tokens + gained, self._rate.burst)
        self._at = now
        self._tokens -= cost
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._rate.per_second)

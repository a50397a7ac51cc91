"""What the reconciler may ask of an exchange, in our words, and the port to the wire.

The wire port has two implementations: `wire.py` over real sockets, and one in the tests that calls
the embedded exchange in process on virtual time. Everything above the port is the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from decimal import Decimal

    from runner.core.model import OrderReport, Side, TimeInForce


class WireError(Exception):
    """The request got no whole answer in time. It may or may not have been carried out."""


class WireClosed(Exception):
    """The socket is closed, by either end or by a dead network."""


@dataclass(frozen=True, slots=True)
class WireResponse:
    """One whole HTTP answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class WireSocket(Protocol):
    """One WebSocket connection; text frames only."""

    async def send(self, text: str) -> None:
        """Send one text frame. Raises WireClosed."""

    async def receive(self) -> str:
        """Wait for the next text frame. Raises WireClosed."""


class Wire(Protocol):
    """Bytes to and from one exchange."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float,
    ) -> WireResponse:
        """One request, one answer. Raises WireError when no whole answer came in time."""

    def connect(self, path: str) -> AbstractAsyncContextManager[WireSocket]:
        """Open `/ws/market` or `/ws/user`. Raises WireError."""

    async def close(self) -> None:
        """Let go of every connection."""


@dataclass(frozen=True, slots=True)
class NewOrder:
    """A child order to be signed. Prices and sizes in dollars and shares, exact."""

    token_id: str
    side: Side
    price: Decimal
    size: Decimal
    time_in_force: TimeInForce
    post_only: bool
    expires_at: datetime | None
    tick: Decimal
    neg_risk: bool


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """A signed order, ready to be recorded and then sent.

    `order_id` is the hash the exchange will know it by; `body` the exact bytes of the POST, which
    alone are ever sent, also when it is sent again. `maker_amount` and `taker_amount` are the
    signed integers in millionths.
    """

    order_id: str
    body: bytes
    maker_amount: int
    taker_amount: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The exchange has the order."""

    report: OrderReport


@dataclass(frozen=True, slots=True)
class Refused:
    """Proven: nothing happened. `curable` says whether waiting can help."""

    code: str
    text: str
    curable: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """No proof either way. Counts in full until resolved."""

    text: str


Outcome = Accepted | Refused | Unknown


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    """Ids the exchange cancelled, and why it did not cancel the others. Says nothing of fills."""

    cancelled: frozenset[str]
    not_cancelled: Mapping[str, str]

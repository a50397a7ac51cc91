"""One request and its answer: authentication, time-outs, back-off, redaction.

1. A read is tried a bounded number of times and is then `VenueUnreachable`, never an empty answer;
   a list is complete up to its end cursor or it is an error (faults X19).
2. What changes something is sent once; repeating it is for its owner to decide.
3. No exception holds a secret, even one that the other side echoed.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from runner.core.errors import VenueUnreachable
from runner.venue.outcomes import error_text
from runner.venue.ports import WireError
from runner.venue.throttle import Rate, TokenBucket
from runner.venue.translate import Unreadable, mapping, parse, sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from random import Random

    from runner.venue.ports import Wire, WireResponse
    from runner.venue.signing import Credentials, Signer

_FIRST_CURSOR, _END_CURSOR = "MA==", "LTE="  # reference 5.1
_TEXT_MAX = 500
"""Characters of the exchange's own words that we repeat."""

_RETRY_AFTER_MAX_S = 30
"""However long the exchange asks a read to wait, try again after this."""

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which a read is worth another try."""


ORDER_RATE, CANCEL_RATE, READ_RATE = Rate(10, 15), Rate(20, 30), Rate(12, 30)


class Auth(Enum):
    """Which headers a request carries (reference 2)."""

    NONE = 0
    L1 = 1
    L2 = 2


@dataclass(frozen=True, slots=True)
class VenueSettings:
    """Limits on what we ask. Rates are at most a quarter of the published ones (faults X9).

    Attributes:
        write_timeout_s: how long a POST or DELETE may take before its outcome is unknown.
        read_timeout_s: the same for one try of a read.
        read_tries: tries of a read in all.
        backoff_s: first and largest bound of the wait between tries; the wait is drawn below it.
        pages_max: pages of one list; more is an error (reference 5.1: about 100 rows each).
        orders: child orders a second; the lowest tier allows 40, bursts of 60.
        cancels: cancelled ids a second; the lowest tier allows 80, bursts of 120.
        reads: reads a second; the ledger allows 50.
        mode_s: how long a mode is believed if the exchange does not say: first, largest.
    """

    write_timeout_s: float = 5.0
    read_timeout_s: float = 5.0
    read_tries: int = 4
    backoff_s: tuple[float, float] = (0.25, 4.0)
    pages_max: int = 100
    orders: Rate = ORDER_RATE
    cancels: Rate = CANCEL_RATE
    reads: Rate = READ_RATE
    mode_s: tuple[int, int] = (2, 30)


class Requests:
    """Requests of one account over one wire."""

    def __init__(
        self,
        wire: Wire,
        signer: Signer,
        clock: Callable[[], datetime],
        rng: Random,
        settings: VenueSettings,
    ) -> None:
        self.credentials: Credentials | None = None
        self._wire = wire
        self._signer = signer
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._bucket = TokenBucket(settings.reads)

    async def write(
        self, method: str, path: str, body: bytes = b"", *, auth: Auth = Auth.L2
    ) -> WireResponse:
        """Send once. Raises WireError: it may have been carried out."""
        return await self._send(method, path, auth, body=body)

    async def read(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        auth: Auth = Auth.NONE,
        absent: int | None = None,
    ) -> Any:
        """The parsed body of a 200, or None for the status that means there is none.

        Raises:
            VenueUnreachable: no such answer within the tries.
        """
        said, told_s = "", 0
        for n in range(self._settings.read_tries):
            if n:
                await asyncio.sleep(max(told_s, self._wait(n)))
            await self._bucket.take()
            try:
                answer = await self._send("GET", path, auth, query=query)
            except WireError as error:
                said = str(error)
                continue
            if answer.status == absent:
                return None
            told_s = min(retry_after(answer) or 0, _RETRY_AFTER_MAX_S)
            try:
                body = _body(answer)
            except Unreadable as error:
                said = f"GET {path}: {answer.status}: {error}"
                continue
            if answer.status == 200:
                return body
            told = error_text(body) if isinstance(body, dict) else ""
            said = f"GET {path}: {answer.status}: {told}"
            if answer.status not in _AGAIN:
                break
        raise VenueUnreachable(self.redact(said))

    async def pages(self, path: str, query: Mapping[str, str]) -> list[Any]:
        """Every row of a paged list (reference 5.1).

        Raises:
            VenueUnreachable: a page failed, had no next cursor or one seen before, or there were
                too many: what we have is then no list.
        """
        rows: list[Any] = []
        cursor, seen = _FIRST_CURSOR, set[str]()
        while cursor != _END_CURSOR:
            if cursor in seen or len(seen) >= self._settings.pages_max:
                raise VenueUnreachable(f"GET {path}: the list does not end")
            seen.add(cursor)
            page = await self.read(path, {**query, "next_cursor": cursor}, auth=Auth.L2)
            with self.reading(path):
                of = mapping(page)
                rows.extend(sequence(of.get("data")))
                following = of.get("next_cursor")
                if not isinstance(following, str) or not following:
                    raise Unreadable("a page without a next cursor")
                cursor = following
        return rows

    @contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """Turn what cannot be read into VenueUnreachable."""
        try:
            yield
        except Unreadable as error:
            raise VenueUnreachable(self.redact(f"GET {path}: {error}")) from None

    def redact(self, text: str) -> str:
        """`text` on one line, without our secrets, cut to a length (faults S1, S12)."""
        plain = "".join(c if c.isprintable() else " " for c in text)
        if self.credentials is not None:
            plain = self.credentials.redact(plain)
        return plain[:_TEXT_MAX]

    async def _send(
        self,
        method: str,
        path: str,
        auth: Auth,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> WireResponse:
        settings = self._settings
        reads = method == "GET"
        return await self._wire.request(
            method,
            path,
            query=query,
            headers=self._headers(auth, method, path, body),
            body=body,
            timeout_s=settings.read_timeout_s if reads else settings.write_timeout_s,
        )

    def _headers(self, auth: Auth, method: str, path: str, body: bytes) -> dict[str, str]:
        if auth is Auth.NONE:
            return {}
        if auth is Auth.L1:
            return self._signer.l1_headers(self._clock())
        if self.credentials is None:
            raise VenueUnreachable("no API credentials yet: not started")
        return self._signer.l2_headers(self.credentials, self._clock(), method, path, body)

    def _wait(self, n: int) -> float:
        """Full jitter below a bound that doubles with each try."""
        first, largest = self._settings.backoff_s
        return self._rng.uniform(0, min(first * 2 ** (n - 1), largest))


def retry_after(answer: WireResponse) -> int | None:
    """The seconds that a Retry-After header tells; None for none, or a date."""
    told = answer.headers.get("retry-after", "")
    return int(told) if told.isdecimal() else None


def _body(answer: WireResponse) -> Any:
    """The parsed body; a page of HTML from the edge is nothing of the exchange's (faults X10)."""
    kind = answer.headers.get("content-type", "")
    if "html" in kind:
        raise Unreadable("an HTML page")
    return parse(answer.body)

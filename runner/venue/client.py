"""The exchange in our words: orders, cancels, reads, and what mode it is in.

1. A POST is sent once. What its answer proves is the table in `outcomes.py`.
2. Cancels have a bucket of their own: they never wait behind orders or reads.
3. A failed read is `VenueUnreachable`, never an empty answer; see `requests.py`.
"""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import SecretStr

from runner.core.errors import VenueRefused, VenueUnknown, VenueUnreachable
from runner.core.model import ReportStatus, VenueMode
from runner.venue.outcomes import classify, error_text, refusal
from runner.venue.ports import Accepted, CancelAnswer, Refused, Unknown, WireError
from runner.venue.requests import Auth, Requests, VenueSettings, retry_after
from runner.venue.signing import Credentials
from runner.venue.throttle import TokenBucket
from runner.venue.translate import (
    Unreadable,
    crossed,
    exact,
    levels,
    make_book,
    mapping,
    market_info,
    moment,
    order_report,
    parse,
    sequence,
    trade_reports,
    unix_ms,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from random import Random

    from runner.core.model import Book, MarketInfo, OrderReport, TradeReport
    from runner.core.plan import MarketRef
    from runner.venue.ports import Outcome, SignedOrder, Wire, WireResponse
    from runner.venue.signing import Signer

CANCELS_MAX = 1000
"""Ids in one `DELETE /orders` (reference 4)."""

_MODES = {
    "VENUE_POST_ONLY": VenueMode.POST_ONLY,
    "VENUE_CANCEL_ONLY": VenueMode.CANCEL_ONLY,
    "VENUE_CLOSED": VenueMode.CLOSED,
}
_EXPECTED_UNKNOWN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that say nothing of an order in the ordinary course; any other ought to be looked at."""

_MODE_SECONDS_MAX = 300
"""However long the exchange says to wait, ask again after this."""


class Venue:
    """One account at one exchange.

    Args:
        wire: bytes to and from it.
        signer: the wallet.
        clock: the time, aware and UTC.
        rng: jitter of the back-off.
        odd: told of each word of the exchange that we do not know; for an alert.
        settings: limits.
    """

    def __init__(
        self,
        wire: Wire,
        signer: Signer,
        clock: Callable[[], datetime],
        *,
        rng: Random,
        odd: Callable[[str], None],
        settings: VenueSettings | None = None,
    ) -> None:
        self.signer = signer
        self._clock = clock
        self._odd = odd
        self._settings = settings or VenueSettings()
        self._requests = Requests(wire, signer, clock, rng, self._settings)
        self._orders = TokenBucket(self._settings.orders)
        self._cancels = TokenBucket(self._settings.cancels)
        self._mode = VenueMode.NORMAL
        self._mode_until = clock()
        self._mode_heard = 0

    @property
    def credentials(self) -> Credentials:
        """The API credentials; `api_key` is the owner of what we sign.

        Raises:
            VenueUnreachable: `start` has not succeeded yet.
        """
        if self._requests.credentials is None:
            raise VenueUnreachable("no API credentials yet: not started")
        return self._requests.credentials

    @property
    def mode(self) -> VenueMode:
        """What the exchange accepts as last heard; normal again once that has grown old."""
        return VenueMode.NORMAL if self._clock() >= self._mode_until else self._mode

    async def start(self) -> None:
        """Create API credentials, or derive those that exist (reference 2.1).

        A creation whose answer is lost does no harm: deriving then finds the key.

        Raises:
            VenueUnreachable: neither could be done.
        """
        made = None
        try:
            answer = await self._requests.write("POST", "/auth/api-key", auth=Auth.L1)
            if answer.status == 200:
                made = parse(answer.body)
        except (WireError, Unreadable):
            made = None
        if made is None:
            made = await self._requests.read("/auth/derive-api-key", auth=Auth.L1)
        try:
            key, secret, passphrase = (
                str(mapping(made)[name]) for name in ("apiKey", "secret", "passphrase")
            )
        except (Unreadable, KeyError):
            raise VenueUnreachable("the answer holds no API credentials") from None
        self._requests.credentials = Credentials(key, SecretStr(secret), SecretStr(passphrase))

    # ---- what changes something

    async def turn(self) -> None:
        """Wait until the rate of orders allows one more; to be called before each `submit`.

        Apart, so that whoever waited can look once more whether the order may still go.
        """
        await self._orders.take()

    async def submit(self, signed: SignedOrder) -> Outcome:
        """Send exactly these bytes, once, and say what the answer proves.

        Raises:
            VenueUnreachable: `start` has not succeeded yet; nothing was sent.
        """
        try:
            answer = await self._requests.write("POST", "/order", signed.body)
        except WireError as error:
            return Unknown(self._requests.redact(str(error)))
        outcome = classify(answer, signed)
        match outcome:
            case Accepted(report):
                if report.status is not ReportStatus.PRESENT:
                    self._hear_acceptance(signed)
                return outcome
            case Refused(code, text, curable):
                self._hear_trouble(answer)
                return Refused(code, self._requests.redact(text), curable)
            case Unknown(text):
                self._hear_trouble(answer)
                plain = self._requests.redact(text)
                if answer.status not in _EXPECTED_UNKNOWN:
                    self._odd(f"answer to an order: {plain}")
                return Unknown(plain)

    async def cancel(self, order_ids: Iterable[str]) -> CancelAnswer:
        """Ask for these orders to be cancelled; safe to repeat.

        The answer says nothing of fills, and an id that it does not name may still be open
        (reference 4).

        Raises:
            VenueRefused: proven that nothing was cancelled, and why.
            VenueUnknown: no readable answer; some may be cancelled.
        """
        asked = sorted(set(order_ids))
        cancelled: set[str] = set()
        kept: dict[str, str] = {}
        for start in range(0, len(asked), CANCELS_MAX):
            chunk = asked[start : start + CANCELS_MAX]
            await self._cancels.take(len(chunk))
            try:
                done, why = await self._cancel(chunk)
            except (WireError, Unreadable) as error:
                raise VenueUnknown(self._requests.redact(f"cancel: {error}")) from None
            cancelled |= done.intersection(chunk)
            kept |= {one: self._requests.redact(why[one]) for one in chunk if one in why}
        return CancelAnswer(frozenset(cancelled), kept)

    async def _cancel(self, chunk: list[str]) -> tuple[set[str], dict[str, str]]:
        body = json.dumps(chunk, separators=(",", ":")).encode()
        answer = await self._requests.write("DELETE", "/orders", body)
        of = mapping(parse(answer.body))
        if answer.status != 200:
            self._hear_trouble(answer)
            text = self._requests.redact(f"cancel: {answer.status} {error_text(of)}")
            proven = answer.status == 400 or refusal(answer.status, of) is not None
            raise (VenueRefused if proven else VenueUnknown)(text)
        why = mapping(of.get("not_canceled") or {})
        return (
            {str(one).lower() for one in sequence(of.get("canceled"))},
            {str(one).lower(): str(text) for one, text in why.items()},
        )

    # ---- reads of the account

    async def order(self, order_id: str) -> OrderReport | None:
        """One order in any status. None (null, or not found) proves no absence (faults X16).

        Raises:
            VenueUnreachable: no readable answer.
        """
        path = f"/data/order/{order_id}"
        found = await self._requests.read(path, auth=Auth.L2, absent=404)
        if found is None:
            return None
        with self._requests.reading(path):
            report = order_report(mapping(found), self._odd)
            if report.order_id != order_id:
                raise Unreadable("another order than asked for")
            return report

    async def open_orders(self) -> tuple[OrderReport, ...]:
        """Every order that rests under our API key, complete.

        Raises:
            VenueUnreachable: not complete.
        """
        rows = await self._requests.pages("/data/orders", {})
        with self._requests.reading("/data/orders"):
            return tuple(order_report(mapping(row), self._odd) for row in rows)

    async def trades(self, after: datetime) -> tuple[TradeReport, ...]:
        """Our legs of every trade matched at or after `after`, account-wide, complete.

        The exchange counts in whole seconds and may leave out the one given, so that a little
        more is asked for: an earlier trade may come along.
        Never filtered by market: the exchange's filters look at the taker's token and would hide
        our fills from cross matches (reference 5.3).

        Raises:
            VenueUnreachable: not complete.
        """
        query = {"after": str(unix_ms(after) // 1000 - 1)}
        rows = await self._requests.pages("/data/trades", query)
        with self._requests.reading("/data/trades"):
            legs = {
                (leg.trade_id, leg.order_id): leg
                for row in rows
                for leg in trade_reports(mapping(row), self.signer.funder, self._odd)
            }
        return tuple(legs.values())

    async def balance(self, token_id: str | None = None) -> Decimal:
        """Dollars, or shares of a token: the exchange's cached figure, open orders not deducted.

        Raises:
            VenueUnreachable: no readable answer.
        """
        query = {"asset_type": "COLLATERAL" if token_id is None else "CONDITIONAL"}
        if token_id is not None:
            query["token_id"] = token_id
        query["signature_type"] = str(int(self.signer.signature_type))
        found = await self._requests.read("/balance-allowance", query, auth=Auth.L2)
        with self._requests.reading("/balance-allowance"):
            return exact(mapping(found).get("balance")).scaleb(-6)

    async def refresh_balance(self, token_id: str | None = None) -> None:
        """Have the exchange look up dollars, or shares of a token, anew (reference 5.5).

        Its cached figure may be older than a fill or a deposit, and orders are refused by it.

        Raises:
            VenueUnreachable: no readable answer.
        """
        query = {"asset_type": "COLLATERAL" if token_id is None else "CONDITIONAL"}
        if token_id is not None:
            query["token_id"] = token_id
        query["signature_type"] = str(int(self.signer.signature_type))
        await self._requests.read("/balance-allowance/update", query, auth=Auth.L2)

    # ---- reads of the market

    async def market(self, ref: MarketRef) -> MarketInfo:
        """The rules of the token that `ref` names, fresh.

        Raises:
            VenueRefused: there is no such market, or none of its outcomes has that name.
            VenueUnreachable: no readable answer.
        """
        named = await self.outcomes(ref)
        for info in named:
            if ref.token_id == info.token_id:
                return info
            if ref.outcome is not None and ref.outcome.lower() == info.outcome.lower():
                return info
        raise VenueRefused(f"market {named[0].condition_id} has no outcome {ref.outcome!r}")

    async def outcomes(self, ref: MarketRef) -> tuple[MarketInfo, ...]:
        """The rules of both tokens of the market that `ref` names, fresh.

        Raises:
            VenueRefused: there is no such market.
            VenueUnreachable: no readable answer.
        """
        condition = ref.condition_id or await self._condition(ref)
        short = await self._requests.read(f"/clob-markets/{condition}", absent=404)
        long = await self._requests.read(f"/markets/{condition}", absent=404)
        if short is None or long is None:
            raise VenueRefused(f"the exchange has no market {condition}")
        with self._requests.reading(f"/clob-markets/{condition}"):
            of, now = mapping(short), self._clock()
            tokens = [str(mapping(entry).get("t")) for entry in sequence(of.get("t"))]
            return tuple(market_info(of, mapping(long), token, now) for token in tokens)

    async def last_trade(self, token_id: str) -> Decimal | None:
        """The price of a token's last trade; None before the first.

        Before the first, the API tells 0.5 and an empty side (its reference, get-last-trade-price).

        Raises:
            VenueUnreachable: no readable answer.
        """
        found = await self._requests.read("/last-trade-price", {"token_id": token_id})
        with self._requests.reading("/last-trade-price"):
            last = mapping(found)
            return exact(last.get("price")) if last.get("side") else None

    async def _condition(self, ref: MarketRef) -> str:
        if ref.token_id is not None:
            path, key = f"/markets-by-token/{ref.token_id}", "condition_id"
        else:
            path, key = f"/gamma/markets/slug/{ref.slug}", "conditionId"
        found = await self._requests.read(path, absent=404)
        if found is None:
            raise VenueRefused(f"the exchange has no market {ref.token_id or ref.slug}")
        with self._requests.reading(path):
            condition = mapping(found).get(key)
            if not isinstance(condition, str) or not condition:
                raise Unreadable(f"no {key}")
            return condition

    async def book(self, token_id: str) -> Book:
        """The book of a token, fresh.

        Raises:
            VenueUnreachable: no readable answer, or one that no book can look like (faults W14).
        """
        found = await self._requests.read("/book", {"token_id": token_id})
        with self._requests.reading("/book"):
            of = mapping(found)
            book = make_book(levels(of.get("bids")), levels(of.get("asks")), self._clock())
            if crossed(book):
                raise Unreadable("a crossed book")
            return book

    async def server_time(self) -> datetime:
        """The exchange's clock, to the second. Raises VenueUnreachable."""
        found = await self._requests.read("/time")
        with self._requests.reading("/time"):
            return moment(exact(found))

    # ---- the mode (reference 8.3)

    def _hear_acceptance(self, signed: SignedOrder) -> None:
        """An accepted order ends every mode, but a post-only one says nothing of post-only mode."""
        if self._mode is VenueMode.POST_ONLY and json.loads(signed.body)["postOnly"]:
            return
        self._mode_until, self._mode_heard = self._clock(), 0

    def _hear_trouble(self, answer: WireResponse) -> None:
        """Believe a mode for as long as the exchange says, else a little longer each time."""
        said = mode_of(answer)
        if said is None:
            return
        mode, seconds = said
        if seconds is None:
            first, largest = self._settings.mode_s
            seconds = min(first * 2 ** min(self._mode_heard, 10), largest)
        self._mode_heard += 1
        self._mode = mode
        self._mode_until = self._clock() + timedelta(seconds=min(seconds, _MODE_SECONDS_MAX))


def mode_of(answer: WireResponse) -> tuple[VenueMode, int | None] | None:
    """The mode that an answer tells, and for how many seconds if it says; None if none."""
    try:
        body = parse(answer.body)
    except Unreadable:
        body = None
    of = body if isinstance(body, dict) else {}
    proof = refusal(answer.status, of)
    mode = VenueMode.RESTARTING if answer.status == 425 else _MODES.get(proof[0] if proof else "")
    if mode is None:
        return None
    told = str(of.get("retry_after_seconds"))
    return mode, int(told) if told.isdecimal() else retry_after(answer)

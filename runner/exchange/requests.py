"""One request and its answer, and the small readings that every part of the API shares."""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from runner.exchange.engine import Engine
from runner.exchange.limits import Kind
from runner.exchange.listings import Listing
from runner.exchange.records import ApiKey, Refused

MARK = {"X-Simulated": "pmrun-embedded-exchange"}
"""On every answer and every socket's handshake: this is not the real exchange."""

Row = TypeVar("Row")

END = "LTE="
"""The cursor beyond the end of a list (reference 5.1)."""

NO_BOOK = "No orderbook exists for the requested token id"


@dataclass(slots=True)
class Pending:
    """An answer that isn't decided yet: `on_answer` (if set) is called when `response` is there.

    It is called while the engine works: the driver sends the response after that call, when the
    engine has returned and what it tells is durable.
    """

    response: "Response | None" = None
    on_answer: Callable[[], None] | None = None

    def settle(self, response: "Response") -> None:
        """Gives the answer."""
        self.response = response
        if self.on_answer is not None:
            self.on_answer()


@dataclass(frozen=True, slots=True)
class Later:
    """What a handler returns whose answer is known at a time (Unix milliseconds): how it is told.

    `finish` returns the body, or raises what the request is refused with.
    """

    due_ms: int
    finish: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Response:
    """What the driver does with the client's connection.

    Args:
        status: HTTP status.
        headers: Headers, with the mark that the answer is simulated.
        body: The exact bytes.
        delay_s: How many seconds later the answer is to be sent. The request has been applied.
        lost: Never answer. Close the connection, or if `hang`, leave it open and silent until
            the client gives up. Whether the request was applied doesn't show: that is the point.
            (A delayed request is applied by `advance` when it is due; the driver does nothing.)
        hang: See `lost`.
        pending: If set, nothing else here counts: the answer is decided by a later `advance`
            (a market's taker delay, reference 3.8).
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    delay_s: float = 0.0
    lost: bool = False
    hang: bool = False
    pending: Pending | None = None


@dataclass(slots=True)
class Request:
    """One request as a handler sees it.

    Args:
        engine: The exchange.
        method: Upper case.
        path: Without the query, percent-decoding done.
        query: The query's parameters, the last of each name.
        pairs: The query's parameters as they came.
        headers: Names in lower case.
        body: The exact bytes.
        argument: What stands for the braces of the route.
        told: Headers that its answer will have beside the usual ones.
    """

    engine: Engine
    method: str
    path: str
    query: Mapping[str, str]
    pairs: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    argument: str = ""
    told: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(
        cls, engine: Engine, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> "Request":
        """From the request line, headers and body as they came."""
        parts = urlsplit(target)
        lower = {name.lower(): value for name, value in headers.items()}
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        return cls(engine, method.upper(), unquote(parts.path), dict(pairs), pairs, lower, body)

    def values(self, name: str) -> set[str]:
        """A parameter's values: given several times (Gamma) or joined by commas (Data API)."""
        texts = [text for key, text in self.pairs if key == name]
        return {value for text in texts for value in text.split(",") if value}

    def key(self) -> ApiKey:
        """The API key of a private request, its L2 headers checked.

        Raises:
            Refused: 401.
        """
        key = self.engine.accounts.authenticated(self.headers, self.method, self.path, self.body)
        self.engine.gate.check_clock(self.headers["poly_timestamp"], self.engine.now_ms())
        return key

    def charge(self, key: ApiKey, kind: Kind, cost: int) -> None:
        """Counts what the request costs against its signer's limits (reference 8.2).

        Raises:
            Refused: 429.
        """
        limits, now_ms = self.engine.gate.signers, self.engine.now_ms()
        self.told |= limits.charge(key.address, kind, cost, now_ms)

    def json(self) -> object:
        """The body as JSON.

        Raises:
            Refused: 400.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise Refused(400, "Invalid order payload") from error

    def listing(self) -> tuple[Listing, int]:
        """The market and outcome of the query's `token_id`.

        Raises:
            Refused: 404.
        """
        return listing_of(self.engine, self.query.get("token_id", ""))


def listing_of(engine: Engine, token_id: str) -> tuple[Listing, int]:
    """A token's market, and the token's place in it.

    Raises:
        Refused: 404.
    """
    listing = engine.tokens.get(token_id)
    if listing is None:
        raise Refused(404, NO_BOOK)
    return listing, listing.market.token_ids.index(token_id)


def market_of(engine: Engine, condition_id: str) -> Listing:
    """A market by its condition.

    Raises:
        Refused: 404.
    """
    listing = engine.listings.get(condition_id)
    if listing is None:
        raise Refused(404, "market not found")
    return listing


def whole(request: Request, name: str, default: int) -> int:
    """A whole number of the query, not negative.

    Raises:
        Refused: 400.
    """
    text = request.query.get(name, "")
    if text and not re.fullmatch(r"[0-9]{1,12}", text):
        raise Refused(400, f"invalid {name}")
    return int(text) if text else default


def page_of(
    rows: Sequence[Row], cursor: str | None, limit: int
) -> tuple[Sequence[Row], str | None]:
    """The rows from where a cursor points, and the cursor of what follows (None at the end).

    A cursor is the base64 text of a place: `MA==` is the start, `LTE=` (-1) beyond the end
    (reference 5.1).

    Raises:
        Refused: 400 for a cursor that never was one.
    """
    try:
        start = int(base64.b64decode(cursor or "MA==", validate=True))
    except ValueError as error:
        raise Refused(400, "next item not valid") from error
    if start < 0:
        return [], None
    end = start + limit
    return rows[start:end], base64.b64encode(b"%d" % end).decode() if end < len(rows) else None

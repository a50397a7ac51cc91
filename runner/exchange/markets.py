"""The markets an exchange lists, and the numbers that belong to them.

Every price, size and amount inside the exchange is an `int` in millionths (the chain's own
unit): a price of 0.52 dollars a share is 520_000, 100 shares are 100_000_000.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

Side = Literal["BUY", "SELL"]
TimeInForce = Literal["GTC", "GTD", "FAK", "FOK"]
MarketState = Literal["open", "paused", "closed", "resolved"]
ProtocolVersion = Literal["v1", "v2"]

ONE = 1_000_000
"""One dollar, one share, or a probability of one, in millionths."""

LOT = 10_000
"""Step of an order's size: a hundredth of a share (reference 3.4)."""

_AMOUNT_DECIMALS = {100_000: 3, 10_000: 4, 5_000: 5, 2_500: 6, 1_000: 5, 100: 6}

TICKS = frozenset(_AMOUNT_DECIMALS)
"""Every price step there is, in millionths (reference 3.4)."""


@dataclass(frozen=True, slots=True)
class MarketConfig:
    """One market of two outcomes, as listed.

    Args:
        slug: The market's name in addresses, unique.
        question: What it asks.
        event_slug: The event it belongs to; markets of one neg-risk event share it.
        condition_id: 0x and 64 hex digits, lower case.
        token_ids: The two tokens, as decimal text; the first outcome leads the book.
        outcomes: The two outcomes' names, in the tokens' order.
        tick: Price step in millionths; one of reference 3.4.
        min_size: Smallest resting order, in millionths of a share.
        neg_risk: Whether orders are signed for the neg-risk contract (reference 3.2).
        fee_rate: Taker fee rate in millionths (reference 7); 0 for none.
        fee_exponent: Exponent of p x (1 - p) in the fee.
        taker_delay_ms: How long a marketable order is held before it meets the book; its answer
            waits with it (reference 3.8).
        seconds_delay: The same, in seconds, of markets that answer `delayed` at once.
        version: Which protocol its tokens are of: v1 trades the conditional tokens' ids, v2 the
            ids of positions, on a contract of its own (reference 3.3).
        rebate_rate: Share of the takers' fees that goes to the makers, in millionths
            (reference 7).
        fine_tick: The tick it changes to by itself once its price is beyond 0.96 or 0.04
            (reference 3.4); None if it never does.
        description: Resolution rules, for people.
        end: When the market is planned to end; UTC.

    Raises:
        ValueError: A tick that is not one of reference 3.4, tokens of v2 that are no ids of a
            position, or two delays at once.
    """

    slug: str
    question: str
    event_slug: str
    condition_id: str
    token_ids: tuple[str, str]
    outcomes: tuple[str, str] = ("Yes", "No")
    tick: int = 10_000
    min_size: int = 5 * ONE
    neg_risk: bool = False
    fee_rate: int = 0
    fee_exponent: int = 1
    taker_delay_ms: int = 0
    seconds_delay: int = 0
    version: ProtocolVersion = "v1"
    rebate_rate: int = 0
    fine_tick: int | None = None
    description: str = ""
    end: datetime | None = None

    def __post_init__(self) -> None:
        if self.tick not in _AMOUNT_DECIMALS:
            raise ValueError(f"{self.slug}: no such tick: {decimal_text(self.tick)}")
        if self.fine_tick is not None and self.fine_tick not in _AMOUNT_DECIMALS:
            raise ValueError(f"{self.slug}: no such tick: {decimal_text(self.fine_tick)}")
        if self.version == "v2" and not _are_positions(self.token_ids, self.neg_risk):
            raise ValueError(f"{self.slug}: a v2 market trades the two ids of a position")
        if self.taker_delay_ms and self.seconds_delay:
            raise ValueError(f"{self.slug}: either a taker delay or a delay in seconds")

    @property
    def neg_risk_event_id(self) -> str:
        """What the markets of a neg-risk event share: 0x and 64 hex digits; empty for others."""
        if not self.neg_risk:
            return ""
        return f"0x{hashlib.sha256(self.event_slug.encode()).hexdigest()}"

    @property
    def hold_ms(self) -> int:
        """How long a marketable order is held before it meets the book."""
        return self.taker_delay_ms or 1000 * self.seconds_delay

    @property
    def amount_decimals(self) -> int:
        """How many decimals the dollar amount of an order may have (reference 3.4)."""
        return _AMOUNT_DECIMALS[self.tick]

    @property
    def end_text(self) -> str | None:
        """The planned end as the API writes it."""
        return f"{self.end:%Y-%m-%dT%H:%M:%SZ}" if self.end else None

    def with_tick(self, tick: int) -> "MarketConfig":
        """The same market on another tick.

        Raises:
            ValueError: A tick that is not one of reference 3.4.
        """
        return replace(self, tick=tick)

    def taker_fee(self, size: int, price: int) -> int:
        """The taker's fee in millionths of a dollar for one fill (reference 7).

        shares x rate x (p x (1 - p)) ^ exponent, rounded half up to five decimals, at least
        0.00001 where there is a rate. The direction of rounding is an assumption.
        """
        if self.fee_rate == 0:
            return 0
        spread: int = (price * (ONE - price)) ** self.fee_exponent
        scale: int = ONE ** (1 + 2 * self.fee_exponent)
        step = 10
        return max(
            step, (2 * size * self.fee_rate * spread + step * scale) // (2 * step * scale) * step
        )


def position_ids(seed: bytes, neg_risk: bool) -> tuple[str, str]:
    """The two ids of a position of protocol v2, made from at least 18 bytes (reference 3.3).

    The first byte is the module (1 binary, 2 neg-risk), the last one the outcome, and the 31
    before that are the condition's. Bits 40 to 103 are reserved: zero.
    """
    module = b"\x02" if neg_risk else b"\x01"
    condition = module + seed[:18] + bytes(8) + seed[-4:]
    first = int.from_bytes(condition + b"\0", "big")
    return str(first), str(first + 1)


def _are_positions(token_ids: tuple[str, str], neg_risk: bool) -> bool:
    if any(int(token) >= 1 << 256 for token in token_ids):
        return False
    first, second = (int(token).to_bytes(32, "big") for token in token_ids)
    return (
        first[0] == (2 if neg_risk else 1)
        and first[19:27] == bytes(8)
        and (first[:31], first[31], second[31]) == (second[:31], 0, 1)
    )


def decimal_text(millionths: int) -> str:
    """Millionths as plain decimal text without trailing zeros: 520_000 is "0.52"."""
    sign = "-" if millionths < 0 else ""
    whole, part = divmod(abs(millionths), ONE)
    return f"{sign}{whole}.{part:06d}".rstrip("0").rstrip(".") if part else f"{sign}{whole}"


def millionths(text: str) -> int:
    """Decimal text as millionths, exactly.

    Raises:
        ValueError: Not a plain decimal, or one with more than six decimals.
    """
    whole, dot, part = text.partition(".")
    digits = whole.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (dot and not part.isdigit()) or len(part) > 6:
        raise ValueError(f"not a decimal of at most six places: {text!r}")
    value = int(digits) * ONE + int(part.ljust(6, "0"))
    return -value if whole.startswith("-") else value

"""A plan's scalars: text in, exact values out, or a sentence that says what to write instead.

Every scalar of a plan file arrives as the text that stands in it, so `010`, `1_000`, `no` and
`12:30` mean what they look like or nothing at all (faults F9 to F15). Each reader takes the text
(or a value that is already of its type, for plans made in code or read back from the store) and
raises `PydanticCustomError` with the sentence. Messages echo at most 40 escaped characters, and
never anything that could be a secret.

1. A number is `digits[.digits]` in ASCII, at most 24 characters, no sign, no leading zero.
2. The value is exactly what the text says; nothing is rounded, nothing passes through a float.
3. No text makes a reader raise anything but `PydanticCustomError`.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn, TypeVar

from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Word = TypeVar("Word", bound=StrEnum)

NUMBER_LENGTH_MAX = 24
ECHO_LENGTH_MAX = 40

_NUMBER = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?")
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,199}")
_CONDITION = re.compile(r"0x[0-9a-f]{64}")
_TIME = re.compile(
    r"(20[0-9]{2}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    r"(?:[Zz]|([+-][0-9]{2}:[0-9]{2}))"
)
_FILLED = re.compile(r"filled\( *([a-z0-9][a-z0-9-]{0,62}) *\)", re.IGNORECASE | re.ASCII)
_LONG_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(s|sec|seconds?|m|min|minutes?|h|hours?)", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


def refuse(text: str) -> NoReturn:
    """Raises the error that carries `text` to the reader of the plan."""
    raise PydanticCustomError("plan", "{text}", {"text": text})


def echo(text: str) -> str:
    """Quotes a piece of a plan file for a message: short, escaped, without anything secret."""
    shown = _LONG_HEX.sub("[hidden]", text[:4096])
    if len(shown) > ECHO_LENGTH_MAX:
        shown = shown[: ECHO_LENGTH_MAX - 3] + "..."
    return "'" + shown.encode("unicode_escape").decode("ascii").replace("'", "\\'") + "'"


def _text(value: object, wanted: str) -> str:
    if isinstance(value, dict):
        refuse(f"must be {wanted}, not a group of keys")
    if isinstance(value, list | tuple):
        refuse(f"must be {wanted}, not a list")
    if not isinstance(value, str):
        refuse(f"must be {wanted}")
    if value.strip().lower() in {"", "~", "null"}:
        refuse(f"is empty: give {wanted}, or leave the key out")
    return value


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rewritten(text: str) -> str | None:
    """The plain decimal a person most likely meant, or None."""
    if len(text) > NUMBER_LENGTH_MAX or not text.isascii():
        return None
    bare = re.sub(r"^\$ ?| ?(?:\$|usdc?|dollars?|shares?)$", "", text.lower())
    if re.fullmatch(r"[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]+)?", bare):
        bare = bare.replace(",", "")
    bare = bare.replace("_", "").replace(",", ".").removeprefix("+")
    if re.fullmatch(r"0+[0-9]+(\.[0-9]+)?", bare):
        bare = re.sub(r"^0+(?=[0-9])", "", bare)
    if bare.startswith("."):
        bare = f"0{bare}"
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?e\+?[0-9]", bare):
        bare = _plain(Decimal(bare))
    bare = bare.removesuffix(".")
    return bare if bare != text and _NUMBER.fullmatch(bare) else None


def _not_a_number(text: str) -> NoReturn:
    if not text.isascii():
        if any(character.isdigit() and not character.isascii() for character in text):
            refuse(f"{echo(text)} is not a number here: only the digits 0 to 9 are read")
        if cents := re.fullmatch(r"([0-9]{1,2})(?:\.0*)? ?¢", text):
            refuse(f"{echo(text)}: amounts are in dollars, write {int(cents[1]) / Decimal(100)}")
        refuse(f"{echo(text)} is not a plain decimal such as 100 or 0.55")
    lowered = text.strip().lower()
    if part := re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?(%|percent|c|ct|cents?)", lowered):
        meant = _plain(Decimal(part[1]) / 100)
        refuse(f"{echo(text)} has a unit: write it as a plain decimal, {meant}")
    if lowered.lstrip("+-.") in {"nan", "inf", "infinity"}:
        refuse(f"{echo(text)} is not a finite number: write a plain decimal such as 100 or 0.55")
    if lowered.startswith("-"):
        refuse(f"{echo(text)} is negative: write a plain decimal without a sign")
    if lowered.startswith(("0x", "0o", "0b")):
        refuse(f"{echo(text)}: write the number in plain decimal digits")
    meant_text = _rewritten(lowered)
    hint = f"write {meant_text}" if meant_text else "write digits such as 100 or 0.55"
    refuse(f"{echo(text)} is not a plain decimal: {hint}")


def number(value: object, wanted: str = "a plain decimal such as 100 or 0.55") -> Decimal:
    """Reads a plain decimal exactly (invariants 1 and 2).

    Raises:
        PydanticCustomError: it isn't one; the message says what to write.
    """
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    text = _text(value, wanted)
    if len(text) > NUMBER_LENGTH_MAX:
        refuse(f"{echo(text)} is too long for a number ({NUMBER_LENGTH_MAX} characters at most)")
    if not _NUMBER.fullmatch(text):
        _not_a_number(text)
    return Decimal(text)


def decimals(value: Decimal) -> int:
    """How many decimals `value` really has: 0.550 has two."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def amount(
    unit: str, decimals_max: int, *, low: int = 0, high: int, low_allowed: bool = False
) -> Callable[[object], Decimal]:
    """Makes a reader of a bounded amount: `unit` names it in messages, bounds are inclusive.

    `low` itself is refused unless `low_allowed`.
    """
    example = f"a plain decimal number of {unit}"

    def read(value: object) -> Decimal:
        found = number(value, example)
        if found < low or (found == low and not low_allowed):
            refuse(f"{found} must be {'at least' if low_allowed else 'more than'} {low} ({unit})")
        if found > high:
            refuse(f"{found} is more than {high} ({unit})")
        if decimals(found) > decimals_max:
            refuse(f"{found} has more than {decimals_max} decimals ({unit})")
        return found

    return read


def price(value: object) -> Decimal:
    """Reads a price: dollars a share, inside (0, 1), at most four decimals (reference 3.4)."""
    found = number(value, "a price in dollars a share, such as 0.55")
    if not 0 < found < 1:
        cents = 1 < found < 100 and decimals(found) <= 2
        hint = f"; {found} cents is {_plain(found / 100)}" if cents else ""
        refuse(f"{found} is not between 0 and 1: prices are dollars a share{hint}")
    if decimals(found) > 4:
        refuse(f"{found} has more than 4 decimals: the finest tick of any market is 0.0001")
    return found


def fraction(value: object) -> Decimal:
    """Reads a share of something: 0 to 1, both allowed, at most six decimals."""
    found = number(value, "a decimal from 0 to 1, such as 0.2")
    if found > 1:
        hint = f": write {_plain(found / 100)} for {found} percent" if found <= 100 else ""
        refuse(f"{found} is not between 0 and 1{hint}")
    if decimals(found) > 6:
        refuse(f"{found} has more than 6 decimals")
    return found


def share(value: object) -> Decimal:
    """Reads a fraction that must be more than 0: a share of the market's volume."""
    found = fraction(value)
    if not found:
        refuse("0 would never trade: write a decimal above 0 and up to 1, such as 0.1")
    return found


def duration(unit: str, decimals_max: int, *, high: int, zero: bool) -> Callable[[object], Decimal]:
    """Makes a reader of a duration in `unit` (seconds or minutes): the key carries the unit."""
    read_amount = amount(unit, decimals_max, high=high, low_allowed=zero)

    def read(value: object) -> Decimal:
        if isinstance(value, str) and len(value) <= NUMBER_LENGTH_MAX:
            if written := _UNIT.fullmatch(value.lower()):
                seconds = Decimal(written[1]) * _UNIT_SECONDS[written[2][0]]
                meant = _plain(seconds if unit == "seconds" else seconds / 60)
                refuse(f"{echo(value)} has a unit: this key counts {unit}, write {meant[:12]}")
            if re.fullmatch(r"[0-9]+(:[0-9]{2})+", value):
                refuse(f"{echo(value)} is a clock time: this key counts {unit}, as a plain decimal")
        return read_amount(value)

    return read


def integer(low: int, high: int) -> Callable[[object], int]:
    """Makes a reader of a whole number from `low` to `high`."""

    def read(value: object) -> int:
        found = number(value, "a whole number")
        if decimals(found):
            refuse(f"{found} is not a whole number")
        if not low <= found <= high:
            refuse(f"{found} is not between {low} and {high}")
        return int(found)

    return read


def truth(value: object) -> bool:
    """Reads true or false; yes, no, on, off and 1 are answered with the right word (F9)."""
    if isinstance(value, bool):
        return value
    text = _text(value, "true or false")
    lowered = text.lower()
    if text.isascii() and lowered in {"true", "false"}:
        return lowered == "true"
    meant = {"yes": "true", "on": "true", "1": "true", "y": "true"}.get(lowered)
    meant = meant or {"no": "false", "off": "false", "0": "false", "n": "false"}.get(lowered)
    refuse(f"{echo(text)}: write {meant or 'true or false'}")


def nearest(text: str, known: Iterable[str]) -> str | None:
    """The known word that `text` is most likely a slip of, or None."""
    found = difflib.get_close_matches(text[:ECHO_LENGTH_MAX].lower(), sorted(known), 1, 0.7)
    return found[0] if found else None


def word(kind: type[Word], foreign: Mapping[str, str]) -> Callable[[object], Word]:
    """Makes a reader of one of the words of `kind`, in any case.

    `foreign` answers words of other systems: a word of `kind` to write instead, or a sentence.
    """
    known = [str(member) for member in kind]
    listed = ", ".join(known[:-1]) + f" or {known[-1]}"

    def read(value: object) -> Word:
        text = _text(value, listed)
        lowered = text.lower()
        if text.isascii() and lowered in known:
            return kind(lowered)
        key = re.sub(r"[ -]+", "_", lowered.strip())
        meant = foreign.get(key) or (key if key in known else nearest(key, known))
        if meant is None:
            refuse(f"{echo(text)}: write {listed}")
        refuse(f"{echo(text)}: " + (f"write {meant} ({listed})" if meant in known else meant))

    return read


def moment(value: object) -> datetime:
    """Reads a time with its offset, as UTC. There are no leap seconds here."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    wanted = "a UTC time such as 2026-01-31T14:30:00Z"
    text = _text(value, wanted)
    found = _TIME.fullmatch(text)
    if found is None:
        if re.fullmatch(r"20[0-9-]{8}[Tt ][0-9:.]{5,15}", text):
            refuse(f"{echo(text)} has no offset: add Z for UTC, or one such as +02:00")
        refuse(f"{echo(text)}: write {wanted}")
    if found[2][6:8] == "60":
        refuse(f"{echo(text)} is a leap second: write the second after it")
    try:
        # Years are limited to 2000-2099, so moving to UTC can't leave the calendar.
        return datetime.fromisoformat(f"{found[1]}T{found[2]}{found[3] or '+00:00'}").astimezone(
            UTC
        )
    except ValueError:
        refuse(f"{echo(text)} is no time of the calendar: write {wanted}")


def identifier(value: object) -> str:
    """Reads the id of a plan or a job: `[a-z0-9][a-z0-9-]{0,62}`."""
    text = _text(value, "an id of lower-case letters, digits and hyphens")
    if _ID.fullmatch(text):
        return text
    meant = re.sub(r"[ _.]+", "-", text[:63].lower()).strip("-")
    hint = f": write {meant}" if _ID.fullmatch(meant) and not _LONG_HEX.search(text) else ""
    refuse(
        f"{echo(text)} is not an id (lower-case letters, digits, hyphens, 63 at most, "
        f"no hyphen first){hint}"
    )


def needed(value: object) -> object:
    """Turns the list form of `needs` into its mapping form: each job must have completed."""
    if isinstance(value, str):
        names = re.split(r"[ ,]+", value.strip()[:NUMBER_LENGTH_MAX])
        hint = f"[{', '.join(names)}]" if all(map(_ID.fullmatch, names)) else "[JOB]"
        refuse(f"must be a list of jobs: write {hint}, or {{JOB: ended}}")
    if not isinstance(value, list | tuple):
        return value
    names = [identifier(item) for item in value]
    if len(set(names)) < len(names):
        refuse("names a job twice")
    return dict.fromkeys(names, "completed")


def filled_job(value: object) -> str | None:
    """The JOB of `filled(JOB)`, or None if the text has not that form."""
    found = _FILLED.fullmatch(value) if isinstance(value, str) else None
    return found[1].lower() if found else None


def slug(value: object) -> str:
    """Reads a market's slug; a pasted address is answered with the slug in it."""
    text = _text(value, "the market's slug, the last part of its address")
    if _SLUG.fullmatch(text):
        return text
    last = text.split("?")[0].split("#")[0].rstrip("/").rsplit("/", 1)[-1].lower()
    hint = last if _SLUG.fullmatch(last) and not _LONG_HEX.search(last) else "will-it-rain"
    refuse(f"{echo(text)} is not a slug: write only the last part of the address, as {hint}")


def condition_id(value: object) -> str:
    """Reads a market's condition id: 0x and 64 hex digits, given back in lower case."""
    text = _text(value, "the market's condition id, 0x and 64 hex digits").lower()
    if not _CONDITION.fullmatch(text):
        refuse("is not a condition id: write 0x and 64 hex digits, as the exchange lists it")
    return text


def token_id(value: object) -> str:
    """Reads an outcome token's id: decimal digits, below 2**256 (F13)."""
    text = _text(value, "the outcome token's id, a long row of digits")
    if not re.fullmatch(r"[1-9][0-9]{0,77}", text) or int(text) >= 1 << 256:
        spoilt = re.fullmatch(r"[0-9.]+[eE]\+?[0-9]+", text)
        why = " (this one was rounded by another program)" if spoilt else ""
        refuse(f"is not a token id{why}: write all its digits, in quotes, as the exchange lists it")
    return text


def label(value: object) -> str:
    """Reads an outcome's name as the market gives it (`Yes`, `Up`), in Unicode's NFC form."""
    text = unicodedata.normalize("NFC", _text(value, "the outcome's name, such as Yes"))
    if text != text.strip() or len(text) > 100 or not text.isprintable():
        refuse("is not an outcome's name: write it as the market does, such as Yes (100 at most)")
    return text


def prose(value: object) -> str:
    """Reads free text of at most 2,000 characters, in Unicode's NFC form; it may be empty."""
    if not isinstance(value, str):
        refuse("must be text: put it in quotes")
    text = unicodedata.normalize("NFC", value)
    if len(text) > 2000:
        refuse("is longer than 2,000 characters")
    return text


def version(value: object) -> int:
    """Reads the version of the plan format; this runner reads version 1."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = _text(value, "the version of the plan format, 1")
    if text != "1":
        refuse(f"{echo(text)}: this runner reads version 1, write 1")
    return 1

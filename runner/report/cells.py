"""How one value looks to a person: a price, an age, an id, a text that came from outside.

Text from plan files and from the exchange is shown through `clean`, so that no control character
or escape sequence in it reaches a terminal or a log (faults S12).
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

from rich.table import Table
from rich.text import Text

DASH = "–"


def clean(text: object) -> str:
    r"""`text` with every control, format and surrogate character written as `\xNN` or `\uNNNN`."""
    shown = str(text)
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        else character
        for character in shown
    )


def shares(value: float | None) -> str:
    """A number of shares, with as many decimals as it has, at most two."""
    return DASH if value is None else f"{value:,.2f}".rstrip("0").rstrip(".")


def price(value: float | None, decimals: int = 4) -> str:
    """Dollars a share: at least two decimals, at most `decimals`."""
    if value is None:
        return DASH
    text = f"{value:.{decimals}f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<2}"


def dollars(value: float | None, *, sign: bool = False) -> str:
    """An amount of money, two decimals; four where two would hide all of it."""
    if value is None:
        return DASH
    decimals = 2 if value == 0 or abs(value) >= 0.01 else 5
    return f"{value:+,.{decimals}f}" if sign and value else f"{value:,.{decimals}f}"


def percent(part: float | None) -> str:
    """A fraction of one, in whole percent."""
    return DASH if part is None else f"{part * 100:.0f}%"


def age(seconds: float | None) -> str:
    """How long ago, in the largest unit that says enough."""
    if seconds is None:
        return DASH
    if seconds < 0:
        return "in " + age(-seconds)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def short(identifier: str) -> str:
    """An id of 60 digits and more, by its ends."""
    text = clean(identifier)
    return text if len(text) <= 20 else f"{text[:8]}…{text[-4:]}"


def moment(text: str | None) -> datetime | None:
    """A time of the views (ISO 8601, UTC) as a datetime."""
    return None if text is None else datetime.fromisoformat(text)


def stamped(microseconds: int) -> datetime:
    """A time of the tables (microseconds since 1970 UTC) as a datetime."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def clock(at: datetime | None) -> str:
    """The time of day, UTC."""
    return DASH if at is None else f"{at:%H:%M:%S}"


def signed_price(value: float | None) -> str:
    """A difference of prices, with its sign."""
    if value is None:
        return DASH
    return ("+" if value > 0 else "-" if value < 0 else "") + price(abs(value))


def table(*columns: str) -> Table:
    """A plain table: `>` before a name heads a column of numbers, `~` one that is cut short first.

    Cells of a `~` column should be made by `cut`.
    """
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        made.add_column(
            name.lstrip(">~"),
            justify="right" if name.startswith(">") else "left",
            header_style="bold dim",
            no_wrap=not name.startswith("~"),
        )
    return made


def cut(text: str) -> Text:
    """Text from outside that takes one line, and as much of it as there is room for."""
    return Text(clean(text), no_wrap=True, overflow="ellipsis")

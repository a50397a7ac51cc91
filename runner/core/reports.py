"""What the exchange says of an order, and what that means for it: a table.

Entry points: `meaning` (order state, report) -> event of the order machine or nothing; `TABLE` has
the reasons too; `ended_reason` (what an order that is over came to).

What is said is a `ReportStatus`, `ABSENT` (a read answered null, or a complete list lacks it), or
the answer to our own POST: `REFUSED` (a closed list of answers prove that nothing happened) or
`LOST` (no proof either way).

::

    said          submitting  unknown     live        closing     closed
    present       sighted     sighted     -           -           -
    live          sighted     sighted     -           -           -
    filled        ended       ended       ended       -           -
    cancelled     ended       ended       ended       -           -
    expired       ended       ended       ended       -           -
    unrecognised  sighted     sighted     -           -           -
    absent        -           -           -           -           -
    refused       refused     -           -           -           -
    lost          lost        -           -           -           -

1. Presence is proof, one absence is not: no order ends because a read lacks it. (What two complete
   reads prove of an order that was live, or has outlived its life, is judged where the reads are
   counted; design 6, faults 4.1.)
2. What is over never comes back: no report leads from closing or closed to live.
3. A report of any kind is no fill. Fills are trades, and they are booked whatever the state; a
   cancel may well be followed by one.
4. The answer to a POST speaks only of the first send: a refusal of a repeat proves nothing.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from runner.core.model import EndReason, OrderState, ReportStatus
from runner.core.money import ZERO

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from runner.core.model import OrderReport


class Answer(StrEnum):
    """What we hear of an order that is no status: silence, and answers to our own POST."""

    ABSENT = "absent"
    REFUSED = "refused"
    LOST = "lost"


Said = ReportStatus | Answer

DROPPED_EARLY = timedelta(seconds=60)
"""How long before its stated expiration the exchange drops a GTD order (reference 3.7)."""

_S, _A = ReportStatus, Answer
_O = OrderState
_OVER = "it is over already, and never comes back"
_HAS_IT = "the exchange has it: presence is proof"
_KNOWN = "known already"
_SAYS_OVER = "the exchange says it is over; trades may be missing"
_NO_PROOF = "absence is no proof: reads lag, and some lack orders that live or filled"
_STRANGE = "a word we do not know still proves presence; how it stands is read again"
_FIRST_ONLY = "an answer to a repeat: the first copy may be live"

TABLE: Mapping[tuple[OrderState, Said], tuple[str | None, str]] = {
    (_O.SUBMITTING, _S.PRESENT): ("sighted", _HAS_IT),
    (_O.UNKNOWN, _S.PRESENT): ("sighted", _HAS_IT),
    (_O.LIVE, _S.PRESENT): (None, _KNOWN),
    (_O.CLOSING, _S.PRESENT): (None, _OVER),
    (_O.CLOSED, _S.PRESENT): (None, _OVER),
    (_O.SUBMITTING, _S.LIVE): ("sighted", _HAS_IT),
    (_O.UNKNOWN, _S.LIVE): ("sighted", _HAS_IT),
    (_O.LIVE, _S.LIVE): (None, _KNOWN),
    (_O.CLOSING, _S.LIVE): (None, _OVER),
    (_O.CLOSED, _S.LIVE): (None, _OVER),
    (_O.SUBMITTING, _S.FILLED): ("ended", _SAYS_OVER),
    (_O.UNKNOWN, _S.FILLED): ("ended", _SAYS_OVER),
    (_O.LIVE, _S.FILLED): ("ended", _SAYS_OVER),
    (_O.CLOSING, _S.FILLED): (None, _KNOWN),
    (_O.CLOSED, _S.FILLED): (None, _KNOWN),
    (_O.SUBMITTING, _S.CANCELLED): ("ended", _SAYS_OVER),
    (_O.UNKNOWN, _S.CANCELLED): ("ended", _SAYS_OVER),
    (_O.LIVE, _S.CANCELLED): ("ended", _SAYS_OVER),
    (_O.CLOSING, _S.CANCELLED): (None, _KNOWN),
    (_O.CLOSED, _S.CANCELLED): (None, _KNOWN),
    (_O.SUBMITTING, _S.EXPIRED): ("ended", _SAYS_OVER),
    (_O.UNKNOWN, _S.EXPIRED): ("ended", _SAYS_OVER),
    (_O.LIVE, _S.EXPIRED): ("ended", _SAYS_OVER),
    (_O.CLOSING, _S.EXPIRED): (None, _KNOWN),
    (_O.CLOSED, _S.EXPIRED): (None, _KNOWN),
    (_O.SUBMITTING, _S.UNRECOGNISED): ("sighted", _STRANGE),
    (_O.UNKNOWN, _S.UNRECOGNISED): ("sighted", _STRANGE),
    (_O.LIVE, _S.UNRECOGNISED): (None, _STRANGE),
    (_O.CLOSING, _S.UNRECOGNISED): (None, _OVER),
    (_O.CLOSED, _S.UNRECOGNISED): (None, _OVER),
    (_O.SUBMITTING, _A.ABSENT): (None, _NO_PROOF),
    (_O.UNKNOWN, _A.ABSENT): (None, _NO_PROOF),
    (_O.LIVE, _A.ABSENT): (None, _NO_PROOF),
    (_O.CLOSING, _A.ABSENT): (None, _NO_PROOF),
    (_O.CLOSED, _A.ABSENT): (None, _NO_PROOF),
    (_O.SUBMITTING, _A.REFUSED): ("refused", "the exchange proved that it did nothing"),
    (_O.UNKNOWN, _A.REFUSED): (None, _FIRST_ONLY),
    (_O.LIVE, _A.REFUSED): (None, _FIRST_ONLY),
    (_O.CLOSING, _A.REFUSED): (None, _FIRST_ONLY),
    (_O.CLOSED, _A.REFUSED): (None, _FIRST_ONLY),
    (_O.SUBMITTING, _A.LOST): ("lost", "no answer: it counts in full, and is looked for"),
    (_O.UNKNOWN, _A.LOST): (None, "no proof either way, as before"),
    (_O.LIVE, _A.LOST): (None, "seen otherwise already: the socket may be ahead of the answer"),
    (_O.CLOSING, _A.LOST): (None, _OVER),
    (_O.CLOSED, _A.LOST): (None, _OVER),
}


def meaning(state: OrderState, said: Said) -> str | None:
    """The event of the order machine that `said` means for an order in `state`, None for none."""
    event, _ = TABLE[state, said]
    return event


def ended_reason(
    report: OrderReport,
    *,
    matched: Decimal,
    size: Decimal,
    expires_at: datetime | None,
    now: datetime,
) -> EndReason:
    """What an order that `report` calls over came to, with `matched` of its `size` traded.

    Everything matched is filled, whatever the word. An order past its life is expired even where
    the exchange says cancelled: it drops a GTD order `DROPPED_EARLY` before the stated
    `expires_at` and may report that as a cancel (faults M10). `filled` said of an order that is
    not full means that the rest was killed.
    """
    if matched >= size > ZERO:
        return EndReason.FILLED
    past = expires_at is not None and now >= expires_at - DROPPED_EARLY
    if report.status is _S.EXPIRED or (report.status is _S.CANCELLED and past):
        return EndReason.EXPIRED
    return EndReason.CANCELLED

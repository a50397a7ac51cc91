"""The exchange's time: an injected clock, and what is to be done when."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(milliseconds: int) -> datetime:
    """Unix milliseconds as a UTC time, exactly."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def unix_ms(moment: datetime) -> int:
    """A UTC time in Unix milliseconds, rounded down."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


class Agenda:
    """What is still to come, by the time it is due; things due together in the order noted.

    Args:
        clock: Tells the time, UTC.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._jumped = timedelta()
        self._noted = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []

    def now(self) -> datetime:
        """The injected clock, UTC, with the jumps it has made."""
        return self._clock() + self._jumped

    def now_ms(self) -> int:
        """The same in Unix milliseconds, rounded down."""
        return unix_ms(self.now())

    def jump(self, milliseconds: int) -> None:
        """Lets the clock jump, back if below zero: what was noted is due by its new time."""
        self._jumped += timedelta(milliseconds=milliseconds)

    def at(self, due_ms: int, action: Callable[[], None]) -> None:
        """Notes that `action` is due at a time (Unix milliseconds)."""
        self._noted += 1
        heapq.heappush(self._heap, (due_ms, self._noted, action))

    def next_due(self) -> datetime | None:
        """When the next thing is due; None if nothing is noted."""
        return instant(self._heap[0][0]) if self._heap else None

    def do_next(self) -> None:
        """Does the next thing."""
        heapq.heappop(self._heap)[2]()

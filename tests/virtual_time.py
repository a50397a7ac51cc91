"""An asyncio loop whose clock is virtual: hours of sleeping pass in milliseconds.

When nothing is ready to run, the clock jumps to the next timer. `asyncio.sleep`, `timeout`,
`wait_for` and `call_later` all follow, since they read `loop.time()`. Nothing else may be waited
for: no sockets, no threads, no subprocesses. A loop with nothing ready and no timer can never go
on, and says so instead of hanging.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LIMIT_S = 30 * 86_400
"""A run that lasts longer will never end: something keeps ticking that nobody stops."""


class Stuck(RuntimeError):
    """Every task waits for something that nobody will ever do."""


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for files, moves the clock on by what would have been waited."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Stuck("nothing is ready and no timer is set")
        self._jump(timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop on virtual time. `now()` is `start` plus what has passed."""

    def __init__(self, start: datetime = START) -> None:
        self._virtual_s = 0.0
        self._start = start
        super().__init__(_JumpingSelector(self._pass))

    def _pass(self, seconds: float) -> None:
        before = self._virtual_s
        self._virtual_s += seconds
        if before <= LIMIT_S < self._virtual_s:
            raise Stuck("the run does not end")

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_s

    def now(self) -> datetime:
        """The virtual time of day, UTC, to the microsecond."""
        return self._start + timedelta(seconds=self._virtual_s)


def now() -> datetime:
    """The virtual time of the running loop: the clock to inject."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop.now()


def run(main: Coroutine[Any, Any, T], start: datetime = START) -> T:
    """Run `main` to its end on virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(start)) as runner:
        return runner.run(main)

"""The live picture of `pmrun up`, for a terminal: redrawn every second from the database."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

from rich.live import Live

from runner.report import screen
from runner.store import open_readonly

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from rich.console import Console

EVERY_S = 1.0


async def follow(state: Path, now: Callable[[], datetime], console: Console) -> None:
    """Redraw until cancelled; the last picture stays on the screen.

    Nothing else may write to that terminal meanwhile: log lines go to the file alone
    (`logs.configure(terminal=False)`).
    """
    with (
        closing(open_readonly(state)) as connection,
        Live(console=console, auto_refresh=False, vertical_overflow="crop") as live,
    ):
        try:
            while True:
                live.update(screen.progress(connection, now()), refresh=True)
                await asyncio.sleep(EVERY_S)
        finally:
            live.update(screen.progress(connection, now()), refresh=True)

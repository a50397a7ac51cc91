"""The virtual clock keeps asyncio's promises, and says when nothing can go on."""

import asyncio
import time
from datetime import timedelta

import pytest

from tests.virtual_time import START, Stuck, now, run


def test_hours_pass_in_no_time_and_in_order() -> None:
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, (now() - START).total_seconds()))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper("late", 86_400 * 3))
            group.create_task(sleeper("early", 0.001))
            group.create_task(sleeper("middle", 3600))

    began = time.perf_counter()
    run(main())
    assert time.perf_counter() - began < 2
    assert seen == [("early", 0.001), ("middle", 3600), ("late", 86_400 * 3)]


def test_timeouts_fire_on_virtual_time() -> None:
    async def main() -> timedelta:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(120):
                await asyncio.Event().wait()
        return now() - START

    assert run(main()) == timedelta(seconds=120)


def test_a_wait_that_nobody_can_end_is_an_error_and_no_hang() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(main())


def test_a_run_that_never_ends_is_an_error_and_no_hang() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(86_400)

    with pytest.raises(Stuck):
        run(main())

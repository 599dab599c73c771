"""Timeouts: deadlines of reads, and a clock that stands still while the event loop does not run."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from support.clock import FixedClock

from case_server.db import timeouts
from case_server.db.timeouts import (
    MAX_ADVANCE_SECONDS,
    TICK_SECONDS,
    LoopClock,
    ReadDeadline,
    loop_timeout,
)
from case_server.exceptions import QueryTimeout


def test_clock_does_not_count_time_without_advance(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = FixedClock()
    monkeypatch.setattr(timeouts, "time", SimpleNamespace(monotonic=machine))
    clock = LoopClock()
    machine.now += 2 * MAX_ADVANCE_SECONDS
    assert clock.time() == MAX_ADVANCE_SECONDS
    clock.advance()
    machine.now += TICK_SECONDS
    assert clock.time() == pytest.approx(MAX_ADVANCE_SECONDS + TICK_SECONDS)


async def test_loop_timeout_does_not_count_time_of_a_blocked_event_loop() -> None:
    async with loop_timeout(1):
        await asyncio.sleep(0)
        time.sleep(1.5)  # noqa: ASYNC251
        await asyncio.sleep(0.2)


async def test_loop_timeout_ends_its_block() -> None:
    with pytest.raises(TimeoutError):
        async with loop_timeout(0.05):
            await asyncio.sleep(600)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_expired_deadline_raises_unless_task_is_cancelled_too(*, is_cancelled: bool) -> None:
    deadlines: set[ReadDeadline] = set()

    async def read() -> int:
        with pytest.raises(QueryTimeout), ReadDeadline(deadlines, 1, LoopClock()):
            await asyncio.sleep(600)
        await asyncio.sleep(0)  # a cancellation that was left behind would end the task here
        task = asyncio.current_task()
        assert task
        return task.cancelling()

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    (deadline,) = deadlines
    deadline.cancel_read()
    if is_cancelled:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        assert await task == 0
    assert not deadlines

"""The semaphore of the pool: order of waiters, timeouts and cancellation."""

import asyncio

import pytest

from case_server.db.semaphore import (
    ACQUIRE_TIMEOUT_SECONDS,
    STALLED_TIMEOUT_SECONDS,
    TimeoutSemaphore,
)
from case_server.db.timeouts import LoopClock


class ManualClock(LoopClock):
    """A clock that shows ``seconds``, which tests set."""

    seconds = 0.0

    def time(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def semaphore(clock: ManualClock) -> TimeoutSemaphore:
    """A semaphore whose only permit is taken."""
    semaphore = TimeoutSemaphore(1, clock)
    await semaphore.acquire()
    return semaphore


async def start_waiters(semaphore: TimeoutSemaphore, count: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(semaphore.acquire()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_permit_goes_to_the_longest_waiter(semaphore: TimeoutSemaphore) -> None:
    first, second = await start_waiters(semaphore, 2)
    semaphore.release()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert first.done()
    assert not second.done()
    semaphore.release()
    await second
    semaphore.release()
    assert semaphore.free == 1


async def test_waiter_fails_after_stalled_timeout_without_a_release(
    semaphore: TimeoutSemaphore, clock: ManualClock
) -> None:
    (waiter,) = await start_waiters(semaphore, 1)
    clock.seconds = STALLED_TIMEOUT_SECONDS
    semaphore.expire_waiters()
    await asyncio.sleep(0)
    assert not waiter.done()
    clock.seconds += 0.1
    semaphore.expire_waiters()
    with pytest.raises(TimeoutError):
        await waiter


async def test_waiter_fails_after_acquire_timeout_while_permits_are_released(
    semaphore: TimeoutSemaphore, clock: ManualClock
) -> None:
    semaphore.release()
    await semaphore.acquire()
    (waiter,) = await start_waiters(semaphore, 1)
    for clock.seconds in (STALLED_TIMEOUT_SECONDS * 2, ACQUIRE_TIMEOUT_SECONDS):
        semaphore._last_release = clock.seconds - 1
        semaphore.expire_waiters()
        await asyncio.sleep(0)
        assert not waiter.done()
    clock.seconds += 0.1
    semaphore.expire_waiters()
    with pytest.raises(TimeoutError):
        await waiter


async def test_permit_granted_to_a_cancelled_waiter_goes_to_the_next(
    semaphore: TimeoutSemaphore,
) -> None:
    first, second = await start_waiters(semaphore, 2)
    semaphore.release()
    first.cancel()  # before its task could run
    await second
    assert first.cancelled()
    semaphore.release()
    assert semaphore.free == 1

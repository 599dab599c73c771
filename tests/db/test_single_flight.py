"""Concurrent queries for a key are coalesced, and none returns data older than its call."""

import asyncio
import gc
import random

import pytest

from case_server.db.single_flight import SingleFlight


class Store:
    """A counter with a slow query, which returns the value from its start."""

    def __init__(self) -> None:
        self.version = 0
        self.query_count = 0
        self.is_broken = False
        self.single_flight = SingleFlight(self.query)

    async def query(self, _: str) -> int:
        self.query_count += 1
        version = self.version
        await asyncio.sleep(0.002)
        if self.is_broken:
            raise ConnectionError("unavailable")
        return version


async def test_result_is_never_older_than_its_call() -> None:
    store, rng = Store(), random.Random(11)

    async def write_and_read() -> None:
        for _ in range(20):
            await asyncio.sleep(rng.random() / 1000)
            store.version += 1
            version = store.version
            assert await store.single_flight.fetch_shared("document") >= version

    await asyncio.gather(*(write_and_read() for _ in range(50)))
    assert store.query_count < 50 * 20 / 5


async def test_sequential_calls_query_each_time() -> None:
    store = Store()
    for version in range(3):
        store.version = version
        assert await store.single_flight.fetch_shared("document") == version
    assert store.query_count == 3


async def test_calls_during_a_query_share_the_next_one() -> None:
    store = Store()
    first = asyncio.create_task(store.single_flight.fetch_shared("document"))
    await asyncio.sleep(0)
    store.version = 1
    later_calls = [
        asyncio.create_task(store.single_flight.fetch_shared("document")) for _ in range(9)
    ]
    assert await first == 0
    assert await asyncio.gather(*later_calls) == [1] * 9
    assert store.query_count == 2


async def test_hanging_query_does_not_delay_later_calls() -> None:
    store, resume = Store(), asyncio.Event()

    async def query(key: str) -> int:
        if not store.query_count:
            store.query_count += 1
            await resume.wait()
        return await store.query(key)

    single_flight = SingleFlight(query)
    first_call = asyncio.create_task(single_flight.fetch_shared("document"))
    await asyncio.sleep(0)
    later_calls = [asyncio.create_task(single_flight.fetch_shared("document")) for _ in range(3)]
    store.version = 1
    assert await asyncio.wait_for(asyncio.gather(*later_calls), 5) == [1] * 3
    assert await single_flight.fetch_shared("document") == 1
    assert not first_call.done()
    resume.set()
    assert await first_call == 1
    assert await single_flight.fetch_shared("document") == 1


async def test_different_keys_do_not_share_queries() -> None:
    store = Store()
    await asyncio.gather(
        *(store.single_flight.fetch_shared(f"document {number}") for number in range(5))
    )
    assert store.query_count == 5


async def test_cancelled_callers_do_not_affect_the_others() -> None:
    store = Store()
    calls = [asyncio.create_task(store.single_flight.fetch_shared("document")) for _ in range(6)]
    await asyncio.sleep(0.001)
    for task in calls[:3]:  # the caller of the running query, and two that share the next one
        task.cancel()
    assert await asyncio.gather(*calls[3:]) == [0] * 3
    assert [task.cancelled() for task in calls[:3]] == [True] * 3
    assert await store.single_flight.fetch_shared("document") == 0


async def test_error_is_raised_for_all_callers_of_the_query() -> None:
    store = Store()
    store.is_broken = True
    results = await asyncio.gather(
        *(store.single_flight.fetch_shared("document") for _ in range(4)), return_exceptions=True
    )
    assert [type(result) for result in results] == [ConnectionError] * 4
    store.is_broken = False
    assert await store.single_flight.fetch_shared("document") == 0


async def test_error_without_remaining_caller_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.is_broken = True
    calls = [asyncio.create_task(store.single_flight.fetch_shared("document")) for _ in range(3)]
    await asyncio.sleep(0.001)
    for task in calls:
        task.cancel()
    await asyncio.sleep(0.02)
    assert all(task.cancelled() for task in calls)
    del calls
    gc.collect()
    assert not caplog.records

"""Questions asked together: shared by all who came before they began, and by nobody else."""

import asyncio
import gc
import random

import pytest

from case_server.db.single_flight import SingleFlight


class Store:
    """Something that is written all the time; a look at it takes a moment, and tells its start."""

    def __init__(self) -> None:
        self.version = 0
        self.looks = 0
        self.broken = False

    async def look(self, _: str) -> int:
        self.looks += 1
        seen = self.version
        await asyncio.sleep(0.002)
        if self.broken:
            raise ConnectionError("it is away")
        return seen


async def test_nobody_is_told_less_than_was_there_when_he_came() -> None:
    store, chance = Store(), random.Random(11)
    together = SingleFlight(store.look)

    async def ask() -> None:
        for _ in range(20):
            await asyncio.sleep(chance.random() / 1000)
            store.version += 1
            came = store.version
            assert await together.do("document") >= came

    await asyncio.gather(*(ask() for _ in range(50)))
    assert store.looks < 50 * 20 / 5


async def test_one_alone_asks_at_once_and_each_time() -> None:
    store = Store()
    together = SingleFlight(store.look)
    for version in range(3):
        store.version = version
        assert await together.do("document") == version
    assert store.looks == 3


async def test_who_comes_late_waits_for_the_next_question() -> None:
    store = Store()
    together = SingleFlight(store.look)
    first = asyncio.create_task(together.do("document"))
    await asyncio.sleep(0)
    store.version = 1
    others = [asyncio.create_task(together.do("document")) for _ in range(9)]
    assert await first == 0
    assert await asyncio.gather(*others) == [1] * 9
    assert store.looks == 2


async def test_a_question_that_hangs_holds_up_nobody_else() -> None:
    store, hangs = Store(), asyncio.Event()

    async def look(name: str) -> int:
        if not store.looks:
            store.looks += 1
            await hangs.wait()
        return await store.look(name)

    together = SingleFlight(look)
    stuck = asyncio.create_task(together.do("document"))
    await asyncio.sleep(0)
    others = [asyncio.create_task(together.do("document")) for _ in range(3)]
    store.version = 1
    assert await asyncio.wait_for(asyncio.gather(*others), 5) == [1] * 3
    assert await together.do("document") == 1
    assert not stuck.done()
    hangs.set()
    assert await stuck == 1
    assert await together.do("document") == 1


async def test_names_do_not_wait_for_each_other() -> None:
    store = Store()
    together = SingleFlight(store.look)
    await asyncio.gather(*(together.do(f"document {number}") for number in range(5)))
    assert store.looks == 5


async def test_who_goes_away_takes_nothing_from_the_others() -> None:
    store = Store()
    together = SingleFlight(store.look)
    asking = [asyncio.create_task(together.do("document")) for _ in range(6)]
    await asyncio.sleep(0.001)
    for task in asking[:3]:  # the one who asked, and two who wait for the next question
        task.cancel()
    assert await asyncio.gather(*asking[3:]) == [0] * 3
    assert [task.cancelled() for task in asking[:3]] == [True] * 3
    assert await together.do("document") == 0


async def test_what_goes_wrong_is_told_to_all_who_share_it() -> None:
    store = Store()
    store.broken = True
    together = SingleFlight(store.look)
    told = await asyncio.gather(
        *(together.do("document") for _ in range(4)), return_exceptions=True
    )
    assert [type(one) for one in told] == [ConnectionError] * 4
    store.broken = False
    assert await together.do("document") == 0


async def test_a_failure_that_nobody_waits_for_is_no_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store()
    store.broken = True
    together = SingleFlight(store.look)
    asking = [asyncio.create_task(together.do("document")) for _ in range(3)]
    await asyncio.sleep(0.001)
    for task in asking:
        task.cancel()
    await asyncio.sleep(0.02)
    assert all(task.cancelled() for task in asking)
    del asking
    gc.collect()
    assert not caplog.records

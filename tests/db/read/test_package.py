"""Reading a framework in batches, with and without prefetching."""

import asyncio

import pytest
from support import factories
from support.calls import Api

from case_server.case.resources import ITEMS
from case_server.db.pool import Database
from case_server.db.read.package import BATCH_SIZE, open_framework_snapshot
from case_server.settings import Settings


@pytest.mark.parametrize(
    "count", [0, 1, BATCH_SIZE - 1, BATCH_SIZE, BATCH_SIZE + 1, 2 * BATCH_SIZE]
)
async def test_bodies_are_returned_in_order(api: Api, settings: Settings, count: int) -> None:
    body = await api.upload_package(
        CFItems=[factories.packed_item() for _ in range(count)], CFAssociations=[]
    )
    identifiers = [item["identifier"] for item in body["CFItems"]]
    async with Database.open(settings.database_url, settings) as database:
        for prefetch in (False, True):
            async with open_framework_snapshot(
                database, body["CFDocument"]["identifier"]
            ) as framework:
                batches = [batch async for batch in framework.iter_bodies(ITEMS, prefetch=prefetch)]
            stored = [raw for batch in batches for raw in batch]
            assert [
                identifier in raw for identifier, raw in zip(identifiers, stored, strict=True)
            ] == ([True] * count)
            assert all(len(batch) == BATCH_SIZE for batch in batches[:-1])


async def test_early_closed_iterator_leaves_connection_usable(api: Api, settings: Settings) -> None:
    items = [factories.packed_item() for _ in range(3 * BATCH_SIZE)]
    body = await api.upload_package(CFItems=items, CFAssociations=[])
    identifier = body["CFDocument"]["identifier"]
    single_connection = settings.model_copy(update={"pool_size": 1})
    async with Database.open(settings.database_url, single_connection) as database:
        for pause in (0, 0.02):  # before and after the next batch has arrived
            async with open_framework_snapshot(database, identifier) as framework:
                batches = aiter(framework.iter_bodies(ITEMS, prefetch=True))
                assert len(await anext(batches)) == BATCH_SIZE
                await asyncio.sleep(pause)
                await batches.aclose()  # type: ignore[attr-defined]  # it is a generator
                collections = await framework.find_node_collections({items[0]["identifier"]})
            assert collections == {items[0]["identifier"]: "CFItems"}


async def test_cancelled_reader_leaves_connection_usable(api: Api, settings: Settings) -> None:
    items = [factories.packed_item() for _ in range(3 * BATCH_SIZE)]
    body = await api.upload_package(CFItems=items, CFAssociations=[])
    single_connection = settings.model_copy(update={"pool_size": 1})
    async with Database.open(settings.database_url, single_connection) as database:

        async def read() -> None:
            async with open_framework_snapshot(
                database, body["CFDocument"]["identifier"]
            ) as framework:
                async for _ in framework.iter_bodies(ITEMS, prefetch=True):
                    await asyncio.sleep(0.001)

        for step in range(1, 12):
            reading = asyncio.create_task(read())
            await asyncio.sleep(step / 2000)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        await read()

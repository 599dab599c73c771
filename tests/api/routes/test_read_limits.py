"""Slow lists are answered with 503 in time, and leave connections for single entities."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from httpx import AsyncClient
from support import factories
from support.applications import run_app
from support.databases import lock_table

from case_server.settings import Settings

LISTS = {"filter": "language='en'", "search": "fractions", "sort": "notes"}


@asynccontextmanager
async def limited(
    settings: Settings, client: AsyncClient, **changes: Any
) -> AsyncIterator[AsyncClient]:
    """Start another application over the same database, and a client of it."""
    async with run_app(settings.model_copy(update=changes)) as (_, other):
        other.headers["Authorization"] = client.headers["Authorization"]
        yield other


@pytest.mark.parametrize("parameter", LISTS)
async def test_slow_list_returns_503_that_names_its_parameter(
    settings: Settings, client: AsyncClient, database_url: str, parameter: str
) -> None:
    async with limited(settings, client, read_timeout=0.5) as slow:
        params = {parameter: LISTS[parameter]}
        async with lock_table(database_url, "items"):
            response = await slow.get("/case/1.1/CFItems", params=params)
        assert response.status_code == 503, response.text
        assert response.headers["Retry-After"]
        message = response.json()["imsx_description"]
        assert f"{parameter} {LISTS[parameter]}" in message
        assert "0.5 s" in message
        assert (await slow.get("/case/1.1/CFItems", params=params)).status_code == 200


async def test_entities_are_read_while_lists_wait(
    settings: Settings, client: AsyncClient, database_url: str
) -> None:
    document = factories.document()
    path = f"/case/1.1/CFDocuments/{document['identifier']}"
    assert (await client.put(path, json=document)).status_code == 201
    filters = " OR ".join(f"notes~'{number}'" for number in range(50))
    async with (
        limited(settings, client, pool_size=4, read_timeout=5) as slow,
        lock_table(database_url, "items"),
    ):
        lists = [
            asyncio.create_task(slow.get("/ims/case/v1p1/CFItems", params={"filter": filters}))
            for _ in range(16)
        ]
        searches = [asyncio.create_task(slow.get("/", params={"q": "x"})) for _ in range(4)]
        await asyncio.sleep(0.3)
        for _ in range(20):
            assert (await slow.get(path)).status_code == 200
            assert (await slow.get("/ready")).status_code == 200
        responses = await asyncio.gather(*lists)
        await asyncio.gather(*searches)
    for response in responses:
        assert response.status_code == 503, response.text
        assert response.headers["Retry-After"]

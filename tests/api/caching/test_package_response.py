"""Concurrent requests for one package: shared productions, failures and encodings."""

import asyncio
import gzip
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from support import factories
from support.calls import Api
from support.databases import Execute, lock_table

from case_server.api.caching import package_response
from case_server.api.caching.response_cache import CachedResponse, ResponseCache
from case_server.db.pool import Database
from case_server.db.read.package import open_framework_snapshot

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

READERS = 20

WAITING = """
SELECT pid FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND application_name = 'case-server'
AND datname = current_database()"""


@pytest.fixture
def productions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the document identifier of every production, in the order of their starts."""
    identifiers: list[str] = []

    def counted(database: Database, identifier: str) -> Any:
        identifiers.append(identifier)
        return open_framework_snapshot(database, identifier)

    monkeypatch.setattr(package_response, "open_framework_snapshot", counted)
    return identifiers


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> set[object]:
    """Return the tasks of the requests that wait for the first chunk of a response."""
    tasks: set[object] = set()
    wait_for_first_chunk = CachedResponse.wait_for_first_chunk

    async def recorded(response: CachedResponse) -> None:
        task = asyncio.current_task()
        tasks.add(task)
        try:
            await wait_for_first_chunk(response)
        finally:
            tasks.discard(task)

    monkeypatch.setattr(CachedResponse, "wait_for_first_chunk", recorded)
    return tasks


async def wait_until_all_share(waiting: set[object]) -> None:
    """Wait until all requests wait for the first production."""
    async with asyncio.timeout(30):
        while len(waiting) < READERS:  # noqa: ASYNC110  a set has no event
            await asyncio.sleep(0.02)


async def waiting_backend(execute: Execute, previous: int | None = None) -> int:
    """Return the process ID of the backend that waits for the items, other than ``previous``."""
    for _ in range(200):
        for row in await execute(WAITING):
            if row["pid"] != previous:
                return int(row["pid"])
        await asyncio.sleep(0.02)
    raise AssertionError("no backend waits for the items")


async def test_requests_that_joined_a_failed_production_share_the_next(
    api: Api,
    execute: Execute,
    database_url: str,
    productions: list[str],
    waiting: set[object],
) -> None:
    body = await api.upload_package()
    path = f"{api.profile.prefix}/CFPackages/{body['CFDocument']['identifier']}/groups"
    async with lock_table(database_url, "items"):
        tasks = [asyncio.create_task(api.client.get(path)) for _ in range(READERS)]
        first = await waiting_backend(execute)
        await wait_until_all_share(waiting)
        await execute("SELECT pg_terminate_backend($1)", first)
        await waiting_backend(execute, first)
    responses = await asyncio.gather(*tasks)
    assert Counter(response.status_code for response in responses) == {503: 1, 200: READERS - 1}
    assert all(a.headers["Retry-After"] for a in responses if a.status_code == 503)
    assert len({response.content for response in responses if response.status_code == 200}) == 1
    assert len(productions) == 2


async def test_repeated_failure_returns_503_to_all_requests(
    api: Api,
    execute: Execute,
    database_url: str,
    productions: list[str],
    waiting: set[object],
) -> None:
    body = await api.upload_package()
    path = f"{api.profile.prefix}/CFPackages/{body['CFDocument']['identifier']}/groups"
    async with lock_table(database_url, "items"):
        tasks = [asyncio.create_task(api.client.get(path)) for _ in range(READERS)]
        await wait_until_all_share(waiting)
        terminated: set[int] = set()
        while not all(task.done() for task in tasks):
            if rows := await execute(WAITING):
                terminated.add(rows[0]["pid"])
                await execute("SELECT pg_terminate_backend($1)", rows[0]["pid"])
            await asyncio.sleep(0.05)
    assert Counter(task.result().status_code for task in tasks) == {503: READERS}
    # Each request retries once at most, and the retries share one production.
    assert len(productions) == len(terminated) == 2
    assert (await api.client.get(path)).status_code == 200


async def test_requests_after_write_share_one_production(api: Api, productions: list[str]) -> None:
    body = await api.upload_package()
    document = body["CFDocument"]
    path = f"/CFPackages/{document['identifier']}"
    await api.get(path)
    await api.create_item(document)
    productions.clear()
    responses = await asyncio.gather(*(api.get(path) for _ in range(READERS)))
    assert len(productions) == 1
    assert all(response == responses[0] for response in responses)


DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
}


async def test_concurrent_requests_in_different_encodings_get_the_same_content(api: Api) -> None:
    bodies = [
        await api.upload_package(CFItems=[factories.packed_item() for _ in range(100 * size)])
        for size in range(1, 6)
    ]
    paths = [
        f"{api.profile.prefix}/CFPackages/{body['CFDocument']['identifier']}" for body in bodies
    ]

    async def fetch(path: str, encoding: str) -> tuple[str, bytes]:
        headers = {"Accept-Encoding": encoding}
        async with api.client.stream("GET", path, headers=headers) as response:
            raw = b"".join([chunk async for chunk in response.aiter_raw()])
        return path, DECODERS[response.headers.get("Content-Encoding", "identity")](raw)

    for _ in range(2):  # first while the packages are produced, then from the cache
        fetches = [fetch(path, coding) for path in paths for coding in DECODERS for _ in range(8)]
        responses = await asyncio.gather(*fetches)
        for path in paths:
            contents = {content for fetched, content in responses if fetched == path}
            assert len(contents) == 1, f"{len(contents)} different responses for {path}"
    sizes = [dict(responses)[path].count(b'"fullStatement"') for path in paths]
    assert sizes == [100, 200, 300, 400, 500]


@pytest.mark.parametrize("lag", [0, 1, 20, 50])
async def test_slow_reader_gets_all_bytes(lag: int) -> None:
    texts = [(factories.new_id() * 100).encode() for _ in range(53)]
    permits = asyncio.Semaphore(0)

    async def produce(_: CachedResponse) -> AsyncIterator[bytes]:
        for text in texts:
            await permits.acquire()
            yield text

    response = ResponseCache(megabytes=50, producers=1).start_producing(("key",), produce)
    permits.release()
    reader = response.iter_uncompressed()
    content = await anext(reader)
    for _ in range(lag):
        permits.release()
    while len(response.chunks) < 1 + lag:  # noqa: ASYNC110  a growing list has no event
        await asyncio.sleep(0)
    for _ in texts:
        permits.release()
    content += b"".join([chunk async for chunk in reader])
    assert content == b"".join(texts)
    assert b"".join([chunk async for chunk in response.iter_uncompressed()]) == content


async def test_concurrent_readers_share_one_zstd_compression() -> None:
    cache = ResponseCache(megabytes=50, producers=4)
    texts = [(factories.new_id() * 50_000).encode() for _ in range(4)]

    def producer_of(text: bytes) -> Callable[[CachedResponse], AsyncIterator[bytes]]:
        async def produce(_: CachedResponse) -> AsyncIterator[bytes]:
            for start in range(0, len(text), 100_000):
                yield text[start : start + 100_000]

        return produce

    responses = [
        cache.start_producing((number,), producer_of(text)) for number, text in enumerate(texts)
    ]
    for response in responses:
        async for _ in response.iter_gzip():
            pass
    reads = [response.get_zstd_body() for response in responses for _ in range(8)]
    compressed = await asyncio.gather(*reads)
    for number, text in enumerate(texts):
        copies = compressed[8 * number : 8 * number + 8]
        assert all(copy is copies[0] for copy in copies)
        assert zstd.decompress(copies[0]) == text

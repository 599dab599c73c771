"""Many ask for one framework while it is written down, and that fails; many encodings at once."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from support import factories
from support.calls import Api

from case_server.api.response_cache import CachedResponse, ResponseCache
from case_server.api.routes import packages
from case_server.db.pool import Database, dsn
from case_server.db.read.package import framework_snapshot

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Execute = Callable[..., Awaitable[list[Any]]]
READERS = 20

WAITING = """
SELECT pid FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND application_name = 'case-server'
AND datname = current_database()"""


@pytest.fixture
def productions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was written down, each time it was begun."""
    opened: list[str] = []

    def counted(database: Database, identifier: str) -> Any:
        opened.append(identifier)
        return framework_snapshot(database, identifier)

    monkeypatch.setattr(packages, "framework_snapshot", counted)
    return opened


@asynccontextmanager
async def held_items(database_url: str) -> AsyncIterator[None]:
    """Whoever reads items waits until this ends."""
    connection = await asyncpg.connect(dsn(database_url))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def producer(execute: Execute, before: int | None = None) -> int:
    """The backend of whoever waits for the items, and is not the one before."""
    for _ in range(200):
        for found in await execute(WAITING):
            if found["pid"] != before:
                return int(found["pid"])
        await asyncio.sleep(0.02)
    raise AssertionError("nobody waits for the items")


async def test_who_joined_an_answer_that_failed_shares_the_next(
    api: Api, execute: Execute, database_url: str, productions: list[str]
) -> None:
    body = await api.upload()
    path = f"{api.profile.prefix}/CFPackages/{body['CFDocument']['identifier']}/groups"
    async with held_items(database_url):
        asked = [asyncio.create_task(api.client.get(path)) for _ in range(READERS)]
        first = await producer(execute)
        await asyncio.sleep(0.2)
        await execute("SELECT pg_terminate_backend($1)", first)
        await producer(execute, first)
    answers = await asyncio.gather(*asked)
    assert Counter(answer.status_code for answer in answers) == {503: 1, 200: READERS - 1}
    assert all(a.headers["Retry-After"] for a in answers if a.status_code == 503)
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
    assert len(productions) == 2


async def test_what_goes_on_failing_is_told_to_all_at_once(
    api: Api, execute: Execute, database_url: str, productions: list[str]
) -> None:
    body = await api.upload()
    path = f"{api.profile.prefix}/CFPackages/{body['CFDocument']['identifier']}/groups"
    async with held_items(database_url):
        asked = [asyncio.create_task(api.client.get(path)) for _ in range(READERS)]
        ended: set[int] = set()
        while not all(one.done() for one in asked):
            if found := await execute(WAITING):
                ended.add(found[0]["pid"])
                await execute("SELECT pg_terminate_backend($1)", found[0]["pid"])
            await asyncio.sleep(0.05)
    assert Counter(one.result().status_code for one in asked) == {503: READERS}
    # Each tries once more at most, and they do that together.
    assert len(productions) == len(ended) == 2
    assert (await api.client.get(path)).status_code == 200


async def test_after_a_write_one_makes_the_next_for_all(api: Api, productions: list[str]) -> None:
    body = await api.upload()
    document = body["CFDocument"]
    path = f"/CFPackages/{document['identifier']}"
    await api.get(path)
    await api.new_item(document)
    productions.clear()
    answers = await asyncio.gather(*(api.get(path) for _ in range(READERS)))
    assert len(productions) == 1
    assert all(answer == answers[0] for answer in answers)


UNPACKED: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
}


async def test_everybody_gets_the_right_bytes_whatever_others_ask_for(api: Api) -> None:
    bodies = [
        await api.upload(CFItems=[factories.packed_item() for _ in range(100 * size)])
        for size in range(1, 6)
    ]
    paths = [
        f"{api.profile.prefix}/CFPackages/{body['CFDocument']['identifier']}" for body in bodies
    ]

    async def ask(path: str, encoding: str) -> tuple[str, bytes]:
        headers = {"Accept-Encoding": encoding}
        async with api.client.stream("GET", path, headers=headers) as answer:
            raw = b"".join([piece async for piece in answer.aiter_raw()])
        return path, UNPACKED[answer.headers.get("Content-Encoding", "identity")](raw)

    for _ in range(2):  # while they are written down, and kept
        asked = [ask(path, coding) for path in paths for coding in UNPACKED for _ in range(8)]
        found = await asyncio.gather(*asked)
        for path in paths:
            answers = {content for where, content in found if where == path}
            assert len(answers) == 1, f"{len(answers)} different answers for {path}"
    sizes = [dict(found)[path].count(b'"fullStatement"') for path in paths]
    assert sizes == [100, 200, 300, 400, 500]


@pytest.mark.parametrize("lag", [0, 1, 20, 50])
async def test_slow_reader_gets_all_bytes(lag: int) -> None:
    texts = [(factories.new_id() * 100).encode() for _ in range(53)]
    permits = asyncio.Semaphore(0)

    async def produce(_: CachedResponse) -> AsyncIterator[bytes]:
        for text in texts:
            await permits.acquire()
            yield text

    response = ResponseCache(megabytes=50, producers=1).start(("key",), produce)
    permits.release()
    reader = response.iter_identity()
    content = await anext(reader)
    for _ in range(lag):
        permits.release()
    while len(response.chunks) < 1 + lag:  # noqa: ASYNC110  a growing list has no event
        await asyncio.sleep(0)
    for _ in texts:
        permits.release()
    content += b"".join([chunk async for chunk in reader])
    assert content == b"".join(texts)
    assert b"".join([chunk async for chunk in response.iter_identity()]) == content


async def test_zstd_is_made_once_however_many_threads_ask() -> None:
    copies = ResponseCache(megabytes=50, producers=4)
    texts = [(factories.new_id() * 50_000).encode() for _ in range(4)]

    def writing(text: bytes) -> Callable[[CachedResponse], AsyncIterator[bytes]]:
        async def produce(_: CachedResponse) -> AsyncIterator[bytes]:
            for start in range(0, len(text), 100_000):
                yield text[start : start + 100_000]

        return produce

    made = [copies.start((number,), writing(text)) for number, text in enumerate(texts)]
    for copy in made:
        async for _ in copy.iter_gzip():
            pass
    asked = [copy.zstd_bytes() for copy in made for _ in range(8)]
    found = await asyncio.gather(*asked)
    for number, text in enumerate(texts):
        packed = found[8 * number : 8 * number + 8]
        assert all(one is packed[0] for one in packed)
        assert zstd.decompress(packed[0]) == text

"""Cached packages: freshness after writes, conditional requests, encodings and limits."""

import asyncio
import gzip
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from fastapi import FastAPI
from support import factories
from support.applications import create_client, run_app
from support.calls import Api
from support.databases import Execute
from support.factories import Body

from case_server.api.caching.response_cache import CachedResponse, ResponseCache
from case_server.api.responses import negotiate_encoding
from case_server.case.resources import DOCUMENTS, ITEMS
from case_server.db.pool import Database
from case_server.db.read.revisions import COMPACT_AT
from case_server.db.write import soft_delete
from case_server.settings import Settings

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.fixture(scope="module")
async def other_worker(settings: Settings, app: FastAPI) -> AsyncIterator[FastAPI]:
    """Start a second application over the same database, like another worker."""
    async with run_app(settings) as (application, _):
        yield application


@pytest.fixture
async def other_api(api: Api, other_worker: FastAPI) -> AsyncIterator[Api]:
    """Return the same client for the other worker."""
    async with create_client(other_worker) as client:
        client.headers = api.client.headers
        yield Api(client, api.profile)


async def framework(api: Api) -> Body:
    """Upload a framework of three items, each the parent of the next."""
    return await api.upload_package(**factories.chain(3))


Write = Callable[[Api, Database, Body], Awaitable[Any]]


async def _item(api: Api, _: Database, body: Body) -> None:
    await api.create_item(body["CFDocument"])


async def _item_changed(api: Api, _: Database, body: Body) -> None:
    document = factories.link(body["CFDocument"]["identifier"])
    item = {**body["CFItems"][0], "fullStatement": "another", "CFDocumentURI": document}
    await api.put("/CFItems", {"item": item})


async def _item_moved_away(api: Api, _: Database, body: Body) -> None:
    document = factories.link((await api.create_document())["identifier"])
    await api.put("/CFItems", {"item": {**body["CFItems"][0], "CFDocumentURI": document}})


async def _keyword(api: Api, _: Database, body: Body) -> None:
    """Put an item with one more concept keyword, of which its stored body has only the first."""
    first, second = factories.link(), factories.link()
    document = factories.link(body["CFDocument"]["identifier"])
    item = {**body["CFItems"][0], "CFDocumentURI": document, "conceptKeywordsURI": first}
    await api.put("/CFItems", {"item": item})
    await api.get_package(document["identifier"])
    await api.put("/CFItems", {"item": {**item, "conceptKeywordsURI": [second, first]}})


async def _association(api: Api, _: Database, body: Body) -> None:
    first, *_, last = body["CFItems"]
    await api.create_association(first, last, associationType="isRelatedTo")


async def _association_removed(api: Api, _: Database, body: Body) -> None:
    identifier = body["CFAssociations"][0]["identifier"]
    await api.send("DELETE", f"/CFItemAssociations/{identifier}", 204)


async def _document(api: Api, _: Database, body: Body) -> None:
    identifier = body["CFDocument"]["identifier"]
    package = factories.link(identifier)
    document = factories.document(identifier, title="another", CFPackageURI=package)
    await api.put("/CFDocuments", document)


async def _package(api: Api, _: Database, body: Body) -> None:
    smaller = {**body, "CFItems": body["CFItems"][:2], "CFAssociations": []}
    await api.send("PUT", f"/CFPackages/{body['CFDocument']['identifier']}", 200, smaller)


async def _definitions(api: Api, _: Database, body: Body) -> None:
    """Replace the package with one that has an unused definition."""
    changed = {**body, "CFDefinitions": {"CFItemTypes": [factories.item_type()]}}
    await api.send("PUT", f"/CFPackages/{body['CFDocument']['identifier']}", 200, changed)


async def _definition_changed(api: Api, _: Database, body: Body) -> None:
    kind = factories.item_type()
    document = factories.link(body["CFDocument"]["identifier"])
    link = factories.link(kind["identifier"])
    item = {**body["CFItems"][0], "CFDocumentURI": document, "CFItemTypeURI": link}
    await api.put("/CFItems", {"item": item})
    await api.get_package(document["identifier"])
    await api.put("/CFItemTypes", kind)


async def _deleted(_api: Api, database: Database, body: Body) -> None:
    await soft_delete.delete_entity(database, ITEMS, body["CFItems"][0]["identifier"])


async def _deleted_and_back(api: Api, database: Database, body: Body) -> None:
    document = body["CFDocument"]["identifier"]
    await soft_delete.delete_entity(database, DOCUMENTS, document)
    await api.get(f"/CFPackages/{document}", 404)
    await soft_delete.undelete_entity(database, DOCUMENTS, document)


async def _other_end_deleted(api: Api, database: Database, body: Body) -> None:
    """Delete an item of another framework, which hides the association to it."""
    other = await api.create_item(await api.create_document())
    await api.create_association(body["CFItems"][0], other)
    await api.get_package(body["CFDocument"]["identifier"])
    await soft_delete.delete_entity(database, ITEMS, other["identifier"])


async def _other_end_arrives(api: Api, _: Database, body: Body) -> None:
    """Put the item that an association refers to, whose URI becomes a URL of this server."""
    identifier = factories.new_id()
    item = body["CFItems"][0]["identifier"]
    association = factories.association(item, identifier, associationType="isPartOf")
    changed = {**body, "CFAssociations": [*body["CFAssociations"], association]}
    document = body["CFDocument"]["identifier"]
    await api.send("PUT", f"/CFPackages/{document}", 200, changed)
    await api.get_package(document)
    other = await api.create_document()
    await api.put("/CFItems", {"item": factories.item(other["identifier"], identifier)})


WRITES: list[Write] = [
    *(_item, _item_changed, _item_moved_away, _keyword, _association),
    *(_association_removed, _document, _package, _definitions, _definition_changed),
    *(_deleted, _deleted_and_back, _other_end_deleted, _other_end_arrives),
]


@pytest.mark.parametrize("kind", ["", "/groups"], ids=["package", "groups"])
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__.strip("_"))
async def test_write_by_one_worker_is_visible_in_the_other(
    api: Api,
    other_api: Api,
    other_worker: FastAPI,
    database_url: str,
    settings: Settings,
    write: Write,
    kind: str,
) -> None:
    body = await framework(api)
    path = f"/CFPackages/{body['CFDocument']['identifier']}{kind}"
    async with Database.open(database_url, settings) as database:
        before = await other_api.send("GET", path, 200)
        await write(other_api if write is _keyword else api, database, body)
        after = await other_api.send("GET", path, 200)
        tag = {"If-None-Match": before.headers["ETag"]}
        response = await other_api.client.get(f"{api.profile.prefix}{path}", headers=tag)
        # A cache without capacity, so that this response is read from the tables.
        other_worker.state.app_state.response_cache = ResponseCache(megabytes=0, producers=4)
        fresh = await other_api.send("GET", path, 200)
        assert after.json() == fresh.json()
        assert response.status_code in {200, 304}
        assert response.status_code == 200 or before.json() == fresh.json()


async def test_if_none_match_returns_304(api: Api) -> None:
    body = await framework(api)
    path = f"{api.profile.prefix}/CFPackages/{body['CFDocument']['identifier']}"
    first = await api.client.get(path)
    for tags in (first.headers["ETag"], f'"x", {first.headers["ETag"]}', "*"):
        response = await api.client.get(path, headers={"If-None-Match": tags})
        assert response.status_code == 304
        assert response.content == b""
        assert response.headers["ETag"] == first.headers["ETag"]
        assert response.headers["Vary"] == first.headers["Vary"] == "Accept-Encoding"
    for other in ("?fields=CFDocument", "/groups"):
        response = await api.client.get(
            path + other, headers={"If-None-Match": first.headers["ETag"]}
        )
        assert response.status_code == 200
        assert response.headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize("condition", [{"If-Match": '"other"'}, {"If-None-Match": "*"}])
async def test_writes_ignore_conditions_on_etags(api: Api, condition: dict[str, str]) -> None:
    body, new = await framework(api), factories.package()
    _, item, child = await api.create_two_items()
    association = await api.create_association(child, item)
    prefix, identifier = api.profile.prefix, body["CFDocument"]["identifier"]
    for method, path, content, status in (
        ("PUT", f"/CFPackages/{identifier}", body, 200),
        ("POST", "/CFPackages", new, 201),
        ("PUT", f"/CFItems/{item['identifier']}", item, 201),
        ("DELETE", f"/CFItemAssociations/{association['identifier']}", None, 204),
    ):
        response = await api.client.request(method, prefix + path, json=content, headers=condition)
        assert response.status_code == status, response.text
        assert "ETag" not in response.headers


async def test_write_to_another_framework_keeps_the_etag(api: Api) -> None:
    body = await framework(api)
    path = f"{api.profile.prefix}/CFPackages/{body['CFDocument']['identifier']}"
    first = await api.client.get(path)
    await framework(api)
    await api.create_item(await api.create_document())
    response = await api.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert response.status_code == 304


async def test_if_modified_since_returns_304(api: Api, execute: Execute) -> None:
    body = await framework(api)
    path = f"{api.profile.prefix}/CFPackages/{body['CFDocument']['identifier']}"
    # Within the second of the last change there is no Last-Modified.
    assert "Last-Modified" not in (await api.client.get(path)).headers
    for table in ("revisions", "revision_marks"):
        await execute(f"UPDATE {table} SET changed_at = '2026-01-15T09:30:00.7Z'")
    last_modified = (await api.client.get(path)).headers["Last-Modified"]
    assert last_modified == "Thu, 15 Jan 2026 09:30:00 GMT"
    response = await api.client.get(path, headers={"If-Modified-Since": last_modified})
    assert response.status_code == 304
    for other in ("Thu, 15 Jan 2026 09:29:59 GMT", "yesterday"):
        response = await api.client.get(path, headers={"If-Modified-Since": other})
        assert response.status_code == 200
    headers = {"If-Modified-Since": last_modified, "If-None-Match": '"another"'}
    assert (await api.client.get(path, headers=headers)).status_code == 200


async def test_compacting_revision_marks_keeps_the_etag(api: Api, execute: Execute) -> None:
    document = await api.create_document()
    path = f"/CFPackages/{document['identifier']}"
    for _ in range(COMPACT_AT // 2):
        await api.create_item(document)
    before = await api.send("GET", path, 200)
    await execute("INSERT INTO revision_marks (scope) SELECT '/' FROM generate_series(1, 200)")
    tag = {"If-None-Match": before.headers["ETag"]}
    for _ in range(2):
        response = await api.client.get(api.profile.prefix + path, headers=tag)
        assert response.status_code == 304
    statement = "SELECT 1 FROM revision_marks WHERE scope IN ('', '/', $1)"
    assert not await execute(statement, document["identifier"])
    await api.create_item(document)
    response = await api.client.get(api.profile.prefix + path, headers=tag)
    assert response.status_code == 200


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
    "identity": bytes,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_package_is_returned_in_the_accepted_encoding(api: Api, encoding: str) -> None:
    body = await api.upload_package(CFItems=[factories.packed_item() for _ in range(500)])
    path = f"{api.profile.prefix}/CFPackages/{body['CFDocument']['identifier']}"
    headers = {"Accept-Encoding": encoding}
    plain = (await api.client.get(path, headers={"Accept-Encoding": "identity"})).content
    for _ in range(2):
        async with api.client.stream("GET", path, headers=headers) as response:
            raw = b"".join([chunk async for chunk in response.aiter_raw()])
        assert response.headers.get("Content-Encoding", "identity") == encoding
        assert response.headers["Vary"] == "Accept-Encoding"
        assert ENCODINGS[encoding](raw) == plain


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.1, gzip;q=0.5", "gzip"),
        ("*", "zstd"),
        ("*;q=0", "identity"),
        ("GZIP;q=1.0", "gzip"),
        ("gzip;q=0, identity", "identity"),
        ("gzip;q=0.5, identity", "identity"),
        ("gzip, identity", "gzip"),
        ("", "identity"),
        ("gzip;q=nonsense,,;", "identity"),
    ],
)
def test_negotiate_encoding_returns_the_most_accepted(accepted: str, expected: str) -> None:
    assert negotiate_encoding(accepted, ("zstd", "gzip")) == expected


async def test_cache_evicts_responses_over_its_limit() -> None:
    cache = ResponseCache(megabytes=1, producers=2)

    async def incompressible(_: CachedResponse) -> AsyncIterator[bytes]:
        yield os.urandom(720_000)

    for number in range(10):
        response = cache.start_producing((number,), incompressible)
        async for _ in response.iter_gzip():
            pass
        await asyncio.sleep(0)
    cached = [entry for number in range(10) if (entry := cache.get((number,)))]
    assert 1 <= len(cached) < 5
    assert sum(entry.stored_size for entry in cached) <= 1_000_000
    assert cache.get((9,))


async def test_zstd_bodies_count_towards_cache_limit() -> None:
    cache = ResponseCache(megabytes=1, producers=1)

    async def incompressible(_: CachedResponse) -> AsyncIterator[bytes]:
        yield os.urandom(400_000)

    for key in ("first", "second"):
        response = cache.start_producing((key,), incompressible)
        async for _ in response.iter_gzip():
            pass
    assert await response.get_zstd_body()
    assert cache.get(("first",)) is None
    assert cache.get(("second",)) is response


async def test_failed_response_raises_in_all_readers_and_is_not_cached() -> None:
    cache = ResponseCache(megabytes=1, producers=1)

    async def failing(_: CachedResponse) -> AsyncIterator[bytes]:
        yield b"start"
        raise LookupError("the rest")

    response = cache.start_producing(("key",), failing)
    await response.wait_for_first_chunk()
    for chunks in (response.iter_gzip(), response.iter_uncompressed()):
        with pytest.raises(LookupError):
            async for _ in chunks:
                pass
    await asyncio.sleep(0)
    assert cache.get(("key",)) is None


async def test_concurrent_reads_return_own_writes_and_404(api: Api, other_api: Api) -> None:
    """Shared queries return what a query of their own would return."""
    body = await framework(api)
    identifier = body["CFDocument"]["identifier"]
    path = f"/CFPackages/{identifier}"

    async def write_and_read(number: int) -> None:
        item = factories.item(identifier, fullStatement=f"statement {number}")
        writer, reader = (api, other_api) if number % 2 else (other_api, api)
        await writer.put("/CFItems", item)
        package = (await reader.send("GET", path, 200)).json()
        package = package.get("CFPackage", package)
        assert item["identifier"] in {each["identifier"] for each in package["CFItems"]}

    async def miss() -> None:
        for _ in range(5):
            await api.send("GET", f"/CFPackages/{factories.new_id()}", 404)
            await api.send("GET", "/CFPackages/unknown", 404)

    await asyncio.gather(*(write_and_read(number) for number in range(24)), *(miss(), miss()))

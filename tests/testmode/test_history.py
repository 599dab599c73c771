"""A reset or restore invalidates the ETags and change-feed cursors that clients have."""

import asyncio

import pytest
from anyio import to_thread
from support import factories
from support.databases import MigratedDatabase
from support.factories import Body
from support.test_mode_client import NamespaceClient

from case_server.api.caching.conditional import LAST_MODIFIED_MIN_AGE_SECONDS
from case_server.api.profiles import PROFILES
from case_server.db.pool import Database
from case_server.db.postgres import clones
from case_server.db.schema import tables
from case_server.settings import Settings

PACKAGES = "/case/1.1/CFPackages"
FEEDS = [f"{profile.prefix}/changes" for profile in PROFILES if profile.writes]


async def put_package(namespace: NamespaceClient, body: Body, title: str) -> str:
    """Store a package with a title and return its ETag."""
    titled = {**body, "CFDocument": {**body["CFDocument"], "title": title}}
    path = f"{PACKAGES}/{body['CFDocument']['identifier']}"
    response = await namespace.call("PUT", path, json=titled)
    if response.status_code == 404:
        response = await namespace.call("POST", PACKAGES, json=titled)
    assert response.status_code in {200, 201}, response.text
    read = await namespace.call("GET", path)
    assert read.json()["CFDocument"]["title"] == title
    return str(read.headers["ETag"])


async def title_for(namespace: NamespaceClient, body: Body, **conditions: str) -> str | None:
    """Return the title in the response to a conditional request, or None for 304."""
    headers = {name.replace("_", "-"): value for name, value in conditions.items()}
    path = f"{PACKAGES}/{body['CFDocument']['identifier']}"
    response = await namespace.call("GET", path, headers=headers)
    assert response.status_code in {200, 304}, response.text
    return None if response.status_code == 304 else response.json()["CFDocument"]["title"]


async def wait_for_last_modified(namespace: NamespaceClient, body: Body) -> str:
    """Return the Last-Modified of a package, which is sent two seconds after a write."""
    await asyncio.sleep(LAST_MODIFIED_MIN_AGE_SECONDS + 0.1)
    response = await namespace.call("GET", f"{PACKAGES}/{body['CFDocument']['identifier']}")
    return str(response.headers["Last-Modified"])


async def assert_restore_updates_last_modified(namespace: NamespaceClient, body: Body) -> None:
    """Write a package that has the title "original" in the snapshot one, and restore that."""
    await put_package(namespace, body, "written")
    timestamp = await wait_for_last_modified(namespace, body)
    assert await title_for(namespace, body, If_Modified_Since=timestamp) is None
    await namespace.test_api("POST", "/snapshots/one/restore")
    assert await title_for(namespace, body, If_Modified_Since=timestamp) == "original"
    await namespace.test_api("DELETE", "/snapshots/one", 204)


async def test_etag_changes_after_reset(namespace: NamespaceClient) -> None:
    """Both packages were written once, so without the history their ETags would be equal."""
    body = factories.package()
    before = await put_package(namespace, body, "before")
    assert await title_for(namespace, body, If_None_Match=before) is None
    await namespace.test_api("POST", "/reset")
    after = await put_package(namespace, body, "after")
    assert before != after
    assert await title_for(namespace, body, If_None_Match=before) == "after"
    assert await title_for(namespace, body, If_None_Match=after) is None


async def test_restore_invalidates_etags(namespace: NamespaceClient) -> None:
    body = factories.package()
    etag = await put_package(namespace, body, "original")
    await namespace.test_api("POST", "/snapshots/one", 201)
    assert await title_for(namespace, body, If_None_Match=etag) is None
    timestamps: list[str] = []
    for title in ("first", "second"):
        tag = await put_package(namespace, body, title)
        # Without the history, the second write would get the ETag of the first.
        for timestamp in timestamps:
            assert await title_for(namespace, body, If_None_Match=timestamp) == title
        timestamps.append(tag)
        await namespace.test_api("POST", "/snapshots/one/restore")
        for timestamp in timestamps:
            assert await title_for(namespace, body, If_None_Match=timestamp) == "original"
    await namespace.test_api("DELETE", "/snapshots/one", 204)


async def test_seed_invalidates_etags(namespace: NamespaceClient) -> None:
    body = factories.package()
    etag = await put_package(namespace, body, "written")
    seeded = {**body, "CFDocument": {**body["CFDocument"], "title": "seeded"}}
    await namespace.test_api("POST", "/seed", body=seeded)
    assert await title_for(namespace, body, If_None_Match=etag) == "seeded"


async def test_restore_updates_last_modified(namespace: NamespaceClient) -> None:
    """The restored package is older than the client's response, but differs from it."""
    body = factories.package()
    await put_package(namespace, body, "original")
    await namespace.test_api("POST", "/snapshots/one", 201)
    await assert_restore_updates_last_modified(namespace, body)


async def test_restore_of_previous_clone_updates_last_modified(namespace: NamespaceClient) -> None:
    """Last-Modified is the time of the restore, not that of the clone's creation."""
    body = factories.package()
    await namespace.test_api("POST", "/seed", body=body)
    await put_package(namespace, body, "original")
    await namespace.test_api("POST", "/snapshots/one", 201)
    for way in ("/snapshots/one/restore", "/reset"):
        await namespace.test_api("POST", way)
    await asyncio.sleep(1.1)
    await assert_restore_updates_last_modified(namespace, body)


@pytest.mark.parametrize("feed", FEEDS)
async def test_feed_cursor_is_gone_after_reset(namespace: NamespaceClient, feed: str) -> None:
    await namespace.put_document()
    cursor = (await namespace.call("GET", feed)).json()["next"]
    document = await namespace.put_document()
    follow = f"{feed}?since={cursor}"
    changes = (await namespace.call("GET", follow)).json()["changes"]
    assert [change["identifier"] for change in changes] == [document["identifier"]]
    await namespace.test_api("POST", "/reset")
    assert (await namespace.call("GET", follow)).status_code == 410
    new_feed = (await namespace.call("GET", feed)).json()
    assert new_feed["changes"] == []
    document = await namespace.put_document()
    changes = (await namespace.call("GET", f"{feed}?since={new_feed['next']}")).json()["changes"]
    assert [change["identifier"] for change in changes] == [document["identifier"]]


async def test_reset_without_writes_keeps_etags(namespace: NamespaceClient) -> None:
    """A reset that changes no data keeps the caches of clients valid."""
    body = factories.package()
    await namespace.test_api("POST", "/seed", body=body)
    path = f"{PACKAGES}/{body['CFDocument']['identifier']}"
    etag = (await namespace.call("GET", path)).headers["ETag"]
    await namespace.test_api("POST", "/reset")
    assert await title_for(namespace, body, If_None_Match=etag) is None


async def test_namespaces_do_not_share_cached_packages(
    namespace: NamespaceClient, other: NamespaceClient
) -> None:
    body = factories.package()
    etag = await put_package(namespace, body, "here")
    await put_package(other, body, "there")
    assert await title_for(other, body, If_None_Match=etag) == "there"
    assert await title_for(namespace, body) == "here"


async def test_truncate_keeps_clients_and_keys(
    migrated_database: MigratedDatabase, settings: Settings
) -> None:
    """Only entities are deleted."""
    url = await to_thread.run_sync(migrated_database, "emptied")
    remaining = {"clients": 1, "client_secrets": 1, "signing_keys": 1, "feed_history": 1}
    async with Database.open(url, settings) as database, database.connection() as connection:
        for statement in FILL:
            await connection.execute(statement)
        await clones.delete_all_frameworks(database)
        counts = {
            name: await connection.fetchval(f"SELECT count(*) FROM {name}")
            for name in tables.metadata.tables
        }
    assert {name: count for name, count in counts.items() if count} == remaining


FILL = (
    "INSERT INTO clients (identifier, scopes) VALUES ('main', '{}')",
    "INSERT INTO client_secrets (hash, client_identifier) VALUES ('hash', 'main')",
    "INSERT INTO signing_keys (kid, private_pem) VALUES ('main', 'pem')",
    "INSERT INTO revision_marks (scope) VALUES ('/')",
    "INSERT INTO changes (kind, identifier, operation) VALUES ('CFItem', 'one', 'c')",
)

"""What clients kept of before: a store that went back in time does not say that it still holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from anyio import to_thread
from support import factories
from support.test_mode_client import Suite

from case_server.api.profiles import PROFILES
from case_server.db.pool import Database
from case_server.db.postgres import clones
from case_server.db.schema import tables
from case_server.settings import Settings

PACKAGES = "/case/1.1/CFPackages"
FEEDS = [f"{profile.prefix}/changes" for profile in PROFILES if profile.writes]


async def put_package(suite: Suite, body: factories.Body, title: str) -> str:
    """Store a package under a title, and return its ETag."""
    titled = {**body, "CFDocument": {**body["CFDocument"], "title": title}}
    path = f"{PACKAGES}/{body['CFDocument']['identifier']}"
    answer = await suite.call("PUT", path, json=titled)
    if answer.status_code == 404:
        answer = await suite.call("POST", PACKAGES, json=titled)
    assert answer.status_code in {200, 201}, answer.text
    read = await suite.call("GET", path)
    assert read.json()["CFDocument"]["title"] == title
    return str(read.headers["ETag"])


async def title_for(suite: Suite, body: factories.Body, **kept: str) -> str | None:
    """The title that somebody is told who kept an answer; None if that is said to be current."""
    headers = {name.replace("_", "-"): value for name, value in kept.items()}
    path = f"{PACKAGES}/{body['CFDocument']['identifier']}"
    answer = await suite.call("GET", path, headers=headers)
    assert answer.status_code in {200, 304}, answer.text
    return None if answer.status_code == 304 else answer.json()["CFDocument"]["title"]


async def test_an_etag_of_before_a_reset_is_not_that_of_after(suite: Suite) -> None:
    """Both were written as often, so but for the history their tags would be equal."""
    body = factories.package()
    before = await put_package(suite, body, "before")
    assert await title_for(suite, body, If_None_Match=before) is None
    await suite.control("POST", "/reset")
    after = await put_package(suite, body, "after")
    assert before != after
    assert await title_for(suite, body, If_None_Match=before) == "after"
    assert await title_for(suite, body, If_None_Match=after) is None


async def test_restores_make_every_etag_old(suite: Suite) -> None:
    body = factories.package()
    kept = await put_package(suite, body, "kept")
    await suite.control("POST", "/snapshots/one", 201)
    assert await title_for(suite, body, If_None_Match=kept) is None
    written: list[str] = []
    for title in ("first", "second"):
        tag = await put_package(suite, body, title)
        # Written as often after another restore, it would have the tag of what was written then.
        assert [await title_for(suite, body, If_None_Match=one) for one in written] == (
            [title] * len(written)
        )
        written.append(tag)
        await suite.control("POST", "/snapshots/one/restore")
        assert [await title_for(suite, body, If_None_Match=one) for one in written] == (
            ["kept"] * len(written)
        )
    await suite.control("DELETE", "/snapshots/one", 204)


async def test_what_a_seed_holds_is_not_what_was_kept(suite: Suite) -> None:
    body = factories.package()
    kept = await put_package(suite, body, "written")
    seeded = {**body, "CFDocument": {**body["CFDocument"], "title": "seeded"}}
    await suite.control("POST", "/seed", body=seeded)
    assert await title_for(suite, body, If_None_Match=kept) == "seeded"


async def test_going_back_is_a_modification(suite: Suite) -> None:
    """A restored package is older than the answer that somebody kept, and yet news to them."""
    body = factories.package()
    await put_package(suite, body, "kept")
    await suite.control("POST", "/snapshots/one", 201)
    await put_package(suite, body, "written")
    written = format_datetime(datetime.now(UTC), usegmt=True)
    assert await title_for(suite, body, If_Modified_Since=written) is None
    await asyncio.sleep(1.1)  # these dates say whole seconds
    await suite.control("POST", "/snapshots/one/restore")
    assert await title_for(suite, body, If_Modified_Since=written) == "kept"
    await suite.control("DELETE", "/snapshots/one", 204)


async def test_coming_back_to_a_copy_is_a_modification_now(suite: Suite) -> None:
    """However long ago it was made ready: clients know when it was gone to, not when made."""
    body = factories.package()
    await suite.control("POST", "/seed", body=body)
    await put_package(suite, body, "kept")
    await suite.control("POST", "/snapshots/one", 201)
    for way in ("/snapshots/one/restore", "/reset"):
        await suite.control("POST", way)
    await asyncio.sleep(1.1)
    await put_package(suite, body, "written")
    written = format_datetime(datetime.now(UTC), usegmt=True)
    assert await title_for(suite, body, If_Modified_Since=written) is None
    await asyncio.sleep(1.1)
    await suite.control("POST", "/snapshots/one/restore")
    assert await title_for(suite, body, If_Modified_Since=written) == "kept"
    await suite.control("DELETE", "/snapshots/one", 204)


@pytest.mark.parametrize("feed", FEEDS)
async def test_a_cursor_of_before_is_gone(suite: Suite, feed: str) -> None:
    await suite.put_document()
    cursor = (await suite.call("GET", feed)).json()["next"]
    document = await suite.put_document()
    follow = f"{feed}?since={cursor}"
    told = (await suite.call("GET", follow)).json()["changes"]
    assert [one["identifier"] for one in told] == [document["identifier"]]
    await suite.control("POST", "/reset")
    assert (await suite.call("GET", follow)).status_code == 410
    anew = (await suite.call("GET", feed)).json()
    assert anew["changes"] == []
    document = await suite.put_document()
    told = (await suite.call("GET", f"{feed}?since={anew['next']}")).json()["changes"]
    assert [one["identifier"] for one in told] == [document["identifier"]]


async def test_what_was_not_written_needs_no_going_back(suite: Suite) -> None:
    """A reset between tests that only read keeps what clients know."""
    body = factories.package()
    await suite.control("POST", "/seed", body=body)
    path = f"{PACKAGES}/{body['CFDocument']['identifier']}"
    kept = (await suite.call("GET", path)).headers["ETag"]
    await suite.control("POST", "/reset")
    assert await title_for(suite, body, If_None_Match=kept) is None


async def test_namespaces_do_not_share_what_they_remember(suite: Suite, other: Suite) -> None:
    body = factories.package()
    kept = await put_package(suite, body, "here")
    await put_package(other, body, "there")
    assert await title_for(other, body, If_None_Match=kept) == "there"
    assert await title_for(suite, body) == "here"


async def test_emptying_leaves_who_may_come_in(
    migrated_database: Callable[[str], str], settings: Settings
) -> None:
    """Clients, their secrets and the keys are no frameworks."""
    url = await to_thread.run_sync(migrated_database, "emptied")
    kept = {"clients": 1, "client_secrets": 1, "signing_keys": 1, "feed_history": 1}
    async with Database.open(url, settings) as database, database.connection() as connection:
        for statement in FILL:
            await connection.execute(statement)
        await clones.truncate_all(database)
        counts = {
            name: await connection.fetchval(f"SELECT count(*) FROM {name}")
            for name in tables.metadata.tables
        }
    assert {name: count for name, count in counts.items() if count} == kept


FILL = (
    "INSERT INTO clients (identifier, scopes) VALUES ('kept', '{}')",
    "INSERT INTO client_secrets (hash, client_identifier) VALUES ('hash', 'kept')",
    "INSERT INTO signing_keys (kid, private_pem) VALUES ('kept', 'pem')",
    "INSERT INTO revision_marks (scope) VALUES ('/')",
    "INSERT INTO changes (kind, identifier, operation) VALUES ('CFItem', 'one', 'c')",
)

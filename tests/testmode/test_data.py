"""Reset, seed and snapshots: what a target holds, and how it goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from anyio import to_thread
from fastapi import FastAPI
from sqlalchemy import make_url
from support import factories
from support.databases import create_database
from support.test_mode_client import DOCUMENTS, Suite, settled

from case_server.db.pool import Database, dsn
from case_server.db.postgres import alembic_runner
from case_server.db.postgres.baseline import save_baseline
from case_server.db.postgres.clones import DatabaseCloner, require_clonable
from case_server.exceptions import StartupError
from case_server.settings import Settings

IDENTIFIER = factories.new_id()
PATH = f"{DOCUMENTS}/{IDENTIFIER}"
SAMPLE = {"documents": 1, "items": 26, "associations": 39}


def large(entities: int) -> factories.Body:
    items = [factories.packed_item() for _ in range(entities // 2)]
    first = items[0]["identifier"]
    links = [factories.association(item["identifier"], first) for item in items[1:]]
    return factories.package(CFItems=items, CFAssociations=links)


async def test_reset_goes_back_to_the_seed(suite: Suite) -> None:
    seeded = await suite.control("POST", "/seed", body={"sample": True})
    assert seeded["seeded"] == SAMPLE
    await suite.put_document()
    assert await suite.total() == 2
    for _ in range(3):
        await suite.control("POST", "/reset")
        assert await suite.total() == 1
        await suite.put_document()
        assert await suite.total() == 2


async def test_going_back_makes_no_database(
    suite: Suite, testmode_app: FastAPI, copies: Callable[[], Awaitable[set[str]]]
) -> None:
    """But the first time to another state: between two of them it goes to and fro."""
    await suite.put_document()
    await suite.control("POST", "/snapshots/one", 201)
    for way in ("/reset", "/snapshots/one/restore", "/reset"):
        await suite.control("POST", way)
    before = await settled(testmode_app, copies)
    for way, documents in (("/snapshots/one/restore", 1), ("/reset", 0), ("/reset", 0)) * 2:
        await suite.put_document()
        await suite.control("POST", way)
        assert await suite.total() == documents
        assert await settled(testmode_app, copies) == before
    await suite.control("DELETE", "/snapshots/one", 204)


async def test_a_write_that_was_delayed_is_not_done_after_a_reset(suite: Suite) -> None:
    """A client may have given up on it long ago; the next test begins with the seed."""
    await suite.control("PUT", "/faults", body=[{"method": "PUT", "delay": 0.5}])
    begun = asyncio.create_task(suite.call("PUT", PATH, json=factories.document(IDENTIFIER)))
    await asyncio.sleep(0.2)
    await suite.control("POST", "/reset")
    answer = await begun
    assert answer.status_code == 503, answer.text
    assert "were reset" in answer.json()["imsx_description"]
    assert await suite.total() == 0


async def test_reset_forgets_what_was_asked_and_what_was_to_fail(suite: Suite) -> None:
    await suite.control("PUT", "/faults", body=[{"status": 503, "path": "*"}])
    await suite.control("PUT", "/token-lifetimes", body={"local-client": 5})
    assert (await suite.call("GET", DOCUMENTS)).status_code == 503
    await suite.control("POST", "/reset")
    assert await suite.control("GET", "/requests") == []
    assert await suite.control("GET", "/faults") == []
    assert await suite.control("GET", "/token-lifetimes") == {}


async def test_tokens_outlive_a_reset(suite: Suite) -> None:
    await suite.put_document()
    await suite.control("POST", "/reset")
    assert await suite.total() == 0


async def test_a_request_under_way_ends_on_the_data_it_began_with(
    suite: Suite, testmode_app: FastAPI, copies: Callable[[], Awaitable[set[str]]]
) -> None:
    """Nobody waits for it: there is another copy, and the one that was left is gone on with."""
    (own,) = (one for one in testmode_app.state.namespaces.all() if one.name == "default")
    counts = []
    for _ in range(3):
        body = await suite.put_document()
        async with own.request(writes=True) as services:
            await suite.control("POST", "/reset")
            assert await suite.total() == 0
            async with services.database.connection() as connection:
                stored = await connection.fetch("SELECT identifier FROM documents")
        assert [row["identifier"] for row in stored] == [body["identifier"]]
        counts.append(len(await settled(testmode_app, copies)))
    assert len(set(counts)) == 1, counts
    assert await suite.total() == 0


async def test_many_at_once(suite: Suite) -> None:
    """Resets between requests: each request sees the seed or what one of them wrote."""

    async def work() -> None:
        for _ in range(5):
            body = factories.document()
            answer = await suite.call("PUT", f"{DOCUMENTS}/{body['identifier']}", json=body)
            assert answer.status_code in {201, 503}, answer.text
            await suite.control("POST", "/reset")

    await asyncio.gather(*(work() for _ in range(4)))
    await suite.control("POST", "/reset")
    assert await suite.total() == 0


@pytest.mark.parametrize(
    ("body", "documents"),
    [
        ({}, 0),
        ({"sample": True}, 1),
        ({"sample": True, "packages": [factories.package(), factories.package()]}, 3),
        (factories.package(), 1),
        ({"CFPackage": factories.package()}, 1),
    ],
)
async def test_seed_is_what_it_holds(suite: Suite, body: factories.Body, documents: int) -> None:
    await suite.put_document()
    await suite.control("POST", "/seed", body=body)
    assert await suite.total() == documents
    await suite.put_document()
    await suite.control("POST", "/reset")
    assert await suite.total() == documents


async def test_seed_that_is_not_valid_changes_nothing(suite: Suite) -> None:
    await suite.control("POST", "/seed", body={"sample": True})
    bad = factories.package()
    bad["CFItems"][0]["fullStatement"] = 7
    del bad["CFDocument"]["title"]
    both = {"packages": [factories.package(), bad]}
    refused = await suite.control("POST", "/seed", 422, both)
    assert [one["path"] for one in refused["imsx_error_details"]] == [
        "packages[1].CFDocument.title",
        "packages[1].CFItems[0].fullStatement",
    ]
    assert await suite.total() == 1
    unreadable: tuple[Any, ...] = ({"sampel": True}, [], {"packages": 3})
    for body in unreadable:
        await suite.control("POST", "/seed", 422, body)
    assert await suite.total() == 1


async def test_seed_with_repairs(suite: Suite) -> None:
    body = factories.package()
    body["CFItems"][0]["educationLevel"] = "06, 07"
    await suite.control("POST", "/seed", 422, body)
    await suite.control("POST", "/seed?repair=true", body=body)
    assert await suite.total() == 1
    await suite.control("POST", "/seed?repair=perhaps", 400, body)


async def test_seed_that_contradicts_itself_leaves_no_database(
    suite: Suite, testmode_app: FastAPI, copies: Callable[[], Awaitable[set[str]]]
) -> None:
    await suite.control("POST", "/seed", body={})
    before = await settled(testmode_app, copies)
    item = factories.packed_item()
    one, two = (factories.package(CFItems=[item], CFAssociations=[]) for _ in range(2))
    await suite.control("POST", "/seed", 409, {"packages": [one, two]})
    assert len(await settled(testmode_app, copies)) == len(before)
    assert await suite.total() == 0


async def test_snapshots(suite: Suite) -> None:
    await suite.put_document()
    await suite.control("POST", "/snapshots/one", 201)
    await suite.put_document()
    assert (await suite.control("POST", "/snapshots/two", 201))["snapshots"] == ["one", "two"]
    await suite.control("POST", "/reset")
    assert await suite.total() == 0
    for name, documents in (("two", 2), ("one", 1), ("one", 1)):
        await suite.control("POST", f"/snapshots/{name}/restore")
        assert await suite.total() == documents
        await suite.put_document()
    await suite.control("POST", "/snapshots/one", 201)
    await suite.control("POST", "/reset")
    await suite.control("POST", "/snapshots/one/restore")
    assert await suite.total() == 2
    for name in ("one", "two"):
        await suite.control("DELETE", f"/snapshots/{name}", 204)
    assert await suite.control("GET", "/snapshots") == []
    refused = await suite.control("POST", "/snapshots/one/restore", 404)
    assert "'one'" in refused["imsx_description"]
    await suite.control("POST", "/snapshots/One", 400)


async def test_requests_wait_while_a_snapshot_is_taken(suite: Suite) -> None:
    taking = asyncio.create_task(suite.control("POST", "/snapshots/busy", 201))
    totals = await asyncio.gather(*(suite.total() for _ in range(20)))
    await taking
    assert set(totals) == {0}
    await suite.control("DELETE", "/snapshots/busy", 204)


async def test_the_database_of_the_settings_is_never_written(
    suite: Suite, testmode_url: str
) -> None:
    await suite.control("POST", "/seed", body={"sample": True})
    await suite.put_document()
    connection = await asyncpg.connect(dsn(testmode_url))
    try:
        assert await connection.fetchval("SELECT count(*) FROM documents") == 0
        assert await connection.fetchval("SELECT count(*) FROM signing_keys") == 0
    finally:
        await connection.close()


async def test_copies_are_dropped_at_the_end_and_at_the_next_start(
    postgres: str, databases: Callable[[], Awaitable[set[str]]]
) -> None:
    url = await create_database(postgres, "case_test_copies")
    beside = await create_database(postgres, "case_test_copies_clone_production")
    async with DatabaseCloner.open(url) as copies:
        name = await copies.clone(copies.main)
        assert name in await databases()
        assert make_url(copies.url(name)).database == name
    assert name not in await databases()
    killed = await create_database(postgres, "case_test_copies_clone_0123456789ab")
    async with DatabaseCloner.open(url):
        assert make_url(killed).database not in await databases()
    assert make_url(beside).database in await databases()


async def test_a_role_that_may_not_make_databases(
    postgres: str, testmode_settings: Settings
) -> None:
    url = await create_database(postgres, "case_test_no_right")
    await to_thread.run_sync(alembic_runner.migrate, url)
    connection = await asyncpg.connect(dsn(postgres))
    await connection.execute("DROP ROLE IF EXISTS case_test_poor")
    await connection.execute("CREATE ROLE case_test_poor LOGIN PASSWORD 'poor'")
    try:
        poor = make_url(url).set(username="case_test_poor", password="poor")
        address = poor.render_as_string(hide_password=False)
        owner = 'ALTER DATABASE "case_test_no_right" OWNER TO "case_test_poor"'
        with pytest.raises(
            StartupError, match=f'run ALTER ROLE "case_test_poor" CREATEDB and {owner}'
        ):
            await require_clonable(address)
        await connection.execute("ALTER ROLE case_test_poor CREATEDB")
        admin = await connection.fetchval("SELECT quote_ident(current_user)")
        member = f'GRANT {admin} TO "case_test_poor"'
        with pytest.raises(StartupError, match=f"run {owner} and {member} as"):
            await require_clonable(address)
        await connection.execute(owner)
        with pytest.raises(StartupError, match=f"run {member} as"):
            await require_clonable(address)
        await connection.execute(member)
        await require_clonable(address)
        async with DatabaseCloner.open(address) as copies:
            copy = copies.url(await copies.clone(copies.main))
            async with Database.open(copy, testmode_settings) as database:
                await save_baseline(database)
    finally:
        await connection.execute("DROP DATABASE case_test_no_right WITH (FORCE)")
        await connection.execute("DROP ROLE case_test_poor")
        await connection.close()


async def test_a_database_that_others_use(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("case_server.db.postgres.clones.DISCONNECT_TIMEOUT_SECONDS", 1)
    url = await create_database(postgres, "case_test_in_use")
    connection = await asyncpg.connect(dsn(url))
    try:
        with pytest.raises(StartupError, match="other clients are connected"):
            await require_clonable(url)
    finally:
        await connection.close()
    await require_clonable(url)


async def test_document_or_item_is_soft_deleted_and_undeleted(suite: Suite) -> None:
    package = factories.package()
    await suite.control("POST", "/seed", body=package)
    document = package["CFDocument"]["identifier"]
    item = package["CFItems"][0]["identifier"]
    assert await suite.control("POST", f"/CFItems/{item}/delete") == {"changes": {"CFItem": 1}}
    await suite.control("POST", f"/CFItems/{item}/delete", 404)
    deleted = await suite.control("POST", f"/CFDocuments/{document}/delete")
    assert deleted == {"changes": {"CFDocument": 1, "CFItem": 1, "CFAssociation": 1}}
    assert await suite.total() == 0
    assert "undelete document" in str(await suite.control("POST", f"/CFItems/{item}/undelete", 409))
    undeleted = await suite.control("POST", f"/CFDocuments/{document}/undelete")
    assert undeleted["changes"] == deleted["changes"]
    assert len(undeleted["notRestored"]) == 2
    assert await suite.total() == 1
    undeleted = await suite.control("POST", f"/CFItems/{item}/undelete")
    assert undeleted == {"changes": {"CFItem": 1}, "notRestored": []}
    await suite.control("POST", "/CFItems/unheard-of/undelete", 404)
    await suite.control("POST", f"/CFItems/{item}/delete")
    await suite.control("POST", "/reset")
    await suite.control("POST", f"/CFItems/{item}/delete")

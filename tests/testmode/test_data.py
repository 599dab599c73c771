"""Reset, seed and snapshots of the data of a namespace."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from anyio import to_thread
from fastapi import FastAPI
from sqlalchemy import make_url
from support import factories
from support.databases import create_database, open_connection, to_asyncpg_url
from support.test_mode_client import DOCUMENTS, ListDatabases, NamespaceClient, list_idle_clones

from case_server.db.pool import Database
from case_server.db.postgres import alembic_runner, embedded
from case_server.db.postgres.baseline import save_baseline
from case_server.db.postgres.clones import DatabaseCloner, require_clonable_database
from case_server.exceptions import CommandError
from case_server.settings import Settings
from case_server.testmode import faults

IDENTIFIER = factories.new_id()
PATH = f"{DOCUMENTS}/{IDENTIFIER}"
SAMPLE = {"documents": 1, "items": 26, "associations": 39}


async def test_reset_restores_seed(namespace: NamespaceClient) -> None:
    seeded = await namespace.test_api("POST", "/seed", body={"sample": True})
    assert seeded["seeded"] == SAMPLE
    await namespace.put_document()
    assert await namespace.total() == 2
    for _ in range(3):
        await namespace.test_api("POST", "/reset")
        assert await namespace.total() == 1
        await namespace.put_document()
        assert await namespace.total() == 2


async def test_reset_and_restore_create_no_database(
    namespace: NamespaceClient, testmode_app: FastAPI, clones: ListDatabases
) -> None:
    """The clones of two states are reused, however often the tests switch between them."""
    await namespace.put_document()
    await namespace.test_api("POST", "/snapshots/one", 201)
    for way in ("/reset", "/snapshots/one/restore", "/reset"):
        await namespace.test_api("POST", way)
    before = await list_idle_clones(testmode_app, clones)
    for way, documents in (("/snapshots/one/restore", 1), ("/reset", 0), ("/reset", 0)) * 2:
        await namespace.put_document()
        await namespace.test_api("POST", way)
        assert await namespace.total() == documents
        assert await list_idle_clones(testmode_app, clones) == before
    await namespace.test_api("DELETE", "/snapshots/one", 204)


async def test_write_delayed_beyond_reset_returns_503(
    namespace: NamespaceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Applied, it would change the data of the next test."""
    is_delayed, is_reset = asyncio.Event(), asyncio.Event()

    async def delay_until_reset(seconds: float) -> None:
        assert seconds == 0.5
        is_delayed.set()
        await is_reset.wait()

    monkeypatch.setattr(faults, "asyncio", SimpleNamespace(sleep=delay_until_reset))
    await namespace.test_api("PUT", "/faults", body=[{"method": "PUT", "delay": 0.5}])
    started = asyncio.create_task(namespace.call("PUT", PATH, json=factories.document(IDENTIFIER)))
    await is_delayed.wait()
    await namespace.test_api("POST", "/reset")
    is_reset.set()
    response = await started
    assert response.status_code == 503, response.text
    assert "were reset" in response.json()["imsx_description"]
    assert await namespace.total() == 0


async def test_reset_clears_request_log_faults_and_lifetimes(namespace: NamespaceClient) -> None:
    await namespace.test_api("PUT", "/faults", body=[{"status": 503, "path": "*"}])
    await namespace.test_api("PUT", "/token-lifetimes", body={"local-client": 5})
    assert (await namespace.call("GET", DOCUMENTS)).status_code == 503
    await namespace.test_api("POST", "/reset")
    assert await namespace.test_api("GET", "/requests") == []
    assert await namespace.test_api("GET", "/faults") == []
    assert await namespace.test_api("GET", "/token-lifetimes") == {}


async def test_tokens_stay_valid_after_reset(namespace: NamespaceClient) -> None:
    await namespace.put_document()
    await namespace.test_api("POST", "/reset")
    assert await namespace.total() == 0


async def test_running_request_keeps_its_data_during_reset(
    namespace: NamespaceClient, testmode_app: FastAPI, clones: ListDatabases
) -> None:
    """The reset does not wait for it but uses another clone; both clones are reused later."""
    own = testmode_app.state.namespaces.by_name["default"]
    counts = []
    for _ in range(3):
        body = await namespace.put_document()
        async with own.acquire_app_state(writes=True) as services:
            await namespace.test_api("POST", "/reset")
            assert await namespace.total() == 0
            async with services.database.connection() as connection:
                stored = await connection.fetch("SELECT identifier FROM documents")
        assert [row["identifier"] for row in stored] == [body["identifier"]]
        counts.append(len(await list_idle_clones(testmode_app, clones)))
    assert len(set(counts)) == 1, counts
    assert await namespace.total() == 0


async def test_concurrent_writes_and_resets_leave_the_seed(namespace: NamespaceClient) -> None:
    """Writes and resets from four clients at once."""

    async def work() -> None:
        for _ in range(5):
            body = factories.document()
            response = await namespace.call("PUT", f"{DOCUMENTS}/{body['identifier']}", json=body)
            assert response.status_code in {201, 503}, response.text
            await namespace.test_api("POST", "/reset")

    await asyncio.gather(*(work() for _ in range(4)))
    await namespace.test_api("POST", "/reset")
    assert await namespace.total() == 0


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
async def test_seed_replaces_data(
    namespace: NamespaceClient, body: factories.Body, documents: int
) -> None:
    await namespace.put_document()
    await namespace.test_api("POST", "/seed", body=body)
    assert await namespace.total() == documents
    await namespace.put_document()
    await namespace.test_api("POST", "/reset")
    assert await namespace.total() == documents


async def test_invalid_seed_changes_nothing(namespace: NamespaceClient) -> None:
    await namespace.test_api("POST", "/seed", body={"sample": True})
    bad = factories.package()
    bad["CFItems"][0]["fullStatement"] = 7
    del bad["CFDocument"]["title"]
    both = {"packages": [factories.package(), bad]}
    refused = await namespace.test_api("POST", "/seed", 422, both)
    assert [detail["path"] for detail in refused["imsx_error_details"]] == [
        "packages[1].CFDocument.title",
        "packages[1].CFItems[0].fullStatement",
    ]
    assert await namespace.total() == 1
    too_large = {"packages": [{**factories.package(), "CFRubrics": 2**64}]}
    unreadable: tuple[Any, ...] = ({"sampel": True}, [], {"packages": 3}, too_large)
    for body in unreadable:
        await namespace.test_api("POST", "/seed", 422, body)
    assert await namespace.total() == 1


async def test_seed_with_repair_accepts_repairable_package(namespace: NamespaceClient) -> None:
    body = factories.package()
    body["CFItems"][0]["educationLevel"] = "06, 07"
    await namespace.test_api("POST", "/seed", 422, body)
    await namespace.test_api("POST", "/seed?repair=true", body=body)
    assert await namespace.total() == 1
    await namespace.test_api("POST", "/seed?repair=perhaps", 400, body)


async def test_conflicting_seed_leaves_no_database(
    namespace: NamespaceClient, testmode_app: FastAPI, clones: ListDatabases
) -> None:
    await namespace.test_api("POST", "/seed", body={})
    before = await list_idle_clones(testmode_app, clones)
    item = factories.packed_item()
    first, second = (factories.package(CFItems=[item], CFAssociations=[]) for _ in range(2))
    await namespace.test_api("POST", "/seed", 409, {"packages": [first, second]})
    assert len(await list_idle_clones(testmode_app, clones)) == len(before)
    assert await namespace.total() == 0


async def test_snapshot_restores_data(namespace: NamespaceClient) -> None:
    await namespace.put_document()
    await namespace.test_api("POST", "/snapshots/one", 201)
    await namespace.put_document()
    assert (await namespace.test_api("POST", "/snapshots/two", 201))["snapshots"] == ["one", "two"]
    await namespace.test_api("POST", "/reset")
    assert await namespace.total() == 0
    for name, documents in (("two", 2), ("one", 1), ("one", 1)):
        await namespace.test_api("POST", f"/snapshots/{name}/restore")
        assert await namespace.total() == documents
        await namespace.put_document()
    await namespace.test_api("POST", "/snapshots/one", 201)
    await namespace.test_api("POST", "/reset")
    await namespace.test_api("POST", "/snapshots/one/restore")
    assert await namespace.total() == 2
    for name in ("one", "two"):
        await namespace.test_api("DELETE", f"/snapshots/{name}", 204)
    assert await namespace.test_api("GET", "/snapshots") == []
    refused = await namespace.test_api("POST", "/snapshots/one/restore", 404)
    assert "'one'" in refused["imsx_description"]
    await namespace.test_api("POST", "/snapshots/One", 400)


async def test_requests_wait_for_snapshot(namespace: NamespaceClient) -> None:
    taking = asyncio.create_task(namespace.test_api("POST", "/snapshots/busy", 201))
    totals = await asyncio.gather(*(namespace.total() for _ in range(20)))
    await taking
    assert set(totals) == {0}
    await namespace.test_api("DELETE", "/snapshots/busy", 204)


async def test_test_mode_does_not_write_to_the_configured_database(
    namespace: NamespaceClient, testmode_url: str
) -> None:
    await namespace.test_api("POST", "/seed", body={"sample": True})
    await namespace.put_document()
    async with open_connection(testmode_url) as connection:
        assert await connection.fetchval("SELECT count(*) FROM documents") == 0
        assert await connection.fetchval("SELECT count(*) FROM signing_keys") == 0


async def test_clones_are_dropped_at_stop_or_start(postgres: str, databases: ListDatabases) -> None:
    url = await create_database(postgres, "case_test_clones")
    other = await create_database(postgres, "case_test_clones_clone_production")
    async with DatabaseCloner.open(url) as cloner:
        name = await cloner.clone(cloner.main)
        assert name in await databases()
        assert make_url(cloner.get_url(name)).database == name
    assert name not in await databases()
    killed = await create_database(postgres, "case_test_clones_clone_0123456789ab")
    async with DatabaseCloner.open(url):
        assert make_url(killed).database not in await databases()
    assert make_url(other).database in await databases()


async def test_role_without_createdb_fails(postgres: str, testmode_settings: Settings) -> None:
    url = await create_database(postgres, "case_test_no_right")
    await to_thread.run_sync(alembic_runner.migrate, url)
    connection = await asyncpg.connect(to_asyncpg_url(postgres))
    await connection.execute("DROP ROLE IF EXISTS case_test_poor")
    await connection.execute("CREATE ROLE case_test_poor LOGIN PASSWORD 'poor'")
    try:
        poor = make_url(url).set(username="case_test_poor", password="poor")
        address = poor.render_as_string(hide_password=False)
        owner = 'ALTER DATABASE "case_test_no_right" OWNER TO "case_test_poor"'
        create = 'ALTER ROLE "case_test_poor" CREATEDB'
        with pytest.raises(CommandError, match=f"run {create} and {owner}"):
            await require_clonable_database(address)
        await connection.execute(create)
        admin = await connection.fetchval("SELECT quote_ident(current_user)")
        member = f'GRANT {admin} TO "case_test_poor"'
        with pytest.raises(CommandError, match=f"run {owner} and {member} as"):
            await require_clonable_database(address)
        await connection.execute(owner)
        with pytest.raises(CommandError, match=f"run {member} as"):
            await require_clonable_database(address)
        await connection.execute(member)
        await require_clonable_database(address)
        async with DatabaseCloner.open(address) as cloner:
            clone_url = cloner.get_url(await cloner.clone(cloner.main))
            async with Database.open(clone_url, testmode_settings) as database:
                await save_baseline(database)
    finally:
        await connection.execute("DROP DATABASE case_test_no_right WITH (FORCE)")
        await connection.execute("DROP ROLE case_test_poor")
        await connection.close()


async def test_clone_is_dropped_by_ordinary_role_during_autovacuum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "SETTINGS", f"{embedded.SETTINGS} -c autovacuum_naptime=1s")
    with embedded.embedded_postgres(tmp_path / "data", fsync=False) as server:
        url = make_url(await create_database(server, "main"))
        async with open_connection(server) as admin:
            await admin.execute("CREATE ROLE poor LOGIN PASSWORD 'poor' CREATEDB")
            await admin.execute("ALTER DATABASE main OWNER TO poor")
            address = url.set(username="poor", password="poor").render_as_string(
                hide_password=False
            )
            async with DatabaseCloner.open(address) as cloner:
                clone = await cloner.clone(cloner.main)
                async with open_connection(cloner.get_url(clone)) as connection:
                    # Its vacuum takes minutes.
                    await connection.execute(
                        "CREATE TABLE slow (text text) WITH (autovacuum_vacuum_threshold=1,"
                        " autovacuum_vacuum_cost_delay=100, autovacuum_vacuum_cost_limit=1)"
                    )
                    rows = "SELECT repeat('x', 500) FROM generate_series(1, 50000)"
                    await connection.execute(f"INSERT INTO slow {rows}")
                    await connection.execute("DELETE FROM slow")
                workers = "SELECT FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"
                while not await admin.fetch(f"{workers} AND datname = $1", clone):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert not await admin.fetch("SELECT FROM pg_database WHERE datname = $1", clone)


async def test_database_in_use_fails(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = await create_database(postgres, "case_test_in_use")
    async with open_connection(url):
        with monkeypatch.context() as patch:
            patch.setattr("case_server.db.postgres.clones.DISCONNECT_TIMEOUT_SECONDS", 1)
            with pytest.raises(CommandError, match="other clients are connected"):
                await require_clonable_database(url)
    await require_clonable_database(url)


async def test_document_and_item_are_soft_deleted_and_undeleted(namespace: NamespaceClient) -> None:
    package = factories.package()
    await namespace.test_api("POST", "/seed", body=package)
    document = package["CFDocument"]["identifier"]
    item = package["CFItems"][0]["identifier"]
    assert await namespace.test_api("POST", f"/CFItems/{item}/delete") == {"changes": {"CFItem": 1}}
    await namespace.test_api("POST", f"/CFItems/{item}/delete", 404)
    deleted = await namespace.test_api("POST", f"/CFDocuments/{document}/delete")
    assert deleted == {"changes": {"CFDocument": 1, "CFItem": 1, "CFAssociation": 1}}
    assert await namespace.total() == 0
    refused = await namespace.test_api("POST", f"/CFItems/{item}/undelete", 409)
    assert "undelete document" in str(refused)
    undeleted = await namespace.test_api("POST", f"/CFDocuments/{document}/undelete")
    assert undeleted["changes"] == deleted["changes"]
    assert len(undeleted["notRestored"]) == 2
    assert await namespace.total() == 1
    undeleted = await namespace.test_api("POST", f"/CFItems/{item}/undelete")
    assert undeleted == {"changes": {"CFItem": 1}, "notRestored": []}
    await namespace.test_api("POST", "/CFItems/unheard-of/undelete", 404)
    await namespace.test_api("POST", f"/CFItems/{item}/delete")
    await namespace.test_api("POST", "/reset")
    await namespace.test_api("POST", f"/CFItems/{item}/delete")

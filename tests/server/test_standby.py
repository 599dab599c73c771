"""A server on a standby answers reads as the primary's does, and refuses writes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient, RemoteProtocolError, Response
from sqlalchemy import text
from support import factories
from support.databases import open_connection
from support.live_server import LiveServer, run_command
from support.machine_load import measure_slowdown
from support.replication import Replication, run_replicated_postgres, serve
from support.selection import mark_slow_except

from case_server.db.pool import Database
from case_server.db.replication import RECEIVER_SILENCE
from case_server.db.statement import CompiledStatement
from case_server.settings import Settings

PREFIX = "/case/1.1"
JWKS = "/.well-known/jwks.json"
PRIMARY_URL = "https://primary.example.org"
CONFLICT = "due to conflict with recovery"
"""Part of the message with which Postgres cancels a statement, or ends an idle transaction."""


@dataclass
class Pair:
    """A primary and a standby, each with a server."""

    postgres: Replication
    servers: tuple[LiveServer, LiveServer]
    primary: AsyncClient
    standby: AsyncClient


@pytest.fixture(scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """The servers. That of the standby is started first, before there is a signing key."""
    folder = tmp_path_factory.mktemp("standby")
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(run_replicated_postgres(folder))
        servers = stack.enter_context(ExitStack())
        await postgres.catch_up()
        standby, primary = (
            serve(servers, folder / f"server-{name}", server, primary_url=PRIMARY_URL)
            for name, server in (("standby", postgres.standby), ("primary", postgres.primary))
        )
        await postgres.catch_up()
        headers = {"Authorization": f"Bearer {primary.token()}"}
        clients = [
            await stack.enter_async_context(
                AsyncClient(base_url=live.base_url, headers=headers, timeout=30)
            )
            for live in (primary, standby)
        ]
        yield Pair(postgres, (primary, standby), *clients)


async def put_framework(pair: Pair, items: int = 3) -> tuple[str, list[str]]:
    """Store a framework and return the identifiers of its document and items."""
    packed = [factories.packed_item() for _ in range(items)]
    body = factories.package(CFItems=packed, CFAssociations=[])
    response = await pair.primary.post(f"{PREFIX}/CFPackages", json=body)
    assert response.status_code == 201, response.text
    await pair.postgres.catch_up()
    return body["CFDocument"]["identifier"], [item["identifier"] for item in packed]


async def wait_until_ready_is(status: int, pair: Pair, seconds: float) -> Response:
    """Return the response of the standby's /ready once it has a status; fail after ``seconds``."""
    async with asyncio.timeout(seconds):
        while True:
            response = await pair.standby.get("/ready")
            if response.status_code == status:
                return response
            await asyncio.sleep(0.1)


async def test_migrate_refuses_a_standby(pair: Pair, tmp_path: Path) -> None:
    variables = {"CASE_SERVER_DATABASE_URL": pair.postgres.standby.url}
    result = await asyncio.to_thread(run_command, "migrate", data_dir=tmp_path, **variables)
    assert result.returncode == 1
    assert "read-only (a standby" in result.stderr
    assert len(result.stderr.splitlines()) == 1


async def test_migrate_finds_the_primary_among_several_hosts(pair: Pair, tmp_path: Path) -> None:
    # The standby is named first.
    url = pair.postgres.url.replace(
        f"{pair.postgres.primary.address},{pair.postgres.standby.address}",
        f"{pair.postgres.standby.address},{pair.postgres.primary.address}",
    )
    variables = {"CASE_SERVER_DATABASE_URL": url}
    ran = await asyncio.to_thread(run_command, "migrate", data_dir=tmp_path, **variables)
    assert ran.returncode == 0, ran.stderr
    assert "the schema is current" in ran.stdout


async def test_reads_are_those_of_the_primary(pair: Pair) -> None:
    document, (item, *_) = await put_framework(pair)
    # Enough increments that a reader of the primary would compact them.
    for _ in range(3):
        await pair.postgres.primary.execute(
            "INSERT INTO revision_marks (scope) SELECT $1 FROM generate_series(1, 50)", document
        )
    await pair.postgres.catch_up()
    await asyncio.sleep(2.5)  # until there is a Last-Modified
    keys = await pair.primary.get(JWKS)
    async with asyncio.timeout(20):
        while (await pair.standby.get(JWKS)).content != keys.content:  # noqa: ASYNC110  no event
            await asyncio.sleep(0.1)
    for path in (
        *(f"{PREFIX}/CFPackages/{document}", f"{PREFIX}/CFPackages/{document}/groups"),
        *(f"{PREFIX}/CFItems/{item}", f"{PREFIX}/CFItems?search=statement", "/"),
        *(f"/ims/case/v1p1/CFItems/{item}", JWKS, f"/documents/{document}"),
    ):
        standby, primary = await pair.standby.get(path), await pair.primary.get(path)
        assert (standby.status_code, primary.status_code) == (200, 200), standby.text
        if not path.startswith("/documents"):
            assert standby.content == primary.content or path == "/"
        for name in ("ETag", "Last-Modified"):
            assert standby.headers.get(name) == primary.headers.get(name)


async def test_tokens_of_a_standby_are_accepted_everywhere(pair: Pair) -> None:
    headers = {"Authorization": f"Bearer {pair.servers[1].token()}"}
    for client in (pair.primary, pair.standby):
        response = await client.get(f"{PREFIX}/CFDocuments", headers=headers)
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"{PREFIX}/CFItems/x"),
        ("POST", f"{PREFIX}/CFPackages"),
        ("DELETE", f"{PREFIX}/CFItemAssociations/x"),
        ("PUT", "/ims/case/v1p1/CFDocuments/x"),
        ("POST", "/upload/check"),
    ],
)
async def test_writes_get_405_that_names_the_primary(pair: Pair, method: str, path: str) -> None:
    response = await pair.standby.request(method, path, json={})
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"
    assert response.headers["Location"] == PRIMARY_URL + path
    assert PRIMARY_URL in response.text


async def test_ready_says_read_only(pair: Pair) -> None:
    for client, status, write_status in (
        (pair.primary, "ready", 200),
        (pair.standby, "read-only", 503),
    ):
        response = await client.get("/ready")
        assert (response.status_code, response.json()) == (200, {"status": status})
        assert (await client.get("/ready?write")).status_code == write_status


async def test_feed_of_a_standby_misses_no_concurrent_write(pair: Pair) -> None:
    async def read(since: str = "") -> tuple[list[str], str]:
        path = f"{PREFIX}/changes?limit=5000&since={since}"
        page = (await pair.standby.get(path)).json()
        return [change["identifier"] for change in page["changes"]], page["next"]

    insert = "INSERT INTO changes (kind, identifier, operation) VALUES ('CFItem', 'slow', 'create')"
    async with open_connection(pair.postgres.primary.url) as writer, writer.transaction():
        await writer.execute(insert)
        document, _ = await put_framework(pair)  # a later transaction, committed and replayed first
        first, cursor = await read()
    await pair.postgres.catch_up()
    second, _ = await read(cursor)
    assert "slow" not in first
    assert "slow" in second
    assert document in {*first, *second}


async def test_page_of_the_primary_is_not_continued_before_it_is_replayed(pair: Pair) -> None:
    await put_framework(pair, items=5)
    await pair.postgres.standby.execute("SELECT pg_wal_replay_pause()")
    try:
        body = factories.package(CFItems=[factories.packed_item()], CFAssociations=[])
        await pair.primary.post(f"{PREFIX}/CFPackages", json=body)
        page = (await pair.primary.get(f"{PREFIX}/changes?limit=1")).json()
        path = f"{PREFIX}/changes?since={page['next']}"
        assert (await pair.standby.get(path)).status_code == 503
    finally:
        await pair.postgres.standby.execute("SELECT pg_wal_replay_resume()")
    await pair.postgres.catch_up()
    assert (await pair.standby.get(path)).status_code == 200


async def test_read_cancelled_by_a_recovery_conflict_is_retried(pair: Pair) -> None:
    postgres = pair.postgres
    await postgres.primary.execute("CREATE TABLE removed AS SELECT generate_series(1, 1000) AS n")
    await postgres.catch_up()
    await postgres.standby.set("max_standby_streaming_delay", "0")
    settings = Settings(database_url=postgres.standby.url)
    # It runs until the conflict, and is quick once the rows are removed.
    pause = "pg_sleep(CASE WHEN count(*) > 10 THEN 60 ELSE 0 END)"
    slow = CompiledStatement(text(f"SELECT count(*) AS n, {pause}::text FROM removed"))
    sleeping = "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    conflicts = postgres.standby.count_in_log(CONFLICT)
    try:
        async with Database.open(postgres.standby.url, settings) as database:
            reading = asyncio.create_task(database.fetch_one(slow))
            await postgres.standby.wait_for(sleeping)
            await postgres.primary.execute("DELETE FROM removed WHERE n > 10")
            await postgres.primary.execute("VACUUM removed")
            row = await reading
        assert row is not None
        assert row["n"] == 10
        assert postgres.standby.count_in_log(CONFLICT) > conflicts
    finally:
        await postgres.standby.set("max_standby_streaming_delay", "30s")
        await postgres.primary.execute("DROP TABLE removed")


async def test_package_stream_cut_by_a_recovery_conflict_ends_incomplete(pair: Pair) -> None:
    """The standby replays locks of the primary: one stops the stream, the other cancels it."""
    document, _ = await put_framework(pair, items=500)
    path = f"{PREFIX}/CFPackages/{document}"
    async with replay_locks(pair.postgres) as lock:
        await lock("associations")
        headers = {"Accept-Encoding": "identity"}
        async with pair.standby.stream("GET", path, headers=headers) as response:
            assert response.status_code == 200
            assert "Content-Length" not in response.headers
            chunks = response.aiter_raw()
            received = [await anext(chunks)]
            await lock("items")
            with pytest.raises(RemoteProtocolError, match="incomplete chunked read"):
                received += [chunk async for chunk in chunks]
        with pytest.raises(json.JSONDecodeError):
            json.loads(b"".join(received))
    assert len((await pair.standby.get(path)).json()["CFItems"]) == 500


async def test_package_cancelled_before_its_first_byte_is_retried(pair: Pair) -> None:
    """The tree is sent once all of it is read, so the conflict comes before."""
    document, _ = await put_framework(pair)
    path = f"{PREFIX}/CFPackages/{document}/groups"
    async with replay_locks(pair.postgres) as lock:
        await lock("associations")
        reading = asyncio.create_task(pair.standby.get(path))
        waiting = "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted"
        await pair.postgres.standby.wait_for(waiting)
        await lock("items")
    response = await reading
    assert response.status_code == 200, response.text
    assert response.json()["structuredContent"]


@asynccontextmanager
async def replay_locks(postgres: Replication) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """Yield a function that locks a table on the primary, which cancels its readers on the standby.

    It returns once the standby has locked the table, too. The locks end with the block.
    """
    conflicts = postgres.standby.count_in_log(CONFLICT)
    async with open_connection(postgres.primary.url) as owner, owner.transaction():

        async def lock(table: str) -> None:
            await owner.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            # The lock is sent with the next commit.
            await postgres.primary.execute("SELECT pg_logical_emit_message(true, 'test', '')")
            await postgres.catch_up()

        await postgres.standby.set("max_standby_streaming_delay", "0")
        yield lock
        assert postgres.standby.count_in_log(CONFLICT) > conflicts
        await postgres.standby.set("max_standby_streaming_delay", "30s")
        await postgres.catch_up()


async def test_standby_without_its_primary_is_not_ready(pair: Pair) -> None:
    await pair.postgres.cut_off()
    response = await wait_until_ready_is(503, pair, 6)
    assert "does not receive" in response.text
    assert (await pair.standby.get(f"{PREFIX}/CFDocuments")).status_code == 200
    await pair.postgres.reconnect()
    await wait_until_ready_is(200, pair, 20)


async def test_standby_of_a_silent_primary_is_not_ready(pair: Pair) -> None:
    """The connection stays open, as it does when a network is cut or a machine freezes."""
    # The standby is not ready after four seconds, and gives up the connection after six.
    await pair.postgres.standby.set("wal_receiver_timeout", "6s")
    with pair.postgres.freeze_replication():
        response = await wait_until_ready_is(503, pair, 10)
        assert "does not receive" in response.text
        receivers = await pair.postgres.standby.execute("SELECT status FROM pg_stat_wal_receiver")
        assert [status for (status,) in receivers] == ["streaming"]
    await wait_until_ready_is(200, pair, 20)
    await pair.postgres.standby.execute("ALTER SYSTEM RESET wal_receiver_timeout")


@pytest.mark.parametrize("receiver_timeout", mark_slow_except(["2s"], ["2s", "6s"]))
async def test_standby_of_an_idle_primary_is_ready(pair: Pair, receiver_timeout: str) -> None:
    """Between two messages of an idle primary pass up to three seconds with a timeout of six."""
    await pair.postgres.standby.set("wal_receiver_timeout", receiver_timeout)
    await put_framework(pair)  # so that the last message is a new one
    for _ in range(30):
        response = await pair.standby.get("/ready")
        assert response.status_code == 200, response.text
        await asyncio.sleep(0.1)
    await pair.postgres.standby.execute("ALTER SYSTEM RESET wal_receiver_timeout")


async def test_role_without_privilege_sees_only_that_there_is_a_receiver(pair: Pair) -> None:
    await pair.postgres.primary.execute("CREATE ROLE unprivileged")
    await pair.postgres.catch_up()
    async with open_connection(pair.postgres.standby.url) as connection:
        await connection.execute("SET ROLE unprivileged")
        assert await connection.fetchval(f"SELECT {RECEIVER_SILENCE}") == 0


async def put_until(status: int, client: AsyncClient, document: Any) -> Response:
    """PUT a document until the response has a status, within two seconds of an idle machine."""
    path = f"{PREFIX}/CFDocuments/{document['identifier']}"
    slowdown, start = measure_slowdown(), time.monotonic()
    async with asyncio.timeout(60):
        while (response := await client.put(path, json=document)).status_code != status:  # noqa: ASYNC110  no event
            await asyncio.sleep(0.1)
    waited = time.monotonic() - start
    assert waited < 2 * max(slowdown, measure_slowdown())
    return response


async def test_promotion_takes_effect_within_two_seconds(pair: Pair) -> None:
    """The tests after this one see a promoted standby, and a primary that is stopped."""
    document: Any = factories.document()
    path = f"{PREFIX}/CFDocuments/{document['identifier']}"
    cursor = (await pair.standby.get(f"{PREFIX}/changes")).json()["next"]
    assert (await pair.standby.put(path, json=document)).status_code == 405
    await pair.postgres.stop_primary()
    await pair.postgres.standby.execute("SELECT pg_promote()")
    await put_until(201, pair.standby, document)
    assert (await pair.standby.get("/ready?write")).json() == {"status": "ready"}
    recorded = "SELECT timeline FROM feed_history"
    assert (await pair.postgres.standby.execute(recorded))[0][0] == "00000002"
    assert (await pair.standby.get(f"{PREFIX}/changes?since={cursor}")).status_code == 410


async def test_demotion_takes_effect_within_two_seconds(pair: Pair) -> None:
    document: Any = factories.document()
    path = f"{PREFIX}/CFDocuments/{document['identifier']}"
    assert (await pair.primary.get("/ready")).status_code == 503  # it was a primary until now
    await pair.postgres.demote_primary()
    assert (await pair.primary.put(path, json=document)).status_code in (405, 503)
    response = await put_until(405, pair.primary, document)
    assert response.headers["Allow"] == "GET, HEAD"
    assert (await pair.primary.get("/ready")).json() == {"status": "read-only"}
    assert (await pair.primary.get("/ready?write")).status_code == 503
    assert (await pair.standby.put(path, json=document)).status_code == 201
    assert pair.servers[0].process.poll() is None

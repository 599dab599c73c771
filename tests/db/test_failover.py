"""After a failover that lost a write, all responses agree, and none repeats the lost write."""

import asyncio
from pathlib import Path
from typing import Any

from httpx import AsyncClient, Limits, Response
from support import factories
from support.live_server import run_live_server
from support.replication import run_replicated_postgres

PREFIX = "/case/1.1"
REQUESTS = 6
"""Number of times each response is read, over new connections, to reach both workers."""


async def get(base_url: str, path: str, **headers: str) -> list[Response]:
    """Return responses to the same request over several connections."""
    limits = Limits(max_keepalive_connections=0)
    async with AsyncClient(base_url=base_url, timeout=30, limits=limits) as http:
        return [await http.get(PREFIX + path, headers=headers) for _ in range(REQUESTS)]


async def put(http: AsyncClient, path: str, body: Any) -> None:
    """Send a PUT, again while the database fails over."""
    async with asyncio.timeout(20):
        while True:
            response = await http.put(PREFIX + path, json=body)
            if response.status_code != 503:
                break
            await asyncio.sleep(0.1)
    assert response.status_code == 201, response.text


def statements_of(document: str, item: str) -> dict[str, Any]:
    """Return the paths that show the item, and how to read its statement from each."""
    return {
        f"/CFItems/{item}": lambda body: body["fullStatement"],
        f"/CFPackages/{document}": lambda body: body["CFItems"][0]["fullStatement"],
        f"/CFPackages/{document}/groups": str,
        "/CFItems?fields=fullStatement": lambda body: body["CFItems"][0]["fullStatement"],
    }


async def test_write_lost_in_a_failover_is_in_no_response(tmp_path: Path) -> None:
    document = factories.document()
    stored = factories.item(document["identifier"], fullStatement="KEPT")
    identifier = stored["identifier"]
    paths = statements_of(document["identifier"], identifier)
    package = f"/CFPackages/{document['identifier']}"
    async with run_replicated_postgres(tmp_path) as postgres:
        settings = {"CASE_SERVER_DATABASE_URL": postgres.url}
        with run_live_server(tmp_path / "server", "--workers", "2", settings=settings) as live:
            authorization = {"Authorization": f"Bearer {live.token()}"}
            async with AsyncClient(
                base_url=live.base_url, headers=authorization, timeout=30
            ) as http:
                await put(http, f"/CFDocuments/{document['identifier']}", document)
                await put(http, f"/CFItems/{identifier}", stored)
                await postgres.catch_up()
                early_cursor = (await http.get(f"{PREFIX}/changes")).json()["next"]
                await postgres.cut_off()
                lost_item = {**stored, "fullStatement": "LOST"}
                await put(http, f"/CFItems/{identifier}", lost_item)
                for path in paths:
                    await get(live.base_url, path, **authorization)
                await asyncio.sleep(2.5)  # until there is a Last-Modified
                old = await http.get(PREFIX + package)
                assert "LOST" in old.text
                late_cursor = (
                    await http.get(f"{PREFIX}/changes", params={"since": early_cursor})
                ).json()["next"]

                await postgres.fail_over()
                new = {**stored, "fullStatement": "NEW"}
                await put(http, f"/CFItems/{identifier}", new)
                await expect(live.base_url, paths, "NEW", old, authorization)
                for cursor in (early_cursor, late_cursor):
                    responses = await get(
                        live.base_url, f"/changes?since={cursor}", **authorization
                    )
                    assert {response.status_code for response in responses} == {410}


async def test_requests_after_failover_use_no_connection_to_frozen_primary(tmp_path: Path) -> None:
    document = factories.document()
    items = [factories.item(document["identifier"]) for _ in range(8)]

    async def put_item(http: AsyncClient, item: Any) -> None:
        await put(http, f"/CFItems/{item['identifier']}", item)

    async with run_replicated_postgres(tmp_path) as postgres:
        settings = {"CASE_SERVER_DATABASE_URL": postgres.url}
        with run_live_server(tmp_path / "server", settings=settings) as live:
            authorization = {"Authorization": f"Bearer {live.token()}"}
            async with AsyncClient(
                base_url=live.base_url, headers=authorization, timeout=5
            ) as http:
                await put(http, f"/CFDocuments/{document['identifier']}", document)
                # As many connections as there are items.
                await asyncio.gather(*(put_item(http, item) for item in items))
                await postgres.catch_up()
                with postgres.primary.freeze():
                    assert (await http.get("/ready")).status_code == 503
                    await postgres.standby.execute("SELECT pg_promote()")
                    await asyncio.gather(*(put_item(http, item) for item in items))
                    response = await http.get(f"{PREFIX}/CFPackages/{document['identifier']}")
                    assert len(response.json()["CFItems"]) == len(items)


async def expect(
    base_url: str,
    paths: dict[str, Any],
    statement: str,
    old: Response,
    authorization: dict[str, str],
) -> None:
    """Check that every path shows a statement, and that no validator of ``old`` matches."""
    for path, extract in paths.items():
        responses = await get(base_url, path, **authorization)
        assert all(response.status_code == 200 for response in responses)
        statements = {extract(response.json()) for response in responses}
        assert len(statements) == 1
        if not path.endswith("/groups"):
            assert statements == {statement}
    package = next(path for path in paths if path.startswith("/CFPackages"))
    for name, value in (
        ("If-None-Match", old.headers["ETag"]),
        ("If-Modified-Since", old.headers["Last-Modified"]),
    ):
        responses = await get(base_url, package, **authorization, **{name: value})
        assert {response.status_code for response in responses} == {200}, name

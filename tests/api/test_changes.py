"""The feed of changes: nothing is missed, nothing invented, whoever writes at the same time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from support import factories
from support.calls import Api
from support.databases import dsn

from case_server.case.resources import DOCUMENTS, ITEMS, RESOURCES
from case_server.db.pool import Database
from case_server.db.read.feed import parse_cursor, reset_history, reset_history_if_restored
from case_server.db.write import soft_delete
from case_server.exceptions import Conflict, NotFound
from case_server.settings import Settings

Execute = Callable[..., Awaitable[Any]]


async def read_all(api: Api, since: str = "", **params: Any) -> tuple[list[Any], str]:
    """Every change there is after a cursor, and the cursor to go on with."""
    found, more = [], True
    while more:
        page = await api.get("/changes", since=since, **params)
        found += page["changes"]
        since, more = page["next"], page["more"]
    return found, since


def told(changes: list[Any]) -> list[tuple[str, str, str]]:
    return [(each["operation"], each["kind"], each["identifier"]) for each in changes]


async def test_what_was_written_is_told_in_order(api: Api) -> None:
    document = await api.framework()
    one, two = await api.new_item(document), await api.new_item(document)
    relation = await api.new_association(one, two)
    changes, since = await read_all(api)
    assert told(changes) == [
        ("created", "CFDocument", document["identifier"]),
        ("created", "CFItem", one["identifier"]),
        ("created", "CFItem", two["identifier"]),
        ("created", "CFAssociation", relation["identifier"]),
    ]
    assert {each["documentIdentifier"] for each in changes} == {document["identifier"]}
    assert await read_all(api, since) == ([], since) or (await read_all(api, since))[0] == []
    await api.put("/CFItems", {"item": {**one, "fullStatement": "another"}})
    await api.put("/CFItems", {"item": {**one, "fullStatement": "another"}})
    path = f"/CFItemAssociations/{relation['identifier']}"
    await api.send("DELETE", path, 204)
    assert told((await read_all(api, since))[0]) == [
        ("updated", "CFItem", one["identifier"]),
        ("deleted", "CFAssociation", relation["identifier"]),
    ]


async def test_entities_are_at_their_uri(api: Api) -> None:
    await api.upload(
        CFItems=[factories.packed_item(CFItemTypeURI=factories.link())], CFAssociations=[]
    )
    changes, _ = await read_all(api)
    assert {each["kind"] for each in changes} == {"CFDocument", "CFItem", "CFItemType"}
    for each in changes:
        assert each["uri"].startswith(f"http://case.test{api.profile.prefix}/")
        await api.get(each["uri"].removeprefix(f"http://case.test{api.profile.prefix}"))


async def test_pages_hold_everything_once(api: Api) -> None:
    await api.upload(CFItems=[factories.packed_item() for _ in range(23)], CFAssociations=[])
    whole, _ = await read_all(api)
    pieces, _ = await read_all(api, limit=5)
    assert len(whole) == 24
    assert pieces == whole


async def test_what_comes_back_is_created(api: Api) -> None:
    body = await api.upload(CFItems=[factories.packed_item()], CFAssociations=[])
    document, item = body["CFDocument"]["identifier"], body["CFItems"][0]["identifier"]
    _, since = await read_all(api)
    await api.send("PUT", f"/CFPackages/{document}", 200, {**body, "CFItems": []})
    changes, since = await read_all(api, since)
    assert told(changes) == [("deleted", "CFItem", item)]
    await api.send("PUT", f"/CFPackages/{document}", 200, body)
    changes, _ = await read_all(api, since)
    assert told(changes) == [("created", "CFItem", item)]


async def test_associations_go_and_come_with_their_nodes(
    api: Api, database_url: str, settings: Settings
) -> None:
    here, there = await api.framework(), await api.framework()
    one, two = await api.new_item(here), await api.new_item(there)
    relation = await api.new_association(one, two)
    _, since = await read_all(api)
    async with Database.open(database_url, settings) as database:
        await soft_delete.delete(database, ITEMS, two["identifier"])
        changes, since = await read_all(api, since)
        assert told(changes) == [
            ("deleted", "CFItem", two["identifier"]),
            ("deleted", "CFAssociation", relation["identifier"]),
        ]
        await soft_delete.undelete(database, ITEMS, two["identifier"])
    changes, since = await read_all(api, since)
    assert told(changes) == [
        ("created", "CFItem", two["identifier"]),
        ("updated", "CFAssociation", relation["identifier"]),
    ]


@pytest.mark.parametrize("since", ["x", "!!", "a" * 400, "MXwyfDN8NA", "MDow"])
async def test_what_is_no_cursor(api: Api, since: str) -> None:
    answer = await api.get("/changes", 400, since=since)
    assert "since" in answer["imsx_description"]


async def test_a_forged_snapshot_is_no_cursor(api: Api) -> None:
    await api.framework()
    place = parse_cursor((await api.get("/changes"))["next"])
    for snapshot in ("9:3:", "99999999999999999999999:99999999999999999999999:", "5:9:9,9"):
        await api.get("/changes", 400, since=place._replace(since=snapshot).encode())


async def test_a_cursor_of_another_history(api: Api, database_url: str) -> None:
    await api.framework()
    before, since = await read_all(api)
    connection = await asyncpg.connect(dsn(database_url))
    await reset_history_if_restored(connection)
    assert (await read_all(api, since))[0] == []
    await reset_history(connection)
    answer = await api.get("/changes", 410, since=since)
    assert "restored" in answer["imsx_description"]
    assert (await read_all(api))[0] == before
    # Of another Postgres, whose transactions had higher numbers than this one has reached.
    await connection.execute("UPDATE changes SET transaction_id = 1::bigint << 40")
    _, since = await read_all(api)
    await reset_history_if_restored(connection)
    await api.get("/changes", 410, since=since)
    assert (await read_all(api))[0] == before
    await connection.close()


async def test_a_writer_that_commits_late_is_not_missed(
    api: Api, database_url: str, execute: Execute
) -> None:
    """It drew its numbers before those that were read already."""
    document = await api.framework()
    late = await asyncpg.connect(dsn(database_url))
    writing = late.transaction()
    await writing.start()
    insert = "INSERT INTO changes (kind, identifier, operation) VALUES ('CFItem', $1, 'create')"
    await late.execute(insert, "late")
    await execute(insert, "early")
    changes, since = await read_all(api)
    assert [each["identifier"] for each in changes] == [document["identifier"], "early"]
    await writing.commit()
    changes, _ = await read_all(api, since)
    assert [each["identifier"] for each in changes] == ["late"]
    await late.close()


class Follower:
    """Keeps a copy of a server by polling its feed."""

    def __init__(self, api: Api) -> None:
        self.api, self.since = api, ""
        self.copy: dict[str, dict[str, Any]] = {resource.name: {} for resource in RESOURCES}

    async def poll(self) -> None:
        changes, self.since = await read_all(self.api, self.since, limit=50)
        for change in changes:
            path = change["uri"].removeprefix("http://case.test")
            answer = await self.api.client.get(path)
            assert answer.status_code in {200, 404}
            kept = self.copy[change["kind"]]
            kept.pop(change["identifier"], None)
            if answer.status_code == 200:
                kept[change["identifier"]] = answer.json()


async def test_a_follower_has_what_the_server_has(
    api: Api, execute: Execute, database_url: str, settings: Settings
) -> None:
    documents = [await api.framework() for _ in range(4)]
    items = [
        await api.new_item(documents[number % 4], CFItemTypeURI=factories.link())
        for number in range(16)
    ]
    follower, written = Follower(api), asyncio.Event()

    async def follow() -> None:
        while not written.is_set():
            await follower.poll()
        await follower.poll()

    async with Database.open(database_url, settings) as database:

        async def write(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(25):
                await _something(api, database, chance, documents, items)

        following = asyncio.create_task(follow())
        await asyncio.gather(*(write(seed) for seed in range(8)))
        written.set()
        await following
    await _equal(api, execute, follower)


async def _something(
    api: Api,
    database: Database,
    chance: random.Random,
    documents: list[factories.Body],
    items: list[factories.Body],
) -> None:
    """One write of any kind; many of them meet others."""
    prefix, send = api.profile.prefix, api.client.request
    one, two = chance.sample(items, 2)
    document = chance.choice(documents)
    match chance.randrange(7):
        case 0 | 1:
            body = {**one, "fullStatement": f"statement {chance.random()}"}
            body["CFDocumentURI"] = factories.link(document["identifier"])
            answer = await send("PUT", f"{prefix}/CFItems/{one['identifier']}", json=body)
        case 2 | 3:
            body = factories.association(
                one["identifier"], two["identifier"], f"of-{one['identifier']}"
            )
            answer = await send(
                "PUT", f"{prefix}/CFItemAssociations/{body['identifier']}", json=body
            )
        case 4:
            path = f"{prefix}/CFItemAssociations/of-{one['identifier']}"
            answer = await send("DELETE", path)
        case 5:
            mine = {**factories.packed_item(), "identifier": f"own-of-{document['identifier']}"}
            body = factories.package(CFItems=[mine] * chance.randrange(2), CFAssociations=[])
            body["CFDocument"] = {**body["CFDocument"], "identifier": document["identifier"]}
            answer = await send("PUT", f"{prefix}/CFPackages/{document['identifier']}", json=body)
        case _:
            resource, entity = chance.choice([(ITEMS, one), (DOCUMENTS, document)])
            with suppress(NotFound, Conflict):
                await soft_delete.delete(database, resource, entity["identifier"])
            with suppress(NotFound, Conflict):
                await soft_delete.undelete(database, resource, entity["identifier"])
            return
    # Who meets too many others is told to come again, and has written nothing.
    assert answer.status_code in {200, 201, 204, 404, 409, 422, 503}, answer.text


async def _equal(api: Api, execute: Execute, follower: Follower) -> None:
    """Every entity of every kind is in the copy as it is answered, and no other."""
    for resource in RESOURCES:
        kept = follower.copy[resource.name]
        stored = await execute(f"SELECT identifier FROM {resource.table}")
        for row in stored:
            identifier = row["identifier"]
            path = f"{api.profile.prefix}/{resource.plural}/{identifier}"
            answer = await api.client.get(path)
            now = answer.json() if answer.status_code == 200 else None
            assert kept.pop(identifier, None) == now, (resource.name, identifier)
        assert not kept
    told = await execute("SELECT kind, operation FROM changes")
    deleted = {row["kind"] for row in told if row["operation"] == "delete"}
    assert deleted == {"CFDocument", "CFItem", "CFAssociation"}

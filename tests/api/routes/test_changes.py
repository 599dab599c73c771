"""Change feed: complete, in order and without duplicates, also with concurrent writers."""

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest
from support import factories
from support.calls import Api
from support.databases import Execute, open_connection

from case_server.case.resources import DOCUMENTS, ITEMS, RESOURCES
from case_server.db.pool import Database
from case_server.db.read.feed import parse_cursor, reset_change_feed, reset_change_feed_if_restored
from case_server.db.write import soft_delete
from case_server.exceptions import Conflict, NotFound
from case_server.settings import Settings


async def read_all(api: Api, cursor: str = "", **params: Any) -> tuple[list[Any], str]:
    """Return all changes after a cursor, and the next cursor."""
    changes, has_more = [], True
    while has_more:
        page = await api.get("/changes", since=cursor, **params)
        changes += page["changes"]
        cursor, has_more = page["next"], page["more"]
    return changes, cursor


def summarize(changes: list[Any]) -> list[tuple[str, str, str]]:
    return [(each["operation"], each["kind"], each["identifier"]) for each in changes]


async def test_writes_are_listed_in_order(api: Api) -> None:
    document, origin, destination = await api.create_two_items()
    relation = await api.create_association(origin, destination)
    changes, cursor = await read_all(api)
    assert summarize(changes) == [
        ("created", "CFDocument", document["identifier"]),
        ("created", "CFItem", origin["identifier"]),
        ("created", "CFItem", destination["identifier"]),
        ("created", "CFAssociation", relation["identifier"]),
    ]
    assert {each["documentIdentifier"] for each in changes} == {document["identifier"]}
    assert (await read_all(api, cursor))[0] == []
    await api.put("/CFItems", {"item": {**origin, "fullStatement": "another"}})
    await api.put("/CFItems", {"item": {**origin, "fullStatement": "another"}})
    await api.send("DELETE", f"/CFItemAssociations/{relation['identifier']}", 204)
    assert summarize((await read_all(api, cursor))[0]) == [
        ("updated", "CFItem", origin["identifier"]),
        ("deleted", "CFAssociation", relation["identifier"]),
    ]


async def test_uri_of_change_returns_the_entity(api: Api) -> None:
    await api.upload_package(
        CFItems=[factories.packed_item(CFItemTypeURI=factories.link())], CFAssociations=[]
    )
    changes, _ = await read_all(api)
    assert {each["kind"] for each in changes} == {"CFDocument", "CFItem", "CFItemType"}
    for each in changes:
        assert each["uri"].startswith(f"http://case.test{api.profile.prefix}/")
        await api.get(each["uri"].removeprefix(f"http://case.test{api.profile.prefix}"))


async def test_pages_list_every_change_once(api: Api) -> None:
    items = [factories.packed_item() for _ in range(23)]
    await api.upload_package(CFItems=items, CFAssociations=[])
    all_changes, _ = await read_all(api)
    pieces, _ = await read_all(api, limit=5)
    assert len(all_changes) == 24
    assert pieces == all_changes


async def test_undeleted_item_is_listed_as_created(api: Api) -> None:
    body = await api.upload_package(CFItems=[factories.packed_item()], CFAssociations=[])
    document, item = body["CFDocument"]["identifier"], body["CFItems"][0]["identifier"]
    _, cursor = await read_all(api)
    await api.send("PUT", f"/CFPackages/{document}", 200, {**body, "CFItems": []})
    changes, cursor = await read_all(api, cursor)
    assert summarize(changes) == [("deleted", "CFItem", item)]
    await api.send("PUT", f"/CFPackages/{document}", 200, body)
    changes, _ = await read_all(api, cursor)
    assert summarize(changes) == [("created", "CFItem", item)]


async def test_associations_are_deleted_and_restored_with_their_nodes(
    api: Api, database_url: str, settings: Settings
) -> None:
    first_document, second_document = await api.create_document(), await api.create_document()
    origin, destination = (
        await api.create_item(first_document),
        await api.create_item(second_document),
    )
    relation = await api.create_association(origin, destination)
    _, cursor = await read_all(api)
    async with Database.open(database_url, settings) as database:
        await soft_delete.delete_entity(database, ITEMS, destination["identifier"])
        changes, cursor = await read_all(api, cursor)
        assert summarize(changes) == [
            ("deleted", "CFItem", destination["identifier"]),
            ("deleted", "CFAssociation", relation["identifier"]),
        ]
        await soft_delete.undelete_entity(database, ITEMS, destination["identifier"])
    changes, cursor = await read_all(api, cursor)
    assert summarize(changes) == [
        ("created", "CFItem", destination["identifier"]),
        ("updated", "CFAssociation", relation["identifier"]),
    ]


@pytest.mark.parametrize("cursor", ["x", "!!", "a" * 400, "MXwyfDN8NA", "MDow"])
async def test_invalid_cursor_returns_400(api: Api, cursor: str) -> None:
    response = await api.get("/changes", 400, since=cursor)
    assert "since" in response["imsx_description"]


async def test_cursor_with_invalid_snapshot_returns_400(api: Api) -> None:
    await api.create_document()
    cursor = parse_cursor((await api.get("/changes"))["next"])
    for snapshot in ("9:3:", "99999999999999999999999:99999999999999999999999:", "5:9:9,9"):
        await api.get("/changes", 400, since=cursor._replace(since=snapshot).encode())


async def test_cursor_of_another_history_returns_410(api: Api, database_url: str) -> None:
    await api.create_document()
    before, cursor = await read_all(api)
    async with open_connection(database_url) as connection:
        await reset_change_feed_if_restored(connection)
        assert (await read_all(api, cursor))[0] == []
        await reset_change_feed(connection)
        response = await api.get("/changes", 410, since=cursor)
        assert "restored" in response["imsx_description"]
        assert (await read_all(api))[0] == before
        # Changes of another Postgres may have higher transaction IDs than this one has reached.
        await connection.execute("UPDATE changes SET transaction_id = 1::bigint << 40")
        _, cursor = await read_all(api)
        await reset_change_feed_if_restored(connection)
        await api.get("/changes", 410, since=cursor)
        assert (await read_all(api))[0] == before


async def test_change_committed_after_later_changes_is_listed(
    api: Api, database_url: str, execute: Execute
) -> None:
    """A transaction may take its change numbers before changes that readers see first."""
    document = await api.create_document()
    insert = "INSERT INTO changes (kind, identifier, operation) VALUES ('CFItem', $1, 'create')"
    async with open_connection(database_url) as late_writer, late_writer.transaction():
        await late_writer.execute(insert, "late")
        await execute(insert, "early")
        changes, cursor = await read_all(api)
        assert [each["identifier"] for each in changes] == [document["identifier"], "early"]
    changes, _ = await read_all(api, cursor)
    assert [each["identifier"] for each in changes] == ["late"]


class FeedReplica:
    """A copy of the server's data that is kept up to date with the change feed."""

    def __init__(self, api: Api) -> None:
        self.api, self.since = api, ""
        self.entities: dict[str, dict[str, Any]] = {resource.name: {} for resource in RESOURCES}

    async def poll(self) -> None:
        changes, self.since = await read_all(self.api, self.since, limit=50)
        for change in changes:
            path = change["uri"].removeprefix("http://case.test")
            response = await self.api.client.get(path)
            assert response.status_code in {200, 404}
            entities = self.entities[change["kind"]]
            entities.pop(change["identifier"], None)
            if response.status_code == 200:
                entities[change["identifier"]] = response.json()


async def test_replica_equals_server_after_concurrent_writes(
    api: Api, execute: Execute, database_url: str, settings: Settings
) -> None:
    documents = [await api.create_document() for _ in range(4)]
    items = [
        await api.create_item(documents[number % 4], CFItemTypeURI=factories.link())
        for number in range(16)
    ]
    replica, done_event = FeedReplica(api), asyncio.Event()

    async def follow() -> None:
        while not done_event.is_set():
            await replica.poll()
        await replica.poll()

    async with Database.open(database_url, settings) as database:

        async def write(seed: int) -> None:
            generator = random.Random(seed)
            for _ in range(25):
                await _write_randomly(api, database, generator, documents, items)

        following = asyncio.create_task(follow())
        await asyncio.gather(*(write(seed) for seed in range(8)))
        done_event.set()
        await following
    await _assert_equal(api, execute, replica)


async def _write_randomly(
    api: Api,
    database: Database,
    generator: random.Random,
    documents: list[factories.Body],
    items: list[factories.Body],
) -> None:
    """Make one random write; many of them conflict with concurrent ones."""
    prefix, send = api.profile.prefix, api.client.request
    origin, destination = generator.sample(items, 2)
    document = generator.choice(documents)
    match generator.randrange(7):
        case 0 | 1:
            body = {**origin, "fullStatement": f"statement {generator.random()}"}
            body["CFDocumentURI"] = factories.link(document["identifier"])
            response = await send("PUT", f"{prefix}/CFItems/{origin['identifier']}", json=body)
        case 2 | 3:
            identifier = f"of-{origin['identifier']}"
            body = factories.association(
                origin["identifier"], destination["identifier"], identifier
            )
            response = await send("PUT", f"{prefix}/CFItemAssociations/{identifier}", json=body)
        case 4:
            response = await send(
                "DELETE", f"{prefix}/CFItemAssociations/of-{origin['identifier']}"
            )
        case 5:
            own_item = {**factories.packed_item(), "identifier": f"own-of-{document['identifier']}"}
            body = factories.package(CFItems=[own_item] * generator.randrange(2), CFAssociations=[])
            body["CFDocument"] = {**body["CFDocument"], "identifier": document["identifier"]}
            response = await send("PUT", f"{prefix}/CFPackages/{document['identifier']}", json=body)
        case _:
            resource, entity = generator.choice([(ITEMS, origin), (DOCUMENTS, document)])
            with suppress(NotFound, Conflict):
                await soft_delete.delete_entity(database, resource, entity["identifier"])
            with suppress(NotFound, Conflict):
                await soft_delete.undelete_entity(database, resource, entity["identifier"])
            return
    # A write that met too many lock conflicts returns 503 and changes nothing.
    assert response.status_code in {200, 201, 204, 404, 409, 422, 503}, response.text


async def _assert_equal(api: Api, execute: Execute, replica: FeedReplica) -> None:
    """Assert that the replica has exactly the entities that the server returns."""
    for resource in RESOURCES:
        entities = replica.entities[resource.name]
        stored = await execute(f"SELECT identifier FROM {resource.table}")
        for row in stored:
            identifier = row["identifier"]
            path = f"{api.profile.prefix}/{resource.collection}/{identifier}"
            response = await api.client.get(path)
            current = response.json() if response.status_code == 200 else None
            assert entities.pop(identifier, None) == current, (resource.name, identifier)
        assert not entities
    rows = await execute("SELECT kind, operation FROM changes")
    deleted = {row["kind"] for row in rows if row["operation"] == "delete"}
    assert deleted == {"CFDocument", "CFItem", "CFAssociation"}

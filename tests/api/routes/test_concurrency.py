"""Concurrent writes: one succeeds, conflicting ones get 409, and none is half-done."""

import asyncio
from collections import Counter
from typing import Any

from support import factories
from support.calls import Api
from support.databases import Execute


async def send_concurrently(api: Api, *requests: tuple[str, str, Any]) -> Counter[int]:
    """Send requests concurrently and return how many got each status."""
    prefix = api.profile.prefix
    calls = (
        api.client.request(method, prefix + path, json=body) for method, path, body in requests
    )
    return Counter(response.status_code for response in await asyncio.gather(*calls))


async def test_concurrent_puts_of_one_association_store_it_once(api: Api, execute: Execute) -> None:
    _, child, parent = await api.create_two_items()
    for association_type in ("isChildOf", "precedes", "exemplar"):
        bodies = [
            factories.association(
                child["identifier"], parent["identifier"], associationType=association_type
            )
            for _ in range(6)
        ]
        paths = (f"/CFItemAssociations/{body['identifier']}" for body in bodies)
        statuses = await send_concurrently(
            api, *(("PUT", path, body) for path, body in zip(paths, bodies, strict=True))
        )
        assert statuses == {201: 1, 409: 5}
    assert len(await execute("SELECT 1 FROM associations")) == 3


async def test_association_is_deleted_during_other_writes_of_it(api: Api) -> None:
    _, child, parent = await api.create_two_items()
    for _ in range(5):
        body = await api.create_association(child, parent)
        path = f"/CFItemAssociations/{body['identifier']}"
        bodies = [{**body, "sequenceNumber": number} for number in range(4)]
        statuses = await send_concurrently(
            api, *(("PUT", path, each) for each in bodies), ("DELETE", path, None)
        )
        assert statuses == {201: 4, 204: 1}
        await api.put("/CFItemAssociations", body)
        statuses = await send_concurrently(api, *([("DELETE", path, None)] * 5))
        assert statuses == {204: 1, 404: 4}


async def test_concurrent_puts_of_documents_with_one_package_store_one(api: Api) -> None:
    for _ in range(3):
        link = factories.link()
        bodies = [factories.document(CFPackageURI=link) for _ in range(6)]
        statuses = await send_concurrently(
            api, *(("PUT", f"/CFDocuments/{body['identifier']}", body) for body in bodies)
        )
        assert statuses == {201: 1, 409: 5}


async def test_concurrent_uploads_of_one_item_store_it_once(api: Api, execute: Execute) -> None:
    for _ in range(3):
        item = factories.packed_item()
        bodies = [factories.package(CFItems=[item], CFAssociations=[]) for _ in range(5)]
        statuses = await send_concurrently(api, *(("POST", "/CFPackages", body) for body in bodies))
        assert statuses == {201: 1, 409: 4}
    packages = await execute("SELECT 1 FROM documents")
    assert len(packages) == len(await execute("SELECT 1 FROM items")) == 3


async def test_links_are_those_of_the_last_put(api: Api) -> None:
    document = await api.create_document()
    body = await api.create_item(document)
    for _ in range(4):
        bodies = [{**body, "subjectURI": [factories.link()]} for _ in range(6)]
        path = f"/CFItems/{body['identifier']}"
        assert await send_concurrently(api, *(("PUT", path, item) for item in bodies)) == {201: 6}
        stored = await api.get_entity("CFItem", body["identifier"])
        subjects = (await api.get_package(document["identifier"]))["CFDefinitions"]["CFSubjects"]
        assert [subject["identifier"] for subject in subjects] == [
            link["identifier"] for link in stored["subjectURI"]
        ]


async def test_uploads_with_shared_definitions_in_opposite_order_do_not_deadlock(api: Api) -> None:
    item_types = [factories.item_type() for _ in range(20)]
    bodies = []
    for number in range(5):
        order = item_types if number % 2 else item_types[::-1]
        changed = [{**item_type, "description": f"of {number}"} for item_type in order]
        bodies.append(factories.package(CFDefinitions={"CFItemTypes": changed}))
    assert await send_concurrently(api, *(("POST", "/CFPackages", body) for body in bodies)) == {
        201: 5
    }


async def test_package_and_its_items_are_put_concurrently(api: Api) -> None:
    body = await api.upload_package(
        CFItems=[factories.packed_item() for _ in range(60)], CFAssociations=[]
    )
    document = body["CFDocument"]["identifier"]
    link = factories.link(document)
    changed = [
        {**item, "fullStatement": "changed", "CFDocumentURI": link} for item in body["CFItems"]
    ]
    statuses = await send_concurrently(
        api,
        ("PUT", f"/CFPackages/{document}", {**body, "CFItems": body["CFItems"][::-1]}),
        *(("PUT", f"/CFItems/{item['identifier']}", item) for item in changed[:10]),
        ("PUT", f"/CFPackages/{document}", body),
    )
    assert statuses == {200: 2, 201: 10}
    assert len((await api.get_package(document))["CFItems"]) == 60

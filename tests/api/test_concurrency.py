"""Writers that meet: one wins, the others are told so, and nothing is left half-done."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from support import factories
from support.calls import Api

Execute = Callable[..., Awaitable[Any]]


async def at_once(api: Api, *requests: tuple[str, str, Any]) -> Counter[int]:
    """How often each status was answered to requests sent together."""
    prefix = api.profile.prefix
    sent = (api.client.request(method, prefix + path, json=body) for method, path, body in requests)
    return Counter(answer.status_code for answer in await asyncio.gather(*sent))


async def test_one_triple_put_under_many_ids(api: Api, execute: Execute) -> None:
    document = await api.framework()
    one, two = await api.new_item(document), await api.new_item(document)
    for kind in ("isChildOf", "precedes", "exemplar"):
        bodies = [
            factories.association(one["identifier"], two["identifier"], associationType=kind)
            for _ in range(6)
        ]
        paths = (f"/CFItemAssociations/{body['identifier']}" for body in bodies)
        told = await at_once(
            api, *(("PUT", path, body) for path, body in zip(paths, bodies, strict=True))
        )
        assert told == {201: 1, 409: 5}
    assert len(await execute("SELECT 1 FROM associations")) == 3


async def test_one_package_named_by_many_documents(api: Api) -> None:
    for _ in range(3):
        link = factories.link()
        bodies = [factories.document(CFPackageURI=link) for _ in range(6)]
        told = await at_once(
            api, *(("PUT", f"/CFDocuments/{body['identifier']}", body) for body in bodies)
        )
        assert told == {201: 1, 409: 5}


async def test_one_item_in_many_uploads(api: Api, execute: Execute) -> None:
    for _ in range(3):
        item = factories.packed_item()
        bodies = [factories.package(CFItems=[item], CFAssociations=[]) for _ in range(5)]
        told = await at_once(api, *(("POST", "/CFPackages", body) for body in bodies))
        assert told == {201: 1, 409: 4}
    packages = await execute("SELECT 1 FROM documents")
    assert len(packages) == len(await execute("SELECT 1 FROM items")) == 3


async def test_links_are_those_of_the_put_that_came_last(api: Api) -> None:
    document = await api.framework()
    body = await api.new_item(document)
    for _ in range(4):
        bodies = [{**body, "subjectURI": [factories.link()]} for _ in range(6)]
        path = f"/CFItems/{body['identifier']}"
        assert await at_once(api, *(("PUT", path, one) for one in bodies)) == {201: 6}
        found = await api.one("CFItem", body["identifier"])
        subjects = (await api.package(document["identifier"]))["CFDefinitions"]["CFSubjects"]
        assert [one["identifier"] for one in subjects] == [
            one["identifier"] for one in found["subjectURI"]
        ]


async def test_shared_definitions_in_opposite_order(api: Api) -> None:
    kinds = [factories.item_type() for _ in range(20)]
    bodies = []
    for number in range(5):
        order = kinds if number % 2 else kinds[::-1]
        described = [{**kind, "description": f"of {number}"} for kind in order]
        bodies.append(factories.package(CFDefinitions={"CFItemTypes": described}))
    assert await at_once(api, *(("POST", "/CFPackages", body) for body in bodies)) == {201: 5}


async def test_package_and_items_of_one_framework(api: Api) -> None:
    body = await api.upload(CFItems=[factories.packed_item() for _ in range(60)], CFAssociations=[])
    document = body["CFDocument"]["identifier"]
    link = factories.link(document)
    changed = [
        {**item, "fullStatement": "changed", "CFDocumentURI": link} for item in body["CFItems"]
    ]
    told = await at_once(
        api,
        ("PUT", f"/CFPackages/{document}", {**body, "CFItems": body["CFItems"][::-1]}),
        *(("PUT", f"/CFItems/{item['identifier']}", item) for item in changed[:10]),
        ("PUT", f"/CFPackages/{document}", body),
    )
    assert told == {200: 2, 201: 10}
    assert len((await api.package(document))["CFItems"]) == 60

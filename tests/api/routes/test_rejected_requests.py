"""Rejected writes change no table, whatever the reason of the rejection."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support import factories
from support.calls import Api, get_identifier
from support.databases import Execute
from support.factories import Body

from case_server.db.schema import tables

Write = Callable[[Api, Body], Awaitable[Any]]


async def contents(execute: Execute) -> dict[str, list[str]]:
    """Return the rows of every table as strings."""
    return {
        name: sorted(str(row[0]) for row in await execute(f"SELECT t::text FROM {name} t"))
        for name in tables.metadata.tables
    }


async def _item_of_no_document(api: Api, body: Body) -> None:
    item = factories.item("nowhere", body["CFItems"][0]["identifier"])
    await api.put("/CFItems", {"item": item}, 422)


async def _item_of_no_document_with_links(api: Api, body: Body) -> None:
    links: Body = {name: factories.link() for name in ("conceptKeywordsURI", "CFItemTypeURI")}
    links["subjectURI"] = [factories.link()]
    item = factories.item("nowhere", body["CFItems"][0]["identifier"], **links)
    await api.put("/CFItems", {"item": item}, 422)


async def _association_to_unknown_node(api: Api, body: Body) -> None:
    association = body["CFAssociations"][0]
    links = {"CFAssociationGroupingURI": factories.link()}
    payload = {**association, "destinationNodeURI": factories.link("nothing"), **links}
    await api.put("/CFItemAssociations", {"association": payload}, 422)


async def _association_of_unknown_document(api: Api, body: Body) -> None:
    payload = {**body["CFAssociations"][0], "CFDocumentURI": factories.link("nowhere")}
    await api.put("/CFItemAssociations", {"association": payload}, 422)


async def _triple_of_other_document(api: Api, body: Body) -> None:
    payload = {**body["CFAssociations"][0], "identifier": factories.new_id()}
    await api.put("/CFItemAssociations", {"association": payload}, 409)


async def _post_of_existing_package(api: Api, body: Body) -> None:
    payload = factories.package(body["CFDocument"]["identifier"])
    await api.send("POST", "/CFPackages", 409, payload)


async def _put_of_unknown_package(api: Api, _: Body) -> None:
    payload = factories.package_with_every_class()
    await api.send("PUT", f"/CFPackages/{get_identifier(payload['CFDocument'])}", 404, payload)


async def _package_with_items_of_other_document(api: Api, body: Body) -> None:
    payload = factories.package_with_every_class()
    payload["CFItems"].append(body["CFItems"][0])
    await api.send("POST", "/CFPackages", 409, payload)


REJECTED_WRITES: list[Write] = [
    _item_of_no_document,
    _item_of_no_document_with_links,
    _association_to_unknown_node,
    _association_of_unknown_document,
    _triple_of_other_document,
    _post_of_existing_package,
    _put_of_unknown_package,
    _package_with_items_of_other_document,
]


async def upload_linked_framework(api: Api) -> Body:
    """Upload a framework in which every entity has links."""
    body = factories.package_with_every_class()
    body["CFDocument"]["subjectURI"] = body["CFItems"][0]["subjectURI"]
    await api.send("POST", "/CFPackages", 201, body)
    return body


@pytest.mark.parametrize("write", REJECTED_WRITES, ids=lambda write: write.__name__.strip("_"))
async def test_refused_write_changes_nothing(api: Api, execute: Execute, write: Write) -> None:
    body = await upload_linked_framework(api)
    before = await contents(execute)
    await write(api, body)
    assert await contents(execute) == before


async def test_document_put_with_taken_package_changes_nothing(api: Api, execute: Execute) -> None:
    body, other = await upload_linked_framework(api), await api.create_document()
    before = await contents(execute)
    document = factories.document(body["CFDocument"]["identifier"])
    payload = {**document, "CFPackageURI": other["CFPackageURI"]}
    await api.put("/CFDocuments", payload, 409)
    assert await contents(execute) == before

"""A write that is refused changes nothing at all, whatever it was refused for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support import factories
from support.calls import Api, identifier_of

from case_server.db.schema import tables

Execute = Callable[..., Awaitable[list[Any]]]
Refused = Callable[[Api, factories.Body], Awaitable[Any]]


async def contents(execute: Execute) -> dict[str, list[str]]:
    """Everything in every table."""
    return {
        name: sorted(str(row[0]) for row in await execute(f"SELECT t::text FROM {name} t"))
        for name in tables.metadata.tables
    }


async def _item_of_no_document(api: Api, body: factories.Body) -> None:
    item = factories.item("nowhere", body["CFItems"][0]["identifier"])
    await api.put("/CFItems", {"item": item}, 422)


async def _item_of_no_document_with_links(api: Api, body: factories.Body) -> None:
    more = {"subjectURI": [factories.link()], "conceptKeywordsURI": factories.link()}
    item = factories.item("nowhere", body["CFItems"][0]["identifier"], **more)
    await api.put("/CFItems", {"item": item}, 422)


async def _association_to_nothing(api: Api, body: factories.Body) -> None:
    one = body["CFAssociations"][0]
    links = {"CFAssociationGroupingURI": factories.link()}
    sent = {**one, "destinationNodeURI": factories.link("nothing"), **links}
    await api.put("/CFItemAssociations", {"association": sent}, 422)


async def _association_of_no_document(api: Api, body: factories.Body) -> None:
    sent = {**body["CFAssociations"][0], "CFDocumentURI": factories.link("nowhere")}
    await api.put("/CFItemAssociations", {"association": sent}, 422)


async def _triple_of_another(api: Api, body: factories.Body) -> None:
    sent = {**body["CFAssociations"][0], "identifier": factories.new_id()}
    await api.put("/CFItemAssociations", {"association": sent}, 409)


async def _package_that_is_there(api: Api, body: factories.Body) -> None:
    sent = factories.package(body["CFDocument"]["identifier"])
    await api.send("POST", "/CFPackages", 409, sent)


async def _package_that_is_not_there(api: Api, _: factories.Body) -> None:
    sent = factories.everything()
    await api.send("PUT", f"/CFPackages/{identifier_of(sent['CFDocument'])}", 404, sent)


async def _package_with_items_of_another(api: Api, body: factories.Body) -> None:
    sent = factories.everything()
    sent["CFItems"].append(body["CFItems"][0])
    await api.send("POST", "/CFPackages", 409, sent)


REFUSED: list[Refused] = [
    _item_of_no_document,
    _item_of_no_document_with_links,
    _association_to_nothing,
    _association_of_no_document,
    _triple_of_another,
    _package_that_is_there,
    _package_that_is_not_there,
    _package_with_items_of_another,
]


async def linked(api: Api) -> factories.Body:
    """A framework of which every part links to something."""
    body = factories.everything()
    body["CFDocument"]["subjectURI"] = body["CFItems"][0]["subjectURI"]
    await api.send("POST", "/CFPackages", 201, body)
    return body


@pytest.mark.parametrize("refused", REFUSED, ids=lambda one: one.__name__.strip("_"))
async def test_what_is_refused_changes_nothing(
    api: Api, execute: Execute, refused: Refused
) -> None:
    body = await linked(api)
    before = await contents(execute)
    await refused(api, body)
    assert await contents(execute) == before


async def test_a_document_by_a_taken_name_keeps_what_it_links_to(
    api: Api, execute: Execute
) -> None:
    body, other = await linked(api), await api.framework()
    before = await contents(execute)
    document = factories.document(body["CFDocument"]["identifier"])
    sent = {**document, "CFPackageURI": other["CFPackageURI"]}
    await api.put("/CFDocuments", sent, 409)
    assert await contents(execute) == before

"""Soft deletion, undeletion and purging by operators."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from support import factories
from support.calls import Api
from support.databases import Execute
from support.packages import export_package

from case_server.case.resources import DOCUMENTS, ITEMS
from case_server.db.pool import Database
from case_server.db.write import soft_delete
from case_server.db.write.purge import purge
from case_server.db.write.upload.package import write_package
from case_server.exceptions import Conflict, NotFound
from case_server.repair.reader import repair_and_parse


def now() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=1)


async def framework(api: Api) -> tuple[Any, str, str]:
    """Upload a framework; return its body and the identifiers of its document and an item."""
    body = await api.upload_package(
        CFItems=[factories.packed_item() for _ in range(3)], CFAssociations=[]
    )
    return body, body["CFDocument"]["identifier"], body["CFItems"][0]["identifier"]


async def test_document_is_deleted_and_undeleted_with_parts(api: Api, database: Database) -> None:
    body, document, item = await framework(api)
    before = await api.get_package(document)
    other = await api.create_item(await api.create_document())
    relation = await api.create_association(other, body["CFItems"][0])
    changes = await soft_delete.delete_entity(database, DOCUMENTS, document)
    assert changes == {("CFDocument", "delete"): 1, ("CFItem", "delete"): 3}
    for path in (
        f"/CFDocuments/{document}",
        f"/CFPackages/{document}",
        f"/CFItems/{item}",
        f"/CFAssociations/{relation['identifier']}",
    ):
        await api.get(path, 404)
    with pytest.raises(NotFound):
        await soft_delete.delete_entity(database, DOCUMENTS, document)
    await soft_delete.undelete_entity(database, DOCUMENTS, document)
    assert await api.get_package(document) == before
    await api.get(f"/CFAssociations/{relation['identifier']}")


async def test_associations_are_hidden_with_their_document(api: Api, database: Database) -> None:
    crosswalk, other = await api.create_document(), await api.create_document()
    origin, destination = await api.create_item(other), await api.create_item(other)
    link = factories.link(crosswalk["identifier"])
    relation = await api.create_association(origin, destination, CFDocumentURI=link)
    path = f"/CFAssociations/{relation['identifier']}"
    await soft_delete.delete_entity(database, DOCUMENTS, crosswalk["identifier"])
    await api.get(path, 404)
    assert (await api.get(f"/CFItemAssociations/{origin['identifier']}"))["CFAssociations"] == []
    await soft_delete.delete_entity(database, ITEMS, origin["identifier"])
    result = await soft_delete.undelete_entity(database, ITEMS, origin["identifier"])
    assert [reason[:23] for reason in result.not_restored] == ["CFAssociation: 1 hidden"]
    result = await soft_delete.undelete_entity(database, DOCUMENTS, crosswalk["identifier"])
    assert result.changes == {("CFDocument", "revive"): 1, ("CFAssociation", "revive"): 1}
    assert result.not_restored == []
    await api.get(path)


async def test_second_deletion_of_a_document_logs_nothing(api: Api, database: Database) -> None:
    document, origin, destination = await api.create_two_items()
    link = factories.link(document["identifier"])
    await api.create_association(origin, destination, CFDocumentURI=link)
    changes = await soft_delete.delete_entity(database, DOCUMENTS, document["identifier"])
    assert changes["CFAssociation", "delete"] == 1
    before = (await api.get("/changes", limit=1000))["changes"]
    with pytest.raises(NotFound):
        await soft_delete.delete_entity(database, DOCUMENTS, document["identifier"])
    assert (await api.get("/changes", limit=1000))["changes"] == before


async def test_item_deleted_before_its_document_stays_deleted(api: Api, database: Database) -> None:
    _, document, item = await framework(api)
    assert await soft_delete.delete_entity(database, ITEMS, item) == {("CFItem", "delete"): 1}
    await soft_delete.delete_entity(database, DOCUMENTS, document)
    with pytest.raises(Conflict, match="case-server undelete document"):
        await soft_delete.undelete_entity(database, ITEMS, item)
    await soft_delete.undelete_entity(database, DOCUMENTS, document)
    assert len((await api.get_package(document))["CFItems"]) == 2
    await soft_delete.undelete_entity(database, ITEMS, item)
    assert len((await api.get_package(document))["CFItems"]) == 3


@pytest.mark.parametrize("resource", [DOCUMENTS, ITEMS], ids=lambda each: each.name)
async def test_unknown_entity_raises_not_found(api: Api, database: Database, resource: Any) -> None:
    _, document, item = await framework(api)
    identifier = document if resource is DOCUMENTS else item
    with pytest.raises(NotFound):
        await soft_delete.delete_entity(database, resource, "unheard-of")
    with pytest.raises(NotFound):
        await soft_delete.undelete_entity(database, resource, "unheard-of")
    with pytest.raises(NotFound, match="not deleted"):
        await soft_delete.undelete_entity(database, resource, identifier)


async def test_concurrent_puts_leave_no_live_item_in_a_deleted_document(
    api: Api, database: Database, execute: Execute
) -> None:
    """In whatever order they commit, no item of a deleted document is live."""
    prefix = api.profile.prefix
    for _ in range(5):
        document = await api.create_document()
        bodies = [factories.item(document["identifier"]) for _ in range(8)]
        puts = [
            api.client.put(f"{prefix}/CFItems/{body['identifier']}", json=body) for body in bodies
        ]
        deletion = soft_delete.delete_entity(database, DOCUMENTS, document["identifier"])
        responses, _ = await asyncio.gather(asyncio.gather(*puts), deletion)
        assert {response.status_code for response in responses} <= {201, 422}
    live_items = await execute(
        "SELECT 1 FROM items JOIN documents ON documents.identifier = document_identifier "
        "WHERE items.deleted_at IS NULL AND documents.deleted_at IS NOT NULL"
    )
    assert not live_items


async def test_purge_deletes_permanently(api: Api, database: Database, execute: Execute) -> None:
    remaining, remaining_document, dropped = await framework(api)
    everything = factories.packed_item(
        subjectURI=[factories.link()],
        conceptKeywordsURI=factories.link(),
        CFItemTypeURI=factories.link(),
    )
    rubric = factories.entity(
        CFRubricCriteria=[factories.entity(CFRubricCriterionLevels=[factories.entity()])]
    )
    body = await api.upload_package(
        CFItems=[everything],
        CFAssociations=[],
        CFRubrics=[rubric],
        CFDefinitions={"CFItemTypes": [factories.item_type()]},
    )
    document = body["CFDocument"]["identifier"]
    relation = await api.create_association(remaining["CFItems"][1], everything)
    await soft_delete.delete_entity(database, DOCUMENTS, document)
    await soft_delete.delete_entity(database, ITEMS, dropped)
    assert await purge(database, now() - timedelta(hours=1)) == {}
    expected = {"CFDocument": 1, "CFItem": 2, "CFRubric": 1, "CFAssociation": 1}
    result = await purge(database, now(), dry_run=True)
    assert {kind: result[kind] for kind in expected} == expected
    assert await purge(database, now()) == result
    for resource, identifier in ((DOCUMENTS, document), (ITEMS, dropped)):
        with pytest.raises(NotFound):
            await soft_delete.undelete_entity(database, resource, identifier)
    for table in ("rubrics", "rubric_criteria", "rubric_criterion_levels", "associations"):
        assert not await execute(f"SELECT 1 FROM {table}")
    await api.get(f"/CFAssociations/{relation['identifier']}", 404)
    assert len((await api.get_package(remaining_document))["CFItems"]) == 2
    await api.send("POST", "/CFPackages", 201, body)


async def test_purge_keeps_the_latest_change_of_each_entity(
    api: Api, database: Database, execute: Execute
) -> None:
    document = await api.create_document()
    item = await api.create_item(document)
    for number in range(3):
        await api.put("/CFItems", {"item": {**item, "fullStatement": f"{number}"}})
    deleted_item = await api.create_item(document)
    await soft_delete.delete_entity(database, ITEMS, deleted_item["identifier"])
    await purge(database, now())
    rows = await execute("SELECT kind, identifier, operation FROM changes ORDER BY sequence")
    assert [tuple(row) for row in rows] == [
        ("CFDocument", document["identifier"], "create"),
        ("CFItem", item["identifier"], "update"),
        ("CFItem", deleted_item["identifier"], "delete"),
    ]


@pytest.mark.parametrize("package", ["named", "of its document"])
async def test_package_identifier_of_a_deleted_document_can_be_reused(
    api: Api, database: Database, package: str
) -> None:
    is_named, link = package == "named", factories.link()
    first = factories.package(None if is_named else link["identifier"])
    if is_named:
        first["CFDocument"]["CFPackageURI"] = link
    await api.send("POST", "/CFPackages", 201, first)
    old = first["CFDocument"]["identifier"]
    second = factories.package()
    second["CFDocument"]["CFPackageURI"] = link
    new = second["CFDocument"]["identifier"]
    await api.send("POST", "/CFPackages", 409, second)
    await soft_delete.delete_entity(database, DOCUMENTS, old)
    await api.send("POST", "/CFPackages", 201, second)
    for name in (link["identifier"], new):
        assert (await api.get_package(name))["CFDocument"]["identifier"] == new
        await api.send("PUT", f"/CFPackages/{name}", 200, second)
    if not is_named:
        with pytest.raises(Conflict, match=new):
            await soft_delete.undelete_entity(database, DOCUMENTS, old)
        return
    undeleted = await soft_delete.undelete_entity(database, DOCUMENTS, old)
    (reason,) = undeleted.not_restored
    assert link["identifier"] in reason
    assert new in reason
    assert (await api.get_package(old))["CFDocument"]["identifier"] == old
    assert (await api.get_package(link["identifier"]))["CFDocument"]["identifier"] == new
    # After the other one is deleted too, the first can take its package identifier back.
    await soft_delete.delete_entity(database, DOCUMENTS, new)
    await api.send("PUT", f"/CFPackages/{old}", 200, first)
    assert (await api.get_package(link["identifier"]))["CFDocument"]["identifier"] == old
    await api.send("PUT", f"/CFPackages/{new}", 409, second)


async def test_undeleted_document_whose_package_identifier_is_taken_names_its_own_package(
    api: Api, database: Database
) -> None:
    link = factories.link()
    first, second = factories.package(), factories.package()
    for body in (first, second):
        body["CFDocument"]["CFPackageURI"] = link
    identifier = first["CFDocument"]["identifier"]
    await api.send("POST", "/CFPackages", 201, first)
    before = (await api.get_package(identifier))["CFDocument"]
    await soft_delete.delete_entity(database, DOCUMENTS, identifier)
    await api.send("POST", "/CFPackages", 201, second)
    await soft_delete.undelete_entity(database, DOCUMENTS, identifier)
    document = await api.get_entity("CFDocument", identifier)
    assert document["CFPackageURI"]["identifier"] == identifier
    assert {**document, "CFPackageURI": before["CFPackageURI"]} == before
    exported = await export_package(database, identifier)
    assert "CFPackageURI" not in json.loads(exported)["CFDocument"]
    package, repairs = repair_and_parse(exported)
    summary = await write_package(database, package)
    assert (repairs, summary.changed_count) == ([], 0)


async def test_put_document_takes_over_the_package_identifier_of_a_deleted_one(
    api: Api, database: Database
) -> None:
    old = await api.create_document()
    new = factories.document(CFPackageURI=old["CFPackageURI"])
    await api.put("/CFDocuments", new, 409)
    await soft_delete.delete_entity(database, DOCUMENTS, old["identifier"])
    await api.put("/CFDocuments", new)
    package = old["CFPackageURI"]["identifier"]
    assert (await api.get_package(package))["CFDocument"]["identifier"] == new["identifier"]
    # Reviving the deleted one is a conflict while the other has its package identifier.
    await api.put("/CFDocuments", old, 409)
    await soft_delete.delete_entity(database, DOCUMENTS, new["identifier"])
    await api.put("/CFDocuments", old)
    assert (await api.get_package(package))["CFDocument"]["identifier"] == old["identifier"]


async def test_undelete_reports_what_stays_hidden_or_deleted(api: Api, database: Database) -> None:
    document, other_document = await api.create_document(), await api.create_document()
    first, second, third = [await api.create_item(document) for _ in range(3)]
    other = await api.create_item(other_document)
    relation = await api.create_association(first, other)
    await api.create_association(second, first)
    await soft_delete.delete_entity(database, ITEMS, third["identifier"])
    await soft_delete.delete_entity(database, DOCUMENTS, document["identifier"])
    await soft_delete.delete_entity(database, ITEMS, other["identifier"])
    undeleted = await soft_delete.undelete_entity(database, DOCUMENTS, document["identifier"])
    reasons = undeleted.not_restored
    assert len(reasons) == 2
    assert reasons[0].startswith("CFAssociation: 1 hidden, because another node")
    for name in (relation, first, other):
        assert name["identifier"] in reasons[0]
    assert reasons[1] == (
        f"CFItem: 1 deleted before the document, for example {third['identifier']}; "
        "case-server undelete item brings it back"
    )
    for name in (other, third):
        undeleted = await soft_delete.undelete_entity(database, ITEMS, name["identifier"])
        assert undeleted.not_restored == []
        await api.get(f"/CFAssociations/{relation['identifier']}")


async def test_key_of_an_association_cannot_be_null(api: Api, execute: Execute) -> None:
    _, origin, destination = await api.create_two_items()
    await api.create_association(origin, destination)
    for field in ("originNodeURI", "destinationNodeURI", "associationType"):
        with pytest.raises(asyncpg.NotNullViolationError):
            await execute("UPDATE associations SET body = (body::jsonb - $1::text)::json", field)

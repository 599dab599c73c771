"""PUT of documents, items, item types and associations (curriculum guide)."""

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from support import factories
from support.calls import Api, list_problems
from support.databases import Execute

from case_server.case.model import CFAssociation, CFDocument, CFItem, CFItemType, Entity


class Put(NamedTuple):
    """A PUT of one entity: its path, its class, and the names that may wrap the entity."""

    collection: str
    schema: type[Entity]
    wrappers: tuple[str, ...]


PUTS = (
    Put("CFDocuments", CFDocument, ("document", "CFDocument")),
    Put("CFItems", CFItem, ("item", "CFItem")),
    Put("CFItemTypes", CFItemType, ("itemType", "CFItemType")),
    Put("CFItemAssociations", CFAssociation, ("association", "CFAssociation")),
)

each = pytest.mark.parametrize("put", PUTS, ids=lambda put: put.collection)


async def body_for(api: Api, put: Put) -> factories.Body:
    """Return an unwrapped body that this PUT accepts; store the entities that it refers to."""
    if put.collection == "CFDocuments":
        return factories.document()
    if put.collection == "CFItemTypes":
        return factories.item_type()
    document = await api.create_document()
    if put.collection == "CFItems":
        return factories.item(document["identifier"])
    parent, child = await api.create_item(document), await api.create_item(document)
    return factories.association(child["identifier"], parent["identifier"])


async def stored(api: Api, put: Put, identifier: str) -> Any:
    """Return the stored entity from its own resource."""
    name = put.schema.__name__
    if name == "CFItemType":
        return (await api.get(f"/CFItemTypes/{identifier}"))["CFItemTypes"][0]
    return await api.get_entity(name, identifier)


def list_required_fields(put: Put) -> set[str]:
    return {name for name, field in put.schema.model_fields.items() if field.is_required()}


@each
async def test_put_creates_and_replaces_with_201_and_no_body(api: Api, put: Put) -> None:
    body = await body_for(api, put)
    for _ in range(2):
        response = await api.put(f"/{put.collection}", body)
        assert response.content == b""
    entity = await stored(api, put, body["identifier"])
    assert api.list_lost_values(body, entity) == []
    assert entity["uri"] == api.get_expected_uri(body, f"{put.schema.__name__}s")


@each
@pytest.mark.parametrize("spelling", ["identifier", "sourcedId", "both"])
async def test_body_may_be_wrapped_with_any_identifier(api: Api, put: Put, spelling: str) -> None:
    body = await body_for(api, put)
    identifier = body["identifier"]
    if spelling != "identifier":
        body["sourcedId"] = identifier
    if spelling == "sourcedId":
        del body["identifier"]
        body["extensions"] = {"sourcedId": "a custom value"}
    for payload in (body, *({wrapper: body} for wrapper in put.wrappers)):
        await api.send("PUT", f"/{put.collection}/{identifier}", 201, payload)
    entity = await stored(api, put, identifier)
    assert entity["identifier"] == identifier
    assert entity.get("extensions") == body.get("extensions")


@each
async def test_contradicting_identifiers_return_400(api: Api, put: Put) -> None:
    body = await body_for(api, put)
    body["sourcedId"] = "another"
    ((path, _),) = await api.put_invalid(f"/{put.collection}", {put.wrappers[0]: body})
    assert path == f"{put.wrappers[0]}.sourcedId"


@each
async def test_identifier_of_path_must_equal_that_of_body(api: Api, put: Put) -> None:
    body = await body_for(api, put)
    response = await api.send("PUT", f"/{put.collection}/another", 400, body)
    assert "another" in response.json()["imsx_description"]
    assert body["identifier"] in response.json()["imsx_description"]


@each
async def test_omitted_optional_field_is_cleared(api: Api, put: Put) -> None:
    body = await body_for(api, put)
    await api.put(f"/{put.collection}", {**body, "extensions": {"mine": [1, None]}})
    assert (await stored(api, put, body["identifier"]))["extensions"] == {"mine": [1, None]}
    await api.put(f"/{put.collection}", body)
    assert "extensions" not in await stored(api, put, body["identifier"])


@each
async def test_invalid_body_lists_every_problem(api: Api, put: Put) -> None:
    body = await body_for(api, put)
    body |= {"lastChangeDateTime": "yesterday", "colour": "red", "notes": None, "uri": "not a uri"}
    wrapper = put.wrappers[0]
    problems = dict(await api.put_invalid(f"/{put.collection}", {wrapper: body}))
    assert set(problems) >= {
        f"{wrapper}.{name}" for name in ("lastChangeDateTime", "colour", "uri")
    }


@each
async def test_missing_required_fields_are_listed(api: Api, put: Put) -> None:
    problems = await api.put_invalid(f"/{put.collection}", {"identifier": "x"})
    required = list_required_fields(put) - {"identifier"}
    assert dict(problems) == dict.fromkeys(required, "required")


@each
@pytest.mark.parametrize("form", ["wrapped", "bare"])
async def test_null_in_optional_fields_is_stored_as_absent(api: Api, put: Put, form: str) -> None:
    body = await body_for(api, put)
    identifier = body["identifier"]
    await api.put(f"/{put.collection}", body)
    before = await stored(api, put, identifier)
    fields = put.schema.model_fields
    nulls = {name: None for name, field in fields.items() if not field.is_required()}
    payload: Any = {**nulls, "cfItemType": None, "licenseUri": None, **body, "sourcedId": None}
    payload = {put.wrappers[0]: payload} if form == "wrapped" else payload
    await api.send("PUT", f"/{put.collection}/{identifier}", 201, payload)
    assert await stored(api, put, identifier) == before


@each
async def test_null_in_extensions_is_stored(api: Api, put: Put) -> None:
    body = await body_for(api, put)
    body["extensions"] = {"a": None, "b": [None, {"c": None, "notes": None}]}
    await api.put(f"/{put.collection}", body)
    assert (await stored(api, put, body["identifier"]))["extensions"] == body["extensions"]


@each
async def test_null_in_required_fields_is_reported_as_required(api: Api, put: Put) -> None:
    body = await body_for(api, put)
    wrapper, required = put.wrappers[0], list_required_fields(put)
    payload = {wrapper: {**body, **dict.fromkeys(required)}}
    response = await api.send("PUT", f"/{put.collection}/{body['identifier']}", 422, payload)
    assert dict(list_problems(response)) == {f"{wrapper}.{name}": "required" for name in required}


@each
@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'"text"', b"<html>", b"\xff\xfe{", b'{"a":"\\ud800"}']
)
async def test_body_other_than_json_object_returns_400(api: Api, put: Put, raw: bytes) -> None:
    response = await api.send("PUT", f"/{put.collection}/x", 400, content=raw)
    assert response.json()["imsx_codeMajor"] == "failure"


@each
@pytest.mark.parametrize("identifier", ["", "a/b", "a\nb", "x" * 256, "\x85", ".", ".."])
async def test_invalid_identifier_is_rejected(api: Api, put: Put, identifier: str) -> None:
    body = await body_for(api, put)
    assert await api.get_problem_paths(
        "PUT", f"/{put.collection}/x", {**body, "identifier": identifier}
    ) == ["identifier"]


@each
@pytest.mark.parametrize(
    "identifier",
    ["x", "x" * 255, "ä b?#%&+", "00000000-0000-0000-0000-00000000000g", "...", ".a", "..a"],
)
async def test_identifiers_need_not_be_uuids(api: Api, put: Put, identifier: str) -> None:
    body = await body_for(api, put)
    body["identifier"] = identifier
    await api.send("PUT", f"/{put.collection}/{quote(identifier, safe='')}", 201, body)
    assert (await stored(api, put, quote(identifier, safe="")))["identifier"] == identifier


@each
async def test_number_beyond_double_precision_is_rejected_with_its_path(api: Api, put: Put) -> None:
    body = await body_for(api, put)
    number = "0.1000000000000000055511151231257827"
    raw = json.dumps({**body, "extensions": {"deep": [{"er": "HERE"}]}}).replace('"HERE"', number)
    path = f"/{put.collection}/{body['identifier']}"
    ((path, message),) = list_problems(await api.send("PUT", path, 422, content=raw.encode()))
    assert path == "extensions.deep[0].er"
    assert number in message


@each
async def test_number_is_returned_with_its_value(api: Api, put: Put) -> None:
    body = await body_for(api, put)
    numbers = "[12345678901234567890, 0.30000000000000004, 1E5, -0.0, 1.0, 1, 5e-324]"
    raw = json.dumps({**body, "extensions": {"a": "HERE"}}).replace('"HERE"', numbers)
    path = f"/{put.collection}/{body['identifier']}"
    await api.send("PUT", path, 201, content=raw.encode())
    result = (await stored(api, put, body["identifier"]))["extensions"]["a"]
    assert repr(result) == repr(json.loads(numbers))


@each
async def test_nul_is_rejected_with_its_path(api: Api, put: Put) -> None:
    body = await body_for(api, put)
    body["extensions"] = {"deep": [{"er": "a\x00b"}]}
    ((path, message),) = await api.put_invalid(f"/{put.collection}", body)
    assert path == "extensions"
    assert "deep[0].er" in message


async def test_nul_in_field_is_rejected(api: Api) -> None:
    document = await api.create_document()
    body = factories.item(document["identifier"], fullStatement="a\x00b")
    problems = await api.put_invalid("/CFItems", {"item": body})
    assert problems == [("item.fullStatement", "a NUL character cannot be stored")]


async def test_text_backslash_u0000_is_stored(api: Api) -> None:
    document = await api.create_document()
    body = await api.create_item(
        document, fullStatement="\\u0000 \\\\u0000 \u2028 \U0001f600 'q\" \x01"
    )
    entity = await api.get_entity("CFItem", body["identifier"])
    assert entity["fullStatement"] == body["fullStatement"]


async def test_case_version_must_be_1_1(api: Api) -> None:
    ((path, _),) = await api.put_invalid("/CFDocuments", factories.document(caseVersion="1.0"))
    assert path == "caseVersion"


async def test_timestamps_are_returned_in_utc_with_milliseconds(api: Api, execute: Execute) -> None:
    body = factories.document(lastChangeDateTime="2026-01-15T12:30:00.123456+03:00")
    await api.put("/CFDocuments", body)
    entity = await api.get_entity("CFDocument", body["identifier"])
    assert entity["lastChangeDateTime"] == "2026-01-15T09:30:00.123Z"
    (row,) = await execute("SELECT last_change_date_time FROM documents")
    assert row[0].microsecond == 123456


@pytest.mark.parametrize(
    "time",
    [
        *("2026-01-15T12:30:00", "2026-01-15", "1700000000", "2026-01-15 09:30:00Z"),
        *("9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", 1700000000),
    ],
)
async def test_invalid_timestamp_is_rejected(api: Api, time: object) -> None:
    await api.put_invalid("/CFDocuments", factories.document(lastChangeDateTime=time))


@pytest.mark.parametrize("put", PUTS[:-1], ids=lambda put: put.collection)  # not associations
async def test_put_undeletes_a_deleted_entity(api: Api, put: Put, execute: Execute) -> None:
    body = await body_for(api, put)
    await api.put(f"/{put.collection}", body)
    name = put.schema.__name__
    await execute(
        f"UPDATE {TABLES[name]} SET deleted_at = now() WHERE identifier = $1", body["identifier"]
    )
    await api.get(f"/{name}s/{body['identifier']}", 404)
    await api.put(f"/{put.collection}", body)
    assert await stored(api, put, body["identifier"])


TABLES = {"CFDocument": "documents", "CFItem": "items", "CFItemType": "item_types"}


# Documents and their packages


async def test_put_of_document_creates_its_package(api: Api) -> None:
    body = await api.create_document()
    package = await api.get_package(body["CFPackageURI"]["identifier"])
    assert package["CFDocument"]["identifier"] == body["identifier"]
    assert package["CFItems"] == package["CFAssociations"] == package["CFRubrics"] == []
    assert await api.get_package(body["identifier"]) == package


async def test_two_documents_cannot_have_one_package(api: Api) -> None:
    first = await api.create_document()
    second = factories.document(CFPackageURI=first["CFPackageURI"])
    response = await api.put("/CFDocuments", second, 409)
    assert first["identifier"] in response.json()["imsx_description"]
    await api.get(f"/CFDocuments/{second['identifier']}", 404)


async def test_document_may_change_its_package(api: Api) -> None:
    body = await api.create_document()
    old, new = body["CFPackageURI"]["identifier"], factories.link()
    await api.put("/CFDocuments", {**body, "CFPackageURI": new})
    await api.send("GET", f"/CFPackages/{old}", 404)
    link = (await api.get_package(new["identifier"]))["CFDocument"]["CFPackageURI"]
    assert link["identifier"] == new["identifier"]
    assert link["uri"] == api.get_expected_uri(new, "CFPackages")


# What a body refers to


@pytest.mark.parametrize("wrapper", ["item", None])
async def test_item_of_unknown_document_is_rejected(api: Api, wrapper: str | None) -> None:
    body = factories.item("unknown", subjectURI=[factories.link()])
    ((path, message),) = await api.put_invalid("/CFItems", {wrapper: body} if wrapper else body)
    assert path == ("item." if wrapper else "") + "CFDocumentURI.identifier"
    assert "unknown" in message


async def test_item_of_deleted_document_is_rejected(api: Api, execute: Execute) -> None:
    document = await api.create_document()
    await execute("UPDATE documents SET deleted_at = now()")
    await api.put_invalid("/CFItems", {"item": factories.item(document["identifier"])})


async def test_item_may_move_to_another_document(api: Api) -> None:
    first, second = await api.create_document(), await api.create_document()
    body = await api.create_item(first)
    body["CFDocumentURI"] = factories.link(second["identifier"])
    await api.put("/CFItems", {"item": body})
    assert (await api.get_package(first["identifier"]))["CFItems"] == []
    assert len((await api.get_package(second["identifier"]))["CFItems"]) == 1


async def test_subjects_are_registered_from_links_and_synchronised(api: Api) -> None:
    first, second, third = factories.link(title="one"), factories.link(), factories.link()
    body = await api.create_document(subjectURI=[first, second])
    subject = (await api.get(f"/CFSubjects/{first['identifier']}"))["CFSubjects"][0]
    assert (subject["title"], subject["uri"]) == ("one", api.get_expected_uri(first, "CFSubjects"))
    await api.put("/CFDocuments", {**body, "subjectURI": [second, third]})
    package = await api.get_package(body["identifier"])
    subject_ids = {
        definition["identifier"] for definition in package["CFDefinitions"]["CFSubjects"]
    }
    assert subject_ids == {second["identifier"], third["identifier"]}
    await api.get(f"/CFSubjects/{first['identifier']}")  # unlinked, not removed


async def test_subjects_of_an_item_are_synchronised(api: Api) -> None:
    document, first, second = await api.create_document(), factories.link(), factories.link()
    body = await api.create_item(document, subjectURI=[first, first])
    await api.put("/CFItems", {"item": {**body, "subjectURI": [second]}})
    package = await api.get_package(document["identifier"])
    subject_ids = [subject["identifier"] for subject in package["CFDefinitions"]["CFSubjects"]]
    assert subject_ids == [second["identifier"]]


async def test_unchanged_put_adds_no_subject_links(api: Api, execute: Execute) -> None:
    document, first, second = await api.create_document(), factories.link(), factories.link()
    body = await api.create_item(document, subjectURI=[first])
    changed_body = {**body, "subjectURI": [second]}
    changed = "UPDATE items SET body = $1::json WHERE identifier = $2"
    # A concurrent transaction changes the item, which a PUT of the old body must not revert.
    await execute("BEGIN")
    try:
        await execute(changed, json.dumps(changed_body), body["identifier"])
        await execute("DELETE FROM item_subjects")
        same = asyncio.create_task(api.put("/CFItems", {"item": body}))
        await asyncio.sleep(0.3)
    finally:
        await execute("COMMIT")
    await same
    assert await execute("SELECT 1 FROM item_subjects") == []


async def test_keyword_links_are_additive_and_the_last_is_returned(api: Api) -> None:
    document = await api.create_document()
    first, second, third = factories.link(), factories.link(), factories.link()
    body = await api.create_item(document, conceptKeywordsURI=first)
    await api.put("/CFItems", {"item": {**body, "conceptKeywordsURI": [second, first, third]}})
    entity = await api.get_entity("CFItem", body["identifier"])
    assert entity["conceptKeywordsURI"]["identifier"] == third["identifier"]
    concepts = (await api.get_package(document["identifier"]))["CFDefinitions"]["CFConcepts"]
    assert {concept["identifier"] for concept in concepts} == {
        link["identifier"] for link in (first, second, third)
    }


@pytest.mark.parametrize(
    ("field", "collection"), [("CFItemTypeURI", "CFItemTypes"), ("licenseURI", "CFLicenses")]
)
async def test_definition_is_registered_from_a_link(api: Api, field: str, collection: str) -> None:
    document, link = await api.create_document(), factories.link(title="its name")
    await api.create_item(document, **{field: link})
    await api.get(f"/{collection}/{link['identifier']}")
    package = await api.get_package(document["identifier"])
    (definition,) = package["CFDefinitions"][collection]
    assert definition["title"] == "its name"


async def test_definition_from_a_link_has_every_required_field(api: Api) -> None:
    document, link = await api.create_document(), factories.link(title="its name")
    await api.create_item(document, CFItemTypeURI=link, licenseURI=link, subjectURI=[link])
    definitions = (await api.get_package(document["identifier"]))["CFDefinitions"]
    (kind,), (license_,), (subject,) = (
        definitions[collection] for collection in ("CFItemTypes", "CFLicenses", "CFSubjects")
    )
    assert (kind["description"], kind["hierarchyCode"]) == ("its name", "")
    assert license_["licenseText"]
    assert "description" not in license_
    assert subject["hierarchyCode"] == ""
    (item_type,) = (await api.get(f"/CFItemTypes/{link['identifier']}"))["CFItemTypes"]
    assert item_type == kind


async def test_link_undeletes_a_definition(api: Api, execute: Execute) -> None:
    document, link = await api.create_document(), factories.link()
    body = await api.create_item(document, CFItemTypeURI=link)
    await execute("UPDATE item_types SET deleted_at = now()")
    await api.get(f"/CFItemTypes/{link['identifier']}", 404)
    await api.put("/CFItems", {"item": {**body, "fullStatement": "changed"}})
    await api.get(f"/CFItemTypes/{link['identifier']}")


async def test_undeleted_definition_is_in_all_packages(api: Api, execute: Execute) -> None:
    document, other, link = (
        await api.create_document(),
        await api.create_document(),
        factories.link(),
    )
    body = await api.create_item(document, CFItemTypeURI=link)
    await api.create_item(other, CFItemTypeURI=link)
    await execute("UPDATE item_types SET deleted_at = now()")
    path = f"/CFPackages/{other['identifier']}"
    before = await api.send("GET", path, 200)
    await api.put("/CFItems", {"item": {**body, "fullStatement": "changed"}})
    after = await api.send("GET", path, 200, headers={"If-None-Match": before.headers["ETag"]})
    assert after.json() != before.json()


async def test_missing_keyword_link_omits_the_field(api: Api) -> None:
    document = await api.create_document()
    body = await api.create_item(document, conceptKeywordsURI=[])
    assert "conceptKeywordsURI" not in await api.get_entity("CFItem", body["identifier"])


async def test_node_of_another_kind_is_not_deleted(api: Api, execute: Execute) -> None:
    _, first, second = await api.create_two_items()
    await execute("UPDATE items SET deleted_at = now() WHERE identifier = $1", first["identifier"])
    await api.put("/CFDocuments", factories.document(first["identifier"]))
    body = await api.create_association(second, first)
    await api.get(f"/CFAssociations/{body['identifier']}")


async def test_link_never_overwrites_a_definition(api: Api) -> None:
    document, kind = await api.create_document(), factories.item_type(title="the original")
    await api.put("/CFItemTypes", kind)
    link = factories.link(kind["identifier"], title="another name")
    await api.create_item(document, CFItemTypeURI=link)
    result = (await api.get(f"/CFItemTypes/{kind['identifier']}"))["CFItemTypes"][0]
    assert (result["title"], result["description"]) == ("the original", "a class of items")


async def test_grouping_is_registered_from_a_link(api: Api) -> None:
    document, grouping = await api.create_document(), factories.link(title="a group")
    origin, destination = await api.create_item(document), await api.create_item(document)
    await api.create_association(origin, destination, CFAssociationGroupingURI=grouping)
    entity = await api.get_entity("CFAssociationGrouping", grouping["identifier"])
    assert entity["title"] == "a group"


# Associations


async def test_association_belongs_to_the_document_of_its_origin(api: Api) -> None:
    document, other_document = await api.create_document(), await api.create_document()
    origin, destination = await api.create_item(document), await api.create_item(other_document)
    body = await api.create_association(origin, destination, associationType="exactMatchOf")
    package = await api.get_package(document["identifier"])
    assert [a["identifier"] for a in package["CFAssociations"]] == [body["identifier"]]
    assert (await api.get_package(other_document["identifier"]))["CFAssociations"] == []


async def test_association_may_end_at_a_document(api: Api) -> None:
    document = await api.create_document()
    item = await api.create_item(document)
    body = await api.create_association(item, document)
    entity = await api.get_entity("CFAssociation", body["identifier"])
    assert entity["destinationNodeURI"]["identifier"] == document["identifier"]


async def test_association_to_unknown_nodes_is_stored(api: Api) -> None:
    body = factories.association("unknown", "nothing")
    problems = await api.put_invalid("/CFItemAssociations", {"association": body})
    assert [path for path, _ in problems] == [
        "association.originNodeURI.identifier",
        "association.destinationNodeURI.identifier",
    ]
    await api.get(f"/CFAssociations/{body['identifier']}", 404)


async def test_association_to_deleted_item_is_rejected(api: Api, execute: Execute) -> None:
    _, origin, destination = await api.create_two_items()
    await execute(
        "UPDATE items SET deleted_at = now() WHERE identifier = $1", destination["identifier"]
    )
    body = factories.association(origin["identifier"], destination["identifier"])
    await api.put_invalid("/CFItemAssociations", body)


async def test_association_to_a_node_outside_case_is_stored(api: Api) -> None:
    document = await api.create_document()
    item = await api.create_item(document)
    body = factories.association(item["identifier"], "https-thing")
    body["destinationNodeURI"]["targetType"] = "ext:web-page"
    await api.put("/CFItemAssociations", {"association": body})
    entity = await api.get_entity("CFAssociation", body["identifier"])
    assert entity["destinationNodeURI"]["targetType"] == "ext:web-page"


async def test_association_of_unknown_document_is_rejected(api: Api) -> None:
    _, origin, destination = await api.create_two_items()
    body = factories.association(origin["identifier"], destination["identifier"])
    body["CFDocumentURI"] = factories.link("unknown")
    ((path, _),) = await api.put_invalid("/CFItemAssociations", body)
    assert path == "CFDocumentURI.identifier"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("associationType", kind) for kind in ("isTranslationOf", "ext:see-also_1.2")),
        *(("sequenceNumber", number) for number in (1, 1.0, -(2**31), 2**31 - 1)),
    ],
)
async def test_field_of_association_is_stored(api: Api, field: str, value: object) -> None:
    _, origin, destination = await api.create_two_items()
    body = await api.create_association(origin, destination, **{field: value})
    assert (await api.get_entity("CFAssociation", body["identifier"]))[field] == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("associationType", kind) for kind in ("ischildof", "RelatedTo", "ext:", "ext:a b")),
        *(("associationType", kind) for kind in ("", "isChildOf\n")),
        *(("sequenceNumber", number) for number in ("1", 1.5, 2**31, True)),
    ],
)
async def test_invalid_field_of_association_is_rejected(api: Api, field: str, value: Any) -> None:
    body = factories.association("a", "b", **{field: value})
    ((path, message),) = await api.put_invalid("/CFItemAssociations", body)
    assert path == field
    assert field == "sequenceNumber" or "isChildOf" in message


async def test_second_association_of_a_triple_is_rejected(api: Api) -> None:
    _, origin, destination = await api.create_two_items()
    first = await api.create_association(origin, destination)
    second = factories.association(origin["identifier"], destination["identifier"])
    response = await api.put("/CFItemAssociations", {"association": second}, 409)
    assert first["identifier"] in response.json()["imsx_description"]
    second["associationType"] = "precedes"
    await api.put("/CFItemAssociations", {"association": second})


# Item associations, and the only DELETE there is


async def test_item_associations_include_incoming_and_outgoing_ones(api: Api) -> None:
    document = await api.create_document()
    first, second, third = [await api.create_item(document) for _ in range(3)]
    outgoing = await api.create_association(first, second)
    incoming = await api.create_association(third, first)
    loop = await api.create_association(first, first, associationType="isRelatedTo")
    await api.create_association(second, third)
    body = await api.get(f"/CFItemAssociations/{first['identifier']}")
    assert body["CFItem"]["identifier"] == first["identifier"]
    assert body["CFItem"]["CFDocumentURI"]["identifier"] == document["identifier"]
    results = [association["identifier"] for association in body["CFAssociations"]]
    assert results == [association["identifier"] for association in (outgoing, incoming, loop)]


async def test_item_without_associations_has_an_empty_list(api: Api) -> None:
    item = await api.create_item(await api.create_document())
    body = await api.get(f"/CFItemAssociations/{item['identifier']}")
    assert body["CFAssociations"] == []
    await api.get("/CFItemAssociations/unknown", 404)


async def test_associations_of_deleted_item_are_hidden_until_it_is_undeleted(
    api: Api, execute: Execute
) -> None:
    document, origin, destination = await api.create_two_items()
    body = await api.create_association(origin, destination)
    await execute(
        "UPDATE items SET deleted_at = now() WHERE identifier = $1", destination["identifier"]
    )
    await api.get(f"/CFAssociations/{body['identifier']}", 404)
    await api.get(f"/CFItemAssociations/{destination['identifier']}", 404)
    assert (await api.get(f"/CFItemAssociations/{origin['identifier']}"))["CFAssociations"] == []
    package = await api.get_package(document["identifier"])
    assert package["CFAssociations"] == []
    assert [item["identifier"] for item in package["CFItems"]] == [origin["identifier"]]
    await api.put("/CFItems", {"item": destination})
    assert len((await api.get_package(document["identifier"]))["CFAssociations"]) == 1


async def test_delete_of_association_is_permanent(api: Api, execute: Execute) -> None:
    _, origin, destination = await api.create_two_items()
    body = await api.create_association(origin, destination)
    path = f"/CFItemAssociations/{body['identifier']}"
    response = await api.send("DELETE", path, 204)
    assert response.content == b""
    await api.get(f"/CFAssociations/{body['identifier']}", 404)
    assert await execute("SELECT 1 FROM associations") == []
    second_response = await api.send("DELETE", path, 404)
    assert second_response.json()["imsx_codeMajor"] == "failure"
    await api.put("/CFItemAssociations", body)


async def test_delete_of_item_returns_404(api: Api) -> None:
    item = await api.create_item(await api.create_document())
    await api.send("DELETE", f"/CFItemAssociations/{item['identifier']}", 404)


# The record of changes


async def test_repeated_write_records_no_second_change(api: Api, execute: Execute) -> None:
    document, origin, destination = await api.create_two_items()
    body = await api.create_association(origin, destination)
    await api.put("/CFItems", {"item": origin})
    await api.put("/CFItems", {"item": {**origin, "fullStatement": "changed"}})
    await api.send("DELETE", f"/CFItemAssociations/{body['identifier']}", 204)
    rows = await execute(
        "SELECT document_identifier, kind, identifier, operation FROM changes ORDER BY sequence"
    )
    document_id = document["identifier"]
    assert [tuple(row) for row in rows] == [
        (document_id, "CFDocument", document_id, "create"),
        (document_id, "CFItem", origin["identifier"], "create"),
        (document_id, "CFItem", destination["identifier"], "create"),
        (document_id, "CFAssociation", body["identifier"], "create"),
        (document_id, "CFItem", origin["identifier"], "update"),
        (document_id, "CFAssociation", body["identifier"], "delete"),
    ]

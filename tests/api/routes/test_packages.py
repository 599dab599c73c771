"""CFPackages: upload, response, replacement, and errors that list every problem."""

from typing import Any

import pytest
from httpx import AsyncClient
from support import factories
from support.calls import Api
from support.databases import Execute


def without_ids(node: Any) -> Any:
    """Return a response without ``sourcedId``, the second name of each identifier."""
    if isinstance(node, list):
        return [without_ids(part) for part in node]
    if isinstance(node, dict):
        return {name: without_ids(part) for name, part in node.items() if name != "sourcedId"}
    return node


async def test_upload_returns_counts_of_stored_entities(api: Api) -> None:
    body = factories.package()
    response = await api.send("POST", "/CFPackages", 201, body)
    identifier = body["CFDocument"]["identifier"]
    result = response.json()
    assert result["success"] is True
    assert result["message"] == "CFPackage created: 2 items, 1 association"
    assert result["result"] == {
        "documentId": identifier,
        "stats": {"documents": 1, "items": 2, "associations": 1},
        "changes": {"created": 4, "updated": 0, "unchanged": 0, "deleted": 0},
        "success": True,
    }
    location = response.headers["Location"]
    assert location == f"http://case.test{api.profile.prefix}/CFPackages/{identifier}"


@pytest.mark.parametrize("wrapper", ["CFPackage", "package", None])
async def test_uploaded_package_is_returned_unchanged(api: Api, wrapper: str | None) -> None:
    body = factories.package_with_every_class()
    body["extensions"] = {"whole": True}
    body["CFDefinitions"]["extensions"] = {"catalogue": "mine"}
    await api.send("POST", "/CFPackages", 201, {wrapper: body} if wrapper else body)
    package = await api.get_package(body["CFDocument"]["identifier"])
    assert api.list_lost_values(body, package) == []


async def test_items_at_the_same_position_are_sorted_by_identifier(api: Api) -> None:
    # An item that is moved from another framework keeps its position there.
    first, second = (factories.package() for _ in range(2))
    for number, body in enumerate((second, first)):
        body["CFItems"] = [factories.packed_item(f"{number}-{factories.new_id()}")]
        body["CFAssociations"] = []
        await api.send("POST", "/CFPackages", 201, body)
    (moved,), (present,) = second["CFItems"], first["CFItems"]
    document = first["CFDocument"]["identifier"]
    path = f"/CFItems/{moved['identifier']}"
    await api.send("PUT", path, 201, moved | {"CFDocumentURI": factories.link(document)})
    package = await api.get_package(document)
    identifiers = [item["identifier"] for item in package["CFItems"]]
    assert identifiers == [moved["identifier"], present["identifier"]]


@pytest.mark.parametrize("wrapper", ["CFPackage", None])
@pytest.mark.parametrize("repair", ["", "?repair=true"])
@pytest.mark.parametrize("form", ["absent", "null"])
@pytest.mark.parametrize(
    "names", [("CFItems",), ("CFAssociations",), ("CFItems", "CFAssociations")], ids=",".join
)
async def test_upload_without_items_or_associations_is_refused(
    api: Api, names: tuple[str, ...], form: str, repair: str, wrapper: str | None
) -> None:
    stored, new = await api.upload_package(), factories.package()
    identifier = stored["CFDocument"]["identifier"]
    before = await api.get_package(identifier)
    for method, path, body in (
        ("POST", "/CFPackages", new),
        ("PUT", f"/CFPackages/{identifier}", stored),
    ):
        package = {name: value for name, value in body.items() if name not in names}
        package |= dict.fromkeys(names) if form == "null" else {}
        wrapped = {wrapper: package} if wrapper else package
        response = await api.send(method, path + repair, 422, wrapped)
        under = f"{wrapper}." if wrapper else ""
        assert response.json()["imsx_error_details"] == [
            {"path": under + name, "message": "required"} for name in names
        ]
    assert await api.get_package(identifier) == before


async def test_missing_items_are_listed_with_every_other_problem(api: Api) -> None:
    body = factories.package()
    del body["CFItems"]
    body["CFAssociations"][0]["associationType"] = body["CFDocument"]["title"] = 5
    assert set(await api.get_problem_paths("POST", "/CFPackages", body)) == {
        "CFItems",
        "CFDocument.title",
        "CFAssociations[0].associationType",
    }


async def test_upload_returns_the_number_of_changes_by_kind(api: Api) -> None:
    body = await api.upload_package()
    path = f"/CFPackages/{body['CFDocument']['identifier']}"
    first, second = body["CFItems"]
    items = [{**first, "notes": "new"}, second, factories.packed_item()]
    response = await api.send("PUT", path, 200, {**body, "CFItems": items, "CFAssociations": []})
    changes = response.json()["result"]["changes"]
    assert changes == {"created": 1, "updated": 1, "unchanged": 2, "deleted": 1}
    response = await api.send("PUT", path, 200, {**body, "CFItems": [], "CFAssociations": []})
    changes = response.json()["result"]["changes"]
    assert changes == {"created": 0, "updated": 0, "unchanged": 1, "deleted": 3}


async def test_package_identifier_is_that_of_its_package_uri(api: Api) -> None:
    body = factories.package()
    link = factories.link()
    body["CFDocument"]["CFPackageURI"] = link
    await api.send("POST", "/CFPackages", 201, body)
    package = await api.get_package(link["identifier"])
    assert package["CFDocument"]["CFPackageURI"]["identifier"] == link["identifier"]
    assert await api.get_package(body["CFDocument"]["identifier"]) == package


async def test_package_identifier_defaults_to_that_of_its_document(api: Api) -> None:
    body = await api.upload_package()
    identifier = body["CFDocument"]["identifier"]
    package = await api.get_package(identifier)
    uri = package["CFDocument"]["CFPackageURI"]
    assert uri["identifier"] == identifier
    assert uri["uri"] == f"http://case.test{api.profile.prefix}/CFPackages/{identifier}"


async def test_links_to_the_document_are_filled_in(api: Api) -> None:
    body = await api.upload_package()
    document = body["CFDocument"]
    expected = {name: document[name] for name in ("identifier", "title")}
    expected["uri"] = api.get_expected_uri(document, "CFDocuments")
    for name in ("CFItem", "CFAssociation"):
        entity = await api.get_entity(name, factories.get_first_entity(body, name)["identifier"])
        assert without_ids(entity["CFDocumentURI"]) == expected


async def test_fields_parameter_selects_package_fields(api: Api) -> None:
    body = await api.upload_package()
    identifier = body["CFDocument"]["identifier"]
    package = await api.get_entity("CFPackage", identifier, fields="CFDocument,sourcedId")
    assert package.keys() == {"CFDocument", "sourcedId"}
    response = await api.get(f"/CFPackages/{identifier}", 400, fields="CFThings")
    assert "CFItems" in response["imsx_description"]


async def test_unknown_package_returns_404(api: Api) -> None:
    for path in ("/CFPackages/unknown", "/CFPackages/unknown/groups", "/CFPackages/%00"):
        await api.get(path, 404)


async def test_package_of_deleted_document_returns_404(api: Api, execute: Execute) -> None:
    body = await api.upload_package()
    await execute("UPDATE documents SET deleted_at = now()")
    await api.get(f"/CFPackages/{body['CFDocument']['identifier']}", 404)
    await api.send("PUT", f"/CFPackages/{body['CFDocument']['identifier']}", 200, body)
    assert await api.get_package(body["CFDocument"]["identifier"])


async def test_returned_package_can_be_uploaded_again(api: Api) -> None:
    body = factories.package_with_every_class()
    body["CFDocument"]["CFPackageURI"] = factories.link()
    await api.send("POST", "/CFPackages", 201, body)
    identifier = body["CFDocument"]["identifier"]
    response_body = await api.get(f"/CFPackages/{identifier}")
    await api.send("PUT", f"/CFPackages/{identifier}", 200, response_body)
    assert await api.get(f"/CFPackages/{identifier}") == response_body
    package = response_body.get("CFPackage", response_body)
    package["identifier"] = package["sourcedId"] = "another"
    paths = await api.get_problem_paths("PUT", f"/CFPackages/{identifier}", response_body)
    assert paths == ["identifier"]


async def test_order_is_that_of_the_last_upload(api: Api) -> None:
    body = await api.upload_package(CFRubrics=[factories.rubric()])
    document = body["CFDocument"]["identifier"]
    added = await api.create_item({"identifier": document})
    body["CFItems"] = [*body["CFItems"][::-1], factories.packed_item()]
    body["CFRubrics"][0]["CFRubricCriteria"].reverse()
    await api.send("PUT", f"/CFPackages/{document}", 200, body)
    last = await api.create_item({"identifier": document})
    package = await api.get_package(document)
    ids = [item["identifier"] for item in package["CFItems"]]
    assert ids == [*(item["identifier"] for item in body["CFItems"]), last["identifier"]]
    assert added["identifier"] not in ids
    assert api.list_lost_values(body["CFRubrics"], package["CFRubrics"]) == []


async def test_criteria_of_a_dropped_rubric_may_be_taken_over(api: Api) -> None:
    first = await api.upload_package(CFRubrics=[factories.rubric()])
    (rubric,) = first.pop("CFRubrics")
    await api.send("PUT", f"/CFPackages/{first['CFDocument']['identifier']}", 200, first)
    await api.upload_package(CFRubrics=[rubric])
    assert (
        api.list_lost_values(rubric, await api.get_entity("CFRubric", rubric["identifier"])) == []
    )


async def test_package_identifier_must_differ_from_other_documents(api: Api) -> None:
    other = await api.create_document()
    link = factories.link(other["identifier"])
    body = factories.package()
    body["CFDocument"]["CFPackageURI"] = link
    document = factories.document(CFPackageURI=link)
    for response in (
        await api.send("POST", "/CFPackages", 409, body),
        await api.send("PUT", f"/CFDocuments/{document['identifier']}", 409, document),
    ):
        (problem,) = response.json()["imsx_error_details"]
        assert problem["path"].endswith("CFPackageURI.identifier")
        assert f"of document {other['identifier']}" in problem["message"]
        assert "give this package another identifier" in problem["message"]


async def test_document_identifier_must_differ_from_other_packages(api: Api) -> None:
    other = await api.create_document()
    identifier = other["CFPackageURI"]["identifier"]
    await api.send("POST", "/CFPackages", 409, factories.package(document_id=identifier))
    await api.send("PUT", f"/CFDocuments/{identifier}", 409, factories.document(identifier))
    assert (await api.get_package(identifier))["CFDocument"]["identifier"] == other["identifier"]


async def test_definitions_of_dropped_entities_are_not_listed(api: Api, execute: Execute) -> None:
    body = factories.package_with_every_class()
    body["CFDefinitions"] = {}
    await api.send("POST", "/CFPackages", 201, body)
    document = body["CFDocument"]["identifier"]
    first = body["CFItems"].pop(0)
    await api.send("PUT", f"/CFPackages/{document}", 200, body)
    await api.get(f"/CFItems/{first['identifier']}", 404)
    definitions = (await api.get_package(document))["CFDefinitions"]
    assert {name for name, definition_list in definitions.items() if definition_list} == {
        "CFLicenses"
    }


async def test_change_of_a_packages_own_fields_is_recorded(api: Api, execute: Execute) -> None:
    body = await api.upload_package()
    document = body["CFDocument"]["identifier"]
    await execute("TRUNCATE changes")
    for _ in range(2):
        await api.send("PUT", f"/CFPackages/{document}", 200, {**body, "extensions": {"a": 1}})
    rows = await execute("SELECT kind, identifier, operation FROM changes")
    assert [tuple(row) for row in rows] == [("CFDocument", document, "update")]


async def test_post_of_existing_document_is_rejected(api: Api) -> None:
    body = await api.upload_package()
    response = await api.send("POST", "/CFPackages", 409, body)
    assert "PUT" in response.json()["imsx_description"]


async def test_put_of_unknown_document_is_rejected(api: Api) -> None:
    body = factories.package()
    await api.send("PUT", f"/CFPackages/{body['CFDocument']['identifier']}", 404, body)


async def test_put_under_another_identifier_is_rejected(api: Api) -> None:
    first, second = await api.upload_package(), await api.upload_package()
    path = f"/CFPackages/{first['CFDocument']['identifier']}"
    await api.send("PUT", path, 400, second)


async def test_put_under_package_identifier_is_accepted(api: Api) -> None:
    document = await api.create_document()
    body = factories.package(document["identifier"])
    path = f"/CFPackages/{document['CFPackageURI']['identifier']}"
    response = await api.send("PUT", path, 200, body)
    assert response.json()["result"]["stats"]["items"] == 2


async def test_put_replaces_the_whole_framework(api: Api, execute: Execute) -> None:
    body = await api.upload_package()
    document = body["CFDocument"]["identifier"]
    parent, child = body["CFItems"]
    added = factories.packed_item()
    single = await api.create_item({"identifier": document})
    body["CFItems"] = [{**parent, "fullStatement": "changed"}, added]
    body["CFAssociations"] = [factories.association(added["identifier"], parent["identifier"])]
    response = await api.send("PUT", f"/CFPackages/{document}", 200, body)
    assert response.json()["result"]["stats"] == {"documents": 1, "items": 2, "associations": 1}
    package = await api.get_package(document)
    assert api.list_lost_values(body, package) == []
    for item in (child, single):
        await api.get(f"/CFItems/{item['identifier']}", 404)
    deleted = await execute("SELECT identifier FROM items WHERE deleted_at IS NOT NULL")
    assert {row[0] for row in deleted} == {child["identifier"], single["identifier"]}
    assert len(await execute("SELECT 1 FROM associations")) == 1


async def test_unchanged_put_writes_nothing(api: Api, execute: Execute) -> None:
    body = factories.package_with_every_class()
    await api.send("POST", "/CFPackages", 201, body)
    before = await execute("SELECT * FROM changes")
    rows = await execute("SELECT xmin, * FROM items ORDER BY ordinal")
    await api.send("PUT", f"/CFPackages/{body['CFDocument']['identifier']}", 200, body)
    assert await execute("SELECT * FROM changes") == before
    assert await execute("SELECT xmin, * FROM items ORDER BY ordinal") == rows


async def test_put_records_only_changed_entities(api: Api, execute: Execute) -> None:
    body = await api.upload_package(CFRubrics=[factories.rubric()])
    document = body["CFDocument"]["identifier"]
    await execute("TRUNCATE changes")
    deleted_item = body["CFItems"].pop()
    deleted_association = body["CFAssociations"].pop()
    level = body["CFRubrics"][0]["CFRubricCriteria"][0]["CFRubricCriterionLevels"].pop()
    assert level
    await api.send("PUT", f"/CFPackages/{document}", 200, body)
    rows = await execute("SELECT document_identifier, kind, identifier, operation FROM changes")
    assert {tuple(row) for row in rows} == {
        (document, "CFItem", deleted_item["identifier"], "delete"),
        (document, "CFAssociation", deleted_association["identifier"], "delete"),
        (document, "CFRubric", body["CFRubrics"][0]["identifier"], "update"),
    }
    assert len(rows) == 3
    assert api.list_lost_values(body, await api.get_package(document)) == []


async def test_put_undeletes_entities_dropped_earlier(api: Api) -> None:
    body = await api.upload_package()
    path = f"/CFPackages/{body['CFDocument']['identifier']}"
    empty = {"CFDocument": body["CFDocument"], "CFItems": [], "CFAssociations": []}
    await api.send("PUT", path, 200, empty)
    assert (await api.get_package(body["CFDocument"]["identifier"]))["CFItems"] == []
    await api.send("PUT", path, 200, body)
    assert api.list_lost_values(body, await api.get_package(body["CFDocument"]["identifier"])) == []


async def test_two_associations_may_swap_their_triples(api: Api) -> None:
    body = await api.upload_package()
    parent, child = (item["identifier"] for item in body["CFItems"])
    association = factories.association(parent, child)
    body["CFAssociations"].append(association)
    path = f"/CFPackages/{body['CFDocument']['identifier']}"
    await api.send("PUT", path, 200, body)
    first, second = body["CFAssociations"]
    for end in ("originNodeURI", "destinationNodeURI"):
        first[end], second[end] = second[end], first[end]
    await api.send("PUT", path, 200, body)
    assert api.list_lost_values(body, await api.get_package(body["CFDocument"]["identifier"])) == []


async def test_rubrics_change_with_their_package(api: Api) -> None:
    body = await api.upload_package(CFRubrics=[factories.rubric(), factories.rubric()])
    path = f"/CFPackages/{body['CFDocument']['identifier']}"
    rubric_body, dropped_rubric = body["CFRubrics"]
    body["CFRubrics"] = [rubric_body]
    first, second = rubric_body["CFRubricCriteria"]
    second["CFRubricCriterionLevels"] = first.pop("CFRubricCriterionLevels")
    await api.send("PUT", path, 200, body)
    assert (
        api.list_lost_values(
            rubric_body, await api.get_entity("CFRubric", rubric_body["identifier"])
        )
        == []
    )
    rubric = await api.get_entity("CFRubric", rubric_body["identifier"])
    assert "CFRubricCriterionLevels" not in rubric["CFRubricCriteria"][0]
    await api.get(f"/CFRubrics/{dropped_rubric['identifier']}", 404)


async def test_definitions_include_linked_and_defined_ones(api: Api) -> None:
    body = factories.package_with_every_class()
    unused = factories.item_type(hierarchyCode="unused")
    body["CFDefinitions"]["CFItemTypes"].append(unused)
    await api.send("POST", "/CFPackages", 201, body)
    await api.upload_package()  # another framework, whose definitions are not these
    document = body["CFDocument"]["identifier"]
    definitions = (await api.get_package(document))["CFDefinitions"]
    assert {name: len(definition_list) for name, definition_list in definitions.items()} == {
        "CFConcepts": 1,
        "CFSubjects": 1,
        "CFLicenses": 1,
        "CFItemTypes": 2,
        "CFAssociationGroupings": 1,
    }
    body["CFDefinitions"] = {}
    await api.send("PUT", f"/CFPackages/{document}", 200, body)
    definitions = (await api.get_package(document))["CFDefinitions"]
    assert all(len(definition_list) == 1 for definition_list in definitions.values())


async def test_upload_accepts_nodes_outside_the_package(api: Api) -> None:
    body = factories.package()
    body["CFAssociations"].append(
        factories.association("far-away", body["CFItems"][0]["identifier"])
    )
    await api.send("POST", "/CFPackages", 201, body)
    assert len((await api.get_package(body["CFDocument"]["identifier"]))["CFAssociations"]) == 2


async def test_items_of_another_document_are_rejected(api: Api, execute: Execute) -> None:
    first = await api.upload_package(CFRubrics=[factories.rubric()])
    second = factories.package(
        CFItems=first["CFItems"],
        CFAssociations=first["CFAssociations"],
        CFRubrics=[factories.rubric()],
    )
    second["CFRubrics"][0]["CFRubricCriteria"] = first["CFRubrics"][0]["CFRubricCriteria"]
    changes = await execute("SELECT 1 FROM changes")
    response = await api.send("POST", "/CFPackages", 409, second)
    problems = response.json()["imsx_error_details"]
    assert [problem["path"] for problem in problems] == [
        "CFItems[0]",
        "CFItems[1]",
        "CFAssociations[0]",
        "CFRubricCriterion[0]",
        "CFRubricCriterion[1]",
        "CFRubricCriterionLevel[0]",
        "CFRubricCriterionLevel[1]",
    ]
    assert all(first["CFDocument"]["identifier"] in problem["message"] for problem in problems)
    await api.get(f"/CFDocuments/{second['CFDocument']['identifier']}", 404)
    assert await execute("SELECT 1 FROM changes") == changes


async def test_triples_of_another_document_are_rejected(api: Api) -> None:
    first = await api.upload_package()
    association = first["CFAssociations"][0]
    copy = {**association, **factories.entity()}
    response = await api.send("POST", "/CFPackages", 409, factories.package(CFAssociations=[copy]))
    (problem,) = response.json()["imsx_error_details"]
    assert problem["path"] == "CFAssociations[0]"
    assert association["identifier"] in problem["message"]


async def test_package_identifier_of_another_document_is_rejected(api: Api) -> None:
    document = await api.create_document()
    body = factories.package()
    body["CFDocument"]["CFPackageURI"] = document["CFPackageURI"]
    response = await api.send("POST", "/CFPackages", 409, body)
    assert document["identifier"] in response.json()["imsx_description"]


async def test_deleted_item_may_be_taken_over(api: Api) -> None:
    first = await api.upload_package()
    item = first["CFItems"].pop()
    first["CFAssociations"] = []
    await api.send("PUT", f"/CFPackages/{first['CFDocument']['identifier']}", 200, first)
    second = factories.package(CFItems=[item], CFAssociations=[])
    await api.send("POST", "/CFPackages", 201, second)
    entity = await api.get_entity("CFItem", item["identifier"])
    assert entity["CFDocumentURI"]["identifier"] == second["CFDocument"]["identifier"]


async def test_duplicates_within_an_upload_are_all_listed(api: Api) -> None:
    body = factories.package(CFRubrics=[factories.rubric()])
    body["CFItems"].append(body["CFItems"][0])
    first = body["CFAssociations"][0]
    body["CFAssociations"].append({**first, "identifier": "another"})
    kind = factories.item_type()
    body["CFDefinitions"] = {"CFItemTypes": [kind, kind]}
    criteria = body["CFRubrics"][0]["CFRubricCriteria"]
    criteria[1]["CFRubricCriterionLevels"] = criteria[0]["CFRubricCriterionLevels"]
    paths = await api.get_problem_paths("POST", "/CFPackages", body)
    assert paths == [
        "CFDefinitions.CFItemTypes[1].identifier",
        "CFItems[2].identifier",
        "CFRubrics[0].CFRubricCriteria[1].CFRubricCriterionLevels[0].identifier",
        "CFRubrics[0].CFRubricCriteria[1].CFRubricCriterionLevels[1].identifier",
        "CFAssociations[1]",
    ]


async def test_invalid_upload_lists_every_problem(api: Api, execute: Execute) -> None:
    body = factories.package()
    del body["CFDocument"]["creator"]
    body["CFItems"][1]["educationLevel"] = "06, 07"
    body["CFAssociations"][0]["associationType"] = "RelatedTo"
    body["CFDefinitions"] = {"CFSubjects": [{"identifier": "s"}]}
    paths = set(await api.get_problem_paths("POST", "/CFPackages", body))
    assert paths == {
        "CFDocument.creator",
        "CFItems[1].educationLevel",
        "CFAssociations[0].associationType",
        *(f"CFDefinitions.CFSubjects[0].{name}" for name in ("uri", "title", "hierarchyCode")),
        "CFDefinitions.CFSubjects[0].lastChangeDateTime",
    }
    assert await execute("SELECT 1 FROM documents") == []


async def test_upload_with_repair_is_repaired(api: Api) -> None:
    body = factories.package()
    body["CFItems"][0]["educationLevel"] = "06, 07"
    await api.send("POST", "/CFPackages", 422, body)
    response = await api.send("POST", "/CFPackages", 201, body, params={"repair": "true"})
    (repair,) = response.json()["result"]["repairs"]
    assert (repair["kind"], repair["count"]) == ("string-for-list", 1)
    assert repair["path"] == "CFItems[0].educationLevel"
    item = await api.get_entity("CFItem", body["CFItems"][0]["identifier"])
    assert item["educationLevel"] == ["06", "07"]
    path = f"/CFPackages/{body['CFDocument']['identifier']}"
    response = await api.send("PUT", path, 200, body, params={"repair": "true"})
    assert len(response.json()["result"]["repairs"]) == 1
    body["CFItems"][0]["statusEndDate"] = "soon"
    paths = await api.get_problem_paths("POST", "/CFPackages", body, params={"repair": "true"})
    assert paths == ["CFItems[0].statusEndDate"]


async def test_too_large_body_returns_413(client: AsyncClient, api: Api) -> None:
    async def pieces() -> Any:
        for _ in range(31):
            yield b" " * 1_000_000

    for content in (b" " * 31_000_000, pieces()):
        response = await api.send("POST", "/CFPackages", 413, content=content)
        assert "30 MB" in response.json()["imsx_description"]

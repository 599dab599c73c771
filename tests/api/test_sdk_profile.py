"""SDK profile: the format of captured production responses, and uploads as the SDK sends them."""

import json
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient
from support import factories
from support.calls import Api
from support.factories import Body

from case_server.api.profiles import SDK, STANDARD_1_1

BASE = f"http://case.test{SDK.prefix}"


@pytest.fixture
def sdk(client: AsyncClient) -> Api:
    return Api(client, SDK)


def sdk_package() -> Body:
    """Return a package as the SDK sends it: with two field aliases, without document links."""
    body = factories.package()
    body["CFDocument"]["licenseUri"] = "https://creativecommons.org/licenses/by/4.0/"
    body["CFItems"][0]["cfItemType"] = "Domain"
    body["CFAssociations"][0]["sequenceNumber"] = 1.0
    return body


async def test_single_objects_are_wrapped(sdk: Api) -> None:
    body = factories.package_with_every_class()
    await sdk.send("POST", "/CFPackages", 201, body)
    for name in ("CFDocument", "CFItem", "CFAssociation", "CFLicense", "CFRubric"):
        identifier = factories.get_first_entity(body, name)["identifier"]
        assert (await sdk.get(f"/{name}s/{identifier}")).keys() == {name}
    document = body["CFDocument"]["identifier"]
    assert (await sdk.get(f"/CFPackages/{document}")).keys() == {"CFPackage"}
    assert (await sdk.get(f"/CFPackages/{document}/groups")).keys() == {"CFPackageWithGroups"}


async def test_item_has_empty_lists_and_a_default_type(sdk: Api) -> None:
    body = await sdk.upload_package()
    item = await sdk.get_entity("CFItem", body["CFItems"][0]["identifier"])
    for name in ("conceptKeywords", "subject", "subjectURI", "educationLevel"):
        assert item[name] == []
    assert item["CFItemType"] == "unknown"
    (listed, _) = (await sdk.get("/CFItems"))["CFItems"]
    assert listed["CFItemType"] == "unknown"


async def test_uris_are_urls_of_this_server(sdk: Api) -> None:
    body = factories.package_with_every_class()
    external = factories.association("far-away", body["CFItems"][0]["identifier"])
    root_association = factories.association(
        body["CFItems"][0]["identifier"], body["CFDocument"]["identifier"]
    )
    body["CFAssociations"] += [external, root_association]
    await sdk.send("POST", "/CFPackages", 201, body)
    document = body["CFDocument"]["identifier"]
    item = await sdk.get_entity("CFItem", body["CFItems"][0]["identifier"])
    assert item["uri"] == f"{BASE}/CFItems/{item['sourcedId']}"
    for name, collection in (
        ("CFDocumentURI", "CFDocuments"),
        ("CFItemTypeURI", "CFItemTypes"),
        ("conceptKeywordsURI", "CFConcepts"),
    ):
        assert item[name]["uri"] == f"{BASE}/{collection}/{item[name]['sourcedId']}"
    assert item["subjectURI"][0]["uri"].startswith(f"{BASE}/CFSubjects/")
    association = await sdk.get_entity("CFAssociation", external["identifier"])
    assert association["originNodeURI"]["uri"] == external["originNodeURI"]["uri"]
    local = association["destinationNodeURI"]
    assert local["uri"] == f"{BASE}/CFItems/{local['sourcedId']}"
    association = await sdk.get_entity("CFAssociation", root_association["identifier"])
    assert association["destinationNodeURI"]["uri"] == f"{BASE}/CFDocuments/{document}"
    package = await sdk.get_package(document)
    singles = [
        await sdk.get_entity("CFAssociation", association["sourcedId"])
        for association in package["CFAssociations"]
    ]
    assert package["CFAssociations"] == singles
    url = package["CFDocument"]["CFPackageURI"]["uri"]
    assert (await sdk.client.get(url)).json()["CFPackage"] == package


async def test_package_has_the_identifier_of_its_document(sdk: Api) -> None:
    document = await sdk.create_document()
    package = await sdk.get_package(document["CFPackageURI"]["identifier"])
    assert package["sourcedId"] == document["identifier"]


async def test_upload_as_the_sdk_sends_it_is_stored(sdk: Api) -> None:
    body = sdk_package()
    identifier = body["CFDocument"]["identifier"]
    await sdk.send("PUT", f"/CFPackages/{identifier}", 404, body)
    await sdk.send("POST", "/CFPackages", 201, body)
    response = await sdk.send("PUT", f"/CFPackages/{identifier}", 200, body)
    assert response.json()["result"]["stats"] == {"documents": 1, "items": 2, "associations": 1}
    package = await sdk.get_package(identifier)
    link = package["CFDocument"]["licenseURI"]
    assert link["title"] == "https://creativecommons.org/licenses/by/4.0/"
    assert link["uri"] == f"{BASE}/CFLicenses/{link['sourcedId']}"
    license_ = await sdk.get_entity("CFLicense", link["sourcedId"])
    assert license_["licenseText"] == "https://creativecommons.org/licenses/by/4.0/"
    assert package["CFItems"][0]["CFItemType"] == "Domain"
    assert package["CFAssociations"][0]["sequenceNumber"] == 1
    assert "licenseUri" not in json.dumps(package)


async def test_license_text_becomes_one_license(sdk: Api) -> None:
    first, second = sdk_package(), sdk_package()
    for body in (first, second):
        body["CFDocument"]["licenseUri"] = "All rights reserved"
        await sdk.send("POST", "/CFPackages", 201, body)
    links = [
        (await sdk.get_entity("CFDocument", body["CFDocument"]["identifier"]))["licenseURI"]
        for body in (first, second)
    ]
    assert links[0] == links[1]
    standard = Api(sdk.client, STANDARD_1_1)
    license_ = await standard.get(f"/CFLicenses/{links[0]['sourcedId']}")
    assert license_["uri"] == f"urn:uuid:{links[0]['sourcedId']}"


async def test_contradictory_aliases_are_rejected(sdk: Api) -> None:
    body = sdk_package()
    body["CFItems"][0]["CFItemType"] = "Cluster"
    paths = await sdk.get_problem_paths("POST", "/CFPackages", body)
    assert paths == ["CFItems[0].cfItemType"]
    body["CFItems"][0]["CFItemType"] = "Domain"
    await sdk.send("POST", "/CFPackages", 201, body)


async def test_responses_contain_no_null(sdk: Api) -> None:
    body = factories.package_with_every_class()
    await sdk.send("POST", "/CFPackages", 201, body)
    response = await sdk.send("GET", f"/CFPackages/{body['CFDocument']['identifier']}", 200)
    assert "null" not in response.text


async def test_errors_have_the_codes_that_the_sdk_reads(sdk: Api) -> None:
    for body, minor in (
        (await sdk.get("/CFItems/unknown", 404), "unknownobject"),
        (await sdk.get("/CFItems", 400, limit="x"), "invaliddata"),
        (await sdk.get("/CFItems", 400, sort="x"), "invaliddata"),
    ):
        (field,) = body["imsx_CodeMinor"]["imsx_codeMinorField"]
        assert field["imsx_codeMinorFieldValue"] == minor
        assert "imsx_codeMinor" not in body


async def test_list_has_page_count_and_number(sdk: Api) -> None:
    document = await sdk.create_document()
    for _ in range(5):
        await sdk.create_item(document)
    body = await sdk.get("/CFItems", limit=2, offset=2)
    paging = {name: body[name] for name in ("totalCount", "pageCount", "pageNumber")}
    assert paging == {"totalCount": 5, "pageCount": 3, "pageNumber": 2}


async def test_captured_responses_are_returned_after_upload(sdk: Api, shared: Path) -> None:
    """A captured production response, uploaded, is returned unchanged except for the host."""
    captured = json.loads(
        (shared / "reference/captures/package-items-and-associations.json").read_text()
    )
    original = captured["CFPackage"]
    original["CFDocument"] = factories.entity(original.pop("sourcedId"), creator="c", title="Math")
    await sdk.send("POST", "/CFPackages", 201, {"CFPackage": original})
    package = await sdk.get_package(original["CFDocument"]["identifier"])
    for kind in ("CFItems", "CFAssociations"):
        assert len(package[kind]) == len(original[kind])
        for before, after in zip(original[kind], package[kind], strict=True):
            assert with_one_id(after) == with_host(before)


def with_one_id(node: Any) -> Any:
    """Drop ``identifier``: production responses contain only ``sourcedId``."""
    if isinstance(node, list):
        return [with_one_id(part) for part in node]
    if isinstance(node, dict):
        return {name: with_one_id(part) for name, part in node.items() if name != "identifier"}
    return node


def with_host(node: Any) -> Any:
    """Replace the host of a captured response by that of this server."""
    text = json.dumps(node).replace("https://api.alpha-1edtech.com", "http://case.test")
    return json.loads(text)


async def test_captured_tree_is_returned_after_upload(sdk: Api, shared: Path) -> None:
    captured = json.loads(
        (shared / "reference/captures/groups-constructed-example.json").read_text()
    )
    groups = captured["CFPackageWithGroups"]
    items: list[Body] = []
    edges: list[Body] = []

    def walk(content: Any, parent: str | None) -> None:
        for members in content.values():
            for order, member in enumerate(members):
                fields = {name: part for name, part in member.items() if name != "childGroups"}
                items.append(fields)
                if parent:
                    edge = factories.association(member["sourcedId"], parent, sequenceNumber=order)
                    edges.append(edge)
                walk(member.get("childGroups", {}), member["sourcedId"])

    walk(groups["structuredContent"], None)
    document = factories.entity(groups["sourcedId"], creator="c", title="Math - Common Core")
    body = {"CFDocument": document, "CFItems": items, "CFAssociations": edges}
    await sdk.send("POST", "/CFPackages", 201, body)
    response = await sdk.get(f"/CFPackages/{groups['sourcedId']}/groups")
    tree = with_one_id(response["CFPackageWithGroups"]["structuredContent"])
    assert tree == with_host(groups["structuredContent"])

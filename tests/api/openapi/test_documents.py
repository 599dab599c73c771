"""The OpenAPI document: whole, consistent, and with examples that the server accepts."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from httpx import AsyncClient
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import TypeAdapter, ValidationError

from case_server.api.openapi import examples
from case_server.api.profiles import PROFILES, ApiProfile
from case_server.case.types import Identifier
from case_server.sample import read_sample

METHODS = {"get", "put", "post", "delete"}


@pytest.fixture
async def document(anonymous: AsyncClient) -> Any:
    response = await anonymous.get("/openapi.json")
    assert response.status_code == 200
    return response.json()


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield method, path, operation


def references(node: Any) -> Iterator[str]:
    for name, part in node.items() if isinstance(node, dict) else enumerate(node):
        if name == "$ref":
            yield part
        elif isinstance(part, dict | list):
            yield from references(part)


def get_validator(document: Any, schema: Any) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**schema, "components": document["components"]})


async def test_every_reference_resolves(document: Any) -> None:
    result = set(references(document))
    assert len(result) > 15
    for reference in result:
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


async def test_every_route_is_described(document: Any) -> None:
    names = []
    for method, path, operation in operations(document):
        names.append(operation["operationId"])
        assert operation["summary"], (method, path)
        assert all(response["description"] for response in operation["responses"].values())
        if path.startswith(PROFILES[0].prefix):
            assert {"401", "403", "503", "default"} <= operation["responses"].keys()
            assert operation["tags"] == [PROFILES[0].title]
        if method in {"put", "post"} and path.startswith(PROFILES[0].prefix):
            body = operation["requestBody"]["content"]["application/json"]
            assert body["schema"]
            assert body["example"]
            assert {"400", "413", "422"} <= operation["responses"].keys()
        if "{sourcedId}" in path and method == "get":
            assert "404" in operation["responses"]
    assert len(names) == len(set(names))


async def test_lists_describe_their_parameters(document: Any) -> None:
    for collection in ("CFDocuments", "CFItems", "CFSubjects"):
        operation = document["paths"][f"{PROFILES[0].prefix}/{collection}"]["get"]
        parameter_names = [parameter["name"] for parameter in operation["parameters"]]
        search = ["search"] if collection == "CFItems" else []
        assert parameter_names == [
            "limit",
            "offset",
            "sort",
            "orderBy",
            "filter",
            "fields",
            *search,
        ]
        assert operation["parameters"][0]["schema"]["maximum"] == PROFILES[0].limits.maximum


async def test_optional_fields_are_never_null(document: Any) -> None:
    schemas = document["components"]["schemas"]
    response_schemas = {
        name: schema for name, schema in schemas.items() if not name.endswith("Input")
    }
    assert "null" not in json.dumps(response_schemas)
    assert "fullStatement" in schemas["CFItem"]["required"]
    assert "CFDocumentURI" in schemas["CFItem"]["required"]
    assert "CFDocumentURI" not in schemas["CFPckgItem"]["required"]


async def test_request_schemas_allow_null_in_optional_fields_only(document: Any) -> None:
    schemas = document["components"]["schemas"]
    item = {**examples.ITEM, "notes": None, "CFItemTypeURI": None, "conceptKeywordsURI": None}
    item["licenseURI"] = {"title": "a", "identifier": "b", "uri": "urn:c"}
    package = {**examples.PACKAGE, "CFItems": [item], "CFDefinitions": None, "CFRubrics": None}

    def is_valid(name: str, body: Any) -> bool:
        schema = {"$ref": f"#/components/schemas/{name}"}
        return bool(get_validator(document, schema).is_valid(body))

    assert schemas["CFPackageInput"]["required"] == ["CFDocument", "CFItems", "CFAssociations"]
    assert is_valid("CFItemInput", item)
    assert is_valid("CFPackageInput", package)
    assert not is_valid("CFItemInput", {**item, "fullStatement": None})
    assert not is_valid("CFItemInput", {**item, "subject": [None]})
    assert not is_valid("CFItemInput", {**item, "licenseURI": {**item["licenseURI"], "uri": None}})
    assert not is_valid("CFPackageInput", {**package, "CFItems": None})


async def test_examples_match_the_schemas(document: Any) -> None:
    validated = 0
    for _, _, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content and "example" in content:
            get_validator(document, content["schema"]).validate(content["example"])
            validated += 1
    assert validated == 6


DOCUMENTS = {
    "/openapi.json": "",
    **{profile.prefix + profile.document: profile.prefix for profile in PROFILES},
}
"""The OpenAPI documents, with the prefix of their paths."""


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_every_body_has_a_described_class(anonymous: AsyncClient, path: str) -> None:
    document = (await anonymous.get(path)).json()
    class_count = 0
    for _, _, operation in operations(document):
        for status in {"200", "201"} & operation["responses"].keys():
            if content := operation["responses"][status].get("content"):
                assert content["application/json"]["schema"].keys() == {"$ref"}
                class_count += 1
    assert class_count >= 12
    schemas = document["components"]["schemas"]
    untyped_parts = [
        place for name, schema in schemas.items() for place in vague_parts(schema, name)
    ]
    assert [
        place for place in untyped_parts if not re.search(r"\.(before|after)$|xtension", place)
    ] == []


def vague_parts(schema: Any, place: str) -> Iterator[str]:
    """Yield the places of a schema that allow any value, any object or any array."""
    nested = {name: schema.get(name) for name in ("items", "additionalProperties")}
    parts = {name: part for name, part in nested.items() if isinstance(part, dict)}
    parts |= schema.get("properties", {})
    is_container = schema.get("type") in {"object", "array"}
    if not schema.keys() & {"$ref", "anyOf", "enum", "type"} or (is_container and not parts):
        yield place
    for name, part in parts.items():
        yield from vague_parts(part, f"{place}.{name}")


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_response_of_every_get_route_matches_its_schema(
    client: AsyncClient, path: str
) -> None:
    uploaded = await client.post("/case/1.1/CFPackages", content=read_sample())
    assert uploaded.status_code == 201, uploaded.text
    package = json.loads(read_sample())
    ids = {
        name: members[0]["identifier"]
        for name, members in {**package, **package["CFDefinitions"]}.items()
        if isinstance(members, list)
    }
    ids |= dict.fromkeys(("CFDocuments", "CFPackages"), package["CFDocument"]["identifier"])
    ids["CFItemAssociations"] = package["CFAssociations"][0]["originNodeURI"]["identifier"]
    document, prefix = (await client.get(path)).json(), DOCUMENTS[path]
    for method, route, operation in operations(document):
        if method == "get":
            collection = route.removeprefix(PROFILES[0].prefix).split("/")[1]
            response = await client.get(
                prefix + route.replace("{sourcedId}", ids.get(collection, ""))
            )
            assert response.status_code == 200, response.text
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            get_validator(document, schema).validate(response.json())


async def test_examples_of_puts_are_accepted(client: AsyncClient) -> None:
    prefix = PROFILES[0].prefix
    for path, body in (
        (f"CFDocuments/{examples.DOCUMENT_ID}", examples.DOCUMENT),
        (f"CFItemTypes/{examples.ITEM_TYPE_ID}", examples.ITEM_TYPE),
        (f"CFItems/{examples.PARENT_ID}", {"item": examples.PARENT}),
        (f"CFItems/{examples.ITEM_ID}", {"item": examples.ITEM}),
        (f"CFItemAssociations/{examples.ASSOCIATION_ID}", {"association": examples.ASSOCIATION}),
    ):
        response = await client.put(f"{prefix}/{path}", json=body)
        assert response.status_code == 201, response.text


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
async def test_each_profile_has_valid_document(anonymous: AsyncClient, profile: ApiProfile) -> None:
    response = await anonymous.get(profile.prefix + profile.document)
    assert response.status_code == 200
    document = response.json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["servers"][0]["url"] == f"http://case.test{profile.prefix}"
    methods = {method for method, _, _ in operations(document)}
    assert methods == (METHODS if profile.writes else {"get"})
    assert len(document["paths"]) == (17 if profile.writes else 12)
    if not profile.writes:
        assert "sourcedId" not in json.dumps(document["components"])


async def test_openapi_document_of_server_is_valid(document: Any) -> None:
    OpenAPIV31SpecValidator(document).validate()


async def test_pattern_of_identifiers_matches_what_is_accepted(document: Any) -> None:
    schemas = document["components"]["schemas"]
    prefix = PROFILES[0].prefix
    (parameter, *_) = document["paths"][f"{prefix}/CFItems/{{sourcedId}}"]["get"]["parameters"]
    identifier_schemas = [
        parameter["schema"],
        schemas["LinkURI"]["properties"]["identifier"],
        *(schemas[name]["properties"]["sourcedId"] for name in ("CFItem", "CFPckgItem")),
    ]
    adapter = TypeAdapter(Identifier)
    for name in ("", ".", "..", "...", ".a", "..a", "a.", "a", "a/b", "x" * 255, "x" * 256, "\x9f"):
        try:
            is_accepted = adapter.validate_python(name) == name
        except ValidationError:
            is_accepted = False
        for schema in identifier_schemas:
            assert jsonschema.Draft202012Validator(schema).is_valid(name) == is_accepted, name

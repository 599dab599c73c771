"""Standard profiles: responses of the 12 operations are valid in CASE 1.1 and 1.0."""

import copy
import json
import os
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from httpx import AsyncClient
from support import factories
from support.calls import Api
from support.packages import repair_package
from support.selection import mark_slow_except

from case_server.api.openapi import schemas as own
from case_server.api.profiles import NEW_IN_1_1, STANDARD_1_0, STANDARD_1_1, ApiProfile
from case_server.case.resources import RESOURCES
from case_server.case.vocabulary import ASSOCIATION_TYPES_1_0
from case_server.sample import read_sample

OWN_SCHEMAS = Path(__file__).parents[1] / "schemas" / "standard.json"

OPERATIONS = {
    "getAllCFDocuments": "/CFDocuments",
    "getCFPackage": "/CFPackages/{}",
    "getCFItemAssociations": "/CFItemAssociations/{}",
    **{f"get{resource.name}": f"/{resource.collection}/{{}}" for resource in RESOURCES},
}
"""The 12 operations of the binding (section 2) and their paths."""

SMALL = ("sample", "ccss-math-2010", "georgia-science-excerpt-v1p1")

UNKNOWN_ID = "0b0b0b0b-0b0b-4b0b-8b0b-0b0b0b0b0b0b"

PROFILES = (STANDARD_1_1, STANDARD_1_0)

each_profile = pytest.mark.parametrize("version", PROFILES, ids=lambda profile: profile.version)


def test_standard_has_twelve_operations() -> None:
    assert len(OPERATIONS) == 12


@cache
def official(folder: Path, operation: str, version: str) -> Any:
    """Return the official schema of a response; for 1.0, without the additions of 1.1."""
    path = folder / f"{operation}-200-responsepayload-schema.json"
    schema = json.loads(path.read_text())
    return schema if version == "1.1" else downgrade_schema(schema)


def downgrade_schema(schema: Any) -> Any:
    """Remove from a schema what CASE 1.1 added."""
    new = {name for names in NEW_IN_1_1.values() for name in names} - {"subject", "subjectURI"}
    changed = copy.deepcopy(schema)
    for definition in [changed, *changed.get("$defs", {}).values()]:
        fields = definition.get("properties", {})
        removed_fields = {"extensions", "targetType", "frameworkType", "caseVersion"}
        if "fullStatement" in fields:
            removed_fields |= {"subject", "subjectURI"}
        if "associationType" in fields:
            removed_fields |= new & {"notes"}
            types = sorted(ASSOCIATION_TYPES_1_0)
            fields["associationType"] = {"type": "string", "enum": types}
        for name in removed_fields:
            fields.pop(name, None)
    return changed


def framework(name: str, shared: Path) -> bytes:
    if name == "sample":
        return read_sample()
    return repair_package((shared / "frameworks" / f"{name}.json").read_bytes())[0]


def identifiers(body: factories.Body, operation: str) -> list[str]:
    """Return the identifiers to request: all of a small framework, some of a large one."""
    kind = operation.removeprefix("get")
    if kind in {"CFDocument", "CFPackage"}:
        return [body["CFDocument"]["identifier"]]
    kind = {"CFItemAssociations": "CFItem"}.get(kind, kind)
    lists = {**body, **body.get("CFDefinitions", {})}
    members = [entity["identifier"] for entity in lists.get(f"{kind}s", [])]
    return members[:: max(1, len(members) // 40)]


async def iter_responses(
    client: AsyncClient, profile: ApiProfile, body: factories.Body, **params: Any
) -> AsyncIterator[tuple[str, Any]]:
    """Yield the responses of every operation for a stored framework."""
    api = Api(client, profile)
    for operation, path in OPERATIONS.items():
        if operation == "getAllCFDocuments":
            yield operation, await api.get(path, **params)
            continue
        for identifier in identifiers(body, operation):
            yield operation, await api.get(path.format(identifier), **params)


def without_empty_list(operation: str, response: Any) -> Any:
    """Replace an empty list of associations, because the schema requires at least one."""
    if operation == "getCFItemAssociations" and response["CFAssociations"] == []:
        return {**response, "CFAssociations": [factories.association("a", "b")]}
    return response


REPAIRED = ("opensalt-2017-sample", "smarterbalanced-math-content-spec", "teks-118-economics")
"""Frameworks that need repair and have valid identifiers, unlike that of opencase."""

LARGE_CASE = (STANDARD_1_1, "large-11k", "")
"""Only one, because validating it takes ten seconds."""

CASES = [
    *((version, name, "") for version in PROFILES for name in REPAIRED),
    *((version, name, value) for version in PROFILES for name in SMALL for value in ("", "true")),
    LARGE_CASE,
]


@pytest.mark.parametrize(
    ("version", "name", "extensions"),
    mark_slow_except([case for case in CASES if case != LARGE_CASE], CASES),
    ids=[f"{version.version}-{name}-{value or 'false'}" for version, name, value in CASES],
)
async def test_every_response_is_valid_by_the_official_schemas(
    client: AsyncClient, shared: Path, version: ApiProfile, name: str, extensions: str
) -> None:
    raw = framework(name, shared)
    await client.post("/case/1.1/CFPackages", content=raw)
    folder, seen = shared / "reference" / "jsonschema", set()
    async for operation, response in iter_responses(
        client, version, json.loads(raw), extensions=extensions
    ):
        schema = official(folder, operation, version.version)
        validator = jsonschema.Draft202012Validator(schema)
        validator.validate(without_empty_list(operation, response))
        seen.add(operation)
    if name == "sample":
        assert seen == OPERATIONS.keys()


async def test_each_response_is_valid_by_schemas_of_the_repository(client: AsyncClient) -> None:
    """Check the same without the official schemas, which are not part of the repository."""
    await client.post("/case/1.1/CFPackages", content=read_sample())
    schemas = json.loads(OWN_SCHEMAS.read_text())
    seen = set()
    async for operation, response in iter_responses(
        client, STANDARD_1_1, json.loads(read_sample())
    ):
        for name, entity in entities(operation, response):
            reference = {"$ref": f"#/$defs/{name}", "$defs": schemas}
            jsonschema.Draft202012Validator(reference).validate(entity)
            seen.add(operation)
    assert seen == OPERATIONS.keys()


def entities(operation: str, response: Any) -> list[tuple[str, Any]]:
    """Return the entities in a response with the names of their classes."""
    if operation == "getAllCFDocuments":
        return [("CFDocument", document) for document in response["CFDocuments"]]
    if operation == "getCFItemAssociations":
        associations = [("CFAssociation", each) for each in response["CFAssociations"]]
        return [("CFItem", response["CFItem"]), *associations]
    name = operation.removeprefix("get")
    return [(name, entity) for entity in response.get(f"{name}s", [response])]


def test_schemas_in_this_repository_match_the_model() -> None:
    """Regenerate the file with: WRITE_SCHEMAS=1 python -m pytest tests/api/test_standard.py."""
    text = json.dumps(own.build_model_schemas(STANDARD_1_1), indent=1, sort_keys=True)
    current = text.replace(own.PREFIX, "#/$defs/") + "\n"
    if os.environ.get("WRITE_SCHEMAS"):
        OWN_SCHEMAS.write_text(current)
    assert OWN_SCHEMAS.read_text() == current


@each_profile
@pytest.mark.parametrize(
    ("path", "status", "minor"),
    [
        ("/CFItems/unknown", 404, {"1.1": "invalid_uuid", "1.0": "invaliduuid"}),
        (f"/CFItems/{UNKNOWN_ID}", 404, "unknownobject"),
        (f"/CFPackages/{UNKNOWN_ID}", 404, "unknownobject"),
        ("/CFItems", 404, "unknownobject"),
        ("/CFDocuments?sort=colour", 400, "invalid_sort_field"),
        ("/CFDocuments?fields=colour", 400, "invalid_selection_field"),
        ("/CFDocuments?filter=colour", 400, "invalid_selection_field"),
        ("/CFDocuments?limit=0", 400, "invalid_selection_field"),
    ],
)
async def test_errors_have_valid_bodies_and_codes(
    client: AsyncClient, shared: Path, version: ApiProfile, path: str, status: int, minor: Any
) -> None:
    response = await client.get(version.prefix + path)
    assert response.status_code == status
    (field,) = response.json()["imsx_codeMinor"]["imsx_codeMinorField"]
    expected = minor if isinstance(minor, str) else minor[version.version]
    assert field["imsx_codeMinorFieldValue"] == expected
    if version is STANDARD_1_1:
        name = "getCFItem-400-401-403-404-429-500-default-responsepayload-schema.json"
        schema = json.loads((shared / "reference" / "jsonschema" / name).read_text())
        jsonschema.Draft202012Validator(schema).validate(response.json())


@each_profile
async def test_missing_token_returns_401(anonymous: AsyncClient, version: ApiProfile) -> None:
    response = await anonymous.get(f"{version.prefix}/CFDocuments")
    assert response.status_code == 401
    (field,) = response.json()["imsx_codeMinor"]["imsx_codeMinorField"]
    codes = {"1.1": "unauthorised_request", "1.0": "unauthorisedrequest"}
    assert field["imsx_codeMinorFieldValue"] == codes[version.version]


@each_profile
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/CFItems/x"),
        ("POST", "/CFPackages"),
        ("PUT", "/CFPackages/x"),
        ("DELETE", "/CFItemAssociations/x"),
        ("GET", "/CFPackages/x/groups"),
        ("GET", "/CFSubjects"),
    ],
)
async def test_operations_outside_the_standard_return_404_or_405(
    client: AsyncClient, version: ApiProfile, method: str, path: str
) -> None:
    response = await client.request(method, version.prefix + path, json={})
    assert response.status_code in {404, 405}


async def test_identifier_that_is_no_uuid_is_returned_as_stored(client: AsyncClient) -> None:
    body = factories.package(document_id="no-uuid")
    await client.post("/case/1.1/CFPackages", json=body)
    response = await client.get(f"{STANDARD_1_1.prefix}/CFDocuments/no-uuid")
    assert response.status_code == 200
    assert response.json()["identifier"] == "no-uuid"


async def test_extensions_are_returned_on_request(client: AsyncClient) -> None:
    await client.post("/case/1.1/CFPackages", content=read_sample())
    path = (
        f"{STANDARD_1_1.prefix}/CFPackages/{json.loads(read_sample())['CFDocument']['identifier']}"
    )
    assert "extensions" not in (await client.get(path)).text
    package = (await client.get(path, params={"extensions": "true"})).json()
    sample = json.loads(read_sample())
    assert package["extensions"] == sample["extensions"]
    assert package["CFDocument"]["extensions"] == sample["CFDocument"]["extensions"]
    assert package["CFDefinitions"]["extensions"] == sample["CFDefinitions"]["extensions"]


async def test_case_1_0_omits_additions_of_1_1(client: AsyncClient) -> None:
    await client.post("/case/1.1/CFPackages", content=read_sample())
    path = (
        f"{STANDARD_1_0.prefix}/CFPackages/{json.loads(read_sample())['CFDocument']['identifier']}"
    )
    response = await client.get(path, params={"extensions": "true"})
    for word in ("extensions", "frameworkType", "caseVersion", "targetType", "isTranslationOf"):
        assert f'"{word}"' not in response.text
    package = response.json()
    assert all("subject" not in item for item in package["CFItems"])
    assert all("notes" not in each for each in package["CFAssociations"])
    types = {each["associationType"] for each in package["CFAssociations"]}
    assert types <= ASSOCIATION_TYPES_1_0

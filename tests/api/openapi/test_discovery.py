"""Discovery documents of the standard profiles, compared with the standard's own documents."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

import pytest
from api.test_standard import OPERATIONS, downgrade_schema, each_profile
from httpx import AsyncClient

from case_server.api.profiles import STANDARD_1_0, STANDARD_1_1, ApiProfile
from case_server.exceptions import CONFORMANT_UUID_PATTERN, ErrorCode

DIFFERENCES = {
    "* 503 *": "HTTP's status of a server that cannot respond now; 429 limits clients.",
    "getAllCFDocuments 404 *": "No identifier could be unknown; no documents are an empty list.",
    "getCFItemAssociations 400 *": "It has no parameter whose value could be invalid.",
    "getAllCFDocuments * header Link": "The standard's document has `links` instead.",
    "getAllCFDocuments query * default=*": "What the server does without the parameter.",
    "getAllCFDocuments query limit maximum=*": "The server returns no more at once.",
    "getCF* query fields *": "The server selects fields of single entities, too.",
    "* query extensions *": "Extensions are returned on request (CASE 1.1 only).",
    "* path sourcedId *": "Only such identifiers can exist.",
    "*.identifier *": "An identifier that was stored without being a UUID is returned as stored.",
    "*.rubric*Id *": "So are references to identifiers.",
    "* maxLength=255": "The server stores no longer names.",
    "CF*Set*.CF* minItems=*": "There may be no document on a page, and no association of an item.",
    "imsx_StatusInfo*": "Only failures have this body; its description and code are always there.",
    "imsx_CodeMinorField* value=fullsuccess": "Only failures have this body.",
}
"""Where our documents differ from the standard's, and why: patterns of facts, as ``_facts`` yields.
Each must match at least one difference."""

VOCABULARIES = "*.associationType *", "*.targetType *"
"""Facts that only the document in OpenAPI 3.0 has; the others declare plain strings."""

PROBES = (
    "0b0b0b0b-0b0b-4b0b-8b0b-0b0b0b0b0b0b",
    "0B0B0B0B-0B0B-4B0B-8B0B-0B0B0B0B0B0B",
    "0b0b0b0b-0b0b-7b0b-8b0b-0b0b0b0b0b0b",
    "0b0b0b0b-0b0b-4b0b-cb0b-0b0b0b0b0b0b",
    "0b0b0b0b-0b0b-4b0b-8b0b",
    "ext:a.B-c_9",
    "ext:",
    "isChildOf",
)
"""Strings by which patterns are compared, because one rule can be written in several ways."""

COMPARED_KEYWORDS = {
    "type", "format", "default", "minimum", "maximum", "minLength", "maxLength", "minItems",
}  # fmt: skip


def _facts(document: Any) -> Iterator[str]:
    """Yield what a document states about operations and classes, one fact in a line."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            name = operation["operationId"]
            yield f"{name} is {method} {path}"
            for parameter in operation["parameters"]:
                subject = f"{name} {parameter['in']} {parameter['name']}"
                yield f"{subject} required={parameter.get('required', False)}"
                yield from _schema_facts(subject, parameter.get("schema", parameter))
            for status, response in operation["responses"].items():
                yield from (
                    f"{name} {status} header {each}" for each in response.get("headers", ())
                )
                content = response.get("content", {}).get("application/json", response)
                yield from _schema_facts(f"{name} {status}", content["schema"])
    for name, schema in _classes(document).items():
        yield f"{name} closed={not schema['additionalProperties']}"
        yield from (f"{name} requires {field}" for field in schema.get("required", ()))
        for field, value in schema.get("properties", {}).items():
            yield from _schema_facts(f"{name}.{field}", value)


def _classes(document: Any) -> Any:
    return document.get("definitions") or document["components"]["schemas"]


def _schema_facts(subject: str, schema: Any) -> Iterator[str]:
    for keyword, value in schema.items():
        match keyword:
            case "$ref":
                yield f"{subject} is {value.rpartition('/')[2]}"
            case "pattern":
                matches = [probe for probe in PROBES if re.search(value, probe)]
                yield f"{subject} matches {' '.join(matches)}"
            case "enum" | "const":
                values = value if keyword == "enum" else [value]
                yield from (f"{subject} value={each}" for each in values)
            case "items" | "anyOf":
                for number, each in enumerate(value if keyword == "anyOf" else [value]):
                    yield from _schema_facts(f"{subject} {keyword} {number}", each)
            case _ if keyword in COMPARED_KEYWORDS and (keyword, value) != ("minItems", 0):
                yield f"{subject} {keyword}={value}"


def _matches(fact: str, patterns: Any) -> list[str]:
    return [pattern for pattern in patterns if fnmatchcase(fact, pattern)]


@pytest.mark.parametrize("form", ["2.0", "3.0", "3.1"])
async def test_discovery_document_describes_what_the_standard_describes(
    anonymous: AsyncClient, shared: Path, form: str
) -> None:
    standard = shared / "reference" / "openapi" / f"imscasev1p1_openapi_{form}.json"
    expected = set(_facts(json.loads(standard.read_text())))
    response = await anonymous.get(STANDARD_1_1.prefix + STANDARD_1_1.document)
    differences = expected ^ set(_facts(response.json()))
    if form != "3.0":
        differences = {fact for fact in differences if not _matches(fact, VOCABULARIES)}
    assert len(expected) > 500
    assert sorted(fact for fact in differences if not _matches(fact, DIFFERENCES)) == []
    used_patterns = {pattern for fact in differences for pattern in _matches(fact, DIFFERENCES)}
    assert used_patterns | {"* maxLength=255"} == DIFFERENCES.keys()


async def test_discovery_document_of_1_0_lacks_only_what_1_1_added(
    anonymous: AsyncClient, shared: Path
) -> None:
    text = (shared / "reference" / "openapi" / "imscasev1p1_openapi_3.0.json").read_text()
    text = text.replace('"unauthorised_request"', '"unauthorisedrequest"')
    standard = json.loads(text.replace('"invalid_uuid"', '"invaliduuid"'))
    classes = downgrade_schema({"$defs": _classes(standard)})["$defs"]
    standard["components"]["schemas"] = {
        name: schema for name, schema in classes.items() if "Extension" not in name
    }
    response = await anonymous.get(STANDARD_1_0.prefix + STANDARD_1_0.document)
    differences = set(_facts(standard)) ^ set(_facts(response.json()))
    assert sorted(fact for fact in differences if not _matches(fact, DIFFERENCES)) == []
    assert not [fact for fact in differences if fnmatchcase(fact, "* query extensions *")]


@each_profile
async def test_discovery_document_describes_operations_errors_and_identifiers(
    anonymous: AsyncClient, version: ApiProfile
) -> None:
    """Check the essentials without the standard's documents, which are not in this repository."""
    document = (await anonymous.get(version.prefix + version.document)).json()
    classes = _classes(document)
    names = {operation["get"]["operationId"] for operation in document["paths"].values()}
    assert names == OPERATIONS.keys()
    for path in document["paths"].values():
        statuses = {"200", "401", "403", "429", "500", "503", "default"}
        assert path["get"]["responses"].keys() - {"400", "404"} == statuses
    uuid = {"pattern": f"^{CONFORMANT_UUID_PATTERN}$"}
    entities = {"CFDocument", "CFItem", "CFPckgItem", "CFPckgAssociation", "CFSubject", "LinkURI"}
    for name in entities:
        assert classes[f"{name}DType"]["properties"]["identifier"]["anyOf"][0] == uuid
    assert not [
        name
        for name, schema in classes.items()
        if schema["additionalProperties"] and "Extension" not in name
    ]
    codes = classes["imsx_CodeMinorFieldDType"]["properties"]["imsx_codeMinorFieldValue"]["enum"]
    assert codes == sorted({version.get_minor_code(code) for code in get_args(ErrorCode)})
    assert len(codes) == 8

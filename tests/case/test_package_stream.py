"""The streaming parser of packages agrees with the parser of whole bodies, and costs less."""

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support import factories

from case_server.case.model import CFItem
from case_server.case.package import PreparedPackage, parse_package
from case_server.case.package_stream import parse_large_package
from case_server.case.validation.limits import CHUNK_MEMBERS, LARGE_BODY_BYTES
from case_server.case.validation.parsing import parse_json_body
from case_server.case.validation.problems import (
    MAX_CHUNKS,
    MAX_COUNTED_PROBLEMS,
    MAX_LISTED_PROBLEMS,
)
from case_server.exceptions import BadRequest, UnprocessableContent

Body = dict[str, Any]
LONG = "x" * LARGE_BODY_BYTES


def body() -> Body:
    """Return a package with several kinds of entities."""
    return factories.package(
        CFItems=[factories.packed_item() for _ in range(60)],
        CFDefinitions={"CFItemTypes": [factories.item_type() for _ in range(30)]},
        CFRubrics=[factories.rubric()],
    )


def set_value(*steps: Any, value: Any) -> Callable[[Body], Any]:
    """Return a function that sets the value at a path."""

    def change(package: Body) -> None:
        part: Any = package
        for step in steps[:-1]:
            part = part[step]
        part[steps[-1]] = value

    return change


def lengthen(package: Body) -> None:
    """Add criteria for several chunks, with problems in the last one."""
    (rubric,) = package["CFRubrics"]
    criteria = [factories.rubric()["CFRubricCriteria"][0] for _ in range(CHUNK_MEMBERS * 2 + 5)]
    for criterion in criteria:
        criterion["CFRubricCriterionLevels"] = []
    criteria[-2]["nonsense"] = criteria[-1]["weight"] = "x"
    rubric["CFRubricCriteria"] = criteria


def repeat(package: Body) -> None:
    """Duplicate an item, a triple and a definition."""
    package["CFItems"].append(package["CFItems"][3])
    package["CFAssociations"].append({**package["CFAssociations"][0], "identifier": "another"})
    package["CFDefinitions"]["CFItemTypes"].append(package["CFDefinitions"]["CFItemTypes"][0])


CHANGES: dict[str, tuple[Callable[[Body], Any], ...]] = {
    "nothing": (),
    "no document": (lambda package: package.pop("CFDocument"),),
    "no items": (lambda package: package.pop("CFItems"),),
    "items that are no list": (set_value("CFItems", value={}),),
    "items that are null": (set_value("CFItems", value=None),),
    "an item that is a text": (set_value("CFItems", 40, value="x"),),
    "a null": (set_value("CFItems", 40, "notes", value=None),),
    "nulls at every level": (
        set_value("CFDocument", "CFPackageURI", value=None),
        set_value("CFItems", 2, "CFItemTypeURI", value=None),
        set_value("CFItems", 3, "conceptKeywordsURI", value=None),
        set_value("CFItems", 3, "subject", value=None),
        set_value("CFAssociations", 0, "CFDocumentURI", value=None),
        set_value("CFAssociations", 0, "originNodeURI", "targetType", value=None),
        set_value("CFDefinitions", "CFItemTypes", 2, "typeCode", value=None),
        set_value("CFDefinitions", "CFConcepts", value=None),
        set_value("CFRubrics", 0, "CFRubricCriteria", 0, "weight", value=None),
        set_value("CFRubrics", 0, "CFRubricCriteria", 1, "CFRubricCriterionLevels", value=None),
        set_value("extensions", value=None),
        set_value("identifier", value=None),
    ),
    "definitions that are null": (set_value("CFDefinitions", value=None),),
    "rubrics that are null": (set_value("CFRubrics", value=None),),
    "nulls in required fields": (
        set_value("CFDocument", "title", value=None),
        set_value("CFItems", 40, "identifier", value=None),
        set_value(
            "CFItems", 41, "licenseURI", value={"title": None, "identifier": "a", "uri": "b:c"}
        ),
        set_value("CFAssociations", 0, "destinationNodeURI", "uri", value=None),
        set_value("CFDefinitions", "CFItemTypes", 25, "title", value=None),
        set_value("CFRubrics", 0, "CFRubricCriteria", 0, "uri", value=None),
    ),
    "elements that are null": (
        set_value("CFItems", 4, value=None),
        set_value("CFItems", 5, "subject", value=["a", None]),
        set_value("CFItems", 6, "subjectURI", value=[None]),
        set_value("CFItems", 7, "conceptKeywordsURI", value=[None]),
        set_value("CFDefinitions", "CFItemTypes", 3, value=None),
        set_value("CFRubrics", 0, "CFRubricCriteria", 1, value=None),
    ),
    "a document that is null": (set_value("CFDocument", value=None),),
    "an unknown field": (set_value("CFItems", 40, "nonsense", value=None),),
    "an unknown field of the package": (set_value("nonsense", value=[1]),),
    "a wrong type": (set_value("CFAssociations", 0, "associationType", value="nonsense"),),
    "everywhere": (
        set_value("CFDocument", "title", value=5),
        set_value("CFItems", 2, "uri", value="no uri"),
        set_value("CFAssociations", 0, "sequenceNumber", value="x"),
        set_value("CFDefinitions", "CFItemTypes", 25, "title", value=None),
        set_value("CFRubrics", 0, "title", value=5),
    ),
    "far in long lists": (lengthen,),
    "repetitions": (repeat,),
    "another name": (set_value("identifier", value="another"),),
    "an identifier of dots": (
        set_value("CFItems", 4, "identifier", value="."),
        set_value("CFAssociations", 0, "originNodeURI", "identifier", value=".."),
        set_value("CFDefinitions", "CFItemTypes", 2, "identifier", value=".."),
    ),
    "another spelling": (lambda package: set_value("sourcedId", value="a")(package["CFItems"][4]),),
    "a licence of the SDK": (set_value("CFDocument", "licenseUri", value="CC BY 4.0"),),
    "a NUL in a long text": (set_value("CFItems", 7, "fullStatement", value="x" * 5000 + "\x00"),),
    "a NUL in a very long text": (set_value("CFItems", 7, "fullStatement", value=LONG + "\x00"),),
    "large extensions": (
        set_value("CFItems", 7, "extensions", value={"a": [*range(5000)], "b": [LONG, "\x00"]}),
        set_value("CFItems", 7, "notes", value=None),
    ),
    "a long document": (
        set_value("CFDocument", "description", value=LONG),
        set_value("CFDocument", "subject", value=[*"abc", *["x"] * 50, 7]),
    ),
    "long and valid": (set_value("CFItems", 7, "fullStatement", value=LONG),),
}


def changed_body(name: str) -> Body:
    package = body()
    for change in CHANGES[name]:
        change(package)
    return package


def result_of(raw: bytes, reader: Callable[[bytes], PreparedPackage]) -> Any:
    """Return the parsed package, or the error with its problems in sorted order."""
    try:
        return reader(raw)
    except BadRequest as error:
        return error.description
    except UnprocessableContent as error:
        return error.omitted, sorted(
            (problem["path"], problem["message"]) for problem in error.problems
        )


@pytest.mark.parametrize("wrapper", [None, "CFPackage"])
@pytest.mark.parametrize("name", CHANGES)
def test_streaming_and_whole_parser_agree(name: str, wrapper: str | None) -> None:
    package = changed_body(name)
    raw = json.dumps({wrapper: package} if wrapper else package).encode()
    result = result_of(raw, parse_large_package)
    assert result == result_of(raw, parse_package)
    assert isinstance(result, PreparedPackage) == (name in VALID)


VALID = (
    *("nothing", "no items", "items that are null", "a null"),
    *("nulls at every level", "definitions that are null"),
    *("rubrics that are null", "long and valid", "a licence of the SDK"),
)


def test_nulls_are_stored_as_absent_fields() -> None:
    package = changed_body("nulls at every level")
    results = [
        [(row.kind, row.body, row.keywords) for row in parse(json.dumps(variant).encode()).rows]
        for variant in (package, without_nulls(package))
        for parse in (parse_package, parse_large_package)
    ]
    assert all(rows == results[0] for rows in results)
    assert not any("null" in row[1] for row in results[0])


def without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [without_nulls(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(part) for name, part in value.items() if part is not None}


@pytest.mark.parametrize(
    ("name", "paths", "message"),
    [
        (
            "nulls in required fields",
            (
                "CFDocument.title",
                "CFItems[40].identifier",
                "CFItems[41].licenseURI.title",
                "CFAssociations[0].destinationNodeURI.uri",
                "CFDefinitions.CFItemTypes[25].title",
                "CFRubrics[0].CFRubricCriteria[0].uri",
            ),
            "required",
        ),
        (
            "elements that are null",
            (
                "CFItems[4]",
                "CFItems[5].subject[1]",
                "CFItems[6].subjectURI[0]",
                "CFItems[7].conceptKeywordsURI[0]",
                "CFDefinitions.CFItemTypes[3]",
                "CFRubrics[0].CFRubricCriteria[1]",
            ),
            "null is not allowed; leave the element out",
        ),
    ],
)
def test_invalid_null_is_named_with_its_path(
    name: str, paths: tuple[str, ...], message: str
) -> None:
    raw = json.dumps(changed_body(name)).encode()
    assert dict(result_of(raw, parse_large_package)[1]) == dict.fromkeys(paths, message)


def problem_paths(raw: bytes, reader: Callable[[bytes], Any]) -> list[str]:
    with pytest.raises(UnprocessableContent) as exc_info:
        reader(raw)
    return [problem["path"] for problem in exc_info.value.problems]


def test_late_errors_have_their_paths() -> None:
    last = CHUNK_MEMBERS * 2 + 4
    raw = json.dumps(changed_body("far in long lists")).encode()
    assert problem_paths(raw, parse_large_package) == [
        f"CFRubrics[0].CFRubricCriteria[{last - 1}].nonsense",
        f"CFRubrics[0].CFRubricCriteria[{last}].weight",
    ]


@pytest.mark.parametrize(
    "raw", [b"{", b'{"CFItems": [{"a": }]}', b'{"CFItems": [nul]}', b"[]", b"5"]
)
def test_invalid_json_has_line_and_column(raw: bytes) -> None:
    message = result_of(raw, parse_large_package)
    assert isinstance(message, str)
    assert message == result_of(raw, parse_package)


def sparse(count: int) -> bytes:
    return b'{"CFItems": [' + b",".join([b"{}".ljust(70)] * count) + b"]}"


@pytest.mark.parametrize("reader", [parse_large_package, parse_package])
def test_first_errors_are_listed_and_others_counted(
    reader: Callable[[bytes], PreparedPackage],
) -> None:
    with pytest.raises(UnprocessableContent) as exc_info:
        reader(sparse(20_000))
    error = exc_info.value
    # Each item lacks four fields, and the package its document and its associations.
    assert len(error.problems) == MAX_LISTED_PROBLEMS
    assert len(error.problems) + error.omitted == 20_000 * 4 + 1
    assert "and 80,000 more problems" in error.description


def test_search_ends_at_error_limit() -> None:
    start = time.process_time()
    message = f"at least {MAX_COUNTED_PROBLEMS:,} more problems"
    with pytest.raises(UnprocessableContent, match=message):
        parse_large_package(sparse(MAX_COUNTED_PROBLEMS // 4 + 5000))
    assert time.process_time() - start < 30


def test_message_after_one_error_and_end_of_search_counts_no_others() -> None:
    keywords = [0, *["fractions and decimals"] * CHUNK_MEMBERS * (MAX_CHUNKS + 1)]
    item = factories.item("d", "x") | {"conceptKeywords": keywords}
    with pytest.raises(UnprocessableContent) as exc_info:
        parse_json_body(CFItem, json.dumps(item).encode())
    message = "conceptKeywords[0]: must be a valid string, and perhaps more problems"
    assert exc_info.value.description == f"the CFItem is not valid: {message}"


def test_list_in_place_of_object_is_one_error() -> None:
    item = factories.item("d", "x") | {"notes": [0] * LARGE_BODY_BYTES}
    raw = json.dumps(item).replace("0, ", "0," + " " * 20).encode()
    assert problem_paths(raw, partial(parse_json_body, CFItem)) == ["notes"]

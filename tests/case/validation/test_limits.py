"""Limits on the number of JSON values per byte of a body, counted for each entity."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from support import factories

from case_server.case import package_stream
from case_server.case.model import CFItem
from case_server.case.package import PreparedPackage
from case_server.case.package_stream import parse_large_package, parse_package_lazily
from case_server.case.validation import limits
from case_server.case.validation.limits import MIN_ALLOWED_VALUES, SLICE_BYTES, check_density
from case_server.case.validation.parsing import parse_json_body
from case_server.exceptions import BadRequest, ContentTooLarge, UnprocessableContent
from case_server.repair.reader import repair_and_parse

Body = dict[str, Any]
TABLE = "code,statement,[level],{note}\n" + "1,,,\n" * 16_000


def vector(length: int = 384) -> list[float]:
    source = random.Random(length)
    return [round(source.uniform(-1, 1), 6) for _ in range(length)]


def written(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def with_extensions(extensions: Body) -> Body:
    """Return a package in which sixty entities of every list have these extensions."""
    items = [factories.packed_item(extensions=extensions) for _ in range(60)]
    types = [factories.item_type(extensions=extensions) for _ in range(60)]
    criteria = [factories.entity(extensions=extensions) for _ in range(60)]
    associations = [
        factories.association(item["identifier"], "x", extensions=extensions) for item in items
    ]
    return factories.package(
        CFItems=items,
        CFAssociations=associations,
        CFDefinitions={"CFItemTypes": types},
        CFRubrics=[factories.entity(CFRubricCriteria=criteria)],
    )


def rows_of(raw: bytes) -> list[Any]:
    return [*parse_package_lazily(raw).rows]


READERS: dict[str, Callable[[bytes], Any]] = {
    "whole": parse_large_package,
    "streamed": rows_of,
    "repaired": repair_and_parse,
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
@pytest.mark.parametrize("wrapper", [None, "CFPackage"])
def test_dense_entities_are_parsed(reader: Callable[[bytes], Any], wrapper: str | None) -> None:
    body = with_extensions({"embedding": vector()})
    raw = written({wrapper: body} if wrapper else body)
    with pytest.raises(ContentTooLarge):
        check_density(raw)  # as one entity it would be refused
    assert reader(raw)


def test_too_dense_entity_is_named() -> None:
    body = with_extensions({})
    body["CFItems"][17]["extensions"] = {"a": [[] for _ in range(40_000)]}
    with pytest.raises(
        ContentTooLarge, match=r"^CFItems\[17\] contains about 40,0\d\d objects and arrays"
    ):
        parse_large_package(written(body))
    with pytest.raises(ContentTooLarge, match=r"^the body contains about 40,0"):
        parse_json_body(CFItem, written(body["CFItems"][17]))


@pytest.mark.parametrize(
    ("field", "member"),
    [
        ("CFItems", "{}"),
        ("CFAssociations", "0"),
        ("CFRubrics", '""'),
        ("CFItems", "[[]]"),
        ("CFConcepts", "{}"),
        ("CFConcepts", "[0,0]"),
    ],
)
def test_array_with_too_many_members_is_rejected(field: str, member: str) -> None:
    body = factories.package(CFRubrics=[], CFDefinitions={"CFConcepts": []})
    (body["CFDefinitions"] if field == "CFConcepts" else body)[field] = "HERE"
    raw = written(body).replace(b'"HERE"', f"[{','.join([member] * 100_000)}]".encode())
    with pytest.raises(ContentTooLarge, match="the body contains about"):
        parse_large_package(raw)


def test_package_extensions_count_for_document_density() -> None:
    raw = written(factories.package(extensions={"a": [0] * 60_000}))
    with pytest.raises(ContentTooLarge, match="the package without its lists"):
        parse_large_package(raw)
    assert parse_large_package(written(factories.package(extensions={"a": vector(12_000)})))


@pytest.mark.parametrize("text", [TABLE, '"{[,\\' * 20_000, "\\,{" * 20_000, '\\\\","' * 9_000])
def test_commas_and_brackets_in_strings_do_not_count(text: str) -> None:
    item = factories.item("d", notes=text)
    assert parse_json_body(CFItem, written(item)).entity.notes == text
    body = factories.package(CFItems=[factories.packed_item(notes=text)], CFAssociations=[])
    assert parse_large_package(written(body))
    assert repair_and_parse(written(body))


def test_values_are_counted_across_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {'"[': ["\\", '\\"', ",", {"{": [1, 2, [], '\\\\"']}, "é,\\u00e9", ""], "a\\": '"'}
    raw = written(body)
    # Two outer members, six of the list, one of the object, four of the inner list.
    expected = (5, 1 + 5 + 3)
    for size in (1, 2, 3, 4, 5, 7, 11, SLICE_BYTES):
        monkeypatch.setattr(limits, "SLICE_BYTES", size)
        assert limits._count_containers_and_commas(raw) == expected, size


def test_dense_package_is_parsed_with_allow_dense() -> None:
    body = factories.package(extensions={"a": [[] for _ in range(100_000)]})
    raw = written(body)
    for reader in (parse_large_package, repair_and_parse):
        with pytest.raises(ContentTooLarge):
            reader(raw)
        assert reader(raw, allow_dense=True)
    del body["CFItems"][0]["uri"]
    with pytest.raises(ContentTooLarge):
        repair_and_parse(written(body))
    assert repair_and_parse(written(body), allow_dense=True)[1]


def test_dense_package_with_problems_is_repaired_or_refused_with_their_paths() -> None:
    body = with_extensions({"embedding": vector()})
    body["CFItems"][40]["notes"] = 5
    with pytest.raises(UnprocessableContent) as exc_info:
        parse_large_package(written(body))
    assert [problem["path"] for problem in exc_info.value.problems] == ["CFItems[40].notes"]
    package, repairs = repair_and_parse(written(body))
    assert isinstance(package, PreparedPackage)
    assert [repair.path for repair in repairs] == ["CFItems[40].notes"]


def test_dense_body_that_is_not_json_is_refused_as_such() -> None:
    raw = written(with_extensions({"embedding": vector()}))
    for broken in (raw[:-1], raw.replace(b'"CFRubrics"', b"CFRubrics"), raw + b"}"):
        with pytest.raises(BadRequest, match="not JSON"):
            parse_large_package(broken)
    with pytest.raises(ContentTooLarge):
        parse_large_package(raw.replace(b'"CFRubrics"', b'"Rubrics"'))


def test_ordinary_package_skips_density_check_of_entities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_stream, "has_too_many_members", pytest.fail)
    body = factories.package_with_every_class()
    body["CFItems"] += [factories.packed_item(notes="a, b") for _ in range(MIN_ALLOWED_VALUES // 4)]
    assert parse_large_package(written(body))

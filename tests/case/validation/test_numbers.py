"""Numbers are stored with their exact value, or rejected with their path."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import factories

from case_server.case.model import CFAssociation, CFItem
from case_server.case.package import make_entity_row
from case_server.case.package_stream import parse_large_package, parse_package_lazily
from case_server.case.validation.limits import LARGE_BODY_BYTES, SLICE_BYTES
from case_server.case.validation.numbers import (
    is_exact_as_double,
    may_contain_inexact_numbers,
)
from case_server.case.validation.parsing import parse_json_body
from case_server.exceptions import UnprocessableContent
from case_server.formats.reader import read_framework as read_file
from case_server.repair.metadata_options import MetadataOptions
from case_server.repair.reader import repair_and_parse

EXACT_NUMBERS = [
    *("0", "-0", "1.0", "-0.0", "0.1", "1.10", "1E5", "1e-7", "1e22", "5e-324"),
    *("1.7976931348623157e308", "0.30000000000000004", "0.000000000000000000000000001", "0e-400"),
    *("18446744073709551615", "12345678901234567890", "-9223372036854775808"),
]
CHANGED = [
    *("0.1000000000000000055511151231257827", "1.0000000000000000001", "9007199254740993.0"),
    *("1e-400", "4e-324", "12345678901234567.8", "1" * 400 + "e-400"),
]
BEYOND = ["1e400", "-1e400", "18446744073709551616", "123456789012345678901234567890"]

Body = dict[str, Any]


def written(body: Body, number: str) -> bytes:
    return json.dumps(body).replace('"HERE"', number).encode()


def package() -> Body:
    item = factories.packed_item(extensions={"a": {"b": [0, "HERE"]}})
    return factories.package(CFItems=[item], CFAssociations=[])


def as_json_lines(raw: bytes) -> bytes:
    """Convert a package to JSON lines without parsing its numbers."""
    text = raw.decode()
    document, _, remaining = text.removeprefix('{"CFDocument": ').partition(', "CFItems": [')
    item = remaining.partition('], "CFAssociations"')[0]
    return f'{{"CFDocument": {document}}}\n{{"CFItem": {item}}}\n'.encode()


def read_jsonl(raw: bytes) -> Any:
    return read_file(as_json_lines(raw), "jsonl", MetadataOptions(changed=datetime.now(UTC)))[0]


READERS: dict[str, Callable[[bytes], Any]] = {
    "whole": parse_large_package,
    "streamed": parse_package_lazily,
    "repaired": lambda raw: repair_and_parse(raw)[0],
    "repaired after all": lambda raw: repair_and_parse(
        raw.replace(b'"fullStatement"', b'"notes": null, "fullStatement"')
    )[0],
    "lines": read_jsonl,
}


def bodies(package: Any) -> list[str]:
    return [row.body for row in package.rows]


def problem_paths(error: pytest.ExceptionInfo[UnprocessableContent]) -> list[str]:
    return [problem["path"] for problem in error.value.problems]


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
@pytest.mark.parametrize("number", EXACT_NUMBERS)
def test_exact_number_keeps_its_value(reader: Callable[[bytes], Any], number: str) -> None:
    (item,) = [
        body
        for body in bodies(reader(written(package(), number)))
        if "embed" in body or "extensions" in body
    ]
    stored = json.loads(item, parse_float=Decimal)["extensions"]["a"]["b"][1]
    assert stored == json.loads(number, parse_float=Decimal)
    assert isinstance(stored, Decimal) == isinstance(json.loads(number), float)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
@pytest.mark.parametrize("number", [*CHANGED, *BEYOND])
def test_inexact_number_is_refused_with_path(reader: Callable[[bytes], Any], number: str) -> None:
    with pytest.raises(UnprocessableContent) as exc_info:
        bodies(reader(written(package(), number)))
    if number in CHANGED:
        (problem,) = exc_info.value.problems
        assert (
            problem["path"].removeprefix("line 2 (").removesuffix(")").endswith("extensions.a.b[1]")
        )
        assert number[:50] in problem["message"]
        assert "send that, or a string" in problem["message"]
    else:
        assert "cannot be stored" in str(exc_info.value.problems)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("NaN", "NaN cannot be stored, because JSON has no such value; send null or a string"),
        ("-Infinity", "Infinity, or a number beyond double precision, cannot be stored"),
        ("1e999", "Infinity, or a number beyond double precision, cannot be stored"),
    ],
)
def test_nan_and_infinity_are_refused_by_name(number: str, message: str, reader: str) -> None:
    with pytest.raises(UnprocessableContent) as exc_info:
        bodies(READERS[reader](written(package(), number)))
    (problem,) = exc_info.value.problems
    assert f"extensions.a.b[1]: {message}" in problem["message"]


@pytest.mark.parametrize("number", CHANGED)
@pytest.mark.parametrize("wrapper", [None, "item"])
def test_put_names_the_number_and_every_other_problem(number: str, wrapper: str | None) -> None:
    item = factories.item("d", extensions={"a": "HERE", "b": "HERE"}, notes=5)
    body = {wrapper: item} if wrapper else item
    with pytest.raises(UnprocessableContent) as exc_info:
        parse_json_body(CFItem, written(body, number), ("item",))
    prefix = f"{wrapper}." if wrapper else ""
    assert sorted(problem_paths(exc_info)) == [
        f"{prefix}extensions.a",
        f"{prefix}extensions.b",
        f"{prefix}notes",
    ]


@pytest.mark.parametrize("notes", ["short", "x" * LARGE_BODY_BYTES])
@pytest.mark.parametrize("spelling", ["identifier", "sourcedId"])
def test_inexact_number_in_valid_body_is_rejected(notes: str, spelling: str) -> None:
    item = factories.item("d", extensions={"a": "HERE"}, notes=notes)
    item[spelling] = item.pop("identifier")
    with pytest.raises(UnprocessableContent) as exc_info:
        parse_json_body(CFItem, written(item, CHANGED[0]))
    assert problem_paths(exc_info) == ["extensions.a"]


@pytest.mark.parametrize(
    ("number", "value"), [("7", 7), ("7.0", 7), ("70e-1", 7), ("-0", 0), ("0e-400", 0)]
)
def test_sequence_number_with_integral_value_is_accepted(number: str, value: int) -> None:
    body = factories.association("a", "b", sequenceNumber="HERE")
    assert parse_json_body(CFAssociation, written(body, number)).entity.sequenceNumber == value


@pytest.mark.parametrize("number", ["7.00000000000000000001", "1e-400", "1e400", "7.5"])
def test_sequence_number_with_fraction_is_rejected(number: str) -> None:
    body = factories.association("a", "b", sequenceNumber="HERE")
    with pytest.raises(UnprocessableContent) as exc_info:
        parse_json_body(CFAssociation, written(body, number))
    assert problem_paths(exc_info) == ["sequenceNumber"]
    package = factories.package(CFAssociations=[body])
    with pytest.raises(UnprocessableContent) as exc_info:
        parse_large_package(written(package, number))
    assert problem_paths(exc_info) == ["CFAssociations[0].sequenceNumber"]


@pytest.mark.parametrize("field", ["weight", "score"])
@pytest.mark.parametrize("number", [*CHANGED, "9007199254740993", "12345678901234567890"])
def test_inexact_weight_is_rejected(field: str, number: str) -> None:
    rubric = factories.rubric()
    criterion = rubric["CFRubricCriteria"][0]
    holder = criterion if field == "weight" else criterion["CFRubricCriterionLevels"][1]
    holder[field] = "HERE"
    body = factories.package(CFRubrics=[rubric])
    with pytest.raises(UnprocessableContent) as exc_info:
        bodies(parse_large_package(written(body, number)))
    (path,) = problem_paths(exc_info)
    assert path.startswith("CFRubrics[0].CFRubricCriteria[0]")
    assert path.endswith(f".{field}")


@pytest.mark.parametrize("number", ["1", "0.1", "9007199254740992", "1e22", "-0.0"])
def test_exact_weight_is_accepted(number: str) -> None:
    rubric = factories.rubric()
    rubric["CFRubricCriteria"][0]["weight"] = "HERE"
    package = parse_large_package(written(factories.package(CFRubrics=[rubric]), number))
    (weight,) = [json.loads(row.body)["weight"] for row in package.rows if '"weight"' in row.body]
    assert Decimal(repr(weight)) == Decimal(number)


def test_weight_written_as_a_string_is_repaired_only_where_its_value_stays() -> None:
    rubric = factories.rubric()
    rubric["CFRubricCriteria"][0]["weight"] = "0.25"
    assert repair_and_parse(json.dumps(factories.package(CFRubrics=[rubric])).encode())[1]
    rubric["CFRubricCriteria"][0]["weight"] = CHANGED[0]
    with pytest.raises(UnprocessableContent):
        repair_and_parse(json.dumps(factories.package(CFRubrics=[rubric])).encode())


def test_unknown_field_moved_under_extensions_keeps_its_number_or_is_refused() -> None:
    body = factories.package(CFItems=[factories.packed_item(vector=["HERE"])], CFAssociations=[])
    assert repair_and_parse(written(body, "0.25"))[1]
    with pytest.raises(UnprocessableContent) as exc_info:
        repair_and_parse(written(body, CHANGED[0]))
    assert problem_paths(exc_info) == ["CFItems[0].vector[0]"]


def test_code_written_as_a_number_is_repaired_to_its_text() -> None:
    code = "1.10000000000000000000000"
    body = factories.package(
        CFItems=[factories.packed_item(humanCodingScheme="HERE")], CFAssociations=[]
    )
    package, _ = repair_and_parse(written(body, code))
    assert any(code in row.body for row in package.rows)


def test_digits_in_strings_are_ignored() -> None:
    item = factories.item("d", extensions={"a": f"x {CHANGED[0]}, 1e-400", "1e-400": 1})
    entity = parse_json_body(CFItem, json.dumps(item).encode()).entity
    assert json.loads(make_entity_row("CFItem", entity).body)["extensions"] == item["extensions"]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_repr_of_double_is_exact(number: float) -> None:
    assert is_exact_as_double(repr(number))
    assert is_exact_as_double(f"{number:.17g}") == (
        Decimal(f"{number:.17g}") == Decimal(repr(number))
    )


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=9, min_value=-999999, max_value=999999
    )
)
def test_fifteen_digits_are_exact(number: Decimal) -> None:
    assert is_exact_as_double(str(number))


@pytest.mark.parametrize("padding", range(SLICE_BYTES - 30, SLICE_BYTES + 10, 3))
def test_number_at_the_end_of_a_slice_is_found(padding: int) -> None:
    text = "x" * (padding - len('{"a":"'))
    assert may_contain_inexact_numbers(f'{{"a":"{text}","b":[1e400,2],"c":0}}'.encode())
    assert may_contain_inexact_numbers(f'{{"a":"{text}","b":12345678901234567,"c":0}}'.encode())
    assert not may_contain_inexact_numbers(
        f'{{"a":"{text}","b":[1e40,"3e123"],"c":"urn:3e1234"}}'.encode()
    )

"""The tolerant reader: repairs, values that it leaves unchanged, and reports."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import factories
from support.factories import (
    Body,
    association,
    entity,
    link,
    new_id,
    package,
    package_with_every_class,
)
from support.packages import (
    catch_problem_paths,
    catch_problems,
    count_repairs,
    repair_package,
    to_json,
)
from support.selection import NOT_LARGE, REAL_FRAMEWORKS, mark_slow_except, scale_examples

from case_server.case.package import PreparedPackage, parse_package
from case_server.exceptions import BadRequest, UnprocessableContent
from case_server.repair.metadata_options import MetadataOptions
from case_server.repair.reader import RepairOptions, repair_and_parse
from case_server.repair.repair_log import EXPLANATIONS, RepairSummary

ABSENT = object()
UUID = "84c261f2-2a9d-4ba6-a60d-8c8dc055a163"
OTHER = "1dbf53e4-cd0d-4f20-93a0-f96aff9d6f04"
ITEM = "CFItems[0]"
LEVEL = "CFRubrics[0].CFRubricCriteria[0].CFRubricCriterionLevels[0]"
CRITERION = "CFRubrics[0].CFRubricCriteria[0]"
ASSOCIATION = "CFAssociations[0]"
NODE = f"{ASSOCIATION}.originNodeURI"
TYPE = "CFDefinitions.CFItemTypes[0]"
LICENSE = "CFDefinitions.CFLicenses[0]"
GROUPING = "CFDefinitions.CFAssociationGroupings[0]"
Value = Any
"""A value, or a function that returns it from the valid package."""


def steps(path: str) -> list[str | int]:
    return [name or int(index) for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path)]


def get(body: Any, path: str) -> Any:
    for step in steps(path):
        if isinstance(body, dict) and step not in body:
            return ABSENT
        body = body[step]
    return body


def put(body: Any, path: str, value: Any) -> None:
    *way, last = steps(path)
    for step in way:
        body = body[step]
    if value is ABSENT:
        body.pop(last, None)
    else:
        body[last] = value


def repaired(body: Any) -> tuple[Any, list[RepairSummary]]:
    result, repairs = repair_package(to_json(body))
    return json.loads(result), repairs


def of(path: str) -> Callable[[Body], Any]:
    """Return the value at a path of the valid package."""
    return lambda body: deepcopy(get(body, path))


class Case(NamedTuple):
    kind: str
    path: str
    before: Value
    after: Value
    at: str = ""
    """The path of the value after the repair, if it differs."""
    also: frozenset[str] = frozenset()
    """Other kinds of repair that this one causes."""
    absent: str = ""
    """A path that must be absent as well."""


def linked(title: str, identifier: str, uri: str) -> Body:
    return {"title": title, "identifier": identifier, "uri": uri}


def same_item_uri(body: Body) -> Any:
    return body["CFItems"][1]["uri"]


MADE = str(uuid5(NAMESPACE_URL, "Cells"))
ADDRESS = f"https://x.test/{OTHER}/uri/{UUID}"

CASES = [
    Case("null", f"{ITEM}.notes", None, ABSENT),
    Case("null", f"{ITEM}.subject", [None, "a"], ["a"]),
    Case("null", "CFDefinitions", None, ABSENT),
    Case("empty-string", f"{ITEM}.statusEndDate", "", ABSENT),
    Case("empty-string", f"{ITEM}.licenseURI", " ", ABSENT),
    Case("empty-string", f"{ASSOCIATION}.sequenceNumber", "", ABSENT),
    Case("field-name", f"{ITEM}.educationalLevel", ["06"], ["06"], f"{ITEM}.educationLevel"),
    Case("field-name", f"{ITEM}.humancodingscheme", "B", "B", f"{ITEM}.humanCodingScheme",
         absent=f"{ITEM}.humanCodingScheme"),
    Case("field-name", f"{ITEM}.cfitemtype", "Unit", "Unit", f"{ITEM}.CFItemType"),
    Case("field-name", f"{NODE}.URI", of(f"{NODE}.uri"), of(f"{NODE}.uri"), f"{NODE}.uri",
         absent=f"{NODE}.uri"),
    Case("unknown-field", f"{ITEM}.colour", {"a": None}, {"a": None},
         f"{ITEM}.extensions.colour"),
    Case("unknown-field", f"{LEVEL}.colour", "red", [{"colour": "red"}], f"{LEVEL}.extensions"),
    Case("unknown-field", "colour", "red", "red", "extensions.colour"),
    Case("unknown-field", "CFDefinitions.colour", 1, 1, "CFDefinitions.extensions.colour"),
    Case("unknown-link-field", f"{NODE}.colour", "red", ABSENT),
    Case("string-for-list", f"{ITEM}.educationLevel", "06, 07,08,", ["06", "07", "08"]),
    Case("string-for-list", f"{ITEM}.subject", "Arts, fine", ["Arts, fine"]),
    Case("string-for-list", f"{ITEM}.conceptKeywords", "a, b", ["a, b"]),
    Case("object-for-list", f"{ITEM}.subjectURI", of(f"{ITEM}.subjectURI[0]"),
         of(f"{ITEM}.subjectURI")),
    Case("object-for-list", f"{LEVEL}.extensions", {"a": 1}, [{"a": 1}]),
    Case("object-for-list", "CFRubrics", of("CFRubrics[0]"), of("CFRubrics")),
    Case("number-for-string", f"{ITEM}.humanCodingScheme", 5, "5"),
    Case("number-for-string", f"{ITEM}.notes", before=False, after="false"),
    Case("number-for-string", "CFDocument.caseVersion", 1.1, "1.1"),
    Case("string-for-number", f"{ASSOCIATION}.sequenceNumber", " 7", 7),
    Case("string-for-number", f"{ASSOCIATION}.sequenceNumber", "7.0", 7),
    Case("string-for-number", f"{LEVEL}.position", "-2", -2),
    Case("string-for-number", f"{LEVEL}.score", "2.5", 2.5),
    Case("string-for-number", f"{CRITERION}.weight", "1e-1", 0.1),
    Case("datetime-for-date", f"{ITEM}.statusStartDate", "2018-09-25T23:59:59-06:00",
         "2018-09-25"),
    Case("datetime-for-date", "CFDocument.statusEndDate", "2018-09-25 01:02", "2018-09-25"),
    Case("date-for-datetime", f"{ITEM}.lastChangeDateTime", "2018-09-25",
         "2018-09-25T00:00:00Z"),
    Case("datetime-without-zone", f"{LEVEL}.lastChangeDateTime", "2017-05-25T18:05:33.5",
         "2017-05-25T18:05:33.5Z"),
    Case("datetime-with-space", f"{ITEM}.lastChangeDateTime", "2017-05-25 18:05:33+02:00",
         "2017-05-25T18:05:33+02:00"),
    Case("case-version", "CFDocument.caseVersion", "1.0", ABSENT),
    Case("association-type", f"{ASSOCIATION}.associationType", "RelatedTo", "isRelatedTo"),
    Case("association-type", f"{ASSOCIATION}.associationType", "Is Child Of", "isChildOf"),
    Case("association-type", f"{ASSOCIATION}.associationType", "isChildof", "isChildOf"),
    Case("association-type", f"{ASSOCIATION}.associationType", "Exact_Match-Of", "exactMatchOf"),
    Case("target-type", f"{NODE}.targetType", "case", "CASE"),
    Case("spaces-around-identifier", f"{ITEM}.identifier",
         lambda body: f"\t{body['CFItems'][0]['identifier']}\n", of(f"{ITEM}.identifier")),
    Case("uri-characters", "CFDocument.officialSourceURL", "http://x.test/a b/%20/é?q={1}",
         "http://x.test/a%20b/%20/%C3%A9?q=%7B1%7D"),
    Case("uri-characters", f"{ITEM}.uri", " http://x.test ", "http://x.test"),
    Case("missing-slash", f"{ITEM}.uri", f"http://x.test/CFItems{UUID}",
         f"http://x.test/CFItems/{UUID}"),
    Case("missing-slash", f"{NODE}.uri", f"http://x.test/CFDocuments{UUID}",
         f"http://x.test/CFDocuments/{UUID}"),
    Case("missing-slash", f"{ASSOCIATION}.uri", f"http://x.test/CFAssociations{UUID}",
         f"http://x.test/CFAssociations/{UUID}"),
    Case("string-for-link", "CFDocument.CFPackageURI", ADDRESS,
         linked("a framework", UUID, ADDRESS)),
    Case("string-for-link", f"{ITEM}.CFDocumentURI", ADDRESS, linked("a framework", UUID, ADDRESS)),
    Case("string-for-link", f"{ITEM}.subjectURI", ["Cells"],
         [linked("Cells", MADE, f"urn:uuid:{MADE}")]),
    Case("string-for-link", f"{ITEM}.licenseURI", "http://x.test/l",
         linked("http://x.test/l", str(uuid5(NAMESPACE_URL, "http://x.test/l")),
                "http://x.test/l")),
    Case("reference", f"{NODE}.identifier",
         lambda body: body["CFItems"][1]["identifier"].upper(), of(f"{NODE}.identifier")),
    Case("relative-uri", f"{NODE}.uri", "../CFItems/1", same_item_uri),
    Case("external-node", NODE, linked("t", "https://x.test/1", "https://x.test/1"),
         linked("t", str(uuid5(NAMESPACE_URL, "https://x.test/1")), "https://x.test/1")),
    Case("external-uri", NODE, linked("t", "elsewhere", "nowhere"),
         linked("t", "elsewhere", "urn:uuid:elsewhere")),
    Case("external-type", f"{NODE}.targetType", "a kind", "ext:a_kind"),
    Case("string-for-link", f"{NODE}", of("CFItems[1].identifier"), same_item_uri, f"{NODE}.uri",
         also=frozenset({"uri-is-identifier"})),
    Case("link-without-title", f"{NODE}.title", ABSENT, of(f"{NODE}.identifier")),
    Case("link-without-identifier", f"{ITEM}.CFItemTypeURI", {"title": "t", "uri": ADDRESS},
         linked("t", UUID, ADDRESS)),
    Case("link-without-uri", f"{NODE}.uri", ABSENT, same_item_uri),
    Case("link-without-uri", f"{ITEM}.licenseURI", {"title": "t", "identifier": UUID},
         linked("t", UUID, f"urn:uuid:{UUID}")),
    Case("uri-is-identifier", f"{NODE}.uri", of(f"{NODE}.identifier"), same_item_uri),
    Case("uri-is-identifier", f"{ITEM}.licenseURI", linked("t", UUID, UUID),
         linked("t", UUID, f"urn:uuid:{UUID}")),
    Case("uri-is-identifier", f"{ITEM}.uri", of(f"{ITEM}.identifier"), of(f"{ITEM}.uri")),
    Case("missing-uri", f"{LEVEL}.uri", ABSENT, of(f"{LEVEL}.uri")),
    Case("missing-title", f"{TYPE}.title", ABSENT, of(f"{TYPE}.description")),
    Case("missing-title", f"{GROUPING}.title", ABSENT, of(f"{GROUPING}.identifier")),
    Case("missing-description", f"{TYPE}.description", ABSENT, of(f"{TYPE}.title")),
    Case("missing-hierarchyCode", f"{TYPE}.hierarchyCode", ABSENT, ""),
    Case("missing-licenseText", f"{LICENSE}.licenseText", ABSENT, of(f"{LICENSE}.uri")),
    *(
        Case("missing-lastChangeDateTime", f"{path}.lastChangeDateTime", ABSENT,
             of("CFDocument.lastChangeDateTime"))
        for path in (ITEM, ASSOCIATION, TYPE, "CFRubrics[0]", CRITERION, LEVEL)
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}:{case.path}")
def test_each_kind_of_repair_gives_the_expected_value_once(case: Case) -> None:
    original = package_with_every_class()
    damaged = deepcopy(original)
    before, after = (
        value(original) if callable(value) else value for value in (case.before, case.after)
    )
    if case.absent:
        put(damaged, case.absent, ABSENT)
    put(damaged, case.path, before)
    result, repairs = repaired(damaged)
    assert get(result, case.at or case.path) == after
    assert count_repairs(repairs) == dict.fromkeys({case.kind, *case.also}, 1)
    assert repairs[0].path.startswith(case.path)
    assert repairs[0].explanation == EXPLANATIONS[case.kind]
    assert repair_and_parse(to_json(damaged)) == (parse_package(to_json(result)), repairs)
    assert repaired(result) == (result, [])


STATEMENTS = [
    ({"alternativeLabel": "l", "abbreviatedStatement": "s", "title": "t"}, "l"),
    ({"abbreviatedStatement": "s", "title": "t"}, "s"),
    ({"title": "t"}, "t"),
    ({"alternativeLabel": " ", "title": "t"}, "t"),
]


@pytest.mark.parametrize(("fields", "statement"), STATEMENTS)
def test_missing_statement_becomes_best_label(fields: Body, statement: str) -> None:
    body = package()
    body["CFItems"][0] |= fields
    del body["CFItems"][0]["fullStatement"]
    result, repairs = repaired(body)
    assert result["CFItems"][0]["fullStatement"] == statement
    assert repairs[0].kind == "missing-fullStatement"
    assert (repairs[0].before, repairs[0].after) == (None, statement)


def test_missing_licence_text_becomes_description() -> None:
    body = package_with_every_class()
    put(body, LICENSE, entity(title="a", description="b"))
    assert get(repaired(body)[0], f"{LICENSE}.licenseText") == "b"


def test_number_in_code_keeps_its_zeros() -> None:
    body = package()
    body["CFItems"][0]["humanCodingScheme"] = "MARK"
    raw = to_json(body).replace(b'"MARK"', b"1.10")
    assert json.loads(repair_package(raw)[0])["CFItems"][0]["humanCodingScheme"] == "1.10"


@pytest.mark.parametrize("name", ["CFPackage", "package"])
def test_wrapper_is_removed(name: str) -> None:
    body = package()
    assert repair_package(to_json({name: body})) == (to_json({name: body}), [])
    body["CFItems"][1]["notes"] = None
    result, repairs = repaired({name: body})
    assert result["CFDocument"] == body["CFDocument"]
    paths = {repair.kind: repair.path for repair in repairs}
    assert paths == {"wrapper": name, "null": f"{name}.CFItems[1].notes"}


def test_unknown_wrapper_is_refused() -> None:
    assert catch_problems(repair_and_parse, to_json({"data": package()}))


def test_byte_order_mark_is_removed() -> None:
    raw = to_json(package())
    result, repairs = repair_package(b"\xef\xbb\xbf" + raw)
    assert count_repairs(repairs) == {"byte-order-mark": 1}
    assert json.loads(result) == json.loads(raw)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_json_in_another_unicode_encoding_is_converted_and_reported(encoding: str) -> None:
    text = json.dumps(factories.package(), ensure_ascii=False).replace("a statement", "Größe")
    package, repairs = repair_and_parse(text.encode(encoding))
    assert count_repairs(repairs) == {"encoding": 1}
    assert any("Größe" in row.body for row in package.rows)


def test_json_in_windows_1252_is_refused_with_the_byte() -> None:
    text = json.dumps(factories.package()).replace("a statement", "Größe")
    raw = text.encode("cp1252")
    offset = raw.index("ö".encode("cp1252"))
    with pytest.raises(BadRequest, match=rf"not UTF-8 \(byte 0xf6 at offset {offset:,}\); save"):
        repair_and_parse(raw)
    with pytest.raises(BadRequest, match="begins as UTF-16 does, but is not"):
        repair_and_parse(b"\xff\xfe\x00\xd8")


@pytest.mark.parametrize("escape", [r"\ud800", r"\udfff", r"\ud800A", r"\udc00\ud800"])
@pytest.mark.parametrize(
    ("encoding", "options"),
    [
        ("utf-16", RepairOptions()),
        ("utf-8", RepairOptions(metadata=MetadataOptions(title="Mathematics"))),
    ],
)
def test_lone_surrogate_is_bad_request(escape: str, encoding: str, options: RepairOptions) -> None:
    text = json.dumps(factories.package()).replace("a statement", escape)
    with pytest.raises(BadRequest, match=r"not JSON: .* (surrogate|hex escape)"):
        repair_and_parse(text.encode(encoding), options=options)


def test_surrogate_pair_is_one_character() -> None:
    text = json.dumps(factories.package()).replace("a statement", r"\uD83D\ude00")
    package, _ = repair_and_parse(text.encode("utf-16"))
    assert any("\N{GRINNING FACE}" in row.body for row in package.rows)


def duplicates() -> Iterator[tuple[str, str, Body]]:
    """Yield the kind of repair, the path and the package of each kind of duplicate."""
    body = package()
    body["CFAssociations"].append(deepcopy(body["CFAssociations"][0]))
    yield "duplicate-entity", "CFAssociations[1]", body
    body = package()
    body["CFItems"].append(deepcopy(body["CFItems"][0]))
    yield "duplicate-entity", "CFItems[2]", body
    body = package_with_every_class()
    types = body["CFDefinitions"]["CFItemTypes"]
    types.insert(0, {**types[0], "typeCode": None})
    yield "duplicate-entity", "CFDefinitions.CFItemTypes[1]", body
    body = package()
    first = body["CFAssociations"][0]
    body["CFAssociations"].append({**first, "associationType": "isPartOf"})
    yield "duplicate-association-id", "CFAssociations[1]", body
    body = package()
    first = body["CFAssociations"][0]
    body["CFAssociations"].append({**first, "identifier": new_id(), "sequenceNumber": 3})
    yield "duplicate-triple", "CFAssociations[1]", body


@pytest.mark.parametrize(("kind", "path", "body"), list(duplicates()))
def test_second_duplicate_is_removed(kind: str, path: str, body: Body) -> None:
    result, repairs = repaired(body)
    assert {repair.kind: repair.path for repair in repairs if repair.kind != "null"} == {kind: path}
    members, _, index = path.rpartition("[")
    before, after = get(body, members), get(result, members)
    del before[int(index[:-1])]
    dropped = {name: value for name, value in before[0].items() if value is not None}
    assert [after[0], *after[1:]] == [dropped, *before[1:]]
    parse_package(to_json(result))


def test_every_kind_of_repair_has_a_case() -> None:
    elsewhere = {"missing-fullStatement", "wrapper", "byte-order-mark", "encoding"}
    # Optional repairs are tested in test_references.py.
    elsewhere |= {"association-type-name", "url-identifier"}
    # Spreadsheets are tested in tests/formats.
    elsewhere |= {"code-from-number", "surrounding-space", "row-above-headings", "date-form"}
    elsewhere |= {
        "external-name",
        "document-of-items",
        "license-text",
        "reference-by-title",
        "code-from-date",
    }
    # Trees and incomplete packages are tested in test_incomplete_packages.py.
    elsewhere |= {"missing-document", "missing-time-of-document", "missing-identifier"}
    elsewhere |= {"nested-items"}
    tested = {case.kind for case in CASES} | {kind for kind, _, _ in duplicates()} | elsewhere
    assert tested == EXPLANATIONS.keys()


REFUSED = [
    (f"{ITEM}.statusStartDate", "soon"),
    (f"{ITEM}.statusStartDate", "2018-13-25T00:00:00Z"),
    (f"{ITEM}.lastChangeDateTime", "yesterday"),
    (f"{ITEM}.notes", "a\x00b"),
    (f"{ITEM}.notes", ["a"]),
    (f"{ITEM}.uri", "x.test/a"),
    (f"{ITEM}.uri", "http://x.test/\x00"),
    (f"{ITEM}.identifier", ABSENT),
    (f"{ITEM}.fullStatement", ABSENT),
    ("CFDocument.title", ABSENT),
    ("CFDocument.creator", ABSENT),
    ("CFDocument", ABSENT),
    (f"{ITEM}.licenseURI", {"title": "only"}),
    (f"{ASSOCIATION}.associationType", "isNear"),
    (f"{ASSOCIATION}.sequenceNumber", "1.5"),
    (f"{ASSOCIATION}.sequenceNumber", "2147483648"),
    (f"{ASSOCIATION}.sequenceNumber", True),
    (f"{LEVEL}.score", "many"),
    (f"{LEVEL}.extensions", "free"),
    (f"{ITEM}.extensions", "free"),
]


def parent(path: str) -> str:
    """Return a path without a last field ``identifier`` or ``uri``."""
    return path.removesuffix(".identifier").removesuffix(".uri")


@pytest.mark.parametrize(("path", "value"), REFUSED)
def test_ambiguous_value_is_refused_with_its_path(path: str, value: Any) -> None:
    body = package_with_every_class()
    put(body, path, value)
    put(body, "CFItems[1].notes", None)
    assert get(repaired(body)[0], path) in ([ABSENT] if value is ABSENT else [value])
    paths = catch_problem_paths(repair_and_parse, to_json(body))
    assert {parent(repaired_path) for repaired_path in paths} == {parent(path)}


def test_different_items_with_one_identifier_are_refused() -> None:
    body = package()
    body["CFItems"].append({**body["CFItems"][0], "fullStatement": "another"})
    assert catch_problem_paths(repair_and_parse, to_json(body)) == ["CFItems[2].identifier"]


def test_contradicting_fields_are_refused() -> None:
    body = package()
    body["CFItems"][0] |= {"CFItemType": "a", "cfItemType": "b", "notes": None}
    assert catch_problem_paths(repair_and_parse, to_json(body)) == ["CFItems[0].cfItemType"]


def test_problem_paths_are_those_of_the_original_file() -> None:
    body = package()
    first = body["CFAssociations"][0]
    body["CFAssociations"] += [deepcopy(first), association(new_id(), new_id())]
    body["CFAssociations"][2]["destinationNodeURI"]["title"] = ["?"]
    body["CFItems"].insert(0, None)
    body["CFItems"][2]["educationalLevel"] = [{}]
    body["CFItems"][2]["subjectURI"] = {**link(), "title": {}}
    with pytest.raises(UnprocessableContent) as refused:
        repair_and_parse(to_json({"CFPackage": body}))
    assert {problem["path"] for problem in refused.value.problems} == {
        "CFPackage.CFAssociations[2].destinationNodeURI.title",
        "CFPackage.CFItems[2].educationalLevel[0]",
        "CFPackage.CFItems[2].subjectURI.title",
    }
    assert "and 2 more problems" in refused.value.description


def test_all_problems_are_reported() -> None:
    body = package_with_every_class()
    for path, value in (("CFDocument.title", ABSENT), (f"{ITEM}.uri", "?"), (f"{NODE}.title", [])):
        put(body, path, value)
    assert len(catch_problems(repair_and_parse, to_json(body))) == 3


@pytest.mark.parametrize("raw", [b"", b"[]", b'"x"', b"{", b"null", b"\xff", b"\xef\xbb\xbf[]"])
@pytest.mark.parametrize("reader", [repair_package, repair_and_parse])
def test_body_other_than_object_is_bad_request(raw: bytes, reader: Callable[[bytes], Any]) -> None:
    with pytest.raises(BadRequest):
        reader(raw)


def test_valid_package_is_returned_unchanged() -> None:
    for body in (package(), package_with_every_class(), {"package": package_with_every_class()}):
        raw = json.dumps(body, indent=3).encode()
        result, repairs = repair_package(raw)
        assert result is raw
        assert repairs == []
        assert repair_and_parse(raw) == (parse_package(raw), [])


def test_uri_in_a_string_field_is_not_repaired() -> None:
    body = package()
    body["CFItems"][0]["notes"] = f"see http://x.test/CFItems{UUID}"
    assert repair_package(to_json(body)) == (to_json(body), [])


def test_extensions_are_not_repaired() -> None:
    body = package_with_every_class()
    own = {"educationalLevel": None, "uri": "a b", "sourcedId": 1}
    body["CFItems"][0] |= {"extensions": own, "notes": None, "colour": "red"}
    assert repaired(body)[0]["CFItems"][0]["extensions"] == {**own, "colour": "red"}


def test_repair_has_count_and_first_example() -> None:
    body = package_with_every_class()
    for item in body["CFItems"]:
        item["educationLevel"] = "06, 07"
    repair = repaired(body)[1][0]
    assert (repair.count, repair.path) == (2, "CFItems[0].educationLevel")
    assert (repair.before, repair.after) == ("06, 07", ["06", "07"])
    assert str(repair) == (
        "A string was in place of an array of strings; it became an array. "
        '2 times, first at CFItems[0].educationLevel: "06, 07" → ["06","07"]'
    )


@pytest.mark.parametrize("value", ["x" * 10_000, {"uri": "x" * 10_000}, 150 * ["é"]])
def test_long_example_is_cut_to_200_characters(value: Any) -> None:
    body = package()
    body["CFItems"][0]["statementCode"] = value
    result, (repair,) = repaired(body)
    assert result["CFItems"][0]["extensions"] == {"statementCode": value}
    assert repair.kind == "unknown-field"
    assert len(repair.before) == 200
    assert repair.before.endswith("…")
    assert repair.before[:5] in json.dumps(value, ensure_ascii=False)


def test_example_of_150_characters_is_not_cut() -> None:
    body = package()
    body["CFItems"][0]["subject"] = "x" * 150
    (repair,) = repaired(body)[1]
    assert (repair.before, repair.after) == ("x" * 150, ["x" * 150])


EXPECTED = {
    "ccss-math-2010": {},
    "georgia-science-excerpt-v1p1": {},
    "large-11k": {},
    "large-11k-broken": {
        "null": 27717,
        "string-for-list": 9238,
        "datetime-for-date": 18476,
        "missing-description": 1,
    },
    "opencase-v1p1-with-rubrics": {
        "null": 201,
        "missing-hierarchyCode": 8,
        "missing-description": 5,
    },
    "opensalt-2017-sample": {
        "datetime-without-zone": 59,
        "string-for-link": 56,
        "field-name": 16,
        "string-for-list": 16,
        "unknown-field": 16,
        "string-for-number": 2,
        "null": 3,
        "missing-description": 3,
    },
    "smarterbalanced-math-content-spec": {
        "missing-description": 4,
        "duplicate-entity": 1,
        "duplicate-triple": 1,
    },
    "teks-118-economics": {"null": 479, "string-for-list": 160, "datetime-for-date": 319},
}

each_framework = pytest.mark.parametrize("name", mark_slow_except(NOT_LARGE, REAL_FRAMEWORKS))


@cache
def repaired_file(path: Path) -> tuple[bytes, bytes, list[RepairSummary]]:
    """Return the content of a file, the repaired one and the repairs."""
    raw = path.read_bytes()
    return raw, *repair_package(raw)


@each_framework
def test_real_framework_can_be_repaired(shared: Path, name: str) -> None:
    raw, result, repairs = repaired_file(shared / f"frameworks/{name}.json")
    assert count_repairs(repairs) == EXPECTED[name]
    assert (result == raw) == (not repairs)
    assert parse_package(result) == repair_and_parse(raw)[0]
    assert repair_package(result) == (result, [])


RESPELT = {"educationalLevel": "educationLevel"}


def lost_paths(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Yield every path of the original whose value is missing from the repaired package."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            location = f"{path}.{name}"
            value_after = after.get(RESPELT.get(name, name), after.get("extensions", {}).get(name))
            yield from lost_paths(value, value_after, location)
    elif isinstance(before, list) and isinstance(after, list):
        by_id = {entity["identifier"]: entity for entity in after if isinstance(entity, dict)}
        for index, value in enumerate(before):
            other = by_id.get(value["identifier"]) if isinstance(value, dict) else after[index]
            yield from lost_paths(value, other, f"{path}[{index}]")
    elif before is not None and before != after and not means(before, after):
        yield path


def means(before: Any, after: Any) -> bool:
    """Return whether a repaired value has the meaning of the original."""
    if isinstance(after, list):
        return before in (after[0], ", ".join(after))
    if isinstance(after, dict):
        return bool(before == after["uri"])
    if isinstance(before, str) and isinstance(after, str):
        return after in (before[:10], f"{before}Z")
    return isinstance(before, str) and before == str(after)


@each_framework
def test_repair_loses_no_value(shared: Path, name: str) -> None:
    raw, result, _ = repaired_file(shared / f"frameworks/{name}.json")
    lost = list(lost_paths(json.loads(raw), json.loads(result)))
    assert lost == ([".CFAssociations[580]"] if name.startswith("smarter") else [])


def test_broken_large_framework_becomes_the_valid_one(shared: Path) -> None:
    sound = json.loads((shared / "frameworks/large-11k.json").read_bytes())
    result = json.loads(repaired_file(shared / "frameworks/large-11k-broken.json")[1])
    for repaired_association in result["CFAssociations"]:
        # The sound one leaves out the documents that its parts were taken from.
        repaired_association.pop("CFDocumentURI", None)
    assert result == sound


hostile = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["", " ", UUID, ADDRESS, "2018-09-25", "2018-09-25T01:02:03", "1", "1.1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["identifier", "uri", "title", "URI", "x"]) | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)


def places(value: Any, path: str = "") -> Iterator[str]:
    parts: Any = ()
    if isinstance(value, dict):
        parts = ((f"{path}.{name}".lstrip("."), part) for name, part in value.items())
    if isinstance(value, list):
        parts = ((f"{path}[{index}]", part) for index, part in enumerate(value))
    for location, part in parts:
        yield location
        yield from places(part, location)


FULL = package_with_every_class()
SPOTS = st.sampled_from(list(places(FULL)))
CHANGES = st.lists(st.tuples(SPOTS, st.sampled_from(["put", "add"]), hostile), max_size=6)


@settings(
    max_examples=scale_examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(CHANGES)
def test_arbitrary_changes_raise_no_exception(changes: list[tuple[str, str, Any]]) -> None:
    body = deepcopy(FULL)
    for path, how, value in sorted(changes, key=lambda change: -len(steps(change[0]))):
        put(body, f"{path}x" if how == "add" and not path.endswith("]") else path, value)
    raw = to_json(body)
    with suppress(BadRequest):
        result, repairs = repair_package(raw)
        assert (result == raw) == (not repairs)
        assert repair_package(result) == (result, [])
        with suppress(UnprocessableContent):
            assert isinstance(repair_and_parse(raw)[0], PreparedPackage)

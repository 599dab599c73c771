"""The linter on whole packages, including real frameworks."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from support.factories import Body, association, item_type, link, package, packed_item, subject
from support.lintable_package import build_valid_tree, find_violations, list_item_ids
from support.selection import NOT_LARGE, REAL_FRAMEWORKS, mark_slow_except

from case_server.case.package import parse_package
from case_server.lint.linter import lint_package
from case_server.sample import read_sample


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff", b'{"a": "\\ud800"}'])
def test_json_other_than_object_is_reported(raw: bytes) -> None:
    (violation,) = lint_package(raw).violations
    assert (violation.rule, violation.path) == ("json", "")


def test_invalid_json_is_reported_with_its_line() -> None:
    (violation,) = lint_package(b'{\n  "CFDocument": {,\n').violations
    assert (violation.line, violation.rule) == (2, "json")


def test_sample_violates_only_intended_rules() -> None:
    checked = lint_package(read_sample())
    assert {violation.rule for violation in checked.violations} == {
        "multiple-parents", "duplicate-sequence-number", "redundant-link", "external-reference"
    }  # fmt: skip
    assert checked.document
    assert checked.title


def test_only_selected_rules_are_applied() -> None:
    body = build_valid_tree()
    body["CFAssociations"][2]["sequenceNumber"] = 1
    body["CFItems"][0]["notes"] = None
    raw = json.dumps(body).encode()
    assert [violation.rule for violation in lint_package(raw, {"schema"}).violations] == ["schema"]
    assert [
        violation.rule for violation in lint_package(raw, {"duplicate-sequence-number"}).violations
    ] == ["duplicate-sequence-number"]
    assert lint_package(b"[]", {"schema"}).violations == []


def test_mistake_does_not_hide_others() -> None:
    """Rules see an education level that is not an array, and a licence that is not a link."""
    body = build_valid_tree()
    body["CFItems"][0] |= {"educationLevel": "05, 5", "licenseURI": "https://x.test/l"}
    rules = {(violation.rule, violation.path) for violation in find_violations(body)}
    assert rules == {
        ("schema", "CFItems[0].educationLevel"),
        ("education-level", "CFItems[0].educationLevel"),
        ("schema", "CFItems[0].licenseURI"),
        ("undefined-link", "CFItems[0].licenseURI"),
    }


def test_problem_uncovered_by_repair_is_not_called_repaired() -> None:
    body = build_valid_tree()
    body["CFDefinitions"] = {"CFItemTypes": {"title": 5, "identifier": []}}
    violations = [violation for violation in find_violations(body) if violation.rule == "schema"]
    by_path = {violation.path: violation for violation in violations}
    assert by_path["CFDefinitions.CFItemTypes"].repair is None
    assert by_path["CFDefinitions.CFItemTypes.identifier"].repair is None


def test_wrapped_package_has_original_paths() -> None:
    body = build_valid_tree()
    body["CFItems"][0]["notes"] = None
    body["CFAssociations"][2]["sequenceNumber"] = 1
    assert {
        (violation.rule, violation.path) for violation in find_violations({"CFPackage": body})
    } == {
        ("nonstandard-name", "CFPackage"),
        ("schema", "CFPackage.CFItems[0].notes"),
        ("duplicate-sequence-number", "CFPackage.CFAssociations[2].sequenceNumber"),
    }


def test_definition_linked_by_name_or_by_a_child_is_not_reported_unused() -> None:
    body = build_valid_tree()
    body["CFItems"][0] |= {"CFItemType": "a type", "subjectURI": [link("s")]}
    upper, lower, unlinked = subject("A"), subject("A.1", "s", uri="urn:s"), subject("A.2")
    body["CFDefinitions"] = {"CFItemTypes": [item_type()], "CFSubjects": [upper, lower, unlinked]}
    unused = [
        violation.path
        for violation in find_violations(body)
        if violation.rule == "unused-definition"
    ]
    assert unused == ["CFDefinitions.CFSubjects[2]"]


def test_external_nodes_with_extension_type_are_allowed() -> None:
    body = build_valid_tree()
    link = association(list_item_ids(body)[0], "elsewhere", associationType="exactMatchOf")
    link["destinationNodeURI"]["targetType"] = "ext:course"
    body["CFAssociations"].append(link)
    assert find_violations(body) == []


@pytest.mark.parametrize(
    "tag", ["en", "eng", "en-US", "en_US", "zh-Hant-TW", "de-CH-1996", "es-419", "en-x-school"]
)
def test_language_tags_are_accepted(tag: str) -> None:
    body = build_valid_tree()
    body["CFItems"][0]["language"] = tag
    assert find_violations(body) == []


def cycle_messages(body: Body) -> list[str]:
    return [violation.message for violation in find_violations(body) if violation.rule == "cycle"]


def test_all_cycles_are_found_and_long_ones_shortened() -> None:
    body = package(CFItems=[], CFAssociations=[])
    for name, length in (("a", 20), ("b", 3)):
        members = [packed_item(humanCodingScheme=f"{name}{index}") for index in range(length)]
        body["CFItems"] += members
        body["CFAssociations"] += [
            association(member["identifier"], members[index - 1]["identifier"])
            for index, member in enumerate(members)
        ]
    long, short = sorted(cycle_messages(body), key=len, reverse=True)
    assert "… 12 more …" in long
    assert short.count(" > ") == 3


def test_deep_and_wide_trees_have_no_cycle() -> None:
    """A chain of thousands, and layers in which every node has every node above as a parent."""
    body = package(CFItems=[packed_item() for _ in range(3000)])
    root, *children = list_item_ids(body)
    body["CFAssociations"] = [
        association(child, parent)
        for child, parent in zip(children, [root, *children], strict=False)
    ]
    layers = [[packed_item() for _ in range(8)] for _ in range(12)]
    body["CFItems"] += [item for layer in layers for item in layer]
    body["CFAssociations"] += [
        association(child["identifier"], parent["identifier"])
        for upper, lower in pairwise(layers)
        for child in lower
        for parent in upper
    ]
    assert cycle_messages(body) == []


REAL = {
    "ccss-math-2010": {"duplicate-sequence-number"},
    "georgia-science-excerpt-v1p1": {"orphan", "external-reference"},
    "large-11k": {
        "duplicate-sequence-number",
        "duplicate-code",
        "external-reference",
        "unused-definition",
    },
    "large-11k-broken": {"schema", "document-mismatch", "duplicate-sequence-number"},
    "opencase-v1p1-with-rubrics": {"schema", "identifier-not-uuid", "education-level"},
    "opensalt-2017-sample": {"schema", "external-reference"},
    "smarterbalanced-math-content-spec": {
        "schema",
        "duplicate-identifier",
        "duplicate-association",
        "orphan",
        "external-reference",
    },
    "teks-118-economics": {"schema", "duplicate-code"},
}
"""Rules that each real framework is known to violate."""


@pytest.mark.parametrize("name", mark_slow_except(NOT_LARGE, REAL_FRAMEWORKS))
def test_real_frameworks_violate_the_expected_rules(shared: Path, name: str) -> None:
    raw = (shared / "frameworks" / f"{name}.json").read_bytes()
    checked = lint_package(raw)
    rules = {violation.rule for violation in checked.violations}
    assert REAL[name] <= rules
    # All can be imported, so import repairs everything that the strict reader refuses.
    assert all(violation.repair for violation in checked.violations if violation.rule == "schema")
    if "schema" not in rules and "duplicate-identifier" not in rules:
        assert parse_package(raw)

"""Each rule on the smallest package that breaks it, and on packages that break nothing."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from factories import (
    Body,
    association,
    entity,
    item_type,
    link,
    new_id,
    package,
    packed_item,
    rubric,
    subject,
)

from case_server.case.package import read_package
from case_server.check.checker import check
from case_server.check.finding import Finding
from case_server.check.rules import RULES
from case_server.sample import sample


def tree() -> Body:
    """A document with two items under it and one under the first; nothing is wrong with it."""
    body = package()
    root, (top, below) = body["CFDocument"]["identifier"], body["CFItems"]
    second = packed_item(fullStatement="another statement", humanCodingScheme="B")
    body["CFItems"].append(second)
    body["CFAssociations"] = [
        association(below["identifier"], top["identifier"], sequenceNumber=1),
        association(top["identifier"], root, sequenceNumber=1),
        association(second["identifier"], root, sequenceNumber=2),
    ]
    return body


def found(body: Any) -> list[Finding]:
    return check(json.dumps(body).encode()).findings


def hang(body: Body, item: Body, under: str, **fields: Any) -> None:
    body["CFItems"].append(item)
    body["CFAssociations"].append(association(item["identifier"], under, **fields))


def root(body: Body) -> str:
    return str(body["CFDocument"]["identifier"])


def ids(body: Body) -> list[str]:
    return [one["identifier"] for one in body["CFItems"]]


Break = Callable[[Body], Any]


def repeat_item(body: Body) -> None:
    body["CFItems"].append({**body["CFItems"][0], "notes": "differs"})


def share_across_kinds(body: Body) -> None:
    body["CFDefinitions"] = {"CFItemTypes": [item_type(ids(body)[0])]}
    body["CFItems"][1]["CFItemTypeURI"] = link(ids(body)[0])


def repeat_triple(body: Body) -> None:
    body["CFAssociations"].append({**body["CFAssociations"][0], **entity()})


def to_itself(body: Body) -> None:
    one = ids(body)[0]
    body["CFAssociations"].append(association(one, one, associationType="isRelatedTo"))


def close_circle(body: Body) -> None:
    body["CFAssociations"][1]["destinationNodeURI"] = link(ids(body)[1])


def wrong_way(body: Body) -> None:
    outside = association(root(body), new_id())
    body["CFAssociations"].append(outside)


def two_parents(body: Body) -> None:
    body["CFAssociations"].append(association(ids(body)[1], ids(body)[2], sequenceNumber=1))


def tie(body: Body) -> None:
    body["CFAssociations"][2]["sequenceNumber"] = 1


def rename_identifier(body: Body, identifier: str) -> None:
    item = packed_item(identifier, fullStatement="c")
    hang(body, item, root(body), sequenceNumber=3)


def same_words(body: Body) -> None:
    item = packed_item(fullStatement=" Another\nStatement")
    hang(body, item, root(body), sequenceNumber=3)


def unnumbered(body: Body) -> None:
    del body["CFAssociations"][2]["sequenceNumber"]


def unlinked_type(body: Body) -> None:
    body["CFDefinitions"] = {"CFItemTypes": [item_type(title="nobody's")]}


def put(path: str, value: Any) -> Break:
    """Set a field of the document, of the first item or of the first association."""

    def change(body: Body) -> None:
        kind, field = path.split(".")
        node = body[kind]
        (node if isinstance(node, dict) else node[0])[field] = value

    return change


def with_rubric(**criterion: Any) -> Break:
    def change(body: Body) -> None:
        one = rubric()
        one["CFRubricCriteria"][0] |= criterion
        body["CFRubrics"] = [one]

    return change


def spell_otherwise(body: Body) -> None:
    body["CFItems"][0]["sourcedId"] = body["CFItems"][0].pop("identifier")


class Case(NamedTuple):
    rule: str
    broken: Break
    path: str
    says: str
    repaired: bool = False


CASES = [
    Case("schema", put("CFItems.notes", None), "CFItems[0].notes", "null", repaired=True),
    Case("schema", put("CFItems.fullStatement", []), "CFItems[0].fullStatement", "valid string"),
    Case("schema", lambda body: body["CFDocument"].pop("creator"), "CFDocument.creator",
         "required"),
    Case("schema", put("CFItems.colour", "red"), "CFItems[0].colour", "extensions",
         repaired=True),
    Case("schema", lambda body: body["CFAssociations"].append(
        association(*ids(body)[:2], associationType="isFriendOf")),
         "CFAssociations[3].associationType", "must be one of"),
    Case("duplicate-identifier", repeat_item, "CFItems[3].identifier", "CFItems[0]"),
    Case("duplicate-identifier", share_across_kinds, "CFDefinitions.CFItemTypes[0].identifier",
         "CFItems[0]"),
    Case("duplicate-identifier", lambda body: body["CFAssociations"].append(
        body["CFAssociations"][0]), "CFAssociations[3].identifier", "CFAssociations[0]",
         repaired=True),
    Case("duplicate-association", repeat_triple, "CFAssociations[3]", "CFAssociations[0]",
         repaired=True),
    Case("self-association", to_itself, "CFAssociations[3].destinationNodeURI",
         "isRelatedTo from A to itself"),
    Case("cycle", close_circle, "CFAssociations[1].destinationNodeURI", "A.1 > A > A.1"),
    Case("dialect", spell_otherwise, "CFItems[0].sourcedId", "name of this field", repaired=True),
    Case("unknown-parent", lambda body: body["CFAssociations"][2].update(
        destinationNodeURI=link("nobody")), "CFAssociations[2].destinationNodeURI", "nobody"),
    Case("unknown-parent", lambda body: body["CFAssociations"].append(
        association("nobody", root(body), sequenceNumber=9)),
         "CFAssociations[3].originNodeURI", "nobody"),
    Case("orphan", lambda body: body["CFAssociations"].pop(1), "CFItems[0]", "its 1 children"),
    Case("several-parents", two_parents, "CFItems[1]", "2 parents: A, B"),
    Case("sequence-tie", tie, "CFAssociations[2].sequenceNumber", "2 children of a framework"),
    Case("identifier-not-uuid", lambda body: rename_identifier(body, "K.1"),
         "CFItems[3].identifier", "is not a UUID"),
    Case("identifier-not-uuid", lambda body: rename_identifier(body, new_id().upper()),
         "CFItems[3].identifier", "lower case"),
    Case("identifier-not-uuid", lambda body: rename_identifier(body, str(uuid.UUID(int=1))),
         "CFItems[3].identifier", "versions 1 to 5"),
    Case("duplicate-code", put("CFItems.humanCodingScheme", "B"), "CFItems[2].humanCodingScheme",
         "B is also the code of CFItems[0]"),
    Case("empty-statement", put("CFItems.fullStatement", " \n"), "CFItems[0].fullStatement", ""),
    Case("date-order", lambda body: body["CFItems"][0].update(
        statusStartDate="2026-02-01", statusEndDate="2026-01-31"), "CFItems[0].statusEndDate",
         "2026-02-01"),
    Case("language", put("CFItems.language", "English"), "CFItems[0].language", "English"),
    Case("language", put("CFDocument.language", "en--US"), "CFDocument.language", "en--US"),
    Case("rubric-link", with_rubric(rubricId=new_id()), "CFRubrics[0].CFRubricCriteria[0].rubricId",
         "but stands in"),
    Case("rubric-link", with_rubric(CFItemURI=link("nobody")),
         "CFRubrics[0].CFRubricCriteria[0].CFItemURI", "nobody"),
    Case("rubric-link", with_rubric(CFRubricCriterionLevels=[entity(rubricCriterionId=new_id())]),
         "CFRubrics[0].CFRubricCriteria[0].CFRubricCriterionLevels[0].rubricCriterionId",
         "but stands in"),
    Case("outside-node", lambda body: body["CFAssociations"].append(
        association(ids(body)[0], "elsewhere", associationType="exactMatchOf")),
         "CFAssociations[3].destinationNodeURI", "elsewhere"),
    Case("undefined-link", lambda body: [item.update(licenseURI=link("cc")) for item in
                                         body["CFItems"]], "CFItems[0].licenseURI", "3 links"),
    Case("unused-definition", unlinked_type, "CFDefinitions.CFItemTypes[0]", "nobody's"),
    Case("package-link", lambda body: body["CFItems"][1].update(CFDocumentURI=link(root(body))),
         "CFItems[1].CFDocumentURI", "1 CFItem"),
    Case("uri-without-identifier", put("CFItems.uri", "https://x.test/1"), "CFItems[0].uri",
         "https://x.test/1"),
    Case("sequence-missing", unnumbered, "CFAssociations[2].sequenceNumber", "1 of the 2"),
    Case("duplicate-statement", same_words, "CFItems[3].fullStatement", "CFItems[2]"),
    Case("education-level", put("CFItems.educationLevel", ["05", "5"]),
         "CFItems[0].educationLevel", "'5'"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}:{case.path}")
def test_each_rule_alone(case: Case) -> None:
    assert found(tree()) == []
    body = tree()
    case.broken(body)
    findings = found(body)
    assert [(one.rule, one.path) for one in findings] == [(case.rule, case.path)]
    (one,) = findings
    rule = next(rule for rule in RULES if rule.id == case.rule)
    assert one.severity == rule.severity
    assert case.says in one.message
    assert (one.repair is not None) == case.repaired


# These cannot be broken alone: what hangs elsewhere is also linked from where it should not be.
TOGETHER = [
    ("other-document", {"package-link"}, put("CFItems.CFDocumentURI", link("another"))),
    ("document-as-child", {"unknown-parent"}, wrong_way),
]


@pytest.mark.parametrize(("rule", "others", "broken"), TOGETHER)
def test_each_rule_with_what_comes_of_it(rule: str, others: set[str], broken: Break) -> None:
    body = tree()
    broken(body)
    assert {one.rule for one in found(body)} == {rule, *others}


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff", b'{"a": "\\ud800"}'])
def test_no_json_object(raw: bytes) -> None:
    (finding,) = check(raw).findings
    assert (finding.rule, finding.path) == ("json", "")


def test_json_that_breaks_off_is_found_where_it_does() -> None:
    (finding,) = check(b'{\n  "CFDocument": {,\n').findings
    assert (finding.line, finding.rule) == (2, "json")


def test_every_rule_is_shown() -> None:
    shown = {case.rule for case in CASES} | {rule for rule, _, _ in TOGETHER} | {"json"}
    assert shown == {rule.id for rule in RULES}


def test_the_sample_breaks_only_what_it_shows_on_purpose() -> None:
    checked = check(sample())
    assert {one.rule for one in checked.findings} == {
        "several-parents", "sequence-tie", "package-link", "outside-node"
    }  # fmt: skip
    assert checked.document
    assert checked.title


def test_only_the_rules_asked_for() -> None:
    body = tree()
    tie(body)
    body["CFItems"][0]["notes"] = None
    raw = json.dumps(body).encode()
    assert [one.rule for one in check(raw, {"schema"}).findings] == ["schema"]
    assert [one.rule for one in check(raw, {"sequence-tie"}).findings] == ["sequence-tie"]
    assert check(b"[]", {"schema"}).findings == []


def test_a_mistake_does_not_hide_the_next() -> None:
    """The level is no list and the licence no link, and what they say is looked at all the same."""
    body = tree()
    body["CFItems"][0] |= {"educationLevel": "05, 5", "licenseURI": "https://x.test/l"}
    rules = {(one.rule, one.path) for one in found(body)}
    assert rules == {
        ("schema", "CFItems[0].educationLevel"),
        ("education-level", "CFItems[0].educationLevel"),
        ("schema", "CFItems[0].licenseURI"),
        ("undefined-link", "CFItems[0].licenseURI"),
    }


def test_what_repair_uncovers_is_said_and_not_called_repaired() -> None:
    body = tree()
    body["CFDefinitions"] = {"CFItemTypes": {"title": 5, "identifier": []}}
    findings = [one for one in found(body) if one.rule == "schema"]
    by_path = {one.path: one for one in findings}
    assert by_path["CFDefinitions.CFItemTypes"].repair is None
    assert by_path["CFDefinitions.CFItemTypes.identifier"].repair is None


def test_wrapped_packages_have_the_paths_of_the_file() -> None:
    body = tree()
    body["CFItems"][0]["notes"] = None
    tie(body)
    assert {(one.rule, one.path) for one in found({"CFPackage": body})} == {
        ("dialect", "CFPackage"),
        ("schema", "CFPackage.CFItems[0].notes"),
        ("sequence-tie", "CFPackage.CFAssociations[2].sequenceNumber"),
    }


def test_definitions_are_used_by_name_and_by_what_is_below_them() -> None:
    body = tree()
    body["CFItems"][0] |= {"CFItemType": "a type", "subjectURI": [link("s")]}
    upper, lower, beside = subject("A"), subject("A.1", "s", uri="urn:s"), subject("A.2")
    body["CFDefinitions"] = {"CFItemTypes": [item_type()], "CFSubjects": [upper, lower, beside]}
    unused = [one.path for one in found(body) if one.rule == "unused-definition"]
    assert unused == ["CFDefinitions.CFSubjects[2]"]


def test_nodes_of_other_kinds_may_lie_anywhere() -> None:
    body = tree()
    one = association(ids(body)[0], "elsewhere", associationType="exactMatchOf")
    one["destinationNodeURI"]["targetType"] = "ext:course"
    body["CFAssociations"].append(one)
    assert found(body) == []


@pytest.mark.parametrize(
    "tag", ["en", "eng", "en-US", "en_US", "zh-Hant-TW", "de-CH-1996", "es-419", "en-x-school"]
)
def test_languages_that_are_tags(tag: str) -> None:
    body = tree()
    body["CFItems"][0]["language"] = tag
    assert found(body) == []


def circles(body: Body) -> list[str]:
    return [one.message for one in found(body) if one.rule == "cycle"]


def test_long_circles_are_cut_and_several_are_all_found() -> None:
    body = package(CFItems=[], CFAssociations=[])
    for name, length in (("a", 20), ("b", 3)):
        members = [packed_item(humanCodingScheme=f"{name}{at}") for at in range(length)]
        body["CFItems"] += members
        body["CFAssociations"] += [
            association(one["identifier"], members[at - 1]["identifier"])
            for at, one in enumerate(members)
        ]
    long, short = sorted(circles(body), key=len, reverse=True)
    assert "… 12 more …" in long
    assert short.count(" > ") == 3


def test_deep_and_wide_trees_have_no_circle_and_take_no_time() -> None:
    """A chain of thousands, and layers in which every node has every node above as a parent."""
    body = package(CFItems=[packed_item() for _ in range(3000)])
    one, *others = ids(body)
    body["CFAssociations"] = [
        association(child, parent) for child, parent in zip(others, [one, *others], strict=False)
    ]
    layers = [[packed_item() for _ in range(8)] for _ in range(12)]
    body["CFItems"] += [item for layer in layers for item in layer]
    body["CFAssociations"] += [
        association(child["identifier"], parent["identifier"])
        for upper, lower in pairwise(layers)
        for child in lower
        for parent in upper
    ]
    assert circles(body) == []


REAL = {
    "ccss-math-2010": {"sequence-tie"},
    "georgia-science-excerpt-v1p1": {"orphan", "outside-node"},
    "large-11k": {"sequence-tie", "duplicate-code", "outside-node", "unused-definition"},
    "large-11k-broken": {"schema", "other-document", "sequence-tie"},
    "opencase-v1p1-with-rubrics": {"schema", "identifier-not-uuid", "education-level"},
    "opensalt-2017-sample": {"schema", "outside-node"},
    "smarterbalanced-math-content-spec": {
        "schema", "duplicate-identifier", "duplicate-association", "orphan", "outside-node"
    },
    "teks-118-economics": {"schema", "duplicate-code"},
}  # fmt: skip
"""What is known to be wrong with each real framework."""


@pytest.mark.parametrize("name", REAL)
def test_real_frameworks(shared: Path, name: str) -> None:
    raw = (shared / "frameworks" / f"{name}.json").read_bytes()
    checked = check(raw)
    rules = {one.rule for one in checked.findings}
    assert REAL[name] <= rules
    # All of them can be imported, so everything the strict reader refuses can be repaired.
    assert all(one.repair for one in checked.findings if one.rule == "schema")
    if "schema" not in rules and "duplicate-identifier" not in rules:
        assert read_package(raw)


def test_all_real_frameworks_are_known(shared: Path) -> None:
    assert {path.stem for path in (shared / "frameworks").glob("*.json")} == REAL.keys()

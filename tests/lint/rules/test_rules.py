"""Each linter rule on the smallest package that violates it."""

import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from support.factories import (
    Body,
    association,
    entity,
    item_type,
    link,
    new_id,
    packed_item,
    rubric,
)
from support.lintable_package import (
    add_child,
    build_valid_tree,
    find_violations,
    get_document_id,
    list_item_ids,
)

from case_server.lint.rules.catalog import RULES

Break = Callable[[Body], Any]


def repeat_item(body: Body) -> None:
    body["CFItems"].append({**body["CFItems"][0], "notes": "differs"})


def share_across_kinds(body: Body) -> None:
    body["CFDefinitions"] = {"CFItemTypes": [item_type(list_item_ids(body)[0])]}
    body["CFItems"][1]["CFItemTypeURI"] = link(list_item_ids(body)[0])


def repeat_triple(body: Body) -> None:
    body["CFAssociations"].append({**body["CFAssociations"][0], **entity()})


def to_itself(body: Body) -> None:
    item_id = list_item_ids(body)[0]
    body["CFAssociations"].append(association(item_id, item_id, associationType="isRelatedTo"))


def close_circle(body: Body) -> None:
    body["CFAssociations"][1]["destinationNodeURI"] = link(list_item_ids(body)[1])


def wrong_way(body: Body) -> None:
    outside = association(get_document_id(body), new_id())
    body["CFAssociations"].append(outside)


def two_parents(body: Body) -> None:
    body["CFAssociations"].append(
        association(list_item_ids(body)[1], list_item_ids(body)[2], sequenceNumber=1)
    )


def tie(body: Body) -> None:
    body["CFAssociations"][2]["sequenceNumber"] = 1


def rename_identifier(body: Body, identifier: str) -> None:
    item = packed_item(identifier, fullStatement="c")
    add_child(body, item, get_document_id(body), sequenceNumber=3)


def same_words(body: Body) -> None:
    item = packed_item(fullStatement=" Another\nStatement")
    add_child(body, item, get_document_id(body), sequenceNumber=3)


def unnumbered(body: Body) -> None:
    del body["CFAssociations"][2]["sequenceNumber"]


def unlinked_type(body: Body) -> None:
    body["CFDefinitions"] = {"CFItemTypes": [item_type(title="unused")]}


def put(path: str, value: Any) -> Break:
    """Set a field of the document, of the first item or of the first association."""

    def change(body: Body) -> None:
        kind, field = path.split(".")
        node = body[kind]
        (node if isinstance(node, dict) else node[0])[field] = value

    return change


def with_rubric(**criterion: Any) -> Break:
    def change(body: Body) -> None:
        rubric_body = rubric()
        rubric_body["CFRubricCriteria"][0] |= criterion
        body["CFRubrics"] = [rubric_body]

    return change


def spell_otherwise(body: Body) -> None:
    body["CFItems"][0]["sourcedId"] = body["CFItems"][0].pop("identifier")


class Case(NamedTuple):
    rule: str
    broken: Break
    path: str
    message: str
    repaired: bool = False


CASES = [
    Case("schema", put("CFItems.notes", None), "CFItems[0].notes", "null", repaired=True),
    Case("schema", put("CFItems.fullStatement", []), "CFItems[0].fullStatement", "valid string"),
    Case(
        "schema", lambda body: body["CFDocument"].pop("creator"), "CFDocument.creator", "required"
    ),
    Case("schema", put("CFItems.colour", "red"), "CFItems[0].colour", "extensions", repaired=True),
    Case(
        "schema",
        lambda body: body["CFAssociations"].append(
            association(*list_item_ids(body)[:2], associationType="isFriendOf")
        ),
        "CFAssociations[3].associationType",
        "must be one of",
    ),
    Case("duplicate-identifier", repeat_item, "CFItems[3].identifier", "CFItems[0]"),
    Case(
        "duplicate-identifier",
        share_across_kinds,
        "CFDefinitions.CFItemTypes[0].identifier",
        "CFItems[0]",
    ),
    Case(
        "duplicate-identifier",
        lambda body: body["CFAssociations"].append(body["CFAssociations"][0]),
        "CFAssociations[3].identifier",
        "CFAssociations[0]",
        repaired=True,
    ),
    Case(
        "duplicate-association",
        repeat_triple,
        "CFAssociations[3]",
        "CFAssociations[0]",
        repaired=True,
    ),
    Case(
        "self-association",
        to_itself,
        "CFAssociations[3].destinationNodeURI",
        "isRelatedTo from A to itself",
    ),
    Case("cycle", close_circle, "CFAssociations[1].destinationNodeURI", "A.1 > A > A.1"),
    Case(
        "nonstandard-name",
        spell_otherwise,
        "CFItems[0].sourcedId",
        "name of this field",
        repaired=True,
    ),
    Case(
        "unknown-parent",
        lambda body: body["CFAssociations"][2].update(destinationNodeURI=link("unknown-id")),
        "CFAssociations[2].destinationNodeURI",
        "unknown-id",
    ),
    Case(
        "unknown-parent",
        lambda body: body["CFAssociations"].append(
            association("unknown-id", get_document_id(body), sequenceNumber=9)
        ),
        "CFAssociations[3].originNodeURI",
        "unknown-id",
    ),
    Case("orphan", lambda body: body["CFAssociations"].pop(1), "CFItems[0]", "its 1 child is"),
    Case("multiple-parents", two_parents, "CFItems[1]", "2 parents: A, B"),
    Case(
        "duplicate-sequence-number",
        tie,
        "CFAssociations[2].sequenceNumber",
        "2 children of a framework",
    ),
    Case(
        "identifier-not-uuid",
        lambda body: rename_identifier(body, "K.1"),
        "CFItems[3].identifier",
        "is not a UUID",
    ),
    Case(
        "identifier-not-uuid",
        lambda body: rename_identifier(body, new_id().upper()),
        "CFItems[3].identifier",
        "lower case",
    ),
    Case(
        "identifier-not-uuid",
        lambda body: rename_identifier(body, str(uuid.UUID(int=1))),
        "CFItems[3].identifier",
        "versions 1 to 5",
    ),
    Case(
        "duplicate-code",
        put("CFItems.humanCodingScheme", "B"),
        "CFItems[2].humanCodingScheme",
        "B is also the code of CFItems[0]",
    ),
    Case("empty-statement", put("CFItems.fullStatement", " \n"), "CFItems[0].fullStatement", ""),
    Case(
        "invalid-date-range",
        lambda body: body["CFItems"][0].update(
            statusStartDate="2026-02-01", statusEndDate="2026-01-31"
        ),
        "CFItems[0].statusEndDate",
        "2026-02-01",
    ),
    Case("language", put("CFItems.language", "English"), "CFItems[0].language", "English"),
    Case("language", put("CFDocument.language", "en--US"), "CFDocument.language", "en--US"),
    Case(
        "rubric-reference",
        with_rubric(rubricId=new_id()),
        "CFRubrics[0].CFRubricCriteria[0].rubricId",
        "but is part of",
    ),
    Case(
        "rubric-reference",
        with_rubric(CFItemURI=link("unknown-id")),
        "CFRubrics[0].CFRubricCriteria[0].CFItemURI",
        "unknown-id",
    ),
    Case(
        "rubric-reference",
        with_rubric(CFRubricCriterionLevels=[entity(rubricCriterionId=new_id())]),
        "CFRubrics[0].CFRubricCriteria[0].CFRubricCriterionLevels[0].rubricCriterionId",
        "but is part of",
    ),
    Case(
        "external-reference",
        lambda body: body["CFAssociations"].append(
            association(list_item_ids(body)[0], "elsewhere", associationType="exactMatchOf")
        ),
        "CFAssociations[3].destinationNodeURI",
        "elsewhere",
    ),
    Case(
        "undefined-link",
        lambda body: [item.update(licenseURI=link("cc")) for item in body["CFItems"]],
        "CFItems[0].licenseURI",
        "3 links",
    ),
    Case("unused-definition", unlinked_type, "CFDefinitions.CFItemTypes[0]", "unused"),
    Case(
        "redundant-link",
        lambda body: body["CFItems"][1].update(CFDocumentURI=link(get_document_id(body))),
        "CFItems[1].CFDocumentURI",
        "1 CFItem",
    ),
    Case(
        "uri-without-identifier",
        put("CFItems.uri", "https://x.test/1"),
        "CFItems[0].uri",
        "https://x.test/1",
    ),
    Case("missing-sequence-number", unnumbered, "CFAssociations[2].sequenceNumber", "1 of the 2"),
    Case("duplicate-statement", same_words, "CFItems[3].fullStatement", "CFItems[2]"),
    Case(
        "education-level",
        put("CFItems.educationLevel", ["05", "5"]),
        "CFItems[0].educationLevel",
        "'5'",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}:{case.path}")
def test_mistake_violates_one_rule(case: Case) -> None:
    assert find_violations(build_valid_tree()) == []
    body = build_valid_tree()
    case.broken(body)
    violations = find_violations(body)
    assert [(violation.rule, violation.path) for violation in violations] == [
        (case.rule, case.path)
    ]
    (actual,) = violations
    rule = next(rule for rule in RULES if rule.id == case.rule)
    assert actual.severity == rule.severity
    assert case.message in actual.message
    assert (actual.repair is not None) == case.repaired


# These mistakes always violate other rules as well.
TOGETHER = [
    ("document-mismatch", {"redundant-link"}, put("CFItems.CFDocumentURI", link("another"))),
    ("document-as-child", {"unknown-parent"}, wrong_way),
]


@pytest.mark.parametrize(("rule", "other_rules", "broken"), TOGETHER)
def test_mistake_violates_a_rule_and_others(
    rule: str, other_rules: set[str], broken: Break
) -> None:
    body = build_valid_tree()
    broken(body)
    assert {violation.rule for violation in find_violations(body)} == {rule, *other_rules}


def test_every_rule_has_a_case() -> None:
    # Two rules are not about packages of CASE JSON.
    tested = {case.rule for case in CASES} | {rule for rule, _, _ in TOGETHER}
    tested |= {"json", "file-format"}
    assert tested == {rule.id for rule in RULES}

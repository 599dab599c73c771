"""The structural rules on a parsed package, as import applies them."""

import json
from collections import Counter

import pytest
from lint.rules.test_rules import CASES, TOGETHER
from support.factories import Body, association, packed_item
from support.lintable_package import (
    build_clean_package,
    build_valid_tree,
    find_violations,
    list_item_ids,
)

from case_server.lint.rules.catalog import STRUCTURAL_RULES
from case_server.lint.structure import MAX_EXAMPLES_PER_RULE, find_structural_violations
from case_server.repair.reader import repair_and_parse


def make_own_child(body: Body) -> None:
    item_id = list_item_ids(body)[0]
    body["CFAssociations"].append(association(item_id, item_id))


BREAKS = {case.rule: case.broken for case in CASES} | {rule: broken for rule, _, broken in TOGETHER}
# The case of the linter is an association of another type, about which import does not warn.
BREAKS["self-association"] = make_own_child


@pytest.mark.parametrize("rule", [rule.id for rule in STRUCTURAL_RULES])
def test_warnings_are_the_violations_of_the_linter(rule: str) -> None:
    body = build_valid_tree()
    BREAKS[rule](body)
    package, _ = repair_and_parse(json.dumps(body).encode())
    counts = {each.rule: each.count for each in find_structural_violations(package)}
    expected = Counter(each.rule for each in find_violations(body))
    assert rule in counts
    assert counts == {each.id: expected[each.id] for each in STRUCTURAL_RULES if expected[each.id]}


def test_clean_package_has_no_warnings() -> None:
    package, _ = repair_and_parse(json.dumps(build_clean_package()).encode())
    assert find_structural_violations(package) == []


def test_examples_are_limited_and_name_the_entity() -> None:
    body = build_valid_tree()
    orphans = [packed_item(humanCodingScheme=str(number)) for number in range(9)]
    body["CFItems"] += orphans
    package, _ = repair_and_parse(json.dumps(body).encode())
    (warning,) = find_structural_violations(package)
    assert (warning.rule, warning.count) == ("orphan", 9)
    assert [example.partition(":")[0] for example in warning.examples] == [
        orphan["identifier"] for orphan in orphans[:MAX_EXAMPLES_PER_RULE]
    ]

"""The linter accepts any bytes without an exception, and its result is deterministic."""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.factories import Body, package_with_every_class
from support.selection import scale_examples

from case_server.lint.linter import lint_package
from case_server.lint.output import SourceLintResult, format_json, format_text
from case_server.lint.rules.catalog import BY_ID
from case_server.lint.sarif import format_sarif

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
NAMES = st.sampled_from(
    ["CFPackage", "CFDocument", "CFItems", "CFAssociations", "CFDefinitions", "CFRubrics",
     "CFItemTypes", "CFRubricCriteria", "identifier", "sourcedId", "originNodeURI", "uri",
     "destinationNodeURI", "associationType", "sequenceNumber", "subjectURI", "extensions"]
)  # fmt: skip
ANY = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(), inner),
    max_leaves=30,
)
BASE = package_with_every_class()


def lint_and_format(raw: bytes) -> None:
    """Lint a file twice and format the result in every format."""
    checked = lint_package(raw)
    assert checked == lint_package(raw)
    for violation in checked.violations:
        assert violation.rule in BY_ID
        assert violation.line >= 1
        assert violation.column >= 1
    result = SourceLintResult("x.json", checked.document, checked.title, checked.violations)
    assert len(json.loads(format_json([result]))["sources"][0]["violations"]) == len(
        checked.violations
    )
    assert len(json.loads(format_sarif([result], show_all=True))["runs"][0]["results"]) == len(
        checked.violations
    )
    format_text([result], width=40, show_all=True).decode()


@given(ANY)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_linted_without_an_exception(value: Any) -> None:
    lint_and_format(json.dumps(value).encode())


@given(st.binary())
@settings(deadline=None)
def test_any_bytes_are_linted_without_an_exception(raw: bytes) -> None:
    lint_and_format(raw)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container in a package with each of its keys."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


COUNT = len(list(places(BASE)))


@given(st.lists(st.tuples(st.integers(0, COUNT - 1), ANY), min_size=1, max_size=4))
@settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=scale_examples(200)
)
def test_package_with_arbitrary_values_is_linted_without_an_exception(
    changes: list[tuple[int, Any]],
) -> None:
    body: Body = json.loads(json.dumps(BASE))
    for index, value in changes:
        candidates = list(places(body))
        container, key = candidates[index % len(candidates)]
        container[key] = value
    lint_and_format(json.dumps(body).encode())

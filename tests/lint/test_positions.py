"""Lines and columns of paths in JSON texts."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from case_server.lint.positions import JsonPositionFinder
from case_server.repair.repair_log import iter_ancestor_paths, join_path

TEXT = """\
{
  "a": [1, {"b": "}]\\"", "é": 2}],
  "c.d": {"[0]": []}, "c": null
}"""


@pytest.mark.parametrize(
    ("path", "position"),
    [
        ("", (1, 1)),
        ("a", (2, 3)),
        ("a[0]", (2, 9)),
        ("a[1]", (2, 12)),
        ("a[1].b", (2, 13)),
        ("a[1].é", (2, 26)),
        ("c.d", (3, 3)),
        ("c.d.[0]", (3, 11)),
        ("c", (3, 23)),
        ("a[1].missing.deeper[3]", (2, 12)),
        ("a[7].b", (2, 3)),
        ("nowhere", (1, 1)),
    ],
)
def test_path_is_located_at_its_line_and_column(path: str, position: tuple[int, int]) -> None:
    assert JsonPositionFinder(TEXT, {path}).locate(path) == position
    assert JsonPositionFinder(TEXT, {path, "a[1].b", "c"}).locate(path) == position


def test_ancestors_are_listed_longest_first() -> None:
    assert list(iter_ancestor_paths("a[0].b")) == ["a[0]", "a", ""]
    assert list(iter_ancestor_paths("[0].b")) == ["[0]", ""]
    assert list(iter_ancestor_paths("")) == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='ab.[]0é"\\\n'), inner),
)


def paths(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield every path of a value with the text there: the name, or the start of the value."""
    members = value.items() if isinstance(value, dict) else ()
    for name, part in members:
        yield join_path(path, name), json.dumps(name)
        yield from paths(part, join_path(path, name))
    for index, part in enumerate(value if isinstance(value, list) else ()):
        yield f"{path}[{index}]", json.dumps(part)[:1]
        yield from paths(part, f"{path}[{index}]")


@given(VALUES, st.sampled_from([None, 0, 1, 3]))
def test_position_points_to_the_value(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    expected: dict[str, set[str]] = {}
    for path, start in paths(value, ""):
        expected.setdefault(path, set()).add(start)  # odd names make one path of two
    positions = JsonPositionFinder(text, expected)
    rows = text.split("\n")
    for path, names in expected.items():
        line, column = positions.locate(path)
        if path:
            assert any(rows[line - 1][column - 1 :].startswith(name) for name in names), path

"""Link header fields as RFC 8288 has them."""

import time

import pytest

from case_server.net.link_header import find_link


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ('<http://x.test/l?offset=2>; rel="next"', "http://x.test/l?offset=2"),
        ("</l?offset=2>; rel=next", "/l?offset=2"),
        ('<?offset=2>; REL="Next"', "?offset=2"),
        ('<a>; rel="prev", <b>; rel="next", <c>; rel="last"', "b"),
        ('<a>; rel="prev",<b>;rel="next"', "b"),
        ('<a>; rel="first next"', "a"),
        ('<a>; title="one, two; rel=\\"next\\""; rel="prev", <b>; rel="next"', "b"),
        ('<a,b;c>; rel="next"', "a,b;c"),
        ('<a>; rel="prev"; rel="next"', None),
        ('<a>; rel="next"; anchor="#other"', None),
        ('<a>; rel="nextpage"', None),
        ('<a>; title="rel=next"', None),
        (' , <a> ; rel = "next" ; type="x/y",', "a"),
        ('<a>; crossorigin; rel="next"', "a"),
        ('<>; rel="next"', ""),
        ("", None),
        (None, None),
        ("not a link", None),
        ('<a; rel="next"', None),
        ('<a>; title="x, <b>; rel=next', None),
        ('<a>; title="x\\', None),
    ],
)
def test_next_link_is_found(value: str | None, target: str | None) -> None:
    assert find_link(value, "next") == target


@pytest.mark.parametrize(
    ("relation", "target"), [("first", "a"), ("prev", "a"), ("next", "b"), ("last", None)]
)
def test_link_is_found_by_each_relation(relation: str, target: str | None) -> None:
    assert find_link('<a>; rel="first prev", <b>; rel=next; title="x, y"', relation) == target


def test_strings_that_are_not_closed_take_linear_time() -> None:
    start = time.process_time()
    assert find_link('<a>; title="' + '\\"' * 50_000, "next") is None
    assert time.process_time() - start < 1

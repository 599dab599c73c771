"""Link header fields as RFC 8288 has them."""

import pytest

from case_server.net.link_header import Link, find_link, parse_links


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
    ],
)
def test_next_link_is_found(value: str | None, target: str | None) -> None:
    assert find_link(value, "next") == target


def test_several_links_are_parsed_in_order() -> None:
    value = '<a>; rel="first prev", <b>; rel=next; title="x, y"'
    assert parse_links(value) == [Link("a", ("first", "prev")), Link("b", ("next",))]

"""Selection of fields, and the headers X-Total-Count and Link."""

import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from case_server.query.pagination import build_pagination_headers, select_fields
from case_server.query.params import ListQuery

URL = "https://case.example/case/1.1/CFDocuments"
BODY = {"sourcedId": "1", "identifier": "1", "title": "Maths", "notes": "x"}


def page(limit: int, offset: int) -> ListQuery:
    return ListQuery(limit, offset, sort=None, descending=False, where=None, fields=None)


def links(
    limit: int, offset: int, total: int, params: tuple[tuple[str, str], ...] = ()
) -> dict[str, list[tuple[str, str]]]:
    """Return the query parameters of each link of the Link header, by relation."""
    value = build_pagination_headers(URL, params, page(limit, offset), total)["Link"]
    matches = re.findall(r'<([^<>]*)>; rel="(\w+)"(?:, |$)', value)
    assert ", ".join(f'<{target}>; rel="{relation}"' for target, relation in matches) == value
    assert all(target.startswith(f"{URL}?") for target, _ in matches)
    return {relation: parse_qsl(urlsplit(target).query) for target, relation in matches}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (None, ["sourcedId", "identifier", "title", "notes"]),
        (("notes", "sourcedId"), ["sourcedId", "notes"]),
        (("identifier",), ["identifier"]),
        (("sourcedId", "identifier"), ["sourcedId", "identifier"]),
        (("description",), []),
        ((), []),
    ],
)
def test_select_fields_returns_the_named_fields_in_entity_order(
    fields: tuple[str, ...] | None, names: list[str]
) -> None:
    assert list(select_fields(BODY, fields).items()) == [(name, BODY[name]) for name in names]


@pytest.mark.parametrize(
    ("limit", "offset", "total", "offsets"),
    [
        (10, 0, 0, {"first": 0, "last": 0}),
        (10, 0, 1, {"first": 0, "last": 0}),
        (10, 0, 10, {"first": 0, "last": 0}),
        (10, 0, 11, {"first": 0, "next": 10, "last": 10}),
        (10, 10, 11, {"first": 0, "prev": 0, "last": 10}),
        (10, 10, 35, {"first": 0, "prev": 0, "next": 20, "last": 30}),
        (10, 5, 20, {"first": 0, "prev": 0, "next": 15, "last": 10}),
        (10, 25, 35, {"first": 0, "prev": 15, "last": 30}),
        (10, 500, 35, {"first": 0, "prev": 30, "last": 30}),
        (10, 500, 0, {"first": 0, "prev": 0, "last": 0}),
        (1, 1, 3, {"first": 0, "prev": 0, "next": 2, "last": 2}),
    ],
)
def test_links_have_the_offsets_of_the_pages_around(
    limit: int, offset: int, total: int, offsets: dict[str, int]
) -> None:
    pages = links(limit, offset, total)
    assert {relation: int(dict(params)["offset"]) for relation, params in pages.items()} == offsets
    assert {dict(params)["limit"] for params in pages.values()} == {str(limit)}


def test_total_count_header_is_the_total() -> None:
    assert build_pagination_headers(URL, [], page(10, 0), 35)["X-Total-Count"] == "35"


def test_link_header_over_4000_bytes_is_omitted() -> None:
    def headers_for(length: int) -> dict[str, str]:
        return build_pagination_headers(URL, [("filter", "x" * length)], page(10, 0), 35)

    longest = next(length for length in range(2000) if "Link" not in headers_for(length)) - 1
    assert 3990 < len(headers_for(longest)["Link"]) <= 4000
    assert headers_for(longest + 1) == {"X-Total-Count": "35"}


def test_link_header_is_percent_encoded() -> None:
    value = build_pagination_headers(URL, [("filter", "title='a, <b>'")], page(10, 0), 11)["Link"]
    query = "filter=title%3D%27a%2C%20%3Cb%3E%27&limit=10&offset"
    assert value == (
        f'<{URL}?{query}=0>; rel="first", '
        f'<{URL}?{query}=10>; rel="next", '
        f'<{URL}?{query}=10>; rel="last"'
    )


def test_links_repeat_other_parameters_and_replace_the_page() -> None:
    params = (("offset", "7"), ("fields", "a"), ("limit", "3"), ("fields", "b"), ("limit", "3"))
    assert links(3, 0, 2, params)["first"] == [
        ("fields", "a"),
        ("fields", "b"),
        ("limit", "3"),
        ("offset", "0"),
    ]


@given(st.text(min_size=1), st.text(min_size=1))
def test_links_repeat_any_parameter_unchanged(name: str, value: str) -> None:
    header = build_pagination_headers(URL, [(name, value)], page(10, 0), 0)["Link"]
    assert header.isascii()
    if name not in ("limit", "offset"):
        target = header.partition(">")[0]
        assert parse_qsl(urlsplit(target).query)[0] == (name, value)


@given(st.integers(1, 50), st.integers(0, 200))
def test_following_next_links_visits_every_entity_once(limit: int, total: int) -> None:
    visited: list[int] = []
    offset: int | None = 0
    while offset is not None:
        visited += range(offset, min(offset + limit, total))
        next_page = links(limit, offset, total).get("next")
        offset = int(dict(next_page)["offset"]) if next_page else None
    assert visited == list(range(total))

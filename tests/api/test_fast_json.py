"""Bodies answered as text: the same as when they are read and written again."""

import itertools
import uuid
from typing import Any

import orjson
import pytest

from case_server.api.rendering import fast_json, transforms
from case_server.case.resources import ASSOCIATIONS, CONCEPTS, ITEMS

UUIDS = [str(uuid.UUID(int=number)) for number in (0, 7, 2**127)]
AWKWARD = [
    *UUIDS,
    "short",
    "x" * 35,
    "x" * 37,
    "x" * 300,
    # As long as a UUID, but not where it ends, or with something in it that is escaped.
    'a quote " in thirty-six characters ..',
    "a backslash \\ in thirty-six letters ..",
    "y" * 34 + '"',
    "z" * 35 + "\\",
    "ü" * 36,
    '","identifier":"',
]


def item(identifier: str, link: str) -> dict[str, Any]:
    """An item that says its own identifier, and that of a link."""
    return {
        "identifier": identifier,
        "uri": "https://example.com/identifier",
        "fullStatement": 'It says "identifier":"like this" \n and a line feed.',
        "CFItemType": "Standard",
        "CFDocumentURI": {"title": "T", "identifier": link, "uri": "https://example.com/d"},
    }


@pytest.mark.parametrize("link", AWKWARD)
@pytest.mark.parametrize("others", [UUIDS, AWKWARD], ids=["UUIDs", "others"])
def test_text_says_what_reading_and_writing_says(link: str, others: list[str]) -> None:
    nodes = [item(one, link) for one in others]
    bodies = [orjson.dumps(node).decode() for node in nodes]
    expected = [transforms.add_sourced_ids(node) for node in nodes]
    whole, each = fast_json.add_sourced_ids(ITEMS, bodies), fast_json.json_prefixes(ITEMS, bodies)
    if any(set(one) & {'"', "\\"} for one in (link, *others)):
        assert whole is None  # what is escaped is left to who reads it
        assert each is None
        return
    assert each is not None
    assert orjson.loads(f"[{whole}]") == expected
    assert [orjson.loads(one + b"}") for one in each] == expected


def test_all_of_one_batch_are_uuids_or_none_of_it_is_taken_for_that() -> None:
    for first, second in itertools.product(AWKWARD[:5], repeat=2):
        nodes = item(first, second), {"identifier": second}
        bodies = [orjson.dumps(node).decode() for node in nodes]
        whole = fast_json.add_sourced_ids(ASSOCIATIONS, bodies)
        assert whole is not None
        told = orjson.loads(f"[{whole}]")
        assert [one["sourcedId"] for one in told] == [first, second]


def test_what_needs_more_is_left_to_others() -> None:
    body = orjson.dumps({"identifier": UUIDS[0], "extensions": {}}).decode()
    assert fast_json.add_sourced_ids(ASSOCIATIONS, [body]) is None
    assert (
        fast_json.add_sourced_ids(ITEMS, ['{"identifier":"a"}']) is None
    )  # an item without its type
    assert fast_json.add_sourced_ids(CONCEPTS, ['{"identifier":"a"}']) is None
    assert fast_json.json_prefixes(CONCEPTS, ['{"identifier":"a"}']) is None

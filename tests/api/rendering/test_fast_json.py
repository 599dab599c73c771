"""Text substitution in stored JSON gives the same as parsing it."""

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
    # As long as a UUID, but with an escaped character.
    'a quote " in thirty-six characters ..',
    "a backslash \\ in thirty-six letters ..",
    "y" * 34 + '"',
    "z" * 35 + "\\",
    "ü" * 36,
    '","identifier":"',
]


def item(identifier: str, link: str) -> dict[str, Any]:
    """Return an item with an identifier and a link."""
    return {
        "identifier": identifier,
        "uri": "https://example.com/identifier",
        "fullStatement": 'It says "identifier":"like this" \n and a line feed.',
        "CFItemType": "Standard",
        "CFDocumentURI": {"title": "T", "identifier": link, "uri": "https://example.com/d"},
    }


@pytest.mark.parametrize("link", AWKWARD)
@pytest.mark.parametrize("others", [UUIDS, AWKWARD], ids=["UUIDs", "others"])
def test_edited_text_equals_the_transformed_objects(link: str, others: list[str]) -> None:
    nodes = [item(identifier, link) for identifier in others]
    bodies = [orjson.dumps(node).decode() for node in nodes]
    expected = [transforms.add_sourced_ids(node) for node in nodes]
    text, lines = (
        fast_json.join_with_sourced_ids(ITEMS, bodies, separator) for separator in (",", "\n")
    )
    if any(set(identifier) & {'"', "\\"} for identifier in (link, *others)):
        assert text is lines is None  # identifiers with escapes must be parsed
        return
    assert lines is not None
    assert orjson.loads(f"[{text}]") == expected
    assert [orjson.loads(line) for line in lines.split("\n")] == expected


def test_identifiers_of_any_length_can_be_mixed() -> None:
    for first, second in itertools.product(AWKWARD[:5], repeat=2):
        nodes = item(first, second), {"identifier": second}
        bodies = [orjson.dumps(node).decode() for node in nodes]
        text = fast_json.join_with_sourced_ids(ASSOCIATIONS, bodies)
        assert text is not None
        entities = orjson.loads(f"[{text}]")
        assert [entity["sourcedId"] for entity in entities] == [first, second]


def test_entity_that_needs_other_changes_gives_none() -> None:
    body = orjson.dumps({"identifier": UUIDS[0], "extensions": {}}).decode()
    assert fast_json.join_with_sourced_ids(ASSOCIATIONS, [body]) is None
    untyped_item = '{"identifier":"a"}'
    assert fast_json.join_with_sourced_ids(ITEMS, [untyped_item]) is None
    assert fast_json.join_with_sourced_ids(CONCEPTS, ['{"identifier":"a"}']) is None

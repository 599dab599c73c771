"""Search of items by their words: what is found, in which order, and what it may stand beside."""

from __future__ import annotations

from typing import Any

import pytest
from support.calls import Api

ITEMS = (
    {"humanCodingScheme": "3.OA.A.1", "fullStatement": "Interpret products of whole numbers"},
    {"humanCodingScheme": "3.OA.A.10", "fullStatement": "A later standard"},
    {"humanCodingScheme": "M.G3.TA.3.OA.A.1", "fullStatement": "Multiply and divide"},
    {"humanCodingScheme": "4.NF", "fullStatement": "Compare fractions such as 1/2, by comparing"},
    {"fullStatement": "Speak about 3.OA.A.1", "conceptKeywords": ["self-evaluation", "talk"]},
    {"humanCodingScheme": "§111.4", "fullStatement": "Addition/subtraction, a 'quoted' \\ word"},
)


@pytest.fixture
async def found(api: Api) -> Any:
    """Searches the items above; answers with the places of those that are found."""
    document = await api.framework()
    identifiers = [(await api.new_item(document, **one))["identifier"] for one in ITEMS]

    async def search(text: str, **params: Any) -> list[int]:
        answer = await api.get("/CFItems", search=text, **params)
        assert api.total(answer) == len(answer["CFItems"]) or params
        return [identifiers.index(one["identifier"]) for one in answer["CFItems"]]

    return search


async def test_code_is_found_whole_first(found: Any) -> None:
    places = await found("3.oa.a.1")
    assert places[:2] == [0, 1]
    assert set(places[2:]) == {2, 4}
    assert await found("3.OA.A.10") == [1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.OA", {0, 1, 2, 4}),
        ("OA.A.1", {0, 1, 2}),
        ("M.G3", {2}),
        ("§111", {5}),
        ("product whole", {0}),
        ("PRODUCTS", {0}),
        ("frac", {3}),
        ("compare fractions", {3}),
        ("products fractions", set()),
        ("subtraction", {5}),
        ("addition/sub", {5}),
        ("evaluation", {4}),
        ("self-eval", {4}),
        ("talk", {4}),
        ("'quoted'", {5}),
        ("nothing of the kind", set()),
        ("&|!():*<->", set()),
        ("' OR 1=1 --", set()),
        ("\\", set()),
    ],
)
async def test_words_are_found_by_their_beginning(
    found: Any, text: str, expected: set[int]
) -> None:
    assert set(await found(text)) == expected


async def test_stands_beside_the_other_parameters(found: Any) -> None:
    assert await found("3.OA", filter="humanCodingScheme='4.NF'") == []
    assert await found("3.OA.A", filter="fullStatement~'later'") == [1]
    assert await found("3.OA.A", sort="humanCodingScheme", orderBy="desc", limit=1) == [2]
    assert await found("3.OA.A.1", limit=1, offset=1) == [1]


async def test_search_without_words(api: Api) -> None:
    await api.get("/CFItems", status=400, search="  ")
    answer = await api.get("/CFItems", search="")
    assert api.total(answer) == 0


async def test_enormous_and_odd_statements_are_stored_and_found(api: Api) -> None:
    document = await api.framework()
    distinct = " ".join(chr(0x4E00 + one % 20000) + chr(0xAC00 + one // 7) for one in range(70_000))
    for statement in (distinct, "x" * 3_000_000, "needle " + "\U0001f600" * 500_000, "\u200b"):
        await api.new_item(document, fullStatement=statement, humanCodingScheme="L" * 5000)
    answer = await api.get("/CFItems", search="needle", fields="identifier")
    assert len(answer["CFItems"]) == 1


async def test_changed_and_deleted_items(api: Api) -> None:
    body = await api.upload()
    parent, child = body["CFItems"]
    child["fullStatement"] = "something else entirely"
    document = body["CFDocument"]["identifier"]
    await api.send("PUT", f"/CFPackages/{document}", 200, body)
    answer = await api.get("/CFItems", search="entirely")
    assert [one["identifier"] for one in answer["CFItems"]] == [child["identifier"]]
    body |= {"CFItems": [parent], "CFAssociations": []}
    await api.send("PUT", f"/CFPackages/{document}", 200, body)
    assert (await api.get("/CFItems", search="entirely"))["CFItems"] == []

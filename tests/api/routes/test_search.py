"""Search of items by words: matches, order and combination with other parameters."""

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
async def search_items(api: Api) -> Any:
    """Return a function that searches ``ITEMS`` and returns the indexes of the matches."""
    document = await api.create_document()
    identifiers = [(await api.create_item(document, **item))["identifier"] for item in ITEMS]

    async def search(text: str, **params: Any) -> list[int]:
        response = await api.get("/CFItems", search=text, **params)
        assert api.get_total(response) == len(response["CFItems"]) or params
        return [identifiers.index(item["identifier"]) for item in response["CFItems"]]

    return search


async def test_exact_code_is_the_first_match(search_items: Any) -> None:
    indexes = await search_items("3.oa.a.1")
    assert indexes[:2] == [0, 1]
    assert set(indexes[2:]) == {2, 4}
    assert await search_items("3.OA.A.10") == [1]


async def test_code_is_folded_by_postgres_in_search_and_filter(api: Api) -> None:
    """Python's lower case of İ has two characters, that of Postgres one."""
    document = await api.create_document()
    await api.create_item(document, fullStatement="İ İ İ İ")
    await api.create_item(document, humanCodingScheme="İ.İ", fullStatement="A long statement")
    response = await api.get("/CFItems", search="İ.İ")
    assert [item.get("humanCodingScheme") for item in response["CFItems"]] == ["İ.İ", None]
    response = await api.get("/CFItems", filter="humanCodingScheme='İ.İ'")
    assert [item["humanCodingScheme"] for item in response["CFItems"]] == ["İ.İ"]


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
async def test_words_match_by_prefix(search_items: Any, text: str, expected: set[int]) -> None:
    assert set(await search_items(text)) == expected


async def test_search_combines_with_filter_sort_and_paging(search_items: Any) -> None:
    assert await search_items("3.OA", filter="humanCodingScheme='4.NF'") == []
    assert await search_items("3.OA.A", filter="fullStatement~'later'") == [1]
    assert await search_items("3.OA.A", sort="humanCodingScheme", orderBy="desc", limit=1) == [2]
    assert await search_items("3.OA.A.1", limit=1, offset=1) == [1]


async def test_search_without_words_is_rejected_or_ignored(api: Api) -> None:
    await api.get("/CFItems", status=400, search="  ")
    response = await api.get("/CFItems", search="")
    assert api.get_total(response) == 0


async def test_huge_and_unusual_statements_are_stored_and_searchable(api: Api) -> None:
    document = await api.create_document()
    distinct = " ".join(chr(0x4E00 + n % 20000) + chr(0xAC00 + n // 7) for n in range(70_000))
    for statement in (distinct, "x" * 3_000_000, "needle " + "\U0001f600" * 500_000, "\u200b"):
        await api.create_item(document, fullStatement=statement, humanCodingScheme="L" * 5000)
    response = await api.get("/CFItems", search="needle", fields="identifier")
    assert len(response["CFItems"]) == 1


async def test_search_follows_changes_and_deletions(api: Api) -> None:
    body = await api.upload_package()
    parent, child = body["CFItems"]
    child["fullStatement"] = "something else entirely"
    document = body["CFDocument"]["identifier"]
    await api.send("PUT", f"/CFPackages/{document}", 200, body)
    response = await api.get("/CFItems", search="entirely")
    assert [item["identifier"] for item in response["CFItems"]] == [child["identifier"]]
    body |= {"CFItems": [parent], "CFAssociations": []}
    await api.send("PUT", f"/CFPackages/{document}", 200, body)
    assert (await api.get("/CFItems", search="entirely"))["CFItems"] == []


async def test_sort_by_identifier_replaces_the_best_match_first(api: Api) -> None:
    document = await api.create_document()
    items = [await api.create_item(document, **item) for item in ITEMS[:3]]
    expected = sorted(item["identifier"] for item in items)
    for order, identifiers in (("asc", expected), ("desc", expected[::-1])):
        response = await api.get("/CFItems", search="3.OA.A", sort="identifier", orderBy=order)
        assert [item["identifier"] for item in response["CFItems"]] == identifiers

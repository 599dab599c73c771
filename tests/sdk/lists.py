"""Check lists with the SDK: pagination, order, fields, and filters of ``where_to_filter``."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from checks import Checks
from expected import Body, ExpectedResponses, Profile, dump
from timeback_case import APIError, CaseClient
from timeback_common import where_to_filter


async def check_lists(checks: Checks, client: CaseClient, expected: ExpectedResponses) -> None:
    """Check lists that contain the entities of the unusual framework, among others."""
    items = expected.items.values()
    codes = sorted(item["humanCodingScheme"] for item in items if "humanCodingScheme" in item)
    await check_pages(checks, client, expected.profile)
    await check_order(checks, client, codes)
    await check_fields(checks, client, expected)
    for where, numbers in generate_common_filters(expected, codes):
        await check_filter(checks, client, expected, where, numbers)
    for where, numbers in generate_extended_filters(codes):
        if expected.profile.free:
            await check_filter(checks, client, expected, where, numbers)
        else:
            await check_unsupported_filter(checks, client, where, expected.profile)


async def check_pages(checks: Checks, client: CaseClient, profile: Profile) -> None:
    page = await client.get_transport().request_paginated(
        f"{profile.path}/CFItems", params={"limit": 1}
    )
    checks.check_true("items: X-Total-Count and Link, as the transport reads them", page.has_more)
    total = page.total
    items = (await client.items.list())["CFItems"]
    checks.check_equal("items.list: default limit", len(items), min(profile.default_limit, total))
    items = (await client.items.list({"limit": profile.max_limit}))["CFItems"]
    checks.check_equal("items.list: largest limit", len(items), min(profile.max_limit, total))
    items = (await client.items.list({"offset": total}))["CFItems"]
    checks.check_equal("items.list: offset beyond the end", items, [])
    first = await client.documents.list({"limit": 1, "sort": "title", "orderBy": "asc"})
    last = await client.documents.list({"limit": 1, "sort": "title", "orderBy": "desc"})
    titles = [response["CFDocuments"][0].title for response in (first, last)]
    checks.check_true("documents.list: sort and orderBy", titles[0] < titles[1], f"{titles}")


async def check_order(checks: Checks, client: CaseClient, codes: list[str]) -> None:
    where = where_to_filter({"humanCodingScheme": {"contains": codes[0].split(".")[0]}})
    for order, expected in (("asc", codes), ("desc", codes[::-1])):
        params = {"filter": where, "sort": "humanCodingScheme", "orderBy": order}
        items = (await client.items.list(params))["CFItems"]
        sorted_codes = [item.human_coding_scheme for item in items]
        checks.check_equal(f"items.list: sorted {order}", sorted_codes, expected)
        items = (await client.items.list(params | {"limit": 2, "offset": 1}))["CFItems"]
        page = [item.human_coding_scheme for item in items]
        checks.check_equal(f"items.list: sorted {order}, limit 2, offset 1", page, expected[1:3])


async def check_fields(checks: Checks, client: CaseClient, expected: ExpectedResponses) -> None:
    names = ["sourcedId", "fullStatement", "CFItemType", "uri", "lastChangeDateTime"]
    where = where_to_filter({"CFDocumentURI.sourcedId": expected.identifier})
    params = {"filter": where, "fields": ",".join(names), "sort": "sourcedId"}
    items = [dump(item) for item in (await client.items.list(params))["CFItems"]]
    expected_items = [
        {name: expected.items[identifier][name] for name in names}
        for identifier in sorted(expected.items)
    ]
    items.sort(key=lambda item: item["sourcedId"])
    checks.check_equal("items.list: fields", items, expected_items)


Where = str | dict[str, Any]


def generate_common_filters(
    expected: ExpectedResponses, codes: list[str]
) -> Iterator[tuple[Where, str]]:
    """Yield filters that every profile supports, each with the numbers of the matching items.

    An item's number is the last digit of its code; 0 is the item without a code.
    """
    ours = {"contains": codes[0].split(".")[0]}
    full, none = (group_by_number(expected)[number] for number in "10")
    yield {"humanCodingScheme": codes[0]}, "1"
    yield {"fullStatement": full["fullStatement"], "humanCodingScheme": codes[0]}, "1"
    yield {"sourcedId": full["sourcedId"]}, "1"
    yield {"humanCodingScheme": ours}, "12345"
    yield {"humanCodingScheme": ours, "fullStatement": {"contains": "o'BRIEN'S"}}, "13"
    yield {"humanCodingScheme": {"gt": codes[0], "lte": codes[2]}}, "23"
    yield {"humanCodingScheme": {"gte": codes[0], "lt": codes[2]}}, "12"
    yield {"humanCodingScheme": {**ours, "ne": codes[0]}}, "2345"
    yield {"OR": [{"humanCodingScheme": codes[1]}, {"identifier": none["sourcedId"]}]}, "02"
    yield {"CFDocumentURI.identifier": expected.identifier, "CFItemType": "Standard"}, "01"
    yield {"humanCodingScheme": ours, "lastChangeDateTime": {"lt": datetime.now(UTC)}}, "12345"
    yield {"humanCodingScheme": ours, "statusStartDate": {"lte": date(2026, 1, 1)}}, "1"
    yield {"humanCodingScheme": ours, "educationLevel": {"contains": "02"}}, "1"
    yield {"humanCodingScheme": {"in_": [codes[0]]}}, "1"
    yield {"humanCodingScheme": "no such code' OR 'a'='a"}, ""


def generate_extended_filters(codes: list[str]) -> Iterator[tuple[Where, str]]:
    """Yield filters that only the profile of the SDK's own API supports, with matching items."""
    ours = {"contains": codes[0].split(".")[0]}
    yield {"humanCodingScheme": {"in_": codes[:3]}}, "123"
    yield {"humanCodingScheme": {**ours, "not_in": codes[:3]}}, "45"
    yield {"humanCodingScheme": {"in_": codes[1:3]}, "fullStatement": {"contains": "'"}}, "3"
    yield {"humanCodingScheme": ours, "listEnumeration": 1}, "1"
    yield {"humanCodingScheme": ours, "listEnumeration": {"in_": [1, 2]}}, "1"
    yield f"humanCodingScheme@'{codes[0]},{codes[1]}'", "12"
    either = where_to_filter({"OR": [{"humanCodingScheme": code} for code in codes[:2]]})
    yield f"({either}) AND CFItemType='Standard'", "1"


def group_by_number(expected: ExpectedResponses) -> dict[str, Body]:
    """Return the items by number, which is the last digit of the code."""
    items = expected.items.values()
    return {item.get("humanCodingScheme", "0")[-1]: item for item in items}


async def check_filter(
    checks: Checks, client: CaseClient, expected: ExpectedResponses, where: Where, numbers: str
) -> None:
    text = where if isinstance(where, str) else where_to_filter(where)
    items = (await client.items.list({"filter": text}))["CFItems"]
    identifiers = {group_by_number(expected)[number]["sourcedId"] for number in numbers}
    checks.check_equal(f"items.list: {text}", {item.sourced_id for item in items}, identifiers)


async def check_unsupported_filter(
    checks: Checks, client: CaseClient, where: Where, profile: Profile
) -> None:
    text = where if isinstance(where, str) else where_to_filter(where)
    call = client.items.list({"filter": text})
    minor = profile.minors["filter"]
    await checks.check_error(f"400 for {text}", call, APIError, 400, minor, ("filter",))

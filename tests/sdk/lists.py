"""Lists through the SDK: pages, order, selected fields, filters as ``where_to_filter`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from checks import Checks
from expected import Body, Expected, Profile, dump
from timeback_case import APIError, CaseClient
from timeback_common import where_to_filter


async def read(checks: Checks, client: CaseClient, expected: Expected) -> None:
    """Ask about the strange framework, among all others that the server has."""
    items = expected.items.values()
    codes = sorted(item["humanCodingScheme"] for item in items if "humanCodingScheme" in item)
    await check_pages(checks, client, expected.profile)
    await check_order(checks, client, codes)
    await check_fields(checks, client, expected)
    for where, numbers in filters(expected, codes):
        await check_filter(checks, client, expected, where, numbers)
    for where, numbers in free_filters(codes):
        if expected.profile.free:
            await check_filter(checks, client, expected, where, numbers)
        else:
            await check_narrow(checks, client, where, expected.profile)


async def check_pages(checks: Checks, client: CaseClient, profile: Profile) -> None:
    page = await client.get_transport().request_paginated(
        f"{profile.path}/CFItems", params={"limit": 1}
    )
    checks.true("items: X-Total-Count and Link, as the transport reads them", page.has_more)
    total = page.total
    items = (await client.items.list())["CFItems"]
    checks.equal("items.list: default limit", len(items), min(profile.page, total))
    items = (await client.items.list({"limit": profile.most}))["CFItems"]
    checks.equal("items.list: largest limit", len(items), min(profile.most, total))
    items = (await client.items.list({"offset": total}))["CFItems"]
    checks.equal("items.list: offset beyond the end", items, [])
    first = await client.documents.list({"limit": 1, "sort": "title", "orderBy": "asc"})
    last = await client.documents.list({"limit": 1, "sort": "title", "orderBy": "desc"})
    titles = [answer["CFDocuments"][0].title for answer in (first, last)]
    checks.true("documents.list: sort and orderBy", titles[0] < titles[1], f"{titles}")


async def check_order(checks: Checks, client: CaseClient, codes: list[str]) -> None:
    where = where_to_filter({"humanCodingScheme": {"contains": codes[0].split(".")[0]}})
    for order, expected in (("asc", codes), ("desc", codes[::-1])):
        params = {"filter": where, "sort": "humanCodingScheme", "orderBy": order}
        found = (await client.items.list(params))["CFItems"]
        told = [one.human_coding_scheme for one in found]
        checks.equal(f"items.list: sorted {order}", told, expected)
        found = (await client.items.list(params | {"limit": 2, "offset": 1}))["CFItems"]
        told = [one.human_coding_scheme for one in found]
        checks.equal(f"items.list: sorted {order}, limit 2, offset 1", told, expected[1:3])


async def check_fields(checks: Checks, client: CaseClient, expected: Expected) -> None:
    names = ["sourcedId", "fullStatement", "CFItemType", "uri", "lastChangeDateTime"]
    where = where_to_filter({"CFDocumentURI.sourcedId": expected.identifier})
    params = {"filter": where, "fields": ",".join(names), "sort": "sourcedId"}
    found = [dump(one) for one in (await client.items.list(params))["CFItems"]]
    wanted = [
        {name: expected.items[identifier][name] for name in names}
        for identifier in sorted(expected.items)
    ]
    found.sort(key=lambda one: one["sourcedId"])
    checks.equal("items.list: fields", found, wanted)


Where = str | dict[str, Any]


def filters(expected: Expected, codes: list[str]) -> Iterator[tuple[Where, str]]:
    """What every profile can be asked, and the numbers of the items that answer.

    Their codes end with them; 0 is the item without a code.
    """
    ours = {"contains": codes[0].split(".")[0]}
    full, none = (numbered(expected)[number] for number in "10")
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


def free_filters(codes: list[str]) -> Iterator[tuple[Where, str]]:
    """What only the SDK's own API understands."""
    ours = {"contains": codes[0].split(".")[0]}
    yield {"humanCodingScheme": {"in_": codes[:3]}}, "123"
    yield {"humanCodingScheme": {**ours, "not_in": codes[:3]}}, "45"
    yield {"humanCodingScheme": {"in_": codes[1:3]}, "fullStatement": {"contains": "'"}}, "3"
    yield {"humanCodingScheme": ours, "listEnumeration": 1}, "1"
    yield {"humanCodingScheme": ours, "listEnumeration": {"in_": [1, 2]}}, "1"
    yield f"humanCodingScheme@'{codes[0]},{codes[1]}'", "12"
    either = where_to_filter({"OR": [{"humanCodingScheme": code} for code in codes[:2]]})
    yield f"({either}) AND CFItemType='Standard'", "1"


def numbered(expected: Expected) -> dict[str, Body]:
    """The items by the number that their code ends with."""
    items = expected.items.values()
    return {item.get("humanCodingScheme", "0")[-1]: item for item in items}


async def check_filter(
    checks: Checks, client: CaseClient, expected: Expected, where: Where, numbers: str
) -> None:
    text = where if isinstance(where, str) else where_to_filter(where)
    found = (await client.items.list({"filter": text}))["CFItems"]
    wanted = {numbered(expected)[number]["sourcedId"] for number in numbers}
    checks.equal(f"items.list: {text}", {one.sourced_id for one in found}, wanted)


async def check_narrow(checks: Checks, client: CaseClient, where: Where, profile: Profile) -> None:
    text = where if isinstance(where, str) else where_to_filter(where)
    call = client.items.list({"filter": text})
    minor = profile.minors["filter"]
    await checks.refused(f"400 for {text}", call, APIError, 400, minor, ("filter",))

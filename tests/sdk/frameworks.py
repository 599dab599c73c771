"""Upload a whole framework with the SDK, and read it back with every method."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from checks import Checks
from expected import Body, ExpectedResponses, dump
from timeback_case import CaseClient, CFItemWithChildGroups, CFPackageUploadResult
from timeback_common import where_to_filter

MAX_CONCURRENT_CALLS = 16
MAX_SINGLE_READS = 1000
"""Entities of a kind that are also requested one by one, at most."""


async def check_upload(
    checks: Checks, client: CaseClient, package: Body, expected: ExpectedResponses
) -> None:
    """Upload a package as it is; the SDK itself removes the fields that it does not know."""
    result = await client.packages.create(package)
    check_result(checks, f"packages.create {expected.identifier}", result, expected)


def check_result(
    checks: Checks, name: str, result: CFPackageUploadResult, expected: ExpectedResponses
) -> None:
    counts = {"documentId": expected.identifier, "stats": expected.stats, "success": True}
    checks.check_equal(f"{name}: counts", dump(result.result), counts)
    checks.check_true(f"{name}: success", result.success and result.message)


async def check_reads(checks: Checks, client: CaseClient, expected: ExpectedResponses) -> None:
    """Read an uploaded package with every reading method of the SDK and check the results."""
    await check_package(checks, client, expected)
    await check_definitions(checks, client, expected)
    await check_groups(checks, client, expected)
    await check_entities(checks, client, expected)
    await check_lists(checks, client, expected)


async def check_package(checks: Checks, client: CaseClient, expected: ExpectedResponses) -> None:
    package = (await client.packages.get(expected.identifier))["CFPackage"]
    checks.check_equal("packages.get: sourcedId", package.sourced_id, expected.identifier)
    checks.check_equal("packages.get: document", dump(package.cf_document), expected.document)
    _check_same(checks, "packages.get: items", package.cf_items, expected.items)
    _check_same(
        checks, "packages.get: associations", package.cf_associations, expected.associations
    )


async def check_definitions(
    checks: Checks, client: CaseClient, expected: ExpectedResponses
) -> None:
    """Check definitions in the raw response, because the SDK does not parse them."""
    path = f"{expected.profile.path}/CFPackages/{quote(expected.identifier, safe='')}"
    response = await client.get_transport().get(path)
    package = response.get("CFPackage", response)
    sent = expected.sent.get("CFDefinitions", {})
    for name in sent.keys() - {"extensions"}:
        titles = {each["identifier"]: each["title"] for each in package["CFDefinitions"][name]}
        sent_titles = {each["identifier"]: each["title"] for each in sent[name]}
        checks.check_equal(f"packages.get: {name}", titles, titles | sent_titles)
    for stored, source in ((package, expected.sent), (package["CFDefinitions"], sent)):
        extensions = stored.get("extensions"), source.get("extensions")
        checks.check_equal("packages.get: extensions", *extensions)


async def check_entities(checks: Checks, client: CaseClient, expected: ExpectedResponses) -> None:
    document = (await client.documents.get(expected.identifier))["CFDocument"]
    checks.check_equal("documents.get", dump(document), expected.document)
    some = dict(list(expected.items.items())[:MAX_SINGLE_READS])
    items = [response["CFItem"] for response in await call_for_each(client.items.get, list(some))]
    _check_same(checks, "items.get", items, some)
    some = dict(list(expected.associations.items())[:MAX_SINGLE_READS])
    associations = await call_for_each(client.associations.get, list(some))
    _check_same(
        checks,
        "associations.get",
        [association["CFAssociation"] for association in associations],
        some,
    )


async def call_for_each(
    call: Callable[[str], Awaitable[Any]], identifiers: Sequence[str]
) -> list[Any]:
    """Call an SDK method for every identifier, up to 16 at once, and return the results."""
    responses: list[Any] = []
    for start in range(0, len(identifiers), MAX_CONCURRENT_CALLS):
        responses += await asyncio.gather(
            *map(call, identifiers[start : start + MAX_CONCURRENT_CALLS])
        )
    return responses


def _check_same(
    checks: Checks, name: str, entities: Sequence[Any] | None, expected: dict[str, Body]
) -> None:
    """Check that the SDK has returned the expected entities, with every field of each."""
    checks.check_equal(f"{name}: how many", len(entities or ()), len(expected))
    bodies = {model.sourced_id: dump(model) for model in entities or ()}
    checks.check_equal(f"{name}: every field of all {len(expected):,}", bodies, expected)


async def check_lists(checks: Checks, client: CaseClient, expected: ExpectedResponses) -> None:
    """Check the pages of a document's items, and documents filtered by identifier."""
    where = where_to_filter({"CFDocumentURI.identifier": expected.identifier})
    limit = min(expected.profile.max_limit, len(expected.items) // 3 + 1)
    results: list[Any] = []
    has_more = True
    while has_more:
        params = {"limit": limit, "offset": len(results), "filter": where, "sort": "identifier"}
        page = (await client.items.list(params))["CFItems"]
        results += page
        has_more = len(page) == limit
    _check_same(checks, f"items.list in pages of {limit:,}", results, expected.items)
    where = where_to_filter({"identifier": expected.identifier})
    documents = (await client.documents.list({"filter": where}))["CFDocuments"]
    checks.check_equal(
        "documents.list", [dump(document) for document in documents], [expected.document]
    )


async def check_groups(checks: Checks, client: CaseClient, expected: ExpectedResponses) -> None:
    """Check that the tree contains every item and ``isChildOf``, grouped by type and in order."""
    groups = (await client.packages.get_groups(expected.identifier))["CFPackageWithGroups"]
    checks.check_equal("packages.get_groups: sourcedId", groups.sourced_id, expected.identifier)
    checks.check_equal("packages.get_groups: document", dump(groups.cf_document), expected.document)
    tree = ParsedTree(dump(groups).get("structuredContent", {}))
    children = expected.children()
    edges = {(parent, child) for parent in children for child in children[parent]}
    roots = expected.items.keys() - {child for _, child in edges}
    checks.check_equal("packages.get_groups: every item", tree.bodies, expected.items)
    checks.check_equal("packages.get_groups: every isChildOf", tree.edges, edges)
    checks.check_true("packages.get_groups: every root, once", roots <= set(tree.roots))
    checks.check_equal("packages.get_groups: no root twice", len(tree.roots), len(set(tree.roots)))
    checks.check_equal("packages.get_groups: by CFItemType", tree.misplaced, [])
    unordered = [
        members
        for parent, members in tree.groups
        if parent and members != sorted(members, key=children[parent].__getitem__)
    ]
    checks.check_equal("packages.get_groups: children in order", unordered, [])


class ParsedTree:
    """The ``structuredContent`` of a tree response, split into edges, roots and groups.

    It is walked without recursion, because real trees may be deep.
    """

    def __init__(self, content: Body) -> None:
        self.bodies: dict[str, Body] = {}
        self.edges: set[tuple[str, str]] = set()
        self.roots: list[str] = []
        self.groups: list[tuple[str, list[str]]] = []
        """Pairs of a parent and its children of one type."""
        self.misplaced: list[str] = []
        """Items in a group of another type."""
        waiting: list[tuple[str, Body]] = [("", content)]
        while waiting:
            parent, groups = waiting.pop()
            for kind, members in groups.items():
                waiting += self._take(parent, kind, members)

    def _take(self, parent: str, kind: str, members: list[Body]) -> Iterator[tuple[str, Body]]:
        parsed = [CFItemWithChildGroups.model_validate(member) for member in members]
        self.groups.append((parent, [item.sourced_id for item in parsed]))
        for item in parsed:
            body = dump(item)
            below = body.pop("childGroups", {})
            self.bodies[item.sourced_id] = body
            if kind != item.cf_item_type:
                self.misplaced.append(item.sourced_id)
            if parent:
                self.edges.add((parent, item.sourced_id))
            else:
                self.roots.append(item.sourced_id)
            yield item.sourced_id, below

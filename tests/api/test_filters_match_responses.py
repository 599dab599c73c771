"""Filters and sorting use the values that responses of the same profile contain."""

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from httpx import AsyncClient
from support import factories
from support.calls import Api, list_collections
from support.databases import Execute
from support.packages import repair_package
from support.selection import NOT_LARGE, mark_slow_except

from case_server.api.openapi import examples
from case_server.api.profiles import PROFILES, SDK, STANDARD_1_0, ApiProfile
from case_server.case.resources import RESOURCES
from case_server.query.fields import SCALARS, FieldType, list_fields, resolve_field

Body = factories.Body

MAX_VALUES = 20
"""Values of a field to test."""

MAX_VALUE_CHARS = 4_000
"""Longest percent-encoded value to test, because it must fit into a request target."""

CASES = [(profile, name) for profile in PROFILES for name in (*NOT_LARGE, "large-11k")]
SHORT_CASES = [
    *((profile, "opencase-v1p1-with-rubrics") for profile in PROFILES),
    # In the profile that rewrites URIs. large-11k takes 20 to 40 CPU seconds in a profile.
    (SDK, "smarterbalanced-math-content-spec"),
]

each_profile = pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)


def edge_case_package() -> Body:
    """Return a package with all values that responses derive and some that are hard to compare."""
    subject = factories.link("Subject ü/1".replace("/", "+"), "Mathematics, it's art")
    concept = factories.link("concept 1", "a concept")
    items = [
        factories.packed_item("it's item É %41", fullStatement="x" * 3_000, CFItemType="Standard"),
        factories.packed_item(
            "it's item é %41",
            fullStatement="Whole  numbers, 'quoted' & <b>ünï</b> 100%_\\",
            humanCodingScheme="c" * 250,
            notes=" ",
            abbreviatedStatement="",
            conceptKeywords=["", "a, b", " padded "],
            conceptKeywordsURI=concept,
            subject=["Art", "Math"],
            subjectURI=[subject, factories.link("subject-2", "Art")],
            educationLevel=["02", "01"],
            CFItemTypeURI=factories.link("type 1", "A type"),
            licenseURI=factories.link("licence 1", "A licence"),
            statusStartDate="2020-01-31",
            lastChangeDateTime="2020-06-01T00:00:00.123456+02:00",
            extensions={"level": 3, "share": 0.5, "is_own": True, "place": {"city": "Łódź"}},
        ),
        factories.packed_item(fullStatement=" padded ", CFItemType="UNKNOWN", subject=[""]),
        factories.packed_item(fullStatement="plain", conceptKeywords=[], language="en"),
    ]
    document = factories.entity("doc+é 1", creator="O'Brien", title=" Ünïcode, 'title' ")
    document |= {
        "subject": ["Reading, Writing", "Art"],
        "subjectURI": [subject],
        "licenseURI": factories.link("licence 1", "A licence"),
        "frameworkType": "own",
        "notes": "",
        "lastChangeDateTime": "1969-12-31T23:59:59.999999Z",
        "extensions": {"level": "high"},
    }
    definitions = {"CFSubjects": [factories.subject("S.1", "subject-3", description=" ")]}
    body = factories.package(CFItems=items, CFAssociations=[], CFDefinitions=definitions)
    package: Body = with_valid_uris({**body, "CFDocument": document})
    return package


def with_valid_uris(node: Any) -> Any:
    """Percent-encode every ``uri``, because those of the factories contain raw identifiers."""
    if isinstance(node, list):
        return [with_valid_uris(part) for part in node]
    if isinstance(node, dict):
        return {
            name: quote(part, safe=":") if name == "uri" else with_valid_uris(part)
            for name, part in node.items()
        }
    return node


def values(entity: Body, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of an entity by dotted path; lists are joined by commas."""
    for name, value in entity.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from values(value, f"{path}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for part in value[0]:
                yield f"{path}.{part}", ",".join(member[part] for member in value)
        else:
            yield path, ",".join(value) if isinstance(value, list) else text(value)


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def choose(shown: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Choose up to 20 pairs of a value and an identifier, including the edge cases."""
    fitting = [pair for pair in shown if len(quote(pair[0])) <= MAX_VALUE_CHARS]
    unusual_pairs = (
        fitting[:1],
        fitting[-1:],
        sorted(fitting, key=lambda pair: len(pair[0]))[-1:],
        [pair for pair in fitting if not pair[0].strip()][:2],
        [pair for pair in fitting if "'" in pair[0]][:2],
        [pair for pair in fitting if not pair[0].isascii()][:2],
        fitting[:: max(1, len(fitting) // MAX_VALUES)],
    )
    distinct = {value: identifier for pairs in unusual_pairs for value, identifier in pairs}
    return list(islice(distinct.items(), MAX_VALUES))


class Lists:
    """Queries the lists of one profile."""

    def __init__(self, api: Api) -> None:
        self.api, self.limit = api, api.profile.limits.maximum

    async def page(self, collection: str, **params: Any) -> tuple[list[Body], int]:
        response = await self.api.send("GET", f"/{collection}", 200, params=params)
        return response.json()[collection], int(response.headers["X-Total-Count"])

    async def all_of(self, collection: str, **params: Any) -> list[Body]:
        matches, total = await self.page(collection, limit=self.limit, **params)
        for offset in range(self.limit, total, self.limit):
            matches += (await self.page(collection, limit=self.limit, offset=offset, **params))[0]
        return matches

    async def check_filter(self, collection: str, path: str, value: str, identifier: str) -> None:
        """Check that a filter by a value finds its entity, and only entities with that value."""
        predicate = f"{path}='{value.replace(chr(39), chr(39) * 2)}'"
        matches, total = await self.page(collection, filter=predicate, limit=self.limit)
        if total > self.limit:
            filter_text = f"{predicate} AND identifier='{identifier.replace(chr(39), chr(39) * 2)}'"
            matches, _ = await self.page(collection, filter=filter_text, limit=self.limit)
        assert identifier in {each["identifier"] for each in matches}, f"{collection}: {predicate}"
        for entity in matches:
            actual = dict(values(entity)).get(path, "")
            assert is_equal(actual, value), f"{collection}: {predicate}: {entity}"

    async def check_sort(self, collection: str, path: str, in_order: list[str]) -> None:
        """Check that sorting by a field returns its values in the order of Postgres."""
        for order, expected in (("asc", in_order), ("desc", in_order[::-1])):
            name = path.split(".", maxsplit=1)[0]
            params = {"sort": path, "orderBy": order, "fields": name, "limit": self.limit}
            matches, total = await self.page(collection, **params)
            shown = [dict(values(entity)).get(path) for entity in matches]
            present = [sort_key(value) for value in shown if value is not None]
            assert present == expected[: self.limit], f"{collection}: {params}"
            count = min(total, self.limit)
            assert shown[len(present) :] == [None] * (count - len(present)), (
                f"{collection}: {params}"
            )


def sort_key(value: str) -> str:
    """Return the lower-case prefix that lists sort by."""
    return value.lower()[:200]


def is_equal(actual: str, expected: str) -> bool:
    """Compare values, ignoring the order of list members and spaces around them."""
    parts = [
        sorted(part.strip() for part in value.lower().split(",")) for value in (actual, expected)
    ]
    return parts[0] == parts[1]


@pytest.fixture
def in_order(execute: Execute) -> Callable[..., Awaitable[list[str]]]:
    async def sort(values: Iterable[str]) -> list[str]:
        keys = list(map(sort_key, values))
        rows = await execute("SELECT key FROM unnest($1::text[]) AS key ORDER BY key", keys)
        return [row["key"] for row in rows]

    return sort


async def check_lists(api: Api, in_order: Callable[..., Any]) -> None:
    """Check filters and sorting for every field in the lists of a profile."""
    lists = Lists(api)
    for resource in RESOURCES:
        if resource.collection not in list_collections(api.profile):
            continue
        entities = await lists.all_of(resource.collection)
        shown: dict[str, list[tuple[str, str]]] = {}
        for entity in entities:
            for path, value in values(entity):
                shown.setdefault(path, []).append((value, entity["identifier"]))
        fields = list_fields(resource.schema, api.profile.get_query_rules(resource).unknown_fields)
        for path, pairs in shown.items():
            field = resolve_field(fields, path)
            assert field, f"{resource.name} has {path}, which filters do not know"
            # Lists of objects are compared by their parts, here an empty list.
            name = f"{path}.title" if field.type is FieldType.LINKS else path
            for value, identifier in choose(pairs):
                await lists.check_filter(resource.collection, name, value, identifier)
            if field.type in SCALARS:
                ordered = await in_order(value for value, _ in pairs)
                await lists.check_sort(resource.collection, path, ordered)


@each_profile
async def test_filters_and_sorting_match_responses_of_an_edge_case_framework(
    client: AsyncClient, profile: ApiProfile, in_order: Callable[..., Any]
) -> None:
    document = factories.document(title="with a package", CFPackageURI=factories.link("P 1'é"))
    for body in (edge_case_package(), with_valid_uris(factories.package(CFDocument=document))):
        response = await client.post("/case/1.1/CFPackages", json=body)
        assert response.status_code == 201, response.text
    await check_lists(Api(client, profile), in_order)


@pytest.mark.parametrize(
    ("profile", "name"),
    mark_slow_except(SHORT_CASES, CASES),
    ids=[f"{profile.name}-{name}" for profile, name in CASES],
)
async def test_filters_and_sorting_match_responses_of_a_real_framework(
    client: AsyncClient, profile: ApiProfile, in_order: Callable[..., Any], shared: Path, name: str
) -> None:
    content = repair_package((shared / "frameworks" / f"{name}.json").read_bytes())[0]
    response = await client.post("/case/1.1/CFPackages", content=content)
    assert response.status_code == 201, response.text
    await check_lists(Api(client, profile), in_order)


@each_profile
async def test_filter_of_openapi_example_finds_example_on_its_list(
    client: AsyncClient, profile: ApiProfile
) -> None:
    response = await client.post("/case/1.1/CFPackages", json=with_subject(examples.PACKAGE))
    assert response.status_code == 201, response.text
    document = (await client.get(profile.prefix + profile.document)).json()
    for collection in list_collections(profile):
        url = profile.prefix + f"/{collection}"
        operation = document["paths"].get(f"/{collection}") or document["paths"][url]
        parameters = operation["get"]["parameters"]
        (text,) = (each["example"] for each in parameters if each["name"] == "filter")
        matches = await client.get(url, params={"filter": text})
        assert matches.status_code == 200, matches.text
        assert len(matches.json()[collection]) == 1, text


def with_subject(package: Body) -> Body:
    subject = factories.entity(examples.SUBJECT_ID, title="Mathematics", hierarchyCode="M")
    return {**package, "CFDefinitions": {**package["CFDefinitions"], "CFSubjects": [subject]}}


@pytest.mark.parametrize("name", ["extensions.level", "caseVersion", "frameworkType"])
async def test_filter_by_field_missing_in_1_0_returns_400(client: AsyncClient, name: str) -> None:
    api = Api(client, STANDARD_1_0)
    response = await api.get("/CFDocuments", 400, filter=f"{name}='1.1'")
    assert "title" in response["imsx_description"]
    assert name not in response["imsx_description"].partition("expected")[2]


async def test_rewritten_uri_in_other_letter_case_finds_its_item(client: AsyncClient) -> None:
    api = Api(client, SDK)
    document = await api.create_document(**with_valid_uris(factories.document("Döc 1")))
    item = with_valid_uris(factories.item(document["identifier"], "Item % 1"))
    await api.put("/CFItems", {"item": item})
    base = f"http://case.test{SDK.prefix}"
    for text, count in (
        (f"uri='{base}/CFItems/Item%20%25%201'", 1),
        (f"uri='{base.upper()}/cfitems/ITEM%20%25%201'", 1),
        (f"uri@'{base}/CFItems/Item%20%25%201,urn:x'", 1),
        ("uri~'CFItems/Item%20%25'", 1),
        (f"CFDocumentURI.uri='{base}/CFDocuments/D%C3%B6c%201'", 1),
        (f"CFDocumentURI.uri='{base}/CFDocuments/D%C3%96c%201'", 0),
        (f"uri='{base}/CFItems/Item % 1'", 0),
        (f"uri='{base}/CFItems/%00'", 0),
        (f"uri='{item['uri']}'", 0),
    ):
        assert (await api.get("/CFItems", filter=text))["totalCount"] == count, text

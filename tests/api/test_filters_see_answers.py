"""Filters and sorts see the values that the same profile's answers show, derived ones included."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from support import factories
from support.calls import Api

from case_server.api.openapi import examples
from case_server.api.profiles import PROFILES, SDK, STANDARD_1_0, Profile
from case_server.case.resources import RESOURCES
from case_server.query.fields import SCALARS, FieldType, fields_of, resolve_field
from case_server.repair.reader import repair

Execute = Callable[..., Awaitable[list[Any]]]
Body = factories.Body

MAX_VALUES = 20
"""How many values of a field are tried."""

MAX_VALUE_CHARS = 4_000
"""The longest value that is tried; a request target must hold it percent-encoded."""

FRAMEWORKS = (
    "ccss-math-2010",
    "georgia-science-excerpt-v1p1",
    "large-11k",
    "opencase-v1p1-with-rubrics",
    "opensalt-2017-sample",
    "smarterbalanced-math-content-spec",
    "teks-118-economics",
)

each_profile = pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)


def invented() -> Body:
    """A package of everything that answers derive, and of values that are hard to compare."""
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
    """Percent-encode every uri; those of the factories hold the identifier as it is."""
    if isinstance(node, list):
        return [with_valid_uris(part) for part in node]
    if isinstance(node, dict):
        return {
            name: quote(part, safe=":") if name == "uri" else with_valid_uris(part)
            for name, part in node.items()
        }
    return node


def values(entity: Body, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of an answer by dotted path; of lists, all members joined by commas."""
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


def chosen(shown: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Choose up to 20 pairs of a value and its entity, the strange values among them."""
    fitting = [pair for pair in shown if len(quote(pair[0])) <= MAX_VALUE_CHARS]
    strange = (
        fitting[:1],
        fitting[-1:],
        sorted(fitting, key=lambda pair: len(pair[0]))[-1:],
        [pair for pair in fitting if not pair[0].strip()][:2],
        [pair for pair in fitting if "'" in pair[0]][:2],
        [pair for pair in fitting if not pair[0].isascii()][:2],
        fitting[:: max(1, len(fitting) // MAX_VALUES)],
    )
    distinct = {value: identifier for pairs in strange for value, identifier in pairs}
    return list(islice(distinct.items(), MAX_VALUES))


class Lists:
    """The lists of one profile, asked with filters and sorts."""

    def __init__(self, api: Api) -> None:
        self.api, self.limit = api, api.profile.limits.maximum

    async def page(self, plural: str, **asked: Any) -> tuple[list[Body], int]:
        answer = await self.api.send("GET", f"/{plural}", 200, params=asked)
        return answer.json()[plural], int(answer.headers["X-Total-Count"])

    async def all_of(self, plural: str, **asked: Any) -> list[Body]:
        found, total = await self.page(plural, limit=self.limit, **asked)
        for offset in range(self.limit, total, self.limit):
            found += (await self.page(plural, limit=self.limit, offset=offset, **asked))[0]
        return found

    async def check_filter(self, plural: str, path: str, value: str, identifier: str) -> None:
        """Filter by a value: its entity is found, and only entities that show the value are."""
        predicate = f"{path}='{value.replace(chr(39), chr(39) * 2)}'"
        found, total = await self.page(plural, filter=predicate, limit=self.limit)
        if total > self.limit:
            both = f"{predicate} AND identifier='{identifier.replace(chr(39), chr(39) * 2)}'"
            found, _ = await self.page(plural, filter=both, limit=self.limit)
        assert identifier in {one["identifier"] for one in found}, f"{plural}: {predicate}"
        for one in found:
            assert same(dict(values(one)).get(path, ""), value), f"{plural}: {predicate}: {one}"

    async def check_sort(self, plural: str, path: str, in_order: list[str]) -> None:
        """Sort by a field: the values shown are in the order in which Postgres sorts them."""
        for order, wanted in (("asc", in_order), ("desc", in_order[::-1])):
            name = path.split(".", maxsplit=1)[0]
            asked = {"sort": path, "orderBy": order, "fields": name, "limit": self.limit}
            found, total = await self.page(plural, **asked)
            shown = [dict(values(one)).get(path) for one in found]
            there = [sort_key(value) for value in shown if value is not None]
            assert there == wanted[: self.limit], f"{plural}: {asked}"
            count = min(total, self.limit)
            assert shown[len(there) :] == [None] * (count - len(there)), f"{plural}: {asked}"


def sort_key(value: str) -> str:
    """What lists sort by: of codes only the beginning."""
    return value.lower()[:200]


def same(shown: str, wanted: str) -> bool:
    """Whether a value equals another, as lists do in any order and with blanks around members."""
    parts = [sorted(part.strip() for part in value.lower().split(",")) for value in (shown, wanted)]
    return parts[0] == parts[1]


@pytest.fixture
def in_order(execute: Execute) -> Callable[..., Awaitable[list[str]]]:
    async def sort(values: Iterable[str]) -> list[str]:
        keys = list(map(sort_key, values))
        rows = await execute("SELECT key FROM unnest($1::text[]) AS key ORDER BY key", keys)
        return [row["key"] for row in rows]

    return sort


async def check_lists(api: Api, in_order: Callable[..., Any]) -> None:
    """Ask about every field that the lists of a profile show."""
    lists = Lists(api)
    for resource in RESOURCES:
        if resource.plural not in api.profile.lists:
            continue
        entities = await lists.all_of(resource.plural)
        shown: dict[str, list[tuple[str, str]]] = {}
        for entity in entities:
            for path, value in values(entity):
                shown.setdefault(path, []).append((value, entity["identifier"]))
        fields = fields_of(resource.schema, api.profile.dialect(resource).unknown_fields)
        for path, pairs in shown.items():
            field = resolve_field(fields, path)
            assert field, f"{resource.name} shows {path}, which no filter knows"
            # Of an empty list of objects only parts are compared.
            name = f"{path}.title" if field.type is FieldType.LINKS else path
            for value, identifier in chosen(pairs):
                await lists.check_filter(resource.plural, name, value, identifier)
            if field.type in SCALARS:
                ordered = await in_order(value for value, _ in pairs)
                await lists.check_sort(resource.plural, path, ordered)


@each_profile
async def test_filters_and_sorts_of_an_invented_framework_see_shown_values(
    client: httpx.AsyncClient, profile: Profile, in_order: Callable[..., Any]
) -> None:
    whole = factories.document(title="with a package", CFPackageURI=factories.link("P 1'é"))
    for body in (invented(), with_valid_uris(factories.package(CFDocument=whole))):
        answer = await client.post("/case/1.1/CFPackages", json=body)
        assert answer.status_code == 201, answer.text
    await check_lists(Api(client, profile), in_order)


@pytest.mark.parametrize("name", FRAMEWORKS)
@each_profile
async def test_filters_and_sorts_of_a_real_framework_see_shown_values(
    client: httpx.AsyncClient,
    profile: Profile,
    in_order: Callable[..., Any],
    shared: Path,
    name: str,
) -> None:
    content = repair((shared / "frameworks" / f"{name}.json").read_bytes())[0]
    answer = await client.post("/case/1.1/CFPackages", content=content)
    assert answer.status_code == 201, answer.text
    await check_lists(Api(client, profile), in_order)


@each_profile
async def test_filter_of_openapi_example_finds_example_on_its_list(
    client: httpx.AsyncClient, profile: Profile
) -> None:
    answer = await client.post("/case/1.1/CFPackages", json=with_subject(examples.PACKAGE))
    assert answer.status_code == 201, answer.text
    document = (await client.get(profile.prefix + profile.document)).json()
    for plural in profile.lists:
        url = profile.prefix + f"/{plural}"
        operation = document["paths"].get(f"/{plural}") or document["paths"][url]
        parameters = operation["get"]["parameters"]
        (text,) = (one["schema"]["example"] for one in parameters if one["name"] == "filter")
        found = await client.get(url, params={"filter": text})
        assert found.status_code == 200, found.text
        assert len(found.json()[plural]) == 1, text


def with_subject(package: Body) -> Body:
    subject = factories.entity(examples.SUBJECT_ID, title="Mathematics", hierarchyCode="M")
    return {**package, "CFDefinitions": {**package["CFDefinitions"], "CFSubjects": [subject]}}


@pytest.mark.parametrize("name", ["extensions.level", "caseVersion", "frameworkType"])
async def test_filter_by_field_that_case_1_0_lacks_returns_400(
    client: httpx.AsyncClient, name: str
) -> None:
    api = Api(client, STANDARD_1_0)
    answer = await api.get("/CFDocuments", 400, filter=f"{name}='1.1'")
    assert "title" in answer["imsx_description"]
    assert name not in answer["imsx_description"].partition("expected")[2]


async def test_minted_uri_in_other_letter_case_finds_its_item(client: httpx.AsyncClient) -> None:
    api = Api(client, SDK)
    document = await api.framework(**with_valid_uris(factories.document("Döc 1")))
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

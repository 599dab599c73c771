"""PUT of what GET answered changes nothing, and a real change is stored."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import Phase, assume, given, settings
from support import factories
from support.calls import Api
from support.package_strategies import packages

from case_server.api.profiles import PLATFORM, PROFILES, SDK, Profile
from case_server.db.schema import tables
from case_server.repair.reader import repair

Execute = Callable[..., Awaitable[Any]]

PRESERVED = {"signing_keys", "feed_history", "revisions", "revision_marks"}
"""Tables that are not emptied: an application remembers what they contain."""

STANDARD = "/1edtech/ims/case/v1p1"
PUBLIC_URL = "http://case.test"
HOSTS = ("case.test", "other.test:8443")
KINDS = {
    "CFDocuments": "CFDocuments",
    "CFItems": "CFItems",
    "CFItemTypes": "CFItemTypes",
    "CFAssociations": "CFItemAssociations",
}
"""Plurals of what can be put on its own, and the route of the PUT."""

each_host = pytest.mark.parametrize("host", HOSTS)


async def state(client: httpx.AsyncClient, execute: Execute, document: str) -> dict[str, Any]:
    """Everything that a write without a difference must leave alone."""
    path = f"{STANDARD}/CFPackages/{document}"
    answer = await client.get(path, params={"extensions": "true"})
    assert answer.status_code == 200, answer.text
    tables = ("documents", "items", "associations", "rubrics", "item_types", "subjects", "licenses")
    bodies = [
        [
            tuple(row)
            for row in await execute(f"SELECT identifier, body::text FROM {table} ORDER BY 1")
        ]
        for table in (*tables, "concepts", "association_groupings")
    ]
    return {
        "package": answer.json(),
        "etag": answer.headers["ETag"],
        "changes": await counted(execute, "SELECT count(*) FROM changes"),
        "revisions": await counted(execute, "SELECT sum(version)::bigint FROM revisions")
        + await counted(execute, "SELECT count(*) FROM revision_marks"),
        "bodies": bodies,
    }


async def counted(execute: Execute, sql: str) -> int:
    return int((await execute(sql))[0][0] or 0)


def under(host: str, body: Any) -> Any:
    """A body whose addresses of the server are those under another host."""
    if host == HOSTS[0]:
        return body
    return json.loads(json.dumps(body).replace(PUBLIC_URL, f"https://{host}"))


async def send_back(api: Api, host: str, package: Any) -> None:
    """GET every entity of a package and the package, and PUT each as it was answered."""
    whole = package.get("CFPackage", package)
    document = whole["CFDocument"]["identifier"]
    identifiers = {
        "CFDocuments": [document],
        "CFItems": [one["identifier"] for one in whole["CFItems"]],
        "CFAssociations": [one["identifier"] for one in whole["CFAssociations"]],
        "CFItemTypes": [one["identifier"] for one in whole["CFDefinitions"]["CFItemTypes"]],
    }
    headers = {"Host": host}
    for plural, several in identifiers.items():
        for identifier in several:
            path = f"/{plural}/{quote(identifier)}"
            found = (await api.send("GET", path, 200, headers=headers)).json()
            body = found["CFItemTypes"][0] if plural == "CFItemTypes" else found
            target = f"/{KINDS[plural]}/{quote(identifier)}"
            await api.send("PUT", target, 201, under(host, body), headers=headers)
    path = f"/CFPackages/{quote(document)}"
    found = (await api.send("GET", path, 200, headers=headers)).json()
    answer = await api.send("PUT", path, 200, under(host, found), headers=headers)
    changes = answer.json()["result"]["changes"]
    assert {name: changes[name] for name in ("created", "updated", "deleted")} == {
        "created": 0,
        "updated": 0,
        "deleted": 0,
    }


def quote(identifier: str) -> str:
    return httpx.URL("http://x", path=f"/{identifier}").raw_path.decode()[1:].replace("?", "%3F")


def rich() -> factories.Body:
    """A package with everything that an answer derives or replaces."""
    body = factories.everything()
    kind, subject, concepts = factories.link(), factories.link(), [factories.link() for _ in "ab"]
    body["CFItems"] += [
        factories.packed_item(),
        factories.packed_item(CFItemTypeURI=kind, subjectURI=[subject], subject=[]),
        factories.packed_item(
            uri="https://elsewhere.example/CFItems/1",
            conceptKeywordsURI=concepts,
            lastChangeDateTime="2026-01-15T09:30:00.123456Z",
            CFItemType="unknown",
        ),
    ]
    outside = factories.association(body["CFItems"][0]["identifier"], "outside")
    outside["destinationNodeURI"]["uri"] = "https://elsewhere.example/node"
    body["CFAssociations"].append({**outside, "associationType": "isRelatedTo"})
    return body


@each_host
async def test_put_of_every_answer_changes_nothing(api: Api, execute: Execute, host: str) -> None:
    body = rich()
    await api.send("POST", "/CFPackages", 201, body)
    identifier = body["CFDocument"]["identifier"]
    before = await state(api.client, execute, identifier)
    await send_back(api, host, await api.get(f"/CFPackages/{identifier}"))
    assert await state(api.client, execute, identifier) == before


@each_host
async def test_put_of_what_was_put_one_by_one_changes_nothing(
    api: Api, execute: Execute, host: str
) -> None:
    document = await api.framework(subjectURI=[factories.link()])
    one, two = await api.new_item(document), await api.new_item(document, subject=[])
    await api.new_association(one, two)
    before = await state(api.client, execute, document["identifier"])
    await send_back(api, host, await api.get(f"/CFPackages/{document['identifier']}"))
    assert await state(api.client, execute, document["identifier"]) == before


async def test_unknown_item_type_is_stored_as_absent(api: Api) -> None:
    item = await api.new_item(await api.framework(), CFItemType="unknown")
    answer = await api.client.get(f"{STANDARD}/CFItems/{item['identifier']}")
    assert "CFItemType" not in answer.json()


async def test_unknown_item_type_with_a_link_is_stored(api: Api) -> None:
    link = factories.link(title="unknown")
    item = await api.new_item(await api.framework(), CFItemType="unknown", CFItemTypeURI=link)
    answer = await api.client.get(f"{STANDARD}/CFItems/{item['identifier']}")
    assert answer.json()["CFItemType"] == "unknown"


@pytest.mark.parametrize(
    "uri",
    [
        "https://elsewhere.example/ims/case/v1p1/CFItems/{id}",
        f"{PUBLIC_URL}/ims/case/v1p1/CFItems/another",
        f"{PUBLIC_URL}/ims/case/v1p1/CFDocuments/{{id}}",
        f"{PUBLIC_URL}/elsewhere/CFItems/{{id}}",
        f"{PUBLIC_URL}/ims/case/v1p1/CFItems/{{id}}?version=2",
        "urn:uuid:another",
    ],
)
async def test_another_uri_is_stored(api: Api, uri: str) -> None:
    item = await api.new_item(await api.framework())
    wanted = uri.replace("{id}", item["identifier"])
    await api.put("/CFItems", {"item": {**item, "uri": wanted}})
    answer = await api.client.get(f"{STANDARD}/CFItems/{item['identifier']}")
    assert answer.json()["uri"] == wanted


@pytest.mark.parametrize("prefix", [profile.prefix for profile in PROFILES])
async def test_uri_that_is_an_address_of_a_new_entity_is_not_stored(api: Api, prefix: str) -> None:
    document = await api.framework()
    item = factories.item(document["identifier"])
    item["uri"] = f"{PUBLIC_URL}{prefix}/CFItems/{item['identifier']}"
    item["CFDocumentURI"]["uri"] = f"{PUBLIC_URL}{prefix}/CFDocuments/{document['identifier']}"
    await api.put("/CFItems", {"item": item})
    found = (await api.client.get(f"{STANDARD}/CFItems/{item['identifier']}")).json()
    assert found["uri"] == f"urn:uuid:{item['identifier']}"
    assert found["CFDocumentURI"]["uri"] == document["uri"]


async def test_real_changes_of_an_answer_are_stored(api: Api) -> None:
    document = await api.framework(title="before")
    item = await api.new_item(document, subject=["a"], educationLevel=["01"])
    found = await api.one("CFItem", item["identifier"])
    changed = {**found, "fullStatement": "after", "subject": [], "CFItemType": "Standard"}
    await api.put("/CFItems", {"item": changed})
    stored = (await api.client.get(f"{STANDARD}/CFItems/{item['identifier']}")).json()
    assert (stored["fullStatement"], stored.get("subject", [])) == ("after", [])
    assert (stored["CFItemType"], stored["educationLevel"]) == ("Standard", ["01"])
    assert stored["uri"] == item["uri"]


async def test_document_from_a_package_without_case_version_can_be_put_back(api: Api) -> None:
    body = await api.upload()
    identifier = body["CFDocument"]["identifier"]
    assert "caseVersion" not in body["CFDocument"]
    found = await api.one("CFDocument", identifier)
    await api.send("PUT", f"/CFDocuments/{identifier}", 201, {**found, "title": "another"})
    assert (await api.one("CFDocument", identifier))["title"] == "another"
    new = factories.document()
    del new["caseVersion"]
    await api.send("PUT", f"/CFDocuments/{new['identifier']}", 422, new)


async def test_package_posted_to_an_empty_server_is_stored_as_on_the_first(
    api: Api, execute: Execute
) -> None:
    body = factories.everything()
    for item in body["CFItems"]:
        item["CFItemType"] = "a type"
    await api.send("POST", "/CFPackages", 201, body)
    identifier = body["CFDocument"]["identifier"]
    package = await api.get(f"/CFPackages/{identifier}")
    before = (await state(api.client, execute, identifier))["package"]
    names = ("package_subjects", "items", "associations", "documents", "packages", "item_types")
    await execute(f"TRUNCATE {', '.join(names)} CASCADE")
    await api.send("POST", "/CFPackages", 201, package)
    after = (await state(api.client, execute, identifier))["package"]
    assert after["CFItems"] == before["CFItems"]
    assert after["CFAssociations"] == before["CFAssociations"]
    assert after["CFDocument"] == before["CFDocument"]


@pytest.fixture
def run(
    client: httpx.AsyncClient, execute: Execute, profile: Profile
) -> Callable[[factories.Body, str], Awaitable[None]]:
    """Upload a package, send its answer back, and compare the state."""

    async def round_trip(body: factories.Body, host: str) -> None:
        api, identifier = Api(client, profile), body["CFDocument"]["identifier"]
        names = [table for table in tables.metadata.tables if table not in PRESERVED]
        await execute(f"TRUNCATE {', '.join(names)}")
        await api.send("POST", "/CFPackages", 201, body)
        before = await state(client, execute, quote(identifier))
        path = f"/CFPackages/{quote(identifier)}"
        headers = {"Host": host}
        answer = (await api.send("GET", path, 200, headers=headers)).json()
        await api.send("PUT", path, 200, under(host, answer), headers=headers)
        assert await state(client, execute, quote(identifier)) == before

    return round_trip


@each_host
async def test_put_of_invented_packages_changes_nothing(
    run: Callable[[factories.Body, str], Awaitable[None]], host: str
) -> None:
    found: list[factories.Body] = []

    @settings(max_examples=15, deadline=None, database=None, phases=[Phase.generate])
    @given(packages())
    def collect(body: factories.Body) -> None:
        names = (".", "..")
        assume(not any(f'"identifier": "{name}"' in json.dumps(body) for name in names))
        found.append(json.loads(json.dumps(body)))

    collect()
    for body in found:
        await run({"CFItems": [], "CFAssociations": [], **body}, host)


@pytest.mark.parametrize("profile_of_put", [PLATFORM, SDK], ids=lambda one: one.name)
@pytest.mark.parametrize(
    "name", ["opensalt-2017-sample", "opencase-v1p1-with-rubrics", "georgia-science-excerpt-v1p1"]
)
async def test_put_of_a_real_framework_changes_nothing(
    client: httpx.AsyncClient, execute: Execute, shared: Any, name: str, profile_of_put: Profile
) -> None:
    raw = repair((shared / "frameworks" / f"{name}.json").read_bytes())[0]
    body = {"CFItems": [], "CFAssociations": [], **json.loads(raw)}
    api = Api(client, profile_of_put)
    await api.send("POST", "/CFPackages", 201, body)
    identifier = body["CFDocument"]["identifier"]
    before = await state(client, execute, identifier)
    path = f"/CFPackages/{identifier}"
    await api.send("PUT", path, 200, await api.get(path))
    assert await state(client, execute, identifier) == before

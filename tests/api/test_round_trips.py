"""PUT of a GET response changes nothing, and a real change in it is stored."""

import json
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from httpx import AsyncClient
from hypothesis import Phase, assume, given, settings
from support import factories
from support.calls import Api
from support.databases import Execute
from support.factories import Body
from support.package_strategies import packages
from support.packages import repair_package
from support.selection import scale_examples

from case_server.api.profiles import PLATFORM, PROFILES, SDK, ApiProfile
from case_server.db.schema import tables

PRESERVED = {"signing_keys", "feed_history", "revisions", "revision_marks"}
"""Tables that are not emptied, because applications cache their content."""

STANDARD = "/1edtech/ims/case/v1p1"
PUBLIC_URL = "http://case.test"
HOSTS = ("case.test", "other.test:8443")
PUT_ROUTES = {
    "CFDocuments": "CFDocuments",
    "CFItems": "CFItems",
    "CFItemTypes": "CFItemTypes",
    "CFAssociations": "CFItemAssociations",
}
"""The routes of PUT by the collection of the entity."""

each_host = pytest.mark.parametrize("host", HOSTS)


async def state(client: AsyncClient, execute: Execute, document: str) -> dict[str, Any]:
    """Return everything that a write without a difference must not change."""
    path = f"{STANDARD}/CFPackages/{document}"
    response = await client.get(path, params={"extensions": "true"})
    assert response.status_code == 200, response.text
    tables = ("documents", "items", "associations", "rubrics", "item_types", "subjects", "licenses")
    bodies = [
        [
            tuple(row)
            for row in await execute(f"SELECT identifier, body::text FROM {table} ORDER BY 1")
        ]
        for table in (*tables, "concepts", "association_groupings")
    ]
    return {
        "package": response.json(),
        "etag": response.headers["ETag"],
        "changes": await count(execute, "SELECT count(*) FROM changes"),
        # A reader may move steps from one of these tables to the other.
        "revisions": await count(execute, "SELECT sum(version)::bigint FROM revisions")
        + await count(execute, "SELECT sum(step)::bigint FROM revision_marks"),
        "bodies": bodies,
    }


async def count(execute: Execute, sql: str) -> int:
    return int((await execute(sql))[0][0] or 0)


def with_host(host: str, body: Any) -> Any:
    """Replace the public URL in a body by the URL of another host."""
    if host == HOSTS[0]:
        return body
    return json.loads(json.dumps(body).replace(PUBLIC_URL, f"https://{host}"))


async def send_back(api: Api, host: str, package: Any) -> None:
    """GET every entity of a package and the package itself, and PUT each response back."""
    content = package.get("CFPackage", package)
    document = content["CFDocument"]["identifier"]
    identifiers = {
        "CFDocuments": [document],
        "CFItems": [item["identifier"] for item in content["CFItems"]],
        "CFAssociations": [each["identifier"] for each in content["CFAssociations"]],
        "CFItemTypes": [each["identifier"] for each in content["CFDefinitions"]["CFItemTypes"]],
    }
    headers = {"Host": host}
    for collection, members in identifiers.items():
        for identifier in members:
            path = f"/{collection}/{quote(identifier)}"
            response = (await api.send("GET", path, 200, headers=headers)).json()
            body = response["CFItemTypes"][0] if collection == "CFItemTypes" else response
            target = f"/{PUT_ROUTES[collection]}/{quote(identifier)}"
            await api.send("PUT", target, 201, with_host(host, body), headers=headers)
    path = f"/CFPackages/{quote(document)}"
    response = (await api.send("GET", path, 200, headers=headers)).json()
    result = await api.send("PUT", path, 200, with_host(host, response), headers=headers)
    changes = result.json()["result"]["changes"]
    assert {name: changes[name] for name in ("created", "updated", "deleted")} == {
        "created": 0,
        "updated": 0,
        "deleted": 0,
    }


def quote(identifier: str) -> str:
    return urllib.parse.quote(identifier, safe="")


def package_with_derived_values() -> Body:
    """Return a package with all values that responses derive or replace."""
    body = factories.package_with_every_class()
    item_type, subject, concepts = (
        factories.link(),
        factories.link(),
        [factories.link() for _ in "ab"],
    )
    same = [
        {"title": title, "identifier": subject["identifier"], "uri": f"urn:x:{number}"}
        for number, title in enumerate(("a title", "a title", "another title"))
    ]
    body["CFItems"] += [
        factories.packed_item(),
        factories.packed_item(CFItemTypeURI=item_type, subjectURI=[subject], subject=[]),
        factories.packed_item(subjectURI=same),
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
async def test_put_of_every_response_changes_nothing(api: Api, execute: Execute, host: str) -> None:
    body = package_with_derived_values()
    await api.send("POST", "/CFPackages", 201, body)
    identifier = body["CFDocument"]["identifier"]
    before = await state(api.client, execute, identifier)
    await send_back(api, host, await api.get(f"/CFPackages/{identifier}"))
    assert await state(api.client, execute, identifier) == before


@each_host
async def test_put_of_single_entity_changes_nothing(api: Api, execute: Execute, host: str) -> None:
    document = await api.create_document(subjectURI=[factories.link()])
    child, parent = await api.create_item(document), await api.create_item(document, subject=[])
    await api.create_association(child, parent)
    before = await state(api.client, execute, document["identifier"])
    await send_back(api, host, await api.get(f"/CFPackages/{document['identifier']}"))
    assert await state(api.client, execute, document["identifier"]) == before


async def test_default_item_type_is_not_stored(api: Api) -> None:
    item = await api.create_item(await api.create_document(), CFItemType="unknown")
    response = await api.client.get(f"{STANDARD}/CFItems/{item['identifier']}")
    assert "CFItemType" not in response.json()


async def test_default_item_type_with_a_link_is_stored(api: Api) -> None:
    link = factories.link(title="unknown")
    item = await api.create_item(
        await api.create_document(), CFItemType="unknown", CFItemTypeURI=link
    )
    response = await api.client.get(f"{STANDARD}/CFItems/{item['identifier']}")
    assert response.json()["CFItemType"] == "unknown"


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
async def test_uri_of_another_entity_or_server_is_stored(api: Api, uri: str) -> None:
    item = await api.create_item(await api.create_document())
    stored_uri = uri.replace("{id}", item["identifier"])
    await api.put("/CFItems", {"item": {**item, "uri": stored_uri}})
    response = await api.client.get(f"{STANDARD}/CFItems/{item['identifier']}")
    assert response.json()["uri"] == stored_uri


@pytest.mark.parametrize("prefix", [profile.prefix for profile in PROFILES])
async def test_url_of_a_new_entity_on_this_server_is_not_stored(api: Api, prefix: str) -> None:
    document = await api.create_document()
    item = factories.item(document["identifier"])
    item["uri"] = f"{PUBLIC_URL}{prefix}/CFItems/{item['identifier']}"
    item["CFDocumentURI"]["uri"] = f"{PUBLIC_URL}{prefix}/CFDocuments/{document['identifier']}"
    await api.put("/CFItems", {"item": item})
    stored = (await api.client.get(f"{STANDARD}/CFItems/{item['identifier']}")).json()
    assert stored["uri"] == f"urn:uuid:{item['identifier']}"
    assert stored["CFDocumentURI"]["uri"] == document["uri"]


async def test_changes_in_a_response_are_stored(api: Api) -> None:
    document = await api.create_document(title="before")
    item = await api.create_item(document, subject=["a"], educationLevel=["01"])
    response = await api.get_entity("CFItem", item["identifier"])
    changed = {**response, "fullStatement": "after", "subject": [], "CFItemType": "Standard"}
    await api.put("/CFItems", {"item": changed})
    stored = (await api.client.get(f"{STANDARD}/CFItems/{item['identifier']}")).json()
    assert (stored["fullStatement"], stored.get("subject", [])) == ("after", [])
    assert (stored["CFItemType"], stored["educationLevel"]) == ("Standard", ["01"])
    assert stored["uri"] == item["uri"]


async def test_edited_links_with_one_identifier_keep_their_uris(api: Api) -> None:
    stored_links = [factories.link("shared", title=f"title {number}") for number in range(3)]
    links = [{**link, "uri": f"urn:x:{number}"} for number, link in enumerate(stored_links)]
    document = await api.create_document()
    item = await api.create_item(document, subjectURI=links)
    response = await api.get_entity("CFItem", item["identifier"])
    del response["subjectURI"][0]
    response["subjectURI"].reverse()
    await api.put("/CFItems", {"item": response})
    stored = (await api.client.get(f"{STANDARD}/CFItems/{item['identifier']}")).json()
    assert stored["subjectURI"] == links[:0:-1]


async def test_document_without_case_version_can_be_put_back(api: Api) -> None:
    body = await api.upload_package()
    identifier = body["CFDocument"]["identifier"]
    assert "caseVersion" not in body["CFDocument"]
    response = await api.get_entity("CFDocument", identifier)
    await api.send("PUT", f"/CFDocuments/{identifier}", 201, {**response, "title": "another"})
    assert (await api.get_entity("CFDocument", identifier))["title"] == "another"
    new = factories.document()
    del new["caseVersion"]
    await api.send("PUT", f"/CFDocuments/{new['identifier']}", 422, new)


async def test_response_posted_to_empty_server_is_stored_equally(
    api: Api, execute: Execute
) -> None:
    body = factories.package_with_every_class()
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
    client: AsyncClient, execute: Execute, profile: ApiProfile
) -> Callable[[Body, str], Awaitable[None]]:
    """Return a function that uploads a package, puts its response back and compares the state."""

    async def round_trip(body: Body, host: str) -> None:
        api, identifier = Api(client, profile), body["CFDocument"]["identifier"]
        names = [table for table in tables.metadata.tables if table not in PRESERVED]
        await execute(f"TRUNCATE {', '.join(names)}")
        await api.send("POST", "/CFPackages", 201, body)
        before = await state(client, execute, quote(identifier))
        path = f"/CFPackages/{quote(identifier)}"
        headers = {"Host": host}
        response = (await api.send("GET", path, 200, headers=headers)).json()
        await api.send("PUT", path, 200, with_host(host, response), headers=headers)
        assert await state(client, execute, quote(identifier)) == before

    return round_trip


@each_host
async def test_put_of_generated_packages_changes_nothing(
    run: Callable[[Body, str], Awaitable[None]], host: str
) -> None:
    bodies: list[Body] = []

    @settings(
        max_examples=scale_examples(15), deadline=None, database=None, phases=[Phase.generate]
    )
    @given(packages())
    def collect(body: Body) -> None:
        names = (".", "..")
        assume(not any(f'"identifier": "{name}"' in json.dumps(body) for name in names))
        bodies.append(json.loads(json.dumps(body)))

    collect()
    for body in bodies:
        await run({"CFItems": [], "CFAssociations": [], **body}, host)


@pytest.mark.parametrize("profile_of_put", [PLATFORM, SDK], ids=lambda profile: profile.name)
@pytest.mark.parametrize(
    "name", ["opensalt-2017-sample", "opencase-v1p1-with-rubrics", "georgia-science-excerpt-v1p1"]
)
async def test_put_of_a_real_framework_changes_nothing(
    client: AsyncClient, execute: Execute, shared: Any, name: str, profile_of_put: ApiProfile
) -> None:
    raw = repair_package((shared / "frameworks" / f"{name}.json").read_bytes())[0]
    body = {"CFItems": [], "CFAssociations": [], **json.loads(raw)}
    api = Api(client, profile_of_put)
    await api.send("POST", "/CFPackages", 201, body)
    identifier = body["CFDocument"]["identifier"]
    before = await state(client, execute, identifier)
    path = f"/CFPackages/{identifier}"
    await api.send("PUT", path, 200, await api.get(path))
    assert await state(client, execute, identifier) == before

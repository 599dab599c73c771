"""GET of one entity: the same contract for every resource type, on every profile."""

from typing import Any

import pytest
from httpx import AsyncClient
from support import factories
from support.calls import Api
from support.databases import Execute
from support.factories import Body

from case_server.api.profiles import PROFILES, ApiProfile
from case_server.case.resources import RESOURCES, ResourceType

each = pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
SETS = [resource for resource in RESOURCES if resource.with_descendants]
in_a_set = pytest.mark.parametrize("resource", SETS, ids=lambda resource: resource.name)
DELETABLE = [resource for resource in RESOURCES if resource.name != "CFAssociation"]


def unwrapped(body: Any, resource: ResourceType, profile: ApiProfile) -> Any:
    """Return the requested entity without its set or wrapper."""
    if resource.with_descendants:
        return body[resource.collection][0]
    return body[resource.name] if profile.wraps else body


def assert_both_ids(node: Any) -> None:
    """Assert that every object has equal ``identifier`` and ``sourcedId``, or neither."""
    if isinstance(node, list):
        for part in node:
            assert_both_ids(part)
    if isinstance(node, dict):
        assert node.get("identifier") == node.get("sourcedId"), node
        for name, part in node.items():
            if name != "extensions":
                assert_both_ids(part)


@pytest.fixture
async def stored(api: Api) -> Body:
    """Store a framework with one entity of every resource type."""
    body = factories.package_with_every_class()
    await api.send("POST", "/CFPackages", 201, body)
    return body


def path_of(stored: Body, resource: ResourceType) -> str:
    identifier = factories.get_first_entity(stored, resource.name)["identifier"]
    return f"/{resource.collection}/{identifier}"


@each
async def test_get_returns_stored_entity(api: Api, stored: Body, resource: ResourceType) -> None:
    uploaded = factories.get_first_entity(stored, resource.name)
    body = await api.get(f"/{resource.collection}/{uploaded['identifier']}")
    entity = unwrapped(body, resource, api.profile)
    assert api.list_lost_values(uploaded, entity) == []
    assert entity["uri"] == api.get_expected_uri(uploaded, resource.collection)
    if api.profile.sourced_ids:
        assert entity["sourcedId"] == uploaded["identifier"]
        assert_both_ids(body)


@each
async def test_unknown_identifier_returns_404(api: Api, resource: ResourceType) -> None:
    response = await api.send("GET", f"/{resource.collection}/unknown", 404)
    minor = response.json()[api.profile.code_minor_names[0]]["imsx_codeMinorField"][0]
    assert minor["imsx_codeMinorFieldValue"] == "unknownobject"
    assert "unknown" in response.json()["imsx_description"]


@each
@pytest.mark.parametrize("suffix", ["%00", "%0a", "a%2Fb", "x" * 300, "'", "%F0%9F%98%80", "."])
async def test_unusual_identifier_returns_404(
    api: Api, resource: ResourceType, suffix: str
) -> None:
    await api.send("GET", f"/{resource.collection}/{suffix}x", 404)


@each
async def test_fields_selects_fields(api: Api, stored: Body, resource: ResourceType) -> None:
    body = await api.get(path_of(stored, resource), fields="uri,identifier")
    assert unwrapped(body, resource, api.profile).keys() == {"uri", "identifier"}


@each
async def test_unknown_field_is_rejected(api: Api, stored: Body, resource: ResourceType) -> None:
    response = await api.get(path_of(stored, resource), 400, fields="uri,colour")
    assert "colour" in response["imsx_description"]
    assert "lastChangeDateTime" in response["imsx_description"]


@each
async def test_trailing_slash_is_ignored(api: Api, stored: Body, resource: ResourceType) -> None:
    path = path_of(stored, resource)
    with_slash = await api.send("GET", f"{path}/", 200)
    assert with_slash.json() == await api.get(path)


@each
async def test_head_equals_get_without_body(api: Api, stored: Body, resource: ResourceType) -> None:
    path = path_of(stored, resource)
    get, head = await api.send("GET", path, 200), await api.send("HEAD", path, 200)
    assert head.content == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


@each
async def test_second_trailing_slash_is_part_of_the_identifier(
    api: Api, stored: Body, resource: ResourceType
) -> None:
    path = path_of(stored, resource)
    for suffix in ("//", "%2F", "%2f"):
        await api.send("GET", path + suffix, 404)


@pytest.mark.parametrize("resource", DELETABLE, ids=lambda resource: resource.name)
async def test_deleted_entity_returns_404(
    api: Api, stored: Body, resource: ResourceType, execute: Execute
) -> None:
    identifier = factories.get_first_entity(stored, resource.name)["identifier"]
    deletion = f"UPDATE {resource.table} SET deleted_at = now() WHERE identifier = $1"
    await execute(deletion, identifier)
    await api.get(f"/{resource.collection}/{identifier}", 404)


@in_a_set
async def test_set_is_entity_and_children_in_code_order(api: Api, resource: ResourceType) -> None:
    codes = ["ELA.1.V", "ELA.2", "ELA", "ELAX", "MA.ELA", "ELA.1"]
    kinds = [factories.item_type(hierarchyCode=code) for code in codes]
    if resource.name != "CFItemType":
        kinds = [factories.subject(code) for code in codes]
    await api.upload_package(CFDefinitions={resource.collection: kinds})
    body = await api.get(f"/{resource.collection}/{kinds[2]['identifier']}")
    codes = [entity["hierarchyCode"] for entity in body[resource.collection]]
    assert codes == ["ELA", "ELA.1", "ELA.1.V", "ELA.2"]
    leaf = await api.get(f"/{resource.collection}/{kinds[0]['identifier']}")
    assert [entity["hierarchyCode"] for entity in leaf[resource.collection]] == ["ELA.1.V"]


async def test_rubric_includes_criteria_and_levels(api: Api) -> None:
    uploaded = factories.rubric()
    await api.upload_package(CFRubrics=[uploaded])
    rubric = await api.get_entity("CFRubric", uploaded["identifier"])
    criteria = rubric["CFRubricCriteria"]
    assert [criterion["category"] for criterion in criteria] == ["one", "two"]
    levels = criteria[0]["CFRubricCriterionLevels"]
    assert [(level["quality"], level["score"]) for level in levels] == [("low", 1), ("high", 2.5)]
    assert "CFRubricCriterionLevels" not in criteria[1]


async def test_entity_stored_in_one_profile_is_returned_by_all(
    client: AsyncClient, profile: ApiProfile
) -> None:
    body = await Api(client, profile).create_document()
    for other in PROFILES:
        entity = await Api(client, other).get_entity("CFDocument", body["identifier"])
        assert entity["title"] == body["title"]

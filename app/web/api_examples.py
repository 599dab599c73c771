"""An entity as JSON of each API profile, and the requests that return it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from urllib.parse import quote

import orjson
from fastapi import Request

from ..api.dependencies import get_app_state, get_renderer
from ..api.profiles import PROFILES, ApiProfile
from ..case.resources import ResourceType
from ..db.read import entities
from ..exceptions import BadRequest
from .attributes import EntityAttributes, parse_entity_attributes

SDK_NAMES = {"CFDocument": "documents", "CFItem": "items"}
"""Attributes of the client of TimeBack's SDK by CASE class."""


@dataclass(frozen=True)
class ApiExample:
    """The JSON of an entity in one API profile, with example requests for it: curl and SDK code."""

    profile: ApiProfile
    profiles: tuple[ApiProfile, ...]
    url: str
    json: str
    attributes: EntityAttributes
    """The attributes as they are stored."""
    curl: str
    python: str


def list_json_links(*segments: str) -> list[tuple[str, str]]:
    """Return (profile title, path) for the JSON page of an entity in each API profile.

    ``segments`` are the unencoded parts of the page path, such as "documents" and an identifier.
    """
    path = "".join(f"/{quote(segment, safe='')}" for segment in segments)
    return [(profile.title, f"{path}/json?profile={profile.name}") for profile in PROFILES]


async def build_example(
    request: Request, resource: ResourceType, identifier: str, profile_name: str
) -> ApiExample:
    """Return an entity's JSON in an API profile together with example requests for it.

    If ``profile_name`` is empty, uses the first profile. Raises ``NotFound`` for an unknown entity,
    ``BadRequest`` for an unknown profile.
    """
    profiles = {profile.name: profile for profile in PROFILES}
    profile = profiles.get(profile_name or PROFILES[0].name)
    if profile is None:
        raise BadRequest(f"unknown profile {profile_name!r}: use one of {', '.join(profiles)}")
    state = get_app_state(request)
    (body,) = await entities.get_entity_with_descendants(state.database, resource, identifier)
    renderer = await get_renderer(request, state, profile)
    rendered = renderer.wrap(resource.name, await renderer.to_response_object(resource, body))
    url = f"{renderer.profile_base_url}/{resource.collection}/{quote(identifier, safe='')}"
    sdk_name = SDK_NAMES[resource.name]
    return ApiExample(
        profile=profile,
        profiles=PROFILES,
        url=url,
        json=orjson.dumps(rendered, option=orjson.OPT_INDENT_2).decode(),
        attributes=parse_entity_attributes(body),
        curl=f'curl -H "Authorization: Bearer $TOKEN" {shlex.quote(url)}',
        python=f"await client.{sdk_name}.get({orjson.dumps(identifier).decode()})"
        if profile.writes
        else "",
    )

"""The page of an entity as JSON of an API profile, with requests that return it."""

from __future__ import annotations

import shlex
from urllib.parse import quote

import orjson
from fastapi import Request, Response

from ..api.dependencies import get_app_state, get_renderer
from ..api.profiles import PROFILES
from ..case.resources import ResourceType
from ..db.read import entities
from ..exceptions import BadRequest
from .attributes import get_short_title, parse_entity_attributes
from .pages import render_page

SDK_NAMES = {"CFDocument": "documents", "CFItem": "items"}
"""Attributes of the client of TimeBack's SDK by CASE class."""


def list_json_links(*segments: str) -> list[tuple[str, str]]:
    """Return (profile title, path of an entity's JSON page) for each API profile.

    ``segments`` are the unencoded segments of the path of the entity's HTML page, for example
    "documents" and an identifier. The path excludes the server's path prefix.
    """
    path = "".join(f"/{quote(segment, safe='')}" for segment in segments)
    return [(profile.title, f"{path}/json?profile={profile.name}") for profile in PROFILES]


async def render_json_page(
    request: Request, resource: ResourceType, segments: tuple[str, ...], profile_name: str
) -> Response:
    """Return an HTML page with an entity's JSON, and the curl command and SDK call for it.

    The JSON is as in the API profile ``profile_name``; if that is empty, as in the first profile.
    ``resource`` is the ``ResourceType`` of the entity. ``segments`` are the parts of the path of
    its page, the last of which is its identifier. Raises ``NotFound`` for an unknown entity,
    ``BadRequest`` for an unknown profile.
    """
    identifier = segments[-1]
    profiles = {profile.name: profile for profile in PROFILES}
    profile = profiles.get(profile_name or PROFILES[0].name)
    if profile is None:
        raise BadRequest(f"unknown profile {profile_name!r}: use one of {', '.join(profiles)}")
    state = get_app_state(request)
    (body,) = await entities.get_entity_with_descendants(state.database, resource, identifier)
    title = get_short_title(parse_entity_attributes(body))
    renderer = await get_renderer(request, state, profile)
    response_object = renderer.wrap(
        resource.name, await renderer.to_response_object(resource, body)
    )
    url = f"{renderer.profile_base_url}/{resource.collection}/{quote(identifier, safe='')}"
    sdk_call = f"await client.{SDK_NAMES[resource.name]}.get({orjson.dumps(identifier).decode()})"
    return await render_page(
        request,
        "json.html",
        title=f"JSON · {title}",
        back={"title": title, "segments": segments},
        profiles=PROFILES,
        profile=profile,
        curl=f'curl -H "Authorization: Bearer $TOKEN" {shlex.quote(url)}',
        python=sdk_call if profile.writes else "",
        json=orjson.dumps(response_object, option=orjson.OPT_INDENT_2).decode(),
    )

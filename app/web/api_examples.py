"""What a profile answers about an entity, and how to ask for it oneself."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from urllib.parse import quote

import orjson
from fastapi import Request

from ..api.dependencies import get_state
from ..api.profiles import PROFILES, Profile
from ..api.responses import get_renderer
from ..case.resources import Resource
from ..db.read import entities
from ..exceptions import BadRequest
from .attributes import Body, read_body

SDK_NAMES = {"CFDocument": "documents", "CFItem": "items"}
"""What the TimeBack SDK calls its parts."""


@dataclass(frozen=True)
class Told:
    """An entity as one profile answers it."""

    profile: Profile
    profiles: tuple[Profile, ...]
    url: str
    text: str
    body: Body
    """The entity as it is stored."""
    curl: str
    python: str


def of_document(document: str) -> list[tuple[str, str]]:
    """The pages that show a document as each profile answers it: (its title, its path)."""
    return _links(f"/documents/{quote(document, safe='')}/json")


def of_item(document: str, item: str) -> list[tuple[str, str]]:
    """The pages that show an item as each profile answers it: (its title, its path)."""
    return _links(f"/documents/{quote(document, safe='')}/items/{quote(item, safe='')}/json")


def _links(path: str) -> list[tuple[str, str]]:
    return [(profile.title, f"{path}?profile={profile.name}") for profile in PROFILES]


async def told(request: Request, resource: Resource, identifier: str, name: str) -> Told:
    """An entity as a profile answers it. Raises ``NotFound``, ``BadRequest``."""
    profile = next((one for one in PROFILES if one.name == (name or PROFILES[0].name)), None)
    if profile is None:
        known = ", ".join(one.name for one in PROFILES)
        raise BadRequest(f"there is no profile {name!r}, only {known}")
    (body,) = await entities.get(get_state(request).database, resource, identifier)
    render = get_renderer(request, profile)
    answer = render.wrap(resource.name, await render.to_object(resource, body))
    base = get_state(request).settings.base_url
    url = f"{base}{profile.prefix}/{resource.plural}/{quote(identifier, safe='')}"
    part = SDK_NAMES[resource.name]
    return Told(
        profile=profile,
        profiles=PROFILES,
        url=url,
        text=orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode(),
        body=read_body(body),
        curl=f'curl -H "Authorization: Bearer $TOKEN" {shlex.quote(url)}',
        python=f"await client.{part}.get({orjson.dumps(identifier).decode()})"
        if profile.writes
        else "",
    )

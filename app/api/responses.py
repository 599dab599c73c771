"""Reading what a request carries and writing what it gets, the same way in every route."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson
from fastapi import Request, Response

from ..db.read import entities
from ..exceptions import BadRequest, NotFound
from .dependencies import get_services
from .profiles import Profile
from .rendering.renderer import Renderer

JSON = "application/json"


def get_renderer(request: Request, profile: Profile) -> Renderer:
    """What writes the answers of this profile on this server."""
    held = get_services(request)
    return Renderer(
        profile,
        held.settings.base_url,
        nodes=partial(entities.find_nodes, held.database),
        extensions=bool(request.scope["query_string"])
        and request.query_params.get("extensions", "").lower() == "true",
    )


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(content), status, headers, JSON)


def storable(identifier: str) -> str:
    """An identifier as a path says it; Postgres cannot even be asked for a NUL character."""
    if "\x00" in identifier:
        raise NotFound("entity", identifier)
    return identifier


def refuse_other_id(in_path: str, in_body: str) -> None:
    """The identifier of a body is that of the path it was sent to (guide, PUT)."""
    if in_path != in_body:
        raise BadRequest(
            f"the identifier in the body, {in_body!r}, is not the one in the path, {in_path!r}"
        )

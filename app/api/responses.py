"""Reading what a request carries and writing what it gets, the same way in every route."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson
from fastapi import Request, Response

from ..db.read import entities
from ..exceptions import BadRequest, NotFound
from .dependencies import get_state
from .profiles import Profile
from .rendering.renderer import Renderer

JSON = "application/json"

CODING_PATTERN = re.compile(r"\s*+([\w*-]++)\s*+(?:;\s*+q\s*+=\s*+([01](?:\.\d{0,3})?)\s*+)?")
"""One element of Accept-Encoding. Possessive quantifiers never backtrack, so that thousands of
spaces cost only linear time."""


def get_renderer(request: Request, profile: Profile) -> Renderer:
    """What writes the answers of this profile on this server."""
    held = get_state(request)
    return Renderer(
        profile,
        held.settings.base_url,
        find_local_nodes=partial(entities.find_nodes, held.database),
        include_extensions=bool(request.scope["query_string"])
        and request.query_params.get("extensions", "").lower() == "true",
    )


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(content), status, headers, JSON)


def reject_nul(identifier: str) -> str:
    """An identifier as a path says it; Postgres cannot even be asked for a NUL character."""
    if "\x00" in identifier:
        raise NotFound("entity", identifier)
    return identifier


def require_same_identifier(in_path: str, in_body: str) -> None:
    """The identifier of a body is that of the path it was sent to (guide, PUT)."""
    if in_path != in_body:
        raise BadRequest(
            f"the identifier in the body, {in_body!r}, is not the one in the path, {in_path!r}"
        )


def negotiate_encoding(accept_encoding: str, supported: tuple[str, ...]) -> str:
    """Return the supported content coding with the highest weight (RFC 9110, section 12.5.3).

    ``supported`` is in the order of the server's preference; among equal weights the first wins.
    Returns ``identity`` if the client accepts none of them.
    """
    weights = {}
    for element in accept_encoding.split(","):
        if match := CODING_PATTERN.fullmatch(element):
            weights[match[1].lower()] = float(match[2] or 1)
    default = weights.get("*", 0)
    best = max(supported, key=lambda coding: weights.get(coding, default))
    return best if weights.get(best, default) > 0 else "identity"

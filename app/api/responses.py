"""Helpers shared by the routes: identifiers in paths, renderers, JSON and encodings."""

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
"""An element of Accept-Encoding. Possessive quantifiers never backtrack, so that thousands of
spaces cost only linear time."""


def get_renderer(request: Request, profile: Profile) -> Renderer:
    """Return the renderer of a profile for a request; ``?extensions=true`` includes extensions."""
    state = get_state(request)
    return Renderer(
        profile,
        state.settings.base_url,
        find_local_nodes=partial(entities.find_nodes, state.database),
        include_extensions=bool(request.scope["query_string"])
        and request.query_params.get("extensions", "").lower() == "true",
    )


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with ``content`` as JSON."""
    return Response(orjson.dumps(content), status, headers, JSON)


def reject_nul(identifier: str) -> str:
    """Return an identifier unchanged. Raises ``NotFound`` if it has NUL, which Postgres rejects."""
    if "\x00" in identifier:
        raise NotFound("entity", identifier)
    return identifier


def require_same_identifier(in_path: str, in_body: str) -> None:
    """Raise ``BadRequest`` unless path and body have the same identifier (guide, PUT)."""
    if in_path != in_body:
        raise BadRequest(
            f"identifier {in_body!r} in the body does not match {in_path!r} in the path"
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

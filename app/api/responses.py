"""Helpers shared by the routes: JSON responses, identifiers in paths, and content encodings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response

from ..exceptions import BadRequest, NotFound

JSON = "application/json"

CODING_PATTERN = re.compile(r"\s*+([\w*-]++)\s*+(?:;\s*+q\s*+=\s*+([01](?:\.\d{0,3})?)\s*+)?")
"""An element of Accept-Encoding. Possessive quantifiers never backtrack, so that thousands of
spaces cost only linear time."""


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Serialize ``content`` to JSON and return it as a response."""
    return Response(orjson.dumps(content), status, headers, JSON)


def reject_nul(identifier: str) -> str:
    """Return an identifier unchanged, or raise ``NotFound`` if it contains a NUL character.

    Postgres rejects strings with NUL, so no entity can have such an identifier.
    """
    if "\x00" in identifier:
        raise NotFound("entity", identifier, "remove the NUL character")
    return identifier


def require_same_identifier(path_id: str, body_id: str) -> None:
    """Raise ``BadRequest`` unless the identifiers in a PUT's path and body are equal.

    The implementation guide requires this.
    """
    if path_id != body_id:
        raise BadRequest(
            f"identifier {body_id!r} in the body does not match {path_id!r} in the path: send the "
            "same in both"
        )


def negotiate_encoding(accept_encoding: str, supported: tuple[str, ...]) -> str:
    """Choose a content encoding from the Accept-Encoding header (RFC 9110, section 12.5.3).

    ``supported`` lists the available encodings, preferred ones first. The encoding with the highest
    weight wins; of equal weights, the one that comes first in ``supported``. Returns ``identity``
    (uncompressed) if the client prefers it or accepts none of them.
    """
    weights = {}
    for element in accept_encoding.split(","):
        if match := CODING_PATTERN.fullmatch(element):
            weights[match[1].lower()] = float(match[2] or 1)
    default = weights.get("*", 0)
    best_coding = max(supported, key=lambda coding: weights.get(coding, default))
    weight = weights.get(best_coding, default)
    return best_coding if weight > 0 and weight >= weights.get("identity", 0) else "identity"

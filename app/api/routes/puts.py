"""Shared code of the PUT routes of documents, items, item types and associations.

A PUT replaces the whole entity, is idempotent, and returns 201 without a body, on creation and on
replacement alike (guide, "All PUT endpoints are idempotent upserts"). The body is the entity
itself, or an object that wraps it under one of the names that the guide uses.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

from fastapi import Request, Response

from ...case.model import Entity
from ...case.parsing import ParsedBody, parse_json_body
from ..openapi import operations
from ..request_body import parse_body
from ..responses import require_same_identifier

EntityT = TypeVar("EntityT", bound=Entity)

CREATED = 201

OPTIONS: dict[str, Any] = {
    "status_code": CREATED,
    "response_class": Response,  # has no media type, so that OpenAPI describes no content
    "responses": operations.describe_success(CREATED, "Stored; no body.")
    | operations.describe_errors(400, 409, 413, 422),
}
"""Options of the route decorators."""


async def parse_entity(
    request: Request,
    identifier: str,
    raw_body: bytes,
    schema: type[EntityT],
    wrappers: tuple[str, ...],
) -> ParsedBody[EntityT]:
    """Parse the body of a PUT as an entity of the class ``schema``.

    ``identifier`` is the identifier in the path. The body may be wrapped in an object with one of
    the names in ``wrappers``. Raises ``BadRequest`` if the identifiers in path and body differ, and
    ``UnprocessableContent`` if the entity is not valid.
    """
    body = await parse_body(request, raw_body, partial(parse_json_body, schema, raw_body, wrappers))
    require_same_identifier(identifier, body.entity.identifier)
    return body

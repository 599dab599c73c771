"""The PUT routes of documents, items, item types and associations.

A PUT replaces the whole entity, is idempotent, and returns 201 without a body, on creation and on
replacement alike (guide, "All PUT endpoints are idempotent upserts"). The body is the entity
itself, or an object that wraps it under one of the names that the guide uses.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from ...case.model import Entity
from ...case.resources import ResourceType
from ...case.validation.parsing import ParsedBody, parse_json_body
from ..dependencies import DatabaseDep, SourcedId, WriteAccess
from ..echoed_values import EchoedValuesDep
from ..openapi import operations
from ..request_body import RawBody, parse_body
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


def add_put_route(  # noqa: PLR0913  each is a choice of its own
    router: APIRouter,
    resource: ResourceType,
    path: str,
    store: Callable[..., Awaitable[None]],
    *,
    wrapper: str,
    description: str,
    request_body: dict[str, Any],
) -> None:
    """Add the route that creates or replaces one entity of a CASE class.

    ``path`` is relative to the prefix of ``router``. ``store`` is the function of
    ``db.write.entities`` that stores the entity. The request body is the entity, or an object that
    contains it under the key ``wrapper`` or the class name, such as ``{"item": {…}}``.
    ``request_body`` is the result of ``describe_request_body``.
    """
    wrappers = (wrapper, resource.name)

    @router.put(
        path,
        operation_id=f"put{resource.name}",
        summary=f"Create or replace a {resource.name}",
        description=description,
        openapi_extra=request_body,
        **OPTIONS,
    )
    async def put_entity(
        _caller: WriteAccess,
        sourced_id: SourcedId,
        request: Request,
        db: DatabaseDep,
        raw_body: RawBody,
        echoed: EchoedValuesDep,
    ) -> Response:
        body = await parse_entity(request, sourced_id, raw_body, resource.schema, wrappers)
        await store(db, body.entity, path_prefix=body.path_prefix, echoed=echoed)
        return Response(status_code=CREATED)


async def parse_entity(
    request: Request,
    identifier: str,
    raw_body: bytes,
    schema: type[EntityT],
    wrappers: tuple[str, ...],
) -> ParsedBody[EntityT]:
    """Parse the body of a PUT into a ``ParsedBody`` with an entity of the class ``schema``.

    ``identifier`` is the identifier in the path. The body may be wrapped in an object with one of
    the names in ``wrappers``. Raises ``BadRequest`` if the identifiers in path and body differ, and
    ``UnprocessableContent`` if the entity is not valid.
    """
    body = await parse_body(request, raw_body, partial(parse_json_body, schema, raw_body, wrappers))
    require_same_identifier(identifier, body.entity.identifier)
    return body

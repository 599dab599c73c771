"""PUT of one entity: idempotent, replaces the whole of it, answers 201 without a body.

201 on creation and on replacement alike (guide, "All PUT endpoints are idempotent upserts").
Bodies are read wrapped or bare, whichever the guide shows.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from ...case.model import (
    CFAssociation,
    CFDocument,
    CFItem,
    CFItemType,
    CFPckgDocument,
    Entity,
    LinkURI,
)
from ...case.parsing import ParsedBody, parse
from ...case.problems import REQUIRED
from ...db.write import entities as store
from ...exceptions import UnprocessableContent
from ..body_origin import find_body_origin
from ..dependencies import WriteAccess, get_state
from ..openapi import documents, examples
from ..openapi.schemas import INPUT, Schema, ref
from ..profiles import Profile
from ..request_body import parse_body, read_body
from ..responses import require_same_identifier
from ..routing import Routes
from .entities import Identifier

CREATED = 201


@dataclass(frozen=True)
class Put:
    """A class that can be put one at a time: where, how it may be wrapped, and what stores it."""

    plural: str
    schema: type[Entity]
    wrappers: tuple[str, ...]
    wrapped: bool
    """Whether the guide shows it wrapped in the first of them."""
    store: Callable[..., Awaitable[None]]
    example: Schema


PUTS = (
    Put(
        "CFDocuments",
        CFDocument,
        ("document", "CFDocument"),
        wrapped=False,
        store=store.put_document,
        example=examples.DOCUMENT,
    ),
    Put(
        "CFItems",
        CFItem,
        ("item", "CFItem"),
        wrapped=True,
        store=store.put_item,
        example=examples.ITEM,
    ),
    Put(
        "CFItemTypes",
        CFItemType,
        ("itemType", "CFItemType"),
        wrapped=False,
        store=store.put_item_type,
        example=examples.ITEM_TYPE,
    ),
    # The path names the association, though GET of the same path takes an item's identifier.
    Put(
        "CFItemAssociations",
        CFAssociation,
        ("association", "CFAssociation"),
        wrapped=True,
        store=store.put_association,
        example=examples.ASSOCIATION,
    ),
)


class _StoredDocument(CFPckgDocument):
    """A document that is put again as it is answered: one from a package may lack caseVersion."""

    CFPackageURI: LinkURI


def writing_routes(profile: Profile) -> Routes:
    """The PUTs of the guide, which every profile that writes offers."""
    routes = Routes()
    for put in PUTS:
        _add(routes, put, profile)
    return routes


async def _read(request: Request, put: Put, identifier: str, raw: bytes) -> ParsedBody[Any]:
    try:
        return await parse_body(request, raw, lambda: parse(put.schema, raw, put.wrappers))
    except UnprocessableContent as error:
        problems = [(one["path"].rpartition(".")[2], one["message"]) for one in error.problems]
        if problems != [("caseVersion", REQUIRED)] or put.schema is not CFDocument:
            raise
        if not await store.lacks_case_version(get_state(request).database, identifier):
            raise
    return await parse_body(request, raw, lambda: parse(_StoredDocument, raw, put.wrappers))


def _add(routes: Routes, put: Put, profile: Profile) -> None:
    async def replace(identifier: Identifier, request: Request, _: WriteAccess) -> Response:
        raw = await read_body(request)
        body = await _read(request, put, identifier, raw)
        require_same_identifier(identifier, body.entity.identifier)
        origin = find_body_origin(request, profile, raw)
        await put.store(
            get_state(request).database, body.entity, path_prefix=body.path_prefix, origin=origin
        )
        return Response(status_code=CREATED)

    name = put.schema.__name__
    schema, shown = ref(name + INPUT), put.example
    if put.wrapped:
        schema, shown = documents.wrapped(put.wrappers[0], schema), {put.wrappers[0]: shown}
    routes.add(
        f"/{put.plural}/{{sourcedId}}",
        replace,
        methods=["PUT"],
        status_code=CREATED,
        response_class=Response,  # whose kind of content is none
        name=f"put{name}",
        summary=f"Create or replace one {name}",
        responses=documents.responses(CREATED, "Stored; no body.", None, 400, 409, 413, 422),
        openapi_extra=documents.request_body(schema, shown),
    )

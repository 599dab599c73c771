"""CFPackages: a whole framework at once, read, uploaded, replaced, or read as a tree."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from dataclasses import replace as replaced
from typing import Any
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from ..case.package import Package, read_package
from ..case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS
from ..db.framework import document_of_package, open_framework
from ..db.upload import Mode, write_package
from ..query import params
from ..repair.reader import Repair, read_repaired
from . import docs, examples
from .answers import JSON, answer, read_body, refuse_other_id, renderer
from .deps import Reader, Services, Writer, services
from .groups import structured_content
from .profiles import Profile
from .rendering import Renderer
from .resources import Identifier
from .schemas import ref

Fields = tuple[str, ...] | None


def package_routes(profile: Profile) -> APIRouter:
    """GET, POST and PUT of CFPackages, and GET of their groups."""
    router = APIRouter()

    async def read_one(identifier: Identifier, request: Request, _: Reader) -> Response:
        fields = _selection(request, PACKAGE_FIELDS)
        pieces = _package(services(request), renderer(request, profile), identifier, fields)
        return await _streamed(pieces)

    async def read_groups(identifier: Identifier, request: Request, _: Reader) -> Response:
        fields = _selection(request, GROUP_FIELDS)
        pieces = _groups(services(request), renderer(request, profile), identifier, fields)
        return await _streamed(pieces)

    async def create(request: Request, _: Writer) -> Response:
        package, repairs = await _read(request)
        result = await _upload(request, package, "create", repairs)
        where = f"{profile.prefix}/CFPackages/{quote(package.document_identifier, safe='')}"
        location = services(request).settings.base_url + where
        return answer(result, 201, {"Location": location})

    async def replace(identifier: Identifier, request: Request, _: Writer) -> Response:
        package, repairs = await _read(request)
        if identifier not in {package.document_identifier, package.package_identifier}:
            owner = await document_of_package(services(request).database, identifier)
            refuse_other_id(owner or identifier, package.document_identifier)
        return answer(await _upload(request, package, "replace", repairs))

    _add_read(router, "", read_one, "CFPackage", profile)
    if profile.writes:
        _add_read(router, "/groups", read_groups, "CFPackageWithGroups", profile)
        _add_writes(router, create, replace)
    return router


PACKAGE_FIELDS = (
    "identifier",
    "sourcedId",
    "CFDocument",
    "CFItems",
    "CFAssociations",
    "CFDefinitions",
    "CFRubrics",
    "extensions",
)
GROUP_FIELDS = ("identifier", "sourcedId", "CFDocument", "structuredContent")


def _selection(request: Request, allowed: tuple[str, ...]) -> Fields:
    return params.read_names(request.query_params.multi_items(), allowed)


async def _package(
    held: Services, render: Renderer, identifier: str, fields: Fields
) -> AsyncIterator[bytes]:
    async with open_framework(held.database, identifier) as framework:
        async for piece in render.package(framework, fields):
            yield piece


async def _groups(
    held: Services, render: Renderer, identifier: str, fields: Fields
) -> AsyncIterator[bytes]:
    async with open_framework(held.database, identifier) as framework:
        inside = replaced(render, nodes=framework.nodes)
        (document,) = await inside.packed(DOCUMENTS, [framework.document])
        items, associations = [
            [
                body
                async for bodies in framework.bodies(resource)
                for body in await inside.packed(resource, bodies)
            ]
            for resource in (ITEMS, ASSOCIATIONS)
        ]
    package = render.package_identifier(framework)
    head = {"identifier": package, "sourcedId": package, "CFDocument": document}
    # Beside the event loop: building the tree of a large framework takes a while.
    tree = await to_thread.run_sync(b"".join, structured_content(items, associations))
    for piece in render.with_groups(head, iter([tree]), fields):
        yield piece


async def _streamed(pieces: AsyncIterator[bytes]) -> Response:
    """A JSON answer piece by piece, begun before its status is sent: a 404 is still a 404."""
    first = await anext(pieces)

    async def all_pieces() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return StreamingResponse(all_pieces(), media_type=JSON)


async def _read(request: Request) -> tuple[Package, list[Repair] | None]:
    """The uploaded package, and what was repaired in it if ``?repair=true`` asks for that.

    Validated beside the event loop, which others need meanwhile.
    """
    raw = await read_body(request)
    if request.query_params.get("repair", "").lower() == "true":
        return await to_thread.run_sync(read_repaired, raw)
    return await to_thread.run_sync(read_package, raw), None


async def _upload(
    request: Request, package: Package, mode: Mode, repairs: list[Repair] | None
) -> dict[str, Any]:
    written = await write_package(services(request).database, package, mode)
    done = "created" if written.created else "replaced"
    stats = {
        "documents": 1,
        "items": package.count(ITEMS.name),
        "associations": package.count(ASSOCIATIONS.name),
    }
    result = {"documentId": package.document_identifier, "stats": stats, "success": True}
    if repairs is not None:
        result["repairs"] = [asdict(repair) for repair in repairs]
    return {
        "success": True,
        "message": f"CFPackage {done}: {stats['items']} items, "
        f"{stats['associations']} associations",
        "result": result,
    }


SUMMARIES = {
    "CFPackage": "A whole framework",
    "CFPackageWithGroups": "A whole framework as a tree",
}


def _add_read(router: APIRouter, path: str, handler: Any, name: str, profile: Profile) -> None:
    schema = ref(name)
    content = docs.wrapped(name, schema) if profile.wraps else schema
    described = f"{SUMMARIES[name]}; sourcedId names the package or its document."
    router.add_api_route(
        f"/CFPackages/{{sourcedId}}{path}",
        handler,
        name=f"get{name}",
        summary=SUMMARIES[name],
        description=described,
        responses=docs.responses(200, described, docs.json_content(content), 400, 404),
        openapi_extra={"parameters": docs.entity_parameters(profile)},
    )


def _add_writes(router: APIRouter, create: Any, replace: Any) -> None:
    body = docs.request_body(ref("CFPackage"), examples.PACKAGE)
    body |= {"parameters": [docs.REPAIR_PARAMETER]}
    result = docs.json_content(ref("CFPackageUploadResult"))
    router.add_api_route(
        "/CFPackages",
        create,
        methods=["POST"],
        status_code=201,
        name="postCFPackage",
        summary="Upload a new framework",
        responses=docs.responses(201, "Stored.", result, 400, 409, 413, 422),
        openapi_extra=body,
    )
    router.add_api_route(
        "/CFPackages/{sourcedId}",
        replace,
        methods=["PUT"],
        name="putCFPackage",
        summary="Replace a whole framework: what is missing is deleted",
        responses=docs.responses(200, "Replaced.", result, 400, 404, 409, 413, 422),
        openapi_extra=body,
    )

"""CFPackages: a whole framework at once, read, uploaded, replaced, or read as a tree."""

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from dataclasses import replace as replaced
from functools import partial
from typing import Any
from urllib.parse import quote

from anyio import to_thread
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from ...case.package import Package, UploadedCFPackage
from ...case.package_stream import parse_package_lazily
from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS
from ...case.stored_form import BodyOrigin
from ...db.read.package import FrameworkSnapshot, find_document_of_package, framework_snapshot
from ...db.read.revisions import Revision, Revisions, fetch_revision
from ...db.write.package import Mode, write_package
from ...exceptions import CaseServerError
from ...query import params
from ...repair.reader import Repair, read_repaired
from ..body_origin import find_body_origin
from ..conditional import is_not_modified, representation_hash, validator_headers
from ..dependencies import CHANGES, ReadAccess, WriteAccess, get_state
from ..openapi import documents, examples
from ..openapi.schemas import INPUT, ref
from ..profiles import Profile
from ..rendering.package_tree import (
    AssociationFields,
    TreeItem,
    iter_tree_json,
    parse_association,
    parse_item,
)
from ..rendering.renderer import Renderer
from ..request_body import read_body, upload_slot
from ..response_cache import CachedResponse
from ..responses import (
    JSON,
    get_renderer,
    json_response,
    negotiate_encoding,
    require_same_identifier,
)
from ..routing import Routes
from .entities import Identifier

Fields = tuple[str, ...] | None


def package_routes(profile: Profile) -> Routes:
    """GET, POST and PUT of CFPackages, and GET of their groups."""
    routes = Routes()

    async def read_one(identifier: Identifier, request: Request, _: ReadAccess) -> Response:
        fields = _selection(request, profile, PACKAGE_FIELDS)
        render = get_renderer(request, profile)
        return await _kept(request, render, identifier, (_package, fields))

    async def read_groups(identifier: Identifier, request: Request, _: ReadAccess) -> Response:
        fields = _selection(request, profile, GROUP_FIELDS)
        render = get_renderer(request, profile)
        return await _kept(request, render, identifier, (_groups, fields))

    async def create(request: Request, _: WriteAccess) -> Response:
        raw = await read_body(request)
        async with upload_slot(request):
            package, repairs = await _read(request, raw)
            origin = find_body_origin(request, profile, raw)
            result = await _upload(request, package, "create", repairs, origin)
        where = f"{profile.prefix}/CFPackages/{quote(package.document_identifier, safe='')}"
        location = get_state(request).settings.base_url + where
        return json_response(result, 201, {"Location": location})

    async def replace(identifier: Identifier, request: Request, _: WriteAccess) -> Response:
        raw = await read_body(request)
        async with upload_slot(request):
            package, repairs = await _read(request, raw)
            if identifier not in {package.document_identifier, package.package_identifier}:
                owner = await find_document_of_package(get_state(request).database, identifier)
                require_same_identifier(owner or identifier, package.document_identifier)
            origin = find_body_origin(request, profile, raw)
            return json_response(await _upload(request, package, "replace", repairs, origin))

    _add_read(routes, "", read_one, "CFPackage", profile)
    if profile.writes:
        _add_read(routes, "/groups", read_groups, "CFPackageWithGroups", profile)
        _add_writes(routes, create, replace)
    return routes


PACKAGE_IDS = ("identifier", "sourcedId")
PACKAGE_FIELDS = (
    *PACKAGE_IDS,
    "CFDocument",
    "CFItems",
    "CFAssociations",
    "CFDefinitions",
    "CFRubrics",
    "extensions",
)
GROUP_FIELDS = (*PACKAGE_IDS, "CFDocument", "structuredContent")


def _selection(request: Request, profile: Profile, allowed: tuple[str, ...]) -> Fields:
    if not request.scope["query_string"]:
        return None
    asked = request.query_params.multi_items()
    if not profile.sourced_ids:  # packages of the standard have no identifier of their own
        allowed = tuple(name for name in allowed if name not in PACKAGE_IDS)
    return params.parse_field_names(asked, allowed, profile.dialect())


async def _package(
    render: Renderer, framework: FrameworkSnapshot, fields: Fields
) -> AsyncIterator[bytes]:
    async for piece in render.iter_package(framework, fields):
        yield piece


async def _groups(
    render: Renderer, framework: FrameworkSnapshot, fields: Fields
) -> AsyncIterator[bytes]:
    inside = replaced(render, find_local_nodes=framework.find_nodes)
    (document,) = await inside.to_package_objects(DOCUMENTS, [framework.document])
    items: dict[str, TreeItem] = {}
    async for bodies in framework.iter_bodies(ITEMS, prefetch=True):
        items.update(map(parse_item, bodies, await inside.to_json_prefixes(ITEMS, bodies)))
    read = framework.iter_bodies(ASSOCIATIONS, prefetch=True)
    relations = [parse_association(body) async for bodies in read for body in bodies]
    package = render.package_identifier(framework)
    head = {"identifier": package, "sourcedId": package, "CFDocument": document}
    async for piece in render.iter_tree_package(head, _tree(items, relations), fields):
        yield piece


async def _tree(
    items: dict[str, TreeItem], relations: list[AssociationFields]
) -> AsyncIterator[bytes]:
    """The tree, piece by piece, built beside the event loop: of a large one it takes long."""
    content = iter_tree_json(items, relations)
    while piece := await to_thread.run_sync(next, content, b""):
        yield piece


async def _kept(
    request: Request,
    render: Renderer,
    identifier: str,
    what: tuple[Callable[[Renderer, FrameworkSnapshot, Fields], AsyncIterator[bytes]], Fields],
) -> Response:
    """The answer that is kept for this request, made anew when something was written since."""
    held, (write, fields) = get_state(request), what
    now = await held.revisions.current(identifier)
    key = (write.__name__, render.profile.name, render.base_url, render.include_extensions, fields)
    form = representation_hash(*key)
    if await is_not_modified(request, held.revisions, now, form):
        return Response(None, 304, validator_headers(now, form))

    async def produce(copy: CachedResponse) -> AsyncIterator[bytes]:
        async with framework_snapshot(held.database, now.document_identifier) as framework:
            copy.revision = await fetch_revision(framework.connection, now.document_identifier)
            async for piece in write(render, framework, fields):
                yield piece

    place = (now.document_identifier, *key)
    copy = held.response_cache.get(place)
    if copy is None or not await _is_fresh(copy, held.revisions, now):
        # One of those who waited makes the next, which the others share: it begins after all asked.
        newer = held.response_cache.get(place)
        copy = newer if newer and newer is not copy else held.response_cache.start(place, produce)
        await copy.wait_for_first_chunk()
    return await _sent(request, copy, form)


async def _is_fresh(copy: CachedResponse, revisions: Revisions, now: Revision) -> bool:
    """Whether a copy is of a state that is still that of the store."""
    is_to_come = not copy.has_started
    try:
        await copy.wait_for_first_chunk()
    except CaseServerError:
        return False
    if is_to_come:
        # Of the state at a moment after this was asked; writers never leave such readers alone.
        return True
    if copy.revision is None or not await revisions.is_equivalent(copy.revision, now):
        return False
    copy.revision = now
    return True


async def _sent(request: Request, copy: CachedResponse, form: str) -> Response:
    """A copy in the encoding its client likes best."""
    assert copy.revision is not None
    headers = {**validator_headers(copy.revision, form), "Vary": "Accept-Encoding"}
    offered = ("zstd", "gzip") if copy.is_complete else ("gzip",)
    encoding = negotiate_encoding(request.headers.get("accept-encoding", ""), offered)
    if encoding != "identity":
        headers["Content-Encoding"] = encoding
    if encoding == "zstd":
        return Response(await copy.zstd_bytes(), headers=headers, media_type=JSON)
    if encoding == "gzip" and copy.is_complete:
        return Response(copy.gzip_bytes(), headers=headers, media_type=JSON)
    pieces = copy.iter_gzip() if encoding == "gzip" else copy.iter_identity()
    return StreamingResponse(pieces, headers=headers, media_type=JSON)


async def _read(request: Request, raw: bytes) -> tuple[Package, list[Repair] | None]:
    """The uploaded package, and what was repaired in it if ``?repair=true`` asks for that.

    Read beside the event loop, which others need meanwhile; without repair, all but its head is
    read while it is written.
    """
    if request.query_params.get("repair", "").lower() == "true":
        return await to_thread.run_sync(partial(read_repaired, raw, schema=UploadedCFPackage))
    return await to_thread.run_sync(parse_package_lazily, raw), None


async def _upload(
    request: Request, package: Package, mode: Mode, repairs: list[Repair] | None, origin: BodyOrigin
) -> dict[str, Any]:
    written = await write_package(get_state(request).database, package, mode, origin=origin)
    done = "created" if written.created else "replaced"
    stats = {
        "documents": 1,
        "items": written.sent[ITEMS.name],
        "associations": written.sent[ASSOCIATIONS.name],
    }
    changes = written.counts._asdict()
    CHANGES.set(changes)
    result = {
        "documentId": package.document_identifier,
        "stats": stats,
        "changes": changes,
        "success": True,
    }
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


def _add_read(routes: Routes, path: str, handler: Any, name: str, profile: Profile) -> None:
    schema = ref(name)
    content = documents.wrapped(name, schema) if profile.wraps else schema
    described = f"{SUMMARIES[name]}; sourcedId names the package or its document."
    routes.add(
        f"/CFPackages/{{sourcedId}}{path}",
        handler,
        name=f"get{name}",
        summary=SUMMARIES[name],
        description=described,
        responses=documents.responses(200, described, documents.json_content(content), 400, 404),
        openapi_extra={"parameters": documents.entity_parameters(profile)},
    )


def _add_writes(routes: Routes, create: Any, replace: Any) -> None:
    body = documents.request_body(ref("CFPackage" + INPUT), examples.PACKAGE)
    body |= {"parameters": [documents.REPAIR_PARAMETER]}
    result = documents.json_content(ref("CFPackageUploadResult"))
    routes.add(
        "/CFPackages",
        create,
        methods=["POST"],
        status_code=201,
        name="postCFPackage",
        summary="Upload a new framework",
        responses=documents.responses(201, "Stored.", result, 400, 409, 413, 422),
        openapi_extra=body,
    )
    routes.add(
        "/CFPackages/{sourcedId}",
        replace,
        methods=["PUT"],
        name="putCFPackage",
        summary="Replace a whole framework: what is missing is deleted",
        responses=documents.responses(200, "Replaced.", result, 400, 404, 409, 413, 422),
        openapi_extra=body,
    )

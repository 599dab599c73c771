"""CFPackages: a whole framework, read as a package or as a tree, uploaded, or replaced."""

from dataclasses import asdict
from functools import partial
from typing import Any
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from ...case.model import CFPackage
from ...case.package import PreparedPackage, UploadedCFPackage
from ...case.package_stream import parse_package_lazily
from ...case.resources import ASSOCIATIONS, ITEMS
from ...db.read.package import find_document_id
from ...db.write.upload.package import UploadResult, write_package
from ...formatting import format_count
from ...query import params
from ...repair.reader import repair_and_parse
from ...repair.repair_log import RepairSummary
from ..caching.package_response import Fields, PackageFormat, respond_with_package
from ..dependencies import (
    CHANGES,
    DatabaseDep,
    ProfileDep,
    ReadAccess,
    RendererDep,
    SourcedId,
    StateDep,
    WriteAccess,
)
from ..echoed_values import EchoedValuesDep
from ..openapi import examples, operations
from ..rendering.package_tree import iter_tree_chunks
from ..rendering.renderer import Renderer
from ..request_body import RawBody, upload_slot
from ..responses import json_response, require_same_identifier
from ..routing import CompiledRoute

router = APIRouter(prefix="/CFPackages", route_class=CompiledRoute)
vendor_router = APIRouter(prefix="/CFPackages", route_class=CompiledRoute)

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
TREE_FIELDS = (*PACKAGE_IDS, "CFDocument", "structuredContent")

PACKAGE_DESCRIPTION = "A whole framework; sourcedId is that of the package or of its document."
TREE_DESCRIPTION = (
    "A whole framework as a tree; sourcedId is that of the package or of its document."
)

UPLOAD_EXTRA = operations.describe_request_body("CFPackage", examples.PACKAGE)
UPLOAD_EXTRA |= operations.describe_query_parameters("repair")


@router.get(
    "/{sourcedId}",
    operation_id="getCFPackage",
    summary="Get a whole framework",
    description=PACKAGE_DESCRIPTION,
    response_model=CFPackage,
    response_description=PACKAGE_DESCRIPTION,
    responses=operations.describe_error_responses(400, 404),
    openapi_extra=operations.describe_query_parameters(*operations.ENTITY_PARAMETERS),
)
async def get_package(
    _caller: ReadAccess,
    sourced_id: SourcedId,
    request: Request,
    state: StateDep,
    renderer: RendererDep,
) -> Response:
    """Return a whole framework."""
    fields = _parse_selected_fields(request, renderer, PACKAGE_FIELDS)
    view = PackageFormat("CFPackage", Renderer.iter_package_json, fields)
    return await respond_with_package(request, state, renderer, sourced_id, view)


@vendor_router.get(
    "/{sourcedId}/groups",
    operation_id="getCFPackageWithGroups",
    summary="Get a whole framework as a tree",
    description=TREE_DESCRIPTION,
    responses=operations.describe_success(200, TREE_DESCRIPTION, "CFPackageWithGroups")
    | operations.describe_error_responses(400, 404),
    openapi_extra=operations.describe_query_parameters(*operations.ENTITY_PARAMETERS),
)
async def get_package_tree(
    _caller: ReadAccess,
    sourced_id: SourcedId,
    request: Request,
    state: StateDep,
    renderer: RendererDep,
) -> Response:
    """Return a package as a tree: each item contains its children (CFPackageWithGroups)."""
    fields = _parse_selected_fields(request, renderer, TREE_FIELDS)
    view = PackageFormat("CFPackageWithGroups", iter_tree_chunks, fields)
    return await respond_with_package(request, state, renderer, sourced_id, view)


def _parse_selected_fields(
    request: Request, renderer: Renderer, allowed_fields: tuple[str, ...]
) -> Fields:
    if not request.scope["query_string"]:
        return None
    profile, query = renderer.profile, request.query_params.multi_items()
    if not profile.sourced_ids:  # packages of the standard have no identifier of their own
        allowed_fields = tuple(name for name in allowed_fields if name not in PACKAGE_IDS)
    return params.parse_field_names(query, allowed_fields, profile.get_query_rules())


@vendor_router.post(
    "",
    status_code=201,
    operation_id="postCFPackage",
    summary="Upload a new framework",
    responses=operations.describe_success(201, "Stored.", "CFPackageUploadResult")
    | operations.describe_error_responses(400, 409, 413, 422),
    openapi_extra=UPLOAD_EXTRA,
)
async def create_package(
    _caller: WriteAccess,
    request: Request,
    state: StateDep,
    profile: ProfileDep,
    raw_body: RawBody,
    echoed: EchoedValuesDep,
) -> Response:
    """Store a new framework."""
    async with upload_slot(request):
        package, repairs = await _parse_upload(request, raw_body)
        result = await write_package(state.database, package, "create", echoed=echoed)
    path = f"{profile.prefix}/CFPackages/{quote(package.document_identifier, safe='')}"
    headers = {"Location": state.settings.base_url + path}
    return json_response(_build_upload_response(package, result, repairs), 201, headers)


@vendor_router.put(
    "/{sourcedId}",
    operation_id="putCFPackage",
    summary="Replace a whole framework",
    responses=operations.describe_success(200, "Replaced.", "CFPackageUploadResult")
    | operations.describe_error_responses(400, 404, 409, 413, 422),
    openapi_extra=UPLOAD_EXTRA,
)
async def replace_package(
    _caller: WriteAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    raw_body: RawBody,
    echoed: EchoedValuesDep,
) -> Response:
    """Replace an existing framework; entities that the new package lacks are deleted.

    The response is 404 if the framework does not exist.
    """
    async with upload_slot(request):
        package, repairs = await _parse_upload(request, raw_body)
        if sourced_id not in {package.document_identifier, package.package_identifier}:
            document = await find_document_id(db, sourced_id)
            require_same_identifier(document or sourced_id, package.document_identifier)
        result = await write_package(db, package, "replace", echoed=echoed)
    return json_response(_build_upload_response(package, result, repairs))


async def _parse_upload(
    request: Request, raw_body: bytes
) -> tuple[PreparedPackage, list[RepairSummary] | None]:
    """Parse an uploaded package in a thread; with ``?repair=true``, also repair it.

    Returns (package, repairs), where ``repairs`` has a ``RepairSummary`` for each kind of repair.
    Without repair, ``repairs`` is None, and most entities are parsed later, while they are written
    to the database.
    """
    if request.query_params.get("repair", "").lower() == "true":
        return await to_thread.run_sync(
            partial(repair_and_parse, raw_body, schema=UploadedCFPackage)
        )
    return await to_thread.run_sync(parse_package_lazily, raw_body), None


def _build_upload_response(
    package: PreparedPackage, result: UploadResult, repairs: list[RepairSummary] | None
) -> dict[str, Any]:
    stats = {
        "documents": 1,
        "items": result.sent_counts[ITEMS.name],
        "associations": result.sent_counts[ASSOCIATIONS.name],
    }
    changes = result.counts._asdict()
    CHANGES.set(changes)  # for the log line of the request
    description = {
        "documentId": package.document_identifier,
        "stats": stats,
        "changes": changes,
        "success": True,
    }
    if repairs is not None:
        description["repairs"] = [asdict(repair) for repair in repairs]
    verb = "created" if result.is_created else "replaced"
    return {
        "success": True,
        "message": f"CFPackage {verb}: {format_count(stats['items'], 'item')}, "
        f"{format_count(stats['associations'], 'association')}",
        "result": description,
    }

"""The upload of a framework: check a file, report what it would change, then store it.

Only a checked file can be stored: the report contains the digest of the file, and storing requires
it. If storing would delete most of a framework, a checkbox that names the loss must be ticked.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ..api.dependencies import get_app_state
from ..case.package import PreparedPackage
from ..db.pool import Database
from ..db.read import entities, package_diff
from ..db.read.lists import frameworks
from ..db.write.upload.change_counts import ChangeCounts
from ..db.write.upload.loss_guard import DataLossError, describe_data_loss
from ..db.write.upload.package import UploadResult, write_package
from ..exceptions import BadRequest, CaseServerError, ContentTooLarge, Problem
from ..repair.reader import describe_file_error, repair_and_parse
from ..repair.repair_log import RepairSummary
from ..state import AppState
from . import auth
from .attributes import KINDS, EntityAttributes, parse_entity_attributes, summarize_entity
from .pages import PageRoute, render_page

MAX_LISTED_PROBLEMS = 200
MAX_LISTED_CHANGES = 100
"""Maximum number of entities listed for each kind of change."""

MAX_FORM_OVERHEAD_BYTES = 10_000
"""Maximum size of a form without its file."""


@dataclass(frozen=True)
class PlannedChange:
    """An entity that storing the uploaded file would add, change or delete, for its preview."""

    kind: str
    code: str
    summary: str
    previous_summary: str = ""
    """Its current statement or title, if that would change."""
    fields: Sequence[str] = ()
    """The fields that would change."""


@dataclass(frozen=True)
class ChangePreview:
    """The number and the first 100 of the entities that an upload would add, change or delete."""

    title: str
    total: int
    entities: list[PlannedChange]


class UploadForm(NamedTuple):
    """A submitted upload form: a file, the digest of its preview, and a confirmed data loss."""

    name: str
    raw: bytes
    checked_digest: str
    """Digest of the previewed file, empty without a preview."""
    confirmed_loss: str
    """The loss that the user confirmed, as the report describes it."""

    @property
    def digest(self) -> str:
        """Return the SHA-256 digest of the file in hexadecimal.

        A file is stored only if this equals ``checked_digest``.
        """
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(frozen=True)
class UploadReport:
    """The report on an uploaded file: what storing it would change, or why it cannot be stored."""

    form: UploadForm
    package: PreparedPackage | None = None
    repairs: Sequence[RepairSummary] = ()
    error: str = ""
    problems: Sequence[Problem] = ()
    status: int = 200
    """The HTTP status of the error."""
    stored_item_count: int | None = None
    """Number of items of the stored framework; None if the framework is new."""
    changes: Sequence[ChangePreview] = ()
    counts: ChangeCounts | None = None
    """Numbers of entities that would be added, changed, unchanged and deleted."""
    loss: str | None = None
    """The loss that must be confirmed, if most of the framework would be deleted."""


router = APIRouter(route_class=PageRoute, dependencies=[Depends(auth.require_write_scope)])


@router.get("/upload")
async def show_upload_form(request: Request) -> Response:
    """Show the empty upload form."""
    return await _render_form(request, None)


async def _render_form(
    request: Request, report: UploadReport | None, status: int = 200
) -> Response:
    return await render_page(
        request,
        "upload.html",
        status=status,
        title="Upload",
        report=report,
        max_listed_problems=MAX_LISTED_PROBLEMS,
        max_mb=get_app_state(request).settings.max_body_mb,
    )


@router.post("/upload/check")
async def preview_upload(request: Request) -> Response:
    """Show what storing the uploaded file would change, without storing the file."""
    form = await _parse_form(request)
    report = await _create_preview_report(get_app_state(request), form)
    return await _render_form(request, report)


@router.post("/upload/store")
async def store_upload(request: Request) -> Response:
    """Store an uploaded file that has been previewed, and redirect to its framework.

    Shows a preview instead if the file is not the previewed one, or if it would delete most of a
    framework and the user has not confirmed that.
    """
    app_state, form = get_app_state(request), await _parse_form(request)

    def require_confirmation(result: UploadResult) -> None:
        # The framework may have been written since the loss was confirmed.
        if (loss := describe_data_loss(result)) and loss != form.confirmed_loss:
            raise DataLossError(loss, result.counts)

    async def show_report() -> Response:
        report = await _create_preview_report(app_state, form)
        return await _render_form(request, report, 409 if report.package else report.status)

    if form.checked_digest != form.digest:
        return await show_report()
    try:
        package, _ = await to_thread.run_sync(repair_and_parse, form.raw)
        await write_package(app_state.database, package, guard=require_confirmation)
    except DataLossError:
        return await show_report()
    except CaseServerError as error:
        report = _create_error_report(form, error)
        return await _render_form(request, report, report.status)
    document = quote(package.document_identifier, safe="")
    return auth.redirect_to_page(request, f"/documents/{document}")


async def _create_preview_report(app_state: AppState, form: UploadForm) -> UploadReport:
    """Return an ``UploadReport``: what storing a file would change, or why it is invalid.

    Stores the file in a transaction, which is rolled back.
    """
    try:
        package, repairs = await to_thread.run_sync(repair_and_parse, form.raw)
        result = await write_package(app_state.database, package, dry_run=True)
    except CaseServerError as error:
        return _create_error_report(form, error)
    document, loss = package.document_identifier, describe_data_loss(result)
    report = UploadReport(form, package, repairs, counts=result.counts, loss=loss)
    if not await entities.fetch_node_details(app_state.database, [document]):
        return report
    return replace(
        report,
        stored_item_count=await frameworks.count_items(app_state.database, document),
        changes=await _preview_changes(app_state.database, package),
    )


def _create_error_report(form: UploadForm, error: CaseServerError) -> UploadReport:
    # The form itself is valid; the file in it is not.
    status = 422 if isinstance(error, BadRequest) else error.status
    message = describe_file_error(error)
    return UploadReport(form, error=message, problems=error.problems, status=status)


async def _preview_changes(database: Database, package: PreparedPackage) -> list[ChangePreview]:
    """Return the changes that storing a package would make, as three ``ChangePreview`` objects.

    They are about the added, the changed and the deleted entities, in this order. Each contains the
    number of these entities and the first 100 of them.
    """
    diff = await package_diff.diff_package(database, package)
    listed_keys = [keys[:MAX_LISTED_CHANGES] for keys in diff]
    all_listed = {key for keys in listed_keys for key in keys}
    rows = (((row.kind, row.identifier), row.body) for row in package.rows)
    new = {key: parse_entity_attributes(body) for key, body in rows if key in all_listed}
    bodies = await package_diff.fetch_bodies(database, sorted(all_listed))
    old = {key: parse_entity_attributes(body) for key, body in bodies.items()}
    previews = []
    for title, keys, shown_keys in zip(
        ("Added", "Changed", "Deleted"), diff, listed_keys, strict=True
    ):
        changes = [_describe_change(key[0], old.get(key), new.get(key)) for key in shown_keys]
        previews.append(ChangePreview(title, len(keys), changes))
    return previews


def _describe_change(
    kind: str, old: EntityAttributes | None, new: EntityAttributes | None
) -> PlannedChange:
    attributes = new or old or EntityAttributes()
    code, summary = attributes["humanCodingScheme"] or "", summarize_entity(attributes)
    change = PlannedChange(KINDS.get(kind, "item"), code, summary)
    if not (old and new):
        return change
    previous = summarize_entity(old)
    fields = sorted(name for name in {*old, *new} if old[name] != new[name])
    previous_summary = previous if previous != summary else ""
    return replace(change, previous_summary=previous_summary, fields=fields)


async def _parse_form(request: Request) -> UploadForm:
    """Parse the submitted upload form into an ``UploadForm``.

    Raises ``BadRequest`` if the form is invalid or contains no file, ``ContentTooLarge`` if it is
    too large, and ``Forbidden`` if it was sent from a page of another server.
    """
    auth.require_same_origin(request)
    form = await _parse_multipart(request)
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.filename:
            raise BadRequest("choose a file first: a CASE package as JSON")
        digest, loss = (str(form.get(name, "")) for name in ("checked", "confirmed_loss"))
        return UploadForm(file.filename, await file.read(), digest, loss)
    finally:
        await form.close()


async def _parse_multipart(request: Request) -> FormData:
    megabytes = get_app_state(request).settings.max_body_mb
    limit = megabytes * 1_000_000 + MAX_FORM_OVERHEAD_BYTES

    async def limited_stream() -> AsyncIterator[bytes]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                problem = f"the file is larger than the limit of {megabytes} MB"
                raise ContentTooLarge(f"{problem}: use case-server import")
            yield chunk

    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        raise BadRequest("the form must be sent as multipart/form-data")
    chunks: Any = limited_stream()
    try:
        return await MultiPartParser(request.headers, chunks, max_files=1, max_fields=10).parse()
    except (MultiPartException, KeyError) as error:
        raise BadRequest(f"invalid form: {error}; open the page again and repeat") from error

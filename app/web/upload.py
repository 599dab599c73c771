"""Upload: a file is checked, with a report of what would change or be refused; then it is stored.

Only a file that was checked is stored: the report carries its digest, and storing asks for it. A
file that would delete most of a framework also needs a box ticked that names the loss.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ..api.dependencies import AppState, get_state
from ..case.package import Package
from ..case.resources import ASSOCIATIONS, ITEMS
from ..db.read import entities, frameworks
from ..db.write.change_counts import ChangeCounts
from ..db.write.loss_guard import DataLossRefused, describe_data_loss
from ..db.write.package import UploadResult, write_package
from ..exceptions import BadRequest, CaseServerError, ContentTooLarge, Problem
from ..repair.reader import read_repaired
from ..repair.repair_log import Repair
from . import auth
from .pages import Page, page
from .upload_diff import Part, parts_of

LISTED = 200
"""How many problems are written out."""

FORM_ITSELF = 10_000
"""The bytes of a form around its file."""


@dataclass(frozen=True)
class Report:
    """What became of reading a file."""

    name: str
    size: int
    digest: str
    package: Package | None = None
    repairs: tuple[Repair, ...] = ()
    refusal: str = ""
    problems: tuple[Problem, ...] = ()
    status: int = 200
    """The HTTP status of its refusal."""
    present: int | None = None
    """How many items the framework has here already, when it is here."""
    changes: tuple[Part, ...] = ()
    """What storing it would change of that."""
    counts: ChangeCounts | None = None
    """How many entities storing it would add, change, leave unchanged and delete."""
    loss: str | None = None
    """What of the framework would be lost, if that is most of it; storing needs a confirmation."""

    @property
    def items(self) -> int:
        """How many items would be stored."""
        return self.package.count(ITEMS.name) if self.package else 0

    @property
    def associations(self) -> int:
        """How many associations would be stored."""
        return self.package.count(ASSOCIATIONS.name) if self.package else 0


def upload_routes() -> APIRouter:
    """Choosing a file, its report, and storing it."""
    router = APIRouter(route_class=Page, dependencies=[Depends(auth.writer)])
    router.add_api_route("/upload", read_form)
    router.add_api_route("/upload/check", check, methods=["POST"])
    router.add_api_route("/upload/store", store, methods=["POST"])
    return router


async def read_form(request: Request) -> Response:
    """The form."""
    return await _form(request, None)


async def _form(request: Request, report: Report | None, status: int = 200) -> Response:
    return await page(
        request,
        "upload.html",
        status=status,
        title="Upload",
        report=report,
        listed=LISTED,
        max_mb=get_state(request).settings.max_body_mb,
    )


async def check(request: Request) -> Response:
    """Read a file and report what storing it would do; nothing is written."""
    upload = await _read_upload(request)
    return await _form(request, await _report(get_state(request), upload.name, upload.raw))


async def store(request: Request) -> Response:
    """Store a file that was checked, and show its tree."""
    held, upload = get_state(request), await _read_upload(request)

    def refuse_unconfirmed(written: UploadResult) -> None:
        # The framework may have been written since the loss was confirmed.
        if (loss := describe_data_loss(written)) and loss != upload.confirmed_loss:
            raise DataLossRefused(loss, written.counts)

    async def show_report() -> Response:
        report = await _report(held, upload.name, upload.raw)
        return await _form(request, report, 409 if report.package else report.status)

    # A file that was not checked is reported on first, whatever was sent with it.
    if upload.checked != _digest(upload.raw):
        return await show_report()
    try:
        package, _ = await to_thread.run_sync(read_repaired, upload.raw)
        await write_package(held.database, package, guard=refuse_unconfirmed)
    except DataLossRefused:
        return await show_report()
    except CaseServerError as error:
        report = _refused(upload.name, upload.raw, error)
        return await _form(request, report, report.status)
    document = quote(package.document_identifier, safe="")
    return auth.redirect(request, f"/documents/{document}")


async def _report(held: AppState, name: str, raw: bytes) -> Report:
    """Report what storing a file would do, found out by a dry run."""
    try:
        package, repairs = await to_thread.run_sync(read_repaired, raw)
        written = await write_package(held.database, package, dry_run=True)
    except CaseServerError as error:
        return _refused(name, raw, error)
    document = package.document_identifier
    report = Report(
        name,
        len(raw),
        _digest(raw),
        package,
        tuple(repairs),
        counts=written.counts,
        loss=describe_data_loss(written),
    )
    if not await entities.locate_nodes(held.database, [document]):
        return report
    present = await frameworks.count_items(held.database, document)
    changes = tuple(await parts_of(held.database, package))
    return replace(report, present=present, changes=changes)


def _refused(name: str, raw: bytes, error: CaseServerError) -> Report:
    return Report(
        name,
        len(raw),
        _digest(raw),
        refusal=error.description,
        problems=tuple(error.problems),
        # The form was read; it is the file in it that cannot be.
        status=422 if isinstance(error, BadRequest) else error.status,
    )


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


class Upload(NamedTuple):
    """What the form sent."""

    name: str
    raw: bytes
    checked: str
    """The digest of the file that was checked."""
    confirmed_loss: str
    """The loss that its sender confirmed, in the words of the report."""


async def _read_upload(request: Request) -> Upload:
    """Read the form. Raises ``BadRequest`` when it holds no file."""
    form = await _read_form(request)
    try:
        auth.refuse_forgery(request, str(form.get("csrf", "")))
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.filename:
            raise BadRequest("choose a file first: a CASE package as JSON")
        checked, confirmed = (str(form.get(field, "")) for field in ("checked", "confirmed_loss"))
        return Upload(file.filename, await file.read(), checked, confirmed)
    finally:
        await form.close()


async def _read_form(request: Request) -> FormData:
    megabytes = get_state(request).settings.max_body_mb
    limit = megabytes * 1_000_000 + FORM_ITSELF

    async def limited() -> AsyncIterator[bytes]:
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise ContentTooLarge(
                    f"the file is larger than the {megabytes} MB this server reads"
                )
            yield piece

    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise BadRequest("this form must be sent as multipart/form-data")
    pieces: Any = limited()
    try:
        return await MultiPartParser(request.headers, pieces, max_files=1, max_fields=10).parse()
    except (MultiPartException, KeyError) as error:
        raise BadRequest(f"the form cannot be read: {error}") from error

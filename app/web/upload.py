"""Upload: a file is checked, and what would be repaired or refused is told; then it is stored.

Stored is only what was checked: the report carries the digest of the file, and storing asks for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ..api.deps import Services, services
from ..case.package import Package
from ..case.resources import ASSOCIATIONS, ITEMS
from ..db import overview
from ..db.upload import write_package
from ..errors import BadRequest, CaseServerError, Problem, TooLarge
from ..repair.findings import Repair
from ..repair.reader import read_repaired
from . import access
from .difference import Part, parts_of
from .pages import Page, page

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
    present: int | None = None
    """How many items the framework has here already, when it is here."""
    changes: tuple[Part, ...] = ()
    """What storing it would change of that."""

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
    router = APIRouter(route_class=Page, dependencies=[Depends(access.writer)])
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
        max_mb=services(request).settings.max_body_mb,
    )


async def check(request: Request) -> Response:
    """Read a file and tell what would become of it; nothing is written."""
    name, raw, _ = await _file(request)
    return await _form(request, await _report(services(request), name, raw))


async def store(request: Request) -> Response:
    """Store a file that was checked, and show its tree."""
    name, raw, checked = await _file(request)
    report = await _report(services(request), name, raw)
    # What was not seen to be right is shown first, whatever was sent with it.
    if report.package is None or checked != report.digest:
        return await _form(request, report, 422 if report.package is None else 409)
    try:
        await write_package(services(request).database, report.package)
    except CaseServerError as error:
        refused = Report(
            name,
            len(raw),
            report.digest,
            refusal=error.description,
            problems=tuple(error.problems),
        )
        return await _form(request, refused, error.status)
    document = quote(report.package.document_identifier, safe="")
    return RedirectResponse(f"/documents/{document}", 303)


async def _report(held: Services, name: str, raw: bytes) -> Report:
    digest = hashlib.sha256(raw).hexdigest()
    try:
        package, repairs = await to_thread.run_sync(read_repaired, raw)
    except CaseServerError as error:
        return Report(
            name, len(raw), digest, refusal=error.description, problems=tuple(error.problems)
        )
    document = package.document_identifier
    known = await overview.places(held.database, [document])
    if not known:
        return Report(name, len(raw), digest, package, tuple(repairs))
    present = await overview.number_of_items(held.database, document)
    changes = tuple(await parts_of(held.database, package))
    return Report(name, len(raw), digest, package, tuple(repairs), present=present, changes=changes)


async def _file(request: Request) -> tuple[str, bytes, str]:
    """The name and content of the file in a form, and the digest of what was checked."""
    form = await _read_form(request)
    try:
        access.refuse_forgery(request, str(form.get("csrf", "")))
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.filename:
            raise BadRequest("choose a file first: a CASE package as JSON")
        return file.filename, await file.read(), str(form.get("checked", ""))
    finally:
        await form.close()


async def _read_form(request: Request) -> FormData:
    megabytes = services(request).settings.max_body_mb
    limit = megabytes * 1_000_000 + FORM_ITSELF

    async def limited() -> AsyncIterator[bytes]:
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise TooLarge(f"the file is larger than the {megabytes} MB this server reads")
            yield piece

    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise BadRequest("this form must be sent as multipart/form-data")
    pieces: Any = limited()
    try:
        return await MultiPartParser(request.headers, pieces, max_files=1, max_fields=10).parse()
    except (MultiPartException, KeyError) as error:
        raise BadRequest(f"the form cannot be read: {error}") from error

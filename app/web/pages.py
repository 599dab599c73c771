"""Rendering of all pages: templates, response header fields and error pages."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import ContextVar
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias
from urllib.parse import quote, unquote, urlencode

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from .. import __version__
from ..api.dependencies import get_app_state
from ..api.exception_handlers import handle_http_exception
from ..api.profiles import is_profile_path
from ..auth.scopes import Scope
from ..exceptions import BadRequest, CaseServerError
from ..formats.csv import write_csv
from ..formatting import format_count
from ..query.params import MAX_OFFSET
from . import auth

if TYPE_CHECKING:
    from jinja2 import Environment

PACKAGE_DIR = Path(__file__).parent
STATIC_DIR = PACKAGE_DIR / "static"

FRAGMENT_HEADER = "x-fragment"
"""Header of script requests for the part of a page that changes, without the layout around it."""

PATH_PREFIX: ContextVar[str] = ContextVar("path_prefix", default="")
"""The path prefix of the current page. Macros of templates have no access to the request."""

Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]

PageFetch: TypeAlias = Callable[[int | None, int], Awaitable[list[Any]]]
"""Called with a limit and an offset; returns the rows, each with the ``total`` of the list."""

HEADERS = {
    # Nothing inline and nothing from other sites, so that a script in a framework cannot run.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no-referrer, browsers would send forms with Origin: null.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "private, no-store",
    "Vary": "X-Fragment",
}


@cache
def _hash_static_file(name: str) -> str:
    return hashlib.sha256((STATIC_DIR / name).read_bytes()).hexdigest()[:12]


def _build_static_url(name: str) -> str:
    """Return the URL of a static file, with a digest of the file as a query parameter.

    Because of the digest, browsers can cache the URL for a year.
    """
    return _add_path_prefix(f"/static/{name}?v={_hash_static_file(name)}")


def _add_path_prefix(path: str) -> str:
    return PATH_PREFIX.get() + path


def _build_path(*segments: str) -> str:
    """Return the URL path of a page from unencoded segments such as "documents" and "a b".

    Percent-encodes the segments, and puts the server's path prefix before them.
    """
    return _add_path_prefix("".join(f"/{quote(segment, safe='')}" for segment in segments))


def _format_query(**params: object) -> str:
    """Build the query string of a link, such as ``?q=maths&offset=50``, from keyword arguments.

    Parameters that are None, empty or 0 are omitted; without any, returns "".
    """
    params = {name: value for name, value in params.items() if value not in (None, "", 0)}
    return f"?{urlencode(params)}" if params else ""


@cache
def _get_environment() -> Environment:
    # Imported here, because importing Jinja, Markdown and LaTeX would delay the server's start.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415  see above

    from . import text  # noqa: PLC0415  see above

    environment = Environment(
        loader=FileSystemLoader(PACKAGE_DIR / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "static": _build_static_url,
        "path": _build_path,
        "url_path": _add_path_prefix,
        "query": _format_query,
        "version": __version__,
    }
    environment.filters |= {
        "rich": text.render_markdown,
        "line": text.render_markdown_line,
        "plain": text.to_plain_text,
        "number": "{:,}".format,
        "with_noun": format_count,
        "day": text.format_date,
        "timestamp": text.format_timestamp,
    }
    return environment


def compile_templates() -> None:
    """Compile all Jinja templates at startup, so that no request has to wait for that."""
    environment = _get_environment()
    for name in environment.list_templates():
        environment.get_template(name)


async def render_page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    title: str,
    layout: str = "layout.html",
    **values: Any,
) -> Response:
    """Render a template as an HTML response within the layout of the web UI.

    ``values`` are the variables of the template. A request with the header ``X-Fragment`` gets the
    template without the layout.
    """
    caller = await auth.get_signed_in_client(request)
    PATH_PREFIX.set(auth.get_path_prefix(request))
    html = (
        _get_environment()
        .get_template(template)
        .render(
            title=title,
            base="fragment.html" if is_fragment_request(request) else layout,
            is_signed_in=caller is not None and not auth.allows_anonymous(request),
            may_write=caller is not None and Scope.CREATEPUT in caller.scopes,
            test_mode=get_app_state(request).settings.test_mode,
            current_path=request.url.path,
            **values,
        )
    )
    return HTMLResponse(html, status)


def create_csv_response(filename: str, rows: Iterable[tuple[str | None, ...]]) -> Response:
    """Create a response that serves rows as a CSV download; the first row is the header.

    Each row is a tuple of strings or None.
    """
    file = io.BytesIO()
    write_csv(file, rows)
    return Response(
        file.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


async def fetch_page_and_total(
    fetch: PageFetch, limit: int | None, offset: int
) -> tuple[list[Any], int]:
    """Return (rows, total): the rows of one page and the number of rows of the whole list.

    ``fetch`` is called with ``limit`` and ``offset``, and returns rows that have a ``total``.
    """
    rows = await fetch(limit, offset)
    # Each row has the total. A page beyond the end has no row, so the first one is read as well.
    first_rows = await fetch(1, 0) if offset and not rows else rows
    return rows, first_rows[0]["total"] if first_rows else 0


def is_fragment_request(request: Request) -> bool:
    """Return whether a script requests a page without its layout (header ``X-Fragment``)."""
    return FRAGMENT_HEADER in request.headers


class PageRoute(APIRoute):
    """A FastAPI route of an HTML page, which reports errors as HTML pages instead of JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler, which renders errors as HTML and adds security headers."""
        handle = super().get_route_handler()

        async def respond(request: Request) -> Response:
            try:
                _reject_nul(request)
                response = await handle(request)
            except RequestValidationError as validation_error:
                names = sorted({str(problem["loc"][-1]) for problem in validation_error.errors()})
                error = BadRequest(f"invalid value in the address: {', '.join(names)}")
                response = await _render_error_page(request, error)
            except auth.LoginRequired:
                response = auth.redirect_to_page(request, auth.get_sign_in_path(request))
            except CaseServerError as error:
                response = await _render_error_page(request, error)
            return _add_security_headers(response)

        return respond


def _add_security_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def add_not_found_page(app: FastAPI) -> None:
    """Add an exception handler that returns HTML 404 pages for unknown paths outside the API."""

    async def respond(request: Request, error: Exception) -> Response:
        is_missing = isinstance(error, HTTPException) and error.status_code == HTTPStatus.NOT_FOUND
        wants_html = "text/html" in request.headers.get("accept", "")
        if not (is_missing and wants_html) or is_profile_path(request.scope["path"]):
            return await handle_http_exception(request, error)
        not_found = CaseServerError(f"There is no page at {request.url.path}.")
        return _add_security_headers(
            await render_page(
                request, "error.html", status=404, title="Page not found", error=not_found
            )
        )

    app.add_exception_handler(HTTPException, respond)


def _reject_nul(request: Request) -> None:
    """Raise ``BadRequest`` if the URL contains a NUL character, which Postgres rejects."""
    values = [request.url.path, *request.query_params.values()]
    if any("\x00" in unquote(value) for value in values):
        raise BadRequest("the address must not contain a NUL character")


async def _render_error_page(request: Request, error: CaseServerError) -> Response:
    response = await render_page(
        request, "error.html", status=error.status, title="That did not work", error=error
    )
    response.headers.update(error.headers)
    return response

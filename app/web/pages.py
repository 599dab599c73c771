"""Rendering of all pages: templates, response header fields and error pages."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, unquote, urlencode

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from .. import __version__
from ..api.dependencies import get_state
from ..api.exception_handlers import handle_http_exception
from ..api.profiles import is_profile_path
from ..exceptions import BadRequest, CaseServerError
from ..formats.csv import write_csv
from . import auth

if TYPE_CHECKING:
    from jinja2 import Environment, Template

PACKAGE_DIR = Path(__file__).parent
STATIC_DIR = PACKAGE_DIR / "static"

FRAGMENT_HEADER = "x-fragment"
"""Header of script requests for the part of a page that changes, without the layout around it."""

PATH_PREFIX: ContextVar[str] = ContextVar("path_prefix", default="")
"""The path prefix of the current page. Macros of templates have no access to the request."""

Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]

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


class _StaticUrls:
    """The URL paths of static files by name, each with a digest of the content."""

    def __init__(self) -> None:
        self._digests = {file.name: _digest(file) for file in STATIC_DIR.iterdir()}

    def __getitem__(self, name: str) -> str:
        return _url_path(f"/static/{name}?v={self._digests[name]}")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def _url_path(path: str) -> str:
    """Return the path of a page with the path prefix."""
    return PATH_PREFIX.get() + path


def _path(*segments: str) -> str:
    """Return the path of a page from its segments, percent-encoded, with the path prefix."""
    return _url_path("".join(f"/{quote(segment, safe='')}" for segment in segments))


def _query(**params: object) -> str:
    """Return the query of a link, without empty parameters."""
    params = {name: value for name, value in params.items() if value not in (None, "", 0)}
    return f"?{urlencode(params)}" if params else ""


@cache
def _environment() -> Environment:
    """Create the Jinja environment."""
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
        "static": _StaticUrls(),
        "path": _path,
        "url_path": _url_path,
        "query": _query,
        "version": __version__,
    }
    environment.filters |= {
        "rich": text.render_block,
        "line": text.render_line,
        "plain": text.to_plain_text,
        "day": text.format_day,
        "timestamp": text.format_timestamp,
    }
    return environment


def prepare() -> None:
    """Load all templates, which takes longer than rendering a page."""
    for name in _environment().list_templates():
        _template(name)


def _template(name: str) -> Template:
    return _environment().get_template(name)


async def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    title: str,
    layout: str = "layout.html",
    **values: Any,
) -> Response:
    """Render a template, without the layout if a script requests the fragment that changes."""
    caller = await auth.get_caller(request)
    PATH_PREFIX.set(auth.path_prefix(request))
    html = _template(template).render(
        title=title,
        base="fragment.html" if is_fragment(request) else layout,
        is_signed_in=caller is not None and not auth.allows_anonymous(request),
        may_write=auth.may_write(caller),
        test_mode=get_state(request).settings.test_mode,
        current_path=request.url.path,
        **values,
    )
    return HTMLResponse(html, status)


def csv_response(filename: str, rows: Iterable[tuple[str | None, ...]]) -> Response:
    """Return rows as a CSV file to download; the first row is the header."""
    file = io.BytesIO()
    write_csv(file, rows)
    return Response(
        file.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


def is_fragment(request: Request) -> bool:
    """Return whether a script requests the part of a page that changes."""
    return FRAGMENT_HEADER in request.headers


class Page(APIRoute):
    """A route that returns HTML; errors are rendered as pages, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which adds header fields and converts errors to responses."""
        handle = super().get_route_handler()

        async def respond(request: Request) -> Response:
            try:
                _reject_nul(request)
                response = await handle(request)
            except RequestValidationError as validation_error:
                names = sorted({str(problem["loc"][-1]) for problem in validation_error.errors()})
                error = BadRequest(f"invalid value in the address: {', '.join(names)}")
                response = await _error_page(request, error)
            except auth.LoginRequired:
                response = auth.redirect(request, auth.sign_in_path(request))
            except CaseServerError as error:
                response = await _error_page(request, error)
            return _with_headers(response)

        return respond


def _with_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def add_not_found_page(app: FastAPI) -> None:
    """Show a page for an unknown path outside the API to clients that request HTML."""

    async def respond(request: Request, error: Exception) -> Response:
        is_missing = isinstance(error, HTTPException) and error.status_code == HTTPStatus.NOT_FOUND
        wants_html = "text/html" in request.headers.get("accept", "")
        if not (is_missing and wants_html) or is_profile_path(request.scope["path"]):
            return await handle_http_exception(request, error)
        missing = CaseServerError(f"There is no page at {request.url.path}.")
        return _with_headers(
            await page(request, "error.html", status=404, title="Page not found", error=missing)
        )

    app.add_exception_handler(HTTPException, respond)


def _reject_nul(request: Request) -> None:
    """Raise ``BadRequest`` for a NUL character, which Postgres rejects in strings."""
    values = [request.url.path, *request.query_params.values()]
    if any("\x00" in unquote(value) for value in values):
        raise BadRequest("the address must not contain a NUL character")


async def _error_page(request: Request, error: CaseServerError) -> Response:
    response = await page(
        request, "error.html", status=error.status, title="That did not work", error=error
    )
    response.headers.update(error.headers)
    return response

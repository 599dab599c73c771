"""How every page is made: its template, its headers, and what it says when something is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from .. import __version__
from ..api.dependencies import get_state
from ..exceptions import BadRequest, CaseServerError
from . import auth

if TYPE_CHECKING:
    from jinja2 import Environment, Template

HERE = Path(__file__).parent
STATIC = HERE / "static"

FRAGMENT = "x-fragment"
"""Sent by the script of the pages: it wants the part that changes, not the page around it."""

PATH_PREFIX: ContextVar[str] = ContextVar("path_prefix", default="")
"""The path prefix of the page at hand: macros of templates see no other context."""

HEADERS = {
    # Nothing from elsewhere, nothing inline: what a framework says cannot become a program.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no referrer at all, forms would be sent from an unknown origin.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "private, no-store",
    "Vary": "X-Fragment",
}


def _digest(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


class _Static:
    """The addresses of static files by their names, each with a digest of its content."""

    def __init__(self) -> None:
        self._digests = {file.name: _digest(file.name) for file in STATIC.iterdir()}

    def __getitem__(self, name: str) -> str:
        return _url_path(f"/static/{name}?v={self._digests[name]}")


def _url_path(path: str) -> str:
    """Return the path of a page as browsers ask for it, with the server's path prefix."""
    return PATH_PREFIX.get() + path


def _path(*steps: str) -> str:
    """Return the path of a page whose steps are identifiers as they are."""
    return _url_path("".join(f"/{quote(step, safe='')}" for step in steps))


def _query(**params: object) -> str:
    """The query of a link, without what is empty."""
    given = {name: value for name, value in params.items() if value not in (None, "", 0)}
    return f"?{urlencode(given)}" if given else ""


@cache
def _templates() -> Environment:
    """What pages are made with. Made by ``prepare``: a start does not wait for it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415  as said

    from . import text  # noqa: PLC0415  as said: it reads markdown and formulas

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "static": _Static(),
        "path": _path,
        "url_path": _url_path,
        "query": _query,
        "version": __version__,
    }
    made.filters |= {
        "rich": text.rich,
        "line": text.line,
        "plain": text.plain,
        "moment": text.moment,
        "second": text.second,
    }
    return made


def prepare() -> None:
    """Read every template, which takes longer than a page does: nobody is to wait for it."""
    for name in _templates().list_templates():
        _template(name)


def _template(name: str) -> Template:
    return _templates().get_template(name)


async def page(
    request: Request, template: str, *, status: int = 200, title: str, **values: Any
) -> Response:
    """A page, or only the part of it that changes when the script asks for that."""
    caller = await auth.caller(request)
    PATH_PREFIX.set(auth.path_prefix(request))
    html = _template(template).render(
        title=title,
        base="fragment.html" if is_fragment(request) else "layout.html",
        signed_in=caller is not None and not auth.is_open(request),
        may_write=auth.may_write(caller),
        test_mode=get_state(request).settings.test_mode,
        csrf=auth.csrf_token(request),
        here=request.url.path,
        **values,
    )
    return HTMLResponse(html, status)


def is_fragment(request: Request) -> bool:
    """Whether only the part that changes is asked for."""
    return FRAGMENT in request.headers


class Page(APIRoute):
    """A route whose answers are for people: its refusals are pages, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the headers of a page and a page for every refusal."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                _refuse_nul(request)
                response = await handle(request)
            except RequestValidationError as error:
                names = sorted({str(problem["loc"][-1]) for problem in error.errors()})
                said = BadRequest(f"{', '.join(names)}: not what this page can be asked for")
                response = await _refusal(request, said)
            except auth.SignInNeeded:
                response = auth.redirect(request, auth.sign_in_path(request))
            except CaseServerError as error:
                response = await _refusal(request, error)
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            auth.remember_csrf(request, response)
            return response

        return answer


def _refuse_nul(request: Request) -> None:
    """Postgres cannot even be asked for a NUL character."""
    asked = [request.url.path, *request.query_params.values()]
    if any("\x00" in unquote(text) for text in asked):
        raise BadRequest("an address cannot hold the character NUL")


async def _refusal(request: Request, error: CaseServerError) -> Response:
    shown = await page(
        request, "error.html", status=error.status, title="That did not work", error=error
    )
    shown.headers.update(error.headers)
    return shown

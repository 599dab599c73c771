"""Who may look: on this machine with the default client anybody, otherwise who signed in.

A session is an access token of the local issuer in a cookie that scripts cannot read, so it holds
the same scopes and ends as tokens do. What is not a reading carries a token against forgery, and
must come from a page of this server.
"""

from __future__ import annotations

import re
import secrets
from urllib.parse import urlencode, urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from ..api.dependencies import get_state
from ..auth.scopes import Scope
from ..auth.verifier import Caller
from ..db import auth_store
from ..exceptions import Forbidden, Unauthorized
from ..settings import DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, is_loopback

SESSION = "case_session"
CSRF = "case_csrf"

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "via")
"""What a proxy adds: who asks through one may be anywhere."""


class SignInNeeded(Exception):
    """Nobody is signed in, and this page is not for everybody."""


def is_open(request: Request) -> bool:
    """Whether this request needs no sign-in.

    The name it was sent to is looked at as well: a page elsewhere may have its own name lead here,
    but not make a browser say that it asked for this machine.
    """
    settings = get_state(request).settings
    secret = settings.client_secret.get_secret_value()
    default = (settings.client_id, secret) == (DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET)
    asked_for = _hostname(request.headers.get("host", ""))
    forwarded = any(name in request.headers for name in FORWARDED)
    return default and is_loopback(settings.host) and is_loopback(asked_for) and not forwarded


def _hostname(netloc: str) -> str:
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


async def caller(request: Request) -> Caller | None:
    """Whoever looks at this page; nobody when a sign-in is needed first."""
    if is_open(request):
        return Caller(get_state(request).settings.client_id, frozenset(Scope))
    token = request.cookies.get(session_cookie(request))
    if not token:
        return None
    try:
        return await get_state(request).verifier.verify(token)
    except Unauthorized:
        return None


async def require(request: Request, scope: Scope) -> Caller:
    """Whoever looks, if that is allowed. Raises ``SignInNeeded`` or ``Forbidden``."""
    found = await caller(request)
    if found is None:
        raise SignInNeeded
    if scope not in found.scopes:
        raise Forbidden(f"This page needs the scope {scope}, which this sign-in does not have.")
    return found


async def reader(request: Request) -> Caller:
    """Whoever reads a page."""
    return await require(request, Scope.READONLY)


async def writer(request: Request) -> Caller:
    """Whoever writes through a page."""
    return await require(request, Scope.CREATEPUT)


def may_write(found: Caller | None) -> bool:
    """Whether to offer pages that write."""
    return found is not None and Scope.CREATEPUT in found.scopes


def sign_in_path(request: Request) -> str:
    """Where to sign in, and come back from."""
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    wanted = {"next": back} if request.method == "GET" and back != "/" else {}
    return "/sign-in" + (f"?{urlencode(wanted)}" if wanted else "")


def path_prefix(request: Request) -> str:
    """Return what stands before the paths of pages: the path of the base URL.

    That is the prefix of a proxy (``CASE_SERVER_PUBLIC_URL``) and of a namespace of test mode.
    """
    return urlsplit(get_state(request).settings.base_url).path


def redirect(request: Request, path: str) -> Response:
    """Return a redirect to a page of this server, to be read with GET."""
    return RedirectResponse(path_prefix(request) + path, 303)


def local_path(wanted: str) -> str:
    """Where to go after a sign-in: a path of this server, else the first page."""
    # Browsers read a backslash as a slash, and two of them begin another host.
    safe = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if safe and wanted.isprintable() else "/"


def is_secure(request: Request) -> bool:
    """Whether cookies are for https alone."""
    base_url = get_state(request).settings.base_url
    return base_url.startswith("https:") or request.url.scheme == "https"


def session_cookie(request: Request) -> str:
    """Return the name of the session cookie: one for each path prefix."""
    return _cookie_name(SESSION, request)


def csrf_cookie(request: Request) -> str:
    """Return the name of the cookie that forms are compared with: one for each path prefix."""
    return _cookie_name(CSRF, request)


def _cookie_name(name: str, request: Request) -> str:
    """Return the name of a cookie below the path prefix.

    Browsers send the cookies of "/" to every prefix below it, and one name could hold only one.
    """
    return name + re.sub(r"[^A-Za-z0-9-]", "_", path_prefix(request))


def start_session(request: Request, response: Response, token: str, lifetime: int | None) -> None:
    """Remember who signed in, until the token ends."""
    response.set_cookie(
        session_cookie(request),
        token,
        max_age=lifetime,
        path=path_prefix(request) or "/",
        httponly=True,
        samesite="lax",
        secure=is_secure(request),
    )


async def revoke_session(request: Request) -> None:
    """Have the session's token refused: here at once, elsewhere when workers poll next."""
    token = request.cookies.get(session_cookie(request))
    held = get_state(request)
    if token and (found := await held.verifier.identify_token(token)):
        await auth_store.revoke_token(held.database, *found)
        held.verifier.revoke(found[0])


def end_session(request: Request, response: Response) -> None:
    """Forget who signed in."""
    response.delete_cookie(
        session_cookie(request), path=path_prefix(request) or "/", httponly=True, samesite="lax"
    )


def csrf_token(request: Request) -> str:
    """What the forms of this browser carry, and its cookie alone knows."""
    if not hasattr(request.state, "csrf"):
        known = request.cookies.get(csrf_cookie(request))
        request.state.csrf = known or secrets.token_urlsafe(32)
    return str(request.state.csrf)


def remember_csrf(request: Request, response: Response) -> None:
    """Give the browser its token, when a page used one that it does not have yet."""
    if hasattr(request.state, "csrf") and csrf_cookie(request) not in request.cookies:
        response.set_cookie(
            csrf_cookie(request),
            request.state.csrf,
            path=path_prefix(request) or "/",
            httponly=True,
            samesite="strict",
            secure=is_secure(request),
        )


def refuse_forgery(request: Request, sent: str) -> None:
    """Raise ``Forbidden`` unless this was sent by a form of this server's own pages."""
    known = request.cookies.get(csrf_cookie(request), "")
    origin = request.headers.get("origin")
    base_url = get_state(request).settings.base_url
    own = {request.headers.get("host"), urlsplit(base_url).netloc}
    elsewhere = origin is not None and urlsplit(origin).netloc not in own
    if elsewhere or not known or not secrets.compare_digest(known.encode(), sent.encode()):
        raise Forbidden(
            "This form was not sent from a page of this server, or its page is too old: "
            "open the page again and repeat."
        )

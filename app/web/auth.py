"""Authentication of the web UI: sessions, sign-in redirects and CSRF protection.

A session is an access token in an HttpOnly cookie, so it has the scopes and the lifetime of the
token, and the server keeps no session state. A server on a loopback address with the default client
needs no sign-in.
"""

from __future__ import annotations

import re
from urllib.parse import urlencode, urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from ..api.allowed_hosts import is_same_origin
from ..api.dependencies import get_app_state, require_primary
from ..auth.scopes import Scope
from ..auth.verifier import Caller
from ..db import auth_store
from ..exceptions import Forbidden, Unauthorized
from ..settings import DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, is_loopback

SESSION_COOKIE = "case_session"

PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "via")
"""Header fields that proxies add. A request with one of them may come from another machine."""

SAME_ORIGIN_SITES = {"same-origin", "none"}
"""Values of Sec-Fetch-Site for requests from pages of this server, and by the user (a reload)."""


class LoginRequired(Exception):
    """Raised if a page requires a sign-in and the request has no valid session."""


def allows_anonymous(request: Request) -> bool:
    """Return whether a request may use the web UI without a sign-in.

    It may if it comes from this machine and the server has the default client ID and secret. The
    Host header must contain a loopback address, too, because of DNS rebinding: another site can
    make its host name resolve to this machine, but cannot change that header.
    """
    settings = get_app_state(request).settings
    secret = settings.client_secret.get_secret_value()
    is_default = (settings.client_id, secret) == (DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET)
    host = _hostname(request.headers.get("host", ""))
    is_proxied = any(name in request.headers for name in PROXY_HEADERS)
    return is_default and is_loopback(settings.host) and is_loopback(host) and not is_proxied


def _hostname(netloc: str) -> str:
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


async def get_signed_in_client(request: Request) -> Caller | None:
    """Return the ``Caller`` that is signed in to the web UI, or None.

    If ``allows_anonymous`` is true for the request, no session is needed: returns the default
    client with all scopes.
    """
    if allows_anonymous(request):
        return Caller(get_app_state(request).settings.client_id, frozenset(Scope))
    token = request.cookies.get(get_session_cookie_name(request))
    if not token:
        return None
    try:
        return await get_app_state(request).verifier.verify(token)
    except Unauthorized:
        return None


async def require_scope(request: Request, scope: Scope) -> None:
    """Raise an exception unless a client with the given scope is signed in to the web UI.

    Raises ``LoginRequired`` if there is no valid session, and ``Forbidden`` if the client lacks the
    scope.
    """
    caller = await get_signed_in_client(request)
    if caller is None:
        raise LoginRequired
    if scope not in caller.scopes:
        raise Forbidden(f"This page requires the scope {scope}: sign in as a client that has it.")


async def require_read_scope(request: Request) -> None:
    """Require a signed-in client with the read scope (a FastAPI dependency).

    Raises ``LoginRequired`` without a valid session and ``Forbidden`` without the scope.
    """
    await require_scope(request, Scope.READONLY)


async def require_write_scope(request: Request) -> None:
    """Require a signed-in client with the write scope (a FastAPI dependency).

    Raises ``LoginRequired`` without a valid session and ``Forbidden`` without the scope. Raises
    ``MethodNotAllowed`` for a POST if the database is a read-only standby.
    """
    await require_scope(request, Scope.CREATEPUT)
    if request.method == "POST":
        require_primary(get_app_state(request), request.scope["path"])


def get_sign_in_path(request: Request) -> str:
    """Return the path of the sign-in page that redirects back to the requested page."""
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    params = {"next": path} if request.method == "GET" and path != "/" else {}
    return "/sign-in" + (f"?{urlencode(params)}" if params else "")


def get_path_prefix(request: Request) -> str:
    """Return the path of the server's base URL, with which the paths of all pages start.

    It is the path of ``CASE_SERVER_PUBLIC_URL``, followed by ``/ns/{name}`` in a test namespace.
    """
    return urlsplit(get_app_state(request).settings.base_url).path


def redirect_to_page(request: Request, path: str) -> Response:
    """Return a redirect (303) to ``path``, to which it adds the server's path prefix."""
    return RedirectResponse(get_path_prefix(request) + path, 303)


def sanitize_next_url(next_url: str) -> str:
    """Return the URL to open after signing in; ``/`` if ``next_url`` could be on another server.

    ``next_url`` comes from the query and is untrusted; this prevents open redirects.
    """
    # Browsers treat a backslash as a slash, and two slashes start another host.
    is_local = next_url.startswith("/") and not next_url.startswith(("//", "/\\"))
    return next_url if is_local and next_url.isprintable() else "/"


def get_session_cookie_name(request: Request) -> str:
    """Return the name of the session cookie, which contains the server's path prefix.

    For the prefix ``/ns/a``, it is ``case_session_ns_a``. Browsers send the cookie of ``/`` to all
    other prefixes, too, so equal names would mix up sessions.
    """
    return SESSION_COOKIE + re.sub(r"[^A-Za-z0-9-]", "_", get_path_prefix(request))


def start_session(request: Request, response: Response, token: str, lifetime: int | None) -> None:
    """Set the session cookie to an access token that is valid for ``lifetime`` seconds.

    If ``lifetime`` is None, the cookie lasts until the browser is closed.
    """
    base_url = get_app_state(request).settings.base_url
    response.set_cookie(
        get_session_cookie_name(request),
        token,
        max_age=lifetime,
        path=get_path_prefix(request) or "/",
        httponly=True,
        samesite="lax",
        secure=base_url.startswith("https:") or request.url.scheme == "https",
    )


async def revoke_session(request: Request) -> None:
    """Revoke the access token in the session cookie; do nothing if there is none.

    This worker rejects the token from now on; other workers do so as soon as they next poll the
    revoked tokens in the database.
    """
    token = request.cookies.get(get_session_cookie_name(request))
    app_state = get_app_state(request)
    if token and (token_id_and_expiry := await app_state.verifier.get_token_id_and_expiry(token)):
        await auth_store.revoke_token(app_state.database, *token_id_and_expiry)
        app_state.verifier.revoke(token_id_and_expiry[0])


def delete_session_cookie(request: Request, response: Response) -> None:
    """Make the browser delete the session cookie; the access token in it stays valid."""
    name, path = get_session_cookie_name(request), get_path_prefix(request) or "/"
    response.delete_cookie(name, path, httponly=True, samesite="lax")


def require_same_origin(request: Request) -> None:
    """Raise ``Forbidden`` unless a form was sent from a page of this server (CSRF protection).

    Browsers send Origin with every POST, and Sec-Fetch-Site to HTTPS and loopback URLs. A request
    without both headers is refused, too.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    base_url = get_app_state(request).settings.base_url
    if origin is None:
        is_own = site in SAME_ORIGIN_SITES
    else:
        is_own = is_same_origin(origin, request.headers.get("host"), base_url)
    if not is_own or site not in {None, *SAME_ORIGIN_SITES}:
        raise Forbidden(
            "This form was not sent from a page of this server. Open the page again and repeat."
        )

"""What every request of a target passes: its namespace, the journal, and the faults."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers

from ..api.allowed_hosts import PROBE_PATHS
from ..api.dependencies import APP_STATE
from ..api.exception_handlers import error_response
from ..api.middleware import REQUEST_ID, ROUTE_PATH
from ..api.routes.token import TOKEN_PATHS
from ..api.routes.token_request import OAuthError, parse_token_request
from ..auth.verifier import unverified_client_id
from ..exceptions import (
    BadRequest,
    CaseServerError,
    Forbidden,
    NotFound,
    ServiceUnavailable,
    Unauthorized,
    UnsupportedMediaType,
)
from .fault_injection import fail
from .namespaces import DEFAULT
from .recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .namespace import Namespace
    from .namespaces import Namespaces
    from .request_log import Entry

NAMESPACE = "case_server.namespace"
"""Where a request carries its namespace."""

CONTROL = "/_test"
PAGE = "/test-mode"
PREFIX = re.compile(r"/ns/([^/]*)(?=/|$)")
HEADER = "x-case-namespace"
SIMPLE_TYPES = {"multipart/form-data", "text/plain"}
"""What web pages may send to another site unasked (Fetch standard, "CORS-safelisted"), without the
type that curl gives to JSON; browsers since 2020 state the origin of all of them."""
TOO_LATE = "the target went back to another state while a fault delayed this request"


class TestModeMiddleware:
    """Leads each request into its namespace; ``token`` is what the control API asks for.

    Web pages of ``base_url`` and of ``origins`` may call the control API, others may not.
    """

    def __init__(
        self, app: ASGIApp, *, token: str = "", base_url: str = "", origins: Sequence[str] = ()
    ) -> None:
        self.app = app
        self._token = token
        self._own = urlsplit(base_url).netloc
        self._origins = {*origins} - {"*"}  # that is for calls with a token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or let it fail (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        outer, scope = scope, {**scope}  # the log tells the path as it was sent
        namespaces: Namespaces = scope["app"].state.namespaces
        headers = Headers(scope=scope)
        try:
            name = _name(scope, headers)
            outer[ROUTE_PATH] = scope["path"]
            is_control = f"{scope['path']}/".startswith(f"{CONTROL}/")
            if is_control:
                self._refuse_cross_site(scope["method"], headers)
                self._check_token(headers)
            elif self._token and not namespaces.has(name):
                raise NotFound(
                    "namespace",
                    name,
                    f"with the test API token, GET /ns/{name}{CONTROL} creates it",
                )
            namespace = scope[NAMESPACE] = await namespaces.get(name)
        except CaseServerError as error:
            await error_response(scope["path"], error)(scope, receive, send)
            return
        if is_control or _is_unseen(scope["path"]):
            scope[APP_STATE] = namespace.app_state
            await self.app(scope, receive, send)
        else:
            await self._exchange(namespace, scope, headers, receive, send)

    def _refuse_cross_site(self, method: str, headers: Headers) -> None:
        """Raise ``Forbidden`` for what a browser sends from a web page of another site.

        The control API may need no token, and a browser sends simple requests (Fetch standard,
        "CORS-safelisted method") to loopback addresses without asking. Raises ``UnsupportedMedia``
        for a POST that could be one and says nothing of its origin.
        """
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None:
            own = urlsplit(origin).netloc in {self._own, headers.get("host")} - {""}
            if not own and origin not in self._origins:
                raise Forbidden(
                    f"{CONTROL}/ cannot be called from a web page of {origin!r}: name that origin "
                    "in CASE_SERVER_CORS_ORIGINS to allow it"
                )
        elif site == "cross-site":
            raise Forbidden(f"{CONTROL}/ cannot be called from a web page of another site")
        elif site is None and method == "POST":
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind in SIMPLE_TYPES:
                raise UnsupportedMediaType(
                    f"{CONTROL}/ takes Content-Type: application/json, and not {kind}, which a "
                    "web page of another site could send"
                )

    def _check_token(self, headers: Headers) -> None:
        if not self._token:
            return
        kind, _, token = headers.get("authorization", "").partition(" ")
        fits = hmac.compare_digest(_digest(token.strip()), _digest(self._token))
        if kind.lower() != "bearer" or not fits:
            raise Unauthorized(
                "/_test/ requires the test API token (CASE_SERVER_TEST_API_TOKEN of the server): "
                "send it as Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _exchange(
        self, namespace: Namespace, scope: Scope, headers: Headers, receive: Receive, send: Send
    ) -> None:
        entry = _begin(namespace, scope, headers)
        recorder = Recorder(namespace.journal, entry, receive, send, headers)

        era = namespace.era

        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            if namespace.era != era:
                await error_response(scope["path"], ServiceUnavailable(TOO_LATE))(
                    scope, receive, send
                )
                return
            writes = scope["method"] != "GET" and scope["path"] not in TOKEN_PATHS
            async with namespace.request(writes=writes) as services:
                scope[APP_STATE] = services
                await self.app(scope, receive, send)

        if scope["path"] in TOKEN_PATHS:
            told = {**scope, APP_STATE: namespace.app_state}
            entry.client = await _client_of_grant(told, await recorder.read_ahead())
        fault = namespace.faults.choose(entry)
        try:
            if fault is None:
                await answered(scope, recorder.receive, recorder.send)
            else:
                entry.fault = fault.effect()
                await fail(fault, answered, scope, recorder.receive, recorder.send)
        finally:
            recorder.tell()


def _is_unseen(path: str) -> bool:
    """Whether a request is of whoever watches the server: neither kept nor failed."""
    return path in {*PROBE_PATHS, PAGE} or path.startswith("/static/")


def _name(scope: Scope, headers: Headers) -> str:
    """Return the namespace that a request names, and take its prefix off the path."""
    header, match = headers.get(HEADER), PREFIX.match(scope["path"])
    if match is None:
        return header or DEFAULT
    prefix, name = match[0], match[1]
    scope["path"] = scope["path"][len(prefix) :] or "/"
    if scope["raw_path"].startswith(prefix.encode()):
        scope["raw_path"] = scope["raw_path"][len(prefix) :] or b"/"
    scope["root_path"] = scope.get("root_path", "") + prefix
    if header not in {None, name}:
        raise BadRequest(f"the path names the namespace {name!r}, X-CASE-Namespace {header!r}")
    return name


def _begin(namespace: Namespace, scope: Scope, headers: Headers) -> Entry:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return namespace.journal.begin(
        scope["method"],
        scope["path"],
        scope["query_string"].decode("latin-1"),
        unverified_client_id(token.strip()) if kind.lower() == "bearer" else None,
        scope[REQUEST_ID].decode(),
    )


async def _client_of_grant(scope: Scope, body: bytes) -> str | None:
    """Who asks for a token."""

    async def replay() -> Message:
        return {"type": "http.request", "body": body}

    try:
        grant = await parse_token_request(Request(scope, replay))
    except OAuthError:
        return None
    return grant.credentials[0][0] if grant.credentials else None


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()

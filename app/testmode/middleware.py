"""The middleware of test mode: resolves the namespace, records requests and injects faults."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Sequence

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.allowed_hosts import PROBE_PATHS, is_same_origin
from ..api.dependencies import APP_STATE, TOKEN_PATHS
from ..api.exception_handlers import build_error_response
from ..api.middleware import REQUEST_ID, ROUTE_PATH
from ..api.profiles import NAMESPACE_PREFIX
from ..api.routes.token import OAuthError, parse_token_request
from ..auth.verifier import get_unverified_client_id
from ..exceptions import (
    BadRequest,
    CaseServerError,
    Forbidden,
    NotFound,
    ServiceUnavailable,
    Unauthorized,
    UnsupportedMediaType,
)
from .faults import count_and_choose_fault, inject_fault
from .namespaces import DEFAULT_NAMESPACE, Namespace, NamespaceRegistry
from .request_log import MAX_BODY_BYTES, LoggedRequest, RequestLog

NAMESPACE = "case_server.namespace"
"""Key of the namespace in the ASGI scope of a request."""

TEST_API_PREFIX = "/_test"
PAGE_PATH = "/test-mode"
UNLOGGED_PATHS = {*PROBE_PATHS, PAGE_PATH}
"""Paths, such as those of health probes, whose requests get no log entry and no faults."""

NAMESPACE_HEADER = "x-case-namespace"
SAFELISTED_TYPES = {"multipart/form-data", "text/plain"}
"""Content types that web pages can send to other sites without a CORS preflight.

The Fetch standard also safelists the form type, which is allowed here because curl -d sends JSON
with it. Browsers since 2020 send Origin with all of them."""
OUTDATED = "the data were reset while a fault delayed this request"


class TestModeMiddleware:
    """ASGI middleware of test mode: logs requests and injects faults, for each test namespace.

    Unless ``token`` is empty, requests to the test API must send this token. Web pages may call the
    test API only if their origin is that of ``base_url`` or one of ``origins``.
    """

    def __init__(
        self, app: ASGIApp, *, token: str = "", base_url: str = "", origins: Sequence[str] = ()
    ) -> None:
        self.app = app
        self._token = token
        self._base_url = base_url
        self._origins = {*origins} - {"*"}  # for CORS, * allows only requests with an access token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request with the database, faults and log of its test namespace."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        outer_scope, scope = scope, {**scope}  # the access log shows the path with its prefix
        namespaces: NamespaceRegistry = scope["app"].state.namespaces
        headers = Headers(scope=scope)
        try:
            name = _strip_namespace_prefix(scope, headers)
            outer_scope[ROUTE_PATH] = scope["path"]
            is_test_api = f"{scope['path']}/".startswith(f"{TEST_API_PREFIX}/")
            if is_test_api:
                self._reject_cross_site_request(scope["method"], headers)
                self._require_token(headers)
            elif self._token and name not in namespaces.by_name:
                hint = f"create it with GET /ns/{name}{TEST_API_PREFIX} and the test API token"
                raise NotFound("namespace", name, hint)
            namespace = scope[NAMESPACE] = await namespaces.get_or_create(name)
        except CaseServerError as error:
            await build_error_response(scope["path"], error)(scope, receive, send)
            return
        path = scope["path"]
        if is_test_api or path in UNLOGGED_PATHS or path.startswith("/static/"):
            scope[APP_STATE] = namespace.app_state
            await self.app(scope, receive, send)
        else:
            await self._log_and_handle_request(namespace, scope, headers, receive, send)

    def _reject_cross_site_request(self, method: str, headers: Headers) -> None:
        """Raise ``Forbidden`` if a browser sent a request from a page of another site (CSRF).

        The test API may be open to everyone, and browsers send simple ("CORS-safelisted") requests
        without a preflight. Raises ``UnsupportedMediaType`` for such a POST if its headers do not
        show which site sent it.
        """
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None:
            is_own = is_same_origin(origin, headers.get("host"), self._base_url)
            if not is_own and origin not in self._origins:
                raise Forbidden(
                    f"web pages of {origin!r} cannot call {TEST_API_PREFIX}/: add that origin to "
                    "CASE_SERVER_CORS_ORIGINS to allow it"
                )
        elif site == "cross-site":
            problem = f"web pages of other sites cannot call {TEST_API_PREFIX}/"
            raise Forbidden(f"{problem}: use a program")
        elif site is None and method == "POST":
            content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type in SAFELISTED_TYPES:
                raise UnsupportedMediaType(
                    f"{TEST_API_PREFIX}/ requires Content-Type: application/json, not "
                    f"{content_type}, which web pages of other sites can send"
                )

    def _require_token(self, headers: Headers) -> None:
        token, expected = _get_bearer_token(headers).encode(), self._token.encode()
        if expected and not hmac.compare_digest(token, expected):
            raise Unauthorized(
                f"{TEST_API_PREFIX}/ requires the test API token (CASE_SERVER_TEST_API_TOKEN of "
                "the server): send it as Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _log_and_handle_request(
        self, namespace: Namespace, scope: Scope, headers: Headers, receive: Receive, send: Send
    ) -> None:
        entry = namespace.request_log.add_request(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            get_unverified_client_id(_get_bearer_token(headers)),
            scope[REQUEST_ID].decode(),
        )
        recorder = RequestRecorder(namespace.request_log, entry, receive, send, headers)
        generation = namespace.generation

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            if namespace.generation != generation:
                error = build_error_response(
                    scope["path"], ServiceUnavailable(OUTDATED, retry_after=None)
                )
                await error(scope, receive, send)
                return
            writes = scope["method"] != "GET" and scope["path"] not in TOKEN_PATHS
            async with namespace.acquire_app_state(writes=writes) as app_state:
                scope[APP_STATE] = app_state
                await self.app(scope, receive, send)

        if scope["path"] in TOKEN_PATHS:
            token_scope = {**scope, APP_STATE: namespace.app_state}
            body = await recorder.read_ahead()
            entry.client = await _parse_client_id(token_scope, body)
        fault = count_and_choose_fault(namespace.faults, entry)
        try:
            if fault is None:
                await respond(scope, recorder.receive, recorder.send)
            else:
                entry.fault = fault.get_response_fields()
                await inject_fault(fault, respond, scope, recorder.receive, recorder.send)
        finally:
            recorder.log_body()


def _strip_namespace_prefix(scope: Scope, headers: Headers) -> str:
    """Remove ``/ns/{name}`` from a request's path and return ``name``, the test namespace.

    Without this prefix, returns the value of the X-CASE-Namespace header or, without that,
    "default". Raises ``BadRequest`` if prefix and header name different namespaces.
    """
    header, match = headers.get(NAMESPACE_HEADER), NAMESPACE_PREFIX.match(scope["path"])
    if match is None:
        return header or DEFAULT_NAMESPACE
    prefix, name = match[0], match[1]
    scope["path"] = scope["path"][len(prefix) :] or "/"
    if scope["raw_path"].startswith(prefix.encode()):
        scope["raw_path"] = scope["raw_path"][len(prefix) :] or b"/"
    scope["root_path"] = scope.get("root_path", "") + prefix
    if header not in {None, name}:
        raise BadRequest(
            f"the path names the namespace {name!r}, but X-CASE-Namespace names {header!r}"
        )
    return name


def _get_bearer_token(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _parse_client_id(scope: Scope, body: bytes) -> str | None:
    """Return the client ID in the header or body of a token request, or None if it has none.

    ``scope`` is the ASGI scope of the request.
    """

    async def receive_again() -> Message:
        return {"type": "http.request", "body": body}

    try:
        grant = await parse_token_request(Request(scope, receive_again))
    except OAuthError:
        return None
    return grant.credentials[0][0] if grant.credentials else None


class RequestRecorder:
    """Records a request and its response in the request log.

    The application gets the methods ``receive`` and ``send`` instead of those of the ASGI server.
    """

    def __init__(
        self, log: RequestLog, entry: LoggedRequest, receive: Receive, send: Send, headers: Headers
    ) -> None:
        self._log, self._entry = log, entry
        self._receive, self._send = receive, send
        names = ("content-type", "content-encoding")
        self._content_format = [headers.get(name, "") for name in names]
        self._read_ahead: list[Message] = []
        self._body = bytearray()
        self._is_body_complete = self._is_body_logged = False
        self._receive_lock = asyncio.Lock()
        self._started = time.perf_counter()

    async def receive(self) -> Message:
        """Return the next ASGI message of the request, and record the body's start for the log.

        This replaces ``receive`` of the ASGI server.
        """
        if self._read_ahead:
            return self._read_ahead.pop(0)
        async with self._receive_lock:
            message = await self._receive()
            self._record(message)
            return message

    async def read_ahead(self) -> bytes:
        """Read the request body before the application does, and return up to 64 KiB of it.

        ``receive`` still returns all of the body to the application.
        """
        async with self._receive_lock:
            while not self._is_body_complete:
                message = await self._receive()
                self._record(message)
                self._read_ahead.append(message)
        return bytes(self._body)

    async def send(self, message: Message) -> None:
        """Record the status and size of the response, then send the ASGI message to the client."""
        if message["type"] == "http.response.start":
            await self._drain_body()
            self._entry.status = message["status"]
            self.log_body()
        if message["type"] == "http.response.body":
            self._entry.response_bytes += len(message.get("body", b""))
            self._update_duration()
        await self._send(message)

    def log_body(self) -> None:
        """Add the recorded request body to the log entry, unless it is there already."""
        if not self._is_body_logged:
            self._is_body_logged = True
            self._log.set_body(self._entry, bytes(self._body), *self._content_format)
            self._update_duration()

    def _update_duration(self) -> None:
        self._entry.milliseconds = round(1000 * (time.perf_counter() - self._started), 3)

    async def _drain_body(self) -> None:
        """Read and record the rest of the request body, which the application has not read."""
        if self._is_body_complete:
            return
        async with self._receive_lock:
            while not self._is_body_complete:
                self._record(await self._receive())

    def _record(self, message: Message) -> None:
        if message["type"] != "http.request":
            self._is_body_complete = True
            return
        body = message.get("body", b"")
        self._entry.request_bytes += len(body)
        self._body += body[: MAX_BODY_BYTES - len(self._body)]
        self._is_body_complete = not message.get("more_body", False)

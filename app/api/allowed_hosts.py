"""Host headers: which names of this server requests may be sent to.

A web page elsewhere can have its own name resolve to this machine (DNS rebinding): a browser then
sends its requests here and lets the page read the responses. Only the name in Host tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson
from fastapi import Response
from starlette.types import Scope

from ..exceptions import BadRequest, CaseServerError, MisdirectedRequest
from ..settings import DEFAULT_CLIENT_SECRET, is_loopback
from .exception_handlers import error_response
from .profiles import PROFILES
from .routes.token import TOKEN_PATHS

if TYPE_CHECKING:
    from ..settings import Settings

PROBE_PATHS = {"/health", "/ready"}
"""Paths that supervisors ask for by the address of a container or pod."""

HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(?::[0-9]*)?")
"""A Host header and the name in it (RFC 9110, section 7.2; RFC 3986, section 3.2.2)."""

NAMESPACE = re.compile(r"/ns/[^/]*(?=/)")
"""What stands before the path of a request to a namespace of a test server."""

MAX_CACHED_HOSTS = 256

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>421 Misdirected Request</title></head>
<body><h1>421 Misdirected Request</h1><p>{}</p></body></html>
"""


class HostCheck:
    """Check the Host header of requests; ``allowed`` are names and patterns, None allows all."""

    def __init__(self, allowed: Iterable[str] | None) -> None:
        self._allowed = None if allowed is None else frozenset(allowed)
        self._known: set[bytes] = set()
        """Headers that were allowed, as they were sent."""

    @classmethod
    def from_settings(cls, settings: Settings) -> HostCheck:
        """Return the check for a server: strict where anyone on its address may come in."""
        default = settings.client_secret.get_secret_value() == DEFAULT_CLIENT_SECRET
        is_open = default or (settings.test_mode and not settings.test_api_token.get_secret_value())
        is_local = is_loopback(settings.host) and is_open
        if "*" in settings.allowed_hosts or not (settings.allowed_hosts or is_local):
            return cls(None)
        return cls({*settings.allowed_hosts, urlsplit(settings.base_url).hostname or ""})

    def error(self, scope: Scope) -> CaseServerError | None:
        """Return why a request is sent to no name of this server, or None.

        A request of HTTP/1.1 has exactly one Host header (RFC 9112, section 3.2).
        """
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) == 1 and hosts[0] in self._known:
            return None
        if not hosts and scope["http_version"] == "1.0":
            return None
        if len(hosts) != 1:
            return BadRequest(f"the request has {len(hosts)} Host headers: send exactly one")
        match = HOST.fullmatch(hosts[0])
        if match is None:
            return BadRequest("the Host header is no host name with an optional port")
        name = match[1].decode()
        if self.allows(name):
            if len(self._known) < MAX_CACHED_HOSTS:
                self._known.add(hosts[0])
        elif scope["path"] not in PROBE_PATHS:
            return MisdirectedRequest(
                f"this server does not answer to the host {name!r}: send requests to "
                "localhost or its public URL, or add the name to CASE_SERVER_ALLOWED_HOSTS"
            )
        return None

    def allows(self, name: str) -> bool:
        """Return whether requests may be sent to a host name or address."""
        if self._allowed is None:
            return True
        name = name.lower().removesuffix(".")
        if name == "localhost" or name.endswith(".localhost") or name in self._allowed:
            return True
        _, _, parent = name.partition(".")
        while parent:
            if f"*.{parent}" in self._allowed:
                return True
            _, _, parent = parent.partition(".")
        address = name.removeprefix("[").removesuffix("]")
        return is_loopback(address) or _canonical(address) in self._allowed


def _canonical(address: str) -> str:
    """Return the usual spelling of an IP address, or what was given."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address


def host_error_response(scope: Scope, error: CaseServerError) -> Response:
    """Return the response to a request whose Host is refused, in the shape its client reads."""
    path = NAMESPACE.sub("", scope["path"], count=1) if scope["path"].startswith("/ns/") else ""
    path = path or scope["path"]
    if path in TOKEN_PATHS:
        body = {"error": "invalid_request", "error_description": error.description}
        headers = {"Cache-Control": "no-store"}
        return Response(orjson.dumps(body), error.status, headers, "application/json")
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
    is_api = any(f"{path}/".startswith(f"{profile.prefix}/") for profile in PROFILES)
    if b"text/html" in accepted and not is_api:
        return Response(PAGE.format(escape(error.description)), error.status, None, "text/html")
    return error_response(path, error)

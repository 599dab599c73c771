"""Validation of the headers Host and Origin, as a defence against DNS rebinding and CSRF.

An attacker can make the name of a web page resolve to this machine. A browser then sends the
page's requests to this server and lets the page read the responses. Such requests differ from
others only by the name in the Host header.
"""

from __future__ import annotations

import re
from html import escape
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from fastapi import Response
from starlette.types import Scope

from ..exceptions import BadRequest, CaseServerError, MisdirectedRequest
from ..settings import DEFAULT_CLIENT_SECRET, Settings, is_loopback, normalize_host_name
from .dependencies import TOKEN_PATHS
from .exception_handlers import build_error_response
from .profiles import NAMESPACE_PREFIX, is_profile_path
from .responses import json_response

PROBE_PATHS = {"/health", "/ready"}
"""Paths that supervisors request by the IP address of a container or pod."""

HOST_PATTERN = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(?::[0-9]*)?")
"""A Host header; group 1 is the name (RFC 9110, section 7.2; RFC 3986, section 3.2.2)."""

MAX_CACHED_HOSTS = 256

ERROR_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>421 Misdirected Request</title></head>
<body><h1>421 Misdirected Request</h1><p>{}</p></body></html>
"""


class HostValidator:
    """Checks the Host header of requests against a list of allowed host names.

    This prevents DNS rebinding. Allowed are ``allowed_hosts``, where a pattern such as
    ``*.example.org`` stands for all subdomains, and the host of ``base_url``.

    If no hosts are configured, all host names are allowed. The exception is a server on loopback
    with the default client secret or an open test API: any web page could read its data by DNS
    rebinding, so only the host of ``base_url`` is allowed.
    """

    def __init__(self, settings: Settings) -> None:
        has_default_secret = settings.client_secret.get_secret_value() == DEFAULT_CLIENT_SECRET
        has_test_token = bool(settings.test_api_token.get_secret_value())
        is_open = has_default_secret or (settings.test_mode and not has_test_token)
        is_local = is_loopback(settings.host) and is_open
        self._allowed: set[str] | None = None
        """The allowed names, or None if all are."""
        if "*" not in settings.allowed_hosts and (settings.allowed_hosts or is_local):
            own_host = urlsplit(settings.base_url).hostname or ""
            self._allowed = {*settings.allowed_hosts, normalize_host_name(own_host)}
        domains = (name[1:] for name in self._allowed or () if name.startswith("*."))
        self._suffixes = (".localhost", *domains)
        self._cached: set[bytes] = set()
        """Host headers that were allowed."""

    def find_host_error(self, scope: Scope) -> CaseServerError | None:
        """Return a ``CaseServerError`` if the Host header is missing, malformed or not allowed.

        Returns None for a valid header. HTTP/1.1 requires exactly one Host header (RFC 9112,
        section 3.2). Health probes may use any host name.
        """
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) == 1 and hosts[0] in self._cached:
            return None
        if not hosts and scope["http_version"] == "1.0":
            return None
        if len(hosts) != 1:
            return BadRequest(f"found {len(hosts)} Host headers, expected one")
        name = _parse_host_header(hosts[0])
        if name is None:
            return BadRequest("invalid Host header: it must be a host name with an optional port")
        if self.is_host_allowed(name):
            if len(self._cached) < MAX_CACHED_HOSTS:
                self._cached.add(hosts[0])
        elif scope["path"] not in PROBE_PATHS:
            return MisdirectedRequest(
                f"host {name!r} is not allowed: send requests to localhost or the public URL, "
                "or add the name to CASE_SERVER_ALLOWED_HOSTS"
            )
        return None

    def is_host_allowed(self, name: str) -> bool:
        """Return whether ``name``, a host name or IP address, is allowed in the Host header."""
        if self._allowed is None:
            return True
        name = normalize_host_name(name)
        return is_loopback(name) or name in self._allowed or name.endswith(self._suffixes)


def _parse_host_header(value: bytes) -> str | None:
    """Return the host name in a Host header, without the port, or None if it is malformed."""
    match = HOST_PATTERN.fullmatch(value)
    name = match[1].decode() if match else None
    if name and name.startswith("["):
        try:
            IPv6Address(name[1:-1])
        except ValueError:
            return None
    return name


def build_host_error_response(scope: Scope, error: CaseServerError) -> Response:
    """Build the error response for a request whose Host header was rejected.

    Token requests get OAuth's JSON, browsers get HTML, and all other clients get an
    ``imsx_StatusInfo``, the error format of CASE.
    """
    path = NAMESPACE_PREFIX.sub("", scope["path"])
    if path in TOKEN_PATHS:
        body = {"error": "invalid_request", "error_description": error.description}
        return json_response(body, error.status, {"Cache-Control": "no-store"})
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
    if b"text/html" in accept and not is_profile_path(path):
        page = ERROR_PAGE.format(escape(error.description))
        return Response(page, error.status, media_type="text/html")
    return build_error_response(path, error)


def is_same_origin(origin: str, host: str | None, base_url: str) -> bool:
    """Return whether a request comes from this server's own pages, judging by its Origin header.

    ``origin`` must have the host and port of the request's Host header, ``host``, or of the
    server's base URL. Schemes are not compared, because a server behind a proxy that terminates TLS
    does not know its public scheme.
    """
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    return netloc != "" and netloc in {host, urlsplit(base_url).netloc}

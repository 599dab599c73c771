"""Checks of HTTP methods: HEAD, and the Allow header of a 405 response."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from ..check import check
from ..client import (
    CheckFailed,
    CheckSkipped,
    build_entity_path,
    describe_request,
    expect,
    expect_status,
)
from ..profiles import get_identifier

if TYPE_CHECKING:
    import httpx

    from ..client import ServerUnderTest

MAX_ATTEMPTS = 3
"""Attempts per comparison, because a connection may be closed for other reasons than HEAD."""

METHOD_NOT_ALLOWED = 405

COMPARED_HEADERS = ("Content-Type", "Content-Length", "ETag")
"""Header fields that HEAD may leave out, but not send with another value than GET."""


@check("head", group="reading", source="RFC 9110, section 9.3.2")
def check_head(server: ServerUnderTest) -> str:
    """HEAD returns the headers of GET without a body, and the connection stays usable."""
    _compare_head_with_get(server, "/CFDocuments?limit=1")
    document = server.existing.sample_document
    _compare_head_with_get(server, build_entity_path("CFDocuments", get_identifier(document)))
    _compare_head_with_get(server, server.existing.get_package_path(document))
    return "3 paths"


@check("allow", group="errors", source="RFC 9110, section 15.5.6")
def check_allow_header(server: ServerUnderTest) -> str:
    """A 405 response lists every method of its path in the Allow header."""
    identifier = str(uuid.uuid4())
    paths = [build_entity_path(collection, identifier) for collection in ("CFItems", "CFPackages")]
    allowed_methods = []
    for path in ("/CFDocuments", *paths):
        response = server.request("PATCH", path)
        request = describe_request(response.request)
        if response.status_code != METHOD_NOT_ALLOWED:
            raise CheckSkipped(f"{request} returned {response.status_code}, not 405")
        allowed = {word.strip() for word in response.headers.get("Allow", "").split(",")}
        listed = ", ".join(sorted(allowed))
        missing = {"GET", *_find_methods_besides_get(server, path)} - allowed
        expect(not missing, f"{request}: Allow is {listed or 'missing'}")
        allowed_methods.append(listed)
    return "; ".join(allowed_methods)


def _compare_head_with_get(server: ServerUnderTest, path: str) -> None:
    """Send HEAD and GET on one connection; raise ``CheckFailed`` if status or headers differ."""
    for _ in range(MAX_ATTEMPTS):
        head = server.request("HEAD", path)
        is_closing = _is_closing(head)
        address = None if is_closing else _get_local_address(head)
        get = server.request("GET", path)
        expect_status(head, get.status_code)
        request = describe_request(head.request)
        for name in COMPARED_HEADERS:
            values = head.headers.get(name), get.headers.get(name)
            is_same = None in values or values[0] == values[1]
            expect(is_same, f"{name} of {request} is {values[0]!r}, of GET {values[1]!r}")
        if is_closing or _is_closing(get) or address == _get_local_address(get):
            return
    raise CheckFailed(f"the server closes the connection after {request}")


def _is_closing(response: httpx.Response) -> bool:
    return str(response.headers.get("Connection", "")).lower() == "close"


def _get_local_address(response: httpx.Response) -> object:
    return response.extensions["network_stream"].get_extra_info("client_addr")


def _find_methods_besides_get(server: ServerUnderTest, path: str) -> set[str]:
    """Return the methods besides GET that the ``Allow`` header of a path must list."""
    has_head = server.request("HEAD", path).status_code != METHOD_NOT_ALLOWED
    has_put = server.profile.name == "platform" and path.startswith("/CFItems/")
    return {*(["HEAD"] if has_head else []), *(["PUT"] if has_put else [])}

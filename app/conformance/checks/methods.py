"""HTTP methods: HEAD, and which methods a path allows, over one connection."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from ..check import ALL, Check
from ..client import Skip, entity_path, expect, expect_status, request_line
from ..profiles import identifier_of

if TYPE_CHECKING:
    import httpx

    from ..client import ServerUnderTest

ROUNDS = 3
"""How often a connection may be closed for another reason than HEAD."""

METHOD_NOT_ALLOWED = 405

COMPARED_FIELDS = ("Content-Type", "Content-Length", "ETag")
"""Header fields that HEAD may leave out, but not response with another value than GET."""


def head(server: ServerUnderTest) -> str:
    """HEAD answers as GET does without a body, and the connection stays usable."""
    paths = ["/CFDocuments?limit=1"]
    _compare_head(server, paths[0])
    document = server.existing.document
    paths += [
        entity_path("CFDocuments", identifier_of(document)),
        server.existing.package_path(document),
    ]
    for path in paths[1:]:
        _compare_head(server, path)
    return f"{len(paths)} paths"


def allow(server: ServerUnderTest) -> str:
    """A 405 names every method that its path has in Allow."""
    identifier = str(uuid.uuid4())
    paths = [
        "/CFDocuments",
        *(entity_path(plural, identifier) for plural in ("CFItems", "CFPackages")),
    ]
    told = []
    for path in paths:
        response = server.request("PATCH", path)
        if response.status_code != METHOD_NOT_ALLOWED:
            raise Skip(f"{request_line(response)} is answered with {response.status_code}, not 405")
        allowed = {word.strip() for word in response.headers.get("Allow", "").split(",")}
        missing = {"GET", *_other_methods(server, path)} - allowed
        expect(
            not missing,
            f"{request_line(response)}: Allow is {', '.join(sorted(allowed)) or 'missing'}",
        )
        told.append(", ".join(sorted(allowed)))
    return "; ".join(told)


def _compare_head(server: ServerUnderTest, path: str) -> None:
    """Send HEAD and GET on one connection; raise ``Differs`` when they do not agree."""
    for _ in range(ROUNDS):
        of_head = server.request("HEAD", path)
        is_closing = _is_closing(of_head)
        address = None if is_closing else _client_address(of_head)
        of_get = server.request("GET", path)
        expect_status(of_head, of_get.status_code)
        for name in COMPARED_FIELDS:
            values = of_head.headers.get(name), of_get.headers.get(name)
            expect(
                None in values or values[0] == values[1],
                f"{name} of {request_line(of_head)} is {values[0]!r}, of GET {values[1]!r}",
            )
        if is_closing or _is_closing(of_get) or address == _client_address(of_get):
            return
    expect(False, f"the server closes the connection after {request_line(of_head)}")  # noqa: FBT003


def _is_closing(response: httpx.Response) -> bool:
    return str(response.headers.get("Connection", "")).lower() == "close"


def _client_address(response: httpx.Response) -> object:
    """Return this side's address of the connection that a response came over."""
    return response.extensions["network_stream"].get_extra_info("client_addr")


def _other_methods(server: ServerUnderTest, path: str) -> set[str]:
    """Return methods, beside GET, that are known to work on a path."""
    is_head_known = server.request("HEAD", path).status_code != METHOD_NOT_ALLOWED
    is_writable = server.profile.name == "platform" and path.startswith("/CFItems/")
    return {*(["HEAD"] if is_head_known else []), *(["PUT"] if is_writable else [])}


CHECKS = (
    Check("head", "reading", "RFC 9110, section 9.3.2", head, ALL),
    Check("allow", "errors", "RFC 9110, section 15.5.6", allow, ALL),
)

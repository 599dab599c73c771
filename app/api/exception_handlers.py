"""What went wrong, as an answer: the standard's imsx_StatusInfo in the spelling of the profile.

CASE 1.1 REST/JSON binding, section 6 (imsx_StatusInfo) and appendix B (codes).
"""

from __future__ import annotations

from http import HTTPStatus
from traceback import clear_frames
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount

from ..exceptions import CaseServerError, ErrorCode
from .profiles import PROFILES, Profile, canonical_path
from .responses import json_response

FIELD_NAME = "TargetEndSystem"
"""Who reports the minor code: the system the request was for, as the vendor's API says it."""

MOST_PROBLEMS = 1000
"""How many problems an answer lists; its description says how many there are."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The methods that routes may have; HEAD goes with GET."""

REASONS: dict[int, ErrorCode] = {404: "unknown", 405: "unsupported"}


def profile_for_path(path: str) -> Profile:
    """The profile a path belongs to; outside all of them, the first."""
    path = canonical_path(path)
    return next((one for one in PROFILES if f"{path}/".startswith(f"{one.prefix}/")), PROFILES[0])


def status_info(profile: Profile, error: CaseServerError) -> dict[str, Any]:
    """The body of an error."""
    minor = {
        "imsx_codeMinorField": [
            {
                "imsx_codeMinorFieldName": FIELD_NAME,
                "imsx_codeMinorFieldValue": profile.minor_code(error.code),
            }
        ]
    }
    body: dict[str, Any] = {
        "imsx_codeMajor": "failure",
        "imsx_severity": "error",
        "imsx_description": error.description,
        **dict.fromkeys(profile.code_minor_names, minor),
    }
    if profile.error_details:
        body["imsx_error_details"] = error.problems[:MOST_PROBLEMS]
    return body


def error_response(path: str, error: CaseServerError) -> Response:
    """The answer to a request that cannot be answered as asked."""
    return json_response(status_info(profile_for_path(path), error), error.status, error.headers)


def error_response_and_release(path: str, error: CaseServerError) -> Response:
    """As ``refusal``, once nobody needs the error any more.

    The frames in which it arose hold the body that was refused, and often hold the error, too:
    left alone, all of them would stay until the next search for garbage.
    """
    response = error_response(path, error)
    one: BaseException | None = error
    while one is not None:
        clear_frames(one.__traceback__)
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return response


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, CaseServerError)
    return error_response_and_release(request.scope["path"], error)


async def _refuse_route(request: Request, error: Exception) -> Response:
    """Answer a request for a path that does not exist, or not with its method."""
    assert isinstance(error, HTTPException)
    path, method, headers = request.url.path, request.method, dict(error.headers or {})
    description = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        docs = f"{request.scope['root_path']}/docs"
        description = f"there is nothing at {path}; {docs} lists what there is"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(allowed_methods(request))
        description = f"{method} is not possible at {path}: use {headers['Allow']}"
    reason = REASONS.get(error.status_code, "invalid")
    info = status_info(
        profile_for_path(request.scope["path"]), CaseServerError(description, code=reason)
    )
    return json_response(info, error.status_code, headers)


def allowed_methods(request: Request) -> list[str]:
    """Return the methods that the path of a request has on any of its routes.

    Starlette names those of the first route alone (RFC 9110, section 15.5.6).
    """
    methods = set()
    for route in request.app.routes:
        if isinstance(route, Mount):
            tried: tuple[str, ...] = ("GET",)  # files, whatever the method
        else:
            tried = METHODS
        for method in tried:
            scope = {"type": "http", "path": request.scope["path"], "method": method}
            if route.matches(scope)[0] == Match.FULL:
                methods.add(method)
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def add_exception_handlers(app: FastAPI) -> None:
    """Answer every error of ours, and every unknown route, in this shape."""
    app.add_exception_handler(CaseServerError, _refuse)
    app.add_exception_handler(HTTPException, _refuse_route)

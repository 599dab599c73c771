"""Errors: their statuses and what their bodies say."""

from __future__ import annotations

import uuid

import httpx

from ..check import ALL, PLATFORM, SDK, STANDARD, VENDOR, Check
from ..client import (
    Body,
    ServerUnderTest,
    Skip,
    describe,
    entity_path,
    expect,
    expect_status,
    read_json,
)

PLURALS = ("CFDocuments", "CFItems", "CFAssociations", "CFPackages")
MAJORS = {"success", "processing", "failure", "unsupported"}
SEVERITIES = {"status", "warning", "error"}
CLOSED = {"imsx_codeMajor", "imsx_severity", "imsx_description", "imsx_codeMinor"}
NOBODYS = "not.a.token"
REQUEST_ID = "case-server-conform"


def unknown(server: ServerUnderTest) -> str:
    """An identifier that nothing has is answered with 404."""
    for plural in PLURALS:
        expect_status(_unknown(server, plural), 404)
    return f"404 for {', '.join(PLURALS)}"


def unknown_set(server: ServerUnderTest) -> str:
    """An identifier that no subject, concept, item type or rubric has is answered with 404."""
    plurals = ("CFSubjects", "CFConcepts", "CFItemTypes", "CFRubrics", "CFItemAssociations")
    for plural in plurals:
        expect_status(_unknown(server, plural), 404)
    return f"404 for {', '.join(plurals)}"


def body(server: ServerUnderTest) -> str:
    """An error is JSON with imsx_codeMajor, imsx_severity, a description and a minor code."""
    found = _status_info(server, _unknown(server, "CFDocuments"))
    return f"{found['imsx_codeMajor']}, {found['imsx_severity']}"


def minor_of_unknown(server: ServerUnderTest) -> str:
    """The minor code of an unknown identifier is unknownobject."""
    return _minor(server, _unknown(server, "CFDocuments"), "unknownobject")


def minor_of_unauthorised(server: ServerUnderTest) -> str:
    """The minor code of a 401 says unauthorised_request, in the spelling of the profile."""
    response = server.request("GET", "/CFDocuments", token=NOBODYS)
    if response.is_success:
        raise Skip("the server reads without a token")
    wanted = server.profile.minor_codes.get("unauthorised", "unauthorisedrequest")
    return _minor(server, response, wanted)


def malformed(server: ServerUnderTest) -> str:
    """An identifier that is no UUID is answered with 404, and invalid_uuid or unknownobject."""
    response = server.get(entity_path("CFDocuments", "no-uuid"))
    expect_status(response, 404)
    allowed = {server.profile.minor_codes["malformed"], server.profile.minor_codes["unknown"]}
    return _minor(server, response, *sorted(allowed))


def unknown_route(server: ServerUnderTest) -> str:
    """A path that does not exist is answered with 404, in the shape of every error."""
    response = server.get("/CFNothing")
    expect_status(response, 404)
    _status_info(server, response)
    return "404"


def wrong_method(server: ServerUnderTest) -> str:
    """A method that a path does not have is answered with 405, in the shape of every error."""
    response = server.request("PATCH", entity_path("CFItems", str(uuid.uuid4())))
    expect_status(response, 405)
    _status_info(server, response)
    return "405"


def bad_parameters(server: ServerUnderTest) -> str:
    """A bad limit, offset, sort, orderBy, filter or fields is answered with 400."""
    wrong = {
        "limit": "0", "offset": "-1", "sort": "nothing", "orderBy": "up", "filter": "title",
        "fields": "nothing",
    }  # fmt: skip
    for name, value in wrong.items():
        response = server.get("/CFDocuments", **{name: value})
        expect(
            response.status_code == httpx.codes.BAD_REQUEST,
            f"{name}={value} {describe(response)}",
        )
    return f"400 for each of {', '.join(wrong)}"


def request_id(server: ServerUnderTest) -> str:
    """An response carries the X-Request-ID of its request."""
    response = server.request("GET", "/CFDocuments", headers={"X-Request-ID": REQUEST_ID})
    said = response.headers.get("X-Request-ID")
    expect(said == REQUEST_ID, f"sent {REQUEST_ID}, got {said!r}")
    return REQUEST_ID


def trailing_slash(server: ServerUnderTest) -> str:
    """A path with a slash at its end is answered as without, not redirected."""
    response = server.get("/CFDocuments/")
    expect_status(response, 200)
    return "200"


def _unknown(server: ServerUnderTest, plural: str) -> httpx.Response:
    return server.get(entity_path(plural, str(uuid.uuid4())))


def _status_info(server: ServerUnderTest, response: httpx.Response) -> Body:
    found = read_json(response, response.status_code)
    major, severity = found.get("imsx_codeMajor"), found.get("imsx_severity")
    expect(major in MAJORS, f"imsx_codeMajor is {major!r}; it {describe(response)}")
    expect(severity in SEVERITIES, f"imsx_severity is {severity!r}; it {describe(response)}")
    if server.profile.closed:
        more = found.keys() - CLOSED
        expect(not more, f"{', '.join(sorted(more))} is not of the standard")
        return found
    description = found.get("imsx_description")
    expect(isinstance(description, str), f"imsx_description is {description!r}")
    _codes(server, found)
    return found


def _codes(server: ServerUnderTest, found: Body) -> list[str]:
    key = server.profile.minor_key
    holder = found.get(key)
    fields = holder.get("imsx_codeMinorField") if isinstance(holder, dict) else None
    expect(isinstance(fields, list) and fields, f"there is no {key}.imsx_codeMinorField")
    return [str(one.get("imsx_codeMinorFieldValue")) for one in fields or ()]


def _minor(server: ServerUnderTest, response: httpx.Response, *wanted: str) -> str:
    codes = _codes(server, _status_info(server, response))
    told = " or ".join(wanted)
    expect(set(codes) & set(wanted), f"the minor code is {', '.join(codes)}, not {told}")
    return ", ".join(codes)


IMSX = "vendor's OpenAPI, errors; binding, imsx_StatusInfo"
CODED = (*SDK, *STANDARD)
OURS = "README, Where the public sources are silent"

CHECKS = (
    Check("unknown", "errors", "vendor's OpenAPI; binding, section 6", unknown),
    Check("unknown-set", "errors", "binding, section 6", unknown_set, (*PLATFORM, *STANDARD), SDK),
    Check("error-body", "errors", IMSX, body, CODED, PLATFORM),
    Check("minor-unknown", "errors", IMSX, minor_of_unknown, CODED, PLATFORM),
    Check("minor-unauthorised", "errors", IMSX, minor_of_unauthorised, CODED, PLATFORM),
    Check("malformed", "errors", "binding, section 6", malformed, STANDARD),
    Check("unknown-route", "errors", OURS, unknown_route, (), ALL),
    Check("wrong-method", "errors", OURS, wrong_method, (), ALL),
    Check("bad-parameters", "errors", OURS, bad_parameters, (), ALL),
    Check("request-id", "errors", "README, What it answers", request_id, (), ALL),
    Check("trailing-slash", "errors", OURS, trailing_slash, (), VENDOR),
)

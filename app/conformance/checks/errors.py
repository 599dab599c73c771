"""Checks of error responses: their statuses and bodies."""

from __future__ import annotations

import uuid

import httpx

from ..check import ALL, PLATFORM, SDK, SILENT, STANDARD, VENDOR, check
from ..client import ServerUnderTest, build_entity_path
from ..responses import (
    Body,
    CheckSkipped,
    describe_request,
    describe_response,
    expect,
    expect_status,
    read_json,
)
from .tokens import send_unauthenticated_request

COLLECTIONS = ("CFDocuments", "CFItems", "CFAssociations", "CFPackages")
SET_COLLECTIONS = ("CFSubjects", "CFConcepts", "CFItemTypes", "CFRubrics", "CFItemAssociations")
MAJOR_CODES = {"success", "processing", "failure", "unsupported"}
SEVERITIES = {"status", "warning", "error"}
STATUS_INFO_FIELDS = {"imsx_codeMajor", "imsx_severity", "imsx_description", "imsx_codeMinor"}
INVALID_TOKEN = "not.a.token"  # noqa: S105  servers must reject it
REQUEST_ID = "case-server-conformance"
INVALID_PARAMETERS = {
    "limit": "0",
    "offset": "-1",
    "sort": "nothing",
    "orderBy": "up",
    "filter": "title",
    "fields": "nothing",
}

STATUS_INFO = "vendor's OpenAPI, errors; binding, imsx_StatusInfo"
CODED = (*SDK, *STANDARD)


@check("errors", "unknown", "vendor's OpenAPI; binding, section 6")
def check_unknown_identifier(server: ServerUnderTest) -> str:
    """Check that GET with an unknown identifier returns 404."""
    return _expect_unknown(server, COLLECTIONS)


@check(
    "errors",
    "unknown-set",
    "binding, section 6",
    profiles=(*PLATFORM, *STANDARD),
    extension_profiles=SDK,
)
def check_unknown_definition(server: ServerUnderTest) -> str:
    """Check that GET of an unknown subject, concept, item type or rubric returns 404."""
    return _expect_unknown(server, SET_COLLECTIONS)


@check("errors", "error-body", STATUS_INFO, profiles=CODED, extension_profiles=PLATFORM)
def check_error_body(server: ServerUnderTest) -> str:
    """Check that an error has imsx_codeMajor, imsx_codeMinor, imsx_severity, imsx_description."""
    info = _read_status_info(server, _get_unknown(server, "CFDocuments"))
    return f"{info['imsx_codeMajor']}, {info['imsx_severity']}"


@check("errors", "minor-unknown", STATUS_INFO, profiles=CODED, extension_profiles=PLATFORM)
def check_minor_code_of_unknown_identifier(server: ServerUnderTest) -> str:
    """Check that for an unknown identifier, the imsx_codeMinor of the 404 is unknownobject."""
    return _expect_minor_code(server, _get_unknown(server, "CFDocuments"), "unknownobject")


@check("errors", "minor-unauthorised", STATUS_INFO, profiles=CODED, extension_profiles=PLATFORM)
def check_minor_code_of_invalid_token(server: ServerUnderTest) -> str:
    """Check that the imsx_codeMinor of a 401 is unauthorised_request or unauthorisedrequest."""
    response = send_unauthenticated_request(server, INVALID_TOKEN)
    return _expect_minor_code(server, response, server.profile.unauthorized_code)


@check("errors", "malformed", "binding, section 6", profiles=STANDARD)
def check_malformed_identifier(server: ServerUnderTest) -> str:
    """Check that GET with a malformed UUID returns 404 and invalid_uuid or unknownobject."""
    response = server.get(build_entity_path("CFDocuments", "no-uuid"))
    expect_status(response, 404)
    return _expect_minor_code(server, response, server.profile.malformed_code, "unknownobject")


@check("errors", "unknown-route", SILENT, profiles=(), extension_profiles=ALL)
def check_unknown_route(server: ServerUnderTest) -> str:
    """Check that an unknown path returns 404 and an error body."""
    response = server.get("/CFNothing")
    expect_status(response, 404)
    _read_status_info(server, response)
    return "404"


@check("errors", "wrong-method", SILENT, profiles=(), extension_profiles=ALL)
def check_unsupported_method(server: ServerUnderTest) -> str:
    """Check that a method that the path does not support returns 405 and an error body."""
    response = server.request("PATCH", build_entity_path("CFItems", str(uuid.uuid4())))
    expect_status(response, 405)
    _read_status_info(server, response)
    return "405"


@check("errors", "bad-parameters", SILENT, profiles=(), extension_profiles=ALL)
def check_invalid_parameters(server: ServerUnderTest) -> str:
    """Check that an invalid limit, offset, sort, orderBy, filter or fields value returns 400."""
    for name, value in INVALID_PARAMETERS.items():
        response = server.get("/CFDocuments", **{name: value})
        is_refused = response.status_code == httpx.codes.BAD_REQUEST
        expect(is_refused, f"{name}={value} {describe_response(response)}")
    return f"400 for each of {', '.join(INVALID_PARAMETERS)}"


@check("errors", "request-id", SILENT, profiles=(), extension_profiles=ALL)
def check_request_id(server: ServerUnderTest) -> str:
    """Check that a response echoes the X-Request-ID header of its request."""
    response = server.request("GET", "/CFDocuments", headers={"X-Request-ID": REQUEST_ID})
    value = response.headers.get("X-Request-ID")
    expect(value == REQUEST_ID, f"sent {REQUEST_ID}, got {value!r}")
    return REQUEST_ID


@check("errors", "trailing-slash", SILENT, profiles=(), extension_profiles=VENDOR)
def check_trailing_slash(server: ServerUnderTest) -> str:
    """Check that a trailing slash in a path is ignored, without a redirect."""
    response = server.get("/CFDocuments/")
    expect_status(response, 200)
    expect(not response.history, "it is redirected")
    return "200"


@check("errors", "allow", "RFC 9110, section 15.5.6")
def check_allow_header(server: ServerUnderTest) -> str:
    """Check that a 405 response lists every method of its path in the Allow header."""
    identifier = str(uuid.uuid4())
    paths = [build_entity_path(collection, identifier) for collection in ("CFItems", "CFPackages")]
    allowed_methods = []
    for path in ("/CFDocuments", *paths):
        response = server.request("PATCH", path)
        request = describe_request(response.request)
        if response.status_code != httpx.codes.METHOD_NOT_ALLOWED:
            raise CheckSkipped(f"{request} returned {response.status_code}, not 405")
        methods = {word.strip() for word in response.headers.get("Allow", "").split(",")}
        method_list = ", ".join(sorted(methods))
        has_head = server.request("HEAD", path).status_code != httpx.codes.METHOD_NOT_ALLOWED
        has_put = server.profile.name == "platform" and path.startswith("/CFItems/")
        required = {"GET": True, "HEAD": has_head, "PUT": has_put}
        missing_methods = {
            method for method, is_required in required.items() if is_required
        } - methods
        expect(not missing_methods, f"{request}: Allow is {method_list or 'missing'}")
        allowed_methods.append(method_list)
    return "; ".join(allowed_methods)


def _get_unknown(server: ServerUnderTest, collection: str) -> httpx.Response:
    return server.get(build_entity_path(collection, str(uuid.uuid4())))


def _expect_unknown(server: ServerUnderTest, collections: tuple[str, ...]) -> str:
    for collection in collections:
        expect_status(_get_unknown(server, collection), 404)
    return f"404 for {', '.join(collections)}"


def _read_status_info(server: ServerUnderTest, response: httpx.Response) -> Body:
    info = read_json(response, response.status_code)
    for name, values in (("imsx_codeMajor", MAJOR_CODES), ("imsx_severity", SEVERITIES)):
        value = info.get(name)
        expect(value in values, f"{name} is {value!r}: {describe_response(response)}")
    if server.profile.is_standard:
        extra_fields = info.keys() - STATUS_INFO_FIELDS
        expect(not extra_fields, f"not in the standard: {', '.join(sorted(extra_fields))}")
        return info
    description = info.get("imsx_description")
    expect(isinstance(description, str), f"imsx_description is {description!r}")
    _get_minor_codes(server, info)
    return info


def _get_minor_codes(server: ServerUnderTest, info: Body) -> list[str]:
    key = server.profile.minor_key
    parent = info.get(key)
    fields = parent.get("imsx_codeMinorField") if isinstance(parent, dict) else None
    expect(isinstance(fields, list) and fields, f"no {key}.imsx_codeMinorField")
    return [str(field.get("imsx_codeMinorFieldValue")) for field in fields or ()]


def _expect_minor_code(server: ServerUnderTest, response: httpx.Response, *expected: str) -> str:
    codes = _get_minor_codes(server, _read_status_info(server, response))
    is_expected = set(codes) & set(expected)
    expect(is_expected, f"the minor code is {', '.join(codes)}, not {' or '.join(expected)}")
    return ", ".join(codes)

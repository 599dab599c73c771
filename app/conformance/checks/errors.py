"""Errors: their statuses and what their bodies say."""

from __future__ import annotations

import uuid

import httpx

from ..check import ALL, PLATFORM, SDK, STANDARD, VENDOR, Check
from ..client import Body, ServerUnderTest, Skip, expect, expect_status, json_of, path_of, seen

PLURALS = ("CFDocuments", "CFItems", "CFAssociations", "CFPackages")
MAJORS = {"success", "processing", "failure", "unsupported"}
SEVERITIES = {"status", "warning", "error"}
CLOSED = {"imsx_codeMajor", "imsx_severity", "imsx_description", "imsx_codeMinor"}
NOBODYS = "not.a.token"
REQUEST_ID = "case-server-conform"


def unknown(target: ServerUnderTest) -> str:
    """An identifier that nothing has is answered with 404."""
    for plural in PLURALS:
        expect_status(_unknown(target, plural), 404)
    return f"404 for {', '.join(PLURALS)}"


def unknown_set(target: ServerUnderTest) -> str:
    """An identifier that no subject, concept, item type or rubric has is answered with 404."""
    plurals = ("CFSubjects", "CFConcepts", "CFItemTypes", "CFRubrics", "CFItemAssociations")
    for plural in plurals:
        expect_status(_unknown(target, plural), 404)
    return f"404 for {', '.join(plurals)}"


def body(target: ServerUnderTest) -> str:
    """An error is JSON with imsx_codeMajor, imsx_severity, a description and a minor code."""
    found = _status_info(target, _unknown(target, "CFDocuments"))
    return f"{found['imsx_codeMajor']}, {found['imsx_severity']}"


def minor_of_unknown(target: ServerUnderTest) -> str:
    """The minor code of an unknown identifier is unknownobject."""
    return _minor(target, _unknown(target, "CFDocuments"), "unknownobject")


def minor_of_unauthorised(target: ServerUnderTest) -> str:
    """The minor code of a 401 says unauthorised_request, in the spelling of the profile."""
    answer = target.send("GET", "/CFDocuments", token=NOBODYS)
    if answer.is_success:
        raise Skip("the server reads without a token")
    wanted = target.contract.minors.get("unauthorised", "unauthorisedrequest")
    return _minor(target, answer, wanted)


def malformed(target: ServerUnderTest) -> str:
    """An identifier that is no UUID is answered with 404, and invalid_uuid or unknownobject."""
    answer = target.get(path_of("CFDocuments", "no-uuid"))
    expect_status(answer, 404)
    allowed = {target.contract.minors["malformed"], target.contract.minors["unknown"]}
    return _minor(target, answer, *sorted(allowed))


def unknown_route(target: ServerUnderTest) -> str:
    """A path that does not exist is answered with 404, in the shape of every error."""
    answer = target.get("/CFNothing")
    expect_status(answer, 404)
    _status_info(target, answer)
    return "404"


def wrong_method(target: ServerUnderTest) -> str:
    """A method that a path does not have is answered with 405, in the shape of every error."""
    answer = target.send("PATCH", path_of("CFItems", str(uuid.uuid4())))
    expect_status(answer, 405)
    _status_info(target, answer)
    return "405"


def bad_parameters(target: ServerUnderTest) -> str:
    """A bad limit, offset, sort, orderBy, filter or fields is answered with 400."""
    wrong = {
        "limit": "0", "offset": "-1", "sort": "nothing", "orderBy": "up", "filter": "title",
        "fields": "nothing",
    }  # fmt: skip
    for name, value in wrong.items():
        answer = target.get("/CFDocuments", **{name: value})
        expect(answer.status_code == httpx.codes.BAD_REQUEST, f"{name}={value} {seen(answer)}")
    return f"400 for each of {', '.join(wrong)}"


def request_id(target: ServerUnderTest) -> str:
    """An answer carries the X-Request-ID of its request."""
    answer = target.send("GET", "/CFDocuments", headers={"X-Request-ID": REQUEST_ID})
    said = answer.headers.get("X-Request-ID")
    expect(said == REQUEST_ID, f"sent {REQUEST_ID}, got {said!r}")
    return REQUEST_ID


def trailing_slash(target: ServerUnderTest) -> str:
    """A path with a slash at its end is answered as without, not redirected."""
    answer = target.get("/CFDocuments/")
    expect_status(answer, 200)
    return "200"


def _unknown(target: ServerUnderTest, plural: str) -> httpx.Response:
    return target.get(path_of(plural, str(uuid.uuid4())))


def _status_info(target: ServerUnderTest, answer: httpx.Response) -> Body:
    found = json_of(answer, answer.status_code)
    major, severity = found.get("imsx_codeMajor"), found.get("imsx_severity")
    expect(major in MAJORS, f"imsx_codeMajor is {major!r}; it {seen(answer)}")
    expect(severity in SEVERITIES, f"imsx_severity is {severity!r}; it {seen(answer)}")
    if target.contract.closed:
        more = found.keys() - CLOSED
        expect(not more, f"{', '.join(sorted(more))} is not of the standard")
        return found
    description = found.get("imsx_description")
    expect(isinstance(description, str), f"imsx_description is {description!r}")
    _codes(target, found)
    return found


def _codes(target: ServerUnderTest, found: Body) -> list[str]:
    key = target.contract.minor_key
    holder = found.get(key)
    fields = holder.get("imsx_codeMinorField") if isinstance(holder, dict) else None
    expect(isinstance(fields, list) and fields, f"there is no {key}.imsx_codeMinorField")
    return [str(one.get("imsx_codeMinorFieldValue")) for one in fields or ()]


def _minor(target: ServerUnderTest, answer: httpx.Response, *wanted: str) -> str:
    codes = _codes(target, _status_info(target, answer))
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

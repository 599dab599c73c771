"""Hostile bodies and header fields, sent to every operation that reads a body.

Each must be rejected with a response body that names the problem, and must not need more memory
than the largest allowed body.
"""

import re
from itertools import product

import httpx
from support import factories
from support.live_server import LiveServer

from stress import large_bodies
from stress.hostile_bodies import BODIES, OPERATIONS
from stress.large_bodies import BACKGROUND, HOSTILE, SERVER
from stress.report import ScenarioReport
from stress.server import create_client, monitor_memory, send_background_requests

PROFILES = ("/case/1.1", "/ims/case/v1p1")
TOKEN_PATHS = ("/oauth2/token", "/oauth/token", "/auth/1.0/token")
HEADERS: dict[str, dict[str, str]] = {
    "gzip": {"Content-Encoding": "gzip"},
    "XML": {"Content-Type": "application/xml"},
    "text": {"Content-Type": "text/plain; charset=utf-16"},
    "a form": {"Content-Type": "application/x-www-form-urlencoded"},
    "multipart": {"Content-Type": "multipart/form-data; boundary=x"},
    "nonsense": {"Content-Type": "\\;;;="},
}

CONDITIONS: dict[str, tuple[str, str]] = {
    "a tag of 9,000 digits": ("If-None-Match", "{tag}"),
    "five hundred tags": ("If-None-Match", '"00000000-1-1-1-000000000000",' * 500),
    "a date beyond year 9999": ("If-Modified-Since", "Mon, 01 Jan 99999 00:00:00 GMT"),
    "a date with an invalid offset": ("If-Modified-Since", "Mon, 01 Jan 2024 00:00:00 +9999999999"),
    "the first possible date": ("If-Modified-Since", "Mon, 01 Jan 0001 00:00:00 +2359"),
    "a date with 5,000 digits": ("If-Modified-Since", f"Mon, {'9' * 5000} Jan 2024 00:00:00 GMT"),
    "an encoding of blanks": ("Accept-Encoding", "a" + " " * 30_000 + "!"),
    "an encoding that weighs nothing": ("Accept-Encoding", "gzip;q=9.9.9,*;q=x"),
}
"""Header fields of hostile reads of a package."""

READS: dict[str, tuple[str, dict[str, str]]] = {
    **{what: ("/CFPackages/{id}", dict([field])) for what, field in CONDITIONS.items()},
    "a Host of brackets": ("/CFItems", {"Host": "[[["}),
    "a Host that is empty": ("/CFItems/x", {"Host": ""}),
    "a Host with a path": ("/CFNothing", {"Host": "a/b?c#d"}),
    "a limit of 9,000 digits": (f"/CFItems?limit={'9' * 9000}", {}),
    "an offset beyond 64 bits": ("/CFItems?offset=99999999999999999999", {}),
    "an offset at the end of 64 bits": ("/CFItems?offset=9223372036854775807", {}),
    "digits that are not ASCII": ("/CFItems?limit=%D9%A3&offset=%C2%B2", {}),
    "a NUL in a filter": ("/CFItems?filter=notes%3D'%00'", {}),
    "a surrogate in a filter": ("/CFItems?filter=notes%3D'%ED%A0%80'", {}),
    "a NUL in a path": ("/CFItems/%00", {}),
    "broken UTF-8 in a path": ("/CFItems/%FF%FE", {}),
    "a long path": (f"/CFItems/{'x' * 20_000}", {}),
    "three hundred times the same field": ("/CFItems?" + "fields=identifier&" * 300, {}),
    "a cursor of nonsense": ("/changes?since=%00%FF", {}),
    "a cursor of digits": (f"/changes?since={'9' * 9000}", {}),
    "a token of 60 kB": ("/CFItems", {"Authorization": "Bearer " + "x.y" * 20_000}),
    "a token of dots": ("/CFItems", {"Authorization": "Bearer ..."}),
    "a token that is no text": ("/CFItems", {"Authorization": "Bearer \xff\xfe"}),
}
"""Reads with hostile parameters; any response but a server error is allowed."""


CLIENT_ERRORS, NO_SERVER_ERRORS = range(400, 500), range(200, 500)


async def send_hostile_requests(server: LiveServer, max_body_mb: int) -> ScenarioReport:
    """Send all hostile bodies and headers to a server, and check that it rejects each of them.

    ``max_body_mb`` is the server's limit for bodies in megabytes. The report contains the growth of
    the server's memory, and the latency of normal requests that are sent at the same time.
    """
    report = ScenarioReport()
    async with (
        create_client(server) as http,
        monitor_memory(server) as report.memory[SERVER],
        send_background_requests(server) as report.seconds[BACKGROUND],
    ):
        bodies = {description: make() for description, make in BODIES.items()}
        for prefix in PROFILES:
            await _send_bodies(report, http, prefix, bodies)
            await _send_reads(report, http, prefix)
        await _send_token_requests(report, http, bodies)
        await large_bodies.send_large_bodies(report, http, max_body_mb)
    return report


async def _send_bodies(
    report: ScenarioReport, http: httpx.AsyncClient, prefix: str, bodies: dict[str, bytes]
) -> None:
    all_bodies = {**bodies, **dict.fromkeys(HEADERS, b"{")}
    for (method, path), (description, body) in product(OPERATIONS, all_bodies.items()):
        target, headers = prefix + path, HEADERS.get(description)
        response = await http.request(method, target, content=body, headers=headers)
        request = f"{description} to {method} {target}"
        report.record_timed_response(HOSTILE, request, response, CLIENT_ERRORS)


async def _send_reads(report: ScenarioReport, http: httpx.AsyncClient, prefix: str) -> None:
    package = factories.package()
    identifier = package["CFDocument"]["identifier"]
    upload_response = await http.post(f"{prefix}/CFPackages", json=package)
    assert upload_response.status_code == 201, upload_response.text
    tag = (await http.get(f"{prefix}/CFPackages/{identifier}")).headers["ETag"]
    # A valid ETag except for its numbers, so that the server parses them.
    long_tag = re.sub(r"-\d+-", f"-{'9' * 9000}-", tag, count=1)
    for description, (path, headers) in READS.items():
        url = prefix + path.replace("{id}", identifier)
        raw_headers = [
            (name.encode(), value.replace("{tag}", long_tag).encode("latin-1"))
            for name, value in headers.items()
        ]
        try:
            response = await http.get(url, headers=raw_headers)
        except httpx.HTTPError as error:
            report.record_violation(f"{description}: {error!r}")
            continue
        report.record_timed_response(
            HOSTILE, f"{description} ({prefix})", response, NO_SERVER_ERRORS
        )


async def _send_token_requests(
    report: ScenarioReport, http: httpx.AsyncClient, bodies: dict[str, bytes]
) -> None:
    kinds = ("application/json", "application/x-www-form-urlencoded", "text/plain", "\\")
    for path, (description, body), kind in product(TOKEN_PATHS, bodies.items(), kinds):
        headers = {"Content-Type": kind, "Authorization": ""}
        response = await http.post(path, content=body, headers=headers)
        request = f"{description} as {kind} to {path}"
        report.record_timed_response(HOSTILE, request, response, CLIENT_ERRORS)

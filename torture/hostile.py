"""Bodies and headers that nobody sends by mistake, to every way into the server.

Each is refused with the standard's status body, which names the problem, and costs no more memory
than the largest body the server says it reads.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import factories
import httpx
from live import Live

from .bodies import BODIES
from .server import MEGABYTE, Memory, client, watched

WAYS_IN = (
    ("PUT", "/CFDocuments/x"),
    ("PUT", "/CFItems/x"),
    ("PUT", "/CFItemTypes/x"),
    ("PUT", "/CFItemAssociations/x"),
    ("POST", "/CFPackages"),
    ("PUT", "/CFPackages/x"),
    ("POST", "/CFPackages?repair=true"),
)
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

READS: dict[str, tuple[str, dict[str, str]]] = {
    "a tag of 9,000 digits": (
        "/CFPackages/{id}",
        {"If-None-Match": "{tag}"},
    ),
    "five hundred tags": (
        "/CFPackages/{id}",
        {"If-None-Match": '"00000000-1-1-1-000000000000",' * 500},
    ),
    "a moment beyond the calendar": (
        "/CFPackages/{id}",
        {"If-Modified-Since": "Mon, 01 Jan 99999 00:00:00 GMT"},
    ),
    "a moment in an impossible zone": (
        "/CFPackages/{id}",
        {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 +9999999999"},
    ),
    "the first moment there is": (
        "/CFPackages/{id}",
        {"If-Modified-Since": "Mon, 01 Jan 0001 00:00:00 +2359"},
    ),
    "a moment of huge numbers": (
        "/CFPackages/{id}",
        {"If-Modified-Since": f"Mon, {'9' * 5000} Jan 2024 00:00:00 GMT"},
    ),
    "an encoding of blanks": ("/CFPackages/{id}", {"Accept-Encoding": "a" + " " * 30_000 + "!"}),
    "an encoding that weighs nothing": (
        "/CFPackages/{id}",
        {"Accept-Encoding": "gzip;q=9.9.9,*;q=x"},
    ),
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
"""Requests that read, with what they carry; answered or refused, but never failed on."""


@dataclass
class Tally:
    """What was tried and how it was answered."""

    tried: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: Memory | None = None
    slowest: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.tried:,} hostile requests, answers {dict(sorted(self.answers.items()))}, "
            f"slowest {self.slowest:.2f} s, {self.memory}; {len(self.wrong)} wrong"
        )

    def judge(self, what: str, answer: httpx.Response, allowed: range) -> None:
        """Whether a refusal is one, and says why."""
        self.tried += 1
        self.answers[answer.status_code] += 1
        self.slowest = max(self.slowest, answer.elapsed.total_seconds())
        if answer.status_code not in allowed:
            self.wrong.append(f"{what}: {answer.status_code} {answer.text[:200]}")
        elif answer.status_code >= 400:
            try:
                body = answer.json()
            except ValueError:
                body = {}
            if not (body.get("imsx_description") or body.get("error_description")):
                self.wrong.append(f"{what}: {answer.status_code} says nothing: {answer.text[:200]}")


REFUSED, ANSWERED = range(400, 500), range(200, 500)


async def run(live: Live, body_mb: int) -> Tally:
    """Try everything on a server that reads bodies of ``body_mb`` megabytes at most."""
    tally = Tally()
    async with client(live) as http, watched(live) as tally.memory:
        for prefix in PROFILES:
            await _bodies(tally, http, prefix)
            await _reads(tally, http, prefix)
        await _tokens(tally, http)
        await _large(tally, http, body_mb)
    return tally


async def _bodies(tally: Tally, http: httpx.AsyncClient, prefix: str) -> None:
    for method, path in WAYS_IN:
        for what, make in BODIES.items():
            answer = await http.request(method, prefix + path, content=make())
            tally.judge(f"{what} to {method} {prefix}{path}", answer, REFUSED)
        for what, headers in HEADERS.items():
            answer = await http.request(method, prefix + path, content=b"{", headers=headers)
            tally.judge(f"{what} to {method} {prefix}{path}", answer, REFUSED)


async def _reads(tally: Tally, http: httpx.AsyncClient, prefix: str) -> None:
    package = factories.package()
    identifier = package["CFDocument"]["identifier"]
    made = await http.post(f"{prefix}/CFPackages", json=package)
    assert made.status_code == 201, made.text
    tag = (await http.get(f"{prefix}/CFPackages/{identifier}")).headers["ETag"]
    # Ours in all but its numbers, so that they are looked at.
    long_tag = re.sub(r"-\d+-", f"-{'9' * 9000}-", tag, count=1)
    for what, (path, headers) in READS.items():
        sent = {
            name: value.replace("{tag}", long_tag).encode("latin-1")
            for name, value in headers.items()
        }
        try:
            answer = await http.get(
                prefix + path.replace("{id}", identifier),
                headers=[*((name.encode(), value) for name, value in sent.items())],
            )
        except httpx.HTTPError as error:
            tally.wrong.append(f"{what}: {error!r}")
            continue
        tally.judge(f"{what} ({prefix})", answer, ANSWERED)


async def _tokens(tally: Tally, http: httpx.AsyncClient) -> None:
    kinds = ("application/json", "application/x-www-form-urlencoded", "text/plain", "\\")
    for path in TOKEN_PATHS:
        for what, make in BODIES.items():
            for kind in kinds:
                headers = {"Content-Type": kind, "Authorization": ""}
                answer = await http.post(path, content=make(), headers=headers)
                tally.judge(f"{what} as {kind} to {path}", answer, REFUSED)


def _large_bodies(megabytes: int) -> Iterator[tuple[str, bytes]]:
    """Bodies of just the size that is read, and the bombs that only look small."""
    size = megabytes * MEGABYTE
    yield "blanks", b" " * size
    yield "brackets", b"[" * size
    yield "a text", b'"' + b"x" * (size - 2) + b'"'
    yield "backslashes", b'"' + b"\\u0041" * ((size - 2) // 6) + b'"'
    yield "empty lists", b"[" + b"[]," * (size // 3 - 1) + b"0]"
    yield "empty items", b'{"CFItems":[' + b"{}," * (size // 3 - 10) + b"{}]}"
    # As dense as a body may be, and no denser.
    yield "sparse items", b'{"CFItems":[' + (b"{}," + b" " * 58) * (size // 61 - 5) + b"{}]}"
    yield "sparse texts", b'{"subject":[' + (b"0," + b" " * 19) * (size // 21 - 5) + b"0]}"
    fields = b",".join(b'"f%015d":0' % number for number in range(size // 21 - 5))
    yield "unknown fields", b'{"x":0,' + fields + b"}"
    yield "zeros", b"[" + b"0," * (size // 2 - 2) + b"0]"
    yield "a number", b"9" * size


async def _large(tally: Tally, http: httpx.AsyncClient, megabytes: int) -> None:
    for what, body in _large_bodies(megabytes):
        for method, path in (
            ("PUT", "/CFItems/x"),
            ("POST", "/CFPackages"),
            ("POST", "/CFPackages?repair=true"),
        ):
            answer = await http.request(method, f"/case/1.1{path}", content=body)
            tally.judge(f"{megabytes} MB of {what} to {path}", answer, REFUSED)
    too_much = b" " * (megabytes * MEGABYTE + 1)
    bomb = gzip.compress(bytes(megabytes * 10 * MEGABYTE), 1)
    for method, path in WAYS_IN:
        answer = await http.request(method, f"/case/1.1{path}", content=too_much)
        tally.judge(f"too much to {path}", answer, range(413, 414))
        answer = await http.request(method, f"/case/1.1{path}", content=_endless(megabytes))
        tally.judge(f"too much without a length to {path}", answer, range(413, 414))
        for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
            headers = {"Content-Encoding": coding}
            answer = await http.request(
                method, f"/case/1.1{path}", content=bomb[: 5 * MEGABYTE], headers=headers
            )
            tally.judge(f"a bomb in {coding} to {path}", answer, range(413, 416))


async def _endless(megabytes: int) -> AsyncIterator[bytes]:
    for _ in range(megabytes + 2):
        yield b" " * MEGABYTE

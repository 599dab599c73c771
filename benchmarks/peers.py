"""Another CASE server beside this one: the reads that any of them answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import httpx

from . import wrk
from .errors import BenchmarkError
from .lab import SEED, Lab, items_of, package_path, reads
from .results import Row, duration, per_second

AT_MOST = 200
"""So many of the peer's items are varied among."""


class Peer:
    """A CASE server at a base URL, such as ``https://case.example/ims/case/v1p1``."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self.headers = _authorisation()
        self._http = httpx.Client(headers=self.headers, timeout=120, follow_redirects=False)

    def get(self, path: str) -> httpx.Response:
        """Ask for a path; raises ``BenchmarkError`` unless it is answered well."""
        try:
            answer = self._http.get(f"{self.base_url}{path}")
        except httpx.HTTPError as error:
            raise BenchmarkError(f"{self.base_url} does not answer: {error}") from error
        if answer.status_code != httpx.codes.OK:
            raise BenchmarkError(f"{answer.url} answered {answer.status_code}: {answer.text[:300]}")
        return answer

    def requests(self, paths: list[str]) -> wrk.Requests:
        """GETs of paths below the base URL."""
        below = urlsplit(self.base_url).path
        return wrk.Requests(self.base_url, [f"{below}{path}" for path in paths], self.headers)


def peer(lab: Lab, base_url: str) -> Iterator[Row]:
    """The reads that make sense of any CASE server, beside the same reads of this one."""
    other = Peer(base_url)
    documents = other.get("/CFDocuments?limit=1").json().get("CFDocuments")
    if not documents:
        raise BenchmarkError(f"{base_url} has no CFDocument to read: load a framework there first")
    document = _name(documents[0])
    package = other.get(f"/CFPackages/{document}").json()
    package = package.get("CFPackage", package)
    items = [_name(item) for item in package.get("CFItems", [])][:AT_MOST]
    if not items:
        raise BenchmarkError(f"the package of {document} at {base_url} has no CFItems")
    with lab.serve(lab.framework()) as server:
        own = items_of(SEED, min(lab.sizes.items, AT_MOST))
        for title, path in (("GET one item", "/CFItems/"), ("GET CFItemAssociations", ASSOCIATED)):
            yield _beside(
                lab,
                f"{title}: {base_url}",
                reads(server, [f"{path}{one}" for one in own]),
                other.requests([f"{path}{one}" for one in items]),
            )
        yield _beside(
            lab,
            f"GET CFDocuments: {base_url}",
            reads(server, ["/CFDocuments?limit=100"]),
            other.requests(["/CFDocuments?limit=100"]),
        )
        yield _packages(lab, server.base_url, dict(server.headers), other, document)


ASSOCIATED = "/CFItemAssociations/"


def _beside(lab: Lab, title: str, ours: wrk.Requests, theirs: wrk.Requests) -> Row:
    own, other = (median(values) for values in lab.rates(ours, theirs))
    note = "limit: this server; measured: the other, over its own data"
    return Row(title, per_second(own), per_second(other), f"{other / own:.2f}", note=note)


def _packages(lab: Lab, base_url: str, headers: dict[str, str], other: Peer, document: str) -> Row:
    with httpx.Client(base_url=base_url, headers=headers, timeout=120) as http:
        ours, theirs = lab.interleaved(
            lambda: _took(lambda: http.get(package_path(SEED))),
            lambda: _took(lambda: other.get(f"/CFPackages/{document}")),
        )
    (own, size), (own_other, size_other) = (
        (median(one[0] for one in found), found[0][1]) for found in (ours, theirs)
    )
    note = f"limit: this server, {size:,} bytes; measured: the other, {size_other:,} bytes"
    title = f"GET package: {other.base_url}"
    return Row(title, duration(own), duration(own_other), f"{own_other / own:.2f}x", note=note)


def _took(read: Callable[[], httpx.Response]) -> tuple[float, int]:
    answer = read()
    return answer.elapsed.total_seconds(), len(answer.content)


def _authorisation() -> dict[str, str]:
    """A token from ``AGAINST_TOKEN_URL``; nothing where the peer is open."""
    token_url = os.environ.get("AGAINST_TOKEN_URL")
    if not token_url:
        return {}
    pair = (os.environ.get("AGAINST_CLIENT_ID", ""), os.environ.get("AGAINST_CLIENT_SECRET", ""))
    form = {"grant_type": "client_credentials"}
    if scope := os.environ.get("AGAINST_SCOPE"):
        form["scope"] = scope
    answer = httpx.post(token_url, data=form, auth=pair, timeout=30)
    if answer.status_code != httpx.codes.OK:
        raise BenchmarkError(f"{token_url} refused a token: {answer.text[:300]}")
    return {"Authorization": f"Bearer {json.loads(answer.text)['access_token']}"}


def _name(entity: dict[str, Any]) -> str:
    return str(entity.get("identifier") or entity["sourcedId"])

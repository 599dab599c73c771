"""Compare another CASE server with this one, with reads that every CASE server supports."""

import json
import os
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import httpx

from . import wrk
from .context import (
    SEED,
    BenchmarkContext,
    build_package_path,
    build_wrk_requests,
    list_item_paths,
)
from .errors import BenchmarkError
from .results import ResultRow, format_duration, format_rate

MAX_ITEMS = 200
"""Maximum number of different items to read."""


class PeerServer:
    """Another CASE server to compare with; its base URL ends in, for example, ``/v1p1``."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self.headers = _request_authorization_header()
        self._http = httpx.Client(headers=self.headers, timeout=120, follow_redirects=False)

    def get(self, path: str) -> httpx.Response:
        """Send a GET request and return the response.

        Raises ``BenchmarkError`` if the server cannot be reached, or the status is not 200.
        """
        try:
            response = self._http.get(f"{self.base_url}{path}")
        except httpx.HTTPError as error:
            raise BenchmarkError(f"could not connect to {self.base_url}: {error}") from error
        if response.status_code != httpx.codes.OK:
            text = response.text[:300]
            raise BenchmarkError(f"{response.url} returned {response.status_code}: {text}")
        return response

    def build_wrk_requests(self, paths: list[str]) -> wrk.WrkRequests:
        """Build GET requests for the load generator wrk from paths below the base URL."""
        prefix = urlsplit(self.base_url).path
        return wrk.WrkRequests(self.base_url, [f"{prefix}{path}" for path in paths], self.headers)


def measure_peer(context: BenchmarkContext, base_url: str) -> Iterator[ResultRow]:
    """Measure reads of another CASE server, compared with the same reads of this one."""
    other = PeerServer(base_url)
    documents = other.get("/CFDocuments?limit=1").json().get("CFDocuments")
    if not documents:
        raise BenchmarkError(f"{base_url} has no CFDocument to read: load a framework there first")
    document = _identifier(documents[0])
    package = other.get(f"/CFPackages/{document}").json()
    package = package.get("CFPackage", package)
    items = [_identifier(item) for item in package.get("CFItems", [])][:MAX_ITEMS]
    if not items:
        raise BenchmarkError(f"the package of {document} at {base_url} has no CFItems")
    with context.run_server(context.ensure_framework_database()) as server:
        item_count = min(context.sizes.item_count, MAX_ITEMS)
        for title, path in (
            ("GET one item", "/CFItems"),
            ("GET CFItemAssociations", "/CFItemAssociations"),
        ):
            yield _compare_rates(
                context,
                f"{title}: {base_url}",
                build_wrk_requests(server, list_item_paths(SEED, item_count, path)),
                other.build_wrk_requests([f"{path}/{identifier}" for identifier in items]),
            )
        yield _compare_rates(
            context,
            f"GET CFDocuments: {base_url}",
            build_wrk_requests(server, ["/CFDocuments?limit=100"]),
            other.build_wrk_requests(["/CFDocuments?limit=100"]),
        )
        yield _compare_packages(context, server.base_url, dict(server.headers), other, document)


def _compare_rates(
    context: BenchmarkContext,
    title: str,
    own_requests: wrk.WrkRequests,
    peer_requests: wrk.WrkRequests,
) -> ResultRow:
    own_rate, peer_rate = (
        median(values) for values in context.measure_rates(own_requests, peer_requests)
    )
    note = "baseline: this server; measured: the other one, with its own data"
    return ResultRow(
        title,
        format_rate(own_rate),
        format_rate(peer_rate),
        f"{peer_rate / own_rate:.2f}",
        note=note,
    )


def _compare_packages(
    context: BenchmarkContext,
    base_url: str,
    headers: dict[str, str],
    other: PeerServer,
    document: str,
) -> ResultRow:
    with httpx.Client(base_url=base_url, headers=headers, timeout=120) as http:
        own_results, peer_results = context.run_interleaved(
            lambda: _time_request(lambda: http.get(build_package_path(SEED))),
            lambda: _time_request(lambda: other.get(f"/CFPackages/{document}")),
        )
    (own_seconds, own_size), (peer_seconds, peer_size) = (
        (median(seconds for seconds, _ in results), results[0][1])
        for results in (own_results, peer_results)
    )
    note = (
        f"baseline: this server, {own_size:,} bytes; measured: the other one, {peer_size:,} bytes"
    )
    title = f"GET package: {other.base_url}"
    return ResultRow(
        title,
        format_duration(own_seconds),
        format_duration(peer_seconds),
        f"{peer_seconds / own_seconds:.2f}x",
        note=note,
    )


def _time_request(send: Callable[[], httpx.Response]) -> tuple[float, int]:
    """Call ``send``; return the request's duration in seconds and the response's size in bytes."""
    response = send()
    return response.elapsed.total_seconds(), len(response.content)


def _request_authorization_header() -> dict[str, str]:
    """Request a token for the other server and return it as an Authorization header.

    Returns no header if the environment variable ``AGAINST_TOKEN_URL``, the token endpoint, is
    unset.
    """
    token_url = os.environ.get("AGAINST_TOKEN_URL")
    if not token_url:
        return {}
    pair = (os.environ.get("AGAINST_CLIENT_ID", ""), os.environ.get("AGAINST_CLIENT_SECRET", ""))
    form = {"grant_type": "client_credentials"}
    if scope := os.environ.get("AGAINST_SCOPE"):
        form["scope"] = scope
    response = httpx.post(token_url, data=form, auth=pair, timeout=30)
    if response.status_code != httpx.codes.OK:
        raise BenchmarkError(f"{token_url} issued no token: {response.text[:300]}")
    return {"Authorization": f"Bearer {json.loads(response.text)['access_token']}"}


def _identifier(entity: dict[str, Any]) -> str:
    return str(entity.get("identifier") or entity["sourcedId"])

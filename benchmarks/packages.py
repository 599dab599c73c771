"""Reads of whole packages: cold, warm and compressed, unchanged, and as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from . import data, memory, wrk
from .client import Client, Response
from .lab import SEED, SMALL, Lab, items_of, package_path, reads, run_under_work, touch
from .processes import Server
from .results import Row, below, duration, failed, megabytes, rates, times

MAX_ADDED_MEMORY_BYTES = 25e6
MAX_FIRST_BYTE_SECONDS = 0.020
SMALL_CONNECTIONS = 4
"""Number of connections for small reads during large reads and writes."""
MAX_P99_RATIO = 5.0
"""Maximum ratio of the 99th percentiles of small reads with and without other work."""
ENCODINGS = ("gzip", "zstd", "identity")
REQUESTS_PER_ROUND = 40
"""Number of timings in a round, because a single one is short."""


def cold(lab: Lab) -> Iterator[Row]:
    """GET package after a change, compared with a cursor over its stored bodies."""
    title = f"GET package of {lab.sizes.items:,}, cold"
    name = lab.framework()
    with lab.serve(name) as server, lab.limit(name) as bare:
        with Client(server.base_url, server.headers) as client, Client(bare) as limit:
            client.get(package_path(SMALL))
            yield below(
                f"{title}: RSS added", _added(server, client), MAX_ADDED_MEMORY_BYTES, megabytes
            )
            stored = f"/packages/{data.identifier_of(SEED, 'document')}"
            limits, responses = lab.interleaved(
                lambda: limit.get(stored), lambda: _cold(client, package_path(SEED)), times=6
            )
            yield times(
                title, [each.seconds for each in limits], [each.seconds for each in responses], 1.6
            )
            first = median(each.first_byte for each in responses)
            yield below(f"{title}: first byte", first, MAX_FIRST_BYTE_SECONDS, duration)
        yield _small_reads(lab, server)


def _cold(client: Client, path: str) -> Response:
    touch(client)
    return client.get(path, Accept_Encoding="identity")


def _added(server: Server, client: Client) -> float:
    touch(client)
    memory.reset_peak(server.pid)
    before = memory.resident(server.pid)
    client.get(package_path(SEED), Accept_Encoding="identity")
    return memory.peak(server.pid) - before


def _small_reads(lab: Lab, server: Server) -> Row:
    """Return a row of the 99th percentile of small reads while packages are read cold."""
    load = reads(server, [f"/CFItems/{identifier}" for identifier in items_of(SEED, 100)])
    wrk.run(load, 1, SMALL_CONNECTIONS)
    with Client(server.base_url, server.headers) as client:
        quiet, busy = lab.interleaved(
            lambda: wrk.run(load, lab.seconds, SMALL_CONNECTIONS).p99,
            lambda: (
                run_under_work(
                    lambda: wrk.run(load, lab.seconds, SMALL_CONNECTIONS),
                    lambda: _cold(client, package_path(SEED)),
                ).p99
            ),
        )
    return times("p99 of small reads while packages are read cold", quiet, busy, MAX_P99_RATIO)


def warm(lab: Lab) -> Iterator[Row]:
    """GET package again, compressed or not, compared with constant bytes of the same size."""
    name = lab.framework()
    with (
        lab.serve(name) as server,
        lab.limit(name) as bare,
        Client(server.base_url, server.headers) as client,
        Client(bare) as limit,
    ):
        for encoding in ENCODINGS:
            yield from _warm(lab, client, limit, encoding)


def _warm(lab: Lab, client: Client, limit: Client, encoding: str) -> Iterator[Row]:
    title = f"GET package of {lab.sizes.items:,}, warm, {encoding}"
    path = package_path(SEED)
    for _ in range(2):
        response = client.get(path, Accept_Encoding=encoding)
    actual = response.headers.get("content-encoding", "identity")
    if actual != encoding:
        yield failed(title, ">= 0.8", f"the response has Content-Encoding {actual}")
        return
    if encoding == "identity":
        limits, durations = lab.interleaved(
            lambda: _cold(client, path).seconds,
            lambda: client.get(path, Accept_Encoding=encoding).seconds,
        )
        # Two medians of the same measurement differ by as much.
        yield times(f"{title}, compared with cold", limits, durations, 1.05)
        return
    (lab.constants() / encoding).write_bytes(response.body)
    constant = f"/constant/{encoding}"
    headers = {**client.headers, "Accept-Encoding": encoding}
    limit_rates, measured_rates = lab.rates(
        wrk.Requests(limit.base_url, [constant]), wrk.Requests(client.base_url, [path], headers)
    )
    size = megabytes(len(response.body))
    yield replace(rates(title, limit_rates, measured_rates, 0.8), note=f"{size} each")
    limits, durations = lab.interleaved(
        lambda: limit.get(constant).seconds,
        lambda: client.get(path, Accept_Encoding=encoding).seconds,
        times=REQUESTS_PER_ROUND,
    )
    row = times(f"{title}, one client", limits, durations, 1)
    yield replace(row, target="reported", meets_target=None)


def unchanged(lab: Lab) -> Iterator[Row]:
    """GET package with If-None-Match, compared with GET one item."""
    title, name, path = "GET package, If-None-Match", lab.framework(), package_path(SEED)
    with lab.serve(name) as server:
        with Client(server.base_url, server.headers) as client:
            etag = client.get(path).headers.get("etag")
            if not etag:
                yield failed(title, ">= 1", "the response has no ETag")
                return
            status = client.get(path, status=None, If_None_Match=etag).status
        if status != 304:
            yield failed(title, ">= 1", f"the status is {status}, not 304")
            return
        headers = {**server.headers, "If-None-Match": etag}
        item_rates, package_rates = lab.rates(
            reads(server, [f"/CFItems/{identifier}" for identifier in items_of(SEED, 100)]),
            wrk.Requests(server.base_url, [path], headers),
        )
    yield rates(title, item_rates, package_rates, 1.0)


def groups(lab: Lab) -> Iterator[Row]:
    """GET package as a tree, compared with GET package, both cold."""
    path = package_path(SEED)
    with lab.serve(lab.framework()) as server, Client(server.base_url, server.headers) as client:
        package_times, tree_times = lab.interleaved(
            lambda: _cold(client, path).seconds,
            lambda: _cold(client, f"{path}/groups").seconds,
            times=6,
        )
    yield times(
        f"GET groups of {lab.sizes.items:,}, compared with GET package, cold",
        package_times,
        tree_times,
        1.5,
    )

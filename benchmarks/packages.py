"""Reads of whole packages: cold, warm and compressed, unchanged, and as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from . import data, memory, wrk
from .client import Client, Response
from .lab import (
    SEED,
    SMALL,
    Lab,
    build_package_path,
    build_read_requests,
    change_one_item,
    list_item_identifiers,
    run_load_during_work,
)
from .processes import BenchmarkedServer
from .results import (
    ResultRow,
    compare_durations,
    compare_rates,
    compare_with_maximum,
    create_failed_row,
    format_duration,
    format_megabytes,
)

MAX_ADDED_MEMORY_BYTES = 25e6
MAX_FIRST_BYTE_SECONDS = 0.020
SMALL_CONNECTIONS = 4
"""Number of connections for small reads during large reads and writes."""
MAX_P99_RATIO = 5.0
"""Maximum ratio of the 99th percentile of small reads under other load to that without."""
ENCODINGS = ("gzip", "zstd", "identity")
REQUESTS_PER_ROUND = 40
"""Number of requests timed in a round; a single one is too short to measure."""


def cold(lab: Lab) -> Iterator[ResultRow]:
    """Measure the first GET of a package after a change, compared with plain reads by cursor."""
    title = f"GET package of {lab.sizes.items:,}, cold"
    name = lab.get_framework_database()
    with lab.run_server(name) as server, lab.run_bare_application(name) as bare:
        with Client(server.base_url, server.headers) as client, Client(bare) as limit:
            client.get(build_package_path(SMALL))
            yield compare_with_maximum(
                f"{title}: RSS added",
                _measure_added_memory(server, client),
                MAX_ADDED_MEMORY_BYTES,
                format_megabytes,
            )
            stored = f"/packages/{data.build_identifier(SEED, 'document')}"
            limits, responses = lab.run_interleaved(
                lambda: limit.get(stored),
                lambda: _read_after_change(client, build_package_path(SEED)),
                times=6,
            )
            yield compare_durations(
                title, [each.seconds for each in limits], [each.seconds for each in responses], 1.6
            )
            first = median(each.first_byte for each in responses)
            yield compare_with_maximum(
                f"{title}: first byte", first, MAX_FIRST_BYTE_SECONDS, format_duration
            )
        yield _measure_small_reads(lab, server)


def _read_after_change(client: Client, path: str) -> Response:
    change_one_item(client)
    return client.get(path, Accept_Encoding="identity")


def _measure_added_memory(server: BenchmarkedServer, client: Client) -> float:
    change_one_item(client)
    memory.reset_peak(server.pid)
    before = memory.get_resident_bytes(server.pid)
    client.get(build_package_path(SEED), Accept_Encoding="identity")
    return memory.get_peak_bytes(server.pid) - before


def _measure_small_reads(lab: Lab, server: BenchmarkedServer) -> ResultRow:
    """Measure the 99th percentile of reads of one item while uncached packages are read."""
    load = build_read_requests(
        server, [f"/CFItems/{identifier}" for identifier in list_item_identifiers(SEED, 100)]
    )
    wrk.run_wrk(load, 1, SMALL_CONNECTIONS)
    with Client(server.base_url, server.headers) as client:
        quiet, busy = lab.run_interleaved(
            lambda: wrk.run_wrk(load, lab.seconds, SMALL_CONNECTIONS).p99,
            lambda: (
                run_load_during_work(
                    lambda: wrk.run_wrk(load, lab.seconds, SMALL_CONNECTIONS),
                    lambda: _read_after_change(client, build_package_path(SEED)),
                ).p99
            ),
        )
    return compare_durations(
        "p99 of small reads while packages are read cold", quiet, busy, MAX_P99_RATIO
    )


def warm(lab: Lab) -> Iterator[ResultRow]:
    """Measure GET of a cached package, compared with constant bytes of the same size."""
    name = lab.get_framework_database()
    with (
        lab.run_server(name) as server,
        lab.run_bare_application(name) as bare,
        Client(server.base_url, server.headers) as client,
        Client(bare) as limit,
    ):
        for encoding in ENCODINGS:
            yield from _measure_warm(lab, client, limit, encoding)


def _measure_warm(lab: Lab, client: Client, limit: Client, encoding: str) -> Iterator[ResultRow]:
    title = f"GET package of {lab.sizes.items:,}, warm, {encoding}"
    path = build_package_path(SEED)
    for _ in range(2):
        response = client.get(path, Accept_Encoding=encoding)
    actual = response.headers.get("content-encoding", "identity")
    if actual != encoding:
        yield create_failed_row(title, ">= 0.8", f"the response has Content-Encoding {actual}")
        return
    if encoding == "identity":
        limits, durations = lab.run_interleaved(
            lambda: _read_after_change(client, path).seconds,
            lambda: client.get(path, Accept_Encoding=encoding).seconds,
        )
        # Two medians of the same measurement differ by as much.
        yield compare_durations(f"{title}, compared with cold", limits, durations, 1.05)
        return
    (lab.get_constants_folder() / encoding).write_bytes(response.body)
    constant = f"/constant/{encoding}"
    headers = {**client.headers, "Accept-Encoding": encoding}
    limit_rates, measured_rates = lab.measure_rates(
        wrk.LoadRequests(limit.base_url, [constant]),
        wrk.LoadRequests(client.base_url, [path], headers),
    )
    size = format_megabytes(len(response.body))
    yield replace(compare_rates(title, limit_rates, measured_rates, 0.8), note=f"{size} each")
    limits, durations = lab.run_interleaved(
        lambda: limit.get(constant).seconds,
        lambda: client.get(path, Accept_Encoding=encoding).seconds,
        times=REQUESTS_PER_ROUND,
    )
    row = compare_durations(f"{title}, one client", limits, durations, 1)
    yield replace(row, target="reported", meets_target=None)


def unchanged(lab: Lab) -> Iterator[ResultRow]:
    """Measure GET of an unchanged package with If-None-Match, compared with GET of one item."""
    title, name, path = (
        "GET package, If-None-Match",
        lab.get_framework_database(),
        build_package_path(SEED),
    )
    with lab.run_server(name) as server:
        with Client(server.base_url, server.headers) as client:
            etag = client.get(path).headers.get("etag")
            if not etag:
                yield create_failed_row(title, ">= 1", "the response has no ETag")
                return
            status = client.get(path, status=None, If_None_Match=etag).status
        if status != 304:
            yield create_failed_row(title, ">= 1", f"the status is {status}, not 304")
            return
        headers = {**server.headers, "If-None-Match": etag}
        item_rates, package_rates = lab.measure_rates(
            build_read_requests(
                server,
                [f"/CFItems/{identifier}" for identifier in list_item_identifiers(SEED, 100)],
            ),
            wrk.LoadRequests(server.base_url, [path], headers),
        )
    yield compare_rates(title, item_rates, package_rates, 1.0)


def groups(lab: Lab) -> Iterator[ResultRow]:
    """Measure GET of a package as a tree, compared with GET of the package, both not cached."""
    path = build_package_path(SEED)
    with (
        lab.run_server(lab.get_framework_database()) as server,
        Client(server.base_url, server.headers) as client,
    ):
        package_times, tree_times = lab.run_interleaved(
            lambda: _read_after_change(client, path).seconds,
            lambda: _read_after_change(client, f"{path}/groups").seconds,
            times=6,
        )
    yield compare_durations(
        f"GET groups of {lab.sizes.items:,}, compared with GET package, cold",
        package_times,
        tree_times,
        1.5,
    )

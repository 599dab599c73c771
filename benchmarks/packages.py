"""Reads of whole packages: cold, warm and compressed, unchanged, and as a tree."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median

from . import data, memory, wrk
from .client import TimedClient, TimedResponse
from .context import (
    SEED,
    SMALL,
    BenchmarkContext,
    build_package_path,
    build_wrk_requests,
    change_one_item,
    list_item_paths,
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


def measure_uncached_package(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure reads of a package that is not cached, compared with a stream of its stored JSON."""
    title = f"GET package of {context.sizes.item_count:,}, cold"
    name = context.ensure_framework_database()
    with context.run_server(name) as server, context.run_bare_application(name) as bare_server:
        with server.open_client() as client, TimedClient(bare_server) as baseline:
            client.get(build_package_path(SMALL))
            yield compare_with_maximum(
                f"{title}: RSS added",
                _measure_added_memory(server, client),
                MAX_ADDED_MEMORY_BYTES,
                format_megabytes,
            )
            stored = f"/packages/{data.build_uuid(SEED, 'document')}"
            baselines, responses = context.run_interleaved(
                lambda: baseline.get(stored),
                lambda: _read_after_change(client, build_package_path(SEED)),
                times=6,
            )
            yield compare_durations(
                title,
                [response.seconds for response in baselines],
                [response.seconds for response in responses],
                1.6,
            )
            first_byte_seconds = median(response.first_byte_seconds for response in responses)
            yield compare_with_maximum(
                f"{title}: first byte", first_byte_seconds, MAX_FIRST_BYTE_SECONDS, format_duration
            )
        yield measure_small_reads(
            context,
            server,
            "p99 of small reads while packages are read cold",
            SEED,
            lambda client: _read_after_change(client, build_package_path(SEED)),
        )


def _read_after_change(client: TimedClient, path: str) -> TimedResponse:
    change_one_item(client)
    return client.get(path, Accept_Encoding="identity")


def _measure_added_memory(server: BenchmarkedServer, client: TimedClient) -> float:
    change_one_item(client)
    memory.reset_peak_memory(server.pid)
    bytes_before = memory.get_resident_memory_bytes(server.pid)
    client.get(build_package_path(SEED), Accept_Encoding="identity")
    return memory.get_peak_memory_bytes(server.pid) - bytes_before


def measure_small_reads(  # noqa: PLR0913, PLR0917  two benchmarks share it
    context: BenchmarkContext,
    server: BenchmarkedServer,
    title: str,
    seed: str,
    work: Callable[[TimedClient], object],
    load_factor: float = 1,
) -> ResultRow:
    """Measure the 99th percentile of item read latency while a thread repeats ``work``.

    The baseline is the latency without that work. The items are of the framework with the given
    seed. Reads during the work take ``load_factor`` times as long as a round.
    """
    load = build_wrk_requests(server, list_item_paths(seed, 100))
    wrk.run_wrk(load, 1, SMALL_CONNECTIONS)
    with server.open_client() as client:
        quiet_rates, busy_rates = context.run_interleaved(
            lambda: wrk.run_wrk(load, context.seconds, SMALL_CONNECTIONS).p99,
            lambda: (
                run_load_during_work(
                    lambda: wrk.run_wrk(load, context.seconds * load_factor, SMALL_CONNECTIONS),
                    lambda: work(client),
                ).p99
            ),
        )
    return compare_durations(title, quiet_rates, busy_rates, MAX_P99_RATIO)


def measure_cached_package(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure reads of a cached package, compared with a static file of the same size."""
    name = context.ensure_framework_database()
    with (
        context.run_server_for_client(name) as (_, client),
        context.run_bare_application(name) as bare_server,
        TimedClient(bare_server) as baseline,
    ):
        for encoding in ENCODINGS:
            yield from _measure_encoding(context, client, baseline, encoding)


def _measure_encoding(
    context: BenchmarkContext, client: TimedClient, baseline: TimedClient, encoding: str
) -> Iterator[ResultRow]:
    title = f"GET package of {context.sizes.item_count:,}, warm, {encoding}"
    path = build_package_path(SEED)
    for _ in range(2):
        response = client.get(path, Accept_Encoding=encoding)
    actual = response.headers.get("content-encoding", "identity")
    if actual != encoding:
        yield create_failed_row(title, ">= 0.8", f"the response has Content-Encoding {actual}")
        return
    if encoding == "identity":
        baselines, durations = context.run_interleaved(
            lambda: _read_after_change(client, path).seconds,
            lambda: client.get(path, Accept_Encoding=encoding).seconds,
        )
        # Two medians of the same measurement differ by as much.
        yield compare_durations(f"{title}, compared with cold", baselines, durations, 1.05)
        return
    (context.get_static_folder() / encoding).write_bytes(response.body)
    static_path = f"/static/{encoding}"
    headers = {**client.headers, "Accept-Encoding": encoding}
    baseline_rates, measured_rates = context.measure_rates(
        wrk.WrkRequests(baseline.base_url, [static_path]),
        wrk.WrkRequests(client.base_url, [path], headers),
    )
    size = format_megabytes(len(response.body))
    yield replace(compare_rates(title, baseline_rates, measured_rates, 0.8), note=f"{size} each")
    baselines, durations = context.run_interleaved(
        lambda: baseline.get(static_path).seconds,
        lambda: client.get(path, Accept_Encoding=encoding).seconds,
        times=REQUESTS_PER_ROUND,
    )
    row = compare_durations(f"{title}, one client", baselines, durations, 1)
    yield replace(row, target="reported", meets_target=None)


def measure_unchanged_package(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure reads of an unchanged package with If-None-Match, compared with reads of one item."""
    title, path = "GET package, If-None-Match", build_package_path(SEED)
    name = context.ensure_framework_database()
    with context.run_server_for_client(name) as (server, client):
        etag = client.get(path).headers.get("etag")
        if not etag:
            yield create_failed_row(title, ">= 1", "the response has no ETag")
            return
        status = client.get(path, expected_status=None, If_None_Match=etag).status
        if status != 304:
            yield create_failed_row(title, ">= 1", f"the status is {status}, not 304")
            return
        headers = {**server.headers, "If-None-Match": etag}
        item_rates, package_rates = context.measure_rates(
            build_wrk_requests(server, list_item_paths(SEED, 100)),
            wrk.WrkRequests(server.base_url, [path], headers),
        )
    yield compare_rates(title, item_rates, package_rates, 1.0)


def measure_package_tree(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure reads of a package as a tree, compared with reads of the package, neither cached."""
    path = build_package_path(SEED)
    with context.run_server_for_client(context.ensure_framework_database()) as (_, client):
        package_times, tree_times = context.run_interleaved(
            lambda: _read_after_change(client, path).seconds,
            lambda: _read_after_change(client, f"{path}/groups").seconds,
            times=6,
        )
    yield compare_durations(
        f"GET groups of {context.sizes.item_count:,}, compared with GET package, cold",
        package_times,
        tree_times,
        1.5,
    )

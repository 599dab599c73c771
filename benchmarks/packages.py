"""Whole frameworks read: cold, warm and compressed, unchanged, and as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from . import data, memory, wrk
from .client import Answer, Client
from .lab import SEED, SMALL, Lab, items_of, meanwhile, package_path, reads, touch
from .processes import Server
from .results import Row, below, duration, failed, megabytes, rates, times

MOST_MEMORY = 25e6
FIRST_BYTE = 0.020
SMALL_CONNECTIONS = 4
"""Over so many connections small things are read while something large is going on."""
P99 = 5.0
ENCODINGS = ("gzip", "zstd", "identity")
OFTEN = 40
"""Timings of one request are short, so each round holds several."""


def cold(lab: Lab) -> Iterator[Row]:
    """GET package after a change, beside a cursor over its stored bodies."""
    title = f"GET package of {lab.sizes.items:,}, cold"
    name = lab.framework()
    with lab.serve(name) as server, lab.limit(name) as bare:
        with Client(server.base_url, server.headers) as client, Client(bare) as limit:
            client.get(package_path(SMALL))
            yield below(f"{title}: RSS added", _added(server, client), MOST_MEMORY, megabytes)
            stored = f"/packages/{data.identifier_of(SEED, 'document')}"
            bottom, taken = lab.interleaved(
                lambda: limit.get(stored), lambda: _cold(client, package_path(SEED)), times=6
            )
            yield times(title, [one.seconds for one in bottom], [one.seconds for one in taken], 1.6)
            first = median(one.first_byte for one in taken)
            yield below(f"{title}: first byte", first, FIRST_BYTE, duration)
        yield _small_reads(lab, server)


def _cold(client: Client, path: str) -> Answer:
    touch(client)
    return client.get(path, Accept_Encoding="identity")


def _added(server: Server, client: Client) -> float:
    touch(client)
    memory.reset_peak(server.pid)
    before = memory.resident(server.pid)
    client.get(package_path(SEED), Accept_Encoding="identity")
    return memory.peak(server.pid) - before


def _small_reads(lab: Lab, server: Server) -> Row:
    """How long the slowest of a hundred small reads takes while a package is read, cold."""
    load = reads(server, [f"/CFItems/{one}" for one in items_of(SEED, 100)])
    wrk.run(load, 1, SMALL_CONNECTIONS)
    with Client(server.base_url, server.headers) as client:
        quiet, busy = lab.interleaved(
            lambda: wrk.run(load, lab.seconds, SMALL_CONNECTIONS).p99,
            lambda: (
                meanwhile(
                    lambda: wrk.run(load, lab.seconds, SMALL_CONNECTIONS),
                    lambda: _cold(client, package_path(SEED)),
                ).p99
            ),
        )
    return times("p99 of small reads while packages are read cold", quiet, busy, P99)


def warm(lab: Lab) -> Iterator[Row]:
    """GET package again, compressed or not, beside constant bytes of the same size."""
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
        answer = client.get(path, Accept_Encoding=encoding)
    given = answer.headers.get("content-encoding", "identity")
    if given != encoding:
        yield failed(title, ">= 0.8", f"answered with Content-Encoding {given}")
        return
    if encoding == "identity":
        bottom, taken = lab.interleaved(
            lambda: _cold(client, path).seconds,
            lambda: client.get(path, Accept_Encoding=encoding).seconds,
        )
        # Two medians of the same thing differ by as much.
        yield times(f"{title}, beside cold", bottom, taken, 1.05)
        return
    (lab.constants() / encoding).write_bytes(answer.body)
    constant = f"/constant/{encoding}"
    headers = {**client.headers, "Accept-Encoding": encoding}
    least, reached = lab.rates(
        wrk.Requests(limit.base_url, [constant]), wrk.Requests(client.base_url, [path], headers)
    )
    size = megabytes(len(answer.body))
    yield replace(rates(title, least, reached, 0.8), note=f"{size} each")
    bottom, taken = lab.interleaved(
        lambda: limit.get(constant).seconds,
        lambda: client.get(path, Accept_Encoding=encoding).seconds,
        times=OFTEN,
    )
    alone = times(f"{title}, one client alone", bottom, taken, 1)
    yield replace(alone, target="reported", met=None)


def unchanged(lab: Lab) -> Iterator[Row]:
    """GET package with If-None-Match, beside GET one item."""
    title, name, path = "GET package, If-None-Match", lab.framework(), package_path(SEED)
    with lab.serve(name) as server:
        with Client(server.base_url, server.headers) as client:
            etag = client.get(path).headers.get("etag")
            if not etag:
                yield failed(title, ">= 1", "answered without an ETag")
                return
            status = client.get(path, status=None, If_None_Match=etag).status
        if status != 304:
            yield failed(title, ">= 1", f"answered {status}, not 304")
            return
        headers = {**server.headers, "If-None-Match": etag}
        one, again = lab.rates(
            reads(server, [f"/CFItems/{one}" for one in items_of(SEED, 100)]),
            wrk.Requests(server.base_url, [path], headers),
        )
    yield rates(title, one, again, 1.0)


def groups(lab: Lab) -> Iterator[Row]:
    """GET package as a tree, beside GET package, both cold."""
    path = package_path(SEED)
    with (
        lab.serve(lab.framework()) as server,
        Client(server.base_url, server.headers) as client,
    ):
        whole, tree = lab.interleaved(
            lambda: _cold(client, path).seconds,
            lambda: _cold(client, f"{path}/groups").seconds,
            times=6,
        )
    yield times(f"GET groups of {lab.sizes.items:,}, beside GET package, cold", whole, tree, 1.5)

"""Measure what bodies of the maximum size and slightly above cost the server.

``python -m stress.large_bodies 100`` sends them to a server with the default limit of 100 MB.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import click
from httpx import AsyncClient
from support import factories

from stress.hostile_bodies import OPERATIONS
from stress.report import ScenarioReport
from stress.server import (
    MEGABYTE,
    PREFIX,
    monitor_memory,
    run_private_server,
    send_background_requests,
)

Show = Callable[[str], None]

READERS = (("PUT", "/CFItems/x"), ("POST", "/CFPackages"), ("POST", "/CFPackages?repair=true"))
"""Operations with different parsers."""

SERVER, HOSTILE, BACKGROUND = "server", "hostile requests", "background requests"
TOO_LARGE = range(413, 414)
CODINGS = ("gzip", "deflate", "br", "zstd", "gzip, gzip")


def generate_invalid_bodies(size: int) -> Iterator[tuple[str, bytes]]:
    """Yield (description, body) for invalid request bodies of almost ``size`` bytes."""
    yield "blanks", b" " * size
    yield "brackets", b"[" * size
    yield "objects in objects", b'{"a":' * (size // 5)
    yield "a string", b'"' + b"x" * (size - 2) + b'"'
    yield "backslashes", b'"' + b"\\u0041" * ((size - 2) // 6) + b'"'
    yield "a number", b"9" * size
    yield "zeros", _repeat_to_size(b"[", b"0", 0, b"]", size)
    yield "empty lists", _repeat_to_size(b"[", b"[]", 0, b"]", size)
    yield "empty items", _repeat_to_size(b'{"CFItems":[', b"{}", 0, b"]}", size)
    # As dense as a body may be.
    yield "sparse items", _repeat_to_size(b'{"CFItems":[', b"{}", 60, b"]}", size)
    yield (
        "sparse criteria",
        _repeat_to_size(b'{"CFRubrics":[{"CFRubricCriteria":[', b'{"a":1}', 60, b"]}]}", size),
    )
    yield "sparse strings", _repeat_to_size(b'{"subject":[', b"0", 20, b"]}", size)
    yield "a repeated name", _repeat_to_size(b"{", b'"notes":5', 20, b"}", size)
    fields = (b'"f%015d":0' % number for number in range(size // 21 - 5))
    yield "unknown fields", b'{"x":0,' + b",".join(fields) + b"}"
    texts = (b'"%018d"' % number for number in range(size // 21 - 5))
    yield "distinct strings", b'{"subject":[0,' + b",".join(texts) + b"]}"
    yield from _generate_bodies_with_invalid_values(size)


def _generate_bodies_with_invalid_values(size: int) -> Iterator[tuple[str, bytes]]:
    """Yield (description, body) for large bodies that are valid except for the values of a list."""
    for description, field, start, element, stride, ending in (
        ("NULs in strings", "subject", b"[", rb'"\u0000"', 20, b"]"),
        ("numbers beyond doubles", "extensions", b'{"a":[', b"1e400", 20, b"]}"),
        ("integers beyond 64 bits", "extensions", b'{"a":[', b"9" * 40, 41, b"]}"),
        ("small objects", "extensions", b'{"a":1e400,"b":[', b'{"c":1}', 60, b"]}"),
        ("a string with a NUL", "notes", rb'"\u0000', b"text", 20, b'"'),
    ):
        item = factories.item("d", "x") | {field: "HERE"}
        head, tail = json.dumps(item).encode().split(b'"HERE"')
        yield description, _repeat_to_size(head + start, element, stride, ending + tail, size)
    item = factories.packed_item(notes=None)
    yield (
        "items with a null",
        _repeat_to_size(b'{"CFItems":[', json.dumps(item).encode(), 0, b"]}", size),
    )


def _repeat_to_size(start: bytes, element: bytes, stride: int, end: bytes, size: int) -> bytes:
    """Build a body of about ``size`` bytes from ``start``, copies of ``element``, and ``end``.

    Each copy is padded with spaces to ``stride`` bytes, because the server rejects bodies with too
    many values for their size.
    """
    padded = element.ljust(stride - 1)
    count = (size - len(start) - len(end) - len(element)) // (len(padded) + 1)
    return start + (padded + b",") * count + element + end


async def send_large_bodies(
    report: ScenarioReport, http: AsyncClient, max_body_mb: int, show: Show = lambda _: None
) -> None:
    """Send invalid bodies of the maximum size, and one byte more, and check the responses.

    ``max_body_mb`` is the server's limit in megabytes. ``show`` is called with a line about the
    time and memory that each body costs.
    """
    for description, body in generate_invalid_bodies(max_body_mb * MEGABYTE):
        for method, path in READERS:
            with _measure_memory(report) as cost:
                response = await http.request(method, PREFIX + path, content=body)
            report.record_timed_response(
                HOSTILE, f"{max_body_mb} MB of {description} to {path}", response, range(400, 500)
            )
            seconds = response.elapsed.total_seconds()
            show(
                f"{description:<26}{method + ' ' + path:<32}{response.status_code}{seconds:8.2f} s"
                f"{cost():8.0f} MB  {response.json()['imsx_description'][:90]}"
            )
        too_large = body.ljust(max_body_mb * MEGABYTE + 1)
        response = await http.put(f"{PREFIX}/CFItems/x", content=too_large)
        report.record_timed_response(
            HOSTILE, f"more than {max_body_mb} MB of {description}", response, TOO_LARGE
        )
    bomb = gzip.compress(bytes(max_body_mb * 10 * MEGABYTE), 1)
    for method, path in OPERATIONS:
        response = await http.request(
            method, PREFIX + path, content=_stream_without_length(max_body_mb)
        )
        report.record_timed_response(
            HOSTILE, f"too much without a length to {path}", response, TOO_LARGE
        )
        for coding in CODINGS:
            headers = {"Content-Encoding": coding}
            response = await http.request(method, PREFIX + path, content=bomb, headers=headers)
            report.record_timed_response(
                HOSTILE, f"a bomb in {coding} to {path}", response, range(413, 416)
            )


@contextmanager
def _measure_memory(report: ScenarioReport) -> Iterator[Callable[[], float]]:
    """Yield a function that returns, after the block, the growth of the server's memory in MB."""
    memory = report.memory[SERVER]
    before, memory.peak = memory.peak, 0.0
    growth = 0.0
    yield lambda: growth
    memory.measure()
    growth = memory.growth
    memory.peak = max(before, memory.peak)


async def _stream_without_length(megabytes: int) -> AsyncIterator[bytes]:
    for _ in range(megabytes + 2):
        yield b" " * MEGABYTE


@click.command()
@click.argument("megabytes", type=click.IntRange(1, 1000))
def main(megabytes: int) -> None:
    """Send bodies of MEGABYTES to a server with that limit; print the time and memory of each."""
    asyncio.run(_run(megabytes))


async def _run(megabytes: int) -> None:
    report = ScenarioReport()
    async with (
        run_private_server(max_body_mb=megabytes) as (_, server, http),
        monitor_memory(server) as report.memory[SERVER],
        send_background_requests(server) as report.seconds[BACKGROUND],
    ):
        await send_large_bodies(report, http, megabytes, click.echo)
    click.echo(str(report))
    click.echo("\n".join(report.violations))


if __name__ == "__main__":
    main()

"""A short run of the hostile requests; ``make stress`` also sends larger bodies."""

import asyncio
import json
from pathlib import Path

import pytest
from httpx import AsyncClient
from support import factories
from support.calls import Api
from support.live_server import LiveServer
from support.machine_load import measure_slowdown
from support.selection import scale_examples

from case_server.api.exception_handlers import MAX_LISTED_PROBLEMS
from case_server.case.validation.limits import check_density
from case_server.exceptions import ContentTooLarge
from stress import adversarial, filter_fuzz, openapi_fuzz
from stress.large_bodies import BACKGROUND, HOSTILE, SERVER
from stress.server import create_client, open_connection, run_server

MEGABYTES = 1


async def test_hostile_requests_get_errors_and_little_memory(
    database_url: str, tmp_path: Path, clean: None
) -> None:
    with run_server(tmp_path, database_url, max_body_mb=MEGABYTES, request_timeout=1) as live:
        slowdown = measure_slowdown()
        report = await adversarial.send_hostile_requests(live, MEGABYTES)
        assert report.violations == []
        assert report.memory[SERVER].growth < 60
        assert max(report.seconds[HOSTILE]) < 5  # no request hangs
        assert max(report.seconds[BACKGROUND]) < 1 * max(slowdown, measure_slowdown())
        async with create_client(live) as http:
            filtered = await filter_fuzz.fuzz_filters(http, count=scale_examples(200), seed=1)
        assert filtered.violations == []
        assert filtered.counts["filters 200"]
        nearly_right = await asyncio.to_thread(
            openapi_fuzz.fuzz_operations, live, scale_examples(2), 1
        )
        assert nearly_right.violations == []
        assert all(nearly_right.counts[f"operations of {path}"] for path in openapi_fuzz.DOCUMENTS)
        assert _trickled(live, live.token()).startswith(b"HTTP/1.1 408 ")


def _trickled(live: LiveServer, token: str) -> bytes:
    """Return the response to a client that sends a byte now and then."""
    start = "PUT /case/1.1/CFItems/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
    head = f"{start}Authorization: Bearer {token}\r\n\r\n"
    with open_connection(live, head.encode()) as raw:
        raw.settimeout(0.2)
        for _ in range(50):
            try:
                raw.sendall(b" ")
                if response := raw.recv(1000):
                    return response
            except TimeoutError:
                continue
        return b""


async def test_problems_are_found_anywhere_in_large_body(api: Api) -> None:
    items = [factories.packed_item() for _ in range(300)]
    items[7]["fullStatement"] = items[180]["notes"] = items[299]["language"] = 5
    items[250]["nonsense"] = "x"
    body = factories.package(CFItems=items, CFAssociations=[])
    assert await api.get_problem_paths("POST", "/CFPackages", body) == [
        "CFItems[7].fullStatement",
        "CFItems[180].notes",
        "CFItems[250].nonsense",
        "CFItems[299].language",
    ]


async def test_error_lists_limited_number_of_problems(api: Api) -> None:
    items = [factories.packed_item(notes=5) for _ in range(MAX_LISTED_PROBLEMS + 500)]
    body = factories.package(CFItems=items, CFAssociations=[])
    body = (await api.send("POST", "/CFPackages", 422, body)).json()
    assert len(body["imsx_error_details"]) == MAX_LISTED_PROBLEMS
    assert f"{MAX_LISTED_PROBLEMS + 499:,} more problems" in body["imsx_description"]


async def test_too_dense_body_returns_413(api: Api) -> None:
    raw = b'{"CFItems": [' + b"{}," * 100_000 + b"{}]}"
    response = await api.send("POST", "/CFPackages", 413, content=raw)
    assert "100,003" in response.json()["imsx_description"]


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP, gzip"])
async def test_compressed_body_returns_415(api: Api, coding: str) -> None:
    headers = {"Content-Encoding": coding}
    response = await api.send("PUT", "/CFItems/x", 415, content=b"{}", headers=headers)
    assert coding in response.json()["imsx_description"]


async def test_etag_with_many_digits_does_not_match(client: AsyncClient, api: Api) -> None:
    body = await api.upload_package()
    path = f"{api.profile.prefix}/CFPackages/{body['CFDocument']['identifier']}"
    tag = (await client.get(path)).headers["ETag"]
    history, _, *rest = tag.split("-")
    long = "-".join([history, "9" * 5000, *rest])
    assert (await client.get(path, headers={"If-None-Match": long})).status_code == 200
    assert json.loads((await client.get(path)).content)


async def test_entities_put_separately_are_accepted_as_package(api: Api) -> None:
    document = await api.create_document()
    for number in range(30):
        vector = [round((number * 384 + place) / 7_000, 6) for place in range(1_000)]
        await api.create_item(document, extensions={"embedding": vector}, notes="a,b\n" * 500)
    before = await api.get_package(document["identifier"])
    response = await api.client.get(f"{api.profile.prefix}/CFPackages/{document['identifier']}")
    with pytest.raises(ContentTooLarge):
        check_density(response.content)  # as one entity it would be refused
    path = f"/CFPackages/{document['identifier']}"
    for query in ("", "?repair=true"):
        await api.send("PUT", path + query, 200, content=response.content)
        assert await api.get_package(document["identifier"]) == before

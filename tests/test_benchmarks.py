"""Benchmarks: valid data, correct figures, and one case that runs completely."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from anyio import to_thread
from support.databases import open_connection

from benchmarks import bulk_load, data, filters, plans, processes, report, results, writes, wrk
from benchmarks.client import TimedClient
from benchmarks.context import PREFIX, upload_package
from benchmarks.errors import BenchmarkError
from case_server.case.package import parse_package

ROOT = Path(__file__).parents[1]

WRK_OUTPUT = """Running 1s test @ http://127.0.0.1:8000
  1 threads and 32 connections
measured {"requests": 3000, "microseconds": 1500000, "p50": 4000, "p99": 9000, \
"rejected": 0, "broken": 0}
"""


def test_generated_frameworks_are_valid_packages() -> None:
    package = parse_package(data.generate_package_json(30, "a"))
    assert package.count_entities("CFItem") == package.count_entities("CFAssociation") == 30
    assert package.document_identifier == data.build_uuid("a", "document")
    other = parse_package(data.generate_package_json(30, "b"))
    shared = {row.identifier for row in package.rows} & {row.identifier for row in other.rows}
    assert shared == {data.ITEM_TYPE["identifier"]}
    assert data.generate_package_json(30, "a") == data.generate_package_json(30, "a")


def test_generated_items_make_one_tree() -> None:
    body = data.generate_package(100, "a")
    parents = {
        association["originNodeURI"]["identifier"]: association["destinationNodeURI"]["identifier"]
        for association in body["CFAssociations"]
    }
    assert parents.keys() == {item["identifier"] for item in body["CFItems"]}
    for node in parents:
        ancestor, steps = node, 0
        while ancestor in parents:
            ancestor, steps = parents[ancestor], steps + 1
        assert ancestor == body["CFDocument"]["identifier"]
        assert steps <= 4


def test_generated_bodies_are_as_long_as_real_ones() -> None:
    body = data.generate_package(100, "a")
    assert 600 < len(json.dumps(body)) / 200 < 1200


def test_few_statements_have_the_rare_words() -> None:
    matches = [
        index
        for index in range(0, 3 * data.RARITY, 100)
        if data.RARE_WORDS in data.generate_item("a", index)["fullStatement"]
    ]
    assert matches == [10_000, 30_000, 50_000]


async def test_bulk_loaded_entities_equal_uploaded_ones(database_url: str, clean: None) -> None:
    load = partial(bulk_load.insert_frameworks, with_associations=True)
    await to_thread.run_sync(load, database_url, 2, 20, "x")
    async with open_connection(database_url) as connection:
        for kind, table in (("CFItem", "items"), ("CFAssociation", "associations")):
            stored = await connection.fetch(
                f"SELECT identifier, body FROM {table} ORDER BY ordinal"
            )
            uploaded = {
                row.identifier: json.loads(row.body)
                for row in parse_package(data.generate_package_json(10, "x0")).rows
                if row.kind == kind
            }
            assert len(stored) == 20
            first = {row["identifier"]: json.loads(row["body"]) for row in stored[:10]}
            assert first == uploaded
            logged = await connection.fetch("SELECT identifier FROM changes WHERE kind = $1", kind)
            assert {row["identifier"] for row in logged} == {row["identifier"] for row in stored}


def test_search_uses_an_existing_code() -> None:
    exact = filters.list_searches(1000)[0]
    codes = [data.build_item_link("million7", index).title for index in range(70, 80)]
    assert any(f"'{code.lower()}'" in exact.condition for code in codes)


def test_output_of_wrk_is_parsed() -> None:
    load = wrk.parse_wrk_output(WRK_OUTPUT)
    assert load == wrk.WrkResult(requests=3000, seconds=1.5, p50=0.004, p99=0.009)
    assert load.requests_per_second == 2000


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("unable to connect", "printed no result"),
        (WRK_OUTPUT.replace('"rejected": 0', '"rejected": 7'), "7 were rejected"),
        (WRK_OUTPUT.replace('"broken": 0', '"broken": 2'), "2 lost their connection"),
        (WRK_OUTPUT.replace("3000", "0"), "of 0 requests"),
    ],
)
def test_load_with_failures_is_an_error(output: str, problem: str) -> None:
    with pytest.raises(BenchmarkError, match=problem):
        wrk.parse_wrk_output(output)


def test_rows_compare_medians_with_their_target() -> None:
    rate = results.compare_rates("a", [1000, 10, 1200], [700, 699, 900_000], 0.7)
    assert (rate.baseline, rate.measured, rate.ratio) == ("1,000/s", "700/s", "0.70")
    duration = results.compare_durations("a", [0.1, 0.1, 9], [0.15, 0.2, 0.01], 1.6)
    assert (duration.baseline, duration.measured) == ("100.0 ms", "150.0 ms")
    assert duration.ratio == "1.50x"
    rows = [
        *(rate, results.compare_rates("a", [1000], [699], 0.7)),
        *(duration, results.compare_durations("a", [0.1], [0.17], 1.6)),
        results.compare_durations("a", [1], [5], None),
        results.compare_with_maximum("a", 24.9e6, 25e6, results.format_megabytes),
        results.compare_with_maximum("a", 25e6, 25e6, results.format_megabytes),
    ]
    assert [row.meets_target for row in rows] == [True, False, True, False, None, True, False]


def test_table_is_aligned_and_shows_reached_targets() -> None:
    rows = [
        results.compare_rates("GET", [100], [90], 0.7),
        results.create_failed_row("zstd", ">= 0.8", "no such encoding"),
        results.create_unmeasured_row("sdk", "not installed"),
    ]
    table = report.format_results_table(rows)
    assert len({len(line) for line in table.splitlines()}) == 1
    assert re.search(r"^\| GET +\| 100/s +\| 90/s +\| 0.90 +\| >= 0.7 +\| yes", table, re.MULTILINE)
    assert re.search(r"^\| zstd .*\| \*\*no\*\*", table, re.MULTILINE)
    assert report.format_target_summary(rows) == "1 of 2 targets met"
    assert report.format_notes(rows) == "* zstd: no such encoding\n* sdk: not installed"
    document = report.format_report(
        rows, [("date", "today")], "make bench", [("item", "a baseline")]
    )
    for part in (table, "no such encoding", "| date | today |", "`make bench`", "a baseline"):
        assert part in document


def test_plans_are_parsed_from_the_log_of_postgres() -> None:
    plan = {
        "Query Text": "SELECT $2 FROM items WHERE a = $1::text",
        "Query Parameters": "$1 = 'it''s', $2 = '10'",
        "Plan": {"Node Type": "Limit", "Plans": [_scan("Seq Scan"), _scan("Index Scan")]},
    }
    indented = json.dumps(plan, indent=2).replace("\n", "\n\t")
    log = f"x LOG:  starting\nx LOG:  duration: 12.500 ms  plan:\n\t{indented}\nx LOG:  done\n"
    (statement,) = plans.parse_plans(log)
    assert statement.seconds == 0.0125
    assert statement.substitute_parameters() == "SELECT '10' FROM items WHERE a = 'it''s'::text"
    assert statement.scans_table("items")
    assert not statement.scans_table("documents")


def _scan(kind: str) -> dict[str, str]:
    return {"Node Type": kind, "Relation Name": "items"}


def test_pgbench_writes_rows_like_those_sent_to_the_server() -> None:
    script = writes.build_upsert_script(100)
    assert "' || :item::text || '" in script
    (body,) = data.generate_stored_items("write0", range(1, 2))
    assert abs(len(script) - len(json.dumps(body, separators=(",", ":")))) < 500


@pytest.fixture
def wrk_installed() -> None:
    if not shutil.which("wrk"):
        pytest.skip("wrk is not installed: apt-get install wrk")


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_benchmark_of_associations_writes_its_results(wrk_installed: None, tmp_path: Path) -> None:
    file = tmp_path / "results.md"
    process = run("--quick", "--only", "associations", "--items", "30", "--output", str(file))
    assert process.returncode == 0, process.stderr
    assert "| GET CFItemAssociations" in process.stdout
    assert "| processor |" in file.read_text()


@pytest.mark.slow
async def test_other_server_is_compared(
    wrk_installed: None, database_url: str, clean: None, tmp_path: Path
) -> None:
    other = processes.run_case_server(tmp_path / "log", CASE_SERVER_DATABASE_URL=database_url)
    with other as server, server.open_client() as client:
        upload_package(client, data.generate_package_json(20, "other"))
        url = f"{server.base_url}{PREFIX}"
        process = run(
            *("--quick", "--only", "associations", "--items", "30", "--against", url),
            AGAINST_TOKEN_URL=f"{server.base_url}/oauth2/token",
            AGAINST_CLIENT_ID=processes.CREDENTIALS[0],
            AGAINST_CLIENT_SECRET=processes.CREDENTIALS[1],
        )
    assert process.returncode == 0, process.stderr
    for read in ("GET one item", "GET CFItemAssociations", "GET CFDocuments", "GET package"):
        row = rf"^\| {read}: {re.escape(url)} .* \d+\.\d\dx? +\| reported"
        assert re.search(row, process.stdout, re.MULTILINE), process.stdout


def test_error_without_wrk_says_what_to_install(tmp_path: Path) -> None:
    process = run("--quick", PATH=str(tmp_path))
    assert process.returncode == 2
    assert "apt-get install wrk" in process.stderr


RESPONSES = {
    "with length": [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n", b"ETag: x\r\n\r\nab", b"cd"],
    "in chunks": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n",
        b"0\r",
        b"\n\r\n",
    ],
    "without a body": [b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"],
}


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the URL of a server that sends the chunks of a response with pauses."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                for _ in range(2):
                    connection.recv(4096)
                    for chunk in request.param:
                        connection.sendall(chunk)
                        time.sleep(0.02)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize("server", RESPONSES.values(), ids=RESPONSES, indirect=True)
def test_client_times_complete_responses(server: str) -> None:
    with TimedClient(server) as client:
        first, second = (client.get("/", expected_status=None, If_None_Match="x") for _ in range(2))
    assert (first.status, first.body) == (second.status, second.body)
    assert first.first_byte_seconds < first.seconds or first.status == 304
    assert first.status == 304 or b"abcd" in first.body


@pytest.mark.parametrize("server", [RESPONSES["with length"]], indirect=True)
def test_client_raises_for_another_status(server: str) -> None:
    with TimedClient(server) as client:
        with pytest.raises(BenchmarkError, match="GET / returned 200: abcd"):
            client.get("/", expected_status=304)
        client.get("/")

"""Limits on connections and incomplete requests: size, time and number."""

import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from support.databases import MigratedDatabase, NewDataDir
from support.live_server import COMMAND, LiveServer, run_live_server

from case_server.server.protocol import MAX_HEADER_SECTION_BYTES
from case_server.server.run import compute_connection_limits
from case_server.settings import Settings
from stress.server import open_connection

TIMEOUT_SECONDS = 1
"""Request timeout of the server in these tests."""


@pytest.fixture(scope="module")
def live(new_data_dir: NewDataDir) -> Iterator[LiveServer]:
    settings = {"CASE_SERVER_REQUEST_TIMEOUT": str(TIMEOUT_SECONDS)}
    with run_live_server(new_data_dir(), settings=settings) as server:
        yield server


MAX_CONNECTIONS = 100
MAX_WAITING = 75


@pytest.fixture(scope="module")
def limited(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: MigratedDatabase
) -> Iterator[LiveServer]:
    """Start a server in test mode with a low connection limit and a long request timeout."""
    folder = tmp_path_factory.mktemp("connections-limited")
    settings = {
        "CASE_SERVER_DATABASE_URL": migrated_database("connections"),
        "CASE_SERVER_MAX_CONNECTIONS": str(MAX_CONNECTIONS),
        "CASE_SERVER_REQUEST_TIMEOUT": "300",
    }
    with run_live_server(folder / "data", "--test-mode", settings=settings) as server:
        yield server


def read_until_closed(raw: socket.socket) -> bytes:
    """Return the bytes received until the server closes the connection."""
    received = b""
    with raw:
        try:
            while piece := raw.recv(10_000):
                received += piece
        except ConnectionResetError:
            pass
    return received


def parse_error(response: bytes) -> tuple[int, str]:
    """Return the status and ``imsx_description`` of an error response."""
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["imsx_description"]


def exchange(live: LiveServer, sent: bytes) -> tuple[int, str]:
    """Send bytes on a connection, and return the status and description of the error response."""
    return parse_error(read_until_closed(open_connection(live, sent)))


HEAD = b"GET /case/1.1/CFItems HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize("sent", [b"", b"GET /health HT", HEAD + b"X-A: b\r\nX-"])
def test_incomplete_header_section_times_out(live: LiveServer, sent: bytes) -> None:
    start = time.monotonic()
    response = read_until_closed(open_connection(live, sent))
    waited = time.monotonic() - start
    # At least half of the timeout, because a timer may fire early.
    assert TIMEOUT_SECONDS / 2 < waited < TIMEOUT_SECONDS + 5
    if sent:
        status, description = parse_error(response)
        assert (status, f"{TIMEOUT_SECONDS} seconds" in description) == (408, True)
    else:
        assert response == b""


def test_slow_bytes_do_not_extend_timeout(live: LiveServer) -> None:
    start, response = time.monotonic(), b""
    with open_connection(live, HEAD) as raw:
        raw.settimeout(0.2)
        while not response and time.monotonic() - start < 30:
            raw.sendall(b"x")
            try:
                response = raw.recv(10_000)
            except TimeoutError:
                continue
    assert parse_error(response)[0] == 408


def test_endless_body_after_response_is_cut_off(live: LiveServer) -> None:
    head = (
        b"PUT /case/1.1/CFItems/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    start = time.monotonic()
    with open_connection(live, head) as raw:
        assert raw.recv(10_000).startswith(b"HTTP/1.1 401 ")
        # The server, not the client, must close the connection.
        with suppress(OSError):
            while time.monotonic() - start < 30:
                raw.sendall(b"1\r\n \r\n")
                time.sleep(0.1)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    "headers",
    [lambda size: b"X: " + b"x" * (size - 5) + b"\r\n", lambda size: b"a:\r\n" * (size // 4)],
    ids=["one long", "many short"],
)
def test_long_header_section_returns_431(
    limited: LiveServer, headers: Callable[[int], bytes]
) -> None:
    begin, end = HEAD + b"Connection: close\r\n", b"\r\n"
    limit = MAX_HEADER_SECTION_BYTES - len(begin) - len(end)
    assert exchange(limited, begin + headers(limit) + end)[0] == 401
    status, description = exchange(limited, begin + headers(limit + 4) + end)
    assert (status, f"{MAX_HEADER_SECTION_BYTES:,} bytes" in description) == (431, True)


def test_header_sections_are_limited_separately(limited: LiveServer) -> None:
    with closing(HTTPConnection(urlsplit(limited.base_url).netloc, timeout=10)) as connection:
        connection.connect()
        first = connection.sock
        for _ in range(4):
            connection.request("GET", "/health", headers={"X-Long": "x" * 30_000})
            assert connection.getresponse().read()
        assert connection.sock is first


def test_error_response_arrives_while_body_is_sent(limited: LiveServer) -> None:
    headers = {"Authorization": f"Bearer {limited.token()}", "Content-Encoding": "gzip"}
    with closing(HTTPConnection(urlsplit(limited.base_url).netloc, timeout=10)) as connection:
        for _ in range(3):
            connection.request("PUT", "/case/1.1/CFItems/x", bytes(8_000_000), headers)
            response = connection.getresponse()
            assert (response.status, "gzip" in json.load(response)["imsx_description"]) == (
                415,
                True,
            )


def test_pipelined_requests_all_get_responses(limited: LiveServer) -> None:
    last = HEAD + b"Connection: close\r\n\r\n"
    response = read_until_closed(open_connection(limited, (HEAD + b"\r\n") * 3 + last))
    assert response.count(b"HTTP/1.1 401 ") == 4


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n: x\r\n\r\n"]
)
def test_invalid_http_returns_400_with_message(limited: LiveServer, sent: bytes) -> None:
    status, description = exchange(limited, sent)
    assert (status, "invalid HTTP" in description) == (400, True)


def test_websocket_is_rejected(limited: LiveServer) -> None:
    head = (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    )
    key = b"Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    with open_connection(limited, head + key) as raw:
        assert raw.recv(10_000).startswith(b"HTTP/1.1 200 ")


def get_status(live: LiveServer, path: str = "/health") -> int:
    """Return the status of a complete request on a connection of its own."""
    sent = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    return int(read_until_closed(open_connection(live, sent.encode())).split()[1])


def received(raw: socket.socket) -> bytes | None:
    """Return what was answered on a connection that the server has closed, else None."""
    raw.settimeout(0)
    try:
        response = raw.recv(10_000)
        return response + (raw.recv(10_000) if response else b"")
    except BlockingIOError:
        return None
    except ConnectionResetError:
        return b""


def kinds_of_half_sent(live: LiveServer) -> list[bytes]:
    token = f"Authorization: Bearer {live.token()}\r\n".encode()
    put = b"PUT /case/1.1/CFItems/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
    refused_before_its_body = put + b"\r\n{"
    return [b"", b"GET /hea", HEAD + b"X-A: b\r\n", put + token + b"\r\n{", refused_before_its_body]


def test_partial_requests_do_not_block_complete_ones(limited: LiveServer) -> None:
    kinds, process = kinds_of_half_sent(limited), psutil.Process(limited.process.pid)
    files = process.num_fds()
    with ExitStack() as stack:
        half_sent = []
        for number in range(500):
            raw = open_connection(limited, kinds[number % len(kinds)])
            half_sent.append(stack.enter_context(raw))
            if number % 10 == 0:
                assert get_status(limited) == 200
                assert process.num_fds() <= files + MAX_CONNECTIONS + 10
        assert get_status(limited, "/ready") == 200
        closed = [(number, received(raw)) for number, raw in enumerate(half_sent)]
    still_open = [number for number, response in closed if response is None]
    assert MAX_WAITING - 2 * len(kinds) < len(still_open)
    # The oldest are closed; one that was answered before its body is not counted among the open.
    assert min(still_open) > 500 - MAX_WAITING - 2 * len(kinds)
    for number, response in closed[: 500 - 2 * MAX_WAITING]:
        assert response is not None, number
        if kinds[number % len(kinds)] in {kinds[1], kinds[2], kinds[3]}:
            status, description = parse_error(response)
            assert (status, "CASE_SERVER_MAX_CONNECTIONS" in description) == (408, True)


def test_stalled_readers_do_not_block_complete_requests(limited: LiveServer) -> None:
    path = "/docs/assets/swagger-ui-bundle.js"
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    process = psutil.Process(limited.process.pid)
    files = process.num_fds()
    with ExitStack() as stack:
        for _ in range(2 * MAX_CONNECTIONS):
            stack.enter_context(open_connection(limited, head, receive_buffer=4096))
            assert get_status(limited) == 200
        # Each stalled reader has a connection and the open file that is sent over it.
        assert process.num_fds() <= files + MAX_CONNECTIONS + MAX_WAITING + 10


def test_complete_requests_get_responses_beyond_connection_limit(limited: LiveServer) -> None:
    fault = [{"method": "GET", "path": "/.well-known/jwks.json", "delay": 10}]
    httpx.put(f"{limited.base_url}/_test/faults", json=fault).raise_for_status()
    head = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with ExitStack() as stack:
        busy = [stack.enter_context(open_connection(limited, head)) for _ in range(MAX_CONNECTIONS)]
        refused = []
        for _ in range(10):
            response = read_until_closed(open_connection(limited, HEAD + b"\r\n"))
            status, description = parse_error(response)
            if status == 503:
                refused.append(description)
                assert b"retry-after: 1" in response.lower()
        assert refused
        assert "CASE_SERVER_MAX_CONNECTIONS" in refused[0]
        for raw in busy:
            raw.settimeout(30)
            assert read_until_closed(raw).startswith(b"HTTP/1.1 200 ")
    assert get_status(limited) == 200


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be paused")
def test_simultaneous_complete_requests_get_responses(limited: LiveServer) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with ExitStack() as stack:
        limited.process.send_signal(signal.SIGSTOP)
        try:
            # More than may wait for a request: all are accepted before the first is read.
            raws = [open_connection(limited, head) for _ in range(MAX_CONNECTIONS - 5)]
            sent = [stack.enter_context(raw) for raw in raws]
        finally:
            limited.process.send_signal(signal.SIGCONT)
        assert all(read_until_closed(raw).startswith(b"HTTP/1.1 200 ") for raw in sent)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no ulimit")
def test_low_file_limit_lowers_connection_limit_with_warning(
    tmp_path: Path, migrated_database: MigratedDatabase
) -> None:
    start = 'ulimit -n 200; exec "$0" "$@"'
    command = ("sh", "-c", start, *COMMAND, "serve", "--port", "0")
    settings = {
        "CASE_SERVER_DATABASE_URL": migrated_database("connections_files"),
        "CASE_SERVER_REQUEST_TIMEOUT": "300",
    }
    with (
        run_live_server(tmp_path / "data", command=command, settings=settings) as live,
        ExitStack() as stack,
    ):
        for number in range(300):
            stack.enter_context(open_connection(live, HEAD))
            if number % 10 == 0:
                assert get_status(live, "/ready") == 200
    log = (tmp_path / "data.log").read_text()
    assert "200 open files allows 42 connections" in log
    assert "Too many open files" not in log


@pytest.mark.parametrize(
    ("files", "limits"),
    [(None, (1000, 2048)), (1_000_000, (1000, 2048)), (1024, (317, 318)), (64, (1, 1))],
)
def test_connection_limit_reserves_files(files: int | None, limits: tuple[int, int]) -> None:
    assert compute_connection_limits(Settings(), files) == limits

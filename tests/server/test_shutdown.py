"""Graceful shutdown: running requests complete, new ones are rejected, within a timeout."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import factories
from support.live_server import LiveServer, run_live_server
from support.selection import mark_slow_except

from stress.server import open_connection


@contextmanager
def incomplete_put(live: LiveServer) -> Iterator[tuple[socket.socket, bytes]]:
    """Send half of the body of a PUT; yield the connection and the other half."""
    body = factories.document()
    content = json.dumps(body).encode()
    head = (
        f"PUT /case/1.1/CFDocuments/{body['identifier']} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {live.token()}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nExpect: 100-continue\r\n\r\n"
    )
    half = len(content) // 2
    with open_connection(live, head.encode()) as connection:
        connection.settimeout(30)
        # The server sends this when the application reads the body, so the request is running.
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(content[:half])
        yield connection, content[half:]


def rejects_connections(live: LiveServer) -> bool:
    """Return whether new connections are refused within 15 seconds."""
    port = int(live.base_url.rsplit(":", 1)[1])
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("workers", mark_slow_except(["2"], ["1", "2"]))
def test_shutdown_completes_running_and_rejects_new_requests(data_dir: Path, workers: str) -> None:
    with (
        run_live_server(data_dir, "--workers", workers) as server,
        incomplete_put(server) as (connection, rest),
    ):
        server.process.send_signal(signal.SIGTERM)
        assert rejects_connections(server)
        assert server.process.poll() is None
        connection.sendall(rest)
        assert connection.recv(4096).startswith(b"HTTP/1.1 201 ")
        assert server.process.wait(timeout=20) == 0


def test_shutdown_timeout_cuts_off_requests(data_dir: Path) -> None:
    with (
        run_live_server(data_dir, "--shutdown-timeout", "1") as server,
        incomplete_put(server) as (connection, _),
    ):
        start = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - start < 20
        response = connection.recv(4096)
        assert response.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 5" in response
        assert b"imsx_codeMajor" in response


@contextmanager
def slow_reader(live: LiveServer) -> Iterator[socket.socket]:
    """Yield a connection that has received the beginning of a large package."""
    items = [factories.packed_item(notes="n" * 1000) for _ in range(6000)]
    body = factories.package(CFItems=items, CFAssociations=[])
    document = body["CFDocument"]["identifier"]
    with live.client() as client:
        assert client.post("/case/1.1/CFPackages", json=body).status_code == 201
        token = client.headers["Authorization"]
    head = (
        f"GET /case/1.1/CFPackages/{document} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: {token}\r\nAccept-Encoding: identity\r\n\r\n"
    )
    with open_connection(live, head.encode(), receive_buffer=4096) as connection:
        connection.settimeout(30)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        yield connection


def rest_of(connection: socket.socket) -> bytes:
    """Return the remaining bytes until the server closes or resets the connection."""
    pieces = []
    try:
        while piece := connection.recv(1_000_000):
            pieces.append(piece)
            if piece.endswith(b"0\r\n\r\n"):
                break
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def test_shutdown_completes_package_response(data_dir: Path) -> None:
    with (
        run_live_server(data_dir, "--shutdown-timeout", "25") as server,
        slow_reader(server) as connection,
    ):
        server.process.send_signal(signal.SIGTERM)
        assert rejects_connections(server)
        time.sleep(1)
        assert server.process.poll() is None
        rest = rest_of(connection)
        assert rest.endswith(b"0\r\n\r\n")
        assert len(rest) > 6_000_000
        assert server.process.wait(timeout=25) == 0


def test_slow_reader_sees_incomplete_response_after_shutdown_timeout(data_dir: Path) -> None:
    with (
        run_live_server(data_dir, "--shutdown-timeout", "2") as server,
        slow_reader(server) as connection,
    ):
        start = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - start < 15
        # Without the last chunk (RFC 9112, section 7.1), clients treat the response as incomplete.
        assert not rest_of(connection).endswith(b"0\r\n\r\n")

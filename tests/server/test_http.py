"""HTTP/1.1 over sockets to a running server, as RFC 9110 and RFC 9112 require."""

import gzip
import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from api.test_access import list_routes
from httpx import Client, Limits
from support import factories
from support.databases import MigratedDatabase
from support.live_server import LiveServer, run_live_server
from support.selection import mark_slow_except

from case_server.api.profiles import PROFILES
from case_server.main import create_app
from case_server.settings import Settings
from stress.server import open_connection

REPEATED = pytest.mark.parametrize("rounds", mark_slow_except([10], [10, 60]))
MAX_BODY_MB = 1
LARGE_BODY = bytes(16_000_000)
"""More than the buffers of both sockets hold, so that its sender sees how the server closes."""

PER_REQUEST = {"date", "x-request-id"}
BODY_FIELDS = {"content-length", "transfer-encoding"}
"""Fields that a response to HEAD may omit (RFC 9110, section 9.3.2)."""


class Server:
    """A running server with one framework that has an entity of every type."""

    def __init__(self, live: LiveServer, log: Path) -> None:
        self.live, self.log = live, log
        self.address = urlsplit(live.base_url).netloc
        self.token = live.token()
        self.package = factories.package_with_every_class()
        with live.client() as client:
            response = client.post("/case/1.1/CFPackages", json=self.package)
        assert response.status_code == 201, response.text
        self.package_path = f"/case/1.1/CFPackages/{self.identifier('CFDocument')}"

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def identifier(self, name: str) -> str:
        return str(factories.get_first_entity(self.package, name)["identifier"])

    def connection(self) -> closing[HTTPConnection]:
        return closing(HTTPConnection(self.address, timeout=30))

    def request(self, method: str, path: str, *lines: str, version: str = "1.1") -> bytes:
        """Return the header section of a request with a token."""
        own = (f"Authorization: Bearer {self.token}", f"Host: {self.address}")
        return "\r\n".join([f"{method} {path} HTTP/{version}", *own, *lines, "", ""]).encode()

    def exchange(self, sent: bytes) -> bytes:
        """Return everything that is answered until the server closes the connection."""
        with open_connection(self.live, sent) as raw:
            return read_to_end(raw)

    def log_above_info(self) -> list[str]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["level"] not in {"DEBUG", "INFO"}]


@contextmanager
def running(folder: Path, database_url: str, *arguments: str, **settings: str) -> Iterator[Server]:
    chosen = {
        "CASE_SERVER_DATABASE_URL": database_url,
        "CASE_SERVER_LOG_FORMAT": "json",
        "CASE_SERVER_MAX_BODY_MB": str(MAX_BODY_MB),
        **settings,
    }
    with run_live_server(folder / "data", *arguments, settings=chosen) as live:
        yield Server(live, folder / "data.log")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: MigratedDatabase
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("http")
    with running(folder, migrated_database("http")) as started:
        yield started


@pytest.fixture(scope="module")
def server_in_test_mode(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: MigratedDatabase
) -> Iterator[Server]:
    """Start a server in test mode."""
    folder = tmp_path_factory.mktemp("http-test-mode")
    with running(folder, migrated_database("http_test_mode"), "--test-mode") as started:
        yield started


def read_to_end(raw: socket.socket) -> bytes:
    received = b""
    while piece := raw.recv(65_536):
        received += piece
    return received


def split(response: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return the status, header fields and body of a response."""
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), fields, body


UNUSED = Settings(database_url="postgresql://user@127.0.0.1:9/x", test_mode=True)
ALL_ROUTES = sorted(set(list_routes(create_app(UNUSED).routes)))
GETS = [path for method, path in ALL_ROUTES if method == "GET"]
PATHS = sorted({path for _, path in ALL_ROUTES})


OTHER_STATUSES = {
    "/compare.csv": 400,  # without the frameworks to compare
    "/sign-in": 303,  # not needed on this machine
    "/_test/snapshots/x": 404,
    "/_test/namespaces/x": 404,
}


def real_path(server: Server, path: str) -> str:
    """Return a route's path with identifiers that exist in place of each x."""
    if path == "/static/x":
        return "/static/style.css"
    if path == "/docs/assets/x":
        return "/docs/assets/docs.js"
    document, item = server.identifier("CFDocument"), server.identifier("CFItem")
    path = path.replace("/documents/x", f"/documents/{document}")
    path = path.replace("/items/x", f"/items/{item}").replace("/children/x", f"/children/{item}")
    match = re.search(r"/(CF\w+?)s/x", path)
    if match is None:
        return path
    names = {"CFPackage": "CFDocument", "CFItemAssociation": "CFItem"}
    identifier = server.identifier(names.get(match[1], match[1]))
    return path.replace("s/x", f"s/{identifier}")


def fields_of(response: HTTPResponse) -> dict[str, str]:
    fields = {name.lower(): value for name, value in response.getheaders()}
    if "set-cookie" in fields:  # its value is random
        fields["set-cookie"] = fields["set-cookie"].partition("=")[0]
    return {name: value for name, value in fields.items() if name not in PER_REQUEST}


@pytest.mark.parametrize("path", GETS)
def test_head_returns_the_header_section_of_get_without_a_body(
    server_in_test_mode: Server, path: str
) -> None:
    path = real_path(server_in_test_mode, path)
    with server_in_test_mode.connection() as connection:
        connection.connect()
        first = connection.sock
        connection.request("HEAD", path, headers=server_in_test_mode.authorization)
        head = connection.getresponse()
        assert head.read() == b""
        connection.request("GET", path, headers=server_in_test_mode.authorization)
        get = connection.getresponse()
        body = get.read()
        assert connection.sock is first
    assert head.status == get.status
    assert get.status == OTHER_STATUSES.get(path, 200), body
    of_head, of_get = fields_of(head), fields_of(get)
    if length := of_head.get("content-length"):
        assert length == of_get["content-length"]
    assert "transfer-encoding" not in of_head
    for name in BODY_FIELDS:
        of_head.pop(name, None)
        of_get.pop(name, None)
    assert of_head == of_get
    assert server_in_test_mode.log_above_info() == []


def head_and_get_paths(server: Server) -> list[str]:
    packages = [
        f"{profile.prefix}/CFPackages/{server.identifier('CFDocument')}" for profile in PROFILES
    ]
    return [
        *packages,
        f"{server.package_path}/groups",
        "/case/1.1/CFItems",
        f"/case/1.1/CFItems/{server.identifier('CFItem')}",
        "/health",
        "/docs",
        "/",
    ]


@REPEATED
def test_repeated_head_then_get_with_httpx_keeps_connection(server: Server, rounds: int) -> None:
    limits = Limits(max_connections=1)
    options: dict[str, Any] = {"headers": server.authorization, "base_url": server.live.base_url}
    with Client(**options, limits=limits, timeout=30) as client:
        for path in head_and_get_paths(server):
            local_ports = set()
            for _ in range(rounds):
                head = client.head(path)
                assert (head.status_code, head.content) == (200, b"")
                get = client.get(path)
                assert (get.status_code, bool(get.content)) == (200, True)
                stream = get.extensions["network_stream"]
                local_ports.add(stream.get_extra_info("client_addr"))
            assert len(local_ports) == 1, path
    assert server.log_above_info() == []


@REPEATED
def test_repeated_head_then_get_with_requests_raises_no_error(server: Server, rounds: int) -> None:
    with requests.Session() as session:
        session.headers.update(server.authorization)
        for path in head_and_get_paths(server):
            for _ in range(rounds):
                head = session.head(server.live.base_url + path, timeout=30)
                assert (head.status_code, head.content) == (200, b"")
                get = session.get(server.live.base_url + path, timeout=30)
                assert (get.status_code, bool(get.content)) == (200, True)
    assert server.log_above_info() == []


@REPEATED
def test_repeated_head_and_get_by_http_client_keep_connection(server: Server, rounds: int) -> None:
    with server.connection() as connection:
        connection.connect()
        first = connection.sock
        for path in head_and_get_paths(server):
            for _ in range(rounds):
                for method in ("HEAD", "GET"):
                    connection.request(method, path, headers=server.authorization)
                    response = connection.getresponse()
                    assert (response.status, bool(response.read())) == (200, method == "GET")
            assert connection.sock is first, path
    assert server.log_above_info() == []


def test_head_of_a_package_sends_nothing_after_its_header_section(server: Server) -> None:
    for encoding in ("identity", "gzip", "zstd"):
        sent = server.request("HEAD", server.package_path, f"Accept-Encoding: {encoding}")
        last = server.request("HEAD", "/health", "Connection: close")
        received = server.exchange(sent + last)
        head, second, rest = received.split(b"\r\n\r\n", 2)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert second.startswith(b"HTTP/1.1 200 ")
        assert rest == b""


def test_304_has_no_body_and_keeps_the_connection(server: Server) -> None:
    with server.connection() as connection:
        connection.request("GET", server.package_path, headers=server.authorization)
        first = connection.getresponse()
        assert first.read()
        used = connection.sock
        headers = {**server.authorization, "If-None-Match": str(first.headers["ETag"])}
        for method in ("GET", "HEAD", "GET"):
            connection.request(method, server.package_path, headers=headers)
            response = connection.getresponse()
            assert (response.status, response.read()) == (304, b"")
            assert response.headers["ETag"] == first.headers["ETag"]
            assert response.headers["Transfer-Encoding"] is None
        assert connection.sock is used
    last = server.request(
        "GET", server.package_path, f"If-None-Match: {first.headers['ETag']}", "Connection: close"
    )
    assert split(server.exchange(last))[2] == b""


REFUSALS = [
    ("PUT", "/case/1.1/CFItems/x", 413),
    ("PUT", "/case/1.1/CFItems/x", 401),
    ("POST", "/oauth2/token", 413),
    ("POST", "/ims/case/v1p1/CFPackages", 413),
    ("POST", "/nothing", 404),
    ("POST", "/health", 405),
]


@pytest.mark.parametrize("connection_option", ["keep-alive", "close"])
@pytest.mark.parametrize("framing", ["chunked", "content-length"])
@pytest.mark.parametrize(("method", "path", "status"), REFUSALS)
def test_error_response_is_readable_after_large_body(
    server: Server, method: str, path: str, status: int, framing: str, connection_option: str
) -> None:
    headers = {"Content-Type": "application/json", "Connection": connection_option}
    if status != 401 and path != "/oauth2/token":
        headers |= server.authorization
    is_chunked, is_closing = framing == "chunked", connection_option == "close"
    with server.connection() as connection:
        for _ in range(2):
            pieces = iter([LARGE_BODY[:1_000_000]] * 16)
            body: Any = pieces if is_chunked else LARGE_BODY
            # It reads nothing until all of the body is sent, as most libraries.
            connection.request(method, path, body, headers, encode_chunked=is_chunked)
            response = connection.getresponse()
            assert response.status == status
            assert response.read()
            assert response.will_close == is_closing


def test_http_1_0_error_response_is_readable_after_large_body(server: Server) -> None:
    lines = [f"Content-Length: {len(LARGE_BODY)}", "Content-Type: application/json"]
    sent = server.request("PUT", "/case/1.1/CFItems/x", *lines, version="1.0")
    status, fields, body = split(server.exchange(sent + LARGE_BODY))
    assert (status, fields["connection"]) == (413, "close")
    assert json.loads(body)["imsx_codeMajor"] == "failure"


def test_http_1_0_gets_a_response_without_chunks_and_is_closed(server: Server) -> None:
    paths = [
        server.package_path,
        f"{server.package_path}/groups",
        f"/case/1.1/CFItemAssociations/{server.identifier('CFItem')}",
        "/case/1.1/CFItems",
        "/health",
        "/openapi.json",
        "/",
        "/static/style.css",
    ]
    for path in paths:
        for encoding in ("identity", "gzip"):
            sent = server.request("GET", path, f"Accept-Encoding: {encoding}", version="1.0")
            status, fields, body = split(server.exchange(sent))
            assert (status, fields["connection"]) == (200, "close"), path
            assert "transfer-encoding" not in fields, path
            if "content-length" in fields:
                assert len(body) == int(fields["content-length"])
            if fields.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if fields["content-type"] == "application/json":
                json.loads(body)
            _, of_head, nothing = split(server.exchange(sent.replace(b"GET", b"HEAD", 1)))
            assert (nothing, of_head["connection"]) == (b"", "close")
    assert server.log_above_info() == []


def test_http_1_0_connection_with_keep_alive_is_closed(server: Server) -> None:
    sent = server.request("GET", "/health", "Connection: keep-alive", version="1.0")
    status, fields, body = split(server.exchange(sent))
    assert (status, fields["connection"], json.loads(body)) == (200, "close", {"status": "alive"})


def put_of_an_item(server: Server, *lines: str) -> tuple[bytes, bytes]:
    item = factories.item(server.identifier("CFDocument"))
    body = json.dumps({"item": item}).encode()
    path = f"/case/1.1/CFItems/{item['identifier']}"
    length = f"Content-Length: {len(body)}"
    return server.request("PUT", path, length, "Content-Type: application/json", *lines), body


def test_expect_100_continue_gets_100_and_then_a_response(server: Server) -> None:
    head, body = put_of_an_item(server, "Expect: 100-continue")
    with open_connection(server.live, head) as raw:
        assert raw.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(body + server.request("GET", "/health", "Connection: close"))
        assert re.findall(rb"HTTP/1.1 (\d+)", read_to_end(raw)) == [b"201", b"200"]


def test_expect_100_continue_with_its_body_gets_a_response(server: Server) -> None:
    head, body = put_of_an_item(server, "Expect: 100-continue", "Connection: close")
    assert re.findall(rb"HTTP/1.1 (\d+)", server.exchange(head + body))[-1] == b"201"


def test_rejected_expect_100_continue_returns_final_status_and_closes(server: Server) -> None:
    for line, path, status in (
        ("Content-Length: 99000000", "/case/1.1/CFItems/x", 413),
        ("Content-Length: 10", "/nothing", 404),
        ("Transfer-Encoding: chunked", "/health", 405),
    ):
        sent = server.request("PUT", path, line, "Expect: 100-continue")
        with open_connection(server.live, sent) as raw:
            response = raw.recv(65_536)
            # The server must not read bytes sent in place of the body as a request.
            raw.sendall(server.request("GET", "/health"))
            response += read_to_end(raw)
        actual, fields, _ = split(response)
        assert (actual, fields["connection"]) == (status, "close")
        assert response.count(b"HTTP/1.1 ") == 1


def test_upgrade_is_ignored_and_the_body_of_its_request_is_read(server: Server) -> None:
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA")
    head, body = put_of_an_item(server, *upgrade)
    chunked = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    get = server.request("GET", "/health", *upgrade)
    last = server.request("GET", "/health", "Connection: close")
    for pieces in ([head + body + chunked + chunks + get + last], [head, body, get + last]):
        with open_connection(server.live, b"") as raw:
            for piece in pieces:
                raw.sendall(piece)
            statuses = re.findall(rb"HTTP/1.1 (\d+)", read_to_end(raw))
        assert statuses == [b"201"] * (len(pieces) == 1) + [b"201", b"200", b"200"]
    split_at = head.index(b"Upgrade: h2c") + 3
    with open_connection(server.live, head[:split_at]) as raw:
        for piece in (head[split_at:], body[:5], body[5:] + last):
            raw.sendall(piece)
        assert re.findall(rb"HTTP/1.1 (\d+)", read_to_end(raw)) == [b"201", b"200"]
    assert server.log_above_info() == []


def test_connect_is_refused(server: Server) -> None:
    response = server.exchange(b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n")
    assert split(response)[0] == 400


def test_expect_100_continue_of_http_1_0_is_ignored(server: Server) -> None:
    head, body = put_of_an_item(server, "Expect: 100-continue")
    response = server.exchange(head.replace(b"HTTP/1.1", b"HTTP/1.0", 1) + body)
    assert response.startswith(b"HTTP/1.1 201 ")


def test_half_closed_connection_receives_response(server: Server) -> None:
    package = server.request("GET", server.package_path, "Accept-Encoding: identity")
    head, body = put_of_an_item(server)
    for sent, statuses in (
        (package, [b"200"]),
        (head + body, [b"201"]),
        (package + head + body + server.request("HEAD", "/health"), [b"200", b"201", b"200"]),
    ):
        with open_connection(server.live, sent) as raw:
            raw.shutdown(socket.SHUT_WR)
            # To its end: the server closes even where it saw the end of input too late to say so.
            received = read_to_end(raw)
        assert re.findall(rb"HTTP/1.1 (\d+)", received) == statuses


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Host: localhost", "Host: localhost"],
        ["Host: localhost", "Host: evil.test"],
        ["Host: localhost, localhost"],
        ["Host: local host"],
        ["Host: localhost/case"],
        ["Host: user@localhost"],
        ["Host: localhost:port"],
        ["Host: [12]"],
        ["Host: [::1::]:80"],
    ],
    ids=repr,
)
def test_missing_repeated_or_malformed_host_returns_400(server: Server, lines: list[str]) -> None:
    for path in ("/case/1.1/CFItems", "/health", "/"):
        head = [f"GET {path} HTTP/1.1", *lines, "Connection: close", "", ""]
        status, _, body = split(server.exchange("\r\n".join(head).encode()))
        assert (status, "Host" in json.loads(body)["imsx_description"]) == (400, True)


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("evil.test", "localhost", 421),
        ("localhost", "evil.test", 200),
        ("[::1]:80", "evil.test", 200),
        ("LOCALHOST", "localhost", 200),
        ("localhost@evil.test", "localhost", 400),
        ("localhost?/", "localhost", 400),
    ],
)
def test_host_of_absolute_request_target_replaces_the_header(
    server: Server, target: str, host: str, status: int
) -> None:
    sent = f"GET http://{target}/.well-known/jwks.json HTTP/1.1\r\nHost: {host}\r\n"
    response = server.exchange(f"{sent}Connection: close\r\n\r\n".encode())
    assert split(response)[0] == status


def test_http_1_0_needs_no_host(server: Server) -> None:
    assert split(server.exchange(b"GET /health HTTP/1.0\r\n\r\n"))[0] == 200


@pytest.mark.parametrize("path", PATHS)
def test_405_allows_every_method_of_its_path(server_in_test_mode: Server, path: str) -> None:
    methods = {method for method, other in ALL_ROUTES if other == path}
    expected = methods | ({"HEAD"} if "GET" in methods else set())
    headers = {**server_in_test_mode.authorization, "Content-Length": "0"}
    with server_in_test_mode.connection() as connection:
        refused = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - expected
        for method in sorted(refused):
            for place in (path, f"/ns/default{path}"):
                connection.request(method, place, headers=headers)
                response = connection.getresponse()
                body = response.read()
                assert response.status == 405, f"{method} {place}: {response.status} {body!r}"
                allowed = response.headers["Allow"].split(", ")
                assert set(allowed) == expected, f"{method} {place}"
                assert len(allowed) == len(expected)

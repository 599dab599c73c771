"""What comes over a connection before it is a request: bounded in size and in time."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from live import Live, serving

from case_server.connections import MOST_BYTES
from torture.server import connect

SECONDS = 1
"""How long the server of these tests waits."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("connections")
    settings = {"CASE_SERVER_BODY_TIMEOUT": str(SECONDS)}
    with serving(folder / "data", settings=settings) as server:
        yield server


def rest(raw: socket.socket) -> bytes:
    """All that is answered until the server hangs up."""
    found = b""
    with raw:
        try:
            while piece := raw.recv(10_000):
                found += piece
        except ConnectionResetError:
            pass
    return found


def told(answer: bytes) -> tuple[int, str]:
    """The status of an answer, and what it says in the standard's words."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["imsx_description"]


HEAD = b"GET /case/1.1/CFItems HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("sent", [b"", b"GET /health HT", HEAD + b"X-A: b\r\nX-"])
def test_a_head_that_does_not_come_is_not_waited_for(live: Live, sent: bytes) -> None:
    begun = time.monotonic()
    answer = rest(connect(live, sent))
    assert SECONDS <= time.monotonic() - begun < SECONDS + 5
    if sent:
        status, said = told(answer)
        assert (status, f"{SECONDS} seconds" in said) == (408, True)
    else:
        assert answer == b""


def test_a_byte_now_and_then_does_not_keep_a_connection(live: Live) -> None:
    begun, answer = time.monotonic(), b""
    with connect(live, HEAD) as raw:
        raw.settimeout(0.2)
        while not answer and time.monotonic() - begun < 10:
            raw.sendall(b"x")
            try:
                answer = raw.recv(10_000)
            except TimeoutError:
                continue
    assert told(answer)[0] == 408
    assert time.monotonic() - begun < SECONDS + 2


def test_what_is_still_sent_after_an_answer_is_not_read_for_ever(live: Live) -> None:
    head = b"PUT /case/1.1/CFItems/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    begun = time.monotonic()
    with connect(live, head) as raw:
        assert raw.recv(10_000).startswith(b"HTTP/1.1 401 ")
        # Not a client's to end: the server hangs up.
        with suppress(OSError):
            while time.monotonic() - begun < 10:
                raw.sendall(b"1\r\n \r\n")
                time.sleep(0.1)
    assert time.monotonic() - begun < SECONDS + 2


@pytest.mark.parametrize(
    "headers",
    [lambda size: b"X: " + b"x" * (size - 5) + b"\r\n", lambda size: b"a:\r\n" * (size // 4)],
    ids=["one long", "many short"],
)
def test_a_head_is_read_up_to_its_most(live: Live, headers: Callable[[int], bytes]) -> None:
    begin, end = HEAD + b"Connection: close\r\n", b"\r\n"
    room = MOST_BYTES - len(begin) - len(end)
    assert told(rest(connect(live, begin + headers(room) + end)))[0] == 401
    status, said = told(rest(connect(live, begin + headers(room + 4) + end)))
    assert (status, f"{MOST_BYTES:,} bytes" in said) == (431, True)


def test_heads_of_one_connection_are_counted_each_for_itself(live: Live) -> None:
    with closing(HTTPConnection(urlsplit(live.base_url).netloc, timeout=10)) as connection:
        connection.connect()
        first = connection.sock
        for _ in range(4):
            connection.request("GET", "/health", headers={"X-Long": "x" * 30_000})
            assert connection.getresponse().read()
        assert connection.sock is first


def test_a_refusal_arrives_though_the_body_is_still_sent(live: Live) -> None:
    headers = {"Authorization": f"Bearer {live.token()}", "Content-Encoding": "gzip"}
    with closing(HTTPConnection(urlsplit(live.base_url).netloc, timeout=10)) as connection:
        for _ in range(3):
            connection.request("PUT", "/case/1.1/CFItems/x", bytes(8_000_000), headers)
            answer = connection.getresponse()
            assert (answer.status, "gzip" in json.load(answer)["imsx_description"]) == (415, True)


def test_requests_in_one_piece_are_all_answered(live: Live) -> None:
    last = HEAD + b"Connection: close\r\n\r\n"
    answer = rest(connect(live, (HEAD + b"\r\n") * 3 + last))
    assert answer.count(b"HTTP/1.1 401 ") == 4


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n: x\r\n\r\n"]
)
def test_what_is_not_http_is_refused_in_words(live: Live, sent: bytes) -> None:
    status, said = told(rest(connect(live, sent)))
    assert (status, "not HTTP" in said) == (400, True)


def test_a_websocket_is_not_opened(live: Live) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    key = b"Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    with connect(live, head + key) as raw:
        assert raw.recv(10_000).startswith(b"HTTP/1.1 200 ")

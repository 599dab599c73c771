"""An HTTP server with scripted responses, which can be invalid, truncated or reset."""

import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = Any


@dataclass
class ScriptedResponse:
    """A scripted response: status, header fields and body, optionally truncated or reset."""

    body: Json | bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    """Number of bytes of the body after which the connection is closed."""
    reset: bool = False
    """True if the connection is reset after the body."""

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class ScriptedSource:
    """An HTTP server that sends the responses that a test has scripted, and records requests."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        """Request targets, in order."""
        self.headers: list[dict[str, str]] = []
        self.responses: dict[str, ScriptedResponse | deque[ScriptedResponse]] = {}
        """Responses by request target or path. A deque is used in turn, its last again."""
        self.respond: Callable[[str], ScriptedResponse] = self._scripted
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                # A body that is left unread would reset the connection when it is closed.
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                source.requests.append(self.path)
                source.headers.append(dict(self.headers))
                source._send(self, source.respond(self.path))

            do_POST = do_GET  # noqa: N815  as http.server calls it

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients may leave
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        # With the default of 0.5 s, stopping would take that long in each test.
        serve = partial(self.server.serve_forever, poll_interval=0.01)
        self.thread = threading.Thread(target=serve, daemon=True)
        self.thread.start()

    def _scripted(self, target: str) -> ScriptedResponse:
        response = self.responses.get(target) or self.responses.get(urlsplit(target).path)
        if isinstance(response, deque):
            return response.popleft() if len(response) > 1 else response[0]
        return response or ScriptedResponse({"message": "no such path"}, 404)

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, response: ScriptedResponse) -> None:
        content = response.content
        handler.send_response(response.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for name, value in (headers | response.headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content[: response.cut_at])
        if response.reset:
            handler.wfile.flush()
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.connection.close()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@contextmanager
def run_scripted_source() -> Iterator[ScriptedSource]:
    """Run a server with scripted responses for the duration of a block."""
    source = ScriptedSource()
    try:
        yield source
    finally:
        source.stop()


def parse_page(target: str) -> tuple[int, int]:
    """Return the ``limit`` and ``offset`` in a request target, with defaults of 100 and 0."""
    query = parse_qs(urlsplit(target).query)
    return int(query.get("limit", ["100"])[0]), int(query.get("offset", ["0"])[0])

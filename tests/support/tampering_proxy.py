"""A reverse proxy that modifies requests and responses."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx

POLL_SECONDS = 0.02
"""Interval at which the proxy checks whether it should stop."""

HOP_BY_HOP_FIELDS = {
    "transfer-encoding",
    "content-encoding",
    "content-length",
    "connection",
    "date",
    "server",
}


@dataclass
class Exchange:
    """A request to the proxy and, once it was forwarded, the response; tests may change both."""

    method: str
    url: httpx.URL
    """The requested URL; modify it to request another one."""
    status: int = 0
    body: bytes = b""
    headers: dict[str, str] | None = None
    after_head: bytes = b""
    """Bytes to send after the header section of a response to HEAD."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @json.setter
    def json(self, value: Any) -> None:
        self.body = json.dumps(value).encode()


Modify = Callable[[Exchange], None]


def leave_unchanged(_: Exchange) -> None:
    """Change nothing in an exchange; the default for requests."""


@contextmanager
def run_tampering_proxy(
    origin: str, modify_response: Modify, modify_request: Modify = leave_unchanged
) -> Iterator[str]:
    """Run a proxy for the server at ``origin`` during a block and yield the proxy's URL.

    ``modify_request`` is called before each request is forwarded. If it sets the status, that is
    the response; otherwise ``modify_response`` is called before the response is returned.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each body waits 40 ms for the client's ACK

        def pass_on(self) -> None:
            exchange = Exchange(self.command, httpx.URL(f"{origin}{self.path}"))
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            modify_request(exchange)
            if not exchange.status:
                headers = {name: value for name, value in self.headers.items() if name != "Host"}
                headers["Accept-Encoding"] = "identity"
                # HEAD gets the modified response to GET, so that both agree.
                method = "GET" if exchange.method == "HEAD" else exchange.method
                response = http.request(method, exchange.url, headers=headers, content=sent)
                exchange.status, exchange.body = response.status_code, response.content
                exchange.headers = {
                    k: v for k, v in response.headers.items() if k not in HOP_BY_HOP_FIELDS
                }
                modify_response(exchange)
            self.send_response(exchange.status)
            for name, value in (exchange.headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(exchange.body)))
            self.end_headers()
            is_head = exchange.method == "HEAD"
            self.wfile.write(exchange.after_head if is_head else exchange.body)

        do_HEAD = do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = pass_on  # noqa: N815  http.server calls them so

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with httpx.Client(timeout=60) as http, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(POLL_SECONDS,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()

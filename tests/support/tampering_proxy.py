"""A server between a client and a real one, which spoils what passes through."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx

PAUSE = 0.02
"""Seconds between two looks whether it is to end."""

HOP = {"transfer-encoding", "content-encoding", "content-length", "connection", "date", "server"}


@dataclass
class Passing:
    """A request on its way to the real server, and later the answer on its way back."""

    method: str
    url: httpx.URL
    """As the client sent it; change it to ask something else."""
    status: int = 0
    body: bytes = b""
    headers: dict[str, str] | None = None
    after_head: bytes = b""
    """What is sent after the header section of an answer to HEAD."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @json.setter
    def json(self, value: Any) -> None:
        self.body = json.dumps(value).encode()


Spoil = Callable[[Passing], None]


def as_it_is(_: Passing) -> None:
    """Nothing is spoilt."""


@contextmanager
def tampering(origin: str, answer: Spoil, request: Spoil = as_it_is) -> Iterator[str]:
    """A server that asks ``origin`` and answers what ``answer`` made of it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each body waits 40 ms for a word of the client

        def pass_on(self) -> None:
            passing = Passing(self.command, httpx.URL(f"{origin}{self.path}"))
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request(passing)
            if not passing.status:
                kept = {name: value for name, value in self.headers.items() if name != "Host"}
                kept["Accept-Encoding"] = "identity"
                # Answered from GET, so that HEAD agrees with whatever GET is made to be.
                method = "GET" if passing.method == "HEAD" else passing.method
                got = http.request(method, passing.url, headers=kept, content=sent)
                passing.status, passing.body = got.status_code, got.content
                passing.headers = {k: v for k, v in got.headers.items() if k not in HOP}
                answer(passing)
            self.send_response(passing.status)
            for name, value in (passing.headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(passing.body)))
            self.end_headers()
            is_head = passing.method == "HEAD"
            self.wfile.write(passing.after_head if is_head else passing.body)

        do_HEAD = do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = pass_on  # noqa: N815  http.server calls them so

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with httpx.Client(timeout=60) as http, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(PAUSE,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()

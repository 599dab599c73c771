"""What every request passes first: its id, its path without a trailing slash, and a last resort.

HEAD is answered as GET is, without the body (RFC 9110, section 9.3.2).
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import CaseServerError
from .errors import refusal

log = logging.getLogger("case_server")

ID_HEADER = b"x-request-id"
GOOD_ID = re.compile(rb"[\x21-\x7e]{1,128}")
"""What is taken from a client and given back: anything else could forge headers or logs."""


class Edge:
    """Gives each answer an ``X-Request-ID`` (the client's own, or a new one)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        path, started = scope["path"], False
        if len(path) > 1 and path.endswith("/") and not scope["raw_path"].endswith(b"%2F"):
            scope["path"] = path[:-1]
        head = scope["method"] == "HEAD"
        if head:
            scope["method"] = "GET"

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (ID_HEADER, request_id)]
            elif head:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            log.exception("request %s: %s %s failed", request_id.decode(), scope["method"], path)
            if started:
                # The answer is under way: cutting it off is the only way left to say so.
                raise
            error = CaseServerError(
                f"the server failed; its log has the reason under request {request_id.decode()}"
            )
            await refusal(path, error)(scope, receive, send_with_id)


def _request_id(scope: MutableMapping[str, Any]) -> bytes:
    sent = next((value for name, value in scope["headers"] if name == ID_HEADER), b"")
    return sent if GOOD_ID.fullmatch(sent) else uuid.uuid4().hex.encode()

"""The body of a request, as it arrives: never more of it than is read, and not for ever.

A body costs its sender time and this server memory; who sends a byte a second is sent away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from typing import TypeVar

from anyio import fail_after, to_thread
from fastapi import Request

from ..case.limits import LARGE_BODY_BYTES
from ..exceptions import (
    BadRequest,
    ContentTooLarge,
    RequestTimeout,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from .dependencies import get_state

Read = TypeVar("Read")

SLOWEST = 10_000
"""Bytes a second that a body must come with, beyond the seconds that every body has."""

CLOSED = {"Connection": "close"}
"""What is still to come of a body is not waited for."""


UPLOAD_SLOT_TIMEOUT_SECONDS = 30


async def read_body(request: Request) -> bytes:
    """The whole body. Raises ``TooLarge`` as soon as it is known to be more than is read here.

    Raises ``UnsupportedMedia`` for a compressed one, ``TooSlow`` when it does not arrive.
    """
    coding = request.headers.get("content-encoding", "").strip()
    if coding.lower() not in {"", "identity"}:
        raise UnsupportedMediaType(
            f"this server reads no bodies with Content-Encoding {coding[:40]!r}: send it as it is",
            headers={"Accept-Encoding": "identity"},
        )
    megabytes = get_state(request).settings.max_body_mb
    refusal = ContentTooLarge(f"the body is larger than the {megabytes} MB this server reads")
    limit = megabytes * 1_000_000
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise refusal
    body = BytesIO()
    async for piece in iter_body(request):
        body.write(piece)
        if body.tell() > limit:
            raise refusal
    # Unlike a bytearray, it gives away what it holds without a copy.
    return body.getvalue()


async def parse_body(request: Request, raw_body: bytes, parse: Callable[[], Read]) -> Read:
    """What ``read`` makes of a body; a large one beside the event loop, and few at a time."""
    if len(raw_body) <= LARGE_BODY_BYTES:
        return parse()
    async with upload_slot(request):
        return await to_thread.run_sync(parse)


@asynccontextmanager
async def upload_slot(request: Request) -> AsyncIterator[None]:
    """Limit how many uploads are parsed and written at a time.

    Raises ``ServiceUnavailable`` after waiting ``UPLOAD_SLOT_TIMEOUT_SECONDS``.
    """
    limiter = get_state(request).upload_limiter
    try:
        with fail_after(UPLOAD_SLOT_TIMEOUT_SECONDS):
            await limiter.acquire()
    except TimeoutError:
        raise ServiceUnavailable(
            "too many concurrent uploads; retry later", headers={"Retry-After": "5"}
        ) from None
    try:
        yield
    finally:
        limiter.release()


async def iter_body(request: Request) -> AsyncIterator[bytes]:
    """A body piece by piece, for as long as it keeps coming."""
    seconds, received, more = get_state(request).settings.request_timeout, 0, True
    begun = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(begun + seconds) as patience:
            # Not from ``request.stream()``, as most bodies are one piece, and are not waited for.
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise BadRequest("the connection was closed before the body was whole")
                yield (piece := message.get("body", b""))
                if more := message.get("more_body", False):
                    received += len(piece)
                    patience.reschedule(begun + seconds + received / SLOWEST)
    except TimeoutError:
        raise RequestTimeout(
            f"the body did not arrive within {seconds} seconds and one more for each "
            f"{SLOWEST:,} bytes; {received:,} bytes did",
            headers=CLOSED,
        ) from None

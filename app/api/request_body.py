"""Reading of request bodies, with limits on their size, their duration and their parsing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from io import BytesIO
from typing import Annotated, TypeVar

from anyio import fail_after, to_thread
from fastapi import Depends, Request

from ..case.model import Entity
from ..case.validation.limits import LARGE_BODY_BYTES
from ..case.validation.parsing import ParsedBody, parse_json_body
from ..exceptions import (
    BadRequest,
    ContentTooLarge,
    RequestTimeout,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from .dependencies import get_app_state
from .responses import require_same_identifier

T = TypeVar("T")
EntityT = TypeVar("EntityT", bound=Entity)

MIN_BYTES_PER_SECOND = 10_000
"""Rate at which a body must arrive, in addition to the timeout that every body may take."""

UPLOAD_SLOT_TIMEOUT_SECONDS = 30

CLOSE_CONNECTION = {"Connection": "close"}
"""Headers for a body that did not arrive, so that the server need not read the rest of it."""


async def read_body(request: Request) -> bytes:
    """Read the whole body of a request into memory, within the limits on size and time.

    Raises ``ContentTooLarge`` as soon as the body is known to exceed the limit,
    ``UnsupportedMediaType`` if it is compressed, ``RequestTimeout`` if it arrives too slowly, and
    ``BadRequest`` if the client disconnects.
    """
    coding = request.headers.get("content-encoding", "").strip()
    if coding.lower() not in {"", "identity"}:
        raise UnsupportedMediaType(
            f"unsupported Content-Encoding {coding[:40]!r}: send the body uncompressed",
            headers={"Accept-Encoding": "identity"},
        )
    megabytes = get_app_state(request).settings.max_body_mb
    limit = megabytes * 1_000_000
    content_length = request.headers.get("content-length", "0")
    if content_length.isdecimal() and int(content_length[:20]) > limit:
        raise _make_size_error(megabytes)
    body = BytesIO()
    async for chunk in iter_body(request):
        body.write(chunk)
        if body.tell() > limit:
            raise _make_size_error(megabytes)
    # A BytesIO returns its content without a copy, unlike a bytearray.
    return body.getvalue()


def _make_size_error(megabytes: int) -> ContentTooLarge:
    return ContentTooLarge(
        f"the body exceeds the limit of {megabytes} MB: send less, or raise CASE_SERVER_MAX_BODY_MB"
    )


RawBody = Annotated[bytes, Depends(read_body)]


async def parse_body(request: Request, raw_body: bytes, parse: Callable[[], T]) -> T:
    """Call ``parse`` without arguments and return its result, in a thread if the body is large.

    Parsing more than ``LARGE_BODY_BYTES`` would block the event loop. Raises ``ServiceUnavailable``
    if too many large bodies are already being parsed, and any error that ``parse`` raises.
    """
    if len(raw_body) <= LARGE_BODY_BYTES:
        return parse()
    async with upload_slot(request):
        return await to_thread.run_sync(parse)


async def parse_entity(
    request: Request,
    identifier: str,
    raw_body: bytes,
    schema: type[EntityT],
    wrappers: tuple[str, ...],
) -> ParsedBody[EntityT]:
    """Parse the body of a PUT into a ``ParsedBody`` with an entity of the class ``schema``.

    ``identifier`` is the identifier in the path. The body may be wrapped in an object with one of
    the names in ``wrappers``. Raises ``BadRequest`` if the identifiers in path and body differ, and
    ``UnprocessableContent`` if the entity is not valid.
    """
    body = await parse_body(request, raw_body, partial(parse_json_body, schema, raw_body, wrappers))
    require_same_identifier(identifier, body.entity.identifier)
    return body


@asynccontextmanager
async def upload_slot(request: Request) -> AsyncIterator[None]:
    """Wait for one of the few upload slots, and hold it while the ``async with`` block runs.

    This limits how many uploads are parsed and written at a time. Raises ``ServiceUnavailable``
    after waiting ``UPLOAD_SLOT_TIMEOUT_SECONDS``.
    """
    limiter = get_app_state(request).upload_limiter
    try:
        with fail_after(UPLOAD_SLOT_TIMEOUT_SECONDS):
            await limiter.acquire()
    except TimeoutError:
        error = "too many concurrent uploads; retry later"
        raise ServiceUnavailable(error, retry_after=5) from None
    try:
        yield
    finally:
        limiter.release()


async def iter_body(request: Request) -> AsyncIterator[bytes]:
    """Yield the chunks of a request body as they arrive.

    Raises ``RequestTimeout`` if the chunks arrive too slowly, and ``BadRequest`` if the client
    disconnects.
    """
    seconds, received_bytes, has_more = get_app_state(request).settings.request_timeout, 0, True
    start = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(start + seconds) as timeout:
            # Faster than ``request.stream()`` for a body of one chunk, which needs no waiting.
            while has_more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise BadRequest(
                        "the connection was closed before the whole body was received; retry"
                    )
                yield (chunk := message.get("body", b""))
                if has_more := message.get("more_body", False):
                    received_bytes += len(chunk)
                    timeout.reschedule(start + seconds + received_bytes / MIN_BYTES_PER_SECOND)
    except TimeoutError:
        raise RequestTimeout(
            f"the body arrived too slowly ({received_bytes:,} bytes so far): the limit is "
            f"{seconds} s plus 1 s for each {MIN_BYTES_PER_SECOND:,} bytes; send it faster, or "
            "raise CASE_SERVER_REQUEST_TIMEOUT",
            headers=CLOSE_CONNECTION,
        ) from None

"""Responses with a whole framework: revalidated by its revision, cached, and encoded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from ...db.read.package import FrameworkSnapshot, open_framework_snapshot
from ...db.read.revisions import Revision, RevisionCache, fetch_revision
from ...exceptions import CaseServerError, RecoveryConflict
from ..rendering.renderer import Renderer
from ..responses import JSON, negotiate_encoding
from .conditional import build_package_headers, hash_representation_key, is_not_modified
from .response_cache import CachedResponse, Key, Producer, ResponseCache

if TYPE_CHECKING:
    from ...state import AppState

Fields: TypeAlias = tuple[str, ...] | None
"""The fields that a request selects, or None for all."""


@dataclass(frozen=True)
class PackageFormat:
    """A JSON format for a whole framework: a flat package or a tree of items.

    ``iter_chunks(renderer, framework, fields)`` yields the JSON of a framework in chunks;
    ``fields`` are the top-level members that the request selects.
    """

    name: str
    iter_chunks: Callable[[Renderer, FrameworkSnapshot, Fields], AsyncIterator[bytes]]
    fields: Fields


async def respond_with_package(
    request: Request,
    state: AppState,
    renderer: Renderer,
    identifier: str,
    package_format: PackageFormat,
) -> Response:
    """Respond with a whole framework, from the cache if possible.

    ``identifier`` is that of the package or of its document; ``package_format`` selects package or
    tree. The response is 304 if the client's copy is current. Otherwise it has the cached body,
    which is produced again if it is missing or outdated. Raises ``NotFound`` if there is no such
    package.
    """
    current = await state.revisions.get_current_revision(identifier)
    representation = (
        package_format.name,
        renderer.profile.name,
        renderer.base_url,
        renderer.include_extensions,
        package_format.fields,
    )
    representation_hash = hash_representation_key(*representation)
    if await is_not_modified(request, state.revisions, current, representation_hash):
        return Response(None, 304, build_package_headers(current, representation_hash))

    async def render(response: CachedResponse) -> AsyncIterator[bytes]:
        document = current.document_identifier
        async with open_framework_snapshot(state.database, document) as framework:
            response.revision = await fetch_revision(framework.connection, document)
            reader = replace(renderer, find_local_nodes=framework.find_node_collections)
            async for chunk in package_format.iter_chunks(reader, framework, package_format.fields):
                yield chunk

    cache, key = state.response_cache, (current.document_identifier, *representation)
    cached = cache.get(key)
    if cached is None or not await _is_cached_response_current(cached, state.revisions, current):
        try:
            cached = await _start_or_share_response(cache, key, render, cached)
        except RecoveryConflict:
            cached = await _start_or_share_response(cache, key, render, cached)
    return await _build_encoded_response(request, cached, representation_hash)


async def _start_or_share_response(
    cache: ResponseCache, key: Key, producer: Producer, outdated: CachedResponse | None
) -> CachedResponse:
    """Return a response newer than ``outdated``, once its first chunk is available.

    ``outdated`` is the response that this request found in the cache, or None. If another request
    has since started a newer one, which has not failed, this request shares it. Otherwise, it
    starts one with ``producer`` and caches it under ``key``. Raises the producer's error if there
    is no first chunk.
    """
    response = cache.get(key)
    if response is None or response is outdated or response.error:
        response = cache.start_producing(key, producer)
    await response.wait_for_first_chunk()
    return response


async def _is_cached_response_current(
    cached: CachedResponse, revisions: RevisionCache, current: Revision
) -> bool:
    """Return whether a cached response contains the package as of ``current`` or newer.

    Waits for its first chunk. ``revisions`` decides whether the package is the same at both
    revisions; if so, ``cached.revision`` is set to ``current``.
    """
    is_queued = not cached.has_started
    try:
        await cached.wait_for_first_chunk()
    except CaseServerError:
        return False
    if is_queued:
        # It was read after this request arrived. Comparing revisions instead could repeat without
        # end while others write.
        return True
    if cached.revision is None or not await revisions.is_package_unchanged(
        cached.revision, current
    ):
        return False
    cached.revision = current
    return True


async def _build_encoded_response(
    request: Request, cached: CachedResponse, representation_hash: str
) -> Response:
    """Build the HTTP response from a cached one, in the encoding that the client prefers.

    ``representation_hash`` is the result of ``hash_representation_key``.
    """
    assert cached.revision is not None, "the producer sets it before the first chunk"
    headers = build_package_headers(cached.revision, representation_hash)
    codings = ("zstd", "gzip") if cached.is_complete else ("gzip",)
    encoding = negotiate_encoding(request.headers.get("accept-encoding", ""), codings)
    if encoding != "identity":
        headers["Content-Encoding"] = encoding
    if encoding == "zstd":
        return Response(await cached.get_zstd_body(), headers=headers, media_type=JSON)
    if encoding == "gzip" and cached.is_complete:
        return Response(cached.get_gzip_body(), headers=headers, media_type=JSON)
    chunks = cached.iter_gzip() if encoding == "gzip" else cached.iter_uncompressed()
    return StreamingResponse(chunks, headers=headers, media_type=JSON)

"""Cache of whole package responses, compressed with gzip.

A response that many clients request at the same time is produced once, and cached until a write
changes it. A slow client holds no database connection and no snapshot; it reads from memory.
Responses in other encodings are made from the gzip stream. ``CASE_SERVER_CACHE_MB`` limits the
total size.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

from anyio import to_thread
from isal import isal_zlib

from ...db.read.revisions import Revision

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Key: TypeAlias = tuple[object, ...]
Producer: TypeAlias = Callable[["CachedResponse"], AsyncIterator[bytes]]
"""Yields the chunks of a response body; sets ``revision`` before the first of them."""

GZIP_WBITS = 16 + 15
"""zlib's value for a gzip header and the largest window."""

COMPRESSION_LEVEL = 1

DEFLATE_WBITS = -15
"""zlib's value for deflated data without a header, such as the second chunk of a gzip stream."""

SLICE_BYTES = 16_384
"""Compressed bytes to decompress at a time, which are about 150 kB of JSON."""

MAX_UNCOMPRESSED_CHUNKS = 4
"""Newest chunks that are also stored uncompressed while a response is produced. Clients without
gzip that keep up get these: a cold package takes 21 % less CPU than if each chunk was decompressed
again."""


class CachedResponse:
    """A response body, compressed as one gzip stream, which may still be incomplete.

    Several requests can read it while it grows. A copy compressed with zstd is made for the first
    client that prefers zstd. The function ``on_growth`` is then called without arguments, so that
    the cache can evict responses.
    """

    def __init__(self, on_growth: Callable[[], None]) -> None:
        self._on_growth = on_growth
        self.revision: Revision | None = None
        self.chunks: list[bytes] = []
        self._uncompressed: dict[int, bytes] = {}
        """The newest chunks, uncompressed, by index."""
        self.stored_size = 0
        """Bytes that the response takes in the cache."""
        self.is_complete = False
        self.has_started = False
        """The producer has started: it may not see writes that commit after that."""
        self.error: BaseException | None = None
        self._zstd = b""
        self._zstd_lock = threading.Lock()
        self._changed = asyncio.Event()

    async def produce(self, producer: Producer) -> None:
        """Compress and store each chunk of the body that ``producer`` yields for this response.

        Stores the producer's error, which is then raised for each request that reads the response.
        A cancellation is also raised here.
        """
        self.has_started = True
        compressor = isal_zlib.compressobj(COMPRESSION_LEVEL, isal_zlib.DEFLATED, GZIP_WBITS)
        try:
            async for chunk in producer(self):
                self._uncompressed.pop(len(self.chunks) - MAX_UNCOMPRESSED_CHUNKS, None)
                self._uncompressed[len(self.chunks)] = chunk
                # Flushed, so that clients can decompress what they have received; and completely,
                # so that each chunk can be decompressed by itself.
                compressed = compressor.compress(chunk)
                self._append(compressed + compressor.flush(isal_zlib.Z_FULL_FLUSH))
            self._append(compressor.flush())
            # Clients that are being sent the chunks keep a reference to the former list.
            self.chunks, self.is_complete = [b"".join(self.chunks)], True
        except BaseException as error:
            self.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self._uncompressed.clear()
            self._notify()

    def _append(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.stored_size += len(chunk)
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait_for_first_chunk(self) -> None:
        """Wait until the first chunk is available. Raises the producer's error if there is none."""
        while not (self.chunks or self.error):
            await self._changed.wait()
        if self.error and not self.chunks:
            raise self.error

    async def iter_gzip(self) -> AsyncIterator[bytes]:
        """Yield the body as a gzip stream: stored chunks immediately, later ones as produced.

        Raises the producer's error, if any, after the last chunk.
        """
        chunks, index = self.chunks, 0
        while True:
            changed = self._changed
            if index < len(chunks):
                yield chunks[index]
                index += 1
            elif self.error:
                raise self.error
            elif self.is_complete:
                return
            else:
                await changed.wait()

    async def iter_uncompressed(self) -> AsyncIterator[bytes]:
        """Yield the body uncompressed: stored chunks immediately, later ones as produced.

        Raises the producer's error, if any, after the last chunk.
        """
        index = 0
        async for chunk in self.iter_gzip():
            if raw := self._uncompressed.get(index):
                yield raw
            else:
                decompressor = isal_zlib.decompressobj(DEFLATE_WBITS if index else GZIP_WBITS)
                for start in range(0, len(chunk), SLICE_BYTES):
                    if raw := decompressor.decompress(chunk[start : start + SLICE_BYTES]):
                        yield raw
                        # Other tasks run between two slices of a large response.
                        await asyncio.sleep(0)
            index += 1

    def get_gzip_body(self) -> bytes:
        """Return the complete body, compressed with gzip."""
        (stream,) = self.chunks
        return stream

    async def get_zstd_body(self) -> bytes:
        """Return the complete body, compressed with zstd; only the first call compresses it."""
        if not self._zstd:
            await to_thread.run_sync(self._compress_as_zstd)
            self._on_growth()
        return self._zstd

    def _compress_as_zstd(self) -> None:
        with self._zstd_lock:
            if not self._zstd:
                self._zstd = zstd.compress(isal_zlib.decompress(self.get_gzip_body(), GZIP_WBITS))
                self.stored_size += len(self._zstd)


class ResponseCache:
    """An in-process LRU cache of package responses, limited by their total size."""

    def __init__(self, megabytes: int, producers: int) -> None:
        self.max_bytes = megabytes * 1_000_000
        self._responses: OrderedDict[Key, CachedResponse] = OrderedDict()
        self._tasks: dict[asyncio.Task[None], CachedResponse] = {}
        # Each producer holds a database connection, and other requests need some too.
        self._producer_slots = asyncio.Semaphore(producers)

    def get(self, key: Key) -> CachedResponse | None:
        """Return the latest response for a key, which may still be incomplete, or None."""
        response = self._responses.get(key)
        if response is not None:
            self._responses.move_to_end(key)
        return response

    def start_producing(self, key: Key, producer: Producer) -> CachedResponse:
        """Start producing a response in the background and return it before it is complete.

        ``producer`` yields the chunks of the body. The response is in the cache immediately, so
        that later requests for the key share it.
        """
        response = self._responses[key] = CachedResponse(on_growth=self.evict)
        self._responses.move_to_end(key)

        async def run() -> None:
            async with self._producer_slots:
                await response.produce(producer)

        task = asyncio.create_task(run())
        self._tasks[task] = response
        task.add_done_callback(lambda finished_task: self._on_done(key, finished_task))
        return response

    def _on_done(self, key: Key, task: asyncio.Task[None]) -> None:
        response = self._tasks.pop(task)
        if not response.is_complete and self._responses.get(key) is response:
            del self._responses[key]
        self.evict()

    def evict(self) -> None:
        """Remove the least recently used complete responses until the size limit is met."""
        size = sum(response.stored_size for response in self._responses.values())
        for key, response in list(self._responses.items()):
            if size <= self.max_bytes:
                return
            if response.is_complete:
                size -= response.stored_size
                del self._responses[key]

    async def close(self) -> None:
        """Cancel the responses that are still being produced, and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

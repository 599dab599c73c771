"""Answers worth keeping: whole frameworks, compressed, until something in them is written.

An answer is produced once, however many ask for it meanwhile, and whoever reads slowly holds
nothing but his place in it: no connection, no snapshot. It is kept as gzip; who wants something
else gets that made from it. What it costs is bounded by ``CASE_SERVER_CACHE_MB``.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeAlias

from anyio import to_thread
from isal import isal_zlib

from ..db.read.revisions import Revision

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Key: TypeAlias = tuple[object, ...]
Producer: TypeAlias = Callable[["CachedResponse"], AsyncIterator[bytes]]
"""Writes an answer piece by piece; says the revision that it writes before the first of them."""

GZIP = 16 + 15
"""zlib's word for a gzip header around the largest window."""

LEVEL = 1

SLICE = 16_384
"""How much gzip is unpacked at a time: some 150 kB of JSON."""


FRESH = 16
"""How many pieces of an answer that is being written are also kept as they are."""


class CachedResponse:
    """An answer, whole or still being written, as pieces of one gzip stream."""

    def __init__(self) -> None:
        self.revision: Revision | None = None
        self.chunks: list[bytes] = []
        self._fresh: deque[bytes] = deque(maxlen=FRESH)
        self.raw_size = 0
        """How long it is as it is."""
        self.stored_size = 0
        self.is_complete = False
        self.has_started = False
        """Whether the store was looked at: what is written after that may not be in it."""
        self.error: BaseException | None = None
        self._zstd = b""
        self._one_at_a_time = threading.Lock()
        self._grown = asyncio.Event()

    async def run(self, produce: Producer) -> None:
        """Write the answer down as it is produced."""
        self.has_started = True
        packing = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, GZIP)
        try:
            async for piece in produce(self):
                # Flushed, so that a reader can have what is there.
                self._add(packing.compress(piece) + packing.flush(isal_zlib.Z_SYNC_FLUSH), piece)
            self._add(packing.flush(), b"")
            # Whoever reads the pieces keeps the lists that they are in.
            self.chunks, self.is_complete = [b"".join(self.chunks)], True
            self._fresh = deque()
        except BaseException as error:
            self.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self._wake()

    def _add(self, piece: bytes, fresh: bytes) -> None:
        self.chunks.append(piece)
        self._fresh.append(fresh)
        self.raw_size += len(fresh)
        self.stored_size += len(piece)
        self._wake()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def wait_for_first_chunk(self) -> None:
        """Wait until it is known what is being written, or that nothing will be."""
        while not (self.chunks or self.error):
            await self._grown.wait()
        if self.error and not self.chunks:
            raise self.error

    async def iter_gzip(self) -> AsyncIterator[bytes]:
        """The answer as gzip, as far as it is there, then as it grows."""
        pieces, place = self.chunks, 0
        while True:
            grown = self._grown
            if place < len(pieces):
                yield pieces[place]
                place += 1
            elif self.error:
                raise self.error
            elif self.is_complete:
                return
            else:
                await grown.wait()

    async def iter_identity(self) -> AsyncIterator[bytes]:
        """The answer as it is: as it is written, and unpacked for who comes later or is slow."""
        said = 0
        async for piece in self._as_written():
            yield piece
            said += len(piece)
        if self.is_complete and said == self.raw_size:
            return
        unpacking = isal_zlib.decompressobj(GZIP)
        async for piece in self.iter_gzip():
            for start in range(0, len(piece), SLICE):
                raw = unpacking.decompress(piece[start : start + SLICE])
                told, said = raw[said:], max(0, said - len(raw))
                if told:
                    yield told
                    # Others get their turn between two slices of a large answer.
                    await asyncio.sleep(0)

    async def _as_written(self) -> AsyncIterator[bytes]:
        """The pieces from the first on, as long as they are there as they were written."""
        pieces, fresh, place = self.chunks, self._fresh, 0
        while not (self.is_complete and place == len(pieces)):
            grown = self._grown
            if place == len(pieces) and self.error is None:
                await grown.wait()
                continue
            first = len(pieces) - len(fresh)
            if not first <= place < len(pieces):
                return
            yield fresh[place - first]
            place += 1

    def gzip_bytes(self) -> bytes:
        """The whole answer as gzip."""
        (whole,) = self.chunks
        return whole

    async def zstd_bytes(self) -> bytes:
        """The whole answer as zstd, made once."""
        return self._zstd or await to_thread.run_sync(self._pack_as_zstd)

    def _pack_as_zstd(self) -> bytes:
        with self._one_at_a_time:
            if not self._zstd:
                self._zstd = zstd.compress(isal_zlib.decompress(self.gzip_bytes(), GZIP))
                self.stored_size += len(self._zstd)
            return self._zstd


class ResponseCache:
    """The copies of one process: those being written, and those kept, the last used last."""

    def __init__(self, megabytes: int, producers: int) -> None:
        self.limit = megabytes * 1_000_000
        self._kept: OrderedDict[Key, CachedResponse] = OrderedDict()
        self._writing: dict[asyncio.Task[None], CachedResponse] = {}
        # Each producer holds a connection; others need some, too.
        self._turn = asyncio.Semaphore(producers)

    def get(self, key: Key) -> CachedResponse | None:
        """The copy last made for a key, whole or not."""
        copy = self._kept.get(key)
        if copy is not None:
            self._kept.move_to_end(key)
        return copy

    def start(self, key: Key, produce: Producer) -> CachedResponse:
        """A new copy, in place of what was kept for the key."""
        copy = self._kept[key] = CachedResponse()
        self._kept.move_to_end(key)

        async def fill() -> None:
            async with self._turn:
                await copy.run(produce)

        task = asyncio.create_task(fill())
        self._writing[task] = copy
        task.add_done_callback(lambda done: self._finish(key, done))
        return copy

    def _finish(self, key: Key, task: asyncio.Task[None]) -> None:
        copy = self._writing.pop(task)
        if not copy.is_complete and self._kept.get(key) is copy:
            del self._kept[key]
        self.evict()

    def evict(self) -> None:
        """Let go of what was not used for longest, until the rest is within the limit."""
        for key in self._over():
            del self._kept[key]

    def _over(self) -> Iterator[Key]:
        size = sum(copy.stored_size for copy in self._kept.values())
        for key, copy in list(self._kept.items()):
            if size <= self.limit:
                return
            if copy.is_complete:
                size -= copy.stored_size
                yield key

    async def close(self) -> None:
        """End what is being written."""
        for task in self._writing:
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)

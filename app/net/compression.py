"""Decompress gzip data within a size limit."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

GZIP_MAGIC = b"\x1f\x8b"

GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""zlib's window bits for data with a gzip or a zlib header."""

OUTPUT_CHUNK_BYTES = 2**20
"""Bytes decompressed at a time, because compressed data can grow a thousandfold."""


class CompressionError(Exception):
    """Raised when compressed data is damaged or ends too early, as the message says."""


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress a gzip or zlib stream, and yield the data in pieces of at most 1 MiB.

    Gzip data may have several members (RFC 1952, section 2.2). The total size is not limited: a
    caller must stop reading at its limit. Raises ``CompressionError`` for damaged data.
    """
    stream = zlib.decompressobj(wbits=GZIP_OR_ZLIB)
    has_data = False
    try:
        for chunk in chunks:
            pending_bytes = chunk
            while pending_bytes:
                if stream.eof:
                    if has_data and not pending_bytes.strip(b"\0"):
                        break  # padding after the last member, as on tapes
                    stream = zlib.decompressobj(wbits=GZIP_OR_ZLIB)
                has_data = True
                yield stream.decompress(pending_bytes, OUTPUT_CHUNK_BYTES)
                pending_bytes = stream.unused_data if stream.eof else stream.unconsumed_tail
    except zlib.error as error:
        raise CompressionError(f"its compressed data is damaged ({error})") from error
    if has_data and not stream.eof:
        raise CompressionError("its compressed data ends too early")

"""Convert JSON files in other encodings to UTF-8, as JSON requires (RFC 8259, 8.1)."""

from __future__ import annotations

import json

from ..exceptions import BadRequest
from ..net.compression import GZIP_MAGIC


def detect_encoding(raw: bytes) -> str:
    """Return the encoding of a JSON file, such as ``utf-16-le``, judging by its first bytes."""
    return json.detect_encoding(raw).removesuffix("-sig")


def convert_to_utf8(raw: bytes, encoding: str) -> bytes:
    """Convert bytes from ``encoding`` to UTF-8. Raises ``BadRequest`` if they cannot be decoded."""
    try:
        return raw.decode(encoding).encode()
    except UnicodeError:
        name = encoding.upper()
        raise BadRequest(f"the file begins as {name} does, but is not; save it as UTF-8") from None


def require_utf8(raw: bytes) -> None:
    """Raise ``BadRequest`` if the bytes of a file are not UTF-8 or are compressed with gzip.

    The message contains the offset of the first invalid byte.
    """
    if raw.startswith(GZIP_MAGIC):
        raise BadRequest("the file is compressed with gzip: decompress it")
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        byte, offset = raw[error.start], error.start
        message = f"the file is not UTF-8 (byte 0x{byte:02x} at offset {offset:,})"
        raise BadRequest(f"{message}; save it as UTF-8") from None

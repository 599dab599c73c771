"""Convert JSON files in other encodings to UTF-8, which JSON requires (RFC 8259, section 8.1)."""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE

from ..exceptions import BadRequest

MARKS = {
    BOM_UTF32_LE: "utf-32",
    BOM_UTF32_BE: "utf-32",
    BOM_UTF16_LE: "utf-16",
    BOM_UTF16_BE: "utf-16",
}
"""Encodings by their byte order marks. Those of UTF-32 come first: one begins as UTF-16's does."""

NULS: dict[tuple[bool, ...], str] = {
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
}
"""Encodings without a mark, by which of the first four bytes are NUL; JSON begins with ASCII."""


def detect_encoding(raw: bytes) -> str:
    """Detect from its first bytes whether a JSON file is UTF-16 or UTF-32, defaulting to UTF-8."""
    marked = (encoding for mark, encoding in MARKS.items() if raw.startswith(mark))
    return next(marked, None) or NULS.get(tuple(byte == 0 for byte in raw[:4]), "utf-8")


def convert_to_utf8(raw: bytes, encoding: str) -> bytes:
    """Convert bytes from ``encoding`` to UTF-8. Raises ``BadRequest`` if they cannot be decoded."""
    try:
        return raw.decode(encoding).encode()
    except UnicodeError:
        name = encoding.upper()
        raise BadRequest(f"the file begins as {name} does, but is not; save it as UTF-8") from None


def require_utf8(raw: bytes) -> None:
    """Raise ``BadRequest`` if bytes are not UTF-8, with the position of the first invalid byte."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        byte, offset = raw[error.start], error.start
        message = f"the file is not UTF-8 (byte 0x{byte:02x} at offset {offset:,})"
        raise BadRequest(f"{message}; save it as UTF-8") from None

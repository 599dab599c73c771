"""Format timestamps, counts and excerpts, the same way in responses, messages and logs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta


def format_timestamp(timestamp: datetime) -> str:
    """Format a timestamp as ISO 8601 in UTC with milliseconds: 2026-01-15T09:30:00.000Z."""
    # Most are in UTC already, and the identity test costs less than a conversion.
    in_utc = timestamp if timestamp.tzinfo is UTC else timestamp.astimezone(UTC)
    return in_utc.isoformat(timespec="milliseconds")[:-6] + "Z"


def format_duration(duration: timedelta) -> str:
    """Format a timedelta in whole seconds, minutes, hours or days: 90s, 15m, 24h or 7d."""
    for unit, size, minimum in (("d", 86400, 2), ("h", 3600, 1), ("m", 60, 1)):
        number, remainder = divmod(int(duration.total_seconds()), size)
        if number >= minimum and not remainder:
            return f"{number}{unit}"
    return f"{duration.total_seconds():.0f}s"


def truncate(text: str, max_chars: int) -> str:
    """Shorten a string to at most ``max_chars`` characters, ending in "…" if it was longer."""
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"


def format_connection_error(error: Exception) -> str:
    """Return the message of an exception without its errno, such as "Connection refused".

    If the exception has no message, returns the name of its class.
    """
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__


def escape_control_characters(text: str) -> str:
    r"""Return ``text`` with unprintable characters escaped, for example ESC as ``\u001b``.

    Without this, they could control the terminal on which the text is printed.
    """
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def escape_surrogates(text: str) -> str:
    r"""Return ``text`` with lone surrogates escaped, for example as ``\udcff``.

    Python represents each byte of a file name that is not UTF-8 by a lone surrogate, which JSON in
    UTF-8 cannot contain.
    """
    return text.encode(errors="backslashreplace").decode()


def join_first(texts: Sequence[str], limit: int, separator: str = ", ") -> str:
    """Join the first ``limit`` strings and count the others: ``"a, b and 3 more"``."""
    omitted_count = len(texts) - limit
    return separator.join(texts[:limit]) + (
        f" and {omitted_count:,} more" if omitted_count > 0 else ""
    )


def format_count(count: int, noun: str) -> str:
    """Format a number with its noun in singular or plural: "1 item", "2 items"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

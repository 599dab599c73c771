"""Format timestamps and excerpts, the same way in responses, messages and logs."""

from __future__ import annotations

from datetime import UTC, datetime


def format_timestamp(timestamp: datetime) -> str:
    """Return an aware datetime as ISO 8601 in UTC with milliseconds: 2026-01-15T09:30:00.000Z."""
    # Most are in UTC already, and the identity test costs less than a conversion.
    in_utc = timestamp if timestamp.tzinfo is UTC else timestamp.astimezone(UTC)
    return in_utc.isoformat(timespec="milliseconds")[:-6] + "Z"


def truncate(text: str, max_chars: int) -> str:
    """Return a string of at most ``max_chars`` characters, which ends in … if it was longer."""
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"

"""Metadata of a framework that the user gives to replace or complete that of its file."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True)
class MetadataOptions:
    """The title, creator and identifier that the user gives, and a default change time.

    The first three replace the values in the file unless they are None.
    """

    title: str | None = None
    creator: str | None = None
    identifier: str | None = None
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))
    """The ``lastChangeDateTime`` for entities without one: when the file was modified, or now."""

    @property
    def has_overrides(self) -> bool:
        """True if the user gave a title, creator or identifier that overrides the file."""
        return any(value is not None for value in (self.title, self.creator, self.identifier))

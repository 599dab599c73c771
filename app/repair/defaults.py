"""Values that complete a framework whose file lacks them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True)
class Defaults:
    """Framework metadata from command-line options and the file's modification time.

    It supplies values that the file lacks. The user's ``title``, ``creator`` and ``identifier``
    also override the values in the file.
    """

    title: str | None = None
    creator: str | None = None
    identifier: str | None = None
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))
    """The time of change of entities without one: the modification time of the file, if any."""

    @property
    def has_overrides(self) -> bool:
        """Whether the user gave a title, creator or identifier that overrides the file."""
        return any(value is not None for value in (self.title, self.creator, self.identifier))

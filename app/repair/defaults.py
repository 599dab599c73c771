"""Values that complete a framework whose file lacks them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True)
class Defaults:
    """Values for a framework whose file lacks them: command-line options and the file's time.

    ``title``, ``creator`` and ``identifier`` also replace the values of the file.
    """

    title: str | None = None
    creator: str | None = None
    identifier: str | None = None
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))
    """The time of change of entities without one: the modification time of the file, if any."""

    @property
    def has_options(self) -> bool:
        """Whether a title, creator or identifier was given."""
        return any(value is not None for value in (self.title, self.creator, self.identifier))

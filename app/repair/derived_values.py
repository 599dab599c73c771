"""Values that a file lacks and that reading it derives, so that the stored ones can stay."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..case.package import Package


@dataclass
class DerivedValues:
    """Values that a file lacks and the reader derived, such as the identifiers of items.

    When the package is written, values that are already stored take precedence over these.
    ``case.package.Package`` describes the fields.
    """

    items: list[str] = field(default_factory=list)
    times: set[tuple[str, str]] = field(default_factory=set)
    order: list[tuple[str, ...]] = field(default_factory=list)
    identifier_source: str | None = None
    has_time_of_file: bool = False
    """Whether the time of change of the document is that of the file."""
    aliases: dict[str, str] = field(default_factory=dict)
    """The identifiers that options replaced, with the new ones."""

    def add_to(self, package: Package) -> Package:
        """Return a copy of a package whose fields about derived values are set to these."""
        return replace(
            package,
            derived_items=tuple(self.items),
            derived_times=frozenset(self.times),
            derived_order=tuple(self.order),
            identifier_source=self.identifier_source,
        )

"""Values that the reader derives because a file lacks them; stored values override them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..case.package import PreparedPackage


@dataclass
class DerivedValues:
    """Values that the file reader derived because the file lacks them, such as identifiers.

    If the database already has a value in place of a derived one, an import keeps it. ``items``
    are identifiers of items, ``times`` are (class name, identifier) of entities with a derived
    time of change, and ``order`` are identifiers of siblings' associations in file order.
    """

    items: list[str] = field(default_factory=list)
    times: set[tuple[str, str]] = field(default_factory=set)
    order: list[tuple[str, ...]] = field(default_factory=list)
    identifier_source: str | None = None
    has_time_of_file: bool = False
    """Whether the time of change of the document is that of the file."""
    aliases: dict[str, str] = field(default_factory=dict)
    """The identifiers that options replaced, with the new ones."""

    def mark_derived(self, package: PreparedPackage) -> PreparedPackage:
        """Return a copy of a package that lists these values in its ``derived_…`` fields."""
        return replace(
            package,
            derived_items=tuple(self.items),
            derived_times=frozenset(self.times),
            derived_order=tuple(self.order),
            identifier_source=self.identifier_source,
        )

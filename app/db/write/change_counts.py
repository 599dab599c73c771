"""How many entities a package write created, updated, left unchanged and deleted."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ...case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS
from ..schema import tables

PARTS = (ITEMS, ASSOCIATIONS, RUBRICS)
"""The kinds that belong to one document, and are deleted when a package lacks them."""


class ChangeCounts(NamedTuple):
    """How many entities a package write created, updated, left unchanged and deleted.

    The counts cover the document, its items, associations and rubrics (a criterion or level counts
    as its rubric), and the definitions that the package itself holds under CFDefinitions, so
    created + updated + unchanged is the number of entities in the package. Definitions that are
    only known from links, and a definition that the package no longer holds, are not counted.
    """

    created: int
    """New entities, and those that had been deleted."""
    updated: int
    """Entities whose content differs from what was stored."""
    unchanged: int
    deleted: int
    """Items and rubrics (soft-deleted) and associations that the package lacks."""

    @property
    def changed(self) -> int:
        """The number of entities that are not what they were."""
        return self.created + self.updated + self.deleted


def count_changes(
    changes: Counter[tuple[str, str]], defined: Counter[tuple[str, str]], sent: Counter[str]
) -> ChangeCounts:
    """Return the counts of a write.

    ``changes`` and ``defined`` map (kind, operation) to the number of entities, ``defined`` for
    the definitions that the package holds; ``sent`` maps a kind to the number in the package.
    """
    created = updated = deleted = 0
    for resource, counter in (
        *((part, changes) for part in PARTS),
        *((definition, defined) for definition in DEFINITIONS),
    ):
        kind = resource.name
        created += counter[kind, tables.CREATE] + counter[kind, tables.REVIVE]
        updated += counter[kind, tables.UPDATE]
        deleted += counter[kind, tables.DELETE]
    # The document's body, package and definitions are written by statements of their own, so that
    # it can be counted several times.
    kind = DOCUMENTS.name
    is_new = bool(changes[kind, tables.CREATE] or changes[kind, tables.REVIVE])
    created += is_new
    updated += bool(changes[kind, tables.UPDATE]) and not is_new
    total = sum(sent[resource.name] for resource in (DOCUMENTS, *PARTS, *DEFINITIONS))
    return ChangeCounts(created, updated, total - created - updated, deleted)

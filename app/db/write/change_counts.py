"""Count the entities that a package write created, updated, deleted and left unchanged."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ...case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS
from ..schema import tables

PARTS = (ITEMS, ASSOCIATIONS, RUBRICS)
"""The resources that belong to one document and are deleted if a package lacks them."""


class ChangeCounts(NamedTuple):
    """How many entities a package write created, updated, left unchanged and deleted.

    The counts cover the document, its items, associations and rubrics, and the definitions in the
    package's CFDefinitions, so created + updated + unchanged is the number of entities in the
    package. A criterion or level counts as its rubric. Definitions that are registered from links,
    or that the package no longer contains, are not counted.
    """

    created: int
    """New entities and undeleted ones."""
    updated: int
    """Entities whose content changed."""
    unchanged: int
    deleted: int
    """Items and rubrics (soft-deleted) and associations that the package lacks."""

    @property
    def changed(self) -> int:
        """The number of entities that were created, updated or deleted."""
        return self.created + self.updated + self.deleted


def count_changes(
    changes: Counter[tuple[str, str]], defined: Counter[tuple[str, str]], sent: Counter[str]
) -> ChangeCounts:
    """Turn the changes that a package write logged into the ``ChangeCounts`` to report.

    ``changes`` has the number of changed entities by (kind, operation), ``defined`` the part of it
    that concerns definitions in CFDefinitions, ``sent`` the number of entities in the package by
    kind.
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
    # The document counts once, although several statements may each have logged a change of it: of
    # its body, of its package and of its list of definitions.
    kind = DOCUMENTS.name
    is_new = bool(changes[kind, tables.CREATE] or changes[kind, tables.REVIVE])
    created += is_new
    updated += bool(changes[kind, tables.UPDATE]) and not is_new
    total = sum(sent[resource.name] for resource in (DOCUMENTS, *PARTS, *DEFINITIONS))
    return ChangeCounts(created, updated, total - created - updated, deleted)

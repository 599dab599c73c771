"""Count the entities that a package write created, updated, deleted and left unchanged."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ....case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS
from ...schema import tables

PARTS = (ITEMS, ASSOCIATIONS, RUBRICS)
"""The resources that belong to one document and are deleted if its package lacks them."""


class ChangeCounts(NamedTuple):
    """How many entities a package write created, updated, left unchanged and deleted.

    The counts cover the document, its items, associations and rubrics, and the definitions in
    CFDefinitions, so created + updated + unchanged is the number of entities in the package. A
    rubric with its criteria and levels counts as one entity. Definitions that were created from
    links, or that the package no longer contains, are not counted.
    """

    created: int
    """New entities and undeleted ones."""
    updated: int
    """Entities whose content changed."""
    unchanged: int
    deleted: int
    """Items and rubrics (soft-deleted) and associations that the package lacks."""


def compute_change_counts(
    changes: Counter[tuple[str, str]],
    definition_changes: Counter[tuple[str, str]],
    sent_counts: Counter[str],
) -> ChangeCounts:
    """Return the ``ChangeCounts`` of a package write.

    ``changes`` counts all changed entities by (kind, operation). ``definition_changes`` counts only
    definitions that the package contains in CFDefinitions, because links create others.
    ``sent_counts`` counts the entities of the package by kind, such as "CFItem".
    """
    created = updated = deleted = 0
    for resource, counter in (
        *((part, changes) for part in PARTS),
        *((definition, definition_changes) for definition in DEFINITIONS),
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
    total = sum(sent_counts[resource.name] for resource in (DOCUMENTS, *PARTS, *DEFINITIONS))
    return ChangeCounts(created, updated, total - created - updated, deleted)

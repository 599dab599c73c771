"""Refuse a package write that would delete or overwrite most of a stored framework.

Imports and mirrors use this guard, because a wrong or empty source would otherwise destroy a
framework silently. PUT of the API has no guard, because its client requests a full replacement.
"""

from __future__ import annotations

from ....case.resources import ASSOCIATIONS, ITEMS
from ....exceptions import Conflict
from ....formatting import format_count
from ...schema import tables
from .change_counts import ChangeCounts
from .package import UploadResult

ALLOW_FLAG = "--allow-deletes"
"""The option of ``import`` and ``sync`` that switches the guard off."""

MIN_ASSOCIATIONS = 3
"""Number of associations from which deleting all of them is refused."""

MIN_MATCHED_ITEMS = 3
"""Number of items matched by code from which changing most of their statements is refused."""


class DataLossError(Conflict):
    """Raised to roll back a write that would delete or overwrite most of a framework.

    ``loss`` is the text of ``describe_data_loss``, such as "delete 60 of the 100 items stored", and
    ``counts`` are the changes that the write would have made.
    """

    def __init__(self, loss: str, counts: ChangeCounts) -> None:
        super().__init__(f"it would {loss}; use {ALLOW_FLAG} to allow this")
        self.loss = loss
        self.counts = counts


def raise_for_data_loss(result: UploadResult) -> None:
    """Raise ``DataLossError`` if an upload deletes or overwrites most of a framework."""
    if loss := describe_data_loss(result):
        raise DataLossError(loss, result.counts)


def describe_data_loss(result: UploadResult) -> str | None:
    """Return what a write would lose, for example "delete 60 of the 100 items stored".

    Returns None unless the write

    - deletes more than half of the live items,
    - deletes all associations, if there are at least ``MIN_ASSOCIATIONS``, or
    - changes the statements of more than half of the items that it matched by code or statement, if
      there are at least ``MIN_MATCHED_ITEMS`` of these items.
    """
    deleted_count = result.changes[ITEMS.name, tables.DELETE]
    count_before = result.item_count_before
    if 2 * deleted_count > count_before:
        loss = f"delete {deleted_count:,} of the {format_count(count_before, 'item')} stored"
        is_emptied = not result.sent_counts[ITEMS.name]
        return f"{loss}, and leave the framework without items" if is_emptied else loss
    associations = result.changes[ASSOCIATIONS.name, tables.DELETE]
    if associations >= MIN_ASSOCIATIONS and not result.sent_counts[ASSOCIATIONS.name]:
        return f"delete all {associations:,} associations of the framework"
    matched_count, changed_count = result.matched_item_count, result.changed_statement_count
    if matched_count >= MIN_MATCHED_ITEMS and 2 * changed_count > matched_count:
        return (
            f"change the statements of {changed_count:,} of the {matched_count:,} items that "
            "have the same code as one of its rows, so it seems to be another framework of the "
            "same title"
        )
    return None

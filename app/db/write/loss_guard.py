"""Refuse a package write that would delete or overwrite most of a stored framework.

Imports and mirrors use this guard, because a wrong or empty source would else destroy a framework
without a word. A PUT of the API has no guard: its client asked for a full replacement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...case.resources import ASSOCIATIONS, ITEMS
from ...exceptions import Conflict
from ..schema import tables
from .change_counts import ChangeCounts

if TYPE_CHECKING:
    from .package import UploadResult

ALLOW_FLAG = "--allow-deletes"
"""The flag of ``import`` and ``sync`` that lets such a write through."""

MIN_ASSOCIATIONS = 3
"""How many associations a framework must have for their loss as a whole to be refused."""

MIN_MATCHED_ITEMS = 3
"""How many items must be matched by code before changed statements say anything."""


class DataLossRefused(Conflict):
    """A write that would delete or overwrite most of a framework, and was rolled back.

    ``loss`` says in words what would be lost, ``counts`` what the write would have done.
    """

    def __init__(self, loss: str, counts: ChangeCounts) -> None:
        super().__init__(f"it would {loss}; if that is what you want, give {ALLOW_FLAG}")
        self.loss = loss
        self.counts = counts


def refuse_data_loss(written: UploadResult) -> None:
    """Raise ``LossRefused`` when a write deletes or overwrites most of a framework."""
    if loss := describe_data_loss(written):
        raise DataLossRefused(loss, written.counts)


def describe_data_loss(written: UploadResult) -> str | None:
    """Return what of a framework is lost, as the end of "it would …"; None when little is lost.

    Little is lost as long as at most half of its live items are deleted, not all of its three or
    more associations are, and of three or more items that were matched by code or text alone, at
    most half get another statement.
    """
    deleted, before = written.changes[ITEMS.name, tables.DELETE], written.items_before
    if 2 * deleted > before:
        emptied = "" if written.sent[ITEMS.name] else ", and leave the framework without items"
        return f"delete {deleted:,} of the {before:,} {_plural('item', before)} stored{emptied}"
    associations = written.changes[ASSOCIATIONS.name, tables.DELETE]
    if associations >= MIN_ASSOCIATIONS and not written.sent[ASSOCIATIONS.name]:
        return f"delete all {associations:,} associations of the framework"
    matched, changed = written.matched_items, written.changed_statements
    if matched >= MIN_MATCHED_ITEMS and 2 * changed > matched:
        return (
            f"change the statements of {changed:,} of the {matched:,} items that have the same "
            "code as one of its rows, so it seems to be another framework of the same title"
        )
    return None


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"

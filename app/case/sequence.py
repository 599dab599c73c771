"""Sequence numbers for siblings whose order is known but whose numbers are not."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

STEP = 10
"""The distance of new numbers, which leaves room for siblings that are inserted later."""


def number_siblings(stored: Sequence[int | None]) -> list[int]:
    """Return increasing sequence numbers for ordered siblings, changing as few as possible.

    ``stored`` contains the current number of each sibling in the new order, or None for a new
    sibling. A new sibling gets a number between those of its neighbours: ``[10, None, 20]`` gives
    ``[10, 15, 20]``. If no number is free, as few of the following siblings as possible are
    renumbered.
    """
    unchanged_indexes = _find_longest_increasing_subsequence(stored)
    numbers: list[int] = []
    pending_count = 0
    """Number of siblings before this one that have no number yet."""
    for index, number in enumerate(stored):
        last = numbers[-1] if numbers else 0
        if index in unchanged_indexes and number is not None and number - last > pending_count:
            gap = number - last
            numbers += [
                last + gap * (position + 1) // (pending_count + 1)
                for position in range(pending_count)
            ]
            numbers.append(number)
            pending_count = 0
        else:
            pending_count += 1
    last = numbers[-1] if numbers else 0
    return numbers + [last + STEP * (position + 1) for position in range(pending_count)]


def _find_longest_increasing_subsequence(stored: Sequence[int | None]) -> set[int]:
    """Return the indexes of the longest increasing subsequence of ``stored``.

    None, for new siblings, and numbers below 1 are skipped. The siblings at the returned indexes
    are already in order, so they keep their numbers.
    """
    tails: list[int] = []
    """The smallest number that ends an increasing run of each length."""
    ends: list[int] = []
    """Indexes of these numbers in ``stored``."""
    predecessors: dict[int, int | None] = {}
    for index, number in enumerate(stored):
        if number is None or number < 1:
            continue
        length = bisect_left(tails, number)
        predecessors[index] = ends[length - 1] if length else None
        tails[length:] = [number, *tails[length + 1 :]]
        ends[length:] = [index, *ends[length + 1 :]]
    indexes: set[int] = set()
    end = ends[-1] if ends else None
    while end is not None:
        indexes.add(end)
        end = predecessors[end]
    return indexes

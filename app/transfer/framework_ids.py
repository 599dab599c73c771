"""Find frameworks by a whole identifier or a unique prefix, and suggest near ones."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from ..db.read.frameworks import summarize_frameworks
from ..db.read.item_ids import find_item_ids
from ..exceptions import BadRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..db.pool import Database

MAX_LISTED_IDS = 5

SIGNIFICANT_CHARS = 8
"""Number of characters by which items are looked up that an unknown identifier may mean."""

MIN_SIMILARITY = 0.7
"""The ratio of ``difflib`` from which on identifiers are near; two UUIDs have 0.5."""


async def resolve_framework_id(database: Database, given: str) -> str:
    """Return the document identifier of the live framework that an identifier or prefix names.

    ``given`` is the identifier of a document or of its package, or the beginning of one. Raises
    ``NotFound`` with near identifiers if nothing matches, and ``BadRequest`` listing the matches
    if several frameworks do.
    """
    rows = await summarize_frameworks(database, given)
    exact = [row for row in rows if given in (row.identifier, row.package_identifier)]
    if len(exact) == 1:
        return exact[0].identifier
    if len(rows) == 1 and given:
        return rows[0].identifier
    if rows and given:
        listed = ", ".join(row.identifier for row in rows[:MAX_LISTED_IDS])
        more = f" and {len(rows) - MAX_LISTED_IDS:,} more" if len(rows) > MAX_LISTED_IDS else ""
        raise BadRequest(
            f"{given!r} matches {len(rows):,} frameworks: {listed}{more}; use a longer prefix"
        )
    raise await unknown_framework(database, given)


async def unknown_framework(database: Database, given: str) -> NotFound:
    """Return the error for the identifier of no live framework, with near identifiers."""
    return NotFound("framework", given, await advise_framework_id(database, given))


async def unknown_deleted_framework(database: Database, given: str) -> NotFound:
    """Return the error for the identifier of no deleted framework, with near identifiers."""
    if any(row.identifier == given for row in await summarize_frameworks(database, given)):
        return NotFound("deleted framework", given, "it is not deleted")
    advice = await advise_framework_id(database, given, deleted=True)
    return NotFound("deleted framework", given, advice)


async def advise_framework_id(database: Database, given: str, *, deleted: bool = False) -> str:
    """Return which near framework an unknown identifier may mean, or how to list all."""
    rows = await summarize_frameworks(database, deleted=deleted)
    near = _near(given, [row.identifier for row in rows])
    return near or f"`case-server list{' --deleted' if deleted else ''}` shows all"


async def advise_item_id(database: Database, given: str, *, deleted: bool = False) -> str:
    """Return which near item an unknown identifier may mean, or an empty string."""
    start = given[:SIGNIFICANT_CHARS]
    return _near(given, await find_item_ids(database, start, MAX_LISTED_IDS, deleted=deleted))


def _near(given: str, known: Sequence[str]) -> str:
    """Return a question with the known identifiers that start like a given one, or nothing."""
    starts = {identifier[: len(given)]: identifier for identifier in known}
    near = get_close_matches(given, starts, n=MAX_LISTED_IDS, cutoff=MIN_SIMILARITY)
    return f"did you mean {' or '.join(starts[start] for start in near)}?" if near else ""

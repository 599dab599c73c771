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
    """Find the framework that ``given`` identifies and return the identifier of its document.

    ``given`` is the identifier of a document or package, or a prefix of one; deleted frameworks are
    ignored. If nothing matches, raises ``NotFound`` with similar identifiers; if several frameworks
    match, raises ``BadRequest`` with their identifiers.
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
    raise await make_unknown_framework_error(database, given)


async def make_unknown_framework_error(database: Database, given: str) -> NotFound:
    """Build the error for an identifier that no framework has; it suggests similar ones."""
    return NotFound("framework", given, await suggest_framework_id(database, given))


async def make_unknown_deleted_framework_error(database: Database, given: str) -> NotFound:
    """Build the error for an identifier that no deleted framework has; it suggests similar ones."""
    if any(row.identifier == given for row in await summarize_frameworks(database, given)):
        return NotFound("deleted framework", given, "it is not deleted")
    advice = await suggest_framework_id(database, given, deleted=True)
    return NotFound("deleted framework", given, advice)


async def suggest_framework_id(database: Database, given: str, *, deleted: bool = False) -> str:
    """Return a hint for an unknown framework identifier: "did you mean 1b0c3f82-…?".

    If no identifier is similar, the hint names the command that lists all of them. ``deleted``
    selects the deleted frameworks instead of the others.
    """
    rows = await summarize_frameworks(database, deleted=deleted)
    near = _suggest_similar(given, [row.identifier for row in rows])
    return near or f"`case-server list{' --deleted' if deleted else ''}` shows all"


async def suggest_item_id(database: Database, given: str, *, deleted: bool = False) -> str:
    """Return a hint for an unknown item identifier, such as "did you mean 1b0c3f82-…?", or "".

    ``deleted`` selects the deleted items instead of the others.
    """
    start = given[:SIGNIFICANT_CHARS]
    return _suggest_similar(
        given, await find_item_ids(database, start, MAX_LISTED_IDS, deleted=deleted)
    )


def _suggest_similar(given: str, known: Sequence[str]) -> str:
    """Return "did you mean …?" with the known identifiers that begin like ``given``, or "".

    ``given`` may be a prefix, so each identifier is compared only up to its length.
    """
    starts = {identifier[: len(given)]: identifier for identifier in known}
    near = get_close_matches(given, starts, n=MAX_LISTED_IDS, cutoff=MIN_SIMILARITY)
    return f"did you mean {' or '.join(starts[start] for start in near)}?" if near else ""

"""Find frameworks by a whole identifier or a unique prefix, and suggest near ones."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from ..db.read.frameworks import FrameworkSummary, summarize_frameworks
from ..exceptions import BadRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..db.pool import Database

MAX_LISTED_IDS = 5


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
    rows = await summarize_frameworks(database)
    return NotFound("framework", given, _advice(given, rows, "case-server list"))


async def unknown_deleted_framework(database: Database, given: str) -> NotFound:
    """Return the error for the identifier of no deleted framework, with near identifiers."""
    if any(row.identifier == given for row in await summarize_frameworks(database, given)):
        return NotFound("deleted framework", given, "it is not deleted")
    rows = await summarize_frameworks(database, deleted=True)
    return NotFound("deleted framework", given, _advice(given, rows, "case-server list --deleted"))


def _advice(given: str, rows: Sequence[FrameworkSummary], command: str) -> str:
    near = get_close_matches(given, [row.identifier for row in rows], n=MAX_LISTED_IDS)
    return f"did you mean {' or '.join(near)}?" if near else f"`{command}` shows all"

"""Find frameworks by a whole identifier or a unique prefix, and suggest near ones."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from ..db.pool import Database
from ..db.read.entities import find_item_ids
from ..db.read.lists.frameworks import list_framework_summaries
from ..exceptions import BadRequest, NotFound
from ..formatting import join_first

MAX_LISTED_IDS = 5

SIGNIFICANT_CHARS = 8
"""Number of characters by which items are looked up that an unknown identifier may mean."""

MIN_SIMILARITY = 0.7
"""The ratio of ``difflib`` from which on identifiers are near; two UUIDs have 0.5."""


async def resolve_framework_id(database: Database, id_or_prefix: str) -> str:
    """Return the document identifier of the framework that an identifier or prefix matches.

    Both the identifiers of documents and those of packages are compared; deleted frameworks are
    ignored. Raises ``NotFound`` with similar identifiers if no framework matches, and
    ``BadRequest`` with the matching identifiers if several do.
    """
    rows = await list_framework_summaries(database, id_or_prefix)
    exact_matches = [
        row for row in rows if id_or_prefix in (row.identifier, row.package_identifier)
    ]
    if len(exact_matches) == 1:
        return exact_matches[0].identifier
    if len(rows) == 1 and id_or_prefix:
        return rows[0].identifier
    if rows and id_or_prefix:
        identifiers = join_first([row.identifier for row in rows], MAX_LISTED_IDS)
        raise BadRequest(
            f"{id_or_prefix!r} matches {len(rows):,} frameworks: {identifiers}; use a longer prefix"
        )
    raise await make_framework_not_found_error(database, id_or_prefix)


async def make_framework_not_found_error(
    database: Database, identifier: str, *, deleted: bool = False
) -> NotFound:
    """Create a ``NotFound`` for an unknown framework, which suggests similar identifiers.

    ``deleted`` is true if the framework was sought among the deleted ones.
    """
    live = await list_framework_summaries(database, identifier) if deleted else []
    if any(row.identifier == identifier for row in live):
        advice = "it is not deleted"
    else:
        advice = await suggest_framework_id(database, identifier, deleted=deleted)
    return NotFound("deleted framework" if deleted else "framework", identifier, advice)


async def suggest_framework_id(database: Database, identifier: str, *, deleted: bool) -> str:
    """Return a hint for an unknown framework, such as "did you mean 1b0c3f82-…?".

    Suggests frameworks that are not deleted, or only deleted ones if ``deleted`` is true. If no
    identifier is similar, the hint names the command that lists all frameworks.
    """
    rows = await list_framework_summaries(database, only_deleted=deleted)
    similar_identifiers = _suggest_similar(identifier, [row.identifier for row in rows])
    return similar_identifiers or f"`case-server list{' --deleted' if deleted else ''}` shows all"


async def suggest_item_id(database: Database, identifier: str, *, deleted: bool = False) -> str:
    """Return "did you mean 1b0c3f82-…?" for an unknown item, or "" if no identifier is similar.

    Suggests items that are not deleted, or only deleted ones if ``deleted`` is true.
    """
    start = identifier[:SIGNIFICANT_CHARS]
    return _suggest_similar(
        identifier, await find_item_ids(database, start, MAX_LISTED_IDS, only_deleted=deleted)
    )


def _suggest_similar(id_or_prefix: str, known_ids: Sequence[str]) -> str:
    """Return "did you mean …?" with the most similar known identifiers, or "" if there are none.

    ``id_or_prefix`` may be the start of an identifier.
    """
    # Each identifier is compared only up to the length of the given one, which may be a prefix.
    starts = {identifier[: len(id_or_prefix)]: identifier for identifier in known_ids}
    similar_starts = get_close_matches(
        id_or_prefix, starts, n=MAX_LISTED_IDS, cutoff=MIN_SIMILARITY
    )
    return (
        f"did you mean {' or '.join(starts[start] for start in similar_starts)}?"
        if similar_starts
        else ""
    )

"""A whole package, written in one transaction: by COPY, and a few set-based statements.

Afterwards the document, its items, its associations and its rubrics are exactly what was sent:
what is missing is deleted (items and rubrics softly, associations for good), what is unchanged
is not written again.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import asyncpg
from sqlalchemy import select

from ..case.package import Package
from ..errors import Conflict, NotFound
from . import tables
from .adding import NotNew, add
from .conflicts import conflicts, problems
from .database import Database
from .locks import alone_with
from .revision import Revision, revision_in
from .staging import DOCUMENT, stage
from .statement import Progress, Run, Statement
from .steps import all_steps
from .visible import live

if TYPE_CHECKING:
    from .database import Connection

Mode = Literal["create", "replace", "either"]

SORTED_IN_MEMORY = "64MB"
"""The rows of a large framework, sorted; by default Postgres would write them to disk for it."""

NOT_AS_HOPED = (NotNew, asyncpg.UniqueViolationError, asyncpg.CardinalityViolationError)
"""What a package meets that brings what is here, or what its reader would have refused at its end:
then all of it is read before anything is written, and everything that is wrong has a name."""


class Written(NamedTuple):
    """What an upload did."""

    created: bool
    """Whether no live document had this identifier before."""
    changes: Counter[tuple[str, str]]
    """How many entities of a kind were created, updated, revived or deleted."""
    revision: Revision
    """That of the package as it was written."""
    sent: Counter[str]
    """How many entities of each kind the package holds."""

    @property
    def changed(self) -> int:
        """How many entities are not what they were."""
        return self.changes.total()


async def write_package(
    database: Database,
    package: Package,
    mode: Mode = "either",
    progress: Progress = lambda _: None,
) -> Written:
    """Store a package as the whole truth about its document.

    Raises ``Conflict`` listing everything that belongs to other documents or, when creating, a
    document that exists; ``NotFound`` when replacing one that was never here.
    """

    async def write(connection: Connection) -> Written:
        # Two uploads of one document come one after the other.
        async with alone_with(connection, package.document_identifier):
            # What a new document brings is nearly always new, too. It is taken for that at first,
            # and only where that fails is each part of it looked for.
            with suppress(*NOT_AS_HOPED):
                return await _write(connection, package, mode, progress, hopeful=True)
            return await _write(connection, package, mode, progress, hopeful=False)

    return await database.write(write, name=package.document_identifier)


async def _write(
    connection: Connection, package: Package, mode: Mode, progress: Progress, *, hopeful: bool
) -> Written:
    run = Run(connection, _values(package), progress)
    async with connection.transaction():
        await connection.execute(f"SET LOCAL work_mem = '{SORTED_IN_MEMORY}'")
        known = await run.fetch(_known())
        run.values["replaced"] = not (created := _may_write(package, mode, known))
        if hopeful and not known:
            sent = await add(run, package)
        else:
            sent = await _compare(run, package, known=bool(known))
        revision = await revision_in(connection, package.document_identifier)
        assert revision
    return Written(created, run.changes, revision, sent)


async def _compare(run: Run, package: Package, *, known: bool) -> Counter[str]:
    """Write what is not stored just so, and delete the rest; how many were sent of each kind."""
    run.progress("staging")
    staged, sent = await stage(run.connection, package, known=known)
    if found := await run.fetch(conflicts()):
        _refuse(found)
    await run.all_of(all_steps, staged)
    return sent


def _values(package: Package) -> dict[str, Any]:
    return {
        "document_identifier": package.document_identifier,
        "package_identifier": package.package_identifier,
        "extensions": package.extensions,
        "definition_extensions": package.definition_extensions,
    }


def _may_write(package: Package, mode: Mode, known: list[Any]) -> bool:
    """Whether the document is new; raises when the mode does not allow what would happen."""
    identifier = package.document_identifier
    if mode == "replace" and not known:
        raise NotFound("CFDocument", identifier, "POST its package first")
    created = not (known and known[0]["live"])
    if mode == "create" and not created:
        raise Conflict(f"the document {identifier!r} exists: PUT its package to replace it")
    return created


def _refuse(rows: list[Any]) -> None:
    found = problems(rows)
    first, more = found[0]["message"], len(found) - 1
    others = f", and {more} more" if more else ""
    raise Conflict(f"the package takes what is not its own: {first}{others}", problems=found)


@cache
def _known() -> Statement:
    table = tables.documents
    return Statement(select(live(table).label("live")).where(table.c.identifier == DOCUMENT))

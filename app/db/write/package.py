"""A whole package, written in one transaction: by COPY, and a few set-based statements.

Afterwards the document, its items, its associations and its rubrics are exactly what was sent:
what is missing is deleted (items and rubrics softly, associations for good), what is unchanged
is not written again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import asyncpg
from sqlalchemy import Text, bindparam, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from ...case.package import Package
from ...case.resources import ITEMS
from ...case.stored_form import FILE_ORIGIN, BodyOrigin
from ...exceptions import Conflict, NotFound
from ..locks import advisory_lock
from ..pool import Database
from ..read.body_digests import container_link_column
from ..read.revisions import Revision, fetch_revision
from ..read.visibility import live
from ..schema import tables
from ..schema.json_sql import json_text
from ..statement import CompiledStatement
from .change_counts import ChangeCounts, count_changes
from .conflicts import conflicts, problems
from .derived_values import DerivedValues
from .new_package import NotNew, add
from .package_statements import all_steps
from .staging import DOCUMENT, STAGED, Staging, stage_package
from .stored_forms import StoredForms
from .upload_run import Progress, UploadRun

if TYPE_CHECKING:
    from ..connector import Connection

Mode = Literal["create", "replace", "either"]

SORTED_IN_MEMORY = "64MB"
"""The rows of a large framework, sorted; by default Postgres would write them to disk for it."""

NOT_AS_HOPED = (NotNew, asyncpg.UniqueViolationError, asyncpg.CardinalityViolationError)
"""What a package meets that brings what is here, or what its reader would have refused at its end:
then all of it is read before anything is written, and everything that is wrong has a name."""


class UploadResult(NamedTuple):
    """What a package write did, or would do in a dry run."""

    created: bool
    """Whether no live document had this identifier before."""
    changes: Counter[tuple[str, str]]
    """How many entities of a kind were created, updated, revived or deleted, by (kind, operation);
    among them definitions registered from links."""
    revision: Revision
    """That of the package as it was written; that of a dry run never comes to be."""
    sent: Counter[str]
    """How many entities of each kind the package holds."""
    counts: ChangeCounts
    matched_items: int = 0
    """How many live items were matched by identifiers that were made from codes or statements."""
    changed_statements: int = 0
    """How many of the matched items get another statement."""

    @property
    def changed(self) -> int:
        """How many entities are not what they were."""
        return self.changes.total()

    @property
    def items_before(self) -> int:
        """How many live items the document had before this write."""
        kind = ITEMS.name
        new = self.changes[kind, tables.CREATE] + self.changes[kind, tables.REVIVE]
        return self.sent[kind] - new + self.changes[kind, tables.DELETE]


Guard = Callable[[UploadResult], None]
"""Sees what a write did before it is committed; what it raises rolls the write back."""


class _DryRunEnd(Exception):
    """Rolls a transaction back once its outcome is known."""


async def write_package(  # noqa: PLR0913  each is a choice of its own
    database: Database,
    package: Package,
    mode: Mode = "either",
    progress: Progress = lambda _: None,
    *,
    origin: BodyOrigin = FILE_ORIGIN,
    guard: Guard | None = None,
    dry_run: bool = False,
) -> UploadResult:
    """Store a package as the whole truth about its document.

    ``origin`` says which values of the package are not stored, because an answer of this server
    adds them.

    ``guard`` is called before the commit. After an error that it raises, and after a dry run, the
    store is as it was: no entity, no change entry and no revision was written.

    Raises ``Conflict`` listing everything that belongs to other documents or, when creating, a
    document that exists; ``NotFound`` when replacing one that was never here; what ``guard``
    raises.
    """

    async def write(connection: Connection) -> UploadResult:
        # Two uploads of one document come one after the other.
        async with advisory_lock(connection, package.document_identifier):
            # What a new document brings is nearly always new, too. It is taken for that at first,
            # and only where that fails is each part of it looked for.
            with suppress(*NOT_AS_HOPED):
                return await attempt(connection, hopeful=True)
            return await attempt(connection, hopeful=False)

    async def attempt(connection: Connection, *, hopeful: bool) -> UploadResult:
        run = UploadRun(connection, _values(package), progress)
        with suppress(_DryRunEnd):
            async with connection.transaction():
                written = await _write(run, package, mode, origin, hopeful=hopeful)
                if guard:
                    guard(written)
                if dry_run:
                    raise _DryRunEnd
        return written

    return await database.run_write(write, lock_name=package.document_identifier)


async def _write(
    run: UploadRun, package: Package, mode: Mode, origin: BodyOrigin, *, hopeful: bool
) -> UploadResult:
    """Write a package inside a transaction."""
    await run.connection.execute(f"SET LOCAL work_mem = '{SORTED_IN_MEMORY}'")
    known = await run.fetch_all(_known())
    run.values["replaced"] = not (created := _may_write(package, mode, known))
    matched = changed_statements = 0
    forms = await StoredForms.load(run.connection, package.rows, origin)
    forms.derived = await DerivedValues.load(run.connection, package)
    if not created and not package.has_package_link and known[0]["package_link"]:
        # The standard's packages leave the link out, so that a missing one is no change.
        forms.package_link = known[0]["package_link"]
        run.values["package_identifier"] = known[0]["package_identifier"]
    if hopeful and not known:
        sent = await add(run, package, forms)
    else:
        staged, sent = await _stage(run, package, forms, known=bool(known))
        if package.derived_items:
            run.values["derived_items"] = package.derived_items
            ((matched, changed_statements),) = await run.fetch_all(_matched_items())
        await run.execute_counted(all_steps, staged)
    revision = await fetch_revision(run.connection, package.document_identifier)
    assert revision
    counts = count_changes(run.changes, run.defined, sent)
    return UploadResult(created, run.changes, revision, sent, counts, matched, changed_statements)


async def _stage(
    run: UploadRun, package: Package, forms: StoredForms, *, known: bool
) -> tuple[Staging, Counter[str]]:
    """Stage a package, and refuse it when it holds what belongs to other documents."""
    run.progress("staging")
    staged, sent = await stage_package(run.connection, package, forms, known=known)
    if found := await run.fetch_all(conflicts()):
        _refuse(found)
    return staged, sent


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
def _known() -> CompiledStatement:
    table = tables.documents
    columns = (
        live(table).label("live"),
        container_link_column(table).label("package_link"),
        json_text(table.c.body, "CFPackageURI", "identifier").label("package_identifier"),
    )
    return CompiledStatement(select(*columns).where(table.c.identifier == DOCUMENT))


@cache
def _matched_items() -> CompiledStatement:
    """Count live items that staged rows match by derived identifiers, and changed statements."""
    table = tables.items
    derived = bindparam("derived_items", type_=ARRAY(Text))
    before, after = (json_text(body, "fullStatement") for body in (table.c.body, STAGED.c.body))
    # Only rows that differ from what is stored are staged with their bodies.
    changed = func.count().filter(STAGED.c.body.is_not(None), before != after)
    return CompiledStatement(
        select(func.count(), changed)
        .select_from(STAGED.join(table, STAGED.c.identifier == table.c.identifier))
        .where(STAGED.c.kind == literal(ITEMS.name), table.c.document_identifier == DOCUMENT)
        .where(live(table), table.c.identifier == func.any(derived))
    )

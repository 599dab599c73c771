"""Write a whole package in one transaction, by COPY and a few set-based statements.

Afterwards the document, its items, associations and rubrics are exactly those of the package:
missing ones are deleted (items and rubrics softly, associations permanently), unchanged ones not
written.
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
from ..read.body_digests import build_container_link_column
from ..read.revisions import Revision, fetch_revision
from ..read.visibility import is_live
from ..schema import tables
from ..schema.expressions import json_text
from ..statement import CompiledStatement
from .change_counts import ChangeCounts, count_changes
from .conflicts import convert_to_problems, select_conflicts
from .derived_values import DerivedValues
from .new_package import PackageNotNew, insert_package
from .package_statements import build_upload_statements
from .staging import DOCUMENT, STAGED, Staging, stage_package
from .stored_forms import StoredForms
from .upload_run import Progress, UploadRun

if TYPE_CHECKING:
    from ..connector import Connection

Mode = Literal["create", "replace", "upsert"]

WORK_MEM = "64MB"
"""Memory for sorting, with which Postgres sorts the rows of a large framework without a file."""

RETRY_STAGED = (PackageNotNew, asyncpg.UniqueViolationError, asyncpg.CardinalityViolationError)
"""Errors after which a package is staged that was assumed to be new.

It contains stored entities, or duplicates that its reader reports only at the end. Staging reads
all of it before anything is written, and so reports every problem."""


class UploadResult(NamedTuple):
    """The outcome of a package write, or of a dry run: what was created, changed and deleted."""

    created: bool
    """Whether no live document had this identifier before."""
    changes: Counter[tuple[str, str]]
    """Number of changed entities by (kind, operation), with definitions registered from links."""
    revision: Revision
    """The revision of the package that was written; that of a dry run never exists."""
    sent: Counter[str]
    """Number of entities in the package by kind."""
    counts: ChangeCounts
    matched_items: int = 0
    """Number of live items with an identifier that was derived from a code or statement."""
    changed_statements: int = 0
    """Number of those items whose statement changes."""

    @property
    def changed(self) -> int:
        """The number of entities that were created, updated or deleted."""
        return self.changes.total()

    @property
    def items_before(self) -> int:
        """The number of live items that the document had before this write."""
        kind = ITEMS.name
        new = self.changes[kind, tables.CREATE] + self.changes[kind, tables.REVIVE]
        return self.sent[kind] - new + self.changes[kind, tables.DELETE]


Guard = Callable[[UploadResult], None]
"""Called with the result of a write before the commit; an error that it raises rolls back."""


class _DryRunRollback(Exception):
    """Raised to roll back the transaction of a dry run."""


async def write_package(  # noqa: PLR0913  each is an independent option
    database: Database,
    package: Package,
    mode: Mode = "upsert",
    progress: Progress = lambda _: None,
    *,
    origin: BodyOrigin = FILE_ORIGIN,
    guard: Guard | None = None,
    dry_run: bool = False,
) -> UploadResult:
    """Replace the stored framework by a package, in one transaction.

    ``origin`` says which values of the package this server adds to responses and does not store.
    ``guard`` is called before the commit and may raise an error to prevent it. After that or a dry
    run, the database is unchanged: no entity, no row of the change feed and no revision was
    written.

    Raises ``Conflict`` listing all entities that belong to other documents, or if ``mode`` is
    "create" and the document exists; ``NotFound`` if it is "replace" and the document never did.
    """

    async def transaction(connection: Connection) -> UploadResult:
        # Uploads of one document run one at a time.
        async with advisory_lock(connection, package.document_identifier):
            # The entities of a new document are nearly always new as well, and inserting them is
            # faster than comparing them with what is stored.
            with suppress(*RETRY_STAGED):
                return await attempt(connection, assume_new=True)
            return await attempt(connection, assume_new=False)

    async def attempt(connection: Connection, *, assume_new: bool) -> UploadResult:
        run = UploadRun(connection, _parameters(package), progress)
        with suppress(_DryRunRollback):
            async with connection.transaction():
                result = await _write_in_transaction(
                    run, package, mode, origin, assume_new=assume_new
                )
                if guard:
                    guard(result)
                if dry_run:
                    raise _DryRunRollback
        return result

    return await database.run_write_with_retry(transaction, package.document_identifier)


async def _write_in_transaction(
    run: UploadRun, package: Package, mode: Mode, origin: BodyOrigin, *, assume_new: bool
) -> UploadResult:
    await run.connection.execute(f"SET LOCAL work_mem = '{WORK_MEM}'")
    rows = await run.fetch_all(_document_state())
    document = rows[0] if rows else None
    is_created = _check_mode(package, mode, document)
    run.values["replaced"] = not is_created
    matched = changed_statements = 0
    forms = await StoredForms.load(run.connection, package.rows, origin)
    forms.derived = await DerivedValues.load(run.connection, package)
    if document and not (is_created or package.has_package_link) and document["package_link"]:
        # Packages of the standard leave the link out, so a missing one is no change.
        forms.package_link = document["package_link"]
        run.values["package_identifier"] = document["package_identifier"]
    if assume_new and not document:
        sent = await insert_package(run, package, forms)
    else:
        staging, sent = await _stage_without_conflicts(
            run, package, forms, is_known=document is not None
        )
        if package.derived_items:
            run.values["derived_items"] = package.derived_items
            ((matched, changed_statements),) = await run.fetch_all(_compile_matched_items())
        await run.execute_counted(build_upload_statements, staging)
    revision = await fetch_revision(run.connection, package.document_identifier)
    assert revision
    counts = count_changes(run.changes, run.defined, sent)
    return UploadResult(
        is_created, run.changes, revision, sent, counts, matched, changed_statements
    )


async def _stage_without_conflicts(
    run: UploadRun, package: Package, forms: StoredForms, *, is_known: bool
) -> tuple[Staging, Counter[str]]:
    """Copy a package to the staging table, to compare it with the stored framework.

    ``is_known`` says whether its document is stored. Raises ``Conflict`` if one of its entities
    belongs to another document.
    """
    run.progress("staging")
    staging, sent = await stage_package(run.connection, package, forms, is_known=is_known)
    if conflicts := await run.fetch_all(select_conflicts()):
        problems = convert_to_problems(conflicts)
        first, others = problems[0]["message"], len(problems) - 1
        more = f", and {others} more" if others else ""
        raise Conflict(
            f"the package contains entities that belong to other documents: {first}{more}; give "
            "them other identifiers, or delete them there first",
            problems=problems,
        )
    return staging, sent


def _parameters(package: Package) -> dict[str, Any]:
    return {
        "document_identifier": package.document_identifier,
        "package_identifier": package.package_identifier,
        "extensions": package.extensions,
        "definition_extensions": package.definition_extensions,
    }


def _check_mode(package: Package, mode: Mode, document: Any) -> bool:
    """Return whether the write creates the document, whose stored row is ``document``.

    Raises ``Conflict`` or ``NotFound`` if ``mode`` does not allow that.
    """
    identifier = package.document_identifier
    if mode == "replace" and not document:
        raise NotFound("CFDocument", identifier, "POST its package first")
    is_live = bool(document and document["live"])
    if mode == "create" and is_live:
        raise Conflict(f"the document {identifier!r} exists: PUT its package to replace it")
    return not is_live


@cache
def _document_state() -> CompiledStatement:
    table = tables.documents
    columns = (
        is_live(table).label("live"),
        build_container_link_column(table).label("package_link"),
        json_text(table.c.body, "CFPackageURI", "identifier").label("package_identifier"),
    )
    return CompiledStatement(select(*columns).where(table.c.identifier == DOCUMENT))


@cache
def _compile_matched_items() -> CompiledStatement:
    """Compile the query that counts the live items that a file matched by code or statement.

    Its second column is the number of those that get another statement. If these are most, the file
    may be the wrong one.
    """
    table = tables.items
    derived = bindparam("derived_items", type_=ARRAY(Text))
    before, after = (json_text(body, "fullStatement") for body in (table.c.body, STAGED.c.body))
    # Unchanged rows are staged without a body.
    changed = func.count().filter(STAGED.c.body.is_not(None), before != after)
    return CompiledStatement(
        select(func.count(), changed)
        .select_from(STAGED.join(table, STAGED.c.identifier == table.c.identifier))
        .where(STAGED.c.kind == literal(ITEMS.name), table.c.document_identifier == DOCUMENT)
        .where(is_live(table), table.c.identifier == func.any(derived))
    )

"""Write a whole package in one transaction, with COPY and a few set-based statements.

Afterwards the document, its items, associations and rubrics are exactly those of the package. Items
and rubrics that the package lacks are soft-deleted, such associations are deleted permanently.
Unchanged entities are not written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import asyncpg
from sqlalchemy import Text, bindparam, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from ....case.package import PreparedPackage
from ....case.resources import ITEMS
from ....case.stored_form import NO_ECHOED_VALUES, EchoedValues
from ....exceptions import Conflict, NotFound
from ...connector import Connection
from ...locks import advisory_locks
from ...pool import Database
from ...read.body_digests import build_container_link_column
from ...read.revisions import Revision, fetch_revision
from ...read.visibility import build_live_condition
from ...schema import tables
from ...schema.expressions import DOCUMENT, build_text_extract
from ...statement import CompiledStatement
from ..derived_values import DerivedValueReplacer
from ..dry_run import write_transaction
from ..stored_form_converter import StoredFormConverter
from .change_counts import ChangeCounts, compute_change_counts
from .conflicts import compile_conflict_query, convert_conflicts_to_problems
from .new_package import NewPackageConflictError, insert_new_package
from .package_statements import build_upload_statements
from .staging import STAGED, StagingSummary, stage_package
from .statistics import analyze_changed_tables
from .transaction import Progress, UploadTransaction

Mode = Literal["create", "replace", "upsert"]

WORK_MEM = "64MB"
"""Memory for sorting, with which Postgres sorts the rows of a large framework without a file."""

PARAMETERS = ("document_identifier", "package_identifier", "extensions", "definition_extensions")
"""The fields of a package that are parameters of the statements of its upload."""

NOT_NEW_ERRORS = (
    NewPackageConflictError,
    asyncpg.UniqueViolationError,
    asyncpg.CardinalityViolationError,
)
"""Errors after which a package that was assumed to be new is staged instead.

The package contains stored entities, or duplicates that its reader reports only at the end. Staging
reads the whole package before anything is written, and so reports every problem."""


class UploadResult(NamedTuple):
    """The outcome of an upload or a dry run: what was created, changed and deleted."""

    is_created: bool
    """True if no live document had this identifier before."""
    changes: Counter[tuple[str, str]]
    """Number of changed entities by (kind, operation), with definitions created from links."""
    revision: Revision
    """The new revision of the package; after a dry run, no package has this revision."""
    sent_counts: Counter[str]
    """Number of entities in the package by kind."""
    counts: ChangeCounts
    matched_item_count: int = 0
    """Number of live items with an identifier that was derived from a code or statement."""
    changed_statement_count: int = 0
    """Number of those items whose statement changes."""

    @property
    def changed_count(self) -> int:
        """The number of entities that were created, updated or deleted."""
        return self.changes.total()

    @property
    def item_count_before(self) -> int:
        """The number of live items that the document had before the upload."""
        kind = ITEMS.name
        new = self.changes[kind, tables.CREATE] + self.changes[kind, tables.REVIVE]
        return self.sent_counts[kind] - new + self.changes[kind, tables.DELETE]


Guard = Callable[[UploadResult], None]
"""Called with the result of an upload before the commit; an error that it raises rolls back."""


async def write_package(  # noqa: PLR0913  each is an independent option
    database: Database,
    package: PreparedPackage,
    mode: Mode = "upsert",
    progress: Progress = lambda _: None,
    *,
    echoed: EchoedValues = NO_ECHOED_VALUES,
    guard: Guard | None = None,
    dry_run: bool = False,
) -> UploadResult:
    """Replace a stored framework with a package, in one transaction; return what it changed.

    ``mode`` is "upsert", "create" (the document must not exist) or "replace" (it must have
    existed). ``progress`` is called with the name of each stage, such as "items". ``echoed``
    describes values that the client may have copied from a response, such as URLs of this server;
    they are not stored. ``guard`` is called with the result before the commit, and can raise an
    error to prevent it. After such an error or a dry run, nothing in the database has changed.

    Raises ``Conflict`` listing all entities that belong to other documents, or if ``mode`` forbids
    an existing document, and ``NotFound`` if ``mode`` requires one.
    """

    async def transaction(connection: Connection) -> UploadResult:
        # Uploads of one document run one at a time, and no other document takes its identifiers.
        identifiers = (package.document_identifier, package.package_identifier)
        async with advisory_locks(connection, *identifiers):
            # The entities of a new document are nearly always new as well, and inserting them is
            # faster than comparing them with what is stored.
            with suppress(*NOT_NEW_ERRORS):
                return await attempt(connection, assume_new=True)
            return await attempt(connection, assume_new=False)

    async def attempt(connection: Connection, *, assume_new: bool) -> UploadResult:
        parameters = {name: getattr(package, name) for name in PARAMETERS}
        upload = UploadTransaction(connection, parameters, progress)
        async with write_transaction(connection, dry_run=dry_run):
            result = await _run_upload(upload, package, mode, echoed, assume_new=assume_new)
            if guard:
                guard(result)
            if not dry_run:
                await analyze_changed_tables(connection, result.changed_count)
        return result

    return await database.run_write_with_retry(transaction, package.document_identifier)


async def _run_upload(
    upload: UploadTransaction,
    package: PreparedPackage,
    mode: Mode,
    echoed: EchoedValues,
    *,
    assume_new: bool,
) -> UploadResult:
    await upload.connection.execute(f"SET LOCAL work_mem = '{WORK_MEM}'")
    rows = await upload.fetch_all(_compile_document_state_query())
    document = rows[0] if rows else None
    is_created = _is_document_new(package, mode, document)
    upload.parameters["replaced"] = not is_created
    matched_count = changed_count = 0
    converter = await StoredFormConverter.load(upload.connection, package.rows, echoed)
    converter.derived_values = await DerivedValueReplacer.load(upload.connection, package)
    if document and not (is_created or package.has_package_link) and document["package_link"]:
        # Packages of the standard leave the link out, so a missing one is no change.
        converter.package_link = document["package_link"]
        upload.parameters["package_identifier"] = document["package_identifier"]
    if assume_new and not document:
        sent_counts = await insert_new_package(upload, package, converter)
    else:
        summary, sent_counts = await _stage_and_check_conflicts(
            upload, package, converter, is_stored=document is not None
        )
        if package.derived.items:
            upload.parameters["derived_items"] = package.derived.items
            matches = await upload.fetch_all(_compile_matched_item_counts_query())
            matched_count, changed_count = matches[0]
        await upload.execute_and_count(partial(build_upload_statements, summary))
    revision = await fetch_revision(upload.connection, package.document_identifier)
    assert revision
    counts = compute_change_counts(upload.changes, upload.definition_changes, sent_counts)
    return UploadResult(
        is_created, upload.changes, revision, sent_counts, counts, matched_count, changed_count
    )


async def _stage_and_check_conflicts(
    upload: UploadTransaction,
    package: PreparedPackage,
    converter: StoredFormConverter,
    *,
    is_stored: bool,
) -> tuple[StagingSummary, Counter[str]]:
    upload.progress("staging")
    summary, sent_counts = await stage_package(
        upload.connection, package, converter, is_stored=is_stored
    )
    if conflicts := await upload.fetch_all(compile_conflict_query()):
        problems = convert_conflicts_to_problems(conflicts)
        first, omitted_count = problems[0]["message"], len(problems) - 1
        suffix = f", and {omitted_count} more" if omitted_count else ""
        raise Conflict(
            f"the package contains entities that belong to other documents: {first}{suffix}; give "
            "them other identifiers, or delete them there first",
            problems=problems,
        )
    return summary, sent_counts


def _is_document_new(package: PreparedPackage, mode: Mode, document: Any) -> bool:
    """Return whether the document of an upload is new, i.e. absent or soft-deleted.

    ``document`` is its stored row or None. Raises ``Conflict`` if ``mode`` is "create" and the
    document is live, ``NotFound`` if ``mode`` is "replace" and it was never stored.
    """
    identifier = package.document_identifier
    if mode == "replace" and not document:
        raise NotFound("CFDocument", identifier, "POST its package first")
    is_live = bool(document and document["live"])
    if mode == "create" and is_live:
        raise Conflict(f"the document {identifier!r} exists: PUT its package to replace it")
    return not is_live


@cache
def _compile_document_state_query() -> CompiledStatement:
    table = tables.documents
    columns = (
        build_live_condition(table).label("live"),
        build_container_link_column(table).label("package_link"),
        build_text_extract(table.c.body, "CFPackageURI", "identifier").label("package_identifier"),
    )
    return CompiledStatement(select(*columns).where(table.c.identifier == DOCUMENT))


@cache
def _compile_matched_item_counts_query() -> CompiledStatement:
    """Compile the query for how many stored items the rows of a spreadsheet matched.

    The parameter ``derived_items`` lists the identifiers that were made from codes or statements.
    The row is (matched, changed): the live items with such an identifier, and those of them whose
    ``fullStatement`` changes.
    """
    table = tables.items
    derived = bindparam("derived_items", type_=ARRAY(Text))
    old_statement = build_text_extract(table.c.body, "fullStatement")
    new_statement = build_text_extract(STAGED.c.body, "fullStatement")
    # Unchanged rows are staged without a body.
    changed_count = func.count().filter(STAGED.c.body.is_not(None), old_statement != new_statement)
    return CompiledStatement(
        select(func.count(), changed_count)
        .select_from(STAGED.join(table, STAGED.c.identifier == table.c.identifier))
        .where(STAGED.c.kind == literal(ITEMS.name), table.c.document_identifier == DOCUMENT)
        .where(build_live_condition(table), table.c.identifier == func.any(derived))
    )

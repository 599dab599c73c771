"""A whole package, written in one transaction: staged by COPY, then a few set-based statements.

Afterwards the document, its items, its associations and its rubrics are exactly what was sent:
what is missing is deleted (items and rubrics softly, associations for good), what is unchanged
is not written again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from anyio import to_thread
from sqlalchemy import (
    JSON,
    Boolean,
    ColumnElement,
    Delete,
    Table,
    Text,
    Update,
    bindparam,
    cast,
    delete,
    exists,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from ..case.package import Package
from ..case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS, Resource
from ..errors import Conflict, NotFound
from . import parts, recording, tables
from .conflicts import conflicts, problems
from .database import Database
from .locks import alone_with
from .revision import Revision, revision_in
from .rubrics import write_rubrics
from .staging import DOCUMENT, STAGED, Staged, identifiers_of, source_of, stage
from .statement import Statement
from .visible import live

if TYPE_CHECKING:
    from .database import Connection

Mode = Literal["create", "replace", "either"]
Progress = Callable[[str], None]

SORTED_IN_MEMORY = "64MB"
"""The rows of a large framework, sorted; by default Postgres would write them to disk for it."""

UPDATED: ColumnElement[str] = literal(recording.UPDATE).label("operation")


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
    attempts = count()

    async def write(connection: Connection) -> Written:
        # What a new document brings is nearly always new, too. It is taken for that at first, and
        # only where that fails does the next attempt look for each part of it.
        hopeful = next(attempts) == 0
        # Two uploads of one document come one after the other.
        async with alone_with(connection, package.document_identifier):
            return await _write(connection, package, mode, progress, hopeful=hopeful)

    return await database.write(write, name=package.document_identifier)


async def _write(
    connection: Connection, package: Package, mode: Mode, progress: Progress, *, hopeful: bool
) -> Written:
    values = _values(package)
    async with connection.transaction():
        await connection.execute(f"SET LOCAL work_mem = '{SORTED_IN_MEMORY}'")
        known = await _run(connection, _known(), values)
        values["replaced"] = not (created := _may_write(package, mode, known))
        progress("staging")
        new = hopeful and not known
        staged, sent = await stage(connection, package, known=bool(known), new=new)
        if found := await _run(connection, conflicts(new=new), values):
            _refuse(await _run(connection, conflicts(new=False), values) if new else found)
        changes: Counter[tuple[str, str]] = Counter()
        # Writing the SQL of another kind of upload takes a while, which others need not wait for.
        for name, statement in await to_thread.run_sync(_steps, staged):
            progress(name)
            for row in await _run(connection, statement, values):
                changes[row["kind"], row["operation"]] += row["changed"]
        revision = await revision_in(connection, package.document_identifier)
        assert revision
    return Written(created, changes, revision, sent)


def _values(package: Package) -> dict[str, Any]:
    return {
        "document_identifier": package.document_identifier,
        "package_identifier": package.package_identifier,
        "extensions": package.extensions,
        "definition_extensions": package.definition_extensions,
    }


async def _run(connection: Connection, statement: Statement, values: dict[str, Any]) -> list[Any]:
    return await connection.fetch(statement.sql, *statement.arguments(values))


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


@cache
def _steps(staged: Staged) -> list[tuple[str, Statement]]:
    """The statements of an upload, in order, and what each is about."""
    upsert = partial(_upsert, staged)
    removed = [
        ("associations", _remove_associations()),
        ("items", _remove_softly(ITEMS)),
        ("rubrics", _remove_softly(RUBRICS)),
    ]
    return [
        *(("definitions", one) for resource in DEFINITIONS for one in upsert(resource)),
        *(("document", one) for one in (*upsert(DOCUMENTS), _package())),
        *(("definitions", _list_definitions(resource)) for resource in DEFINITIONS),
        *(removed if staged.known else ()),
        *(("items", one) for one in upsert(ITEMS, "ordinal", "document_identifier")),
        *(("associations", one) for one in upsert(ASSOCIATIONS, "ordinal", "document_identifier")),
        ("rubrics", write_rubrics()),
    ]


def _upsert(staged: Staged, resource: Resource, *columns: str) -> list[Statement]:
    """Register what the rows refer to, write them, and make their links what was sent."""
    table, source = parts.table_of(resource), source_of(resource.name)
    references = parts.REFERENCES.get(resource.name, ())
    # What no row has needs no looking for, unless it was there before.
    present = [each for each in references if each.field in staged.fields]
    before = [_register(parts.register(source, each), each) for each in present]
    after: list[Statement] = []
    for each in references:
        if each.links is None:
            continue
        if staged.known:
            after.append(Statement(parts.unlink(source, each, each.links)))
        if each in present:
            after.append(_link(parts.link(source, each, each.links)))
    # Documents and definitions are not the parts of one framework: they keep their place.
    names, once = ("last_change_date_time", *columns), () if "ordinal" in columns else ("ordinal",)
    if staged.new and resource in (ITEMS, ASSOCIATIONS):
        done = recording.created(table, parts.append(source, table, *names))
    else:
        done = recording.written(table, parts.upsert(source, table, *names, once=once))
    document = None if resource in DEFINITIONS else DOCUMENT
    kept = recording.all_of(done, resource, document)
    return [*before, recording.counted(done, resource.name, *kept), *after]


def _register(fresh: Insert, reference: parts.Reference) -> Statement:
    done = recording.written(reference.definitions, fresh)
    kept = recording.all_of(done, reference.resource, None)
    return recording.counted(done, reference.resource.name, *kept)


def _link(fresh: Insert) -> Statement:
    """Links that are added; they may be more than the body says, so they move the revision."""
    linked = fresh.returning(literal_column("1")).cte("linked")
    moved = recording.mark(select(DOCUMENT.label("scope")).where(recording.happened(linked)))
    return Statement(select(literal_column("1")).where(false()).add_cte(moved))


def _package() -> Statement:
    """The package itself; a change of its extensions is a change of its document."""
    table = tables.packages
    names = ("identifier", "extensions", "definition_extensions")
    born = insert(table).values(
        document_identifier=DOCUMENT,
        identifier=bindparam("package_identifier", type_=Text),
        extensions=bindparam("extensions", type_=JSON),
        definition_extensions=bindparam("definition_extensions", type_=JSON),
    )
    given: dict[str, Any] = {name: born.excluded[name] for name in names}
    differs = [
        cast(table.c[name], Text).is_distinct_from(cast(given[name], Text)) for name in names
    ]
    write = born.on_conflict_do_update(
        index_elements=[table.c.document_identifier], set_=given, where=or_(*differs)
    )
    replaced: ColumnElement[bool] = literal_column("packages.xmax <> 0").label("replaced")
    done = write.returning(table.c.document_identifier.label("identifier"), replaced).cte("done")
    changed = select(done.c.identifier, UPDATED).where(done.c.replaced).cte("changed")
    kept = recording.all_of(changed, DOCUMENTS, DOCUMENT)
    return recording.counted(changed, DOCUMENTS.name, *kept)


def _list_definitions(resource: Resource) -> Statement:
    """Remember which definitions the package brought, and forget those it no longer brings.

    In a package that was there before, that is a change of its document.
    """
    table = tables.package_definitions[resource.name]
    brought = identifiers_of(resource.name)
    forgotten = (
        delete(table)
        .where(
            table.c.document_identifier == DOCUMENT, table.c.definition_identifier.not_in(brought)
        )
        .returning(table.c.definition_identifier)
        .cte("forgotten")
    )
    pairs = select(DOCUMENT, STAGED.c.identifier).where(STAGED.c.kind == literal(resource.name))
    names = [column.name for column in table.c]
    fresh = insert(table).from_select(names, pairs).on_conflict_do_nothing()
    added = fresh.returning(table.c.definition_identifier).cte("added")
    changed = (
        select(DOCUMENT.label("identifier"), UPDATED)
        .where(bindparam("replaced", type_=Boolean))
        .where(or_(recording.happened(forgotten), recording.happened(added)))
        .cte("changed")
    )
    kept = recording.all_of(changed, DOCUMENTS, DOCUMENT)
    return recording.counted(changed, DOCUMENTS.name, *kept)


def _gone(change: Delete | Update, table: Table, resource: Resource) -> Statement:
    """A deletion, recorded."""
    gone = recording.deleted(change, table)
    return recording.counted(gone, resource.name, *recording.all_of(gone, resource, DOCUMENT))


def _not_staged(table: Table, resource: Resource) -> tuple[ColumnElement[bool], ...]:
    staged = exists(literal_column("1")).where(
        STAGED.c.kind == literal(resource.name), STAGED.c.identifier == table.c.identifier
    )
    return table.c.document_identifier == DOCUMENT, ~staged


def _remove_associations() -> Statement:
    table = tables.associations
    return _gone(delete(table).where(*_not_staged(table, ASSOCIATIONS)), table, ASSOCIATIONS)


def _remove_softly(resource: Resource) -> Statement:
    table = parts.table_of(resource)
    missing = (*_not_staged(table, resource), table.c.deleted_at.is_(None))
    return _gone(update(table).where(*missing).values(deleted_at=func.now()), table, resource)

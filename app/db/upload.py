"""A whole package, written in one transaction: staged by COPY, then a few set-based statements.

Afterwards the document, its items, its associations and its rubrics are exactly what was sent:
what is missing is deleted (items and rubrics softly, associations for good), what is unchanged
is not written again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import (
    CTE,
    JSON,
    Column,
    ColumnElement,
    FromClause,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.schema import CreateTable

from ..case.package import Package
from ..case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS, Resource
from ..errors import Conflict, NotFound, Problem
from . import parts, tables
from .database import Database
from .statement import DIALECT, Statement
from .visible import live

if TYPE_CHECKING:
    from .database import Connection

Mode = Literal["create", "replace", "either"]
Progress = Callable[[str], None]

STAGED = Table(
    "staged",
    MetaData(),
    Column("ordinal", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("body", JSON, nullable=False),
    Column("last_change_date_time", tables.Moment, nullable=False),
    Column("keywords", JSON),
    Column("parent", Text),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
"""Where the rows of an upload lie while they are compared with what is stored."""

DOCUMENT = bindparam("document_identifier", type_=Text)


class Written(NamedTuple):
    """What an upload did."""

    created: bool
    """Whether no live document had this identifier before."""
    changed: int
    """How many entities were created, updated or deleted."""


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
    return await database.write(partial(_write, package=package, mode=mode, progress=progress))


async def _write(
    connection: Connection, package: Package, mode: Mode, progress: Progress
) -> Written:
    values = {
        "document_identifier": package.document_identifier,
        "package_identifier": package.package_identifier,
        "extensions": package.extensions,
        "definition_extensions": package.definition_extensions,
    }
    async with connection.transaction():
        # Two uploads of one document come one after the other.
        await _run(connection, _lock(), values)
        created = _may_write(package, mode, await _run(connection, _known(), values))
        progress("staging")
        await _stage(connection, package)
        await _refuse_conflicts(connection, values)
        changed = 0
        for name, statement in _steps():
            progress(name)
            changed += sum(row["changed"] for row in await _run(connection, statement, values))
    return Written(created, changed)


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


async def _stage(connection: Connection, package: Package) -> None:
    await connection.execute(str(CreateTable(STAGED).compile(dialect=DIALECT)))
    columns = [column.name for column in STAGED.c]
    records = (
        (ordinal, one.kind, one.identifier, one.body, one.last_change_date_time, *one[4:])
        for ordinal, one in enumerate(package.rows)
    )
    await connection.copy_records_to_table(STAGED.name, records=records, columns=columns)
    # Without statistics the planner takes the staging table for a small one.
    await connection.execute("ANALYZE staged")


async def _refuse_conflicts(connection: Connection, values: dict[str, Any]) -> None:
    found = await _run(connection, _conflicts(), values)
    if found:
        problems = [Problem(path=row["path"], message=row["message"]) for row in found]
        first, more = problems[0]["message"], len(problems) - 1
        others = f", and {more} more" if more else ""
        raise Conflict(f"the package takes what is not its own: {first}{others}", problems=problems)


@cache
def _lock() -> Statement:
    key = func.hashtextextended(DOCUMENT, literal_column("0"))
    return Statement(select(func.pg_advisory_xact_lock(key)))


@cache
def _known() -> Statement:
    table = tables.documents
    return Statement(select(live(table).label("live")).where(table.c.identifier == DOCUMENT))


def _source(kind: str) -> CTE:
    """The staged rows of a kind, in the columns every source has."""
    columns = (STAGED.c[name] for name in ("ordinal", "body", "last_change_date_time", "keywords"))
    rows = select(*columns, STAGED.c.parent, DOCUMENT.label("document_identifier"))
    return rows.where(STAGED.c.kind == literal(kind)).cte("source")


def _staged_identifiers(kind: str) -> Select[Any]:
    return select(STAGED.c.identifier).where(STAGED.c.kind == literal(kind))


def _count(*ctes: CTE, of: CTE) -> Statement:
    """A statement that does what the CTEs do and says how many entities changed."""
    return Statement(select(func.count().label("changed")).select_from(of).add_cte(*ctes))


@cache
def _steps() -> list[tuple[str, Statement]]:
    """The statements of an upload, in order, and what each is about."""
    return [
        *(("definitions", one) for resource in DEFINITIONS for one in _upsert(resource)),
        *(("document", one) for one in (*_upsert(DOCUMENTS), _package())),
        *(("definitions", _list_definitions(resource)) for resource in DEFINITIONS),
        ("associations", _remove_associations()),
        ("items", _remove_softly(ITEMS)),
        *(("items", one) for one in _upsert(ITEMS, "document_identifier")),
        *(("associations", one) for one in _upsert(ASSOCIATIONS, "document_identifier")),
        ("rubrics", _remove_softly(RUBRICS)),
        ("rubrics", _rubrics()),
    ]


def _upsert(resource: Resource, *columns: str) -> list[Statement]:
    """Register what the rows refer to, write them, and make their links what was sent."""
    table, source = parts.table_of(resource), _source(resource.name)
    references = parts.REFERENCES.get(resource.name, ())
    before = [_silent(parts.register(source, reference)) for reference in references]
    after = [
        _silent(change)
        for reference in references
        if reference.links is not None
        for change in (
            parts.unlink(source, reference, reference.links),
            parts.link(source, reference, reference.links),
        )
    ]
    write = parts.upsert(source, table, "last_change_date_time", *columns)
    done = parts.returning_operation(write, table)
    document = None if resource in DEFINITIONS else DOCUMENT
    recorded = parts.record(done, resource.name, document).cte("recorded")
    return [*before, _count(recorded, of=done), *after]


def _silent(change: Any) -> Statement:
    """A change that is counted with the entity it belongs to."""
    return Statement(change.returning(literal_column("0").label("changed")))


def _package() -> Statement:
    table = tables.packages
    names = ("identifier", "extensions", "definition_extensions")
    born = insert(table).values(
        document_identifier=DOCUMENT,
        identifier=bindparam("package_identifier", type_=Text),
        extensions=bindparam("extensions", type_=JSON),
        definition_extensions=bindparam("definition_extensions", type_=JSON),
    )
    given: dict[str, Any] = {name: born.excluded[name] for name in names}
    return _silent(
        born.on_conflict_do_update(index_elements=[table.c.document_identifier], set_=given)
    )


def _list_definitions(resource: Resource) -> Statement:
    """Remember which definitions the package brought, and forget those it no longer brings."""
    table = tables.package_definitions[resource.name]
    brought = _staged_identifiers(resource.name)
    forgotten = (
        delete(table)
        .where(
            table.c.document_identifier == DOCUMENT, table.c.definition_identifier.not_in(brought)
        )
        .cte("forgotten")
    )
    pairs = select(DOCUMENT, STAGED.c.identifier).where(STAGED.c.kind == literal(resource.name))
    names = [column.name for column in table.c]
    kept = insert(table).from_select(names, pairs).on_conflict_do_nothing()
    return _silent(kept.add_cte(forgotten))


def _gone(change: Any, table: Table, resource: Resource) -> Statement:
    """A deletion, recorded."""
    operation = literal("delete").label("operation")
    gone = change.returning(table.c.identifier, operation).cte("gone")
    return _count(parts.record(gone, resource.name, DOCUMENT).cte("recorded"), of=gone)


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


@cache
def _rubrics() -> Statement:
    """Rubrics with their criteria and levels; a change of a part is a change of its rubric."""
    rubrics, criteria, levels = (
        tables.rubrics,
        tables.rubric_criteria,
        tables.rubric_criterion_levels,
    )
    columns = ("last_change_date_time", "document_identifier")
    source = _source(RUBRICS.name)
    written = parts.returning_operation(parts.upsert(source, rubrics, *columns), rubrics)
    criteria_written, criteria_gone = _children("CFRubricCriterion", criteria, RUBRICS.name)
    levels_written, levels_gone = _children("CFRubricCriterionLevel", levels, "CFRubricCriterion")
    of_level = select(STAGED.c.parent).where(
        STAGED.c.kind == literal("CFRubricCriterion"),
        STAGED.c.identifier.in_(
            select(levels_written.c.parent).union_all(select(levels_gone.c.parent))
        ),
    )
    touched = union_all(
        select(criteria_written.c.parent), select(criteria_gone.c.parent), of_level
    ).cte("touched")
    others = select(touched.c.parent, literal("update")).where(
        touched.c.parent.not_in(select(written.c.identifier))
    )
    done = select(written.c.identifier, written.c.operation).union(others).cte("done")
    return _count(parts.record(done, RUBRICS.name, DOCUMENT).cte("recorded"), of=done)


def _children(kind: str, table: Table, parent_kind: str) -> tuple[CTE, CTE]:
    """Write the parts of a kind and remove those their parents no longer have."""
    column = next(name.name for name in table.c if name.foreign_keys)
    rows = select(STAGED.c.body, STAGED.c.parent).where(STAGED.c.kind == literal(kind))
    fresh = insert(table).from_select(["body", column], rows.order_by(STAGED.c.ordinal))
    given: dict[str, Any] = {name: fresh.excluded[name] for name in ("body", column)}
    differs = or_(
        cast(table.c.body, Text) != cast(fresh.excluded.body, Text),
        table.c[column] != fresh.excluded[column],
    )
    write = fresh.on_conflict_do_update(
        index_elements=[table.c.identifier], set_=given, where=differs
    )
    remove = delete(table).where(
        table.c[column].in_(_staged_identifiers(parent_kind)),
        table.c.identifier.not_in(_staged_identifiers(kind)),
    )
    parent = table.c[column].label("parent")
    return (
        write.returning(parent).cte(f"{table.name}_written"),
        remove.returning(parent).cte(f"{table.name}_gone"),
    )


@cache
def _conflicts() -> Statement:
    """Rows (path, message): what the upload holds that belongs elsewhere."""
    staged = select(
        STAGED,
        (func.row_number().over(partition_by=STAGED.c.kind, order_by=STAGED.c.ordinal) - 1).label(
            "index"
        ),
    ).cte("numbered")
    found = [
        *(_elsewhere(staged, resource) for resource in (ITEMS, ASSOCIATIONS, RUBRICS)),
        _taken_triples(staged),
        _elsewhere_part(staged, "CFRubricCriterion", tables.rubric_criteria),
        _elsewhere_part(staged, "CFRubricCriterionLevel", tables.rubric_criterion_levels),
        _taken_package(),
    ]
    return Statement(union_all(*found))


def _conflict(path: ColumnElement[str], message: str, *values: ColumnElement[Any]) -> Select[Any]:
    return select(path.label("path"), func.format(literal(message), *values).label("message"))


def _place(staged: FromClause, plural: str) -> ColumnElement[str]:
    return func.format(literal(f"{plural}[%s]"), staged.c.index)


def _elsewhere(staged: FromClause, resource: Resource) -> Select[Any]:
    """Entities that belong to another document."""
    table = parts.table_of(resource)
    home = func.coalesce(table.c.document_identifier, literal("none"))
    message = f"{resource.name} %s belongs to document %s"
    return (
        _conflict(_place(staged, resource.plural), message, table.c.identifier, home)
        .join_from(staged, table, staged.c.identifier == table.c.identifier)
        .where(staged.c.kind == literal(resource.name), live(table))
        .where(table.c.document_identifier.is_distinct_from(DOCUMENT))
    )


def _elsewhere_part(staged: FromClause, kind: str, table: Table) -> Select[Any]:
    """Parts of a rubric that belong to a rubric of another document."""
    rubrics, criteria = tables.rubrics, tables.rubric_criteria
    found = _conflict(
        _place(staged, kind),
        f"{kind} %s belongs to rubric %s of document %s",
        table.c.identifier,
        rubrics.c.identifier,
        rubrics.c.document_identifier,
    ).join_from(staged, table, staged.c.identifier == table.c.identifier)
    if table is not criteria:
        found = found.join(criteria, table.c.criterion_identifier == criteria.c.identifier)
    return found.join(rubrics, criteria.c.rubric_identifier == rubrics.c.identifier).where(
        staged.c.kind == literal(kind), rubrics.c.document_identifier != DOCUMENT
    )


def _taken_triples(staged: FromClause) -> Select[Any]:
    """Associations whose origin, destination and type another document relates already."""
    table = tables.associations
    same = and_(
        table.c.origin_identifier == parts.word(staged.c.body, "originNodeURI", "identifier"),
        table.c.destination_identifier
        == parts.word(staged.c.body, "destinationNodeURI", "identifier"),
        table.c.association_type == parts.word(staged.c.body, "associationType"),
        table.c.identifier != staged.c.identifier,
        table.c.document_identifier.is_distinct_from(DOCUMENT),
    )
    return (
        _conflict(
            _place(staged, ASSOCIATIONS.plural),
            "CFAssociation %s has the origin, destination and type of %s of document %s",
            staged.c.identifier,
            table.c.identifier,
            func.coalesce(table.c.document_identifier, literal("none")),
        )
        .join_from(staged, table, same)
        .where(staged.c.kind == literal(ASSOCIATIONS.name))
    )


def _taken_package() -> Select[Any]:
    table = tables.packages
    return _conflict(
        literal("CFDocument.CFPackageURI.identifier"),
        "the package %s is that of document %s",
        table.c.identifier,
        table.c.document_identifier,
    ).where(
        table.c.identifier == bindparam("package_identifier", type_=Text),
        table.c.document_identifier != DOCUMENT,
    )

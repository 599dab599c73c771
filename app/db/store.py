"""One entity at a time: put and delete.

A put is one statement: it checks what it refers to, writes, links, and records the change, or
writes nothing and says why. It replaces the whole entity and revives a deleted one.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CTE,
    JSON,
    BindParameter,
    ColumnElement,
    FromClause,
    ScalarSelect,
    Table,
    Text,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert

from ..case.package import Row, item_row, row
from ..case.resources import ASSOCIATIONS, DOCUMENTS, ITEM_TYPES, ITEMS, Resource
from ..errors import Conflict, InvalidData, NotFound, Problem
from . import parts, recording, tables
from .database import Database
from .statement import Statement
from .visible import live

if TYPE_CHECKING:
    import asyncpg

    from ..case.model import CFAssociation, CFDocument, CFItem, CFItemType, Entity


async def put_document(database: Database, document: CFDocument, under: str = "") -> None:
    """Create or replace a document, and with it its package; ``under`` as in ``put_item``."""
    package = document.CFPackageURI.identifier
    holder = await _put(
        database, DOCUMENTS, document, row(DOCUMENTS.name, document), package=package
    )
    if holder["claimed_by"]:
        message = f"{package!r} or its document names the package of {holder['claimed_by']!r}"
        problem = Problem(path=f"{under}CFPackageURI.identifier", message=message)
        raise Conflict(message, problems=[problem])


async def put_item(database: Database, item: CFItem, under: str = "") -> None:
    """Create or replace an item of a live document; ``under`` prefixes the paths of problems."""
    document = item.CFDocumentURI.identifier
    found = await _put(database, ITEMS, item, item_row(item), document_identifier=document)
    if not found["document_known"]:
        raise InvalidData(
            f"no document has the identifier {document!r}: create it first",
            problems=[_unknown(f"{under}CFDocumentURI.identifier", "document", document)],
        )


async def put_item_type(database: Database, item_type: CFItemType, under: str = "") -> None:  # noqa: ARG001  all puts are called alike
    """Create or replace an item type, which refers to nothing that could be missing."""
    await _put(database, ITEM_TYPES, item_type, row(ITEM_TYPES.name, item_type))


async def put_association(database: Database, association: CFAssociation, under: str = "") -> None:
    """Create or replace an association between nodes that are here, or said to be elsewhere."""
    document = association.CFDocumentURI and association.CFDocumentURI.identifier
    found = await _put(
        database,
        ASSOCIATIONS,
        association,
        row(ASSOCIATIONS.name, association),
        document_identifier=document,
    )
    problems = []
    for name in ("originNodeURI", "destinationNodeURI"):
        if not found[name]:
            node = getattr(association, name).identifier
            problems.append(_unknown(f"{under}{name}.identifier", "live item or document", node))
    if not found["document_known"]:
        problems.append(_unknown(f"{under}CFDocumentURI.identifier", "document", str(document)))
    if problems:
        messages = "; ".join(f"{problem['path']}: {problem['message']}" for problem in problems)
        raise InvalidData(
            f"the association refers to what is not here: {messages}", problems=problems
        )
    if found["holder"]:
        raise Conflict(
            f"association {found['holder']!r} already relates this origin and destination "
            f"as {association.associationType}"
        )


def _unknown(path: str, kind: str, identifier: str) -> Problem:
    return Problem(path=path, message=f"no {kind} has the identifier {identifier!r}")


async def delete_association(database: Database, identifier: str) -> None:
    """Remove an association for good. Raises ``NotFound``."""
    if not await database.row(_delete_association(), identifier=identifier):
        raise NotFound(ASSOCIATIONS.name, identifier)


async def _put(
    database: Database, resource: Resource, entity: Entity, stored: Row, **values: Any
) -> asyncpg.Record:
    fields = (reference.field for reference in parts.REFERENCES.get(resource.name, ()))
    present = frozenset(field for field in fields if getattr(entity, field))
    statement = PUTS[resource.name](present)
    values["body"] = stored.body
    values["last_change_date_time"] = stored.last_change_date_time
    values["keywords"] = stored.keywords
    arguments = statement.arguments(values)
    name = f"{resource.name} {entity.identifier}"
    found = await database.write(lambda one: one.fetchrow(statement.sql, *arguments), name)
    assert found is not None
    return found


IDENTIFIER = parts.word(bindparam("body", type_=JSON), "identifier")
"""Of the entity that is put."""


def _given(*more: BindParameter[Any]) -> CTE:
    """The one row that a put is given, in the columns every source has."""
    given = (
        IDENTIFIER.label("identifier"),
        bindparam("body", type_=JSON),
        bindparam("last_change_date_time", type_=tables.Moment),
        bindparam("keywords", type_=JSON),
        *more,
    )
    ordinal: ColumnElement[int] = literal_column("0").label("ordinal")
    return select(*(one.label(one.key) for one in given), ordinal).cte("given")


def _write(
    resource: Resource,
    source: FromClause,
    *columns: str,
    document: Any = None,
    present: frozenset[str] = frozenset(),
) -> tuple[CTE, list[CTE]]:
    """Everything a put does with the row it was given, whose ``present`` fields hold links.

    Definitions come before what refers to them, and its links after it, as in an upload: whoever
    writes the same waits in the same order, so that two never wait for each other.
    """
    table = parts.table_of(resource)
    references = parts.REFERENCES.get(resource.name, ())
    registered = {
        each: recording.written(each.definitions, parts.register(source, each))
        for each in references
        if each.field in present
    }
    if registered:
        source = select(source).where(recording.after(*registered.values())).cte("ready")
    names = ("last_change_date_time", *columns)
    writes = (parts.replace(source, table, *names), parts.create(source, table, *names))
    done = recording.written(table, *writes)
    recorded = [recording.entries(done, resource.name, document)]
    recorded += [
        recording.entries(fresh, each.resource.name, None) for each, fresh in registered.items()
    ]
    moved = [recording.scopes(done, resource.name, document)]
    ctes: list[CTE] = []
    for each in references:
        name, pairs = each.resource.table, each.links
        if pairs is None:
            continue
        if each in registered:
            linked = parts.link(source, each, pairs)
            # They may be more than the body says.
            added = linked.returning(literal_column("1")).cte(f"linked_{name}")
            moved.append(select(document.label("scope")).where(recording.happened(added)))
        if not each.additive:
            # An item that links to no subject, as most do, needs no comparing.
            gone = (
                parts.unlink(source, each, pairs, of=done)
                if each in registered
                else parts.unlink_all(done, IDENTIFIER, pairs)
            )
            ctes.append(gone.cte(f"unlinked_{name}"))
    return done, [recording.record(*recorded), recording.mark(*moved, once=False), *ctes]


@cache
def _put_item_type(_: frozenset[str]) -> Statement:
    ctes = _write(ITEM_TYPES, _given())[1]
    return Statement(select(literal_column("1")).add_cte(*ctes))


@cache
def _put_document(present: frozenset[str]) -> Statement:
    package = bindparam("package", type_=Text)
    given = _given(package)
    identifier = parts.word(given.c.body, "identifier")
    claimed_by = _scalar(
        tables.packages.c.document_identifier,
        # A package is also found by its document's identifier, so both names are taken.
        or_(
            tables.packages.c.identifier.in_((given.c.package, identifier)),
            tables.packages.c.document_identifier == given.c.package,
        ),
        tables.packages.c.document_identifier != identifier,
    )
    source = select(given).where(claimed_by.is_(None)).cte("source")
    done, ctes = _write(DOCUMENTS, source, document=IDENTIFIER, present=present)
    names = select(parts.word(source.c.body, "identifier"), source.c.package)
    born = insert(tables.packages).from_select(
        ["document_identifier", "identifier"], names.where(recording.after(done))
    )
    born = born.on_conflict_do_update(
        index_elements=[tables.packages.c.document_identifier],
        set_={"identifier": born.excluded.identifier},
        where=tables.packages.c.identifier != born.excluded.identifier,
    )
    ctes.append(born.cte("born"))
    return Statement(select(claimed_by.label("claimed_by")).select_from(given).add_cte(*ctes))


@cache
def _put_item(present: frozenset[str]) -> Statement:
    document = bindparam("document_identifier", type_=Text)
    given = _given(document)
    known = _live_exists(tables.documents, given.c.document_identifier)
    source = select(given).where(known).cte("source")
    _, ctes = _write(ITEMS, source, "document_identifier", document=document, present=present)
    return Statement(select(known.label("document_known")).select_from(given).add_cte(*ctes))


@cache
def _put_association(present: frozenset[str]) -> Statement:
    document = bindparam("document_identifier", type_=Text)
    given = _given(document)
    ends = ("originNodeURI", "destinationNodeURI")
    origin, destination = (parts.word(given.c.body, end, "identifier") for end in ends)
    checked = select(
        given.c.identifier,
        given.c.body,
        given.c.last_change_date_time,
        given.c.keywords,
        given.c.ordinal,
        func.coalesce(document, _home(origin), _home(destination)).label("document_identifier"),
        *(_is_node(given.c.body, end).label(end) for end in ends),
        or_(document.is_(None), _live_exists(tables.documents, document)).label("document_known"),
        _scalar(
            tables.associations.c.identifier,
            tables.associations.c.origin_identifier == origin,
            tables.associations.c.destination_identifier == destination,
            tables.associations.c.association_type == parts.word(given.c.body, "associationType"),
            tables.associations.c.identifier != parts.word(given.c.body, "identifier"),
        ).label("holder"),
    ).cte("checked")
    checks = [checked.c[name] for name in (*ends, "document_known")]
    source = select(checked).where(*checks, checked.c.holder.is_(None)).cte("source")
    home = select(checked.c.document_identifier).scalar_subquery()
    _, ctes = _write(ASSOCIATIONS, source, "document_identifier", document=home, present=present)
    return Statement(select(*checks, checked.c.holder).add_cte(*ctes))


@cache
def _delete_association() -> Statement:
    table = tables.associations
    change = delete(table).where(table.c.identifier == bindparam("identifier", type_=Text))
    gone = recording.deleted(change, table)
    kept = recording.all_of(gone, ASSOCIATIONS, gone.c.previous)
    return Statement(select(gone.c.identifier).add_cte(*kept))


def _scalar(column: ColumnElement[Any], *conditions: ColumnElement[bool]) -> ScalarSelect[Any]:
    return select(func.min(column)).where(*conditions).scalar_subquery()


def _live_exists(table: Table, identifier: ColumnElement[Any]) -> ColumnElement[bool]:
    return exists(literal_column("1")).where(table.c.identifier == identifier, live(table))


def _home(node: ColumnElement[Any]) -> ColumnElement[Any]:
    """The document that a node belongs to, or is."""
    return func.coalesce(
        _scalar(tables.items.c.document_identifier, tables.items.c.identifier == node),
        _scalar(tables.documents.c.identifier, tables.documents.c.identifier == node),
    )


def _is_node(body: ColumnElement[Any], end: str) -> ColumnElement[bool]:
    """Whether an end is a live item or document here, or says that it lies outside CASE."""
    identifier = parts.word(body, end, "identifier")
    return or_(
        func.coalesce(parts.word(body, end, "targetType"), "CASE") != "CASE",
        _live_exists(tables.items, identifier),
        _live_exists(tables.documents, identifier),
    )


PUTS = {
    DOCUMENTS.name: _put_document,
    ITEMS.name: _put_item,
    ITEM_TYPES.name: _put_item_type,
    ASSOCIATIONS.name: _put_association,
}

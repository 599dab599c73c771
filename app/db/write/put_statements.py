"""The statements that put one entity: each checks, writes, links and records, or does nothing.

Where there is a definition to be registered, or a list of links to be compared, it is another
statement than where all that is settled, as it nearly always is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    JSON,
    BindParameter,
    ColumnElement,
    FromClause,
    ScalarSelect,
    Table,
    Text,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert

from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEM_TYPES, ITEMS, Resource
from ..read.visibility import live
from ..schema import tables
from ..schema.json_sql import json_text
from ..statement import CompiledStatement
from . import change_log, dml, package_identifiers


class LinkPlan(NamedTuple):
    """How the links of an entity to definitions are dealt with when it is put."""

    present: frozenset[str]
    """The fields that hold any."""
    settled: bool
    """Whether nothing is done about them, as all lead to what is here; else nothing is written."""


NO_LINKS = LinkPlan(frozenset(), settled=True)


def link_plans(resource: Resource, present: frozenset[str]) -> list[LinkPlan]:
    """How to put an entity whose ``present`` fields hold links, until it says it is settled.

    Nearly always it is at once, which costs less to find out than to see to.
    """
    references = dml.REFERENCES.get(resource.name, ())
    to_compare = any(each.link_table is not None and each.field in present for each in references)
    last = LinkPlan(present, settled=False)
    return [last] if to_compare or not references else [LinkPlan(present, settled=True), last]


def _settled(resource: Resource, body: ColumnElement[Any], links: LinkPlan) -> ColumnElement[bool]:
    """Whether the definitions that a body names are here, and links that it lacks were not."""
    conditions: list[ColumnElement[bool]] = [true()]
    for each in dml.REFERENCES[resource.name] if links.settled else ():
        if each.field in links.present:
            name = json_text(body, each.field, "identifier")
            conditions.append(_live_exists(each.definitions, name))
        elif each.link_table is not None and not each.keeps_old_links:
            linked = exists(literal_column("1")).where(next(iter(each.link_table.c)) == IDENTIFIER)
            conditions.append(~linked)
    return and_(*conditions)


IDENTIFIER = json_text(bindparam("body", type_=JSON), "identifier")
"""Of the entity that is put."""


def _given(*more: BindParameter[Any]) -> CTE:
    """The one row that a put is given, in the columns every source has."""
    given = (
        IDENTIFIER.label("identifier"),
        bindparam("body", type_=JSON),
        bindparam("last_change_date_time", type_=tables.TimestampTZ),
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
    links: LinkPlan = NO_LINKS,
) -> tuple[CTE, list[CTE]]:
    """Everything a put does with the row it was given.

    Definitions come before what refers to them, and its links after it: all who put the same wait
    in the same order, so that no two of them wait for each other.
    """
    table = tables.table_of(resource)
    references = () if links.settled else dml.REFERENCES.get(resource.name, ())
    registered = {
        each: change_log.classify_writes(each.definitions, dml.register_definitions(source, each))
        for each in references
        if each.field in links.present
    }
    if registered:
        source = select(source).where(change_log.run_after(*registered.values())).cte("ready")
    names = ("last_change_date_time", *columns)
    writes = (dml.update_changed(source, table, *names), dml.insert_missing(source, table, *names))
    done = change_log.classify_writes(table, *writes)
    recorded = [change_log.select_changes(done, resource.name, document)]
    recorded += [
        change_log.select_changes(fresh, each.resource.name, None)
        for each, fresh in registered.items()
    ]
    moved = [change_log.select_touched_scopes(done, resource.name, document)]
    moved += [
        change_log.select_touched_scopes(fresh, each.resource.name, None)
        for each, fresh in registered.items()
    ]
    linked, unlinked = _relink(references, registered, source, done)
    # They may be more than the body says.
    moved += [select(document.label("scope")).where(change_log.any_row(one)) for one in linked]
    return done, [
        change_log.insert_changes(*recorded),
        change_log.bump_revisions(*moved, once=False),
        *unlinked,
    ]


def _relink(
    references: Iterable[dml.Reference],
    registered: Collection[dml.Reference],
    source: FromClause,
    done: CTE,
) -> tuple[list[CTE], list[CTE]]:
    """The links that are added, and those that go: of what is in lists, and is not settled."""
    # Whoever did not write the row does not know what it links to by now.
    own = select(source).where(source.c.identifier.in_(select(done.c.identifier))).cte("own")
    linked: list[CTE] = []
    unlinked: list[CTE] = []
    for each in references:
        name, pairs = each.resource.table, each.link_table
        if pairs is None:
            continue
        if each in registered:
            more = dml.insert_links(source if each.keeps_old_links else own, each, pairs)
            linked.append(more.returning(literal_column("1")).cte(f"linked_{name}"))
        if not each.keeps_old_links:
            # An item that links to no subject, as most do, needs no comparing.
            gone = (
                dml.delete_stale_links(own, each, pairs)
                if each in registered
                else dml.delete_all_links(done, IDENTIFIER, pairs)
            )
            unlinked.append(gone.cte(f"unlinked_{name}"))
    return linked, unlinked


@cache
def _put_item_type(_: LinkPlan) -> CompiledStatement:
    ctes = _write(ITEM_TYPES, _given())[1]
    return CompiledStatement(select(true().label("settled")).add_cte(*ctes))


@cache
def _put_document(links: LinkPlan) -> CompiledStatement:
    package = bindparam("package", type_=Text)
    given = _given(package)
    identifier = json_text(given.c.body, "identifier")
    claimed_by = _scalar(
        tables.packages.c.document_identifier,
        # A package is also found by its document's identifier, so both names are taken.
        or_(
            tables.packages.c.identifier.in_((given.c.package, identifier)),
            tables.packages.c.document_identifier == given.c.package,
        ),
        tables.packages.c.document_identifier != identifier,
        ~package_identifiers.has_deleted_document(tables.packages),
    )
    settled = _settled(DOCUMENTS, given.c.body, links)
    source = select(given).where(claimed_by.is_(None), settled).cte("source")
    done, ctes = _write(DOCUMENTS, source, document=IDENTIFIER, links=links)
    names = select(json_text(source.c.body, "identifier"), source.c.package)
    wanted = (select(source.c.package).scalar_subquery(), IDENTIFIER)
    gave_up = package_identifiers.release_identifiers(*wanted, keeper=IDENTIFIER)
    born = insert(tables.packages).from_select(
        ["document_identifier", "identifier"], names.where(change_log.run_after(done, gave_up))
    )
    born = born.on_conflict_do_update(
        index_elements=[tables.packages.c.document_identifier],
        set_={"identifier": born.excluded.identifier},
        where=tables.packages.c.identifier != born.excluded.identifier,
    )
    ctes.append(born.cte("born"))
    told = select(claimed_by.label("claimed_by"), settled.label("settled"))
    return CompiledStatement(told.select_from(given).add_cte(*ctes))


@cache
def _put_item(links: LinkPlan) -> CompiledStatement:
    document = bindparam("document_identifier", type_=Text)
    given = _given(document)
    known = _live_exists(tables.documents, given.c.document_identifier).label("document_known")
    settled = _settled(ITEMS, given.c.body, links).label("settled")
    checked = select(given, known, settled).cte("checked")
    checks = (checked.c.document_known, checked.c.settled)
    source = select(checked).where(*checks).cte("source")
    _, ctes = _write(ITEMS, source, "document_identifier", document=document, links=links)
    return CompiledStatement(select(*checks).add_cte(*ctes))


@cache
def _put_association(links: LinkPlan) -> CompiledStatement:
    document = bindparam("document_identifier", type_=Text)
    given = _given(document)
    ends = ("originNodeURI", "destinationNodeURI")
    origin, destination = (json_text(given.c.body, end, "identifier") for end in ends)
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
            tables.associations.c.association_type == json_text(given.c.body, "associationType"),
            tables.associations.c.identifier != json_text(given.c.body, "identifier"),
        ).label("holder"),
        _settled(ASSOCIATIONS, given.c.body, links).label("settled"),
    ).cte("checked")
    checks = [checked.c[name] for name in (*ends, "document_known", "settled")]
    source = select(checked).where(*checks, checked.c.holder.is_(None)).cte("source")
    home = select(checked.c.document_identifier).scalar_subquery()
    _, ctes = _write(ASSOCIATIONS, source, "document_identifier", document=home, links=links)
    return CompiledStatement(select(*checks, checked.c.holder).add_cte(*ctes))


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


ENDS = {
    "originNodeURI": tables.associations.c.origin_identifier,
    "destinationNodeURI": tables.associations.c.destination_identifier,
}


def _is_node(body: ColumnElement[Any], end: str) -> ColumnElement[bool]:
    """Whether an end is a live item or document here, lies outside CASE, or is the stored one."""
    identifier = json_text(body, end, "identifier")
    return or_(
        func.coalesce(json_text(body, end, "targetType"), "CASE") != "CASE",
        _live_exists(tables.items, identifier),
        _live_exists(tables.documents, identifier),
        # A package may hold an association to a node elsewhere, which can be put again as it is.
        exists(literal_column("1")).where(
            tables.associations.c.identifier == IDENTIFIER, ENDS[end] == identifier
        ),
    )


PUT_STATEMENTS: dict[str, Callable[[LinkPlan], CompiledStatement]] = {
    DOCUMENTS.name: _put_document,
    ITEMS.name: _put_item,
    ITEM_TYPES.name: _put_item_type,
    ASSOCIATIONS.name: _put_association,
}
"""What puts an entity of each kind, given how its links are dealt with: a row that says so in
``settled``, and whatever keeps it from being written."""

"""SQL statements that write a single entity: check, write, link and log in one round trip.

Registering definitions and comparing lists of links makes a statement slower, and nearly always
there is nothing to register. So there are two statements for each kind of entity: one assumes that
all links are resolved and writes nothing if they are not, the other resolves them. The first alone
takes 3.3 ms and the second 4.0 ms for one client, 2.8 and 4.1 ms for eight (medians of five rounds,
with fsync).
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
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert

from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEM_TYPES, ITEMS, ResourceType
from ..read.visibility import is_live
from ..schema import tables
from ..schema.expressions import exists_where, json_text
from ..statement import CompiledStatement
from . import change_log, dml, package_identifiers


class LinkPlan(NamedTuple):
    """How a PUT statement treats links to definitions: it only checks or also creates these.

    Only checking is faster, and nearly always enough.
    """

    present: frozenset[str]
    """The fields that contain links."""
    assumes_resolved: bool
    """Whether the statement only checks the links, and writes nothing unless they are resolved.

    Links are resolved if all definitions exist and no link has to be deleted."""


NO_LINKS = LinkPlan(frozenset(), assumes_resolved=True)

IDENTIFIER = json_text(bindparam("body", type_=JSON), "identifier")
"""The identifier of the entity that is put."""

NODE_COLUMNS = {
    "originNodeURI": tables.associations.c.origin_identifier,
    "destinationNodeURI": tables.associations.c.destination_identifier,
}


def choose_link_plans(resource: ResourceType, present: frozenset[str]) -> list[LinkPlan]:
    """Return the plans to try, fastest first, until a PUT statement reports ``links_resolved``.

    ``present`` are the fields with links. Lists of links always need the plan that creates
    definitions.
    """
    references = dml.REFERENCES.get(resource.name, ())
    has_list = any(each.link_table is not None and each.field in present for each in references)
    full = LinkPlan(present, assumes_resolved=False)
    if has_list or not references:
        return [full]
    return [LinkPlan(present, assumes_resolved=True), full]


def _are_links_resolved(
    resource: ResourceType, body: ColumnElement[Any], plan: LinkPlan
) -> ColumnElement[bool]:
    """Build the condition that all links that a plan only checks lead to existing definitions."""
    conditions: list[ColumnElement[bool]] = [true()]
    for reference in dml.REFERENCES[resource.name] if plan.assumes_resolved else ():
        if reference.field in plan.present:
            definition = json_text(body, reference.field, "identifier")
            conditions.append(_live_row_exists(reference.definitions, definition))
        elif reference.link_table is not None and not reference.keeps_old_links:
            owner = next(iter(reference.link_table.c))
            conditions.append(~exists_where(owner == IDENTIFIER))
    return and_(*conditions)


def _build_input_row(*parameters: BindParameter[Any]) -> CTE:
    """Build a CTE whose only row holds the parameters of a PUT statement, such as the body."""
    columns = (
        IDENTIFIER.label("identifier"),
        bindparam("body", type_=JSON),
        bindparam("last_change_date_time", type_=tables.TimestampTZ),
        bindparam("keywords", type_=JSON),
        *parameters,
    )
    ordinal: ColumnElement[int] = literal_column("0").label("ordinal")
    return select(*(column.label(column.key) for column in columns), ordinal).cte("input")


def _build_write(
    resource: ResourceType,
    source: FromClause,
    *columns: str,
    document: Any = None,
    plan: LinkPlan = NO_LINKS,
) -> tuple[CTE, list[CTE]]:
    """Return the CTE that writes the row of ``source``, and all other CTEs of the PUT.

    1. Register the definitions that the row links to, unless the plan assumes that they exist.
    2. Update the row if it exists and differs, insert it if it does not.
    3. Insert and delete links.
    4. Log the changes of 1 and 2, increment the revisions that 1 to 3 concern, and count items.

    All writers take these steps in this order, so that no two of them can deadlock.
    """
    table = tables.get_table(resource)
    references = () if plan.assumes_resolved else dml.REFERENCES.get(resource.name, ())
    registered = {
        reference: change_log.classify_writes(
            reference.definitions, dml.register_definitions(source, reference)
        )
        for reference in references
        if reference.field in plan.present
    }
    if registered:
        source = (
            select(source)
            .where(change_log.wait_for_ctes(*registered.values()))
            .cte("after_register")
        )
    names = ("last_change_date_time", *columns)
    written = change_log.classify_writes(
        table, dml.update_changed(source, table, *names), dml.insert_missing(source, table, *names)
    )
    linked, unlinked = _build_link_writes(references, registered, source, written)

    logged = [(written, resource.name, document)]
    logged += [(cte, each.resource.name, None) for each, cte in registered.items()]
    scopes = [change_log.select_touched_scopes(*arguments) for arguments in logged]
    # Links are shown in the package even if the body did not change.
    scopes += [select(document.label("scope")).where(change_log.has_rows(cte)) for cte in linked]
    return written, [
        change_log.insert_changes(*(change_log.select_changes(*each) for each in logged)),
        change_log.increment_revisions(*scopes, distinct=False),
        *([change_log.log_item_counts(written, document)] if resource is ITEMS else ()),
        *unlinked,
    ]


def _build_link_writes(
    references: Iterable[dml.Reference],
    registered: Collection[dml.Reference],
    source: FromClause,
    written: CTE,
) -> tuple[list[CTE], list[CTE]]:
    """Return the CTEs that insert links into link tables, and the CTEs that delete links.

    Links are compared only if the row was written, because another transaction may have changed the
    links of an unchanged row meanwhile. Keywords are always added, and never deleted.
    """
    own = select(source).where(source.c.identifier.in_(select(written.c.identifier))).cte("own")
    linked: list[CTE] = []
    unlinked: list[CTE] = []
    for reference in references:
        name, table = reference.resource.table, reference.link_table
        if table is None:
            continue
        is_present = reference in registered
        if is_present:
            insertion = dml.insert_links(
                source if reference.keeps_old_links else own, reference, table
            )
            linked.append(insertion.returning(literal_column("1")).cte(f"linked_{name}"))
        if not reference.keeps_old_links:
            # Most items link to no subject and need no comparison.
            deletion = (
                dml.delete_stale_links(own, reference, table)
                if is_present
                else dml.delete_all_links(written, IDENTIFIER, table)
            )
            unlinked.append(deletion.cte(f"unlinked_{name}"))
    return linked, unlinked


@cache
def _compile_put_item_type(_: LinkPlan) -> CompiledStatement:
    ctes = _build_write(ITEM_TYPES, _build_input_row())[1]
    checks = select(true().label("links_resolved"))
    return CompiledStatement(checks.add_cte(*ctes), has_generic_plan=True)


@cache
def _compile_put_document(plan: LinkPlan) -> CompiledStatement:
    """Compile a SQL statement that writes a document and its package.

    It writes nothing if another live document or package has one of their identifiers.
    """
    package = bindparam("package", type_=Text)
    row = _build_input_row(package)
    identifier = json_text(row.c.body, "identifier")
    claimed_by = _select_min(
        tables.packages.c.document_identifier,
        # A package can be requested by the identifier of its document too, so both are checked.
        or_(
            tables.packages.c.identifier.in_((row.c.package, identifier)),
            tables.packages.c.document_identifier == row.c.package,
        ),
        tables.packages.c.document_identifier != identifier,
        ~package_identifiers.has_deleted_document(tables.packages),
    )
    links_resolved = _are_links_resolved(DOCUMENTS, row.c.body, plan)
    source = select(row).where(claimed_by.is_(None), links_resolved).cte("source")
    written, ctes = _build_write(DOCUMENTS, source, document=IDENTIFIER, plan=plan)
    ctes.append(_build_package_write(source, written))
    checks = select(claimed_by.label("claimed_by"), links_resolved.label("links_resolved"))
    return CompiledStatement(checks.select_from(row).add_cte(*ctes), has_generic_plan=True)


def _build_package_write(source: CTE, written: CTE) -> CTE:
    """Build a CTE that inserts the package of a document, or changes the package's identifier."""
    table = tables.packages
    wanted = (select(source.c.package).scalar_subquery(), IDENTIFIER)
    released = package_identifiers.release_identifiers(*wanted, new_owner=IDENTIFIER)
    row = select(json_text(source.c.body, "identifier"), source.c.package)
    statement = insert(table).from_select(
        ["document_identifier", "identifier"],
        row.where(change_log.wait_for_ctes(written, released)),
    )
    return statement.on_conflict_do_update(
        index_elements=[table.c.document_identifier],
        set_={"identifier": statement.excluded.identifier},
        where=table.c.identifier != statement.excluded.identifier,
    ).cte("package_written")


@cache
def _compile_put_item(plan: LinkPlan) -> CompiledStatement:
    document = bindparam("document_identifier", type_=Text)
    row = _build_input_row(document)
    document_exists = _live_row_exists(tables.documents, row.c.document_identifier)
    checked = select(
        row,
        document_exists.label("document_exists"),
        _are_links_resolved(ITEMS, row.c.body, plan).label("links_resolved"),
    ).cte("checked")
    checks = (checked.c.document_exists, checked.c.links_resolved)
    source = select(checked).where(*checks).cte("source")
    _, ctes = _build_write(ITEMS, source, "document_identifier", document=document, plan=plan)
    return CompiledStatement(select(*checks).add_cte(*ctes), has_generic_plan=True)


@cache
def _compile_put_association(plan: LinkPlan) -> CompiledStatement:
    """Compile a SQL statement that writes an association if its ends and its document exist.

    It writes nothing if another association has the same origin, destination and type. Without a
    CFDocumentURI, the association belongs to the document of its origin, else of its destination.
    """
    document = bindparam("document_identifier", type_=Text)
    row = _build_input_row(document)
    associations, ends = tables.associations, tuple(NODE_COLUMNS)
    origin, destination = (json_text(row.c.body, end, "identifier") for end in ends)
    home = func.coalesce(
        document, _select_document_of_node(origin), _select_document_of_node(destination)
    )
    document_exists = or_(document.is_(None), _live_row_exists(tables.documents, document))
    duplicate = _select_min(
        associations.c.identifier,
        associations.c.origin_identifier == origin,
        associations.c.destination_identifier == destination,
        associations.c.association_type == json_text(row.c.body, "associationType"),
        associations.c.identifier != json_text(row.c.body, "identifier"),
    )
    checked = select(
        row.c.identifier,
        row.c.body,
        row.c.last_change_date_time,
        row.c.keywords,
        row.c.ordinal,
        home.label("document_identifier"),
        *(_is_valid_node(row.c.body, end).label(end) for end in ends),
        document_exists.label("document_exists"),
        duplicate.label("duplicate"),
        _are_links_resolved(ASSOCIATIONS, row.c.body, plan).label("links_resolved"),
    ).cte("checked")
    checks = [checked.c[name] for name in (*ends, "document_exists", "links_resolved")]
    source = select(checked).where(*checks, checked.c.duplicate.is_(None)).cte("source")
    stored_home = select(checked.c.document_identifier).scalar_subquery()
    _, ctes = _build_write(
        ASSOCIATIONS, source, "document_identifier", document=stored_home, plan=plan
    )
    row_of_checks = select(*checks, checked.c.duplicate)
    return CompiledStatement(row_of_checks.add_cte(*ctes), has_generic_plan=True)


def _select_min(column: ColumnElement[Any], *conditions: ColumnElement[bool]) -> ScalarSelect[Any]:
    return select(func.min(column)).where(*conditions).scalar_subquery()


def _live_row_exists(table: Table, identifier: ColumnElement[Any]) -> ColumnElement[bool]:
    return exists_where(table.c.identifier == identifier, is_live(table))


def _select_document_of_node(node: ColumnElement[Any]) -> ColumnElement[Any]:
    """Build the SQL for the document of an item; for a document, that is the document itself."""
    return func.coalesce(
        _select_min(tables.items.c.document_identifier, tables.items.c.identifier == node),
        _select_min(tables.documents.c.identifier, tables.documents.c.identifier == node),
    )


def _is_valid_node(body: ColumnElement[Any], end: str) -> ColumnElement[bool]:
    """Build the condition that an association may be stored with its origin or destination.

    ``end`` is the field of either. The item or document there must be live, of another type than
    CASE, or the same as in the stored association.
    """
    identifier = json_text(body, end, "identifier")
    return or_(
        func.coalesce(json_text(body, end, "targetType"), "CASE") != "CASE",
        _live_row_exists(tables.items, identifier),
        _live_row_exists(tables.documents, identifier),
        # An association to another server's node, from a package, can be put again as it is.
        exists_where(
            tables.associations.c.identifier == IDENTIFIER, NODE_COLUMNS[end] == identifier
        ),
    )


PUT_STATEMENTS: dict[str, Callable[[LinkPlan], CompiledStatement]] = {
    DOCUMENTS.name: _compile_put_document,
    ITEMS.name: _compile_put_item,
    ITEM_TYPES.name: _compile_put_item_type,
    ASSOCIATIONS.name: _compile_put_association,
}
"""The statement of each kind of entity, by the plan for its links.

It returns one row with ``links_resolved`` and with what prevented the write, if anything did."""

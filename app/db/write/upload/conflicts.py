"""Find conflicts of an uploaded package with entities and identifiers of other documents."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    func,
    literal,
    select,
    union_all,
)

from ....case.resources import ASSOCIATIONS, ITEMS, RUBRICS, ResourceType
from ....exceptions import Problem
from ...read.visibility import build_live_condition
from ...schema import tables
from ...schema.expressions import DOCUMENT, build_text_extract
from ...statement import CompiledStatement
from .. import package_identifiers
from .staging import CRITERION, LEVEL, STAGED

LIST_ORDER = ("CFItems", "CFAssociations", "CFRubrics", CRITERION, LEVEL)


def convert_conflicts_to_problems(conflicts: list[Any]) -> list[Problem]:
    """Convert rows of ``compile_conflict_query`` to ``Problem`` objects for the 409 response.

    The problems are in the order of the entities in the package: items, associations, then rubrics.
    """
    ordered = sorted(conflicts, key=lambda row: _get_position(row["path"]))
    return [Problem(path=row["path"], message=row["message"]) for row in ordered]


def _get_position(path: str) -> tuple[int, int]:
    name, _, index = path.partition("[")
    list_position = LIST_ORDER.index(name) if name in LIST_ORDER else len(LIST_ORDER)
    return list_position, int(index.rstrip("]") or 0)


@cache
def compile_conflict_query(*, is_new_package: bool = False) -> CompiledStatement:
    """Compile the query for conflicts between the staged package and other documents.

    An entity or the package identifier may already belong to another document, or an association
    may have the same origin, destination and type as that of another document. With
    ``is_new_package``, items and associations are left out, because they are not staged, and
    inserting an existing one fails with a unique violation. Each row is (path, message); ``path``
    is the path in the package, such as "CFItems[3]".
    """
    queries = [
        _build_entity_conflict_query(RUBRICS),
        _build_rubric_part_conflict_query(CRITERION, tables.rubric_criteria),
        _build_rubric_part_conflict_query(LEVEL, tables.rubric_criterion_levels),
        _build_package_identifier_conflict_query(),
    ]
    if not is_new_package:
        queries = [
            _build_entity_conflict_query(ITEMS),
            _build_entity_conflict_query(ASSOCIATIONS),
            _build_duplicate_association_query(),
            *queries,
        ]
    return CompiledStatement(union_all(*queries))


def _build_conflict_query(
    path: ColumnElement[str], message: str, *values: ColumnElement[Any]
) -> Select[Any]:
    return select(path.label("path"), func.format(literal(message), *values).label("message"))


def _build_list_path(collection: str) -> ColumnElement[str]:
    return func.format(literal(f"{collection}[%s]"), STAGED.c.position)


def _build_entity_conflict_query(resource: ResourceType) -> Select[Any]:
    table = tables.get_table(resource)
    document = func.coalesce(table.c.document_identifier, literal("none"))
    message = f"{resource.name} %s belongs to document %s"
    path = _build_list_path(resource.collection)
    return (
        _build_conflict_query(path, message, table.c.identifier, document)
        .join_from(STAGED, table, STAGED.c.identifier == table.c.identifier)
        .where(STAGED.c.kind == literal(resource.name), STAGED.c.body.is_not(None))
        .where(build_live_condition(table))
        .where(table.c.document_identifier.is_distinct_from(DOCUMENT))
    )


def _build_rubric_part_conflict_query(kind: str, table: Table) -> Select[Any]:
    """Build the query for staged criteria or levels that exist in another document's rubric.

    ``kind`` is ``CRITERION`` or ``LEVEL``, and ``table`` its table. Each row is (path, message),
    such as ``CFRubricCriterion[3]`` and "CFRubricCriterion X belongs to rubric Y of document Z".
    """
    rubrics, criteria = tables.rubrics, tables.rubric_criteria
    rows = _build_conflict_query(
        _build_list_path(kind),
        f"{kind} %s belongs to rubric %s of document %s",
        table.c.identifier,
        rubrics.c.identifier,
        rubrics.c.document_identifier,
    ).join_from(STAGED, table, STAGED.c.identifier == table.c.identifier)
    if table is not criteria:
        rows = rows.join(criteria, table.c.criterion_identifier == criteria.c.identifier)
    return rows.join(rubrics, criteria.c.rubric_identifier == rubrics.c.identifier).where(
        STAGED.c.kind == literal(kind),
        rubrics.c.document_identifier != DOCUMENT,
        build_live_condition(rubrics),
    )


def _build_duplicate_association_query() -> Select[Any]:
    table, body = tables.associations, STAGED.c.body
    is_duplicate = and_(
        table.c.origin_identifier == build_text_extract(body, "originNodeURI", "identifier"),
        table.c.destination_identifier
        == build_text_extract(body, "destinationNodeURI", "identifier"),
        table.c.association_type == build_text_extract(body, "associationType"),
        table.c.identifier != STAGED.c.identifier,
        table.c.document_identifier.is_distinct_from(DOCUMENT),
    )
    return (
        _build_conflict_query(
            _build_list_path(ASSOCIATIONS.collection),
            "CFAssociation %s has the origin, destination and type of %s of document %s",
            STAGED.c.identifier,
            table.c.identifier,
            func.coalesce(table.c.document_identifier, literal("none")),
        )
        .join_from(STAGED, table, is_duplicate)
        .where(STAGED.c.kind == literal(ASSOCIATIONS.name), body.is_not(None))
    )


def _build_package_identifier_conflict_query() -> Select[Any]:
    table, identifier = tables.packages, bindparam("package_identifier", type_=Text)
    return _build_conflict_query(
        literal("CFDocument.CFPackageURI.identifier"),
        package_identifiers.CONFLICT_MESSAGE,
        identifier,
        table.c.document_identifier,
    ).where(
        *package_identifiers.build_identifier_conflict_conditions(
            table, identifier, document=DOCUMENT
        )
    )

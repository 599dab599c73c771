"""Find conflicts of an uploaded package with the entities and identifiers of other documents."""

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
    or_,
    select,
    union_all,
)

from ...case.resources import ASSOCIATIONS, ITEMS, RUBRICS, ResourceType
from ...exceptions import Problem
from ..read.visibility import is_live
from ..schema import tables
from ..schema.expressions import json_text
from ..statement import CompiledStatement
from . import package_identifiers
from .staging import DOCUMENT, STAGED

LIST_ORDER = (
    "CFItems",
    "CFAssociations",
    "CFRubrics",
    "CFRubricCriterion",
    "CFRubricCriterionLevel",
)


def convert_to_problems(rows: list[Any]) -> list[Problem]:
    """Convert rows (path, message) of ``select_conflicts`` to the problems in the 409 response.

    They are sorted as in the package.
    """
    ordered = sorted(rows, key=lambda row: _position(row["path"]))
    return [Problem(path=row["path"], message=row["message"]) for row in ordered]


def _position(path: str) -> tuple[int, int]:
    name, _, index = path.partition("[")
    list_position = LIST_ORDER.index(name) if name in LIST_ORDER else len(LIST_ORDER)
    return list_position, int(index.rstrip("]") or 0)


@cache
def select_conflicts() -> CompiledStatement:
    """Compile the query for entities of an upload that conflict with other documents.

    A conflict is an entity, a relation or a package identifier that another document has already.
    The upload is read from the staging table. Rows of (path, message).
    """
    selects = (
        _select_owned_elsewhere(ITEMS),
        _select_owned_elsewhere(ASSOCIATIONS),
        _select_duplicate_relations(),
    )
    return CompiledStatement(union_all(*selects, *_rubric_and_package_conflicts()))


@cache
def select_conflicts_of_new_package() -> CompiledStatement:
    """Compile the query for the conflicts of a new package that its insertion does not detect.

    Conflicts of its items and associations have already raised a unique violation.
    """
    return CompiledStatement(union_all(*_rubric_and_package_conflicts()))


def _rubric_and_package_conflicts() -> list[Select[Any]]:
    return [
        _select_owned_elsewhere(RUBRICS),
        _select_parts_owned_elsewhere("CFRubricCriterion", tables.rubric_criteria),
        _select_parts_owned_elsewhere("CFRubricCriterionLevel", tables.rubric_criterion_levels),
        _select_taken_package_identifier(),
    ]


def _conflict(path: ColumnElement[str], message: str, *values: ColumnElement[Any]) -> Select[Any]:
    return select(path.label("path"), func.format(literal(message), *values).label("message"))


def _list_path(collection: str) -> ColumnElement[str]:
    return func.format(literal(f"{collection}[%s]"), STAGED.c.place)


def _select_owned_elsewhere(resource: ResourceType) -> Select[Any]:
    """Select the entities of an upload that are live entities of another document."""
    table = tables.get_table(resource)
    document = func.coalesce(table.c.document_identifier, literal("none"))
    message = f"{resource.name} %s belongs to document %s"
    return (
        _conflict(_list_path(resource.collection), message, table.c.identifier, document)
        .join_from(STAGED, table, STAGED.c.identifier == table.c.identifier)
        .where(STAGED.c.kind == literal(resource.name), STAGED.c.body.is_not(None), is_live(table))
        .where(table.c.document_identifier.is_distinct_from(DOCUMENT))
    )


def _select_parts_owned_elsewhere(kind: str, table: Table) -> Select[Any]:
    """Select the criteria or levels of an upload that another document's rubric contains."""
    rubrics, criteria = tables.rubrics, tables.rubric_criteria
    rows = _conflict(
        _list_path(kind),
        f"{kind} %s belongs to rubric %s of document %s",
        table.c.identifier,
        rubrics.c.identifier,
        rubrics.c.document_identifier,
    ).join_from(STAGED, table, STAGED.c.identifier == table.c.identifier)
    if table is not criteria:
        rows = rows.join(criteria, table.c.criterion_identifier == criteria.c.identifier)
    return rows.join(rubrics, criteria.c.rubric_identifier == rubrics.c.identifier).where(
        STAGED.c.kind == literal(kind), rubrics.c.document_identifier != DOCUMENT, is_live(rubrics)
    )


def _select_duplicate_relations() -> Select[Any]:
    """Select the associations of an upload that duplicate one of another document.

    They have the same origin, destination and type.
    """
    table, body = tables.associations, STAGED.c.body
    is_duplicate = and_(
        table.c.origin_identifier == json_text(body, "originNodeURI", "identifier"),
        table.c.destination_identifier == json_text(body, "destinationNodeURI", "identifier"),
        table.c.association_type == json_text(body, "associationType"),
        table.c.identifier != STAGED.c.identifier,
        table.c.document_identifier.is_distinct_from(DOCUMENT),
    )
    return (
        _conflict(
            _list_path(ASSOCIATIONS.collection),
            "CFAssociation %s has the origin, destination and type of %s of document %s",
            STAGED.c.identifier,
            table.c.identifier,
            func.coalesce(table.c.document_identifier, literal("none")),
        )
        .join_from(STAGED, table, is_duplicate)
        .where(STAGED.c.kind == literal(ASSOCIATIONS.name), body.is_not(None))
    )


def _select_taken_package_identifier() -> Select[Any]:
    """Select another live document that already has an identifier of the uploaded package.

    This may be the identifier of the package or of its document; packages and documents share one
    set of identifiers.
    """
    table, identifier = tables.packages, bindparam("package_identifier", type_=Text)
    return _conflict(
        literal("CFDocument.CFPackageURI.identifier"),
        "the package identifier %s, or the identifier of its document, belongs to the package of "
        "document %s: give this package another identifier, or delete that document first",
        identifier,
        table.c.document_identifier,
    ).where(
        or_(
            table.c.identifier.in_((identifier, DOCUMENT)),
            table.c.document_identifier == identifier,
        ),
        table.c.document_identifier != DOCUMENT,
        ~package_identifiers.has_deleted_document(table),
    )

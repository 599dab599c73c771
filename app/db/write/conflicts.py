"""What an upload must not take: entities, triples and names that belong to another document."""

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

from ...case.resources import ASSOCIATIONS, ITEMS, RUBRICS, Resource
from ...exceptions import Problem
from ..read.visibility import live
from ..schema import tables
from ..schema.json_sql import json_text
from ..statement import CompiledStatement
from . import package_identifiers
from .staging import DOCUMENT, STAGED


def problems(found: list[Any]) -> list[Problem]:
    """The rows of ``conflicts()``, as a client is told of them: in the order of the upload."""
    rows = sorted(found, key=lambda row: _place_of(row["path"]))
    return [Problem(path=row["path"], message=row["message"]) for row in rows]


ORDER = ("CFItems", "CFAssociations", "CFRubrics", "CFRubricCriterion", "CFRubricCriterionLevel")


def _place_of(path: str) -> tuple[int, int]:
    name, _, index = path.partition("[")
    return ORDER.index(name) if name in ORDER else len(ORDER), int(index.rstrip("]") or 0)


@cache
def conflicts() -> CompiledStatement:
    """Rows (path, message): what the upload holds that belongs elsewhere."""
    several = (_elsewhere(ITEMS), _elsewhere(ASSOCIATIONS), _taken_triples())
    return CompiledStatement(union_all(*several, *_of_others()))


@cache
def conflicts_of_new() -> CompiledStatement:
    """As ``conflicts()``, of what was not written yet when that fails which is not new."""
    return CompiledStatement(union_all(*_of_others()))


def _of_others() -> list[Select[Any]]:
    return [
        _elsewhere(RUBRICS),
        _elsewhere_part("CFRubricCriterion", tables.rubric_criteria),
        _elsewhere_part("CFRubricCriterionLevel", tables.rubric_criterion_levels),
        _taken_package(),
    ]


def _conflict(path: ColumnElement[str], message: str, *values: ColumnElement[Any]) -> Select[Any]:
    return select(path.label("path"), func.format(literal(message), *values).label("message"))


def _place(plural: str) -> ColumnElement[str]:
    return func.format(literal(f"{plural}[%s]"), STAGED.c.place)


def _elsewhere(resource: Resource) -> Select[Any]:
    """Entities that belong to another document."""
    table = tables.table_of(resource)
    home = func.coalesce(table.c.document_identifier, literal("none"))
    message = f"{resource.name} %s belongs to document %s"
    return (
        _conflict(_place(resource.plural), message, table.c.identifier, home)
        .join_from(STAGED, table, STAGED.c.identifier == table.c.identifier)
        .where(STAGED.c.kind == literal(resource.name), STAGED.c.body.is_not(None), live(table))
        .where(table.c.document_identifier.is_distinct_from(DOCUMENT))
    )


def _elsewhere_part(kind: str, table: Table) -> Select[Any]:
    """Parts of a rubric that belong to a rubric of another document."""
    rubrics, criteria = tables.rubrics, tables.rubric_criteria
    found = _conflict(
        _place(kind),
        f"{kind} %s belongs to rubric %s of document %s",
        table.c.identifier,
        rubrics.c.identifier,
        rubrics.c.document_identifier,
    ).join_from(STAGED, table, STAGED.c.identifier == table.c.identifier)
    if table is not criteria:
        found = found.join(criteria, table.c.criterion_identifier == criteria.c.identifier)
    return found.join(rubrics, criteria.c.rubric_identifier == rubrics.c.identifier).where(
        STAGED.c.kind == literal(kind),
        rubrics.c.document_identifier != DOCUMENT,
        live(rubrics),
    )


def _taken_triples() -> Select[Any]:
    """Associations whose origin, destination and type another document relates already."""
    table = tables.associations
    same = and_(
        table.c.origin_identifier == json_text(STAGED.c.body, "originNodeURI", "identifier"),
        table.c.destination_identifier
        == json_text(STAGED.c.body, "destinationNodeURI", "identifier"),
        table.c.association_type == json_text(STAGED.c.body, "associationType"),
        table.c.identifier != STAGED.c.identifier,
        table.c.document_identifier.is_distinct_from(DOCUMENT),
    )
    return (
        _conflict(
            _place(ASSOCIATIONS.plural),
            "CFAssociation %s has the origin, destination and type of %s of document %s",
            STAGED.c.identifier,
            table.c.identifier,
            func.coalesce(table.c.document_identifier, literal("none")),
        )
        .join_from(STAGED, table, same)
        .where(STAGED.c.kind == literal(ASSOCIATIONS.name), STAGED.c.body.is_not(None))
    )


def _taken_package() -> Select[Any]:
    """A package name that another live document has, as its package's or as its own."""
    table, name = tables.packages, bindparam("package_identifier", type_=Text)
    return _conflict(
        literal("CFDocument.CFPackageURI.identifier"),
        "the package identifier %s, or the identifier of its document, belongs to the package of "
        "document %s: give this package another identifier, or delete that document first",
        name,
        table.c.document_identifier,
    ).where(
        or_(table.c.identifier.in_((name, DOCUMENT)), table.c.document_identifier == name),
        table.c.document_identifier != DOCUMENT,
        ~package_identifiers.has_deleted_document(table),
    )

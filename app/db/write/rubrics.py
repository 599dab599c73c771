"""Rubrics with their criteria and levels, written as one: a part's change is its rubric's."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import CTE, Table, Text, cast, delete, literal, or_, select, union_all
from sqlalchemy.dialects.postgresql import insert

from ...case.resources import RUBRICS
from ..schema import tables
from ..statement import CompiledStatement
from . import change_log, dml
from .staging import DOCUMENT, STAGED, identifiers_of, source_of


@cache
def write_rubrics() -> CompiledStatement:
    """Make the rubrics of the document those that are staged."""
    rubrics, criteria, levels = (
        tables.rubrics,
        tables.rubric_criteria,
        tables.rubric_criterion_levels,
    )
    columns = ("ordinal", "last_change_date_time", "document_identifier")
    source = source_of(RUBRICS.name)
    written = change_log.classify_writes(rubrics, dml.upsert_rows(source, rubrics, *columns))
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
    return change_log.count_by_operation(
        done, RUBRICS.name, *change_log.log_and_bump(done, RUBRICS, DOCUMENT)
    )


def _children(kind: str, table: Table, parent_kind: str) -> tuple[CTE, CTE]:
    """Write the parts of a kind and remove those their parents no longer have."""
    column = next(name.name for name in table.c if name.foreign_keys)
    names = ("ordinal", "body", column)
    rows = select(STAGED.c.ordinal, STAGED.c.body, STAGED.c.parent).where(
        STAGED.c.kind == literal(kind)
    )
    fresh = insert(table).from_select([*names], rows.order_by(STAGED.c.identifier))
    given: dict[str, Any] = {name: fresh.excluded[name] for name in names}
    differs = or_(
        cast(table.c.body, Text) != cast(fresh.excluded.body, Text),
        table.c[column] != fresh.excluded[column],
        table.c.ordinal != fresh.excluded.ordinal,
    )
    write = fresh.on_conflict_do_update(
        index_elements=[table.c.identifier], set_=given, where=differs
    )
    remove = delete(table).where(
        table.c[column].in_(identifiers_of(parent_kind)),
        table.c.identifier.not_in(identifiers_of(kind)),
    )
    parent = table.c[column].label("parent")
    return (
        write.returning(parent).cte(f"{table.name}_written"),
        remove.returning(parent).cte(f"{table.name}_gone"),
    )

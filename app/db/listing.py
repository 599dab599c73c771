"""A page of a list: the only place where what a client asked for becomes SQL, always bound."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    ColumnElement,
    FromClause,
    Numeric,
    Select,
    Table,
    Text,
    and_,
    cast,
    column,
    exists,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, array

from ..case.resources import Resource
from ..query.fields import ARRAYS, Field, Kind
from ..query.filter import And, Comparison, Node
from ..query.params import Query
from .database import Database
from .parts import step, table_of, word
from .search import matches, relevance, words_of
from .statement import Statement
from .visible import body_of, visible

Expression = ColumnElement[Any]

ORDERING: dict[str, Callable[[Expression, Expression], ColumnElement[bool]]] = {
    ">": gt,
    ">=": ge,
    "<": lt,
    "<=": le,
}


class Page(NamedTuple):
    """Some of a list, and how many there are in all."""

    total: int
    bodies: list[str]


async def page(database: Database, resource: Resource, query: Query) -> Page:
    """The entities a query asks for. The order is total: identifiers break ties."""
    found = await database.rows(Statement(_select(resource, query)))
    bodies = [record["body"] for record in found if record["body"] is not None]
    return Page(found[0]["total"], bodies)


def _select(resource: Resource, query: Query) -> Select[Any]:
    table = table_of(resource)
    where = and_(visible(table), _condition(table, query.where) if query.where else true())
    key = _sort_key(table, query.sort) if query.sort else table.c.identifier
    if query.search:
        searched = [literal(text, Text) for text in words_of(query.search)]
        where = and_(where, matches(*searched))
        # Negated, because lists ascend and the best comes first.
        key = key if query.sort else -relevance(*searched)
    rows = (
        select(body_of(resource).label("body"), key.label("key"), table.c.identifier)
        .where(where)
        .order_by(*_order(key, table.c.identifier, query))
        .limit(query.limit)
        .offset(query.offset)
        .subquery("page")
    )
    total = select(func.count().label("total")).select_from(table).where(where).subquery("counted")
    # One statement sees one moment, and a page beyond the end still knows the total.
    return (
        select(total.c.total, rows.c.body)
        .select_from(total.outerjoin(rows, literal_column("true")))
        .order_by(*_order(rows.c.key, rows.c.identifier, query))
    )


def _order(key: Expression, identifier: Expression, query: Query) -> tuple[Expression, ...]:
    """What lacks the field comes last, whichever way the rest goes."""
    return (key.desc() if query.descending else key.asc()).nulls_last(), identifier.asc()


def _sort_key(table: Table, field: Field) -> Expression:
    value = _value(table, field)
    return func.lower(value) if field.kind is Kind.TEXT else value


def _value(table: Table, field: Field) -> Expression:
    """A field's value, as the type that comparing it needs."""
    if field.kind is Kind.DATETIME:
        # Compared as precisely as it is answered, so that an answer finds itself.
        return func.date_trunc("milliseconds", table.c.last_change_date_time)
    if field.kind is Kind.OPEN:
        path = array([literal(part, Text) for part in field.path])
        return table.c.body.op("#>>", return_type=Text())(cast(path, ARRAY(Text)))
    text = word(table.c.body, *field.path)
    return cast(text, Numeric) if field.kind is Kind.NUMBER else text


def _condition(table: Table, node: Node) -> ColumnElement[bool]:
    if isinstance(node, Comparison):
        compare = _compare_list if node.field.kind in ARRAYS else _compare
        return compare(table, node)
    parts = (_condition(table, part) for part in node.parts)
    return and_(*parts) if isinstance(node, And) else or_(*parts)


def _folded(value: object) -> Expression:
    """A client's word as it is compared: without regard to case."""
    return func.lower(literal(value, Text))


def _compare(table: Table, comparison: Comparison) -> ColumnElement[bool]:
    """One value with another. What lacks the field differs from everything."""
    value, operator = _value(table, comparison.field), comparison.operator
    wanted = comparison.value
    if comparison.field.kind in {Kind.TEXT, Kind.OPEN, Kind.DATE}:
        value = func.lower(value)
    if operator == "@":
        return value.in_([_operand(comparison.field, one) for one in _members(wanted)])
    operand = _operand(comparison.field, wanted)
    if operator == "~":
        return _contains(cast(value, Text), cast(operand, Text))
    if operator == "=":
        return value == operand
    if operator == "!=":
        return value.is_distinct_from(operand)
    return ORDERING[operator](value, operand)


def _operand(field: Field, value: Any) -> Expression:
    match field.kind:
        case Kind.NUMBER:
            return literal(Decimal(value), Numeric)
        case Kind.DATETIME:
            return literal(value)
        case _:
            return _folded(value)


def _members(value: Any) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (value,)


def _contains(value: Expression, part: Expression) -> ColumnElement[bool]:
    return func.strpos(value, part) > literal_column("0")


def _compare_list(table: Table, comparison: Comparison) -> ColumnElement[bool]:
    """``=`` is the whole list, in any order; ``~`` and ``@`` are about any of its members."""
    field, operator, wanted = comparison.field, comparison.operator, comparison.value
    top, *part = field.path
    each = func.json_array_elements(step(table.c.body, top))
    rows = each.table_valued(column("value", JSON)).alias("each")
    text = word(rows.c.value, *part) if part else rows.c.value.op("#>>")(literal_column("'{}'"))
    member = func.lower(text)
    if operator in {"~", "@"}:
        found = (
            member.in_([_folded(one) for one in _members(wanted)])
            if operator == "@"
            else _contains(member, _folded(wanted))
        )
        return exists(select(literal_column("1")).select_from(rows).where(found))
    present = _sorted(member, rows)
    same = or_(*(present == _literal_list(reading) for reading in _readings(str(wanted))))
    return same if operator == "=" else not_(same)


def _readings(value: str) -> list[list[str]]:
    """A list as its members joined by commas; or as the one member, whose text has commas."""
    parts = [part.strip() for part in value.split(",")] if value else []
    return [parts, [value]] if len(parts) > 1 else [parts]


def _literal_list(members: list[str]) -> Expression:
    rows = func.unnest(literal(members, ARRAY(Text))).table_valued("value").render_derived("wanted")
    return _sorted(func.lower(rows.c.value), rows)


def _sorted(member: Expression, rows: FromClause) -> Expression:
    """The members as an array in one order; an empty array when there are none."""
    listed = select(func.array_agg(aggregate_order_by(member, member))).select_from(rows)
    return func.coalesce(listed.scalar_subquery(), literal_column("'{}'::text[]"))

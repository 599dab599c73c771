"""Filters and sort keys as SQL: what a field is in a table, and how it is compared.

A filter is split in two: its outline, which says everything but the values, and the values under
the names the outline gives them. Filters with one outline share one compiled statement.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    FromClause,
    Numeric,
    Table,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    column,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.types import TypeEngine

from ...query.fields import ARRAYS, Field, FieldType
from ...query.filter import And, Comparison, Node
from ..schema.json_sql import json_get, json_text
from ..schema.list_indexes import FOLDED_CODE_CHARS
from ..schema.tables import TimestampTZ, items
from ..schema.trigrams import can_use_pattern, like_pattern
from .derived_fields import ADDRESS, Entities, address_of, identifier_in, rewritten_to, shown

Expression = ColumnElement[Any]
Values = dict[str, Any]

ORDERING: dict[str, Callable[[Expression, Expression], ColumnElement[bool]]] = {
    ">": gt,
    ">=": ge,
    "<": lt,
    "<=": le,
}

UTC: Expression = literal_column("'UTC'")

MATCHES = "matches"
"""What becomes of ``~`` as a LIKE pattern, of which Postgres can estimate how much it finds."""

FOLDED: dict[tuple[Table, tuple[str, ...]], Expression] = {
    (items, ("humanCodingScheme",)): items.c.folded_code
}
"""Columns that hold how the values of a field begin, without regard to case."""


def outline(entities: Entities, node: Node, values: Values) -> Node:
    """Return the node with names in place of its values, and add the values to ``values``."""
    if not isinstance(node, Comparison):
        return type(node)(tuple(outline(entities, part, values) for part in node.parts))
    field, operator, value = node.field, node.operator, node.value
    name = f"value{len(values)}"
    plural = rewritten_to(entities, field.path)
    if plural is not None and operator in {"=", "@"} and field.type is FieldType.STRING:
        values[_identifier(name)] = _identifiers_in(value, values[ADDRESS], plural)
    if (
        operator == "~"
        and field.type is FieldType.STRING
        and can_use_pattern(entities.table, field, str(value))
    ):
        operator, values[name] = MATCHES, like_pattern(str(value))
    elif field.type in ARRAYS and operator in {"=", "!="}:
        values[name], values[_whole(name)] = _readings(str(value))
        values[_joint(name)] = str(value)
    else:
        values[name] = _given(field, value)
    if field.type is FieldType.EXTENSION:
        path = f"path{len(values)}"
        values[path] = list(field.path)
        # Whoever invents names below an extension makes no new statements with them.
        field = Field((path,), FieldType.EXTENSION)
    return Comparison(field, operator, name)


def _given(field: Field, value: Any) -> Any:
    """A value, or several, as Postgres is given them."""
    if isinstance(value, tuple):
        return [_given(field, one) for one in value]
    return Decimal(value) if field.type is FieldType.NUMBER else value


def _readings(value: str) -> tuple[list[str], list[str]]:
    """A list as its members joined by commas; or as the one member, whose text has commas."""
    parts = [part.strip() for part in value.split(",")] if value else []
    return parts, [value] if len(parts) > 1 else parts


def _whole(name: str) -> str:
    """The name of the second reading of a list."""
    return f"{name}whole"


def _identifier(name: str) -> str:
    """Return the name of the identifier, or identifiers, in the addresses under a name."""
    return f"{name}identifier"


def _identifiers_in(value: Any, address: str, plural: str) -> str | list[str]:
    if isinstance(value, tuple):
        return [identifier_in(one, address, plural) for one in value]
    return identifier_in(str(value), address, plural)


def _joint(name: str) -> str:
    """Return the name of the text that a list was compared with, as it was sent."""
    return f"{name}joint"


def condition(entities: Entities, node: Node) -> ColumnElement[bool]:
    """Return an outline as SQL, with a parameter for each name."""
    if isinstance(node, Comparison):
        compare = _compare_list if node.field.type in ARRAYS else _compare
        return compare(entities, node)
    parts = (condition(entities, part) for part in node.parts)
    return and_(*parts) if isinstance(node, And) else or_(*parts)


def sort_key(entities: Entities, field: Field) -> Expression:
    """Return the value to sort by: the one shown, of long codes only the beginning."""
    if (folded := FOLDED.get((entities.table, field.path))) is not None:
        return folded
    value = _value(entities, field)
    return func.lower(value) if field.type is FieldType.STRING else value


def _value(entities: Entities, field: Field) -> Expression:
    """Return a field's value, as the type that comparing it needs."""
    table = entities.table
    if field.type is FieldType.DATETIME:
        if "changed_at" in table.c:
            return table.c.changed_at
        # Compared as precisely as it is answered, so that an answer finds itself.
        moment = func.timezone(UTC, table.c.last_change_date_time)
        return func.date_trunc(literal_column("'milliseconds'"), moment)
    if field.type is FieldType.EXTENSION:
        path: Expression = bindparam(field.path[0], type_=ARRAY(Text))
        return table.c.body.op("#>>", return_type=Text())(path)
    text = shown(entities, field.path)
    return cast(text, Numeric) if field.type is FieldType.NUMBER else text


def _compare(entities: Entities, comparison: Comparison) -> ColumnElement[bool]:
    """Compare a field with a value. An entity without the field differs from every value."""
    field, operator, name = comparison.field, comparison.operator, str(comparison.value)
    value = _value(entities, field)
    if field.type in {FieldType.STRING, FieldType.EXTENSION, FieldType.DATE}:
        value = func.lower(value)
    folded = FOLDED.get((entities.table, field.path))
    if operator == "@":
        is_listed = _is_one_of(field, value, folded, name)
        return and_(_has_identifier(entities, comparison), is_listed)
    wanted = _comparable(field, bindparam(name, type_=_type(field)))
    if operator == "=":
        has_identifier = _has_identifier(entities, comparison)
        return and_(has_identifier, _begins(folded, wanted), value == wanted)
    if operator == "!=":
        return value.is_distinct_from(wanted)
    if operator == MATCHES:
        return value.like(wanted)
    if operator == "~":
        return _contains(cast(value, Text), cast(wanted, Text))
    return ORDERING[operator](value, wanted)


def _has_identifier(entities: Entities, comparison: Comparison) -> ColumnElement[bool]:
    """Compare the identifier in a rewritten uri, because an index finds it and not the uri.

    Every uri that is equal has it; whether the uri is equal is still to be compared.
    """
    path, name = comparison.field.path, _identifier(str(comparison.value))
    if rewritten_to(entities, path) is None:
        return true()
    identifier = func.lower(shown(entities, (*path[:-1], "identifier")))
    if comparison.operator == "=":
        return identifier == func.lower(bindparam(name, type_=Text()))
    given = _unnested(name, Text())
    folded = select(func.lower(given.c.value)).select_from(given).scalar_subquery()
    return identifier == any_(func.array(folded, type_=ARRAY(Text)))


def _is_one_of(
    field: Field, value: Expression, folded: Expression | None, name: str
) -> ColumnElement[bool]:
    given = _unnested(name, _type(field))
    member = _comparable(field, given.c.value)
    found = value.in_(select(member).select_from(given))
    if folded is None:
        return found
    beginnings = select(_beginning(member)).select_from(given).scalar_subquery()
    # An array, since the index is not used for the rows of a subquery.
    return and_(folded == any_(func.array(beginnings, type_=ARRAY(Text))), found)


def _begins(folded: Expression | None, wanted: Expression) -> ColumnElement[bool]:
    """What an index finds; whether the rest of the text is the same, too, is compared after."""
    return true() if folded is None else folded == _beginning(wanted)


def _beginning(text: Expression) -> Expression:
    return func.left(text, literal_column(str(FOLDED_CODE_CHARS)))


def _type(field: Field) -> TypeEngine[Any]:
    types: dict[FieldType, TypeEngine[Any]] = {
        FieldType.NUMBER: Numeric(),
        FieldType.DATETIME: TimestampTZ,
    }
    return types.get(field.type, Text())


def _comparable(field: Field, wanted: Expression) -> Expression:
    """A client's value as it is compared: words without regard to case."""
    match field.type:
        case FieldType.NUMBER:
            return wanted
        case FieldType.DATETIME:
            return func.timezone(UTC, wanted)
        case _:
            return func.lower(wanted)


def _contains(value: Expression, part: Expression) -> ColumnElement[bool]:
    return func.strpos(value, part) > literal_column("0")


def _unnested(name: str, kind: TypeEngine[Any]) -> FromClause:
    """The members of a parameter that is a list, as rows."""
    members = func.unnest(bindparam(name, type_=ARRAY(kind)))
    return members.table_valued("value").render_derived("wanted")


def _compare_list(entities: Entities, comparison: Comparison) -> ColumnElement[bool]:
    """Compare a list: ``=`` with all its members, ``~`` and ``@`` with any of them."""
    field, operator, name = comparison.field, comparison.operator, str(comparison.value)
    each = func.json_array_elements(json_get(entities.table.c.body, field.path[0]))
    rows = each.table_valued(column("value", JSON), with_ordinality="place").render_derived("each")
    member = func.lower(_member(entities, field, rows.c.value))
    if operator in {"~", "@"}:
        given = _unnested(name, Text())
        found = (
            member.in_(select(func.lower(given.c.value)).select_from(given))
            if operator == "@"
            else _contains(member, func.lower(bindparam(name, type_=Text())))
        )
        return exists(select(literal_column("1")).select_from(rows).where(found))
    present = _sorted(member, rows)
    same = or_(
        # As an answer shows it, be there commas or blanks around them in the members.
        _joined(member, rows) == func.lower(bindparam(_joint(name), type_=Text())),
        *(present == _literal_list(reading) for reading in (name, _whole(name))),
    )
    return same if operator == "=" else not_(same)


def _member(entities: Entities, field: Field, value: Expression) -> Expression:
    """Return the text of a member of a list, or of a part of it."""
    if len(field.path) == 1:
        return value.op("#>>")(literal_column("'{}'"))
    if (plural := rewritten_to(entities, field.path)) is not None:
        return address_of(plural, json_text(value, "identifier"))
    return json_text(value, field.path[1])


def _joined(member: Expression, rows: FromClause) -> Expression:
    """Return the members joined by commas, in their order."""
    comma: Expression = aggregate_order_by(literal_column("','"), rows.c.place)
    joined = select(func.string_agg(member, comma)).select_from(rows)
    return func.coalesce(joined.scalar_subquery(), literal_column("''"))


def _literal_list(name: str) -> Expression:
    rows = _unnested(name, Text())
    return _sorted(func.lower(rows.c.value), rows)


def _sorted(member: Expression, rows: FromClause) -> Expression:
    """The members as an array in one order; an empty array when there are none."""
    listed = select(func.array_agg(aggregate_order_by(member, member))).select_from(rows)
    return func.coalesce(listed.scalar_subquery(), literal_column("'{}'::text[]"))

"""Parser of the ``filter`` parameter, for example ``title~'math' AND version='2'``.

There are three grammars. ``STANDARD`` is that of the CASE 1.1 REST binding: one predicate, or two
joined by AND or OR. ``PAIR`` also allows parentheses, which TimeBack's SDK writes around a list of
two values. ``EXTENDED`` is what the SDK writes otherwise: many predicates, nested parentheses,
``@`` for "is one of", numbers and booleans without quotes. AND binds tighter than OR. Each value
is checked against the type of its field, so that code that uses the tree need not check again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from ..exceptions import BadRequest
from .fields import (
    EXPECTED_VALUES,
    Fields,
    FieldType,
    QueryableField,
    format_choices,
    is_storable_number,
    resolve_field,
    truncate_for_message,
)

MAX_PREDICATES = 100
MAX_DEPTH = 20
MAX_MEMBERS = 1000

Scalar: TypeAlias = str | datetime
Value: TypeAlias = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True)
class Comparison:
    """A comparison of a field with a value in a filter, such as ``title~'math'``.

    The value is a tuple for the operator ``@`` ("is one of"), and a datetime in UTC for a DATETIME
    field.
    """

    field: QueryableField
    operator: str
    value: Value


@dataclass(frozen=True)
class And:
    """A filter that matches if all of its parts match."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Or:
    """A filter that matches if at least one of its parts matches."""

    parts: tuple[Node, ...]


Node: TypeAlias = Comparison | And | Or


@dataclass(frozen=True)
class FilterGrammar:
    """The filter syntax that an API profile accepts."""

    has_parentheses: bool
    is_extended: bool
    """Allow up to ``MAX_PREDICATES`` instead of two, AND and OR in one filter, the operator ``@``
    ("is one of"), and numbers, ``true`` and ``false`` without quotes."""


STANDARD = FilterGrammar(has_parentheses=False, is_extended=False)
PAIR = FilterGrammar(has_parentheses=True, is_extended=False)
EXTENDED = FilterGrammar(has_parentheses=True, is_extended=True)


def parse_filter(text: str, *, fields: Fields, grammar: FilterGrammar) -> Node:
    """Parse a filter expression into a tree of ``And``, ``Or`` and ``Comparison`` objects.

    The expression may compare only ``fields``, a mapping from dotted name to ``QueryableField``, in
    the syntax of ``grammar``. Raises ``BadRequest`` with the position of the first error.
    """
    if "\0" in text:
        raise _build_error(text.index("\0") + 1, "a NUL character", "text without one")
    return _Parser(text, fields, grammar).parse()


# Possessive quantifiers (with a plus) never backtrack, so that an unclosed quote stays one.
_TOKEN = re.compile(
    r"""\s*+(?:(?P<quoted>'(?:[^']|'')*+')
              |(?P<operator>[!<>]=|[=<>~@])
              |(?P<connective>(?<=\s)(?i:and|or)(?=\s|\Z))
              |(?P<word>[^\s'"()=!<>~@,]++)
              |(?P<other>\S)
              |(?P<end>\Z))""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end"
        if self.text == "'":
            return "an unclosed quote"
        return truncate_for_message(self.text)


def _build_error(position: int, actual: object, expected: str) -> BadRequest:
    message = f"at character {position}: found {actual}, expected {expected}"
    return BadRequest(message, code="bad_filter")


class _Parser:
    """Recursive-descent parser of filter expressions, in which AND binds tighter than OR."""

    def __init__(self, text: str, fields: Fields, grammar: FilterGrammar) -> None:
        self.fields = fields
        self.grammar = grammar
        self.tokens = [
            _Token(kind, match[kind], match.start(kind) + 1)
            for match in _TOKEN.finditer(text)
            if (kind := match.lastgroup)
        ]
        self.next = 0
        self.depth = 0
        self.predicates = 0
        self.connectives: set[str] = set()

    def parse(self) -> Node:
        node = self.parse_or()
        if self.token.kind != "end":
            raise self.make_syntax_error("AND or OR between spaces, or the end")
        return node

    def parse_or(self) -> Node:
        return self.parse_chain("OR", self.parse_and, Or)

    def parse_and(self) -> Node:
        return self.parse_chain("AND", self.parse_primary, And)

    def parse_chain(
        self, connective: str, parse_part: Callable[[], Node], node_type: type[And | Or]
    ) -> Node:
        parts = [parse_part()]
        while self.accept_connective(connective):
            parts.append(parse_part())
        return node_type(tuple(parts)) if len(parts) > 1 else parts[0]

    def accept_connective(self, connective: str) -> bool:
        if self.token.kind != "connective" or self.token.text.upper() != connective:
            return False
        self.connectives.add(connective)
        if len(self.connectives) > 1 and not self.grammar.is_extended:
            raise self.make_syntax_error("either AND or OR in one filter, not both")
        self.next += 1
        return True

    def parse_primary(self) -> Node:
        if self.token.text == "(" and self.grammar.has_parentheses:
            return self.parse_group()
        return self.parse_comparison()

    def parse_group(self) -> Node:
        if self.depth == MAX_DEPTH:
            raise self.make_syntax_error(f"parentheses at most {MAX_DEPTH} deep")
        self.depth += 1
        self.next += 1
        node = self.parse_or()
        if self.token.text != ")":
            raise self.make_syntax_error("AND or OR between spaces, or a closing parenthesis")
        self.next += 1
        self.depth -= 1
        return node

    def parse_comparison(self) -> Comparison:
        limit = MAX_PREDICATES if self.grammar.is_extended else 2
        if self.predicates == limit:
            raise self.make_syntax_error(f"at most {limit} predicates")
        self.predicates += 1
        field = self.parse_field()
        operator = self.parse_operator(field)
        return Comparison(field, operator, self.parse_value(field, operator))

    def parse_field(self) -> QueryableField:
        if self.token.kind != "word":
            raise self.make_syntax_error("the name of a field")
        field = resolve_field(self.fields, self.token.text)
        if field is None:
            comparable = (
                name for name, candidate in self.fields.items() if candidate.is_comparable
            )
            raise self.make_syntax_error(format_choices(comparable))
        if not field.is_comparable:
            raise self.make_syntax_error(self.make_subfields_hint(field))
        self.next += 1
        return field

    def make_subfields_hint(self, field: QueryableField) -> str:
        if field.type is FieldType.EXTENSION:
            return f"a field below it, such as {field.name}.level"
        return format_choices(name for name in self.fields if name.startswith(f"{field.name}."))

    def parse_operator(self, field: QueryableField) -> str:
        operator = self.token.text
        allowed = (*field.operators, "@") if self.grammar.is_extended else field.operators
        if operator not in allowed:
            raise self.make_syntax_error(
                f"{format_choices(allowed)}, as {field.name} is {field.type}"
            )
        self.next += 1
        return operator

    def parse_value(self, field: QueryableField, operator: str) -> Value:
        text = self.parse_literal()
        value: Value = text
        if operator == "@":
            members = text.split(",")
            if len(members) > MAX_MEMBERS:
                raise self.make_syntax_error(f"at most {MAX_MEMBERS} values")
            value = tuple(self.convert(field, member.strip()) for member in members)
        elif operator != "~" or field.type is FieldType.NUMBER:
            value = self.convert(field, text)
        self.next += 1
        return value

    def parse_literal(self) -> str:
        token = self.token
        if token.kind == "quoted":
            return token.text[1:-1].replace("''", "'")
        if self.grammar.is_extended and (
            is_storable_number(token.text) or token.text in ("true", "false")
        ):
            return token.text
        raise self.make_syntax_error("a value in single quotes, with inner quotes doubled")

    def convert(self, field: QueryableField, text: str) -> Scalar:
        value = field.parse_value(text)
        if value is None:
            raise self.make_syntax_error(
                f"{EXPECTED_VALUES[field.type]}, as {field.name} is {field.type}"
            )
        return value

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def make_syntax_error(self, expected: str) -> BadRequest:
        return _build_error(self.token.start, self.token, expected)

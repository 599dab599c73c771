"""The ``filter`` parameter: ``title~'math' AND version='2'`` becomes a tree, or says why not.

``STANDARD`` is the language of the CASE 1.1 REST binding: one predicate, or two joined by AND or
by OR. ``PAIR`` is the same within parentheses, which the SDK writes around a list of two values.
``FREE`` is what TimeBack's SDK writes: any number of them, parentheses, ``@`` for "is one
of", numbers and booleans without quotes. AND binds tighter than OR. Values are checked against
their field, so that whoever reads the tree can trust it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from ..exceptions import BadRequest
from .fields import EXPECTED, Field, FieldType, is_number, one_of, resolve_field, truncate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .fields import Fields

MAX_PREDICATES = 100
MAX_DEPTH = 20
MAX_MEMBERS = 1000

Scalar: TypeAlias = str | datetime
Value: TypeAlias = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True)
class Comparison:
    """One predicate. The value is a tuple for ``@``, a moment in UTC for a DATETIME field."""

    field: Field
    operator: str
    value: Value


@dataclass(frozen=True)
class And:
    """Every part holds."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Or:
    """At least one part holds."""

    parts: tuple[Node, ...]


Node: TypeAlias = Comparison | And | Or


@dataclass(frozen=True)
class Grammar:
    """How much of the language a profile speaks."""

    max_predicates: int | None
    mixed_operators: bool
    """AND and OR in one filter."""
    parentheses: bool
    in_list: bool
    """The operator ``@``."""
    unquoted_values: bool = False
    """Numbers, true and false without quotes."""


STANDARD = Grammar(max_predicates=2, mixed_operators=False, parentheses=False, in_list=False)
PAIR = replace(STANDARD, parentheses=True)
EXTENDED = Grammar(
    max_predicates=MAX_PREDICATES,
    mixed_operators=True,
    parentheses=True,
    in_list=True,
    unquoted_values=True,
)


def parse(text: str, *, fields: Fields, grammar: Grammar) -> Node:
    """The tree of a filter, or a BadRequest that says where it goes wrong."""
    if "\0" in text:
        raise _error(text.index("\0") + 1, "a NUL character", "text that can be stored")
    return _Parser(text, fields, grammar).parse()


# The quantifiers with a plus never give back what they took: an open quote stays open.
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
            return "a quote that is never closed"
        return truncate(self.text)


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        yield _Token(kind, match[kind], match.start(kind) + 1)


def _error(position: int, found: object, expected: str) -> BadRequest:
    message = f"at character {position}: found {found}, expected {expected}"
    return BadRequest(message, code="bad_filter")


class _Parser:
    """Recursive descent: ``either`` (OR) of ``both`` (AND) of ``primary``."""

    def __init__(self, text: str, fields: Fields, grammar: Grammar) -> None:
        self.fields = fields
        self.grammar = grammar
        self.tokens = list(_tokens(text))
        self.next = 0
        self.depth = 0
        self.predicates = 0
        self.connectives: set[str] = set()

    def parse(self) -> Node:
        node = self.either()
        if self.token.kind != "end":
            raise self.unexpected("AND or OR between spaces, or the end")
        return node

    def either(self) -> Node:
        parts = self.joined("OR", self.both)
        return Or(parts) if len(parts) > 1 else parts[0]

    def both(self) -> Node:
        parts = self.joined("AND", self.primary)
        return And(parts) if len(parts) > 1 else parts[0]

    def joined(self, word: str, part: Callable[[], Node]) -> tuple[Node, ...]:
        parts = [part()]
        while self.connective(word):
            parts.append(part())
        return tuple(parts)

    def connective(self, word: str) -> bool:
        if self.token.kind != "connective" or self.token.text.upper() != word:
            return False
        self.connectives.add(word)
        if len(self.connectives) > 1 and not self.grammar.mixed_operators:
            raise self.unexpected("AND and OR not to be mixed in one filter")
        self.next += 1
        return True

    def primary(self) -> Node:
        if self.token.text == "(" and self.grammar.parentheses:
            return self.group()
        return self.comparison()

    def group(self) -> Node:
        if self.depth == MAX_DEPTH:
            raise self.unexpected(f"parentheses at most {MAX_DEPTH} deep")
        self.depth += 1
        self.next += 1
        node = self.either()
        if self.token.text != ")":
            raise self.unexpected("AND or OR between spaces, or a closing parenthesis")
        self.next += 1
        self.depth -= 1
        return node

    def comparison(self) -> Comparison:
        most = self.grammar.max_predicates
        if most is not None and self.predicates == most:
            raise self.unexpected(f"at most {most} predicates")
        self.predicates += 1
        field = self.field()
        operator = self.operator(field)
        return Comparison(field, operator, self.value(field, operator))

    def field(self) -> Field:
        if self.token.kind != "word":
            raise self.unexpected("the name of a field")
        field = resolve_field(self.fields, self.token.text)
        if field is None:
            comparable = (name for name, each in self.fields.items() if each.is_comparable)
            raise self.unexpected(one_of(comparable))
        if not field.is_comparable:
            raise self.unexpected(self.below(field))
        self.next += 1
        return field

    def below(self, field: Field) -> str:
        if field.type is FieldType.EXTENSION:
            return f"a name below it, as in {field.name}.level"
        return one_of(name for name in self.fields if name.startswith(f"{field.name}."))

    def operator(self, field: Field) -> str:
        operator = self.token.text
        allowed = (*field.operators, "@") if self.grammar.in_list else field.operators
        if operator not in allowed:
            raise self.unexpected(f"{one_of(allowed)}, as {field.name} is {field.type}")
        self.next += 1
        return operator

    def value(self, field: Field, operator: str) -> Value:
        text = self.literal()
        value: Value = text
        if operator == "@":
            members = text.split(",")
            if len(members) > MAX_MEMBERS:
                raise self.unexpected(f"at most {MAX_MEMBERS} values")
            value = tuple(self.typed(field, each.strip()) for each in members)
        elif operator != "~" or field.type is FieldType.NUMBER:
            value = self.typed(field, text)
        self.next += 1
        return value

    def literal(self) -> str:
        token = self.token
        if token.kind == "quoted":
            return token.text[1:-1].replace("''", "'")
        if self.grammar.unquoted_values and (
            is_number(token.text) or token.text in ("true", "false")
        ):
            return token.text
        raise self.unexpected("a value in single quotes, a quote inside it doubled")

    def typed(self, field: Field, text: str) -> Scalar:
        value = field.parse_value(text)
        if value is None:
            raise self.unexpected(f"{EXPECTED[field.type]}, as {field.name} is {field.type}")
        return value

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def unexpected(self, expected: str) -> BadRequest:
        return _error(self.token.start, self.token, expected)

"""The parameters of a list: limit, offset, sort, orderBy, filter, fields, read into a Query.

They are read from the raw pairs of the query string, because all that is wrong with them is
reported at once. Parameters that are not of the standard are nobody's business here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ..exceptions import BadRequest, ErrorCode
from .fields import SCALARS, Field, fields_of, one_of, resolve_field, truncate
from .filter import Grammar, Node, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pydantic import BaseModel

    from .fields import Fields

    T = TypeVar("T")

MAX_OFFSET = 2**31 - 1

_REASONS: dict[str, ErrorCode] = {
    "sort": "bad_sort",
    "orderBy": "bad_sort",
    "filter": "bad_filter",
    "fields": "bad_selection",
}


@dataclass(frozen=True)
class Limits:
    """How many entities a page holds."""

    default: int
    maximum: int


@dataclass(frozen=True)
class Dialect:
    """The differences between profiles, and between lists, in what a request may ask for."""

    rejects_empty_fields: bool = True
    """Whether an empty ``fields`` is an error (CASE 1.1 binding, section 3.4), or as if absent."""
    unknown_fields: frozenset[str] = frozenset()
    """Fields of the model that the profile does not have."""
    has_sourced_ids: bool = True
    """Whether entities have a field ``sourcedId``, which ``fields`` can ask for."""
    searchable: bool = False
    """Whether the list knows ``search``."""


STRICT = Dialect()


@dataclass(frozen=True)
class Query:
    """What a list request asks for, checked."""

    limit: int
    offset: int
    sort: Field | None
    descending: bool
    where: Node | None
    fields: tuple[str, ...] | None
    search: str | None = None
    """Words to be found in items; without a sort the best match comes first."""


def parse_list_query(
    params: Iterable[tuple[str, str]],
    model: type[BaseModel],
    *,
    limits: Limits,
    grammar: Grammar,
    dialect: Dialect = STRICT,
) -> Query:
    """Return the query that a list request states. Raises ``BadRequest`` with every problem."""
    given = _Given(params, dialect)
    fields = fields_of(model, dialect.unknown_fields)
    query = Query(
        limit=given.one("limit", partial(_whole, least=1, most=limits.maximum), limits.default),
        offset=given.one("offset", partial(_whole, least=0, most=MAX_OFFSET), 0),
        sort=given.one("sort", partial(_sort, fields=fields), None),
        descending=given.one("orderBy", _descending, default=False),
        where=given.one("filter", partial(parse, fields=fields, grammar=grammar), None),
        fields=given.several("fields", partial(_selection, fields=fields, dialect=dialect)),
        search=given.one("search", _search, None) if dialect.searchable else None,
    )
    given.check()
    return query


def parse_fields(
    params: Iterable[tuple[str, str]],
    model: type[BaseModel],
    dialect: Dialect = STRICT,
) -> tuple[str, ...] | None:
    """Return the fields that a request for one entity asks for; None means all."""
    given = _Given(params, dialect)
    fields = fields_of(model, dialect.unknown_fields)
    selection = given.several("fields", partial(_selection, fields=fields, dialect=dialect))
    given.check()
    return selection


def parse_feed_query(params: Iterable[tuple[str, str]], limits: Limits) -> tuple[str | None, int]:
    """The cursor and the limit that a request for changes states."""
    given = _Given(params, STRICT)
    since = given.one("since", str, "")
    limit = given.one("limit", partial(_whole, least=1, most=limits.maximum), limits.default)
    given.check()
    return since or None, limit


def parse_field_names(
    params: Iterable[tuple[str, str]],
    allowed: Sequence[str],
    dialect: Dialect = STRICT,
) -> tuple[str, ...] | None:
    """As ``read_selection``, of an answer that is no class of the model."""
    given = _Given(params, dialect)
    selection = given.several("fields", partial(_names, allowed=allowed))
    given.check()
    return selection


class _Given:
    """The parameters as they were sent, and the problems they turned out to have."""

    def __init__(self, params: Iterable[tuple[str, str]], dialect: Dialect) -> None:
        self.values: dict[str, list[str]] = {}
        for name, value in params:
            # An empty parameter is as if absent, because the SDK sends those it was not given
            # like that. An empty selection may be an error instead.
            if value or (name == "fields" and dialect.rejects_empty_fields):
                self.values.setdefault(name, []).append(value)
        self.problems: dict[str, BadRequest] = {}

    def one(self, name: str, parse: Callable[[str], T], default: T) -> T:
        return self._attempt(name, lambda values: parse(_only(name, values)), default)

    def several(self, name: str, parse: Callable[[list[str]], T]) -> T | None:
        return self._attempt(name, parse, None)

    def check(self) -> None:
        if not self.problems:
            return
        raise BadRequest(
            "; ".join(f"{name}: {problem}" for name, problem in self.problems.items()),
            code=next(iter(self.problems.values())).code,
            problems=[
                {"path": name, "message": problem.description}
                for name, problem in self.problems.items()
            ],
        )

    def _attempt(self, name: str, parse: Callable[[list[str]], T], default: T) -> T:
        if name not in self.values:
            return default
        try:
            return parse(self.values[name])
        except BadRequest as problem:
            self.problems[name] = problem
            return default


def _only(name: str, values: list[str]) -> str:
    if len(set(values)) > 1:
        raise BadRequest(
            "found different values, expected one",
            code=_REASONS.get(name),
        )
    return values[0]


def _quoted(text: str) -> str:
    return f"'{truncate(text)}'" if text.strip() else "nothing"


def _whole(text: str, *, least: int, most: int) -> int:
    # As many digits as any bound here has: int() refuses thousands of them in its own way.
    if re.fullmatch(r"[0-9]{1,10}", text) and least <= int(text) <= most:
        return int(text)
    raise BadRequest(f"found {_quoted(text)}, expected a whole number from {least} to {most}")


def _sort(name: str, *, fields: Fields) -> Field:
    field = resolve_field(fields, name)
    if field and field.type in SCALARS:
        return field
    found = f"{truncate(name)}, which is {field.type}" if field else _quoted(name)
    allowed = one_of(each.name for each in fields.values() if each.type in SCALARS)
    raise BadRequest(f"found {found}, expected {allowed}", code="bad_sort")


def _search(text: str) -> str:
    if text.strip():
        return text
    raise BadRequest(f"found {_quoted(text)}, expected words to search for")


def _descending(text: str) -> bool:
    if text.lower() in ("asc", "desc"):
        return text.lower() == "desc"
    raise BadRequest(f"found {_quoted(text)}, expected asc or desc", code="bad_sort")


def _selection(values: list[str], *, fields: Fields, dialect: Dialect) -> tuple[str, ...]:
    allowed = [name for name in fields if "." not in name]
    return _names(values, allowed=[*allowed, "sourcedId"] if dialect.has_sourced_ids else allowed)


def _names(values: list[str], *, allowed: Sequence[str]) -> tuple[str, ...]:
    names = [name.strip() for value in values for name in value.split(",")]
    if unknown := [name for name in names if name not in allowed]:
        found = ", ".join(_quoted(name) for name in dict.fromkeys(unknown))
        raise BadRequest(f"found {found}, expected {one_of(allowed)}", code="bad_selection")
    return tuple(dict.fromkeys(names))

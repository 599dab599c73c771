"""Parser of list parameters: limit, offset, sort, orderBy, filter, fields, search.

All problems of a request are reported at once, which is why the parameters are read from the pairs
of the query string and not declared one by one. Unknown parameters are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pydantic import BaseModel

from ..exceptions import BadRequest, ErrorCode
from .fields import (
    SCALARS,
    Fields,
    QueryableField,
    format_choices,
    list_fields,
    resolve_field,
    truncate_for_message,
)
from .filter import FilterGrammar, Node, parse_filter

T = TypeVar("T")

MAX_OFFSET = 2**31 - 1

ERROR_CODES: dict[str, ErrorCode] = {
    "sort": "bad_sort",
    "orderBy": "bad_sort",
    "filter": "bad_filter",
    "fields": "bad_selection",
}


@dataclass(frozen=True)
class PageLimits:
    """The default and the maximum number of entities on a page (query parameter ``limit``)."""

    default: int
    maximum: int


@dataclass(frozen=True)
class QueryRules:
    """Rules for query parameters, such as whether ``search`` is accepted.

    They differ by API profile and by list.
    """

    rejects_empty_fields: bool = True
    """Reject an empty ``fields`` (CASE 1.1 binding, section 3.4) instead of ignoring it."""
    unknown_fields: frozenset[str] = frozenset()
    """Fields of the model that the profile does not have."""
    has_sourced_ids: bool = True
    """Accept ``sourcedId`` in ``fields``, because entities have it."""
    searchable: bool = False
    """Accept ``search``."""


STRICT = QueryRules()


@dataclass(frozen=True)
class ListQuery:
    """The parsed and validated query parameters of a list request, such as filter and limit."""

    limit: int
    offset: int
    sort: QueryableField | None
    descending: bool
    where: Node | None
    fields: tuple[str, ...] | None
    search: str | None = None
    """Words to find in items; without ``sort``, the best match comes first."""


def parse_list_query(
    params: Iterable[tuple[str, str]],
    model: type[BaseModel],
    *,
    limits: PageLimits,
    grammar: FilterGrammar,
    rules: QueryRules = STRICT,
) -> ListQuery:
    """Parse the query parameters of a list request, such as ``filter``, into a ``ListQuery``.

    ``params`` are (name, value) pairs. ``model`` is the class of the listed entities. ``limits``,
    ``grammar`` and ``rules`` define what the API profile accepts. Raises ``BadRequest`` listing all
    problems.
    """
    reader = _ParameterReader(params, rules)
    fields = list_fields(model, rules.unknown_fields)
    parse_limit = partial(_parse_int, minimum=1, maximum=limits.maximum)
    query = ListQuery(
        limit=reader.get("limit", parse_limit, limits.default),
        offset=reader.get("offset", partial(_parse_int, minimum=0, maximum=MAX_OFFSET), 0),
        sort=reader.get("sort", partial(_parse_sort, fields=fields), None),
        descending=reader.get("orderBy", _parse_order_by, default=False),
        where=reader.get("filter", partial(parse_filter, fields=fields, grammar=grammar), None),
        fields=reader.get_list("fields", partial(_parse_fields, fields=fields, rules=rules)),
        search=reader.get("search", _parse_search, None) if rules.searchable else None,
    )
    reader.raise_problems()
    return query


def parse_fields(
    params: Iterable[tuple[str, str]], model: type[BaseModel], rules: QueryRules = STRICT
) -> tuple[str, ...] | None:
    """Return the field names that a request for one entity selects in its ``fields`` parameter.

    Returns None, which selects all fields, if the parameter is missing. ``rules`` define what the
    API profile accepts. Raises ``BadRequest`` for names that are not fields of ``model``.
    """
    reader = _ParameterReader(params, rules)
    fields = list_fields(model, rules.unknown_fields)
    selection = reader.get_list("fields", partial(_parse_fields, fields=fields, rules=rules))
    reader.raise_problems()
    return selection


def parse_feed_query(
    params: Iterable[tuple[str, str]], limits: PageLimits
) -> tuple[str | None, int]:
    """Return the cursor and the limit in the query parameters of a change feed request.

    The cursor is the unchecked string of ``since``, or None if it is missing. Raises ``BadRequest``
    listing all problems.
    """
    reader = _ParameterReader(params, STRICT)
    since = reader.get("since", str, "")
    parse_limit = partial(_parse_int, minimum=1, maximum=limits.maximum)
    limit = reader.get("limit", parse_limit, limits.default)
    reader.raise_problems()
    return since or None, limit


def parse_field_names(
    params: Iterable[tuple[str, str]], allowed: Sequence[str], rules: QueryRules = STRICT
) -> tuple[str, ...] | None:
    """Parse a ``fields`` parameter, which selects some of the ``allowed`` members of a response.

    Returns the selected names, or None if the parameter is missing. Raises ``BadRequest`` for names
    that are not allowed.
    """
    reader = _ParameterReader(params, rules)
    selection = reader.get_list("fields", partial(_parse_names, allowed=allowed))
    reader.raise_problems()
    return selection


class _ParameterReader:
    """Parses the query parameters one by one, and collects all problems for a single error."""

    def __init__(self, params: Iterable[tuple[str, str]], rules: QueryRules) -> None:
        self.values: dict[str, list[str]] = {}
        for name, value in params:
            # An empty parameter counts as absent, because the SDK sends unset parameters as empty
            # strings. Only an empty selection may be an error.
            if value or (name == "fields" and rules.rejects_empty_fields):
                self.values.setdefault(name, []).append(value)
        self.problems: dict[str, BadRequest] = {}

    def get(self, name: str, parse: Callable[[str], T], default: T) -> T:
        return self._parse(name, lambda values: parse(_require_single_value(name, values)), default)

    def get_list(self, name: str, parse: Callable[[list[str]], T]) -> T | None:
        return self._parse(name, parse, None)

    def raise_problems(self) -> None:
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

    def _parse(self, name: str, parse: Callable[[list[str]], T], default: T) -> T:
        if name not in self.values:
            return default
        try:
            return parse(self.values[name])
        except BadRequest as problem:
            self.problems[name] = problem
            return default


def _require_single_value(name: str, values: list[str]) -> str:
    if len(set(values)) > 1:
        raise BadRequest("found different values, expected one", code=ERROR_CODES.get(name))
    return values[0]


def _quote(text: str) -> str:
    return f"'{truncate_for_message(text)}'" if text.strip() else "an empty value"


def _parse_int(text: str, *, minimum: int, maximum: int) -> int:
    # Ten digits are enough for every maximum; int() raises its own error for thousands of them.
    if re.fullmatch(r"[0-9]{1,10}", text) and minimum <= int(text) <= maximum:
        return int(text)
    raise BadRequest(f"found {_quote(text)}, expected an integer from {minimum} to {maximum}")


def _parse_sort(name: str, *, fields: Fields) -> QueryableField:
    field = resolve_field(fields, name)
    if field and field.type in SCALARS:
        return field
    result = f"{truncate_for_message(name)}, which is {field.type}" if field else _quote(name)
    allowed = format_choices(
        candidate.name for candidate in fields.values() if candidate.type in SCALARS
    )
    raise BadRequest(f"found {result}, expected {allowed}", code="bad_sort")


def _parse_search(text: str) -> str:
    if text.strip():
        return text
    raise BadRequest(f"found {_quote(text)}, expected words to search for")


def _parse_order_by(text: str) -> bool:
    if text.lower() in ("asc", "desc"):
        return text.lower() == "desc"
    raise BadRequest(f"found {_quote(text)}, expected asc or desc", code="bad_sort")


def _parse_fields(values: list[str], *, fields: Fields, rules: QueryRules) -> tuple[str, ...]:
    allowed = [name for name in fields if "." not in name]
    if rules.has_sourced_ids:
        allowed.append("sourcedId")
    return _parse_names(values, allowed=allowed)


def _parse_names(values: list[str], *, allowed: Sequence[str]) -> tuple[str, ...]:
    names = [name.strip() for value in values for name in value.split(",")]
    if unknown_names := [name for name in names if name not in allowed]:
        result = ", ".join(_quote(name) for name in dict.fromkeys(unknown_names))
        raise BadRequest(
            f"found {result}, expected {format_choices(allowed)}", code="bad_selection"
        )
    return tuple(dict.fromkeys(names))

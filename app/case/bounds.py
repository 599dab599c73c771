"""How much a body may ask of the server: what it may hold, and how many problems are looked for.

A few bytes of JSON can be worth kilobytes of memory: an empty list, an object that lacks four
fields. So a body that is denser than any package is refused before it is read, and the problems
of a large one are looked for piece by piece, until there are enough to work on.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import SchemaValidator, core_schema, to_json

from ..errors import TooLarge

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Path: TypeAlias = tuple[str, ...]
Valid = TypeVar("Valid", bound=BaseModel)

MOST_PROBLEMS = 50_000
"""After how many problems no more are looked for."""

VALUES_ALWAYS = 5000
BYTES_A_VALUE = 16
BYTES_A_GROUP = 40
"""Real packages have a value every forty bytes, an object or list every hundred and fifty."""

PIECE = 50
"""How many members of a list are looked at together."""

MEMBERS = 20
"""How many members of a list inside those."""

NAMES = 100
"""How many fields of an object; no class of the standard has a third of them."""


def refuse_crowded(raw: bytes) -> None:
    """Raise ``TooLarge`` for a body that holds more values than a package of its size can."""
    groups = raw.count(b"[") + raw.count(b"{")
    values = groups + raw.count(b",")
    for count, what, each in (
        (groups, "objects and lists", BYTES_A_GROUP),
        (values, "values", BYTES_A_VALUE),
    ):
        most = VALUES_ALWAYS + len(raw) // each
        if count > most:
            raise TooLarge(
                f"the body holds some {count:,} {what} in {len(raw):,} bytes; "
                f"of so many bytes this server reads {most:,} at most"
            )


class UnknownField(Exception):
    """A body has a field that its class has not; ``every_problem`` says where it stands."""


def quick(schema: type[Valid], raw: bytes) -> Valid:
    """A body, validated only as far as it takes to know that it is not valid.

    Raises pydantic's ``ValidationError`` with one problem of each list, or ``UnknownField``.
    """
    found = _quick(schema).validate_json(raw)
    assert isinstance(found, schema)
    return found


@cache
def _quick(schema: type[BaseModel]) -> SchemaValidator:
    return SchemaValidator(_hasty(schema.__pydantic_core_schema__))


def _hasty(part: Any) -> Any:
    """A schema whose lists end at their first problem, and whose objects at an unknown field."""
    if isinstance(part, (list, tuple)):
        return type(part)(_hasty(value) for value in part)
    if not isinstance(part, dict):
        return part
    changed = {name: _hasty(value) for name, value in part.items()}
    if part.get("type") == "list":
        changed["fail_fast"] = True
    if part.get("type") == "model-fields":
        changed["extra_behavior"] = "allow"
        changed["extras_schema"] = core_schema.no_info_plain_validator_function(_stop)
    return changed


def _stop(_: object) -> None:
    raise UnknownField


def every_problem(schema: type[BaseModel], tree: dict[str, Any]) -> list[ErrorDetails]:
    """What is wrong with a body, in the order of its fields, up to ``MOST_PROBLEMS``.

    Of a list within a list only the beginning is looked at.
    """
    known = _field_names()
    found = _details(schema, _cut(tree, known, PIECE))
    for path, members in _long_lists(tree):
        for start in range(PIECE, len(members), PIECE):
            if len(found) >= MOST_PROBLEMS:
                return found[:MOST_PROBLEMS]
            piece: Any = [_cut(one, known, MEMBERS) for one in members[start : start + PIECE]]
            for name in reversed(path):
                piece = {name: piece}
            found += _moved(_details(schema, piece), path, start)
    return found[:MOST_PROBLEMS]


def _details(schema: type[BaseModel], tree: Any) -> list[ErrorDetails]:
    try:
        # From JSON once more: only there may a date be a text.
        schema.model_validate_json(to_json(tree, inf_nan_mode="constants"))
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _moved(found: list[ErrorDetails], path: Path, start: int) -> Iterator[ErrorDetails]:
    """The problems of a piece of a list, where they stand in the whole of it."""
    for detail in found:
        location = detail["loc"]
        place = location[len(path)] if len(location) > len(path) else None
        if location[: len(path)] == path and isinstance(place, int):
            detail["loc"] = (*path, place + start, *location[len(path) + 1 :])
            yield detail


def _long_lists(tree: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, list[Any]]]:
    """The lists that are longer than one piece, wherever only objects are around them."""
    for name, value in tree.items():
        if isinstance(value, dict) and name != "extensions":
            yield from _long_lists(value, (*path, name))
        elif isinstance(value, list) and len(value) > PIECE:
            yield (*path, name), value


def _cut(value: Any, known: frozenset[str], members: int) -> Any:
    """A value without most of its members, where there are very many."""
    if isinstance(value, list):
        return [_cut(one, known, MEMBERS) for one in value[:members]]
    if isinstance(value, dict):
        names = [name for place, name in enumerate(value) if place < NAMES or name in known]
        cut = (name for name in names if name != "extensions")
        kept = {name: _cut(value[name], known, members) for name in cut}
        return kept | ({"extensions": value["extensions"]} if "extensions" in value else {})
    return value


@cache
def _field_names() -> frozenset[str]:
    from .model import CaseObject  # noqa: PLC0415  which is made of types that are bounded here

    waiting: list[type[CaseObject]] = [CaseObject]
    names: set[str] = set()
    while waiting:
        kind = waiting.pop()
        names |= kind.model_fields.keys()
        waiting += kind.__subclasses__()
    return frozenset(names)

"""Bounds on what a body may cost: how densely it holds values, and how many problems are sought.

A few bytes of JSON can be worth kilobytes of memory: an empty list, an object that lacks four
fields. So a body that is denser than any entity is refused before it is read, and the problems
of a large one are looked for piece by piece, until there are enough to work on. A package is read
entity by entity, so it may be as dense as each of its entities may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import SchemaValidator, core_schema, to_json

from ..exceptions import ContentTooLarge
from .problems import Location, Problems, format_path
from .types import check_extensions

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Valid = TypeVar("Valid", bound=BaseModel)

LARGE_BODY_BYTES = 100_000
"""Bytes beyond which a body is not validated as a whole before its pieces are known to be valid.

Each error of a whole would hold a copy of all that is around it.
"""

MIN_ALLOWED_VALUES = 5000
"""Values that an entity of any size may hold."""

BYTES_PER_VALUE = 20
BYTES_PER_GROUP = 60
"""Real packages have a value every forty bytes, an object or list every two hundred."""

SMALL_BODY_BYTES = 4000
"""Bytes up to which a body that is not valid is validated as it is."""

CHUNK_MEMBERS = 20
"""How many members of a list are looked at together."""

MAX_FIELDS = 100
"""How many fields of an object; no class of the standard has a third of them."""

MAX_STRING_CHARS = 1000
"""How much of a text."""

MAX_EXTENSION_VALUES = 100
"""How many values extensions may hold and still be looked at with what is around them."""

SLICE_BYTES = 1_000_000
"""How much of a body is counted before other threads have a turn."""


class Density(NamedTuple):
    """How many values, and how many objects and arrays among them, a body of any size may hold.

    The larger a body is, the more it may hold beyond these: one for each so many bytes.
    """

    values: int
    groups: int
    bytes_per_group: int = BYTES_PER_GROUP


ENTITY_DENSITY = Density(MIN_ALLOWED_VALUES, MIN_ALLOWED_VALUES)
HEADER_DENSITY = Density(3 * MIN_ALLOWED_VALUES, 3 * MIN_ALLOWED_VALUES)
"""A document, and the extensions of its package and of its definitions."""

RUBRIC_DENSITY = Density(20 * MIN_ALLOWED_VALUES, 4 * MIN_ALLOWED_VALUES)
"""A rubric is read with its criteria and their levels, each of which is an entity."""

TREE_DENSITY = Density(100 * MIN_ALLOWED_VALUES, 4 * MIN_ALLOWED_VALUES, 120)
"""A package under repair, which is in memory as a whole: an object of one field takes 170 bytes
there, a fraction 95 (CPython 3.11)."""


def check_density(raw: bytes, density: Density = ENTITY_DENSITY, where: str = "the body") -> None:
    """Raise ``TooLarge`` for JSON that holds more values than its size allows."""
    groups = _count(raw, b"[") + _count(raw, b"{")
    values = groups + _count(raw, b",")
    most_groups = density.groups + len(raw) // density.bytes_per_group
    most_values = density.values + len(raw) // BYTES_PER_VALUE
    if groups <= most_groups and values <= most_values:
        return
    # Strings hold commas and brackets, too, and leaving them out takes ten times as long.
    groups, commas = _count_outside_strings(raw)
    for count, noun, most in (
        (groups, "objects and arrays", most_groups),
        (groups + commas, "values", most_values),
    ):
        if count > most:
            raise ContentTooLarge(
                f"{where} holds some {count:,} {noun} in {len(raw):,} bytes; "
                f"of so many bytes this server reads {most:,} at most"
            )


def has_many_members(array: bytes) -> bool:
    """Return whether a JSON array has more members than it could have entities."""
    most = MIN_ALLOWED_VALUES + len(array) // BYTES_PER_GROUP
    depth = commas = 0
    for token in TOKEN.finditer(array, array.index(b"[") + 1):
        sign = token[0]
        if sign == b"," and depth == 0:
            commas += 1
            if commas >= most:
                return True
        elif sign in {b"[", b"{"}:
            depth += 1
        elif sign in {b"]", b"}"}:
            depth -= 1
    return False


TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{][^\[\]{}"]*+[\]}]|[\[\]{},]', re.DOTALL)
"""A string, an array or object without strings and groups in it, or a single sign of structure."""


def _count(raw: bytes, sign: bytes) -> int:
    """Return how often a sign is in a body, counted in slices so that other threads have turns."""
    return sum(raw.count(sign, start, start + SLICE_BYTES) for start in _slices(raw))


def _slices(raw: bytes) -> range:
    return range(0, len(raw), SLICE_BYTES)


NOT_STRUCTURE = bytes(set(range(256)) - set(b'",[{'))


def _count_outside_strings(raw: bytes) -> tuple[int, int]:
    """Return how many groups begin, and how many commas are, outside the strings of a body."""
    groups = commas = 0
    is_in_string, carried = False, b""
    for start in _slices(raw):
        piece = carried + raw[start : start + SLICE_BYTES]
        # An escape is not cut in two: what an odd number of backslashes begins is in the next.
        backslashes = len(piece) - len(piece.rstrip(b"\\"))
        carried = b"\\" if backslashes % 2 else b""
        piece = piece.removesuffix(carried)
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.translate(None, NOT_STRUCTURE).split(b'"')
        outside = b"".join(parts[is_in_string::2])
        groups += outside.count(b"[") + outside.count(b"{")
        commas += outside.count(b",")
        is_in_string ^= len(parts) % 2 == 0
    return groups, commas


class UnknownField(Exception):
    """A body has a field that its class has not; ``look_through`` says where it stands."""


def validate_fail_fast(schema: type[Valid], raw: bytes) -> Valid:
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


def collect_errors(
    schema: type[BaseModel], raw: bytes, tree: Any, problems: Problems, at: Location = ()
) -> None:
    """Add all that is wrong with a tiny body, which stands at ``at`` and holds ``tree``."""
    for detail in _details(schema, raw):
        problems.add_pydantic_error(detail, (*at, *detail["loc"]), tree)


def collect_errors_in_chunks(
    schema: type[BaseModel], tree: Any, problems: Problems, at: Location = ()
) -> None:
    """Add what is wrong with a body, which stands at ``at``, piece by piece.

    Of long texts only the beginning is looked at: where nothing is found, the body may still not
    be valid.
    """
    known = known_field_names()
    piece = _cut(tree, known)
    collect_errors(schema, to_json_bytes(piece), piece, problems, at)
    for place, members in _long_lists(tree, ()):
        for start in range(CHUNK_MEMBERS, len(members), CHUNK_MEMBERS):
            if problems.limit_reached:
                return
            problems.chunks += 1
            piece, within = _surrounded(_cut(members[start : start + CHUNK_MEMBERS], known), place)
            found = _details(schema, to_json_bytes(piece))
            if any(within[: len(one["loc"])] == one["loc"] for one in found):
                break  # no list belongs there, which was said of its beginning
            for detail in found:
                location = detail["loc"]
                member = location[len(within)] if len(location) > len(within) else None
                # What else is wrong is wrong with what was put around the members.
                if location[: len(within)] == within and isinstance(member, int):
                    where = (*at, *place, start + member, *location[len(within) + 1 :])
                    problems.add_pydantic_error(detail, where, piece)

    for place, extensions in _large_extensions(tree, ()):
        for message in check_extensions(extensions):
            problems.add(format_path((*at, *place)), message)


def _surrounded(members: list[Any], place: Location) -> tuple[Any, Location]:
    """A list in objects and lists that hold nothing else, and its place there."""
    piece: Any = members
    for step in reversed(place):
        piece = [piece] if isinstance(step, int) else {step: piece}
    return piece, tuple(0 if isinstance(step, int) else step for step in place)


def to_json_bytes(tree: Any) -> bytes:
    """JSON once more: only there may a date be a text."""
    return to_json(tree, inf_nan_mode="constants")


def _details(schema: type[BaseModel], raw: bytes) -> list[ErrorDetails]:
    try:
        schema.model_validate_json(raw)
    except ValidationError as error:
        return error.errors(include_url=False, include_input=False)
    return []


def _long_lists(value: Any, place: Location) -> Iterator[tuple[Location, list[Any]]]:
    """The lists that are longer than one piece, from the outermost on."""
    if isinstance(value, list):
        if len(value) > CHUNK_MEMBERS:
            yield place, value
        for index, one in enumerate(value):
            if isinstance(one, (dict, list)):
                yield from _long_lists(one, (*place, index))
    elif isinstance(value, dict):
        for name, one in value.items():
            if isinstance(one, (dict, list)) and name != "extensions":
                yield from _long_lists(one, (*place, name))


def _large_extensions(value: Any, place: Location) -> Iterator[tuple[Location, dict[str, Any]]]:
    """The extensions that are not looked at with what is around them."""
    if not isinstance(value, (dict, list)):
        return
    parts = enumerate(value) if isinstance(value, list) else value.items()
    for step, one in parts:
        if step != "extensions":
            yield from _large_extensions(one, (*place, step))
        elif isinstance(one, dict) and _is_large(one):
            yield (*place, step), one


def _cut(value: Any, known: frozenset[str]) -> Any:
    """A value without most of its members, where there are very many."""
    if isinstance(value, str):
        return value[:MAX_STRING_CHARS]
    if isinstance(value, list):
        return [_cut(one, known) for one in value[:CHUNK_MEMBERS]]
    if isinstance(value, dict):
        names = [name for place, name in enumerate(value) if place < MAX_FIELDS or name in known]
        cut = (name for name in names if name != "extensions")
        kept = {name[:MAX_STRING_CHARS]: _cut(value[name], known) for name in cut}
        return kept | _small_extensions(value)
    return value


def _small_extensions(value: dict[str, Any]) -> dict[str, Any]:
    """The extensions of an object, or none in place of large ones."""
    if "extensions" not in value:
        return {}
    extensions = value["extensions"]
    large = isinstance(extensions, dict) and _is_large(extensions)
    return {"extensions": {} if large else extensions}


def _is_large(extensions: dict[str, Any]) -> bool:
    return _weight(extensions, MAX_EXTENSION_VALUES) <= 0


def _weight(value: Any, left: int) -> int:
    """How many values there could be beside these; none or fewer as soon as it is too many."""
    if isinstance(value, str):
        return left - len(value) // MAX_STRING_CHARS - 1
    parts = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    for part in parts:
        if left <= 0:
            break
        left = _weight(part, left)
    return left - 1


@cache
def known_field_names() -> frozenset[str]:
    """Return the names of all fields of the model's classes."""
    from .model import CaseObject  # noqa: PLC0415  which is made of types that are bounded here

    waiting: list[type[CaseObject]] = [CaseObject]
    names: set[str] = set()
    while waiting:
        kind = waiting.pop()
        names |= kind.model_fields.keys()
        waiting += kind.__subclasses__()
    return frozenset(names)

"""Limits on what an untrusted JSON body may cost: density and search for errors.

A few bytes of JSON can take kilobytes of memory: an empty list, an object that lacks four fields.
A body that is denser than any real entity is therefore rejected before it is parsed, and errors in
a large body are collected in chunks, until there are enough. A package is parsed entity by entity,
so each of its entities may be as dense as an entity on its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from ...exceptions import ContentTooLarge
from ..model import CaseModel
from ..types import describe_unstorable_extensions
from .problems import Location, ProblemCollector, format_location

LARGE_BODY_BYTES = 100_000
"""A larger body is validated as a whole only after its chunks were found valid, because each error
of the whole contains a copy of its surroundings."""

MIN_ALLOWED_VALUES = 5000
"""Number of values that an entity of any size may contain."""

BYTES_PER_VALUE = 20
BYTES_PER_CONTAINER = 60
"""Bytes per allowed object or array; real packages have a value every 40 bytes, one of these
every 200."""

SMALL_BODY_BYTES = 4000
"""An invalid body up to this size is validated as a whole."""

CHUNK_MEMBERS = 20
"""Members of a list that are validated together."""

MAX_FIELDS = 100
"""Fields of an object that are validated; no class of the standard has a third as many."""

MAX_STRING_CHARS = 1000
"""Characters of a string that are validated."""

MAX_EXTENSION_VALUES = 100
"""Extensions with more values are checked on their own, not with the object around them."""

SLICE_BYTES = 1_000_000
"""Bytes of a body searched per call; other threads may run between two calls."""


class DensityLimit(NamedTuple):
    """A limit on the number of JSON values in a body, which grows with the size of the body.

    A body may contain ``base_values`` values, whatever its size, plus one per ``BYTES_PER_VALUE``
    bytes. Objects and arrays, which take most memory, have a lower limit of their own:
    ``base_containers`` plus one per ``bytes_per_container`` bytes.
    """

    base_values: int
    base_containers: int
    bytes_per_container: int = BYTES_PER_CONTAINER


ENTITY_DENSITY = DensityLimit(MIN_ALLOWED_VALUES, MIN_ALLOWED_VALUES)
DOCUMENT_DENSITY = DensityLimit(3 * MIN_ALLOWED_VALUES, 3 * MIN_ALLOWED_VALUES)
"""For a document with the extensions of its package and of its definitions."""

RUBRIC_DENSITY = DensityLimit(20 * MIN_ALLOWED_VALUES, 4 * MIN_ALLOWED_VALUES)
"""For a rubric with its criteria and their levels, each of which is an entity."""

TREE_DENSITY = DensityLimit(100 * MIN_ALLOWED_VALUES, 4 * MIN_ALLOWED_VALUES, 120)
"""For a package under repair, which is in memory as a whole. An object of one field takes 170 bytes
there, a decimal fraction 95 (CPython 3.11)."""


def check_density(raw: bytes, limit: DensityLimit = ENTITY_DENSITY, part: str = "the body") -> None:
    """Raise ``ContentTooLarge`` if a JSON body contains more values than ``limit`` allows.

    Once parsed, such a body would take far more memory than its size suggests. ``part`` names the
    body in the error message, for example ``"the body"``.
    """
    containers = _count_byte(raw, b"[") + _count_byte(raw, b"{")
    values = containers + _count_byte(raw, b",")
    max_containers = limit.base_containers + len(raw) // limit.bytes_per_container
    max_values = limit.base_values + len(raw) // BYTES_PER_VALUE
    if containers <= max_containers and values <= max_values:
        return
    # Strings contain commas and brackets, too. Counting without strings takes ten times as long, so
    # it is done only now.
    containers, commas = _count_containers_and_commas(raw)
    for count, noun, max_count in (
        (containers, "objects and arrays", max_containers),
        (containers + commas, "values", max_values),
    ):
        if count > max_count:
            raise ContentTooLarge(
                f"{part} contains about {count:,} {noun} in {len(raw):,} bytes; the limit for "
                f"this size is {max_count:,}; send it in parts, or import it as a file"
            )


def has_too_many_members(array: bytes) -> bool:
    """Return whether a JSON array has more members than its size in bytes allows.

    The limit is ``MIN_ALLOWED_VALUES`` plus one member per ``BYTES_PER_CONTAINER`` bytes. No real
    list of entities has so many. Counting stops at the limit and creates no objects.
    """
    limit = MIN_ALLOWED_VALUES + len(array) // BYTES_PER_CONTAINER
    depth = commas = 0
    for token in TOKEN.finditer(array, array.index(b"[") + 1):
        character = token[0]
        if character == b"," and depth == 0:
            commas += 1
            if commas >= limit:
                return True
        elif character in {b"[", b"{"}:
            depth += 1
        elif character in {b"]", b"}"}:
            depth -= 1
    return False


TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{][^\[\]{}"]*+[\]}]|[\[\]{},]', re.DOTALL)
"""A string, an innermost array or object without strings, or one structural character."""


def _count_byte(raw: bytes, byte: bytes) -> int:
    """Count the occurrences of a byte, one slice at a time, so that other threads may run."""
    starts = range(0, len(raw), SLICE_BYTES)
    return sum(raw.count(byte, start, start + SLICE_BYTES) for start in starts)


NOT_STRUCTURE = bytes(set(range(256)) - set(b'",[{'))


def _count_containers_and_commas(raw: bytes) -> tuple[int, int]:
    """Return the numbers of (objects and arrays, commas) in a JSON body, ignoring strings."""
    containers = commas = 0
    is_in_string, carried_backslash = False, b""
    for start in range(0, len(raw), SLICE_BYTES):
        part = carried_backslash + raw[start : start + SLICE_BYTES]
        # An escape sequence that begins at the end of a slice is moved to the next one.
        backslashes = len(part) - len(part.rstrip(b"\\"))
        carried_backslash = b"\\" if backslashes % 2 else b""
        part = part.removesuffix(carried_backslash)
        if b"\\" in part:
            part = part.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = part.translate(None, NOT_STRUCTURE).split(b'"')
        unquoted = b"".join(parts[is_in_string::2])
        containers += unquoted.count(b"[") + unquoted.count(b"{")
        commas += unquoted.count(b",")
        is_in_string ^= len(parts) % 2 == 0
    return containers, commas


def collect_errors(
    schema: type[BaseModel],
    raw: bytes,
    body: Any,
    problems: ProblemCollector,
    location: Location = (),
) -> None:
    """Validate a small JSON body as a model class and add all its errors to ``problems``.

    ``raw`` and ``body`` are the same body, as JSON and parsed. ``location`` is added before each
    error's path, if ``raw`` is part of a larger body.
    """
    for error in _find_errors(schema, raw):
        problems.add_pydantic_error(error, (*location, *error["loc"]), body)


def collect_errors_in_chunks(
    schema: type[BaseModel], body: Any, problems: ProblemCollector, location: Location = ()
) -> None:
    """Validate a large body a few list members at a time, and add its errors to ``problems``.

    Only the beginning of long strings is validated, so a body without errors here may still be
    invalid. ``location`` is the path of ``body`` in a larger body that contains it, or else empty.
    """
    # Each error of pydantic contains a copy of the values around it; chunks keep the copies small.
    known_names = list_model_field_names()
    chunk = _truncate_for_validation(body, known_names)
    collect_errors(schema, to_json_bytes(chunk), chunk, problems, location)
    for path, members in _iter_long_lists(body, ()):
        for start in range(CHUNK_MEMBERS, len(members), CHUNK_MEMBERS):
            if problems.is_limit_reached:
                return
            problems.chunks += 1
            chunk, inner = _wrap_list_members(
                _truncate_for_validation(members[start : start + CHUNK_MEMBERS], known_names), path
            )
            errors = _find_errors(schema, to_json_bytes(chunk))
            if any(inner[: len(error["loc"])] == error["loc"] for error in errors):
                break  # the field is not a list, which was reported with its first members
            for error in errors:
                steps = error["loc"]
                member = steps[len(inner)] if len(steps) > len(inner) else None
                # Other errors are in the objects that surround the members.
                if steps[: len(inner)] == inner and isinstance(member, int):
                    location_in_body = (*location, *path, start + member, *steps[len(inner) + 1 :])
                    problems.add_pydantic_error(error, location_in_body, chunk)

    for path, extensions in _iter_large_extensions(body, ()):
        if message := describe_unstorable_extensions(extensions):
            problems.add_problem(format_location((*location, *path)), message)


def _wrap_list_members(members: list[Any], path: Location) -> tuple[Any, Location]:
    """Wrap part of a list in the structure around it, so that its model class can validate it.

    Returns the structure and the path of the part in it, where each index is 0. Members ``[x, y]``
    of the list at ``("CFItems", 7, "keywords")`` become ``{"CFItems": [{"keywords": [x, y]}]}``,
    with the path ``("CFItems", 0, "keywords")``.
    """
    tree: Any = members
    for step in reversed(path):
        tree = [tree] if isinstance(step, int) else {step: tree}
    return tree, tuple(0 if isinstance(step, int) else step for step in path)


def to_json_bytes(value: Any) -> bytes:
    """Encode a parsed JSON value as JSON bytes, which a strict model class can validate.

    It could not validate the parsed value, because it accepts a date string only in JSON.
    """
    return to_json(value, inf_nan_mode="constants")


def _find_errors(schema: type[BaseModel], raw: bytes) -> list[ErrorDetails]:
    try:
        schema.model_validate_json(raw)
    except ValidationError as error:
        return error.errors(include_url=False, include_input=False)
    return []


def _iter_long_lists(value: Any, path: Location) -> Iterator[tuple[Location, list[Any]]]:
    """Yield (path, members) of each list in ``value`` longer than ``CHUNK_MEMBERS``.

    Outer lists come before the lists inside them. Lists in ``extensions`` are skipped. Each path is
    a tuple such as ``("CFItems", 3, "subject")`` that begins with ``path``, the path of ``value``.
    """
    if isinstance(value, list):
        if len(value) > CHUNK_MEMBERS:
            yield path, value
        for index, member in enumerate(value):
            if isinstance(member, (dict, list)):
                yield from _iter_long_lists(member, (*path, index))
    elif isinstance(value, dict):
        for name, member in value.items():
            if isinstance(member, (dict, list)) and name != "extensions":
                yield from _iter_long_lists(member, (*path, name))


def _iter_large_extensions(value: Any, path: Location) -> Iterator[tuple[Location, dict[str, Any]]]:
    """Yield (path, value) of each ``extensions`` with over ``MAX_EXTENSION_VALUES`` values.

    Each path is a tuple such as ``("CFItems", 3, "extensions")`` that begins with ``path``, the
    path of ``value``.
    """
    if not isinstance(value, (dict, list)):
        return
    members = enumerate(value) if isinstance(value, list) else value.items()
    for step, member in members:
        if step != "extensions":
            yield from _iter_large_extensions(member, (*path, step))
        elif isinstance(member, dict) and _is_large(member):
            yield (*path, step), member


def _truncate_for_validation(value: Any, known_fields: frozenset[str]) -> Any:
    """Return a shortened copy of a JSON value, so that validating it takes bounded time.

    Strings keep ``MAX_STRING_CHARS`` characters, lists ``CHUNK_MEMBERS`` members, and objects
    ``MAX_FIELDS`` fields and all ``known_fields``. Large ``extensions`` are emptied, because they
    are validated separately.
    """
    if isinstance(value, str):
        return value[:MAX_STRING_CHARS]
    if isinstance(value, list):
        return [_truncate_for_validation(member, known_fields) for member in value[:CHUNK_MEMBERS]]
    if not isinstance(value, dict):
        return value
    fields = {
        name[:MAX_STRING_CHARS]: _truncate_for_validation(member, known_fields)
        for index, (name, member) in enumerate(value.items())
        if name != "extensions" and (index < MAX_FIELDS or name in known_fields)
    }
    if "extensions" in value:
        extensions = value["extensions"]
        is_large = isinstance(extensions, dict) and _is_large(extensions)
        fields["extensions"] = {} if is_large else extensions
    return fields


def _is_large(extensions: dict[str, Any]) -> bool:
    return _count_remaining_values(extensions, MAX_EXTENSION_VALUES) <= 0


def _count_remaining_values(value: Any, limit: int) -> int:
    """Return ``limit`` minus the number of JSON values in ``value``, which counts as one itself.

    Counting stops at the limit, and the result is then 0 or less. A string of n characters counts
    as 1 + n // ``MAX_STRING_CHARS`` values.
    """
    if isinstance(value, str):
        return limit - len(value) // MAX_STRING_CHARS - 1
    parts = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    for part in parts:
        if limit <= 0:
            break
        limit = _count_remaining_values(part, limit)
    return limit - 1


@cache
def list_model_field_names() -> frozenset[str]:
    """Return the names of all fields that any class of the CASE model defines."""
    pending_models: list[type[CaseModel]] = [CaseModel]
    names: set[str] = set()
    while pending_models:
        model = pending_models.pop()
        names |= model.model_fields.keys()
        pending_models += model.__subclasses__()
    return frozenset(names)

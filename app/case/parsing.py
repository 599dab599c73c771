"""Bytes that a client sent, read into a class of the model, or refused with every problem.

A body may be bare or wrapped (``{"item": {…}}``), and may use the spellings of TimeBack's SDK:
``sourcedId`` for ``identifier``, ``cfItemType`` for ``CFItemType``, and ``licenseUri``, a text, for
the link ``licenseURI``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from reprlib import Repr
from typing import Any, Generic, TypeVar
from uuid import NAMESPACE_URL, uuid5

from pydantic import ValidationError, create_model
from pydantic_core import from_json

from ..exceptions import BadRequest, Problem
from .limits import (
    LARGE_BODY_BYTES,
    SMALL_BODY_BYTES,
    UnknownField,
    check_density,
    collect_errors,
    collect_errors_in_chunks,
    to_json_bytes,
    validate_fail_fast,
)
from .model import CaseObject, CFAssociation, CFPackage, CFRubric, Entity
from .numbers import find_inexact_numbers
from .problems import MAX_LISTED_PROBLEMS, UNKNOWN_FIELD, Location, Problems, format_path
from .types import URI_PATTERN

Read = TypeVar("Read", bound=CaseObject)

FIRST_MEMBER = re.compile(rb'^\s*\{\s*"(\w+)"\s*:\s*\{')
"""The first name of an object, where an object stands under it."""


SHORT = Repr()
SHORT.maxstring = 300
"""A value as a message shows it; an identifier is at most that long."""


@dataclass(frozen=True)
class ParsedBody(Generic[Read]):
    """What was read, and what the paths of problems in it begin with: ``item.`` or nothing."""

    entity: Read
    path_prefix: str


def parse(
    schema: type[Read], raw: bytes, wrappers: Sequence[str] = (), *, allow_dense: bool = False
) -> ParsedBody[Read]:
    """Read a body, which may be wrapped in one of the names in ``wrappers``.

    Raises ``BadRequest`` when it is not a JSON object, ``TooLarge`` when it is denser than an
    entity may be, unless ``allow_dense``, else ``InvalidData`` with every problem.
    """
    if not allow_dense:
        check_density(raw)
    first = FIRST_MEMBER.match(raw)
    wrapper = first[1].decode() if first else ""
    if wrapper not in wrappers:
        return ParsedBody(_validate(schema, raw), path_prefix="")
    entity = getattr(_validate(_wrapped(schema, wrapper), raw), wrapper)
    assert isinstance(entity, schema)
    return ParsedBody(entity, path_prefix=f"{wrapper}.")


@cache
def _wrapped(schema: type[CaseObject], wrapper: str) -> type[CaseObject]:
    fields: dict[str, Any] = {wrapper: (schema, ...)}
    return create_model(f"Wrapped{schema.__name__}", __base__=CaseObject, **fields)


def _validate(schema: type[Read], raw: bytes) -> Read:
    problems = Problems()
    entity = parse_collecting(schema, raw, problems)
    if entity is None:
        raise problems.to_exception(_name(schema))
    return entity


def parse_collecting(
    schema: type[Read], raw: bytes, problems: Problems, at: Location = ()
) -> Read | None:
    """What is read of JSON that stands at ``at`` in a body; None when it adds to ``problems``.

    Raises ``BadRequest`` when it is not JSON, or a whole body that is not an object.
    """
    small, before = len(raw) <= LARGE_BODY_BYTES, problems.count
    valid = _quick_or_none(schema, raw) if small else None
    if valid and not _has_numbers(valid, raw):
        return valid
    for place, message in find_inexact_numbers(raw):
        problems.add(format_path((*at, *place)), message)
    if valid:
        return valid if problems.count == before else None
    tree = _parse(raw)
    if not (at or isinstance(tree, dict)):
        raise BadRequest(f"the body must be a JSON object, a {_name(schema)}")
    # Most bodies use the standard's spelling, so others are looked for only when one is not valid.
    if OTHER_SPELLING.search(raw):
        if not _respelt(tree, problems, at):
            return None
        raw = to_json_bytes(tree)
        if small and (valid := _quick_or_none(schema, raw)):
            return valid if problems.count == before else None
    if len(raw) <= SMALL_BODY_BYTES:
        collect_errors(schema, raw, tree, problems, at)
    else:
        collect_errors_in_chunks(schema, tree, problems, at)
    if problems.count > before:
        return None
    return _whole(schema, tree, problems, at)


def _has_numbers(entity: CaseObject, raw: bytes) -> bool:
    """Return whether a valid entity may hold numbers other than plain integers."""
    match entity:
        case CFRubric() | CFPackage():
            return True
        case CFAssociation(extensions=None):
            return entity.sequenceNumber is not None and not PLAIN_SEQUENCE_NUMBER.search(raw)
        case Entity():
            return entity.extensions is not None
    return any(_has_numbers(wrapped, raw) for wrapped in vars(entity).values())


PLAIN_SEQUENCE_NUMBER = re.compile(rb'"sequenceNumber"\s*:\s*-?[0-9]{1,10}\s*[,}]')


def _whole(schema: type[Read], tree: Any, problems: Problems, at: Location) -> Read | None:
    """What is read of a body whose pieces have no problem; a text's end may still have one."""
    try:
        return validate_fail_fast(schema, to_json_bytes(tree))
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            problems.add_pydantic_error(detail, (*at, *detail["loc"]), tree)
    except UnknownField:
        problems.add(format_path(at), f"somewhere in its very long lists: {UNKNOWN_FIELD}")
    return None


def _quick_or_none(schema: type[Read], raw: bytes) -> Read | None:
    try:
        return validate_fail_fast(schema, raw)
    except (UnknownField, ValidationError):
        return None


def _parse(raw: bytes) -> Any:
    try:
        return from_json(raw)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None


def _license_link(value: Any) -> Any:
    """A licence named by a text, as the link it stands for; the same text is the same licence."""
    if not isinstance(value, str) or not value:
        return value
    identifier = str(uuid5(NAMESPACE_URL, value))
    uri = value if re.match(URI_PATTERN, value) else f"urn:uuid:{identifier}"
    return {"title": value, "identifier": identifier, "uri": uri}


FIELD_ALIASES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "sourcedId": ("identifier", lambda value: value),
    "cfItemType": ("CFItemType", lambda value: value),
    "licenseUri": ("licenseURI", _license_link),
}
"""Other names that fields go by, and what their values mean."""

OTHER_SPELLING = re.compile("|".join((*FIELD_ALIASES, r"\\u")).encode())
"""What a body holds that has one of them, if escaped."""


def _respelt(tree: Any, problems: Problems, at: Location) -> bool:
    """Respell a tree in place; add what contradicts itself, and return whether nothing does."""
    contradictions = [*islice(_respell(tree, format_path(at)), MAX_LISTED_PROBLEMS)]
    for problem in contradictions:
        problems.add(**problem)
    return not contradictions


def _respell(value: Any, here: str) -> Iterator[Problem]:
    """Say everything in the standard's names, and yield what contradicts itself."""
    if isinstance(value, list):
        for index, part in enumerate(value):
            if isinstance(part, (dict, list)):
                yield from _respell(part, f"{here}[{index}]")
    if not isinstance(value, dict):
        return
    yield from _rename_fields(value, here)
    for name, part in value.items():
        if isinstance(part, (dict, list)) and name != "extensions":
            yield from _respell(part, f"{here}.{name}")


def _rename_fields(value: dict[str, Any], here: str) -> Iterator[Problem]:
    """Give the fields of an object their standard names, and yield what contradicts itself."""
    for other in [name for name in FIELD_ALIASES if name in value]:
        name, meaning = FIELD_ALIASES[other]
        meant = meaning(value.pop(other))
        # The SDK writes an empty string for no value.
        if meant is None or meant == "":
            continue
        if value.get(name) is None:
            value[name] = meant
        if value[name] != meant:
            message = f"differs from {name}, which is {SHORT.repr(value[name])}"
            yield Problem(path=f"{here}.{other}".lstrip("."), message=message)


def _name(schema: type[CaseObject]) -> str:
    name = schema.__name__.removeprefix("Wrapped")
    for prefix in ("Named", "Uploaded"):
        name = name.removeprefix(prefix)
    return name.replace("CFPckg", "CF")

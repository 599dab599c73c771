"""Parse a JSON body into a class of the model, or reject it with all its errors.

A body may be bare or wrapped (``{"item": {…}}``), and may use the field names of TimeBack's SDK:
``sourcedId`` for ``identifier``, ``cfItemType`` for ``CFItemType``, and ``licenseUri``, a string,
for the link ``licenseURI``.
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

Model = TypeVar("Model", bound=CaseObject)

FIRST_MEMBER = re.compile(rb'^\s*\{\s*"(\w+)"\s*:\s*\{')
"""The first field of an object if its value is an object."""

SHORT = Repr()
SHORT.maxstring = 300
"""Formats values in messages; 300 characters are enough for any identifier."""


@dataclass(frozen=True)
class ParsedBody(Generic[Model]):
    """A parsed body, with the prefix of all paths in its errors: ``item.`` if it was wrapped."""

    entity: Model
    path_prefix: str


def parse_json_body(
    schema: type[Model], raw: bytes, wrappers: Sequence[str] = (), *, allow_dense: bool = False
) -> ParsedBody[Model]:
    """Parse and validate a JSON body as a model class, or reject it with all its errors.

    Some clients wrap the body in an object with a single field, such as ``{"item": {…}}``;
    ``wrappers`` contains the accepted names. Raises ``BadRequest`` if it is not a JSON object,
    ``ContentTooLarge`` if it has more values than its size allows, unless ``allow_dense``, and
    ``UnprocessableContent`` with all its errors.
    """
    if not allow_dense:
        check_density(raw)
    first = FIRST_MEMBER.match(raw)
    wrapper = first[1].decode() if first else ""
    if wrapper not in wrappers:
        return ParsedBody(_validate(schema, raw), path_prefix="")
    entity = getattr(_validate(_make_wrapper_class(schema, wrapper), raw), wrapper)
    assert isinstance(entity, schema)
    return ParsedBody(entity, path_prefix=f"{wrapper}.")


@cache
def _make_wrapper_class(schema: type[CaseObject], wrapper: str) -> type[CaseObject]:
    fields: dict[str, Any] = {wrapper: (schema, ...)}
    return create_model(f"Wrapped{schema.__name__}", __base__=CaseObject, **fields)


def _validate(schema: type[Model], raw: bytes) -> Model:
    problems = Problems()
    entity = parse_or_collect_errors(schema, raw, problems)
    if entity is None:
        raise problems.to_exception(_get_standard_name(schema))
    return entity


def parse_or_collect_errors(
    schema: type[Model], raw: bytes, problems: Problems, at: Location = ()
) -> Model | None:
    """Parse JSON as a model class, or add its errors to ``problems`` and return None.

    ``at`` is the location of the JSON if it is a part of the request body. Raises ``BadRequest`` if
    it is not JSON, or if it is a whole body and not an object.
    """
    is_small, before = len(raw) <= LARGE_BODY_BYTES, problems.count
    valid = _validate_or_none(schema, raw) if is_small else None
    if valid and not _may_have_fractions(valid, raw):
        return valid
    for location, message in find_inexact_numbers(raw):
        problems.add(format_path((*at, *location)), message)
    if valid:
        return valid if problems.count == before else None
    tree = _parse_json(raw)
    if not (at or isinstance(tree, dict)):
        raise BadRequest(f"the body must be a JSON object, a {_get_standard_name(schema)}")
    # Most bodies use the names of the standard, so aliases are looked up only in invalid bodies.
    if ALIAS_PATTERN.search(raw):
        if not _normalize_aliases(tree, problems, at):
            return None
        raw = to_json_bytes(tree)
        if is_small and (valid := _validate_or_none(schema, raw)):
            return valid if problems.count == before else None
    if len(raw) <= SMALL_BODY_BYTES:
        collect_errors(schema, raw, tree, problems, at)
    else:
        collect_errors_in_chunks(schema, tree, problems, at)
    if problems.count > before:
        return None
    return _validate_whole(schema, tree, problems, at)


def _may_have_fractions(entity: CaseObject, raw: bytes) -> bool:
    """Return whether a valid entity may contain numbers that are not plain integers."""
    match entity:
        case CFRubric() | CFPackage():
            return True
        case CFAssociation(extensions=None):
            return entity.sequenceNumber is not None and not PLAIN_SEQUENCE_NUMBER.search(raw)
        case Entity():
            return entity.extensions is not None
    return any(_may_have_fractions(wrapped, raw) for wrapped in vars(entity).values())


PLAIN_SEQUENCE_NUMBER = re.compile(rb'"sequenceNumber"\s*:\s*-?[0-9]{1,10}\s*[,}]')


def _validate_whole(
    schema: type[Model], tree: Any, problems: Problems, at: Location
) -> Model | None:
    """Validate a whole body, including the ends of long strings, which its chunks left out."""
    try:
        return validate_fail_fast(schema, to_json_bytes(tree))
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            problems.add_pydantic_error(detail, (*at, *detail["loc"]), tree)
    except UnknownField:
        problems.add(format_path(at), f"somewhere in its very long lists: {UNKNOWN_FIELD}")
    return None


def _validate_or_none(schema: type[Model], raw: bytes) -> Model | None:
    try:
        return validate_fail_fast(schema, raw)
    except (UnknownField, ValidationError):
        return None


def _parse_json(raw: bytes) -> Any:
    try:
        return from_json(raw)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}; send a JSON object") from None


def _make_license_link(value: Any) -> Any:
    """Convert a license given as a string to a link; its identifier is made from the string."""
    if not isinstance(value, str) or not value:
        return value
    identifier = str(uuid5(NAMESPACE_URL, value))
    uri = value if re.match(URI_PATTERN, value) else f"urn:uuid:{identifier}"
    return {"title": value, "identifier": identifier, "uri": uri}


FIELD_ALIASES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "sourcedId": ("identifier", lambda value: value),
    "cfItemType": ("CFItemType", lambda value: value),
    "licenseUri": ("licenseURI", _make_license_link),
}
"""Field names of the SDK: the name in the standard, and the conversion of the value."""

ALIAS_PATTERN = re.compile("|".join((*FIELD_ALIASES, r"\\u")).encode())
"""Occurs in any body with an alias, which may be written with escape sequences."""


def _normalize_aliases(tree: Any, problems: Problems, at: Location) -> bool:
    """Rename the fields that TimeBack's SDK names differently to their standard names, in place.

    Returns False, and adds an error to ``problems``, if an object has both names with different
    values.
    """
    contradictions = [*islice(_rename_aliases(tree, format_path(at)), MAX_LISTED_PROBLEMS)]
    for problem in contradictions:
        problems.add(**problem)
    return not contradictions


def _rename_aliases(value: Any, path: str) -> Iterator[Problem]:
    """Rename the SDK's field names in a value and all values in it; yield an error per conflict."""
    if isinstance(value, list):
        for index, part in enumerate(value):
            if isinstance(part, (dict, list)):
                yield from _rename_aliases(part, f"{path}[{index}]")
    if not isinstance(value, dict):
        return
    yield from _rename_aliases_in_object(value, path)
    for name, part in value.items():
        if isinstance(part, (dict, list)) and name != "extensions":
            yield from _rename_aliases(part, f"{path}.{name}")


def _rename_aliases_in_object(json_object: dict[str, Any], path: str) -> Iterator[Problem]:
    """Rename the SDK's field names in one object; yield an error if both names have a value."""
    for alias in [name for name in FIELD_ALIASES if name in json_object]:
        name, convert = FIELD_ALIASES[alias]
        value = convert(json_object.pop(alias))
        # The SDK writes an empty string for no value.
        if value is None or value == "":
            continue
        if json_object.get(name) is None:
            json_object[name] = value
        if json_object[name] != value:
            message = f"differs from {name}, which is {SHORT.repr(json_object[name])}"
            yield Problem(path=f"{path}.{alias}".lstrip("."), message=message)


def _get_standard_name(schema: type[CaseObject]) -> str:
    """Return the name that the standard gives a model class, for messages."""
    name = schema.__name__.removeprefix("Wrapped")
    for prefix in ("Named", "Uploaded"):
        name = name.removeprefix(prefix)
    return name.replace("CFPckg", "CF")

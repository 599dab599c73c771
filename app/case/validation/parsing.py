"""Parse a JSON body into a class of the model, or reject it with all its errors.

A body may be bare or wrapped (``{"item": {…}}``), and may use the field names of TimeBack's SDK:
``sourcedId`` for ``identifier``, ``cfItemType`` for ``CFItemType``, and ``licenseUri``, a string,
for the link ``licenseURI``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from reprlib import Repr
from typing import Any, Generic, TypeVar
from uuid import NAMESPACE_URL, uuid5

from pydantic import ValidationError, create_model
from pydantic_core import from_json

from ...exceptions import BadRequest
from ..model import CaseModel, CFAssociation, CFPackage, CFRubric, Entity
from ..types import URI_PATTERN
from .limits import (
    LARGE_BODY_BYTES,
    SMALL_BODY_BYTES,
    check_density,
    collect_errors,
    collect_errors_in_chunks,
    to_json_bytes,
)
from .numbers import find_inexact_numbers
from .problems import Location, ProblemCollector, format_location

Model = TypeVar("Model", bound=CaseModel)

FIRST_MEMBER = re.compile(rb'^\s*\{\s*"(\w+)"\s*:\s*\{')
"""The first field of an object if its value is an object."""

SHORT = Repr()
SHORT.maxstring = 300
"""Formats values in messages; 300 characters are enough for any identifier."""


@dataclass(frozen=True)
class ParsedBody(Generic[Model]):
    """A parsed body, and the prefix to put before the paths in its error messages.

    ``entity`` is the model instance. The prefix is ``item.`` if the body was wrapped, as in
    ``{"item": {…}}``, and otherwise empty.
    """

    entity: Model
    path_prefix: str


def parse_json_body(
    schema: type[Model], raw: bytes, wrappers: Sequence[str] = (), *, allow_dense: bool = False
) -> ParsedBody[Model]:
    """Parse and validate a JSON body into a ``ParsedBody`` with an instance of ``schema``.

    ``wrappers`` names the fields in which clients may wrap the body, as in ``{"item": {…}}``.
    Raises ``BadRequest`` if the body is not a JSON object, ``UnprocessableContent`` with all errors
    if it is invalid, and, unless ``allow_dense``, ``ContentTooLarge`` if it has too many values for
    its size.
    """
    if not allow_dense:
        check_density(raw)
    first_member = FIRST_MEMBER.match(raw)
    wrapper = first_member[1].decode() if first_member else ""
    if wrapper not in wrappers:
        return ParsedBody(_validate(schema, raw), path_prefix="")
    entity = getattr(_validate(_make_wrapper_class(schema, wrapper), raw), wrapper)
    assert isinstance(entity, schema)
    return ParsedBody(entity, path_prefix=f"{wrapper}.")


@cache
def _make_wrapper_class(schema: type[CaseModel], wrapper: str) -> type[CaseModel]:
    fields: dict[str, Any] = {wrapper: (schema, ...)}
    return create_model(f"Wrapped{schema.__name__}", __base__=CaseModel, **fields)


def _validate(schema: type[Model], raw: bytes) -> Model:
    problems = ProblemCollector()
    entity = parse_or_collect_errors(schema, raw, problems)
    if entity is None:
        raise problems.to_exception(get_standard_name(schema))
    return entity


def parse_or_collect_errors(
    schema: type[Model], raw: bytes, problems: ProblemCollector, location: Location = ()
) -> Model | None:
    """Parse JSON into an instance of ``schema``, or add its errors to ``problems``.

    Returns None if there are errors. ``location`` is a tuple with the path of ``raw`` in a larger
    body, or empty if ``raw`` is the whole body. Raises ``BadRequest`` if ``raw`` is not JSON, or is
    the whole body and not an object.
    """
    is_small, count_before = len(raw) <= LARGE_BODY_BYTES, problems.count
    # Entities of responses are invalid until sourcedId is renamed, so validation would be wasted.
    is_response = raw.find(SOURCED_ID, 0, SEARCHED_BYTES) >= 0
    model = _validate_or_none(schema, raw) if is_small and not is_response else None
    if model and not _requires_number_check(model, raw):
        return model
    for steps, message in find_inexact_numbers(raw):
        problems.add_problem(format_location((*location, *steps)), message)
    if model:
        return model if problems.count == count_before else None
    body = _parse_json(raw)
    if not (location or isinstance(body, dict)):
        raise BadRequest(f"the body must be a JSON object, a {get_standard_name(schema)}")
    # Most other bodies use the names of the standard, so aliases are looked up only if invalid.
    if ALIAS_PATTERN.search(raw):
        count_before_aliases = problems.count
        _rename_aliases(body, problems, location)
        if problems.count > count_before_aliases:
            return None
        raw = to_json_bytes(body)
        if is_small and (model := _validate_or_none(schema, raw)):
            return model if problems.count == count_before else None
    if len(raw) <= SMALL_BODY_BYTES:
        collect_errors(schema, raw, body, problems, location)
    else:
        collect_errors_in_chunks(schema, body, problems, location)
    if problems.count > count_before:
        return None
    return _validate_completely(schema, body, problems, location)


def _requires_number_check(entity: CaseModel, raw: bytes) -> bool:
    """Return whether numbers in ``raw``, the JSON of ``entity``, need a check for rounding.

    False means that parsing has not rounded any number. True means that it may have.
    """
    match entity:
        case CFRubric() | CFPackage():
            return True
        case CFAssociation(extensions=None):
            return entity.sequenceNumber is not None and not PLAIN_SEQUENCE_NUMBER.search(raw)
        case Entity():
            return entity.extensions is not None
    return any(_requires_number_check(member, raw) for member in vars(entity).values())


PLAIN_SEQUENCE_NUMBER = re.compile(rb'"sequenceNumber"\s*:\s*-?[0-9]{1,10}\s*[,}]')


def _validate_completely(
    schema: type[Model], body: Any, problems: ProblemCollector, location: Location
) -> Model | None:
    """Validate a parsed body in one piece and return the model instance, or None if invalid.

    Adds the errors to ``problems``. It finds errors that ``collect_errors_in_chunks`` misses, such
    as at the end of long strings.
    """
    try:
        return schema.model_validate_json(to_json_bytes(body))
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            problems.add_pydantic_error(detail, (*location, *detail["loc"]), body)
    return None


def _validate_or_none(schema: type[Model], raw: bytes) -> Model | None:
    try:
        return schema.model_validate_json(raw)
    except ValidationError:
        return None


def _parse_json(raw: bytes) -> Any:
    try:
        return from_json(raw)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}; send a JSON object") from None


def _make_license_link(value: Any) -> Any:
    """Convert a license string to a link: a dict with title, identifier and URI.

    Other values and empty strings are returned unchanged. The identifier is derived from the
    string, so that equal strings get equal links.
    """
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

SOURCED_ID = b'"sourcedId"'
"""The alias that responses of this server contain."""

SEARCHED_BYTES = 300
"""Beginning of a body that is searched for ``SOURCED_ID``. In responses it follows the identifier.
Searching whole bodies would add 2.5 % to the CPU of parsing a package that has none."""

ALIAS_PATTERN = re.compile("|".join((*FIELD_ALIASES, r"\\u")).encode())
"""Occurs in any body with an alias, which may be written with escape sequences."""


def _rename_aliases(value: Any, problems: ProblemCollector, location: Location) -> None:
    """Rename all fields in ``FIELD_ALIASES`` to their standard names, recursively and in place.

    ``value`` is parsed JSON, and ``location`` its path in the body. Fields inside ``extensions``
    keep their names. Adds an error to ``problems`` for each field that an object has under both
    names with different values.
    """
    if isinstance(value, list):
        for index, part in enumerate(value):
            if isinstance(part, (dict, list)):
                _rename_aliases(part, problems, (*location, index))
    if not isinstance(value, dict):
        return
    for alias in FIELD_ALIASES:
        if alias in value:
            _rename_alias(value, alias, problems, location)
    for name, part in value.items():
        if isinstance(part, (dict, list)) and name != "extensions":
            _rename_aliases(part, problems, (*location, name))


def _rename_alias(
    json_object: dict[str, Any], alias: str, problems: ProblemCollector, location: Location
) -> None:
    """Rename the field ``alias`` of ``json_object`` to its standard name and convert its value.

    ``FIELD_ALIASES`` defines the name and the conversion. An empty value is dropped. If the
    standard field already has a different value, it keeps that, and an error is added to
    ``problems``. ``location`` is the path of the object in the body.
    """
    name, convert = FIELD_ALIASES[alias]
    value = convert(json_object.pop(alias))
    # The SDK writes an empty string for no value.
    if value is None or value == "":
        return
    if json_object.get(name) is None:
        json_object[name] = value
    if json_object[name] != value:
        message = f"differs from {name}, which is {SHORT.repr(json_object[name])}"
        problems.add_problem(format_location((*location, alias)), message)


def get_standard_name(schema: type[CaseModel]) -> str:
    """Return the name that CASE gives a model class, for example CFItem for CFPckgItem."""
    name = schema.__name__.removeprefix("Wrapped")
    for prefix in ("Identified", "Uploaded"):
        name = name.removeprefix(prefix)
    return name.replace("CFPckg", "CF")

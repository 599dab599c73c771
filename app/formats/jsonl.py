"""Frameworks as lines of JSON: one entity a line, under the name of its class.

``{"CFDocument": {…}}`` comes first; ``CFItem``, ``CFAssociation``, the classes of definitions and
``CFRubric`` follow. ``CFPackage`` and ``CFDefinition`` lines hold extensions of these two.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import BinaryIO, Self

import orjson
from pydantic_core import from_json

from ..case.numbers import find_inexact_numbers
from ..case.problems import format_path
from ..case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS
from ..exceptions import BadRequest, Problem
from ..repair.encoding import detect_encoding, to_utf8
from .rows import JsonObject, Location

PACKAGE_LISTS = {resource.name: resource.plural for resource in (ITEMS, ASSOCIATIONS, RUBRICS)}
DEFINITION_LISTS = {resource.name: resource.plural for resource in DEFINITIONS}
EXTENSION_CLASSES = ("CFPackage", "CFDefinition")


class JsonLinesWriter:
    """Writes entities as lines, as they come."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The file is its owner's to close."""

    def add(self, kind: str, entity: JsonObject) -> None:
        """Write one entity."""
        self._file.write(orjson.dumps({kind: entity}, option=orjson.OPT_APPEND_NEWLINE))

    def finish(self) -> None:
        """Nothing is held back."""


def read_json_lines(raw: bytes) -> tuple[JsonObject, dict[str, Location], list[Problem]]:
    """The package that lines say, where each entity stood, and what could not be read."""
    package: JsonObject = {
        "CFItems": [],
        "CFAssociations": [],
        "CFDefinitions": {},
        "CFRubrics": [],
    }
    places: dict[str, Location] = {}
    problems: list[Problem] = []
    if (encoding := detect_encoding(raw)) != "utf-8":
        raw = to_utf8(raw, encoding)
    for number, line in enumerate(raw.removeprefix(BOM_UTF8).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            place = Location(f"line {number}")
            places[_add(package, line)] = place
            problems += [
                Problem(path=place.describe(format_path(steps[1:])), message=message)
                for steps, message in find_inexact_numbers(line)
            ]
        except ValueError as error:
            problems.append(Problem(path=f"line {number}", message=str(error)))
    if not places and problems:
        raise BadRequest(f"the file is not lines of JSON: {problems[0]['message']}")
    return package, places, problems


def is_export(raw: bytes) -> bool:
    """Return whether lines have, byte for byte, the form in which ``Lines`` writes them."""
    if not raw.startswith(b'{"CFDocument":{'):
        return False
    lines = raw.split(b"\n")
    return not lines.pop() and all(_is_canonical(line) for line in lines)


def _is_canonical(line: bytes) -> bool:
    try:
        return orjson.dumps(orjson.loads(line)) == line
    except orjson.JSONDecodeError:
        return False


def _add(package: JsonObject, line: bytes) -> str:
    """Put the entity of a line where it belongs, and answer with its path."""
    try:
        said = from_json(line)  # orjson would make floats of large integers
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(said, dict) or len(said) != 1:
        raise ValueError('must be one object under the name of its class: {"CFItem": {…}}')
    ((kind, entity),) = said.items()
    if not isinstance(entity, dict):
        raise ValueError(f"{kind} must be an object")  # noqa: TRY004  a person reads this
    if kind in EXTENSION_CLASSES:
        held = package["CFDefinitions"] if kind == "CFDefinition" else package
        held |= {name: value for name, value in entity.items() if name == "extensions"}
        return "CFDefinitions" if kind == "CFDefinition" else "CFPackage"
    if kind == DOCUMENTS.name:
        if kind in package:
            raise ValueError("a second CFDocument; a file holds one framework")
        package[kind] = entity
        return DOCUMENTS.name
    if kind not in PACKAGE_LISTS | DEFINITION_LISTS:
        raise ValueError(f"{kind} is no class that a line can hold")
    inside = kind in DEFINITION_LISTS
    held = package["CFDefinitions"] if inside else package
    plural = (PACKAGE_LISTS | DEFINITION_LISTS)[kind]
    members = held.setdefault(plural, [])
    members.append(entity)
    return f"{'CFDefinitions.' if inside else ''}{plural}[{len(members) - 1}]"

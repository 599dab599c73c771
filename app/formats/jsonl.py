"""Read and write frameworks as JSON Lines: one entity a line, under the name of its class.

``{"CFDocument": {…}}`` comes first; ``CFItem``, ``CFAssociation``, the classes of definitions and
``CFRubric`` follow. Lines ``CFPackage`` and ``CFDefinition`` hold the extensions of these two.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import BinaryIO

import orjson
from pydantic_core import from_json

from ..case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS
from ..case.validation.numbers import find_inexact_numbers
from ..case.validation.problems import format_location
from ..exceptions import BadRequest, Problem
from ..repair.encoding import convert_to_utf8, detect_encoding
from .file_format import FrameworkWriter
from .tabular.rows import JsonObject, RowLocation

LISTS = {
    resource.name: resource.collection for resource in (ITEMS, ASSOCIATIONS, RUBRICS, *DEFINITIONS)
}
DEFINITION_CLASSES = {resource.name for resource in DEFINITIONS}
EXTENSION_CLASSES = ("CFPackage", "CFDefinition")


class JsonLinesWriter(FrameworkWriter):
    """Writes a framework as JSON Lines: each added entity is immediately written as one line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, kind: str, entity: JsonObject) -> None:
        """Write an entity as a line ``{kind: entity}``; ``kind`` is its class, such as CFItem."""
        self._file.write(orjson.dumps({kind: entity}, option=orjson.OPT_APPEND_NEWLINE))


def read_json_lines(raw: bytes) -> tuple[JsonObject, dict[str, RowLocation], list[Problem]]:
    """Parse JSON Lines and return (package, locations, problems).

    ``locations`` maps the path of each entity in the package, such as ``CFItems[0]``, to its line.
    ``problems`` lists invalid lines, and numbers that a double would round. Raises ``BadRequest``
    if no line can be read.
    """
    package: JsonObject = {
        "CFItems": [],
        "CFAssociations": [],
        "CFDefinitions": {},
        "CFRubrics": [],
    }
    locations: dict[str, RowLocation] = {}
    problems: list[Problem] = []
    if (encoding := detect_encoding(raw)) != "utf-8":
        raw = convert_to_utf8(raw, encoding)
    for number, line in enumerate(raw.removeprefix(BOM_UTF8).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            location = RowLocation(f"line {number}")
            locations[_add_entity_from_line(package, line)] = location
            problems += [
                Problem(path=location.describe(format_location(steps[1:])), message=message)
                for steps, message in find_inexact_numbers(line)
            ]
        except ValueError as error:
            problems.append(Problem(path=f"line {number}", message=str(error)))
    if not locations and problems:
        raise BadRequest(f"the file is not JSON Lines: {problems[0]['message']}")
    return package, locations, problems


def is_json_lines_export(raw: bytes) -> bool:
    """Return whether a JSON Lines file is byte for byte what ``JsonLinesWriter`` writes.

    Such a file is an unchanged export, so import reads it without repairs.
    """
    if not raw.startswith(b'{"CFDocument":{'):
        return False
    lines = raw.split(b"\n")
    try:
        return not lines.pop() and all(orjson.dumps(orjson.loads(line)) == line for line in lines)
    except orjson.JSONDecodeError:
        return False


def _add_entity_from_line(package: JsonObject, line: bytes) -> str:
    """Parse a line, add its entity to ``package``, and return its path, such as ``CFItems[3]``.

    Raises ``ValueError`` for a line that is not JSON or not ``{class: entity}``.
    """
    try:
        value = from_json(line)  # orjson would read large integers as floats
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError('must be one object under the name of its class: {"CFItem": {…}}')
    ((kind, entity),) = value.items()
    if not isinstance(entity, dict):
        raise ValueError(f"{kind} must be an object")  # noqa: TRY004  reported as a problem
    if kind in EXTENSION_CLASSES:
        holder = package["CFDefinitions"] if kind == "CFDefinition" else package
        holder |= {name: value for name, value in entity.items() if name == "extensions"}
        return "CFDefinitions" if kind == "CFDefinition" else "CFPackage"
    if kind == DOCUMENTS.name:
        if kind in package:
            raise ValueError("a second CFDocument; a file holds one framework")
        package[kind] = entity
        return DOCUMENTS.name
    if kind not in LISTS:
        raise ValueError(f"unknown class {kind}; known: {', '.join(LISTS)}")
    is_definition = kind in DEFINITION_CLASSES
    members = (package["CFDefinitions"] if is_definition else package).setdefault(LISTS[kind], [])
    members.append(entity)
    return f"{'CFDefinitions.' if is_definition else ''}{LISTS[kind]}[{len(members) - 1}]"

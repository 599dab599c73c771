"""What a tolerant reading found: each kind of repair once, and where everything stood as sent."""

from __future__ import annotations

import json
import re
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pydantic_core import to_json

from ..formatting import truncate

Json: TypeAlias = dict[str, Any]

EXPLANATIONS = {
    "encoding": "The file was in UTF-16 or UTF-32; it was converted to UTF-8, as JSON must be.",
    "byte-order-mark": "The file began with a byte order mark, which JSON does not allow.",
    "wrapper": "The package stood under a name of its own; it was taken out.",
    "null": "A field or member was null; it was left out.",
    "empty-text": "A field that cannot be empty was an empty text; it was left out.",
    "field-name": "A field went by another spelling of its name; it got the standard's.",
    "unknown-field": "A field is not one of the standard's; it was moved under extensions.",
    "unknown-link-field": "A link had a field that links do not have; it was dropped.",
    "text-for-list": "A text stood where a list of texts belongs; it was made a list.",
    "object-for-list": "An object stood where a list belongs; it was made a list of one.",
    "number-for-text": "A number or truth value stood where a text belongs; it was made a text.",
    "text-for-number": "A text stood where a number belongs; it was read as the number.",
    "datetime-for-date": "A moment stood where a date belongs; the date was kept as written.",
    "date-for-datetime": "A date stood where a moment belongs; it was read as midnight UTC.",
    "datetime-without-zone": "A moment had no time zone; it was read as UTC.",
    "datetime-with-space": "A moment had a space before its time; it got a T.",
    "case-version": "A caseVersion other than 1.1 was left out.",
    "association-type": "An association type was spelt otherwise; it got the standard's name.",
    "target-type": "A target type was spelt otherwise; it got the standard's name.",
    "spaces-around-identifier": "White space around an identifier was removed.",
    "uri-characters": "A uri held characters that uris may not hold; they were encoded.",
    "missing-slash": "A uri lacked the slash before its identifier; it was put in.",
    "text-for-link": "A text stood where a link belongs; a link was made of it.",
    "link-without-title": "A link had no title; it got its identifier as its title.",
    "reference": "A reference spelt the identifier of an entity otherwise; it got that identifier.",
    "relative-uri": "The uri of a reference was relative; it became the uri of the entity.",
    "outside-node": "A node elsewhere had no identifier that can be one; it got one made from its "
    "URL.",
    "outside-uri": "The uri of a node elsewhere was none; it got one made from its identifier.",
    "outside-type": "The targetType of a node elsewhere was not the standard's; it got the prefix "
    "ext:.",
    "url-identifier": "An identifier was a URL; it became a UUID made from it, and the URL its "
    "uri.",
    "association-type-name": "An association type of another vocabulary got the prefix ext:.",
    "link-without-identifier": "A link had no identifier; it got the UUID in its uri.",
    "link-without-uri": "A link had no uri; it got the uri of what it links to.",
    "uri-is-identifier": "A uri was just the identifier; it became a uri.",
    "missing-uri": "An entity had no uri; it got one made of its identifier.",
    "missing-lastChangeDateTime": "An entity had no time of change; it got the document's.",
    "missing-title": "A definition had no title; it got its description or identifier.",
    "missing-description": "A definition had no description; it got its title.",
    "missing-hierarchyCode": "A definition had no hierarchyCode; it got an empty one.",
    "missing-licenseText": "A licence had no text; it got its description or uri.",
    "missing-fullStatement": "An item had no fullStatement; it got its label or title.",
    "repeated-entity": "An entity stood twice, word for word; the first was kept.",
    "repeated-association-id": "An identifier named two associations; the first was kept.",
    "repeated-triple": "Two associations said the same of the same nodes; the first was kept.",
}
"""Every kind of repair, in the words a person is told."""

MAX_EXAMPLE_CHARS = 200
"""How much of a value an example shows; a statement or a table can have many thousands."""

PATH_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True)
class Repair:
    """One kind of repair, said once."""

    kind: str
    explanation: str
    count: int
    path: str
    """Where it was met first, in the file as it was sent."""
    before: Any
    after: Any
    """The values there, cut to ``MAX_EXAMPLE_CHARS``; None for what was not there, or is gone."""

    def __str__(self) -> str:
        times = "once" if self.count == 1 else f"{self.count:,} times"
        before = "null" if self.kind == "null" else format_example(self.before)
        change = f"{before} → {format_example(self.after)}"
        return f"{self.explanation} {times}, first at {self.path or 'the top'}: {change}"


class RepairLog:
    """The repairs of one file, and where its objects stood in it."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, Repair] = {}
        self._places: dict[int, str] = {}
        self._renamed: dict[tuple[int, str], str] = {}

    def record(self, kind: str, path: str, before: Any = None, after: Any = None) -> None:
        """Remember a repair."""
        self._counts[kind] += 1
        if kind not in self._first:
            values = (truncate_value(before), truncate_value(after))
            self._first[kind] = Repair(kind, EXPLANATIONS[kind], 1, path, *values)

    def repairs(self) -> list[Repair]:
        """Each kind once, in the order they were met."""
        return [replace(first, count=self._counts[kind]) for kind, first in self._first.items()]

    def set_path(self, value: Json, path: str) -> None:
        """Remember where an object stood."""
        self._places[id(value)] = path

    def path_of(self, value: Json, field: str = "") -> str:
        """Where an object, or a field of it, stood."""
        return join_path(self._places[id(value)], self._renamed.get((id(value), field), field))

    def record_rename(self, value: Json, before: str, after: str) -> None:
        """Remember what a field of an object was called."""
        self._renamed[id(value), after] = before

    def original_path(self, tree: Json, path: str) -> str:
        """A path into the repaired tree, as a path into the file that was sent."""
        here: Any = tree
        sent = self._places[id(tree)]
        for name, index in PATH_STEP.findall(path):
            if name:
                sent = join_path(sent, self._renamed.get((id(here), name), name))
                here = here.get(name) if isinstance(here, dict) else None
            elif isinstance(here, list):
                sent = f"{sent}[{index}]"
                here = here[int(index)] if int(index) < len(here) else None
            sent = self._places.get(id(here), sent) if isinstance(here, dict) else sent
        return sent


def value_at(tree: Json, path: str) -> Any:
    """Return the value at a path of a JSON object, or None."""
    value: Any = tree
    for name, index in PATH_STEP.findall(path):
        if name:
            value = value.get(name) if isinstance(value, dict) else None
        else:
            value = (
                value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
            )
    return value


def join_path(path: str, field: str) -> str:
    """The path of a field of what stands at a path."""
    return f"{path}.{field}".strip(".")


def truncate_value(value: Any) -> Any:
    """Return a copy of a JSON value; the beginning of it as a string when it is long."""
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(written) <= MAX_EXAMPLE_CHARS:
        # A copy, because the walk goes on to repair the value itself.
        return deepcopy(value)
    return truncate(written, MAX_EXAMPLE_CHARS)


def format_example(value: Any) -> str:
    """Return a value of a repair as JSON, for people."""
    return "nothing" if value is None else to_json(value).decode()

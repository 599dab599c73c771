"""The log of repairs: each kind with count and example, and paths into the original file."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any, TypeAlias

from pydantic_core import to_json

from ..formatting import join_first, truncate

Json: TypeAlias = dict[str, Any]

EXPLANATIONS = {
    "encoding": "The file was in UTF-16 or UTF-32; it was converted to UTF-8, as JSON must be.",
    "byte-order-mark": "The file started with a byte order mark, which JSON does not allow.",
    "wrapper": "The package was wrapped in an object; the wrapper was removed.",
    "null": "A field or member was null; it was left out.",
    "empty-string": "A field that cannot be empty was an empty string; it was left out.",
    "field-name": "A field had another spelling of its name; it got the standard's.",
    "unknown-field": "A field is not one of the standard's; it was moved under extensions.",
    "unknown-link-field": "A link had a field that links do not have; it was dropped.",
    "string-for-list": "A string was in place of an array of strings; it became an array.",
    "object-for-list": "An object was in place of an array; it became an array of one.",
    "number-for-string": "A number or boolean was in place of a string; it became a string.",
    "string-for-number": "A string was in place of a number; it was read as the number.",
    "datetime-for-date": "A timestamp was in place of a date; its date was kept.",
    "date-for-datetime": "A date was in place of a timestamp; it was read as midnight UTC.",
    "datetime-without-zone": "A timestamp had no time zone; it was read as UTC.",
    "datetime-with-space": "A timestamp had a space before its time; it got a T.",
    "case-version": "A caseVersion other than 1.1 was left out.",
    "association-type": "An association type was spelled differently; it got the standard's name.",
    "target-type": "A target type was spelled differently; it got the standard's name.",
    "spaces-around-identifier": "White space around an identifier was removed.",
    "uri-characters": "A uri contained characters that uris may not contain; they were encoded.",
    "missing-slash": "A uri lacked the slash before its identifier; it was inserted.",
    "string-for-link": "A string was in place of a link; it became a link.",
    "link-without-title": "A link had no title; it got its identifier as its title.",
    "reference": "A reference spelled the identifier of an entity differently; it got that "
    "identifier.",
    "reference-by-title": "A reference named an entity by its statement or title; it got the "
    "identifier of that entity.",
    "relative-uri": "The uri of a reference was relative; it became the uri of the entity.",
    "external-node": "An external node had no valid identifier; it got one made from its URL.",
    "external-uri": "The uri of an external node was invalid; it got one made from its identifier.",
    "external-type": "The targetType of an external node was not one of the standard's; it got the "
    "prefix ext:.",
    "url-identifier": "An identifier was a URL; it became a UUID made from it, and the URL its "
    "uri.",
    "association-type-name": "An association type of another vocabulary got the prefix ext:.",
    "link-without-identifier": "A link had no identifier; it got the UUID in its uri.",
    "link-without-uri": "A link had no uri; it got the uri of what it links to.",
    "uri-is-identifier": "A uri was just the identifier; it became a uri.",
    "missing-uri": "An entity had no uri; it got one made from its identifier.",
    "missing-document": "The package had no CFDocument; it got one made of its other fields.",
    "missing-time-of-document": "The document had no lastChangeDateTime; it got that of the file.",
    "missing-identifier": "An item had no identifier; it got the UUID in its uri, or one made from "
    "its code or statement.",
    "nested-items": "A list of items was nested; they became items with isChildOf associations.",
    "missing-lastChangeDateTime": "An entity had no lastChangeDateTime; it got the document's.",
    "missing-title": "A definition had no title; it got its description or identifier.",
    "missing-description": "A definition had no description; it got its title.",
    "missing-hierarchyCode": "A definition had no hierarchyCode; it got an empty one.",
    "missing-licenseText": "A licence had no licenseText; it got its description or uri.",
    "missing-fullStatement": "An item had no fullStatement; it got its label or title.",
    "row-above-headings": "A row above the row of headings was left out.",
    "document-of-items": "All items are part of one identifier that is no item; it is the "
    "identifier of the framework.",
    "license-text": "A licenseText was left out, because its document has no licenseURI.",
    "date-form": "A date was written in another form; it was read as the date in ISO 8601.",
    "external-name": "An association led to an item that is not in the file; its name became the "
    "identifier.",
    "surrounding-space": "White space around the text of a cell was removed.",
    "code-from-number": "A code was a number in its cell, where 1.10 is 1.1; format the column as "
    "text and type codes that lost a zero again.",
    "code-from-date": "A code was a date in its cell, as spreadsheet programs make one of 1-2; "
    "format the column as text and type the code again.",
    "duplicate-entity": "An entity occurred twice with equal fields; the first was kept.",
    "duplicate-association-id": "Two associations had one identifier; the first was kept.",
    "duplicate-triple": "Two associations had the same type and nodes; the first was kept.",
}
"""Every kind of repair, and the sentence that reports it."""

MAX_EXAMPLE_CHARS = 200
"""Characters of a value that an example shows, because statements can have thousands."""

MAX_LISTED_FIELDS = 200
MAX_FIELD_CHARS = 100

PATH_SEPARATOR = re.compile(r"[.\[]")
PATH_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True)
class RepairSummary:
    """The count and the first example of one kind of repair in a file."""

    kind: str
    explanation: str
    count: int
    path: str
    """The path of the first example in the original file."""
    before: Any = None
    after: Any = None
    """The values of the first example, cut to 200 characters; None for an absent value."""
    fields: dict[str, int] = dataclass_field(default_factory=dict)
    """How often each field was moved to ``extensions``, set there, or dropped."""

    @property
    def summary(self) -> str:
        """A sentence that explains the repair, with the names and counts of the changed fields."""
        field_counts = [
            f"{truncate(name, MAX_FIELD_CHARS)} ({count:,})" for name, count in self.fields.items()
        ]
        fields = f" Fields: {join_first(field_counts, MAX_LISTED_FIELDS)}." if field_counts else ""
        return f"{self.explanation}{fields}"

    def __str__(self) -> str:
        times = "once" if self.count == 1 else f"{self.count:,} times"
        text = f"{self.summary} {times}, first at {self.path or 'the top'}"
        if self.before is None and self.after is None and self.kind != "null":
            return text
        before = "null" if self.kind == "null" else format_value(self.before)
        return f"{text}: {before} → {format_value(self.after)}"


class RepairLog:
    """Collects the repairs of one file for the report to the user.

    It also records which path each object had in the original file, because repairs move objects.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, RepairSummary] = {}
        self._fields: dict[str, Counter[str]] = defaultdict(Counter)
        self._paths: dict[int, str] = {}
        self._paths_before_move: dict[int, str] = {}
        self._original_names: dict[tuple[int, str], str] = {}

    def record(self, kind: str, path: str, before: Any = None, after: Any = None) -> None:
        """Count a repair, and keep the first one of each kind as the example in the report.

        ``kind`` is a key of ``EXPLANATIONS``. ``path`` is the path of the value in the original
        file; ``before`` and ``after`` are the value before and after the repair.
        """
        self._counts[kind] += 1
        if kind not in self._first:
            values = (truncate_value(before), truncate_value(after))
            self._first[kind] = RepairSummary(kind, EXPLANATIONS[kind], 1, path, *values)

    def count_repaired_field(self, kind: str, field: str) -> None:
        """Count a field that a repair moved to ``extensions``, set in ``extensions``, or dropped.

        The summary of the repair kind ``kind`` lists the names and counts of these fields.
        """
        self._fields[kind][field] += 1

    def summarize(self) -> list[RepairSummary]:
        """Return one summary per repair kind, in order of first occurrence."""
        return [
            replace(first, count=self._counts[kind], fields=dict(self._fields[kind]))
            for kind, first in self._first.items()
        ]

    def record_path(self, obj: Json, path: str) -> str:
        """Record and return the path that a JSON object has in the original file.

        ``path`` is its current path. If a repair has moved the object, the path given to
        ``record_path_before_move`` is used instead.
        """
        path = self._paths[id(obj)] = self._paths_before_move.get(id(obj), path)
        return path

    def record_path_before_move(self, obj: Json, path: str) -> None:
        """Record the path of an object in the original file before a repair moves the object."""
        self._paths_before_move[id(obj)] = path

    def get_path_before_move(self, obj: Json) -> str | None:
        """Return the path of an object before a repair moved it, or None if it was not moved."""
        return self._paths_before_move.get(id(obj))

    def get_original_path(self, obj: Json, field: str = "") -> str:
        """Return the path of an object, or of one of its fields, in the original file."""
        return join_path(self._paths[id(obj)], self._get_original_name(obj, field))

    def record_rename(self, obj: Json, old_name: str, new_name: str) -> None:
        """Record that a repair renamed a field of ``obj``, so that paths use the original name.

        ``old_name`` is the field's name in the original file, ``new_name`` its name after the
        repair.
        """
        self._original_names[id(obj), new_name] = old_name

    def map_to_original_path(self, tree: Json, path: str) -> str:
        """Return the path that a value of a repaired package had in the original file.

        ``tree`` is the repaired package, and ``path`` the path of the value in it.
        """
        node: Any = tree
        original = self._paths[id(tree)]
        for name, index in PATH_STEP.findall(path):
            if name:
                original = join_path(original, self._get_original_name(node, name))
                node = node.get(name) if isinstance(node, dict) else None
            elif isinstance(node, list):
                original = f"{original}[{index}]"
                node = node[int(index)] if int(index) < len(node) else None
            if isinstance(node, dict):
                original = self._paths.get(id(node), original)
        return original

    def _get_original_name(self, value: Any, field: str) -> str:
        return self._original_names.get((id(value), field), field)


def get_value_at(tree: Json, path: str) -> Any:
    """Return the value at a path such as ``CFItems[3].uri``, or None if it does not exist."""
    value: Any = tree
    for name, index in PATH_STEP.findall(path):
        if name:
            value = value.get(name) if isinstance(value, dict) else None
        elif isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            value = None
    return value


def join_path(path: str, field: str) -> str:
    """Append a field name to a path: ``CFDocument`` and ``uri`` give ``CFDocument.uri``."""
    return f"{path}.{field}".strip(".")


def iter_ancestor_paths(path: str) -> Iterator[str]:
    """Yield the paths of all values that contain the value at ``path``, innermost first.

    ``a[0].b`` yields ``a[0]``, ``a`` and ``""``, which is the path of the whole JSON text.
    """
    for separator in reversed(list(PATH_SEPARATOR.finditer(path))):
        if separator.start():
            yield path[: separator.start()]
    if path:
        yield ""


def truncate_value(value: Any) -> Any:
    """Return a copy of a JSON value, or its first 200 characters as JSON text if it is longer."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= MAX_EXAMPLE_CHARS:
        # A copy, because the normalizer may go on to repair the value itself.
        return deepcopy(value)
    return truncate(text, MAX_EXAMPLE_CHARS)


def format_value(value: Any) -> str:
    """Format a value as JSON for a message, or as "nothing" if it is None."""
    return "nothing" if value is None else to_json(value).decode()

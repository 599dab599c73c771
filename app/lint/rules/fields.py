"""Rules about single fields and what repeats: identifiers, uris, codes, dates, vocabularies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from urllib.parse import unquote

from ...exceptions import CONFORMANT_UUID_PATTERN
from ...repair.fixes import UUID
from ..package_index import Node, PackageIndex, get_string, get_strings
from ..violation import Match

EDUCATION_LEVELS = frozenset(
    [
        "IT",
        "PR",
        "PK",
        "TK",
        "KG",
        "01",
        "02",
        "03",
        "04",
        "05",
        "06",
        "07",
        "08",
        "09",
        "10",
        "11",
        "12",
        "13",
        "PS",
        "UG",
        "AS",
        "BA",
        "PB",
        "MD",
        "PM",
        "DO",
        "PD",
        "AE",
        "PT",
        "OT",
    ]
)
"""The codes for education levels of the Common Education Data Standards that frameworks use."""

LANGUAGE = re.compile(
    r"(?P<language>[a-z]{2,3})(-[a-z]{3}){0,3}(-[a-z]{4})?(-([a-z]{2}|\d{3}))?"
    r"(-([a-z0-9]{5,8}|\d[a-z0-9]{3}))*(-[a-wyz0-9](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?",
    re.IGNORECASE,
)
"""A well-formed BCP 47 tag (RFC 5646, section 2.1) whose language is one of two or three letters,
for no longer one was ever registered."""


def odd_identifiers(index: PackageIndex) -> Iterator[Match]:
    """Identifiers that are not UUIDs as the standard writes them."""
    for node in index.nodes:
        identifier = node.identifier
        if identifier is not None and not re.fullmatch(CONFORMANT_UUID_PATTERN, identifier):
            yield Match(node, "identifier", f"{identifier!r} {_oddity(identifier)}")


def _oddity(identifier: str) -> str:
    if not UUID.fullmatch(identifier):
        return "is not a UUID"
    if re.fullmatch(CONFORMANT_UUID_PATTERN, identifier.lower()):
        return "has upper-case letters; the standard's UUIDs are lower case"
    return "is a UUID, but not of the versions 1 to 5 that the standard has"


def duplicate_identifiers(index: PackageIndex) -> Iterator[Match]:
    """Entities that share an identifier."""
    for node in index.nodes:
        if (
            node.identifier is not None
            and (first := index.by_identifier[node.identifier]) is not node
        ):
            message = f"{node.identifier} is already the identifier of {first.path}"
            yield Match(node, "identifier", message)


def duplicate_associations(index: PackageIndex) -> Iterator[Match]:
    """Associations that say what another one says; those of one identifier are one."""
    seen: dict[tuple[str, str, str], Node] = {}
    for edge in index.edges:
        first = seen.setdefault((edge.origin, edge.destination, edge.type), edge.node)
        if first.identifier != edge.node.identifier:
            message = f"has the origin, destination and type of {first.path}"
            yield Match(edge.node, "", message)


def foreign_uris(index: PackageIndex) -> Iterator[Match]:
    """Addresses that do not say of what they are the address."""
    for node in index.nodes:
        uri, identifier = get_string(node.body, "uri"), node.identifier
        if uri and identifier and identifier.casefold() not in unquote(uri).casefold():
            yield Match(node, "uri", f"{uri} does not contain the identifier {identifier}")


def duplicate_codes(index: PackageIndex) -> Iterator[Match]:
    """Items that share a code."""
    first: dict[str, Node] = {}
    for item in index.of_kind("CFItem"):
        code = (get_string(item.body, "humanCodingScheme") or "").strip()
        other = first.setdefault(code, item)
        # One that stands twice is the business of another rule.
        if code and other.identifier != item.identifier:
            yield Match(item, "humanCodingScheme", f"{code} is also the code of {other.path}")


def empty_statements(index: PackageIndex) -> Iterator[Match]:
    """Items that say nothing."""
    for item in index.of_kind("CFItem"):
        statement = get_string(item.body, "fullStatement")
        if statement is not None and not statement.strip():
            yield Match(item, "fullStatement", "is empty")


def invalid_date_ranges(index: PackageIndex) -> Iterator[Match]:
    """What ends before it begins."""
    for node in index.of_kind("CFDocument", "CFItem"):
        begins, ends = (_day(node, f"status{which}Date") for which in ("Start", "End"))
        if begins and ends and begins > ends:
            yield Match(node, "statusEndDate", f"{ends} is before statusStartDate, {begins}")


def _day(node: Node, field: str) -> date | None:
    try:
        return date.fromisoformat(get_string(node.body, field) or "")
    except ValueError:
        return None


def odd_languages(index: PackageIndex) -> Iterator[Match]:
    """Languages that no program can tell, each once."""
    for node, value, count in _values(index, "language"):
        # The implementation guide writes en_US.
        if not LANGUAGE.fullmatch(value.replace("_", "-")):
            message = f"{value!r} is not a language tag such as en or en-US{_times(count)}"
            yield Match(node, "language", message)


def odd_levels(index: PackageIndex) -> Iterator[Match]:
    """Education levels of nobody else's, each once."""
    for node, value, count in _values(index, "educationLevel"):
        if value not in EDUCATION_LEVELS:
            message = f"{value!r} is not a code such as KG, 01 or 12{_times(count)}"
            yield Match(node, "educationLevel", message)


def _values(index: PackageIndex, field: str) -> Iterator[tuple[Node, str, int]]:
    """Each value of a field, where it stands first, and how often it stands."""
    first: dict[str, Node] = {}
    times: Counter[str] = Counter()
    for node in index.of_kind("CFDocument", "CFItem"):
        for value in get_strings(node.body, field):
            first.setdefault(value, node)
            times[value] += 1
    yield from ((node, value, times[value]) for value, node in first.items())


def _times(count: int) -> str:
    return f"; it stands here {count:,} times" if count > 1 else ""

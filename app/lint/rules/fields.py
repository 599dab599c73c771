"""Rules for single fields and duplicates: identifiers, uris, codes, dates, vocabularies."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from urllib.parse import unquote

from ...exceptions import CONFORMANT_UUID_PATTERN
from ...repair.fixes import UUID
from ..package_index import Node, PackageIndex, get_string, get_values
from ..violation import Finding

EDUCATION_LEVELS = frozenset(  # one code per line would take 30 lines
    """
    IT PR PK TK KG 01 02 03 04 05 06 07 08 09 10 11 12 13
    PS UG AS BA PB MD PM DO PD AE PT OT
    """.split()  # noqa: SIM905  see above
)
"""The education level codes of the Common Education Data Standards that frameworks use."""

LANGUAGE = re.compile(
    r"(?P<language>[a-z]{2,3})(-[a-z]{3}){0,3}(-[a-z]{4})?(-([a-z]{2}|\d{3}))?"
    r"(-([a-z0-9]{5,8}|\d[a-z0-9]{3}))*(-[a-wyz0-9](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?",
    re.IGNORECASE,
)
"""A well-formed BCP 47 tag (RFC 5646, section 2.1). Its language subtag has two or three letters,
because no longer one was ever registered."""


def find_nonconformant_identifiers(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each identifier that is not a UUID in the standard's format."""
    for node in index.nodes:
        identifier = node.identifier
        if identifier is not None and not re.fullmatch(CONFORMANT_UUID_PATTERN, identifier):
            message = f"{identifier!r} {_explain_nonconformity(identifier)}"
            yield Finding(node, "identifier", message)


def _explain_nonconformity(identifier: str) -> str:
    if not UUID.fullmatch(identifier):
        return "is not a UUID"
    if re.fullmatch(CONFORMANT_UUID_PATTERN, identifier.lower()):
        return "has upper-case letters; UUIDs in the standard are lower case"
    return "is a UUID, but not of versions 1 to 5, which the standard requires"


def find_duplicate_identifiers(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each entity with the identifier of an earlier entity in the package."""
    for node in index.nodes:
        if node.identifier is None:
            continue
        first_node = index.by_identifier[node.identifier]
        if first_node is not node:
            message = f"{node.identifier} is already the identifier of {first_node.path}"
            yield Finding(node, "identifier", message)


def find_duplicate_associations(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each association with the type and both ends of an earlier one.

    Skips associations that also have the same identifier, because ``find_duplicate_identifiers``
    reports them.
    """
    seen: dict[tuple[str, str, str], Node] = {}
    for edge in index.edges:
        first_node = seen.setdefault((edge.origin, edge.destination, edge.type), edge.node)
        if first_node.identifier != edge.node.identifier:
            message = f"has the origin, destination and type of {first_node.path}"
            yield Finding(edge.node, "", message)


def find_uri_mismatches(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each entity whose ``uri`` does not contain its identifier."""
    for node in index.nodes:
        uri, identifier = get_string(node.body, "uri"), node.identifier
        if uri and identifier and identifier.casefold() not in unquote(uri).casefold():
            yield Finding(node, "uri", f"{uri} does not contain the identifier {identifier}")


def find_duplicate_codes(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each item with the code (humanCodingScheme) of an earlier item.

    Items with the same identifier are skipped, because ``find_duplicate_identifiers`` reports them.
    """
    first_nodes: dict[str, Node] = {}
    for item in index.get_nodes_by_kind("CFItem"):
        code = (get_string(item.body, "humanCodingScheme") or "").strip()
        other = first_nodes.setdefault(code, item)
        # Items with the same identifier violate another rule.
        if code and other.identifier != item.identifier:
            yield Finding(item, "humanCodingScheme", f"{code} is also the code of {other.path}")


def find_empty_statements(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each item whose fullStatement is empty or only whitespace."""
    for item in index.get_nodes_by_kind("CFItem"):
        statement = get_string(item.body, "fullStatement")
        if statement is not None and not statement.strip():
            yield Finding(item, "fullStatement", "is empty")


def find_invalid_date_ranges(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each document or item that ends before it starts.

    The fields are statusStartDate and statusEndDate.
    """
    for node in index.get_nodes_by_kind("CFDocument", "CFItem"):
        start, end = (_parse_date(node, f"status{name}Date") for name in ("Start", "End"))
        if start and end and start > end:
            yield Finding(node, "statusEndDate", f"{end} is before statusStartDate, {start}")


def _parse_date(node: Node, field: str) -> date | None:
    try:
        return date.fromisoformat(get_string(node.body, field) or "")
    except ValueError:
        return None


def find_invalid_languages(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each value of ``language`` that is not a BCP 47 tag.

    A value that several entities have is reported once, at the first of them.
    """
    for value, nodes in _group_by_value(index, "language").items():
        # The implementation guide writes en_US.
        if not LANGUAGE.fullmatch(value.replace("_", "-")):
            message = f"{value!r} is not a language tag such as en or en-US{_format_count(nodes)}"
            yield Finding(nodes[0], "language", message)


def find_unknown_education_levels(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each value of educationLevel that is not a CEDS code.

    A value that several entities have is reported once, at the first of them.
    """
    for value, nodes in _group_by_value(index, "educationLevel").items():
        if value not in EDUCATION_LEVELS:
            message = f"{value!r} is not a code such as KG, 01 or 12{_format_count(nodes)}"
            yield Finding(nodes[0], "educationLevel", message)


def _group_by_value(index: PackageIndex, field: str) -> dict[str, list[Node]]:
    """Return a dict from each string in a field to the documents and items that contain it."""
    nodes: dict[str, list[Node]] = defaultdict(list)
    for node in index.get_nodes_by_kind("CFDocument", "CFItem"):
        for value in get_values(node.body, field, str):
            nodes[value].append(node)
    return nodes


def _format_count(nodes: list[Node]) -> str:
    return f"; it occurs {len(nodes):,} times" if len(nodes) > 1 else ""

"""References that are spelt otherwise than the identifiers they mean, and nodes elsewhere.

A UUID is the same in any letter case, with braces and as ``urn:uuid:…`` (RFC 4122, section 3), but
identifiers are compared as they are written. So a reference that matches exactly one entity of the
package, when both are read without these differences, gets the identifier of that entity.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import unquote, urlsplit
from uuid import NAMESPACE_URL, uuid5

from ..case.model import (
    CFAssociation,
    CFAssociationGrouping,
    CFConcept,
    CFItemType,
    CFLicense,
    CFPckgDocument,
    CFPckgItem,
    CFSubject,
    Entity,
)
from ..case.package import EntityRow
from ..case.types import (
    ASSOCIATION_TYPE_PATTERN,
    IDENTIFIER_PATTERN,
    MAX_IDENTIFIER_CHARS,
    TARGET_TYPE_PATTERN,
)
from .field_spec import field_specs
from .fixes import is_uri, uuid_urn
from .repair_log import Json, RepairLog

Entities: TypeAlias = list[tuple[type[Entity], Json]]
"""The entities of a package, each with its class."""

NODES = (CFPckgItem, CFPckgDocument)
NODE_FIELDS = ("originNodeURI", "destinationNodeURI")

TARGETS: dict[str, tuple[type[Entity], ...]] = {
    **dict.fromkeys(NODE_FIELDS, NODES),
    "CFItemURI": (CFPckgItem,),
    "CFDocumentURI": (CFPckgDocument,),
    "licenseURI": (CFLicense,),
    "subjectURI": (CFSubject,),
    "CFItemTypeURI": (CFItemType,),
    "conceptKeywordsURI": (CFConcept,),
    "CFAssociationGroupingURI": (CFAssociationGrouping,),
}
"""The classes of what each link can refer to."""

URN_PREFIX = "urn:uuid:"
EXTENSION_PREFIX = "ext:"
NOT_IN_EXTENSION_NAMES = re.compile(r"[^a-zA-Z0-9.\-_]+")
MAX_EXTENSION_CHARS = 200
MAX_TYPE_CHARS = 255
IDENTIFIERS_IN_BODY = re.compile(r'"identifier":"((?:[^"\\]|\\.)*)"')


def fold(name: str) -> str:
    """Return an identifier without letter case, braces and ``urn:uuid:``."""
    bare = name.strip().casefold()
    while True:
        inner = bare.removeprefix(URN_PREFIX)
        if inner[:1] == "{" and inner[-1:] == "}":
            inner = inner[1:-1].strip()
        if inner == bare:
            return bare
        bare = inner


def has_odd_references(rows: Iterable[EntityRow]) -> bool:
    """Return whether the rows of a package refer to one another in another spelling."""
    known: set[str] = set()
    named: set[str] = set()
    for row in rows:
        known.add(row.identifier)
        named.update(IDENTIFIERS_IN_BODY.findall(row.body))
        if row.keywords:
            named.update(IDENTIFIERS_IN_BODY.findall(row.keywords))
    unknown = named - known
    folded = {fold(name) for name in known} if unknown else set()
    return any(fold(_last_segment(name)) in folded for name in unknown)


class References:
    """Finds the entity of a package that a reference means.

    ``aliases`` maps identifiers that entities had in the source to those that they got.
    """

    def __init__(self, entities: Entities, aliases: dict[str, str]) -> None:
        self._aliases = aliases
        self._known: dict[type[Entity], set[str]] = defaultdict(set)
        self._folded: dict[type[Entity], dict[str, set[str]]] = defaultdict(
            lambda: defaultdict(set)
        )
        originals = {identifier: original for original, identifier in aliases.items()}
        for schema, entity in entities:
            identifier, uri = entity.get("identifier"), entity.get("uri")
            if not isinstance(identifier, str):
                continue
            self._known[schema].add(identifier)
            for name in (identifier, uri, originals.get(identifier)):
                if isinstance(name, str):
                    self._folded[schema][fold(name)].add(identifier)

    def is_known(self, field: str, identifier: object) -> bool:
        """Return whether an entity that the field can refer to has exactly this identifier."""
        if not isinstance(identifier, str):
            return False
        return any(identifier in self._known[schema] for schema in TARGETS.get(field, ()))

    def find(self, field: str, name: str) -> str | None:
        """Return the identifier of the one entity that a name or uri means; else None."""
        return self._find(field, fold(name)) or self._find(field, fold(_last_segment(name)))

    def _find(self, field: str, folded: str) -> str | None:
        found: set[str] = set()
        for schema in TARGETS.get(field, ()):
            found |= self._folded[schema].get(folded, set())
        return found.pop() if len(found) == 1 else None


def _last_segment(name: str) -> str:
    """Return the last segment of a relative uri; the name itself when it is none."""
    if is_uri(name) or not re.search(r"[/#]", name):
        return name
    try:
        parts = urlsplit(name.strip())
    except ValueError:
        return name
    return unquote(parts.path.rstrip("/").rpartition("/")[2] or parts.fragment)


def repair_reference(  # noqa: PLR0913  what a link is compared with, each of another kind
    field: str,
    link: Json,
    written: str | None,
    references: References,
    log: RepairLog,
    *,
    uris: dict[str, str],
) -> None:
    """Give a link the identifier of the entity that it means, and its uri if it has no other.

    ``written`` is the string in the source that the link was made from, if it was one; ``uris`` has
    the uri of each entity by its identifier.
    """
    before = link.get("identifier")
    if references.is_known(field, before):
        return
    names = [before, written]
    if not is_identifier(before):
        names.append(link.get("uri"))
    found = (references.find(field, name) for name in names if isinstance(name, str))
    target = next((identifier for identifier in found if identifier), None)
    if target is None:
        return
    link["identifier"] = target
    if written is not None or link.get("uri") == before:
        link["uri"] = uris.get(target) or uuid_urn(target)
    log.record("reference", log.path_of(link, "identifier"), before, target)


def repair_relative_uri(
    field: str, link: Json, uris: dict[str, str], references: References, log: RepairLog
) -> None:
    """Replace a relative uri of a link to an entity of the package by the uri of that entity."""
    uri, identifier = link.get("uri"), link.get("identifier")
    if not isinstance(uri, str) or is_uri(uri) or not isinstance(identifier, str):
        return
    if references.is_known(field, identifier) and identifier in uris and uri != identifier:
        link["uri"] = uris[identifier]
        log.record("relative-uri", log.path_of(link, "uri"), uri, link["uri"])


def is_identifier(value: object) -> bool:
    """Return whether a value is an identifier as it is."""
    return (
        isinstance(value, str)
        and len(value) <= MAX_IDENTIFIER_CHARS
        and re.fullmatch(IDENTIFIER_PATTERN, value) is not None
    )


def repair_outside_node(link: Json, log: RepairLog) -> str | None:
    """Make a node that lies outside CASE one that an association can lead to.

    Its identifier is made from the URL that stands for it; one such node would else refuse the
    whole framework. Return the identifier it had, if the link does not show it any more.
    """
    lost: str | None = None
    original = next(
        (
            link[name]
            for name in ("identifier", "uri", "title")
            if isinstance(link.get(name), str) and link[name].strip()
        ),
        None,
    )
    if original is None:
        return None
    if not is_identifier(link.get("identifier")):
        before = link.get("identifier")
        made = link["identifier"] = str(uuid5(NAMESPACE_URL, original.strip()))
        if is_uri(original) and not is_uri(link.get("uri")):
            link["uri"] = original
        link.setdefault("title", original)
        if isinstance(before, str) and before.strip() and before not in link.values():
            lost = before
        log.record("outside-node", log.path_of(link, "identifier"), before, made)
    uri = link.get("uri")
    if isinstance(uri, str) and not is_uri(uri) and uri != link["identifier"]:
        link.setdefault("title", uri)
        link["uri"] = uuid_urn(link["identifier"])
        log.record("outside-uri", log.path_of(link, "uri"), uri, link["uri"])
    return lost


def repair_target_type(link: Json, log: RepairLog) -> None:
    """Write the kind of a node that is no kind of the standard as ``ext:name``."""
    kind = link.get("targetType")
    if not isinstance(kind, str):
        return
    path = log.path_of(link, "targetType")
    if not kind.strip():
        del link["targetType"]
        log.record("empty-text", path, kind)
    elif not re.fullmatch(TARGET_TYPE_PATTERN, kind) or len(kind) > MAX_TYPE_CHARS:
        link["targetType"] = extension_name(kind)
        log.record("outside-type", path, kind, link["targetType"])


def extension_name(name: str) -> str:
    """Return a name of another vocabulary as the standard lets one be written: ``ext:name``."""
    bare = NOT_IN_EXTENSION_NAMES.sub("_", name.strip().removeprefix(EXTENSION_PREFIX)).strip("_")
    if not bare or len(bare) > MAX_EXTENSION_CHARS:
        bare = f"{bare[:MAX_EXTENSION_CHARS]}-{uuid5(NAMESPACE_URL, name)}".lstrip("-")
    return f"{EXTENSION_PREFIX}{bare}"


def keep_association_types(entities: Entities, log: RepairLog) -> None:
    """Write association types of other vocabularies as ``ext:name``.

    Where that changes the name, the association keeps it under ``extensions.associationType``.
    """
    originals: dict[str, str] = {}
    for schema, association in entities:
        before = association.get("associationType")
        if schema is not CFAssociation or not isinstance(before, str) or not before.strip():
            continue
        if re.fullmatch(ASSOCIATION_TYPE_PATTERN, before):
            continue
        name = extension_name(before)
        if originals.setdefault(name, before) != before:
            # Two types must not become one, or their associations would repeat each other.
            name = f"{name}-{uuid5(NAMESPACE_URL, before).hex[:8]}"
        association["associationType"] = name
        extensions = association.setdefault("extensions", {})
        if name != f"{EXTENSION_PREFIX}{before}" and isinstance(extensions, dict):
            extensions.setdefault("associationType", before)
        if not extensions:
            del association["extensions"]
        path = log.path_of(association, "associationType")
        log.record("association-type-name", path, before, name)


def is_url_identifier(value: object) -> bool:
    """Return whether a value is a URL that cannot be an identifier as it is."""
    return is_uri(value) and not is_identifier(value)


def replace_url_identifiers(entities: Entities, log: RepairLog) -> dict[str, str]:
    """Give entities whose identifiers are URLs UUIDs made from them; return those by the URLs.

    The URL becomes the uri of the entity; another uri that it has stays under ``extensions.uri``.
    """
    aliases: dict[str, str] = {}
    for schema, entity in entities:
        original = entity.get("identifier")
        if not isinstance(original, str) or not is_url_identifier(original):
            continue
        made = entity["identifier"] = aliases.setdefault(
            original, str(uuid5(NAMESPACE_URL, original))
        )
        uri = entity.get("uri")
        if is_uri(uri) and uri not in {original, uuid_urn(original)}:
            _keep_uri(schema, entity, uri)
        entity["uri"] = original
        log.record("url-identifier", log.path_of(entity, "identifier"), original, made)
    return aliases


def _keep_uri(schema: type[Entity], entity: Json, uri: object) -> None:
    if field_specs(schema)["extensions"].many:
        extensions = entity.setdefault("extensions", [])
        if isinstance(extensions, list):
            extensions.append({"uri": uri})
    else:
        extensions = entity.setdefault("extensions", {})
        if isinstance(extensions, dict):
            extensions.setdefault("uri", uri)


def replace_url_in_link(link: Json, log: RepairLog) -> None:
    """Give a link to an entity elsewhere whose identifier is a URL the UUID made from it."""
    original = link.get("identifier")
    if isinstance(original, str) and is_url_identifier(original):
        made = link["identifier"] = str(uuid5(NAMESPACE_URL, original))
        if not is_uri(link.get("uri")):
            link["uri"] = original
        log.record("url-identifier", log.path_of(link, "identifier"), original, made)

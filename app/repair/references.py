"""Correct references that spell identifiers differently, and links to nodes outside CASE.

A UUID is the same in any letter case, with braces and as ``urn:uuid:…`` (RFC 4122, section 3), but
CASE compares identifiers literally. So a reference that matches exactly one entity of the package,
ignoring these differences, gets the identifier of that entity.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias, TypeGuard
from urllib.parse import unquote, urlsplit
from uuid import NAMESPACE_URL, uuid5

from ..case.entity_urls import make_uuid_urn
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
from ..case.response_fields import NODE_FIELDS
from ..case.types import (
    ASSOCIATION_TYPE_PATTERN,
    IDENTIFIER_PATTERN,
    MAX_IDENTIFIER_CHARS,
    TARGET_TYPE_PATTERN,
)
from .field_spec import get_or_create_extensions
from .fixes import is_uri
from .repair_log import Json, RepairLog

Entities: TypeAlias = list[tuple[type[Entity], Json]]
"""The entities of a package, each with its class."""

NODES = (CFPckgItem, CFPckgDocument)

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
"""The classes of entities that each link field can refer to."""

URN_PREFIX = "urn:uuid:"
EXTENSION_PREFIX = "ext:"
NOT_IN_EXTENSION_NAMES = re.compile(r"[^a-zA-Z0-9.\-_]+")
MAX_EXTENSION_CHARS = 200
MAX_TYPE_CHARS = 255
IDENTIFIERS_IN_BODY = re.compile(r'"identifier":"((?:[^"\\]|\\.)*)"')


def normalize_identifier(identifier: str) -> str:
    """Return an identifier in lower case, without braces or ``urn:uuid:``, for comparison."""
    normalized = identifier.strip().casefold()
    while True:
        inner = normalized.removeprefix(URN_PREFIX)
        if inner[:1] == "{" and inner[-1:] == "}":
            inner = inner[1:-1].strip()
        if inner == normalized:
            return normalized
        normalized = inner


def has_noncanonical_references(rows: Iterable[EntityRow]) -> bool:
    """Return whether an entity refers to another one by another spelling of its identifier.

    For example, the reference may be in upper case. ``rows`` are all entities of a package.
    """
    identifiers: set[str] = set()
    referenced: set[str] = set()
    for row in rows:
        identifiers.add(row.identifier)
        referenced.update(IDENTIFIERS_IN_BODY.findall(row.body))
        if row.keywords:
            referenced.update(IDENTIFIERS_IN_BODY.findall(row.keywords))
    unknown_identifiers = referenced - identifiers
    normalized_identifiers = (
        {normalize_identifier(name) for name in identifiers} if unknown_identifiers else set()
    )
    return any(
        normalize_identifier(_get_last_segment(name)) in normalized_identifiers
        for name in unknown_identifiers
    )


class ReferenceResolver:
    """Finds the entity that a link refers to, in any spelling of its identifier or URI.

    Spellings differ in letter case, braces and ``urn:uuid:``. ``aliases`` maps the original
    identifiers of entities to those that replaced them. ``uris`` maps identifiers of entities to
    their valid URIs.
    """

    def __init__(self, entities: Entities, aliases: dict[str, str]) -> None:
        self.uris: dict[str, str] = {}
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
            if is_uri(uri):
                self.uris.setdefault(identifier, uri)
            for name in (identifier, uri, originals.get(identifier)):
                if isinstance(name, str):
                    self._folded[schema][normalize_identifier(name)].add(identifier)

    def get_uri(self, identifier: str) -> str:
        """Return the URI of the entity with an identifier, or else a ``urn:uuid:`` URI."""
        return self.uris.get(identifier) or make_uuid_urn(identifier)

    def has_target(self, field: str, identifier: object) -> bool:
        """Return whether a link with exactly this identifier refers to an entity of the package.

        ``field`` is the name of the link's field; for ``licenseURI``, only a CFLicense counts.
        """
        if not isinstance(identifier, str):
            return False
        return any(identifier in self._known[schema] for schema in TARGETS.get(field, ()))

    def resolve(self, field: str, reference: str) -> str | None:
        """Return the identifier of the only entity that matches a reference, or None.

        ``reference`` is an identifier in any spelling, or a relative URI that ends with one.
        ``field`` is the name of the reference's field; for ``licenseURI``, only a CFLicense
        matches.
        """
        return self._find(field, normalize_identifier(reference)) or self._find(
            field, normalize_identifier(_get_last_segment(reference))
        )

    def _find(self, field: str, folded: str) -> str | None:
        matches: set[str] = set()
        for schema in TARGETS.get(field, ()):
            matches |= self._folded[schema].get(folded, set())
        return matches.pop() if len(matches) == 1 else None


def _get_last_segment(reference: str) -> str:
    """Return the last path segment of a relative URI: ``CFItems/a`` gives ``a``.

    Without a path, returns the fragment: ``#a`` gives ``a``. Returns other strings unchanged.
    """
    if is_uri(reference) or not re.search(r"[/#]", reference):
        return reference
    try:
        parts = urlsplit(reference.strip())
    except ValueError:
        return reference
    return unquote(parts.path.rstrip("/").rpartition("/")[2] or parts.fragment)


def repair_reference(
    field: str, link: Json, source: str | None, references: ReferenceResolver, log: RepairLog
) -> None:
    """Correct a link whose identifier is another spelling of the identifier of an entity.

    Edits ``link`` in place and records the repair in ``log``. ``field`` is the name of the link's
    field. ``source`` is the string that the file contained in place of the link object, or None.
    The link also gets the entity's URI if it was made from a string or its URI equals its
    identifier.
    """
    before = link.get("identifier")
    if references.has_target(field, before):
        return
    names = [before, source]
    if not is_identifier(before):
        names.append(link.get("uri"))
    matches = (references.resolve(field, name) for name in names if isinstance(name, str))
    target = next((identifier for identifier in matches if identifier), None)
    if target is None:
        return
    link["identifier"] = target
    if source is not None or link.get("uri") == before:
        link["uri"] = references.get_uri(target)
    log.record("reference", log.get_original_path(link, "identifier"), before, target)


def repair_relative_uri(
    field: str, link: Json, references: ReferenceResolver, log: RepairLog
) -> None:
    """Replace a link's relative URI with the URI of the entity that has the link's identifier.

    Edits ``link`` in place. Changes nothing unless the package contains the entity, and the field
    named ``field`` may refer to entities of its class.
    """
    uri, identifier = link.get("uri"), link.get("identifier")
    if not isinstance(uri, str) or is_uri(uri) or not isinstance(identifier, str):
        return
    is_known = references.has_target(field, identifier) and identifier in references.uris
    if is_known and uri != identifier:
        link["uri"] = references.uris[identifier]
        log.record("relative-uri", log.get_original_path(link, "uri"), uri, link["uri"])


def is_identifier(value: object) -> TypeGuard[str]:
    """Return whether a value is a string that validation accepts as an identifier.

    It need not be a UUID. ``IDENTIFIER_RULE`` describes the condition.
    """
    return (
        isinstance(value, str)
        and len(value) <= MAX_IDENTIFIER_CHARS
        and re.fullmatch(IDENTIFIER_PATTERN, value) is not None
    )


def repair_external_link(link: Json, log: RepairLog) -> str | None:
    """Replace an invalid identifier or URI of a link to a node outside the package, in place.

    Otherwise the whole framework would be invalid. The new identifier is a UUID made from the old
    identifier, the URI or the title. If the old identifier is then in no field of the link, returns
    it for the caller to store. Returns None in all other cases.
    """
    replaced = None
    before = link.get("identifier")
    names = (before, link.get("uri"), link.get("title"))
    original = next((name for name in names if isinstance(name, str) and name.strip()), None)
    if original is None:
        return None
    if not is_identifier(before):
        new_identifier = link["identifier"] = str(uuid5(NAMESPACE_URL, original.strip()))
        if is_uri(original) and not is_uri(link.get("uri")):
            link["uri"] = original
        link.setdefault("title", original)
        if isinstance(before, str) and before.strip() and before not in link.values():
            replaced = before
        log.record(
            "external-node", log.get_original_path(link, "identifier"), before, new_identifier
        )
    uri = link.get("uri")
    if isinstance(uri, str) and not is_uri(uri) and uri != link["identifier"]:
        link.setdefault("title", uri)
        link["uri"] = make_uuid_urn(link["identifier"])
        log.record("external-uri", log.get_original_path(link, "uri"), uri, link["uri"])
    return replaced


def repair_target_type(link: Json, log: RepairLog) -> None:
    """Rewrite a link's targetType in place as ``ext:name`` unless the standard defines it."""
    kind = link.get("targetType")
    if not isinstance(kind, str):
        return
    path = log.get_original_path(link, "targetType")
    if not kind.strip():
        del link["targetType"]
        log.record("empty-string", path, kind)
    elif not re.fullmatch(TARGET_TYPE_PATTERN, kind) or len(kind) > MAX_TYPE_CHARS:
        link["targetType"] = make_extension_name(kind)
        log.record("external-type", path, kind, link["targetType"])


def make_extension_name(name: str) -> str:
    """Convert a type name to the form ``ext:name``, replacing disallowed characters with _."""
    extension_name = NOT_IN_EXTENSION_NAMES.sub(
        "_", name.strip().removeprefix(EXTENSION_PREFIX)
    ).strip("_")
    if not extension_name or len(extension_name) > MAX_EXTENSION_CHARS:
        extension_name = (
            f"{extension_name[:MAX_EXTENSION_CHARS]}-{uuid5(NAMESPACE_URL, name)}".lstrip("-")
        )
    return f"{EXTENSION_PREFIX}{extension_name}"


def prefix_association_types(entities: Entities, log: RepairLog) -> None:
    """Prefix nonstandard association types with ``ext:``, because import otherwise rejects them.

    If a type contains characters that are not allowed after ``ext:``, the association keeps the
    original type in ``extensions.associationType``. Records each repair in ``log``.
    """
    originals: dict[str, str] = {}
    for schema, association in entities:
        before = association.get("associationType")
        if schema is not CFAssociation or not isinstance(before, str) or not before.strip():
            continue
        if re.fullmatch(ASSOCIATION_TYPE_PATTERN, before):
            continue
        name = make_extension_name(before)
        if originals.setdefault(name, before) != before:
            # Two types must stay different, or their associations would be duplicates.
            name = f"{name}-{uuid5(NAMESPACE_URL, before).hex[:8]}"
        association["associationType"] = name
        extensions = association.setdefault("extensions", {})
        if name != f"{EXTENSION_PREFIX}{before}" and isinstance(extensions, dict):
            extensions.setdefault("associationType", before)
            log.count_repaired_field("association-type-name", "extensions.associationType")
        if not extensions:
            del association["extensions"]
        path = log.get_original_path(association, "associationType")
        log.record("association-type-name", path, before, name)


def is_url_identifier(value: object) -> TypeGuard[str]:
    """Return whether an identifier is a URL, which the CASE standard does not allow."""
    return is_uri(value) and not is_identifier(value)


def replace_url_identifiers(entities: Entities, log: RepairLog) -> dict[str, str]:
    """Replace the URL identifiers of entities with UUIDs derived from the URLs.

    The URL becomes the URI of the entity; if the entity had another URI, ``extensions.uri`` keeps
    it. Returns a dict from each URL to its UUID.
    """
    aliases: dict[str, str] = {}
    for schema, entity in entities:
        original = entity.get("identifier")
        if not is_url_identifier(original):
            continue
        new_identifier = entity["identifier"] = aliases.setdefault(
            original, str(uuid5(NAMESPACE_URL, original))
        )
        uri = entity.get("uri")
        if is_uri(uri) and uri not in {original, make_uuid_urn(original)}:
            if (extensions := get_or_create_extensions(schema, entity)) is not None:
                extensions.setdefault("uri", uri)
            log.count_repaired_field("url-identifier", "extensions.uri")
        entity["uri"] = original
        log.record(
            "url-identifier", log.get_original_path(entity, "identifier"), original, new_identifier
        )
    return aliases


def replace_url_identifier_in_link(link: Json, log: RepairLog) -> None:
    """Replace a link's identifier, if it is a URL, with a UUID derived from the URL.

    The URL becomes the link's URI, unless the link already has a valid URI.
    """
    original = link.get("identifier")
    if is_url_identifier(original):
        new_identifier = link["identifier"] = str(uuid5(NAMESPACE_URL, original))
        if not is_uri(link.get("uri")):
            link["uri"] = original
        log.record(
            "url-identifier", log.get_original_path(link, "identifier"), original, new_identifier
        )

"""Completion of links and entities from other fields and from the rest of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from ..case.entity_urls import make_uuid_urn
from ..case.model import CFAssociation, CFPckgDocument, Entity
from ..case.resources import DEFINITIONS
from ..case.response_fields import NODE_FIELDS
from .field_spec import get_field_specs
from .fixes import UUID, is_uri
from .references import (
    Entities,
    ReferenceResolver,
    repair_external_link,
    repair_reference,
    repair_relative_uri,
    repair_target_type,
    replace_url_identifier_in_link,
)
from .repair_log import Json, RepairLog

if TYPE_CHECKING:
    from .normalizer import PackageNormalizer

STATEMENT_FALLBACKS = ("alternativeLabel", "abbreviatedStatement", "title")
"""Fields that become the statement of an item without one, best first."""

FIELD_FALLBACKS = {
    "title": ("description", "identifier"),
    "description": ("title",),
    "licenseText": ("description", "uri"),
    "hierarchyCode": (),
}
"""Fields that replace a missing required field of a definition, best first."""

DOCUMENT_LINKS = {"CFDocumentURI", "CFPackageURI"}
"""Links that get the title of the document."""

DEFINITION_CLASSES = {resource.schema for resource in DEFINITIONS}


def make_link_from_string(text: str, field: str, document_title: str | None) -> Json:
    """Build a link, a dict with title, identifier and uri, from a string found in its place.

    ``text`` is a URI, an identifier or a title. ``field`` is the name of the link's field. A link
    to the document gets ``document_title`` as its title.
    """
    address = text.strip()
    identifier = find_last_uuid(address) or str(uuid5(NAMESPACE_URL, address))
    is_identifier_link = is_uri(address) or address == identifier
    return {
        "title": (document_title if field in DOCUMENT_LINKS else None) or address,
        "identifier": identifier,
        "uri": address if is_identifier_link else make_uuid_urn(identifier),
    }


def find_last_uuid(uri: object) -> str | None:
    """Return the last UUID in a URI, or None. Earlier UUIDs identify enclosing entities."""
    uuids = UUID.findall(uri) if isinstance(uri, str) else []
    return uuids[-1] if uuids else None


def fill_in_full_statement(item: Json, log: RepairLog) -> None:
    """Fill in an item's missing fullStatement and log this repair.

    The value is the item's alternativeLabel, abbreviatedStatement or title, whichever exists first.
    """
    for name in STATEMENT_FALLBACKS:
        label = item.get(name)
        if isinstance(label, str) and label.strip():
            _fill_missing(item, "fullStatement", label, log)


def fill_in_required_fields(entities: Entities, log: RepairLog) -> None:
    """Fill in missing required fields of entities with default values, and log each one.

    The default of ``uri`` is a ``urn:uuid:`` URI, and the default of ``lastChangeDateTime`` is the
    document's. Fields of definitions are copied from a related field, for example ``title`` from
    ``description``.
    """
    changed_at = _get_document_time(entities)
    for schema, entity in entities:
        if isinstance(identifier := entity.get("identifier"), str):
            uri = make_uuid_urn(identifier)
            _fill_missing(entity, "uri", uri, log)
            _replace_repeated_identifier(entity, uri, log)
        if changed_at and schema is not CFPckgDocument:
            _fill_missing(entity, "lastChangeDateTime", changed_at, log)
        if schema in DEFINITION_CLASSES:
            _complete_definition(schema, entity, log)


def _get_document_time(entities: Entities) -> str | None:
    times = (
        entity.get("lastChangeDateTime") for schema, entity in entities if schema is CFPckgDocument
    )
    changed_at = next(times, None)
    return changed_at if isinstance(changed_at, str) else None


def _complete_definition(schema: type[Entity], entity: Json, log: RepairLog) -> None:
    specs = get_field_specs(schema)
    for name, sources in FIELD_FALLBACKS.items():
        values = (entity.get(source) for source in sources)
        fallback = next((value for value in values if isinstance(value, str)), None)
        value = "" if name == "hierarchyCode" else fallback
        if value is not None and name in specs and specs[name].required:
            _fill_missing(entity, name, value, log)


def repair_links(
    normalizer: PackageNormalizer, references: ReferenceResolver, *, replace_urls: bool
) -> None:
    """Correct the links of a package, and fill in their missing fields.

    ``normalizer`` has collected the links; ``references`` finds the entities that they refer to. If
    ``replace_urls`` is true, identifiers that are URLs become UUIDs, because the standard does not
    allow URLs.
    """
    log = normalizer.log
    associations = {
        id(association[field]): association
        for schema, association in normalizer.entities
        if schema is CFAssociation
        for field in NODE_FIELDS
        if field in association
    }
    for field, link in normalizer.links:
        if "identifier" not in link and (uuid := find_last_uuid(link.get("uri"))):
            _fill_missing(link, "identifier", uuid, log, "link-without-identifier")
        source = normalizer.source_strings.get(id(link))
        repair_reference(field, link, source, references, log)
        repair_relative_uri(field, link, references, log)
        if replace_urls:
            replace_url_identifier_in_link(link, log)
        if field in NODE_FIELDS:
            if not references.has_target(field, link.get("identifier")):
                replaced = repair_external_link(link, log)
                if replaced is not None:
                    _add_to_extensions(associations[id(link)], f"{field}.identifier", replaced)
                    log.count_repaired_field("external-node", f"extensions.{field}.identifier")
            repair_target_type(link, log)
        identifier = link.get("identifier")
        if isinstance(identifier, str):
            address = references.get_uri(identifier)
            _fill_missing(link, "uri", address, log, "link-without-uri")
            _replace_repeated_identifier(link, address, log)
            _fill_missing(link, "title", identifier, log, "link-without-title")


def _add_to_extensions(association: Json, name: str, value: str) -> None:
    extensions = association.setdefault("extensions", {})
    if isinstance(extensions, dict):
        extensions.setdefault(name, value)


def _replace_repeated_identifier(obj: Json, valid_uri: str, log: RepairLog) -> None:
    uri = obj["uri"]
    if uri == obj["identifier"] and not is_uri(uri) and is_uri(valid_uri):
        obj["uri"] = valid_uri
        log.record("uri-is-identifier", log.get_original_path(obj, "uri"), uri, valid_uri)


def _fill_missing(obj: Json, name: str, missing: str, log: RepairLog, kind: str = "") -> None:
    if name not in obj:
        obj[name] = missing
        log.record(kind or f"missing-{name}", log.get_original_path(obj, name), None, missing)

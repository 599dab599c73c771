"""Completion of links and entities from other fields and from the rest of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from ..case.model import CFAssociation, CFPckgDocument, Entity
from ..case.resources import DEFINITIONS
from .field_spec import field_specs
from .fixes import UUID, is_uri, uuid_urn
from .references import (
    NODE_FIELDS,
    Entities,
    References,
    repair_external_node,
    repair_reference,
    repair_relative_uri,
    repair_target_type,
    replace_url_in_link,
)
from .repair_log import Json, RepairLog

if TYPE_CHECKING:
    from .normalizer import Normalizer

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


def link_from_string(written: str, field: str, document_title: str | None) -> Json:
    """Build the link that a string in place of a link stands for."""
    address = written.strip()
    identifier = find_last_uuid(address) or str(uuid5(NAMESPACE_URL, address))
    known = is_uri(address) or address == identifier
    return {
        "title": (document_title if field in DOCUMENT_LINKS else None) or address,
        "identifier": identifier,
        "uri": address if known else uuid_urn(identifier),
    }


def find_last_uuid(uri: object) -> str | None:
    """Return the last UUID in a uri, or None; earlier ones belong to other entities."""
    uuids = UUID.findall(uri) if isinstance(uri, str) else []
    return uuids[-1] if uuids else None


def complete_statement(item: Json, log: RepairLog) -> None:
    """Give an item without a statement its label."""
    for name in STATEMENT_FALLBACKS:
        label = item.get(name)
        if isinstance(label, str) and label.strip():
            _fill(item, "fullStatement", label, log)


def complete_entities(entities: Entities, log: RepairLog) -> dict[str, str]:
    """Fill in missing fields of entities; return their uris by identifier."""
    changed = _document_change(entities)
    for schema, entity in entities:
        _complete_uri(entity, log)
        if changed and schema is not CFPckgDocument:
            _fill(entity, "lastChangeDateTime", changed, log)
        if schema in DEFINITION_CLASSES:
            _complete_definition(schema, entity, log)
    return _uris_by_identifier(entities)


def _document_change(entities: Entities) -> str | None:
    times = (one.get("lastChangeDateTime") for schema, one in entities if schema is CFPckgDocument)
    changed = next(times, None)
    return changed if isinstance(changed, str) else None


def _uris_by_identifier(entities: Entities) -> dict[str, str]:
    uris: dict[str, str] = {}
    for _, entity in entities:
        identifier, uri = entity.get("identifier"), entity.get("uri")
        if isinstance(identifier, str) and is_uri(uri):
            uris.setdefault(identifier, str(uri))
    return uris


def _complete_uri(entity: Json, log: RepairLog) -> None:
    identifier = entity.get("identifier")
    if isinstance(identifier, str):
        _fill(entity, "uri", uuid_urn(identifier), log)
        _replace_identifier(entity, uuid_urn(identifier), log)


def _complete_definition(schema: type[Entity], entity: Json, log: RepairLog) -> None:
    required = (
        name
        for name in FIELD_FALLBACKS
        if name in field_specs(schema) and field_specs(schema)[name].required
    )
    for name in required:
        values = (entity.get(source) for source in FIELD_FALLBACKS[name])
        fallback = next((value for value in values if isinstance(value, str)), None)
        value = "" if name == "hierarchyCode" else fallback
        if value is not None:
            _fill(entity, name, value, log)


def complete_links(
    normalizer: Normalizer,
    uris: dict[str, str],
    references: References,
    *,
    replace_urls: bool = False,
) -> None:
    """Resolve links to entities of the package, and fill in missing fields of links.

    ``uris`` maps the identifiers of entities to their uris. With ``replace_urls``, identifiers that
    are URLs become UUIDs made from them.
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
            _fill(link, "identifier", uuid, log, "link-without-identifier")
        source = normalizer.source_strings.get(id(link))
        repair_reference(field, link, source, references, log, uris=uris)
        repair_relative_uri(field, link, uris, references, log)
        if replace_urls:
            replace_url_in_link(link, log)
        if field in NODE_FIELDS:
            if not references.is_known(field, link.get("identifier")):
                replaced = repair_external_node(link, log)
                if replaced is not None:
                    _keep(associations[id(link)], f"{field}.identifier", replaced)
                log.count_field("external-node", f"extensions.{field}.identifier")
            repair_target_type(link, log)
        identifier = link.get("identifier")
        if isinstance(identifier, str):
            address = uris.get(identifier) or uuid_urn(identifier)
            _fill(link, "uri", address, log, "link-without-uri")
            _replace_identifier(link, address, log)
            _fill(link, "title", identifier, log, "link-without-title")


def _keep(association: Json, name: str, value: str) -> None:
    """Store a value that has no field in an association under its extensions."""
    extensions = association.setdefault("extensions", {})
    if isinstance(extensions, dict):
        extensions.setdefault(name, value)


def _replace_identifier(value: Json, address: str, log: RepairLog) -> None:
    """Replace a uri that only repeats the identifier by a valid one."""
    uri = value["uri"]
    if uri == value["identifier"] and not is_uri(uri) and is_uri(address):
        value["uri"] = address
        log.record("uri-is-identifier", log.path_of(value, "uri"), uri, address)


def _fill(value: Json, name: str, missing: str, log: RepairLog, kind: str = "") -> None:
    """Set a missing field and record the repair."""
    if name not in value:
        value[name] = missing
        log.record(kind or f"missing-{name}", log.path_of(value, name), None, missing)

"""What links and entities lack, from what they and their package have."""

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
    repair_outside_node,
    repair_reference,
    repair_relative_uri,
    repair_target_type,
    replace_url_in_link,
)
from .repair_log import Json, RepairLog

if TYPE_CHECKING:
    from .normalizer import Normalizer

STATEMENT_FALLBACKS = ("alternativeLabel", "abbreviatedStatement", "title")
"""What stands for the statement of an item that has none."""

FIELD_FALLBACKS = {
    "title": ("description", "identifier"),
    "description": ("title",),
    "licenseText": ("description", "uri"),
    "hierarchyCode": (),
}
"""What stands for a required field of a definition, best first."""

DOCUMENT_LINKS = {"CFDocumentURI", "CFPackageURI"}
"""Links whose title is the document's."""

DEFINITION_CLASSES = {resource.schema for resource in DEFINITIONS}


def link_from_string(written: str, field: str, document_title: str | None) -> Json:
    """The link that a bare text stands for."""
    address = written.strip()
    identifier = find_last_uuid(address) or str(uuid5(NAMESPACE_URL, address))
    known = is_uri(address) or address == identifier
    return {
        "title": (document_title if field in DOCUMENT_LINKS else None) or address,
        "identifier": identifier,
        "uri": address if known else uuid_urn(identifier),
    }


def find_last_uuid(uri: object) -> str | None:
    """The UUID a uri ends in; those before it are somebody else's."""
    found = UUID.findall(uri) if isinstance(uri, str) else []
    return found[-1] if found else None


def complete_statement(item: Json, log: RepairLog) -> None:
    """An item without a statement gets its label."""
    for name in STATEMENT_FALLBACKS:
        label = item.get(name)
        if isinstance(label, str) and label.strip():
            _fill(item, "fullStatement", label, log)


def complete_entities(met: Entities, log: RepairLog) -> dict[str, str]:
    """Fill in what entities lack; answers with the uri of each by its identifier."""
    changed = _document_change(met)
    for schema, entity in met:
        _complete_uri(entity, log)
        if changed and schema is not CFPckgDocument:
            _fill(entity, "lastChangeDateTime", changed, log)
        if schema in DEFINITION_CLASSES:
            _complete_definition(schema, entity, log)
    return _uris(met)


def _document_change(met: Entities) -> str | None:
    times = (one.get("lastChangeDateTime") for schema, one in met if schema is CFPckgDocument)
    changed = next(times, None)
    return changed if isinstance(changed, str) else None


def _uris(met: Entities) -> dict[str, str]:
    found: dict[str, str] = {}
    for _, entity in met:
        identifier, uri = entity.get("identifier"), entity.get("uri")
        if isinstance(identifier, str) and is_uri(uri):
            found.setdefault(identifier, str(uri))
    return found


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
        found = next((value for value in values if isinstance(value, str)), None)
        value = "" if name == "hierarchyCode" else found
        if value is not None:
            _fill(entity, name, value, log)


def complete_links(
    walk: Normalizer,
    uris: dict[str, str],
    references: References,
    *,
    replace_urls: bool = False,
) -> None:
    """Lead links to the entities they mean, and fill in what they lack.

    ``uris`` has the uri of each entity by its identifier; with ``replace_urls``, identifiers that
    are URLs become UUIDs made from them.
    """
    log = walk.log
    associations = {
        id(association[field]): association
        for schema, association in walk.entities
        if schema is CFAssociation
        for field in NODE_FIELDS
        if field in association
    }
    for field, one in walk.links:
        if "identifier" not in one and (found := find_last_uuid(one.get("uri"))):
            _fill(one, "identifier", found, log, "link-without-identifier")
        repair_reference(field, one, walk.source_strings.get(id(one)), references, log, uris=uris)
        repair_relative_uri(field, one, uris, references, log)
        if replace_urls:
            replace_url_in_link(one, log)
        if field in NODE_FIELDS:
            if not references.is_known(field, one.get("identifier")):
                lost = repair_outside_node(one, log)
                if lost is not None:
                    _keep(associations[id(one)], f"{field}.identifier", lost)
            repair_target_type(one, log)
        identifier = one.get("identifier")
        if isinstance(identifier, str):
            address = uris.get(identifier) or uuid_urn(identifier)
            _fill(one, "uri", address, log, "link-without-uri")
            _replace_identifier(one, address, log)
            _fill(one, "title", identifier, log, "link-without-title")


def _keep(association: Json, name: str, value: str) -> None:
    """Keep a value that has no place in an association under its extensions."""
    extensions = association.setdefault("extensions", {})
    if isinstance(extensions, dict):
        extensions.setdefault(name, value)


def _replace_identifier(value: Json, address: str, log: RepairLog) -> None:
    """A uri that is nothing but the identifier becomes the address."""
    uri = value["uri"]
    if uri == value["identifier"] and not is_uri(uri) and is_uri(address):
        value["uri"] = address
        log.record("uri-is-identifier", log.path_of(value, "uri"), uri, address)


def _fill(value: Json, name: str, missing: str, log: RepairLog, kind: str = "") -> None:
    """Fill in a field that is not there."""
    if name not in value:
        value[name] = missing
        log.record(kind or f"missing-{name}", log.path_of(value, name), None, missing)

"""What links and entities lack, from what they and their package have."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from ..case.model import CFAssociation, CFPckgDocument, Entity
from ..case.resources import DEFINITIONS
from .field_spec import shapes
from .fixes import UUID, is_uri, urn
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
    from .normalizer import Walk

LABELS = ("alternativeLabel", "abbreviatedStatement", "title")
"""What stands for the statement of an item that has none."""

SOURCES = {
    "title": ("description", "identifier"),
    "description": ("title",),
    "licenseText": ("description", "uri"),
    "hierarchyCode": (),
}
"""What stands for a required field of a definition, best first."""

OF_THE_DOCUMENT = {"CFDocumentURI", "CFPackageURI"}
"""Links whose title is the document's."""

DEFINITION_CLASSES = {resource.schema for resource in DEFINITIONS}


def link(written: str, field: str, document_title: str | None) -> Json:
    """The link that a bare text stands for."""
    address = written.strip()
    identifier = last_uuid(address) or str(uuid5(NAMESPACE_URL, address))
    known = is_uri(address) or address == identifier
    return {
        "title": (document_title if field in OF_THE_DOCUMENT else None) or address,
        "identifier": identifier,
        "uri": address if known else urn(identifier),
    }


def last_uuid(uri: object) -> str | None:
    """The UUID a uri ends in; those before it are somebody else's."""
    found = UUID.findall(uri) if isinstance(uri, str) else []
    return found[-1] if found else None


def complete_statement(item: Json, findings: RepairLog) -> None:
    """An item without a statement gets its label."""
    for name in LABELS:
        label = item.get(name)
        if isinstance(label, str) and label.strip():
            _fill(item, "fullStatement", label, findings)


def complete_entities(met: Entities, findings: RepairLog) -> dict[str, str]:
    """Fill in what entities lack; answers with the uri of each by its identifier."""
    changed = _document_change(met)
    for schema, entity in met:
        _complete_uri(entity, findings)
        if changed and schema is not CFPckgDocument:
            _fill(entity, "lastChangeDateTime", changed, findings)
        if schema in DEFINITION_CLASSES:
            _complete_definition(schema, entity, findings)
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


def _complete_uri(entity: Json, findings: RepairLog) -> None:
    identifier = entity.get("identifier")
    if isinstance(identifier, str):
        _fill(entity, "uri", urn(identifier), findings)
        _replace_identifier(entity, urn(identifier), findings)


def _complete_definition(schema: type[Entity], entity: Json, findings: RepairLog) -> None:
    required = (
        name for name in SOURCES if name in shapes(schema) and shapes(schema)[name].required
    )
    for name in required:
        values = (entity.get(source) for source in SOURCES[name])
        found = next((value for value in values if isinstance(value, str)), None)
        value = "" if name == "hierarchyCode" else found
        if value is not None:
            _fill(entity, name, value, findings)


def complete_links(
    walk: Walk,
    uris: dict[str, str],
    references: References,
    *,
    replace_urls: bool = False,
) -> None:
    """Lead links to the entities they mean, and fill in what they lack.

    ``uris`` has the uri of each entity by its identifier; with ``replace_urls``, identifiers that
    are URLs become UUIDs made from them.
    """
    findings = walk.findings
    associations = {
        id(association[field]): association
        for schema, association in walk.entities
        if schema is CFAssociation
        for field in NODE_FIELDS
        if field in association
    }
    for field, one in walk.links:
        if "identifier" not in one and (found := last_uuid(one.get("uri"))):
            _fill(one, "identifier", found, findings, "link-without-identifier")
        repair_reference(field, one, walk.texts.get(id(one)), references, findings)
        repair_relative_uri(field, one, uris, references, findings)
        if replace_urls:
            replace_url_in_link(one, findings)
        if field in NODE_FIELDS:
            if not references.is_known(field, one.get("identifier")):
                lost = repair_outside_node(one, findings)
                if lost is not None:
                    _keep(associations[id(one)], f"{field}.identifier", lost)
            repair_target_type(one, findings)
        identifier = one.get("identifier")
        if isinstance(identifier, str):
            address = uris.get(identifier) or urn(identifier)
            _fill(one, "uri", address, findings, "link-without-uri")
            _replace_identifier(one, address, findings)
            _fill(one, "title", identifier, findings, "link-without-title")


def _keep(association: Json, name: str, value: str) -> None:
    """Keep a value that has no place in an association under its extensions."""
    extensions = association.setdefault("extensions", {})
    if isinstance(extensions, dict):
        extensions.setdefault(name, value)


def _replace_identifier(value: Json, address: str, findings: RepairLog) -> None:
    """A uri that is nothing but the identifier becomes the address."""
    uri = value["uri"]
    if uri == value["identifier"] and not is_uri(uri) and is_uri(address):
        value["uri"] = address
        findings.note("uri-is-identifier", findings.place_of(value, "uri"), uri, address)


def _fill(value: Json, name: str, missing: str, findings: RepairLog, kind: str = "") -> None:
    """Fill in a field that is not there."""
    if name not in value:
        value[name] = missing
        findings.note(kind or f"missing-{name}", findings.place_of(value, name), None, missing)

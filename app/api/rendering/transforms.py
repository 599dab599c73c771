"""Transformations of stored entities into the entities of a profile.

Entities are stored as the standard defines them. Each function changes the entity that it is given
in place, unless it returns one, and leaves the content of ``extensions`` unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

from ...case.resources import ASSOCIATIONS, DEFINITIONS, ResourceType
from ...case.response_fields import LINK_TARGETS, NODE_FIELDS, REQUIRED_DEFAULTS
from ...case.stored_form import LIST_FIELDS
from ...case.vocabulary import ASSOCIATION_TYPES_1_0, RELATED
from ..profiles import NEW_IN_1_1

JsonObject: TypeAlias = dict[str, Any]


def add_required_fields(resource: ResourceType, entity: JsonObject) -> None:
    """Set the fields that a definition lacks but CASE 1.1 requires, in place.

    ``REQUIRED_DEFAULTS`` has these fields, such as ``licenseText``, and their default values.
    Entities of other types are not changed.
    """
    if resource not in DEFINITIONS:
        return
    fields = resource.schema.model_fields
    for name, source in REQUIRED_DEFAULTS.items():
        if name in fields and fields[name].is_required() and name not in entity:
            entity[name] = entity[source] if source else ""


def add_empty_lists(resource: ResourceType, entity: JsonObject) -> None:
    """Set the list fields that an entity of class ``resource`` lacks to empty lists, in place."""
    for name in LIST_FIELDS.get(resource, ()):
        entity.setdefault(name, [])


def rewrite_uris(
    resource: ResourceType, entity: JsonObject, base: str, local_nodes: Mapping[str, str]
) -> None:
    """Replace the ``uri`` of an entity and of its links with URLs on this server, in place.

    ``base`` is the URL of the profile. ``local_nodes`` maps the identifiers of items and documents
    on this server to their collection, such as ``CFItems``. The origin and destination of an
    association keep their ``uri`` if ``local_nodes`` lacks their identifiers.
    """

    def build_entity_url(collection: str, identifier: str) -> str:
        return f"{base}/{collection}/{quote(identifier, safe='')}"

    entity["uri"] = build_entity_url(resource.collection, entity["identifier"])
    for name, collection in LINK_TARGETS.items():
        value = entity.get(name, ())
        for link in value if isinstance(value, list) else [value] if value else ():
            link["uri"] = build_entity_url(collection, link["identifier"])
    for name in NODE_FIELDS:
        link = entity.get(name)
        if link and link["identifier"] in local_nodes:
            link["uri"] = build_entity_url(local_nodes[link["identifier"]], link["identifier"])


def strip_extensions(value: Any) -> None:
    """Remove every ``extensions`` member from a JSON value in place, at any depth."""
    if isinstance(value, dict):
        value.pop("extensions", None)
        for part in value.values():
            strip_extensions(part)
    elif isinstance(value, list):
        for part in value:
            strip_extensions(part)


def downgrade_to_1_0(resource: ResourceType, entity: JsonObject) -> None:
    """Remove from an entity, in place, what CASE 1.1 added, other than extensions.

    This is some fields and the target types of links. Association types that CASE 1.0 lacks become
    isRelatedTo.
    """
    for name in NEW_IN_1_1.get(resource, ()):
        entity.pop(name, None)
    for name in NODE_FIELDS:
        entity.get(name, {}).pop("targetType", None)
    # The CASE 1.1 implementation guide has unknown association types read as isRelatedTo.
    if resource is ASSOCIATIONS and entity["associationType"] not in ASSOCIATION_TYPES_1_0:
        entity["associationType"] = RELATED


def add_sourced_ids(entity: JsonObject) -> JsonObject:
    """Return a copy of an entity with a ``sourcedId`` after each ``identifier``, at any depth.

    ``sourcedId`` has the same value as ``identifier``, and clients of the TimeBack platform read
    only ``sourcedId``. The content of ``extensions`` is not changed.
    """
    copy: JsonObject = {}
    if "identifier" in entity:
        copy["identifier"] = copy["sourcedId"] = entity["identifier"]
    for name, value in entity.items():
        if name == "extensions":
            copy[name] = value
        elif isinstance(value, dict):
            copy[name] = add_sourced_ids(value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            copy[name] = [add_sourced_ids(part) for part in value]
        else:
            copy[name] = value
    return copy

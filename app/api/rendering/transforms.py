"""What a profile does to a stored body, one pure step at a time.

Bodies are stored in the standard's own form; each function here takes a body that nobody else
holds, changes it, and leaves ``extensions`` as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

from ...case.derived_fields import LINK_TARGETS, REQUIRED_DEFAULTS
from ...case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, Resource
from ...case.stored_form import LIST_FIELDS
from ...case.vocabulary import ASSOCIATION_TYPES_1_0, RELATED

JsonObject: TypeAlias = dict[str, Any]

NEW_IN_1_1 = {
    DOCUMENTS: ("frameworkType", "caseVersion"),
    ITEMS: ("subject", "subjectURI"),
    ASSOCIATIONS: ("notes",),
}

NODES = ("originNodeURI", "destinationNodeURI")


def fill_required(resource: Resource, node: JsonObject) -> None:
    """Fill in what every definition must say (CASE 1.1 information model)."""
    if resource not in DEFINITIONS:
        return
    fields = resource.schema.model_fields
    for name, source in REQUIRED_DEFAULTS.items():
        if name in fields and fields[name].is_required() and name not in node:
            node[name] = node[source] if source else ""


def set_default_item_type(resource: Resource, node: JsonObject, item_type: str | None) -> None:
    """The type that an item must have."""
    if item_type and resource is ITEMS:
        node.setdefault("CFItemType", item_type)


def add_empty_lists(resource: Resource, node: JsonObject) -> None:
    """Lists that are there even when they are empty."""
    for name in LIST_FIELDS.get(resource, ()):
        node.setdefault(name, [])


def rewrite_uris(
    resource: Resource, node: JsonObject, base: str, local_nodes: Mapping[str, str]
) -> None:
    """Give everything that is stored here its address on this server.

    ``base`` is the address of the profile; ``here`` says which nodes of an association are stored
    here, and among what: others keep the uri they came with.
    """

    def address(plural: str, identifier: str) -> str:
        return f"{base}/{plural}/{quote(identifier, safe='')}"

    node["uri"] = address(resource.plural, node["identifier"])
    for name, plural in LINK_TARGETS.items():
        value = node.get(name, ())
        for link in value if isinstance(value, list) else [value] if value else ():
            link["uri"] = address(plural, link["identifier"])
    for name in NODES:
        end = node.get(name)
        if end and end["identifier"] in local_nodes:
            end["uri"] = address(local_nodes[end["identifier"]], end["identifier"])


def node_identifiers(node: JsonObject) -> Iterator[str]:
    """The identifiers of the two ends of an association."""
    yield from (node[name]["identifier"] for name in NODES if name in node)


def strip_extensions(node: Any) -> None:
    """Take out every ``extensions``, at whatever depth."""
    if isinstance(node, dict):
        node.pop("extensions", None)
        for part in node.values():
            strip_extensions(part)
    elif isinstance(node, list):
        for part in node:
            strip_extensions(part)


def downgrade_to_1_0(resource: Resource, node: JsonObject) -> None:
    """Take away what CASE 1.1 added: fields, target types, and kinds of association."""
    strip_extensions(node)
    for name in NEW_IN_1_1.get(resource, ()):
        node.pop(name, None)
    for name in NODES:
        node.get(name, {}).pop("targetType", None)
    # The 1.1 implementation guide reads a type it does not know as a relation.
    if resource is ASSOCIATIONS and node["associationType"] not in ASSOCIATION_TYPES_1_0:
        node["associationType"] = RELATED


def add_sourced_ids(node: JsonObject) -> JsonObject:
    """A body in which every entity and link says ``sourcedId`` beside ``identifier``."""
    answer: JsonObject = {}
    if "identifier" in node:
        answer["identifier"] = answer["sourcedId"] = node["identifier"]
    for name, value in node.items():
        if name == "extensions":
            answer[name] = value
        elif isinstance(value, dict):
            answer[name] = add_sourced_ids(value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            answer[name] = [add_sourced_ids(part) for part in value]
        else:
            answer[name] = value
    return answer

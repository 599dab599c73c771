"""Removal of duplicate entities and associations from a package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..case.model import CaseModel, CFAssociation, CFPackage, Entity
from .field_spec import get_field_specs
from .repair_log import Json, RepairLog


def deduplicate(package: Json, log: RepairLog) -> None:
    """Remove duplicate entities and associations from a package, in place.

    Keeps the first of each. Two associations are duplicates if they have the same identifier, or if
    they have the same type, origin and destination.
    """
    for schema, entities in _iter_entity_lists(CFPackage, package):
        entities[:] = list(_iter_unique_entities(schema, entities, log))
        if schema is CFAssociation:
            entities[:] = list(_iter_unique_triples(entities, log))


def _iter_entity_lists(
    model: type[CaseModel], container: Json
) -> Iterator[tuple[type[Entity], list[Any]]]:
    """Yield (entity class, list of entities) for each list of entities in a JSON object.

    ``model`` is the class of ``container``, such as CFPackage. Includes the lists in nested
    objects, such as CFDefinitions, but not the lists in entities.
    """
    for name, spec in get_field_specs(model).items():
        member = container.get(name)
        if spec.model is None:
            continue
        if isinstance(member, list) and issubclass(spec.model, Entity):
            yield spec.model, member
        if isinstance(member, dict) and not issubclass(spec.model, Entity):
            yield from _iter_entity_lists(spec.model, member)


def _iter_unique_entities(
    schema: type[Entity], entities: list[Any], log: RepairLog
) -> Iterator[Any]:
    """Yield the entities of the class ``schema`` without duplicates, and log each removal.

    An entity is a duplicate if it equals an earlier one. A CFAssociation is one even if only its
    identifier equals that of an earlier one.
    """
    seen: dict[str, Json] = {}
    for entity in entities:
        identifier = entity.get("identifier") if isinstance(entity, dict) else None
        first = seen.setdefault(identifier, entity) if isinstance(identifier, str) else entity
        if first is entity:
            yield entity
        elif first == entity:
            log.record("duplicate-entity", log.get_original_path(entity), entity)
        elif schema is CFAssociation:
            log.record("duplicate-association-id", log.get_original_path(entity), entity)
        else:
            yield entity  # it differs, an error that the strict reader reports


def _iter_unique_triples(associations: list[Any], log: RepairLog) -> Iterator[Any]:
    seen: set[tuple[str, ...]] = set()
    for association in associations:
        triple = _get_triple(association) if isinstance(association, dict) else None
        if triple in seen:
            log.record("duplicate-triple", log.get_original_path(association), association)
        else:
            yield association
        if triple:
            seen.add(triple)


def _get_triple(association: Json) -> tuple[str, ...] | None:
    ends = (association.get("originNodeURI"), association.get("destinationNodeURI"))
    identifiers = [end.get("identifier") if isinstance(end, dict) else None for end in ends]
    parts = [*identifiers, association.get("associationType")]
    triple = tuple(part for part in parts if isinstance(part, str))
    return triple if len(triple) == len(parts) else None

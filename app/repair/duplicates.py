"""Removal of duplicate entities and associations from a package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..case.model import CaseObject, CFAssociation, CFPackage, Entity
from .field_spec import field_specs
from .repair_log import Json, RepairLog


def deduplicate(package: Json, log: RepairLog) -> None:
    """Keep the first of equal entities, and of associations with one identifier or triple."""
    for schema, entities in _entity_lists(CFPackage, package):
        entities[:] = list(_unique_entities(schema, entities, log))
        if schema is CFAssociation:
            entities[:] = list(_unique_triples(entities, log))


def _entity_lists(model: type[CaseObject], value: Json) -> Iterator[tuple[type[Entity], list[Any]]]:
    """Yield the lists of entities in a package and in its definitions."""
    for name, spec in field_specs(model).items():
        member = value.get(name)
        if spec.model is None:
            continue
        if isinstance(member, list) and issubclass(spec.model, Entity):
            yield spec.model, member
        if isinstance(member, dict) and not issubclass(spec.model, Entity):
            yield from _entity_lists(spec.model, member)


def _unique_entities(schema: type[Entity], entities: list[Any], log: RepairLog) -> Iterator[Any]:
    """Yield entities, except equal ones and further associations with one identifier.

    Other entities that share an identifier but differ are an error, which the strict reader
    reports.
    """
    seen: dict[str, Json] = {}
    for entity in entities:
        identifier = entity.get("identifier") if isinstance(entity, dict) else None
        first = seen.setdefault(identifier, entity) if isinstance(identifier, str) else entity
        if first is entity:
            yield entity
        elif first == entity:
            log.record("duplicate-entity", log.path_of(entity), entity)
        elif schema is CFAssociation:
            log.record("duplicate-association-id", log.path_of(entity), entity)
        else:
            yield entity


def _unique_triples(associations: list[Any], log: RepairLog) -> Iterator[Any]:
    seen: set[tuple[str, ...]] = set()
    for association in associations:
        triple = _triple(association) if isinstance(association, dict) else None
        if triple in seen:
            log.record("duplicate-triple", log.path_of(association), association)
        else:
            yield association
        if triple:
            seen.add(triple)


def _triple(association: Json) -> tuple[str, ...] | None:
    """Return the origin, destination and type of an association, or None if one is missing."""
    ends = (association.get("originNodeURI"), association.get("destinationNodeURI"))
    identifiers = [end.get("identifier") if isinstance(end, dict) else None for end in ends]
    parts = [*identifiers, association.get("associationType")]
    triple = tuple(part for part in parts if isinstance(part, str))
    return triple if len(triple) == len(parts) else None

"""What stands twice in a package, collapsed where that loses nothing or is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..case.model import CaseObject, CFAssociation, CFPackage, Entity
from .field_spec import field_specs
from .repair_log import Json, RepairLog


def deduplicate(package: Json, log: RepairLog) -> None:
    """Leave one of each: of entities word for word the same, and of associations that repeat."""
    for schema, entities in _lists(CFPackage, package):
        entities[:] = list(_once(schema, entities, log))
        if schema is CFAssociation:
            entities[:] = list(_one_of_each_triple(entities, log))


def _lists(model: type[CaseObject], value: Json) -> Iterator[tuple[type[Entity], list[Any]]]:
    """The lists of entities in a package and in its definitions."""
    for name, shape in field_specs(model).items():
        held = value.get(name)
        if shape.model is None:
            continue
        if isinstance(held, list) and issubclass(shape.model, Entity):
            yield shape.model, held
        if isinstance(held, dict) and not issubclass(shape.model, Entity):
            yield from _lists(shape.model, held)


def _once(schema: type[Entity], entities: list[Any], log: RepairLog) -> Iterator[Any]:
    seen: dict[str, Json] = {}
    for entity in entities:
        identifier = entity.get("identifier") if isinstance(entity, dict) else None
        first = seen.setdefault(identifier, entity) if isinstance(identifier, str) else entity
        if first is entity:
            yield entity
        elif first == entity:
            log.record("repeated-entity", log.path_of(entity), entity)
        elif schema is CFAssociation:
            log.record("repeated-association-id", log.path_of(entity), entity)
        else:
            yield entity


def _one_of_each_triple(associations: list[Any], log: RepairLog) -> Iterator[Any]:
    seen: set[tuple[str, ...]] = set()
    for association in associations:
        triple = _triple(association) if isinstance(association, dict) else None
        if triple in seen:
            log.record("repeated-triple", log.path_of(association), association)
        else:
            yield association
        if triple:
            seen.add(triple)


def _triple(association: Json) -> tuple[str, ...] | None:
    """The origin, destination and type of an association, when it has all three."""
    ends = (association.get("originNodeURI"), association.get("destinationNodeURI"))
    names = [end.get("identifier") if isinstance(end, dict) else None for end in ends]
    parts = [*names, association.get("associationType")]
    triple = tuple(part for part in parts if isinstance(part, str))
    return triple if len(triple) == len(parts) else None

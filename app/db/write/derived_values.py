"""Keep the stored change times and sequence numbers of entities that a spreadsheet left unchanged.

The reader of a spreadsheet derives them from the time of its file and the order of its rows. If an
entity or the order is otherwise unchanged, the stored values stay. Without this, saving the file
again would change every entity, and inserting a row would change all siblings after it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from sqlalchemy import Text, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from ...case.package import EntityRow, Package
from ...case.resources import ASSOCIATIONS, RESOURCES, ResourceType
from ...case.sequence import number_siblings
from ...case.stored_form import FIELDS
from ..schema import tables
from ..statement import CompiledStatement

if TYPE_CHECKING:
    from ..connector import Connection

RESOURCES_BY_NAME = {resource.name: resource for resource in RESOURCES}
IDENTIFIERS = bindparam("identifiers", type_=ARRAY(Text))

TIME = "lastChangeDateTime"
NUMBER = "sequenceNumber"
DOCUMENT_LINK = "CFDocumentURI"


class StoredEntity(NamedTuple):
    """The stored JSON body of an entity, and when the entity was last changed."""

    body: str
    last_change_date_time: datetime


class DerivedValues:
    """Replaces change times and sequence numbers guessed from a spreadsheet by the stored ones.

    This applies only to entities that are otherwise unchanged, so that uploading the same
    spreadsheet again changes nothing.
    """

    def __init__(self, package: Package) -> None:
        self._times = package.derived_times
        self._siblings = package.derived_order
        self._stored: dict[tuple[str, str], StoredEntity] = {}
        self._numbers: dict[str, int] = {}

    @classmethod
    async def load(cls, connection: Connection, package: Package) -> DerivedValues | None:
        """Load the stored values for entities whose times or numbers a spreadsheet lacks.

        Returns None if the package has no such entities.
        """
        if not (package.derived_times or package.derived_order):
            return None
        values = cls(package)
        identifiers_by_kind = defaultdict(set)
        for kind, identifier in package.derived_times:
            identifiers_by_kind[kind].add(identifier)
        for siblings in package.derived_order:
            identifiers_by_kind[ASSOCIATIONS.name].update(siblings)
        for kind, identifiers in identifiers_by_kind.items():
            if resource := RESOURCES_BY_NAME.get(kind):
                rows = await _stored_entities(resource).fetch_all(
                    connection, identifiers=[*identifiers]
                )
                for identifier, *stored in rows:
                    values._stored[kind, identifier] = StoredEntity(*stored)
        for siblings in package.derived_order:
            stored_numbers = map(values._stored_number, siblings)
            values._numbers.update(zip(siblings, number_siblings([*stored_numbers]), strict=True))
        return values

    def _stored_number(self, association: str) -> int | None:
        stored = self._stored.get((ASSOCIATIONS.name, association))
        number = FIELDS.decode(stored.body).get(NUMBER) if stored else None
        return int(bytes(number)) if number else None

    def restore(self, row: EntityRow) -> EntityRow:
        """Replace the change time and sequence number of a row by the stored ones.

        The row is returned as it is if anything else of the entity has changed.
        """
        number = self._numbers.get(row.identifier) if row.kind == ASSOCIATIONS.name else None
        is_time_derived = (row.kind, row.identifier) in self._times
        if number is None and not is_time_derived:
            return row
        fields = FIELDS.decode(row.body)
        if number is not None and bytes(fields[NUMBER]) != b"%d" % number:
            fields[NUMBER] = msgspec.Raw(b"%d" % number)
            row = row._replace(body=msgspec.json.encode(fields).decode())
        stored = self._stored.get((row.kind, row.identifier)) if is_time_derived else None
        if stored is None:
            return row
        ignored = {TIME, DOCUMENT_LINK} if row.is_home_derived else {TIME}
        if _without(fields, ignored) == _without(FIELDS.decode(stored.body), ignored):
            return row._replace(**stored._asdict())
        return row


def _without(fields: dict[str, msgspec.Raw], names: Iterable[str]) -> dict[str, bytes]:
    return {name: bytes(value) for name, value in fields.items() if name not in names}


@cache
def _stored_entities(resource: ResourceType) -> CompiledStatement:
    table = tables.get_table(resource)
    columns = (table.c.identifier, cast(table.c.body, Text), table.c.last_change_date_time)
    return CompiledStatement(select(*columns).where(table.c.identifier == func.any(IDENTIFIERS)))

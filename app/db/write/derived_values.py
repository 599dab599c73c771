"""Keep stored change times and sequence numbers of entities a spreadsheet left unchanged.

A spreadsheet has no such values, so its reader derives them from the time of the file and the order
of the rows. Without this module, saving the file again would change every entity, and inserting a
row would change all siblings after it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import NamedTuple

import msgspec
from sqlalchemy import Text, cast, func, select

from ...case.package import EntityRow, PreparedPackage
from ...case.resources import ASSOCIATIONS, RESOURCES, ResourceType
from ...case.sequence import number_siblings
from ...case.stored_form import FIELDS
from ..connector import Connection
from ..schema import tables
from ..schema.expressions import IDENTIFIERS
from ..statement import CompiledStatement

RESOURCES_BY_NAME = {resource.name: resource for resource in RESOURCES}

TIME_FIELD = "lastChangeDateTime"
NUMBER_FIELD = "sequenceNumber"


class StoredEntity(NamedTuple):
    """The stored JSON body of an entity, and when the entity was last changed."""

    body: str
    last_change_date_time: datetime


class DerivedValueReplacer:
    """Replaces values that the reader of a spreadsheet derived with the stored values.

    A spreadsheet has no modification timestamps of entities and no sequence numbers of
    associations, so its reader derives them from the time of the file and the order of the rows.
    """

    def __init__(self, package: PreparedPackage) -> None:
        self._times = package.derived.times
        self._siblings = package.derived.order
        self._stored: dict[tuple[str, str], StoredEntity] = {}
        self._numbers: dict[str, int] = {}

    @classmethod
    async def load(
        cls, connection: Connection, package: PreparedPackage
    ) -> DerivedValueReplacer | None:
        """Read the stored entities whose values a spreadsheet lacks, and return the replacer.

        Returns None if the reader of ``package`` derived no timestamps and no sequence numbers.
        """
        if not (package.derived.times or package.derived.order):
            return None
        replacer = cls(package)
        identifiers_by_kind = defaultdict(set)
        for kind, identifier in package.derived.times:
            identifiers_by_kind[kind].add(identifier)
        for siblings in package.derived.order:
            identifiers_by_kind[ASSOCIATIONS.name].update(siblings)
        for kind, identifiers in identifiers_by_kind.items():
            if resource := RESOURCES_BY_NAME.get(kind):
                query = compile_stored_entities_query(resource)
                rows = await query.fetch_all(connection, identifiers=[*identifiers])
                for identifier, *stored in rows:
                    replacer._stored[kind, identifier] = StoredEntity(*stored)
        for siblings in package.derived.order:
            stored_numbers = map(replacer._get_stored_number, siblings)
            replacer._numbers.update(zip(siblings, number_siblings([*stored_numbers]), strict=True))
        return replacer

    def _get_stored_number(self, association: str) -> int | None:
        stored = self._stored.get((ASSOCIATIONS.name, association))
        number = FIELDS.decode(stored.body).get(NUMBER_FIELD) if stored else None
        return int(bytes(number)) if number else None

    def restore_stored_values(self, row: EntityRow) -> EntityRow:
        """Return an entity's row with its stored sequence number and modification timestamp.

        An association keeps its stored sequence number if the new order of its siblings allows it.
        The stored timestamp is used if no other field of the entity has changed. Values that the
        file itself contained are not replaced.
        """
        number = self._numbers.get(row.identifier) if row.kind == ASSOCIATIONS.name else None
        is_time_derived = (row.kind, row.identifier) in self._times
        if number is None and not is_time_derived:
            return row
        fields = FIELDS.decode(row.body)
        if number is not None and bytes(fields[NUMBER_FIELD]) != b"%d" % number:
            fields[NUMBER_FIELD] = msgspec.Raw(b"%d" % number)
            row = row._replace(body=msgspec.json.encode(fields).decode())
        stored = self._stored.get((row.kind, row.identifier)) if is_time_derived else None
        if stored is None:
            return row
        ignored_fields = (
            {TIME_FIELD, "CFDocumentURI"} if row.has_added_container_link else {TIME_FIELD}
        )
        if _omit_fields(fields, ignored_fields) == _omit_fields(
            FIELDS.decode(stored.body), ignored_fields
        ):
            return row._replace(**stored._asdict())
        return row


def _omit_fields(fields: dict[str, msgspec.Raw], names: Iterable[str]) -> dict[str, bytes]:
    return {name: bytes(value) for name, value in fields.items() if name not in names}


@cache
def compile_stored_entities_query(resource: ResourceType) -> CompiledStatement:
    """Compile the query for the stored entities of a type by identifier, live or soft-deleted.

    The SQL parameter ``identifiers`` is an array. Each row is (identifier, body,
    last_change_date_time), with the JSON body as a string.
    """
    table = tables.get_table(resource)
    columns = (table.c.identifier, cast(table.c.body, Text), table.c.last_change_date_time)
    return CompiledStatement(select(*columns).where(table.c.identifier == func.any(IDENTIFIERS)))

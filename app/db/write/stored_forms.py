"""Convert rows of a package to the form in which they are stored.

A package that came from this server contains values that responses add to stored bodies: URLs in
place of URIs, empty lists, a default item type. They are removed or replaced by the stored values,
so that writing an unchanged export changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from anyio import to_thread
from sqlalchemy import Text, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from ...case.package import EntityRow
from ...case.resources import DOCUMENTS, ITEMS, RESOURCES, ResourceType
from ...case.stored_form import FILE_ORIGIN, LIST_FIELDS, BodyOrigin, SubmittedBody, Target
from ...case.vocabulary import UNKNOWN_ITEM_TYPE
from ..read.body_digests import add_container_link
from ..schema import tables
from ..schema.expressions import json_text
from ..statement import CompiledStatement
from .derived_values import DerivedValues

if TYPE_CHECKING:
    from ..connector import Connection

RESOURCES_BY_NAME = {resource.name: resource for resource in RESOURCES}
RESOURCES_BY_COLLECTION = {resource.collection: resource for resource in RESOURCES}
KINDS_WITH_LISTS = {resource.name for resource in LIST_FIELDS}

DEFAULT_TYPE_FIELD = f'"CFItemType":"{UNKNOWN_ITEM_TYPE}"'

IDENTIFIERS = bindparam("identifiers", type_=ARRAY(Text))


class StoredForms:
    """Removes what this server adds to responses from entities that a client sends back.

    Has the stored bodies and URIs that this needs. Without it, writing an unchanged export would
    change entities.
    """

    def __init__(self, origin: BodyOrigin = FILE_ORIGIN) -> None:
        self.origin = origin
        self.package_link: str | None = None
        """The stored CFPackageURI of the document, as JSON, if it was sent without one."""
        self.derived: DerivedValues | None = None
        self._bodies: dict[tuple[str, str], str] = {}
        self._sent_uris: dict[Target, str | None] = {}
        self._uris: dict[Target, str] = {}

    @classmethod
    async def load(
        cls, connection: Connection, rows: Iterable[EntityRow], origin: BodyOrigin
    ) -> StoredForms:
        """Load the stored bodies and URIs needed to convert these rows; most packages need none.

        ``origin`` says which values this server adds to responses.
        """
        forms = cls(origin)
        if origin.server_urls:
            await forms._load(connection, rows)
        elif origin.has_default_types:
            await forms._load(connection, await to_thread.run_sync(_with_default_types, rows))
        return forms

    def restore(self, row: EntityRow) -> EntityRow:
        """Return an entity's row without the values that this server adds to responses."""
        if row.kind == DOCUMENTS.name:
            row = add_container_link(row, self.package_link)
        if self._may_differ(row):
            row = self._restore_response(row)
        return self.derived.restore(row) if self.derived else row

    def _restore_response(self, row: EntityRow) -> EntityRow:
        submitted = self._submitted_body(row)
        body, keywords = submitted.restore_stored_body(self._find_uri), row.keywords
        if keywords and self.origin.server_urls:
            keywords = submitted.restore_stored_keywords(keywords, self._find_uri)
        return row._replace(body=body, keywords=keywords)

    def _may_differ(self, row: EntityRow) -> bool:
        if self.origin.server_urls:
            return row.kind in RESOURCES_BY_NAME
        if self.origin.has_default_types and _has_default_type(row):
            return True
        return self.origin.has_empty_lists and row.kind in KINDS_WITH_LISTS and "[]" in row.body

    def _submitted_body(self, row: EntityRow) -> SubmittedBody:
        stored = self._bodies.get((row.kind, row.identifier))
        return SubmittedBody(RESOURCES_BY_NAME[row.kind], row.body, stored, self.origin)

    def _find_uri(self, target: Target) -> str | None:
        """Return the URI that a linked entity will have after the write, or None if unknown."""
        collection, identifier = target
        if uri := self._sent_uris.get(target):
            return uri
        resource = RESOURCES_BY_COLLECTION.get(collection)
        stored = self._bodies.get((resource.name, identifier)) if resource else None
        return str(json.loads(stored)["uri"]) if stored else self._uris.get(target)

    async def _load(self, connection: Connection, rows: Iterable[EntityRow]) -> None:
        identifiers = await to_thread.run_sync(_identifiers, rows)
        for resource, names in identifiers.items():
            bodies = await _stored_bodies(resource).fetch_all(connection, identifiers=names)
            for identifier, body in bodies:
                self._bodies[resource.name, identifier] = body
        for resource, names in (
            await to_thread.run_sync(self._find_unresolved_targets, rows)
        ).items():
            uris = await _stored_uris(resource).fetch_all(connection, identifiers=names)
            for identifier, uri in uris:
                self._uris[resource.collection, identifier] = uri

    def _find_unresolved_targets(
        self, rows: Iterable[EntityRow]
    ) -> Mapping[ResourceType, list[str]]:
        """Return the link targets whose URI has to be loaded, by class.

        It is neither in the package nor in the stored body.
        """
        targets: set[Target] = set()
        for row in rows:
            if row.kind in RESOURCES_BY_NAME:
                submitted = self._submitted_body(row)
                self._sent_uris[submitted.resource.collection, submitted.identifier] = submitted.uri
                targets.update(submitted.iter_unresolved_targets())
        unresolved: dict[ResourceType, list[str]] = {}
        for collection, identifier in targets - self._sent_uris.keys():
            if collection in RESOURCES_BY_COLLECTION:
                unresolved.setdefault(RESOURCES_BY_COLLECTION[collection], []).append(identifier)
        return unresolved


def _has_default_type(row: EntityRow) -> bool:
    return row.kind == ITEMS.name and DEFAULT_TYPE_FIELD in row.body


def _with_default_types(rows: Iterable[EntityRow]) -> list[EntityRow]:
    return [row for row in rows if _has_default_type(row)]


def _identifiers(rows: Iterable[EntityRow]) -> Mapping[ResourceType, list[str]]:
    identifiers: dict[ResourceType, list[str]] = {}
    for row in rows:
        if row.kind in RESOURCES_BY_NAME:
            identifiers.setdefault(RESOURCES_BY_NAME[row.kind], []).append(row.identifier)
    return identifiers


@cache
def _stored_bodies(resource: ResourceType) -> CompiledStatement:
    table = tables.get_table(resource)
    columns = (table.c.identifier, cast(table.c.body, Text).label("body"))
    return CompiledStatement(select(*columns).where(table.c.identifier == func.any(IDENTIFIERS)))


@cache
def _stored_uris(resource: ResourceType) -> CompiledStatement:
    table = tables.get_table(resource)
    columns = (table.c.identifier, json_text(table.c.body, "uri").label("uri"))
    return CompiledStatement(select(*columns).where(table.c.identifier == func.any(IDENTIFIERS)))

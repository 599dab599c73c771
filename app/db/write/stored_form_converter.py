"""Convert entities of a package to the form in which they are stored.

A package that came from this server contains values that responses add to stored bodies: URLs in
place of URIs, empty lists, a default item type. These values are removed or replaced with the
stored values, so that writing an unchanged export changes nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TypeAlias

from anyio import to_thread
from sqlalchemy import func, select

from ...case.package import EntityRow
from ...case.resources import DOCUMENTS, ITEMS, RESOURCES, ResourceType
from ...case.stored_form import LIST_FIELDS, NO_ECHOED_VALUES, EchoedValues, SubmittedBody, Target
from ...case.vocabulary import UNKNOWN_ITEM_TYPE
from ..connector import Connection
from ..read.body_digests import add_container_link
from ..schema import tables
from ..schema.expressions import IDENTIFIERS, build_text_extract
from ..statement import CompiledStatement
from .derived_values import RESOURCES_BY_NAME, DerivedValueReplacer, compile_stored_entities_query

RESOURCES_BY_COLLECTION = {resource.collection: resource for resource in RESOURCES}
IdentifiersByResource: TypeAlias = Mapping[ResourceType, list[str]]

KINDS_WITH_LISTS = {resource.name for resource in LIST_FIELDS}

DEFAULT_TYPE_FIELD = f'"CFItemType":"{UNKNOWN_ITEM_TYPE}"'


class StoredFormConverter:
    """Converts uploaded entities to the JSON to store, so that unchanged ones compare equal.

    It replaces or removes values that this server added to an earlier response and the client sent
    back, such as URLs or empty lists. ``echoed`` says which of these values the upload may contain.
    """

    def __init__(self, echoed: EchoedValues = NO_ECHOED_VALUES) -> None:
        self.echoed = echoed
        self.package_link: str | None = None
        """The stored CFPackageURI of the document, as JSON, if it was sent without one."""
        self.derived_values: DerivedValueReplacer | None = None
        self._bodies: dict[tuple[str, str], str] = {}
        self._sent_uris: dict[Target, str | None] = {}
        self._uris: dict[Target, str] = {}

    @classmethod
    async def load(
        cls, connection: Connection, rows: Iterable[EntityRow], echoed: EchoedValues
    ) -> StoredFormConverter:
        """Return a ``StoredFormConverter`` with the stored bodies and URIs that ``rows`` require.

        ``echoed`` says which values of an earlier response the rows may contain. The database is
        read only if these can be URLs of this server, or the default item type ``"unknown"``.
        """
        converter = cls(echoed)
        if echoed.server_urls:
            await converter._load(connection, rows)
        elif echoed.has_default_item_types:
            typed_rows = await to_thread.run_sync(lambda: list(filter(_has_default_type, rows)))
            await converter._load(connection, typed_rows)
        return converter

    def to_stored_row(self, row: EntityRow) -> EntityRow:
        """Return the row with the JSON body to store, without values that only responses contain.

        If ``self.derived_values`` is set, it then restores stored values that a spreadsheet cannot
        contain, such as timestamps.
        """
        if row.kind == DOCUMENTS.name:
            row = add_container_link(row, self.package_link)
        if self._may_differ(row):
            row = self._remove_added_values(row)
        return self.derived_values.restore_stored_values(row) if self.derived_values else row

    def _remove_added_values(self, row: EntityRow) -> EntityRow:
        submitted_body, keywords = self._make_submitted_body(row), row.keywords
        if keywords and self.echoed.server_urls:
            keywords = submitted_body.restore_concept_links(keywords, self._resolve_target_uri)
        body = submitted_body.restore_stored_body(self._resolve_target_uri)
        return row._replace(body=body, keywords=keywords)

    def _may_differ(self, row: EntityRow) -> bool:
        if self.echoed.server_urls:
            return row.kind in RESOURCES_BY_NAME
        if self.echoed.has_default_item_types and _has_default_type(row):
            return True
        return self.echoed.has_empty_lists and row.kind in KINDS_WITH_LISTS and "[]" in row.body

    def _make_submitted_body(self, row: EntityRow) -> SubmittedBody:
        stored = self._bodies.get((row.kind, row.identifier))
        return SubmittedBody(RESOURCES_BY_NAME[row.kind], row.body, stored, self.echoed)

    def _resolve_target_uri(self, target: Target) -> str | None:
        """Return the URI of a linked entity, as sent in the package or else as stored.

        ``target`` is a pair (collection, identifier), such as ("CFItems", "5f…"). Returns None if
        the entity is in neither.
        """
        collection, identifier = target
        if uri := self._sent_uris.get(target):
            return uri
        resource = RESOURCES_BY_COLLECTION.get(collection)
        stored = self._bodies.get((resource.name, identifier)) if resource else None
        return str(json.loads(stored)["uri"]) if stored else self._uris.get(target)

    async def _load(self, connection: Connection, rows: Iterable[EntityRow]) -> None:
        identifiers, linked_identifiers = await to_thread.run_sync(self._collect_identifiers, rows)
        for resource, names in identifiers.items():
            query = compile_stored_entities_query(resource)
            for identifier, body, _ in await query.fetch_all(connection, identifiers=names):
                self._bodies[resource.name, identifier] = body
        for resource, names in linked_identifiers.items():
            query = _compile_stored_uris_query(resource)
            for identifier, uri in await query.fetch_all(connection, identifiers=names):
                self._uris[resource.collection, identifier] = uri

    def _collect_identifiers(
        self, rows: Iterable[EntityRow]
    ) -> tuple[IdentifiersByResource, IdentifiersByResource]:
        """Return the identifiers of a package's entities, and those of other entities they link to.

        Both are mappings of resource type to list of identifiers. Of the linked entities, only
        those are included whose link is a URL of this server. The rows are iterated once, because
        each iteration parses them.
        """
        identifiers = defaultdict[ResourceType, list[str]](list)
        targets: set[Target] = set()
        for row in rows:
            if row.kind in RESOURCES_BY_NAME:
                submitted_body = self._make_submitted_body(row)
                identifiers[submitted_body.resource].append(submitted_body.identifier)
                target = (submitted_body.resource.collection, submitted_body.identifier)
                self._sent_uris[target] = submitted_body.client_uri
                targets.update(submitted_body.iter_link_targets())
        linked_identifiers = defaultdict[ResourceType, list[str]](list)
        for collection, identifier in targets - self._sent_uris.keys():
            if collection in RESOURCES_BY_COLLECTION:
                linked_identifiers[RESOURCES_BY_COLLECTION[collection]].append(identifier)
        return identifiers, linked_identifiers


def _has_default_type(row: EntityRow) -> bool:
    return row.kind == ITEMS.name and DEFAULT_TYPE_FIELD in row.body


@cache
def _compile_stored_uris_query(resource: ResourceType) -> CompiledStatement:
    table = tables.get_table(resource)
    columns = (table.c.identifier, build_text_extract(table.c.body, "uri").label("uri"))
    return CompiledStatement(select(*columns).where(table.c.identifier == func.any(IDENTIFIERS)))

"""Renderer of stored entities as a profile returns them: alone, in lists and in packages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

import orjson

from ...case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS, ResourceType
from ...case.response_fields import NODE_FIELDS
from ...db.read.package import FrameworkSnapshot
from ..profiles import ApiProfile
from . import fast_json, transforms
from .transforms import JsonObject

FindLocalNodes: TypeAlias = Callable[[set[str]], Awaitable[Mapping[str, str]]]
"""Maps those of the given identifiers that are stored on this server to their collections."""

PACKAGE_LINKS = {DOCUMENTS: "CFPackageURI", ITEMS: "CFDocumentURI", ASSOCIATIONS: "CFDocumentURI"}
"""Links to the parent of an entity, which the standard omits inside a package."""


@dataclass(frozen=True)
class Renderer:
    """Renders stored entities as JSON in the format of one API profile, for one request."""

    profile: ApiProfile
    base_url: str
    find_local_nodes: FindLocalNodes | None = None
    """Only needed if the profile rewrites URIs."""
    include_extensions: bool = False
    """The request has ``?extensions=true``."""

    async def to_response_objects(
        self, resource: ResourceType, bodies: Iterable[str]
    ) -> list[JsonObject]:
        """Parse stored entities and convert them to dicts in the profile's format."""
        return await self._apply_profile(resource, [orjson.loads(body) for body in bodies])

    async def to_comma_separated_json(self, resource: ResourceType, bodies: Sequence[str]) -> bytes:
        """Render stored entities as JSON objects separated by commas, without array brackets.

        Returns bytes. ``bodies`` are stored JSON strings.
        """
        if fast_json.can_insert_sourced_ids(self.profile):
            text = fast_json.join_with_sourced_ids(resource, bodies)
            if text is not None:
                return text.encode()
        return orjson.dumps(await self.to_response_objects(resource, bodies))[1:-1]

    async def to_response_object(self, resource: ResourceType, body: str) -> JsonObject:
        """Parse a stored entity and convert it to a dict in the profile's format."""
        (entity,) = await self.to_response_objects(resource, [body])
        return entity

    async def to_package_objects(
        self, resource: ResourceType, bodies: Iterable[str], document_link: JsonObject | None = None
    ) -> list[JsonObject]:
        """Parse stored entities and convert them to the dicts that a package contains.

        If the profile has ``package_links``, each entity keeps the link to its document, and a
        document the link to its package. Otherwise, this link is removed. Only a profile with
        ``foreign_links`` keeps it if it differs from ``document_link``, the link to the package's
        own document.
        """
        entities: list[JsonObject] = [orjson.loads(body) for body in bodies]
        if self.profile.package_links:
            return await self._apply_profile(resource, entities)
        name = PACKAGE_LINKS.get(resource, "")
        links = [entity.get(name) for entity in entities]
        objects = await self._apply_profile(resource, entities)
        for entity, link in zip(objects, links, strict=True):
            entity.pop(name, None)
            if self.profile.foreign_links and link not in (None, document_link):
                entity[name] = link
        return objects

    async def to_package_json(
        self, resource: ResourceType, bodies: Sequence[str], document_link: JsonObject | None = None
    ) -> bytes:
        """Render stored entities as the JSON objects of a package, as bytes separated by commas.

        ``bodies`` are stored JSON strings, ``document_link`` the link to the package's own document
        (see ``to_package_objects``).
        """
        if self.profile.package_links:
            # This profile keeps the links inside a package, so the faster method gives the same.
            return await self.to_comma_separated_json(resource, bodies)
        return orjson.dumps(await self.to_package_objects(resource, bodies, document_link))[1:-1]

    async def render_unclosed_objects(
        self, resource: ResourceType, bodies: Sequence[str]
    ) -> list[bytes]:
        """Render stored entities as JSON without their closing braces, one bytes object each.

        The package tree appends ``childGroups`` and the brace to each item. ``bodies`` are stored
        JSON strings.
        """
        if fast_json.can_insert_sourced_ids(self.profile):
            # Stored JSON contains no line feeds; those in strings are escaped.
            text = fast_json.join_with_sourced_ids(resource, bodies, "\n")
            if text is not None:
                return text[:-1].encode().split(b"}\n")
        entities = await self.to_package_objects(resource, bodies)
        return [orjson.dumps(entity)[:-1] for entity in entities]

    def wrap(self, class_name: str, entity: JsonObject) -> JsonObject:
        """Return ``{class_name: entity}`` if the API profile wraps entities, else the entity."""
        return {class_name: entity} if self.profile.wraps else entity

    @property
    def profile_base_url(self) -> str:
        """The base URL of the profile on this server, such as https://example.org/case/1.1."""
        return self.base_url + self.profile.prefix

    async def _apply_profile(
        self, resource: ResourceType, entities: list[JsonObject]
    ) -> list[JsonObject]:
        """Convert parsed entities to the format of the profile, for example by rewriting URIs.

        Edits the dicts in ``entities`` and returns them, or copies of them if the profile adds
        ``sourcedId`` members.
        """
        profile, shows_extensions = self.profile, self._shows_extensions
        local_nodes = await self._find_local_nodes(resource, entities)
        for entity in entities:
            self._add_package_link(resource, entity)
            transforms.add_required_fields(resource, entity)
            if profile.default_item_type and resource is ITEMS:
                entity.setdefault("CFItemType", profile.default_item_type)
            if not shows_extensions:
                transforms.strip_extensions(entity)
            if profile.version == "1.0":
                transforms.downgrade_to_1_0(resource, entity)
            if profile.empty_lists:
                transforms.add_empty_lists(resource, entity)
            if profile.rewrites_uris:
                transforms.rewrite_uris(resource, entity, self.profile_base_url, local_nodes)
        if profile.sourced_ids:
            return [transforms.add_sourced_ids(entity) for entity in entities]
        return entities

    async def _find_local_nodes(
        self, resource: ResourceType, entities: list[JsonObject]
    ) -> Mapping[str, str]:
        has_rewritten_nodes = resource is ASSOCIATIONS and self.profile.rewrites_uris
        if not has_rewritten_nodes or self.find_local_nodes is None:
            return {}
        return await self.find_local_nodes(
            {entity[name]["identifier"] for entity in entities for name in NODE_FIELDS}
        )

    def _add_package_link(self, resource: ResourceType, entity: JsonObject) -> None:
        """Add a CFPackageURI, in place, to a document that lacks it.

        Entities of other types are not changed.
        """
        if resource is DOCUMENTS and "CFPackageURI" not in entity:
            identifier = entity["identifier"]
            uri = f"{self.profile_base_url}/CFPackages/{quote(identifier, safe='')}"
            link = {"title": entity["title"], "identifier": identifier, "uri": uri}
            entity["CFPackageURI"] = link

    def get_package_identifier(self, framework: FrameworkSnapshot) -> str:
        """Return the identifier of a framework's package in the API profile.

        It is that of the document if ``package_is_document`` is set in the profile.
        """
        if self.profile.package_is_document:
            return framework.document_identifier
        return framework.package_identifier

    async def iter_package_json(
        self, framework: FrameworkSnapshot, fields: Sequence[str] | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the JSON of a whole framework as a CFPackage, in chunks of bytes.

        ``framework`` is the open snapshot to read. ``fields`` are the members to include, such as
        CFItems; None means all.
        """
        yield b'{"CFPackage":{' if self.profile.wraps else b"{"
        separator = b""
        for name, value in self._build_member_iterators(framework).items():
            if fields is None or name in fields:
                yield separator + orjson.dumps(name) + b":"
                async for chunk in value:
                    yield chunk
                separator = b","
        yield b"}}" if self.profile.wraps else b"}"

    def _build_member_iterators(
        self, framework: FrameworkSnapshot
    ) -> dict[str, AsyncIterator[bytes]]:
        """Return a dict of the members of a CFPackage by name, each an iterator of JSON chunks."""
        members: dict[str, AsyncIterator[bytes]] = {}
        if self.profile.sourced_ids:
            for name in ("identifier", "sourcedId"):
                members[name] = _iter_single_chunk(
                    orjson.dumps(self.get_package_identifier(framework))
                )
        members["CFDocument"] = self._iter_document_json(framework)
        for resource in (ITEMS, ASSOCIATIONS):
            members[resource.collection] = self._iter_list_json(framework, resource)
        members["CFDefinitions"] = self._iter_definitions_json(framework)
        members["CFRubrics"] = self._iter_list_json(framework, RUBRICS)
        if framework.extensions and self._shows_extensions:
            members["extensions"] = _iter_single_chunk(framework.extensions.encode())
        return members

    @property
    def _shows_extensions(self) -> bool:
        is_included = self.profile.extensions or self.include_extensions
        return is_included and self.profile.version != "1.0"

    async def _iter_document_json(self, framework: FrameworkSnapshot) -> AsyncIterator[bytes]:
        (document,) = await self.to_package_objects(DOCUMENTS, [framework.document])
        yield orjson.dumps(document)

    async def iter_entity_batches(
        self, framework: FrameworkSnapshot, resource: ResourceType
    ) -> AsyncIterator[list[JsonObject]]:
        """Yield the entities of one type in a framework as lists of dicts, one list per batch."""
        document_link = _get_document_link(framework)
        async for bodies in framework.iter_bodies(resource):
            yield await self.to_package_objects(resource, bodies, document_link)

    async def _iter_list_json(
        self, framework: FrameworkSnapshot, resource: ResourceType
    ) -> AsyncIterator[bytes]:
        document_link = _get_document_link(framework)
        # Other profiles may look up nodes while they render a batch, which needs the connection.
        prefetch = fast_json.can_insert_sourced_ids(self.profile)
        separator = b"["
        async for bodies in framework.iter_bodies(resource, prefetch=prefetch):
            yield separator + await self.to_package_json(resource, bodies, document_link)
            separator = b","
        yield b"[]" if separator == b"[" else b"]"

    async def _iter_definitions_json(self, framework: FrameworkSnapshot) -> AsyncIterator[bytes]:
        separator = b"{"
        for resource in DEFINITIONS:
            yield separator + orjson.dumps(resource.collection) + b":"
            async for chunk in self._iter_list_json(framework, resource):
                yield chunk
            separator = b","
        if framework.definition_extensions and self._shows_extensions:
            yield b',"extensions":' + framework.definition_extensions.encode()
        yield b"}"


def _get_document_link(framework: FrameworkSnapshot) -> JsonObject:
    document = orjson.loads(framework.document)
    return {name: document[name] for name in ("title", "identifier", "uri")}


async def _iter_single_chunk(value: bytes) -> AsyncIterator[bytes]:
    yield value

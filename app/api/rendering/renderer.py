"""Renderer of stored entities as a profile returns them: alone, in lists and in packages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import quote

import orjson

from ...case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS, ResourceType
from ...db.read.package import FrameworkSnapshot
from ..profiles import Profile
from . import fast_json, transforms
from .transforms import JsonObject

FindLocalNodes: TypeAlias = Callable[[set[str]], Awaitable[Mapping[str, str]]]
"""Maps those of the given identifiers that are stored on this server to their collections."""

PACKAGE_LINKS = {DOCUMENTS: "CFPackageURI", ITEMS: "CFDocumentURI", ASSOCIATIONS: "CFDocumentURI"}
"""Links to the parent of an entity, which the standard omits inside a package."""


async def find_no_local_nodes(_: set[str]) -> Mapping[str, str]:
    """Return an empty mapping; the default of ``Renderer.find_local_nodes``.

    It is for profiles that do not rewrite the URIs of entities on this server.
    """
    return {}


@dataclass(frozen=True)
class Renderer:
    """Renders stored entities as JSON in the format of one API profile, for one request."""

    profile: Profile
    base_url: str
    find_local_nodes: FindLocalNodes = find_no_local_nodes
    include_extensions: bool = False
    """The request has ``?extensions=true``."""

    async def to_objects(self, resource: ResourceType, bodies: Iterable[str]) -> list[JsonObject]:
        """Convert entities from their stored JSON text to the objects that a response contains."""
        entities: list[JsonObject] = [orjson.loads(body) for body in bodies]
        return await self._transform(resource, entities)

    async def to_json(self, resource: ResourceType, bodies: Sequence[str]) -> bytes:
        """Render stored entities as JSON objects separated by commas, without array brackets."""
        if fast_json.needs_only_sourced_ids(self.profile):
            text = fast_json.join_with_sourced_ids(resource, bodies)
            if text is not None:
                return text.encode()
        return orjson.dumps(await self.to_objects(resource, bodies))[1:-1]

    async def to_object(self, resource: ResourceType, body: str) -> JsonObject:
        """Convert one entity from its stored JSON text to the object that a response contains."""
        (entity,) = await self.to_objects(resource, [body])
        return entity

    async def to_package_objects(
        self, resource: ResourceType, bodies: Iterable[str], document_link: JsonObject | None = None
    ) -> list[JsonObject]:
        """Convert stored entities to the objects that a package contains, mostly without links.

        ``document_link`` is the link to the package's document: profiles with ``foreign_links``
        keep only links to other documents.
        """
        entities: list[JsonObject] = [orjson.loads(body) for body in bodies]
        if self.profile.package_links:
            return await self._transform(resource, entities)
        name = PACKAGE_LINKS.get(resource, "")
        links = [entity.get(name) for entity in entities]
        for entity, link in zip(await self._transform(resource, entities), links, strict=True):
            entity.pop(name, None)
            if self.profile.foreign_links and link not in (None, document_link):
                entity[name] = link
        return entities

    async def to_json_prefixes(self, resource: ResourceType, bodies: Sequence[str]) -> list[bytes]:
        """Render entities as in a package, each as JSON without its closing brace.

        The package tree appends ``childGroups`` to each item, then the brace.
        """
        if fast_json.needs_only_sourced_ids(self.profile):
            prefixes = fast_json.build_json_prefixes(resource, bodies)
            if prefixes is not None:
                return prefixes
        entities = await self.to_package_objects(resource, bodies)
        return [orjson.dumps(entity)[:-1] for entity in entities]

    def wrap(self, class_name: str, entity: JsonObject) -> JsonObject:
        """Wrap an entity as ``{class_name: entity}`` if the profile requires it."""
        return {class_name: entity} if self.profile.wraps else entity

    @property
    def profile_url(self) -> str:
        """The base URL of the profile on this server, such as https://example.org/case/1.1."""
        return self.base_url + self.profile.prefix

    async def _transform(
        self, resource: ResourceType, entities: list[JsonObject]
    ) -> list[JsonObject]:
        """Apply the profile's changes to entities, such as removed extensions and rewritten URIs.

        The entities are changed in place; profiles with ``sourcedId`` return copies.
        """
        profile, local_nodes = self.profile, await self._local_nodes(resource, entities)
        for entity in entities:
            self._add_package_link(resource, entity)
            transforms.fill_required(resource, entity)
            transforms.set_default_item_type(resource, entity, profile.default_item_type)
            if not (profile.extensions or self.include_extensions):
                transforms.strip_extensions(entity)
            if profile.version == "1.0":
                transforms.downgrade_to_1_0(resource, entity)
            if profile.empty_lists:
                transforms.add_empty_lists(resource, entity)
            if profile.rewrites_uris:
                transforms.rewrite_uris(resource, entity, self.profile_url, local_nodes)
        if profile.sourced_ids:
            return [transforms.add_sourced_ids(entity) for entity in entities]
        return entities

    async def _local_nodes(
        self, resource: ResourceType, entities: list[JsonObject]
    ) -> Mapping[str, str]:
        if resource is not ASSOCIATIONS or not self.profile.rewrites_uris:
            return {}
        identifiers: set[str] = set()
        for entity in entities:
            identifiers.update(transforms.node_identifiers(entity))
        return await self.find_local_nodes(identifiers)

    def _add_package_link(self, resource: ResourceType, entity: JsonObject) -> None:
        """Add a link to the package to a document that was uploaded without one."""
        if resource is DOCUMENTS and "CFPackageURI" not in entity:
            identifier = entity["identifier"]
            uri = f"{self.profile_url}/CFPackages/{quote(identifier, safe='')}"
            link = {"title": entity["title"], "identifier": identifier, "uri": uri}
            entity["CFPackageURI"] = link

    def get_package_identifier(self, framework: FrameworkSnapshot) -> str:
        """Return a package's identifier: its own or, if the profile says so, its document's."""
        if self.profile.package_is_document:
            return framework.document_identifier
        return framework.package_identifier

    async def iter_package(
        self, framework: FrameworkSnapshot, fields: Sequence[str] | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the JSON of a whole framework as a CFPackage, in chunks.

        ``fields`` selects some of its members, such as CFItems; None selects all.
        """
        renderer = replace(self, find_local_nodes=framework.find_node_collections)
        yield b'{"CFPackage":{' if self.profile.wraps else b"{"
        separator = b""
        for name, value in renderer._build_member_iterators(framework).items():  # noqa: SLF001  own class
            if fields is None or name in fields:
                yield separator + orjson.dumps(name) + b":"
                async for chunk in value:
                    yield chunk
                separator = b","
        yield b"}}" if self.profile.wraps else b"}"

    def _build_member_iterators(
        self, framework: FrameworkSnapshot
    ) -> dict[str, AsyncIterator[bytes]]:
        """Return the members of a CFPackage by name, each as an iterator of JSON chunks."""
        members: dict[str, AsyncIterator[bytes]] = {}
        if self.profile.sourced_ids:
            for name in ("identifier", "sourcedId"):
                members[name] = _single_chunk(orjson.dumps(self.get_package_identifier(framework)))
        members["CFDocument"] = self._document(framework)
        for resource in (ITEMS, ASSOCIATIONS):
            members[resource.collection] = self._list(framework, resource)
        members["CFDefinitions"] = self._definitions(framework)
        members["CFRubrics"] = self._list(framework, RUBRICS)
        if framework.extensions and self._shows_extensions:
            members["extensions"] = _single_chunk(framework.extensions.encode())
        return members

    @property
    def _shows_extensions(self) -> bool:
        is_included = self.profile.extensions or self.include_extensions
        return is_included and self.profile.version != "1.0"

    async def _document(self, framework: FrameworkSnapshot) -> AsyncIterator[bytes]:
        (document,) = await self.to_package_objects(DOCUMENTS, [framework.document])
        yield orjson.dumps(document)

    async def iter_batches(
        self, framework: FrameworkSnapshot, resource: ResourceType
    ) -> AsyncIterator[list[JsonObject]]:
        """Yield all entities of one type in a framework, in batches of objects."""
        document = orjson.loads(framework.document)
        document_link = {name: document[name] for name in ("title", "identifier", "uri")}
        async for bodies in framework.iter_bodies(resource):
            yield await self.to_package_objects(resource, bodies, document_link)

    async def _list(
        self, framework: FrameworkSnapshot, resource: ResourceType
    ) -> AsyncIterator[bytes]:
        separator = b"["
        async for entities in self._json_batches(framework, resource):
            yield separator + entities
            separator = b","
        yield b"[]" if separator == b"[" else b"]"

    async def _json_batches(
        self, framework: FrameworkSnapshot, resource: ResourceType
    ) -> AsyncIterator[bytes]:
        """Yield each batch of entities as JSON objects separated by commas, without brackets."""
        if fast_json.needs_only_sourced_ids(self.profile):
            async for bodies in framework.iter_bodies(resource, prefetch=True):
                yield await self.to_json(resource, bodies)
        else:
            async for entities in self.iter_batches(framework, resource):
                # Serialize the whole batch at once and drop the brackets.
                yield orjson.dumps(entities)[1:-1]

    async def _definitions(self, framework: FrameworkSnapshot) -> AsyncIterator[bytes]:
        separator = b"{"
        for resource in DEFINITIONS:
            yield separator + orjson.dumps(resource.collection) + b":"
            async for chunk in self._list(framework, resource):
                yield chunk
            separator = b","
        if framework.definition_extensions and self._shows_extensions:
            yield b',"extensions":' + framework.definition_extensions.encode()
        yield b"}"

    async def iter_tree_package(
        self, members: JsonObject, tree: AsyncIterator[bytes], fields: Sequence[str] | None
    ) -> AsyncIterator[bytes]:
        """Yield the JSON of a CFPackageWithGroups in chunks: first ``members``, then the tree.

        ``fields`` selects some of the members; None selects all.
        """
        selected = {name: members[name] for name in members if fields is None or name in fields}
        yield b'{"CFPackageWithGroups":{' if self.profile.wraps else b"{"
        yield orjson.dumps(selected)[1:-1]
        if fields is None or "structuredContent" in fields:
            yield b',"structuredContent":' if selected else b'"structuredContent":'
            async for chunk in tree:
                yield chunk
        yield b"}}" if self.profile.wraps else b"}"


async def _single_chunk(value: bytes) -> AsyncIterator[bytes]:
    yield value

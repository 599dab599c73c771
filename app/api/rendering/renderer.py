"""From stored bodies to what a profile answers: single entities, lists, and whole packages."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import quote

import orjson

from ...case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS, Resource
from ...db.read.package import FrameworkSnapshot
from ..profiles import Profile
from . import fast_json, transforms
from .transforms import JsonObject

FindLocalNodes: TypeAlias = Callable[[set[str]], Awaitable[Mapping[str, str]]]
"""Which of these identifiers are stored here, and among what: {identifier: "CFItems"}."""

PACKAGE_LINKS = {DOCUMENTS: "CFPackageURI", ITEMS: "CFDocumentURI", ASSOCIATIONS: "CFDocumentURI"}
"""The links to what contains an entity, which the standard leaves out inside a package."""


async def no_local_nodes(_: set[str]) -> Mapping[str, str]:
    """For profiles that leave every uri as it is."""
    return {}


@dataclass(frozen=True)
class Renderer:
    """Answers in the shape of one profile."""

    profile: Profile
    base_url: str
    find_local_nodes: FindLocalNodes = no_local_nodes
    include_extensions: bool = False
    """Whether they were asked for."""

    async def to_objects(self, resource: Resource, bodies: Iterable[str]) -> list[JsonObject]:
        """Entities that stand alone."""
        nodes: list[JsonObject] = [orjson.loads(body) for body in bodies]
        return await self._shape(resource, nodes)

    async def to_json(self, resource: Resource, bodies: Sequence[str]) -> bytes:
        """Entities that stand alone, as JSON separated by commas."""
        if fast_json.can_edit_text(self.profile):
            plain = fast_json.add_sourced_ids(resource, bodies)
            if plain is not None:
                return plain.encode()
        return orjson.dumps(await self.to_objects(resource, bodies))[1:-1]

    async def to_object(self, resource: Resource, body: str) -> JsonObject:
        """An entity that stands alone."""
        (node,) = await self.to_objects(resource, [body])
        return node

    async def to_package_objects(
        self, resource: Resource, bodies: Iterable[str], home: JsonObject | None = None
    ) -> list[JsonObject]:
        """Entities inside the package of a document, to which ``home`` is the link."""
        nodes: list[JsonObject] = [orjson.loads(body) for body in bodies]
        if self.profile.package_links:
            return await self._shape(resource, nodes)
        name = PACKAGE_LINKS.get(resource, "")
        said = [node.get(name) for node in nodes]
        for node, link in zip(await self._shape(resource, nodes), said, strict=True):
            node.pop(name, None)
            if self.profile.foreign_links and link not in (None, home):
                node[name] = link
        return nodes

    async def to_json_prefixes(self, resource: Resource, bodies: Sequence[str]) -> list[bytes]:
        """Entities inside a package, each as a JSON object but for its closing brace."""
        if fast_json.can_edit_text(self.profile):
            plain = fast_json.json_prefixes(resource, bodies)
            if plain is not None:
                return plain
        return [orjson.dumps(one)[:-1] for one in await self.to_package_objects(resource, bodies)]

    def wrap(self, name: str, body: JsonObject) -> JsonObject:
        """A whole answer that is one object."""
        return {name: body} if self.profile.wraps else body

    @property
    def profile_url(self) -> str:
        """The URL of the profile on this server."""
        return self.base_url + self.profile.prefix

    async def _shape(self, resource: Resource, nodes: list[JsonObject]) -> list[JsonObject]:
        """The bodies as the profile answers them."""
        profile, here = self.profile, await self._here(resource, nodes)
        for node in nodes:
            self._name_package(resource, node)
            transforms.fill_required(resource, node)
            transforms.set_default_item_type(resource, node, profile.default_item_type)
            if not (profile.extensions or self.include_extensions):
                transforms.strip_extensions(node)
            if profile.version == "1.0":
                transforms.downgrade_to_1_0(resource, node)
            if profile.empty_lists:
                transforms.add_empty_lists(resource, node)
            if profile.rewrites_uris:
                transforms.rewrite_uris(resource, node, self.profile_url, here)
        return (
            [transforms.add_sourced_ids(node) for node in nodes] if profile.sourced_ids else nodes
        )

    async def _here(self, resource: Resource, nodes: list[JsonObject]) -> Mapping[str, str]:
        if resource is not ASSOCIATIONS or not self.profile.rewrites_uris:
            return {}
        return await self.find_local_nodes(
            {end for node in nodes for end in transforms.node_identifiers(node)}
        )

    def _name_package(self, resource: Resource, node: JsonObject) -> None:
        """The link that a document uploaded without one has to its package."""
        if resource is DOCUMENTS and "CFPackageURI" not in node:
            identifier = node["identifier"]
            uri = f"{self.profile_url}/CFPackages/{quote(identifier, safe='')}"
            link = {"title": node["title"], "identifier": identifier, "uri": uri}
            node["CFPackageURI"] = link

    def package_identifier(self, framework: FrameworkSnapshot) -> str:
        """What the package is called."""
        if self.profile.package_is_document:
            return framework.document_identifier
        return framework.package_identifier

    async def package(
        self, framework: FrameworkSnapshot, fields: Sequence[str] | None = None
    ) -> AsyncIterator[bytes]:
        """A CFPackage as JSON, piece by piece."""
        inside = replace(self, find_local_nodes=framework.find_nodes)
        yield b'{"CFPackage":{' if self.profile.wraps else b"{"
        before = b""
        for name, value in inside._members(framework).items():  # noqa: SLF001  its own kind
            if fields is None or name in fields:
                yield before + orjson.dumps(name) + b":"
                async for piece in value:
                    yield piece
                before = b","
        yield b"}}" if self.profile.wraps else b"}"

    def _members(self, framework: FrameworkSnapshot) -> dict[str, AsyncIterator[bytes]]:
        """The names and values of a CFPackage."""
        members: dict[str, AsyncIterator[bytes]] = {}
        if self.profile.sourced_ids:
            for name in ("identifier", "sourcedId"):
                members[name] = _whole(orjson.dumps(self.package_identifier(framework)))
        members["CFDocument"] = self._document(framework)
        for resource in (ITEMS, ASSOCIATIONS):
            members[resource.plural] = self._list(framework, resource)
        members["CFDefinitions"] = self._definitions(framework)
        members["CFRubrics"] = self._list(framework, RUBRICS)
        if framework.extensions and self._shows_extensions:
            members["extensions"] = _whole(framework.extensions.encode())
        return members

    @property
    def _shows_extensions(self) -> bool:
        asked = self.profile.extensions or self.include_extensions
        return asked and self.profile.version != "1.0"

    async def _document(self, framework: FrameworkSnapshot) -> AsyncIterator[bytes]:
        (document,) = await self.to_package_objects(DOCUMENTS, [framework.document])
        yield orjson.dumps(document)

    async def iter_batches(
        self, framework: FrameworkSnapshot, resource: Resource
    ) -> AsyncIterator[list[JsonObject]]:
        """The items, associations, rubrics or definitions of a package, some at a time."""
        document = orjson.loads(framework.document)
        home = {name: document[name] for name in ("title", "identifier", "uri")}
        async for bodies in framework.iter_bodies(resource):
            yield await self.to_package_objects(resource, bodies, home)

    async def _list(self, framework: FrameworkSnapshot, resource: Resource) -> AsyncIterator[bytes]:
        before = b"["
        async for entities in self._written(framework, resource):
            yield before + entities
            before = b","
        yield b"[]" if before == b"[" else b"]"

    async def _written(
        self, framework: FrameworkSnapshot, resource: Resource
    ) -> AsyncIterator[bytes]:
        """As ``batches``, as JSON separated by commas."""
        if fast_json.can_edit_text(self.profile):
            async for bodies in framework.iter_bodies(resource, prefetch=True):
                yield await self.to_json(resource, bodies)
        else:
            async for entities in self.iter_batches(framework, resource):
                # One dump of a whole batch, less its brackets.
                yield orjson.dumps(entities)[1:-1]

    async def _definitions(self, framework: FrameworkSnapshot) -> AsyncIterator[bytes]:
        before = b"{"
        for resource in DEFINITIONS:
            yield before + orjson.dumps(resource.plural) + b":"
            async for piece in self._list(framework, resource):
                yield piece
            before = b","
        if framework.definition_extensions and self._shows_extensions:
            yield b',"extensions":' + framework.definition_extensions.encode()
        yield b"}"

    async def iter_tree_package(
        self, head: JsonObject, content: AsyncIterator[bytes], fields: Sequence[str] | None
    ) -> AsyncIterator[bytes]:
        """A CFPackageWithGroups as JSON: the head, then the tree, piece by piece."""
        wanted = {name: head[name] for name in head if fields is None or name in fields}
        yield b'{"CFPackageWithGroups":{' if self.profile.wraps else b"{"
        yield orjson.dumps(wanted)[1:-1]
        if fields is None or "structuredContent" in fields:
            yield b',"structuredContent":' if wanted else b'"structuredContent":'
            async for piece in content:
                yield piece
        yield b"}}" if self.profile.wraps else b"}"


async def _whole(value: bytes) -> AsyncIterator[bytes]:
    yield value

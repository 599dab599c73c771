"""From a stored body, which is in the standard's own form, to what a profile answers.

Everything here is a pure function of the body, the profile and this server's address.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

import orjson

from ..case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS, Resource
from ..db.framework import Framework
from .profiles import Profile

Body: TypeAlias = dict[str, Any]

PACKAGE_LINKS = {DOCUMENTS: "CFPackageURI", ITEMS: "CFDocumentURI", ASSOCIATIONS: "CFDocumentURI"}
"""The links to what contains an entity, which the standard leaves out inside a package."""

DERIVED = {"hierarchyCode": None, "description": "title", "licenseText": "uri"}
"""Required fields that a definition registered from a link lacks, and what says the same; a code
that nobody has given is empty."""


def _complete(resource: Resource, node: Body) -> None:
    """Fill in what every definition must say (CASE 1.1 information model)."""
    fields = resource.schema.model_fields
    for name, source in DERIVED.items():
        if name in fields and fields[name].is_required() and name not in node:
            node[name] = node[source] if source else ""


def both_ids(node: Body) -> Body:
    """A body in which every entity and link says ``sourcedId`` beside ``identifier``."""
    answer: Body = {}
    if "identifier" in node:
        answer["identifier"] = answer["sourcedId"] = node["identifier"]
    for name, value in node.items():
        if name == "extensions":
            answer[name] = value
        elif isinstance(value, dict):
            answer[name] = both_ids(value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            answer[name] = [both_ids(part) for part in value]
        else:
            answer[name] = value
    return answer


@dataclass(frozen=True)
class Renderer:
    """Answers in the shape of one profile."""

    profile: Profile
    base_url: str

    def entity(self, resource: Resource, body: str) -> Body:
        """An entity that stands alone."""
        node: Body = orjson.loads(body)
        if resource is DOCUMENTS and "CFPackageURI" not in node:
            node["CFPackageURI"] = self._package_link(node)
        if resource in DEFINITIONS:
            _complete(resource, node)
        return both_ids(node) if self.profile.both_ids else node

    def packed(self, resource: Resource, body: str) -> Body:
        """An entity inside its package."""
        if self.profile.package_links:
            return self.entity(resource, body)
        node: Body = orjson.loads(body)
        node.pop(PACKAGE_LINKS.get(resource, ""), None)
        if resource in DEFINITIONS:
            _complete(resource, node)
        return both_ids(node) if self.profile.both_ids else node

    def single(self, name: str, body: Body) -> Body:
        """A whole answer that is one object."""
        return {name: body} if self.profile.wraps else body

    def _package_link(self, document: Body) -> Body:
        identifier = document["identifier"]
        path = f"{self.profile.prefix}/CFPackages/{quote(identifier, safe='')}"
        return {
            "title": document["title"],
            "identifier": identifier,
            "uri": f"{self.base_url}{path}",
        }

    async def package(
        self, framework: Framework, fields: Sequence[str] | None = None
    ) -> AsyncIterator[bytes]:
        """A CFPackage as JSON, piece by piece."""
        yield b'{"CFPackage":{' if self.profile.wraps else b"{"
        before = b""
        async for name, value in self._members(framework, fields):
            yield before + orjson.dumps(name) + b":"
            async for piece in value:
                yield piece
            before = b","
        yield b"}}" if self.profile.wraps else b"}"

    def with_groups(
        self, head: Body, content: Iterator[bytes], fields: Sequence[str] | None
    ) -> Iterator[bytes]:
        """A CFPackageWithGroups as JSON: the head, then the tree, piece by piece."""
        wanted = {name: head[name] for name in head if fields is None or name in fields}
        yield b'{"CFPackageWithGroups":{' if self.profile.wraps else b"{"
        yield orjson.dumps(wanted)[1:-1]
        if fields is None or "structuredContent" in fields:
            yield b',"structuredContent":' if wanted else b'"structuredContent":'
            yield from content
        yield b"}}" if self.profile.wraps else b"}"

    async def _members(
        self, framework: Framework, fields: Sequence[str] | None
    ) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """The names and values of a CFPackage that were asked for."""
        members: dict[str, AsyncIterator[bytes]] = {}
        if self.profile.both_ids:
            for name in ("identifier", "sourcedId"):
                members[name] = _whole(orjson.dumps(framework.package_identifier))
        document = self.packed(DOCUMENTS, framework.document)
        members["CFDocument"] = _whole(orjson.dumps(document))
        for resource in (ITEMS, ASSOCIATIONS):
            members[resource.plural] = self._list(framework, resource)
        members["CFDefinitions"] = self._definitions(framework)
        members["CFRubrics"] = self._list(framework, RUBRICS)
        if framework.extensions:
            members["extensions"] = _whole(framework.extensions.encode())
        for name, value in members.items():
            if fields is None or name in fields:
                yield name, value

    async def _list(self, framework: Framework, resource: Resource) -> AsyncIterator[bytes]:
        before = b"["
        async for bodies in framework.bodies(resource):
            # One dump of the whole batch, less its brackets, joins it to the ones before.
            yield before + orjson.dumps([self.packed(resource, body) for body in bodies])[1:-1]
            before = b","
        yield b"[]" if before == b"[" else b"]"

    async def _definitions(self, framework: Framework) -> AsyncIterator[bytes]:
        before = b"{"
        for resource in DEFINITIONS:
            yield before + orjson.dumps(resource.plural) + b":"
            async for piece in self._list(framework, resource):
                yield piece
            before = b","
        if framework.definition_extensions:
            yield b',"extensions":' + framework.definition_extensions.encode()
        yield b"}"


async def _whole(value: bytes) -> AsyncIterator[bytes]:
    yield value

"""Test data that a run writes to the server under test and deletes afterwards."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from ..formatting import format_timestamp
from .client import Body, CheckFailed, ServerUnderTest, Skip, entity_path, expect_status

TITLE_PREFIX = "case-server conformance"
"""Prefix of every title and statement that a run writes."""


class Framework(NamedTuple):
    """A document with two items."""

    document: Body
    items: list[Body]


class TestData:
    """Writes entities with new identifiers and records them for deletion."""

    __test__ = False  # otherwise pytest collects the class because of its name

    def __init__(self, server: ServerUnderTest) -> None:
        self.server = server
        self.run = uuid.uuid4().hex[:8]
        self._written: dict[str, dict[str, Body]] = {}
        self._document: Body | None = None
        self._item_type: Body | None = None
        self._framework: Framework | None = None
        self._package: tuple[Body, httpx.Response] | None = None
        self._failure = ""

    def remember(self, plural: str, body: Body) -> None:
        """Record that an entity was written."""
        self._written.setdefault(plural, {})[str(body["identifier"])] = body

    def remember_package(self, body: Body) -> None:
        """Record that all entities of a package were written."""
        document = body["CFDocument"]
        self.remember("CFDocuments", document)
        parent = {"CFDocumentURI": {"identifier": document["identifier"]}}
        for plural in ("CFItems", "CFAssociations"):
            for entity in body[plural]:
                self.remember(plural, {**entity, **parent})

    def forget(self, plural: str, identifier: str) -> None:
        """Record that an entity was deleted."""
        self._written.get(plural, {}).pop(identifier, None)

    def put(self, plural: str, body: Body, wrapper: str | None = None) -> httpx.Response:
        """Send PUT for one entity; record the entity if the server accepts it."""
        path = entity_path(plural, str(body["identifier"]))
        response = self.server.request("PUT", path, {wrapper: body} if wrapper else body)
        if response.is_success:
            self.remember("CFAssociations" if plural == "CFItemAssociations" else plural, body)
        return response

    def post(self, body: Body) -> httpx.Response:
        """Upload a package; record its entities if the server accepts it."""
        response = self.server.request("POST", "/CFPackages", body)
        if response.is_success:
            self.remember_package(body)
        return response

    def document(self) -> tuple[Body, httpx.Response]:
        """PUT the document that single entities belong to; return it with the response."""
        self._document = self._document or self.new_document()
        return self._document, self.put("CFDocuments", self._document)

    def item_type(self) -> tuple[Body, httpx.Response]:
        """PUT the item type that all checks share; return it with the response.

        No public API deletes item types, so a run leaves only this one behind.
        """
        self._item_type = self._item_type or self.new_item_type()
        return self._item_type, self.put("CFItemTypes", self._item_type)

    def framework(self) -> Framework:
        """Return a document with two items, written once; raise ``Skip`` if that fails."""
        if self._failure:
            raise Skip(f"could not write a framework: {self._failure}")
        if self._framework is None:
            try:
                document, response = self.document()
                expect_status(response, 200, 201, 204)
                items = [self.new_item(document), self.new_item(document)]
                for item in items:
                    expect_status(self.put("CFItems", item, "item"), 200, 201, 204)
            except CheckFailed as failure:
                self._failure = str(failure)
                raise Skip(f"could not write a framework: {failure}") from None
            self._framework = Framework(document, items)
        return self._framework

    def package(self) -> tuple[Body, httpx.Response]:
        """Return the package for upload checks and the response to its first upload."""
        if self._package is None:
            body = self.new_package()
            self._package = body, self.post(body)
        return self._package

    def new_document(self, **fields: Any) -> Body:
        """Build a document with a new identifier."""
        title = f"{TITLE_PREFIX} {self.run}"
        body = self._entity(title=title, creator=TITLE_PREFIX, caseVersion="1.1")
        return {**body, "CFPackageURI": link(str(uuid.uuid4()), title), **fields}

    def new_item(self, document: Body, **fields: Any) -> Body:
        """Build an item of a document."""
        statement = f"{TITLE_PREFIX} {self.run}: an item"
        body = self._entity(fullStatement=statement, educationLevel=["05"])
        return {**body, "CFDocumentURI": link(document["identifier"], document["title"]), **fields}

    def new_item_type(self) -> Body:
        """Build an item type with a new identifier."""
        title = f"{TITLE_PREFIX} {self.run}"
        code = f"conformance-{self.run}"
        return self._entity(title=title, description=title, hierarchyCode=code)

    def new_association(self, origin: Body, destination: Body, kind: str) -> Body:
        """Build an association between two items."""
        ends = {
            "originNodeURI": link(origin["identifier"], origin["fullStatement"]),
            "destinationNodeURI": link(destination["identifier"], destination["fullStatement"]),
        }
        return self._entity(associationType=kind, **ends)

    def new_package(self) -> Body:
        """Build a package of a document, two items and an association, as the SDK uploads it."""
        title = f"{TITLE_PREFIX} {self.run}"
        document = self._entity(title=title, creator=TITLE_PREFIX)
        items = [self._entity(fullStatement=f"{title}: {name}") for name in ("a", "b")]
        association = self.new_association(items[1], items[0], "isChildOf")
        return {"CFDocument": document, "CFItems": items, "CFAssociations": [association]}

    def delete_all(self) -> list[str]:
        """Delete the entities the run wrote; return class and identifier of each one left behind.

        Associations are deleted; the package of a document is replaced by an empty one, which
        deletes its items. No public API deletes documents or item types.
        """
        for identifier in list(self._written.get("CFAssociations", ())):
            if self._succeeds("DELETE", entity_path("CFItemAssociations", identifier), (404,)):
                self.forget("CFAssociations", identifier)
        for identifier, document in self._written.get("CFDocuments", {}).items():
            empty = {"CFDocument": document, "CFItems": [], "CFAssociations": []}
            if self._succeeds("PUT", entity_path("CFPackages", identifier), (), empty):
                self._forget_contents(identifier)
        return [
            f"{plural.removesuffix('s')} {identifier}"
            for plural, bodies in self._written.items()
            for identifier in bodies
        ]

    def _forget_contents(self, document: str) -> None:
        for plural in ("CFItems", "CFAssociations"):
            for identifier, body in list(self._written.get(plural, {}).items()):
                parent = body.get("CFDocumentURI", {}).get("identifier", document)
                if parent == document:
                    self.forget(plural, identifier)

    def _succeeds(
        self, method: str, path: str, accepted: tuple[int, ...], body: Body | None = None
    ) -> bool:
        try:
            response = self.server.request(method, path, body)
        except httpx.HTTPError:
            return False
        return response.is_success or response.status_code in accepted

    @staticmethod
    def _entity(**fields: Any) -> Body:
        identifier = str(uuid.uuid4())
        now = format_timestamp(datetime.now(UTC))
        uri = f"urn:uuid:{identifier}"
        return {"identifier": identifier, "uri": uri, "lastChangeDateTime": now, **fields}


def link(identifier: str, title: str) -> Body:
    """Build a link from the identifier and title of an entity; its uri is a URN."""
    return {"title": title, "identifier": identifier, "uri": f"urn:uuid:{identifier}"}

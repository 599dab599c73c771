"""Test data that a run writes to the server under test and deletes afterwards."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from ..formatting import format_timestamp
from .client import Body, CheckFailed, ServerUnderTest, Skip, build_entity_path, expect_status

TITLE_PREFIX = "case-server conformance"
"""Prefix of every title and statement that a run writes."""


class Framework(NamedTuple):
    """A framework that was written to the server for tests: a document with two items."""

    document: Body
    items: list[Body]


class TestData:
    """Writes test entities to the server under test, and deletes them at the end of the run."""

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

    def record_written(self, collection: str, body: Body) -> None:
        """Record that an entity was written to the server, so that ``delete_all`` deletes it.

        ``collection`` is the entity's collection, such as ``CFItems``.
        """
        self._written.setdefault(collection, {})[str(body["identifier"])] = body

    def record_written_package(self, body: Body) -> None:
        """Record the entities of a package that was written, for deletion by ``delete_all``."""
        document = body["CFDocument"]
        self.record_written("CFDocuments", document)
        parent = {"CFDocumentURI": {"identifier": document["identifier"]}}
        for collection in ("CFItems", "CFAssociations"):
            for entity in body[collection]:
                self.record_written(collection, {**entity, **parent})

    def record_deleted(self, collection: str, identifier: str) -> None:
        """Record that an entity was deleted, so that ``delete_all`` leaves it alone."""
        self._written.get(collection, {}).pop(identifier, None)

    def put_entity(self, collection: str, body: Body, wrapper: str | None = None) -> httpx.Response:
        """Write an entity by PUT; if the server accepts it, record it for deletion.

        ``wrapper`` is the name of the JSON object around the entity in the body, such as ``item``.
        """
        path = build_entity_path(collection, str(body["identifier"]))
        response = self.server.request("PUT", path, {wrapper: body} if wrapper else body)
        if response.is_success:
            self.record_written(
                "CFAssociations" if collection == "CFItemAssociations" else collection, body
            )
        return response

    def post_package(self, body: Body) -> httpx.Response:
        """Upload a package by POST; if the server accepts it, record its entities for deletion."""
        response = self.server.request("POST", "/CFPackages", body)
        if response.is_success:
            self.record_written_package(body)
        return response

    def put_document(self) -> tuple[Body, httpx.Response]:
        """Write the document that all test items belong to; return it and the response."""
        self._document = self._document or self.new_document()
        return self._document, self.put_entity("CFDocuments", self._document)

    def put_item_type(self) -> tuple[Body, httpx.Response]:
        """Write the item type that all checks share; return it and the response.

        No public API deletes item types, so a run leaves only this one behind.
        """
        self._item_type = self._item_type or self.new_item_type()
        return self._item_type, self.put_entity("CFItemTypes", self._item_type)

    def get_framework(self) -> Framework:
        """Return a document with two items, written on first use; raise ``Skip`` if rejected."""
        if self._failure:
            raise Skip(f"could not write a framework: {self._failure}")
        if self._framework is None:
            try:
                document, response = self.put_document()
                expect_status(response, 200, 201, 204)
                items = [self.new_item(document), self.new_item(document)]
                for item in items:
                    expect_status(self.put_entity("CFItems", item, "item"), 200, 201, 204)
            except CheckFailed as failure:
                self._failure = str(failure)
                raise Skip(f"could not write a framework: {failure}") from None
            self._framework = Framework(document, items)
        return self._framework

    def get_uploaded_package(self) -> tuple[Body, httpx.Response]:
        """Return the package that all upload checks share, and the response to its first upload."""
        if self._package is None:
            body = self.new_package()
            self._package = body, self.post_package(body)
        return self._package

    def new_document(self, **fields: Any) -> Body:
        """Build the JSON of a document with a new identifier; ``fields`` override attributes."""
        title = f"{TITLE_PREFIX} {self.run}"
        body = self._entity(title=title, creator=TITLE_PREFIX, caseVersion="1.1")
        return {**body, "CFPackageURI": make_link(str(uuid.uuid4()), title), **fields}

    def new_item(self, document: Body, **fields: Any) -> Body:
        """Build the JSON of an item with a new identifier; ``fields`` override attributes."""
        statement = f"{TITLE_PREFIX} {self.run}: an item"
        body = self._entity(fullStatement=statement, educationLevel=["05"])
        return {
            **body,
            "CFDocumentURI": make_link(document["identifier"], document["title"]),
            **fields,
        }

    def new_item_type(self) -> Body:
        """Build the JSON of an item type with a new identifier and the title of this run."""
        title = f"{TITLE_PREFIX} {self.run}"
        code = f"conformance-{self.run}"
        return self._entity(title=title, description=title, hierarchyCode=code)

    def new_association(self, origin: Body, destination: Body, kind: str) -> Body:
        """Build the JSON of an association between two items; ``kind`` is its type.

        An example of a type is ``isChildOf``.
        """
        ends = {
            "originNodeURI": make_link(origin["identifier"], origin["fullStatement"]),
            "destinationNodeURI": make_link(
                destination["identifier"], destination["fullStatement"]
            ),
        }
        return self._entity(associationType=kind, **ends)

    def new_package(self) -> Body:
        """Build the JSON of a package with a document, two items and an association.

        It has the structure in which TimeBack's SDK uploads packages.
        """
        title = f"{TITLE_PREFIX} {self.run}"
        document = self._entity(title=title, creator=TITLE_PREFIX)
        items = [self._entity(fullStatement=f"{title}: {name}") for name in ("a", "b")]
        association = self.new_association(items[1], items[0], "isChildOf")
        return {"CFDocument": document, "CFItems": items, "CFAssociations": [association]}

    def delete_all(self) -> list[str]:
        """Delete the entities that the run wrote; return those that it could not delete.

        Each is returned as "class identifier". Deletes associations one by one, and items by
        replacing the package of their document with an empty one. No public API deletes documents
        or item types.
        """
        for identifier in list(self._written.get("CFAssociations", ())):
            if self._is_request_successful(
                "DELETE", build_entity_path("CFItemAssociations", identifier), (404,)
            ):
                self.record_deleted("CFAssociations", identifier)
        for identifier, document in self._written.get("CFDocuments", {}).items():
            empty = {"CFDocument": document, "CFItems": [], "CFAssociations": []}
            if self._is_request_successful(
                "PUT", build_entity_path("CFPackages", identifier), (), empty
            ):
                self._record_deleted_contents(identifier)
        return [
            f"{collection.removesuffix('s')} {identifier}"
            for collection, bodies in self._written.items()
            for identifier in bodies
        ]

    def _record_deleted_contents(self, document: str) -> None:
        for collection in ("CFItems", "CFAssociations"):
            for identifier, body in list(self._written.get(collection, {}).items()):
                parent = body.get("CFDocumentURI", {}).get("identifier", document)
                if parent == document:
                    self.record_deleted(collection, identifier)

    def _is_request_successful(
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


def make_link(identifier: str, title: str) -> Body:
    """Build a CASE link to an entity; its URI is ``urn:uuid:{identifier}``."""
    return {"title": title, "identifier": identifier, "uri": f"urn:uuid:{identifier}"}

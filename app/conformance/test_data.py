"""Test data that a run writes to the server under test and deletes afterwards."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import httpx

from ..formatting import format_timestamp
from .client import (
    Body,
    CheckFailed,
    CheckSkipped,
    ServerUnderTest,
    build_entity_path,
    expect_status,
)

TITLE_PREFIX = "case-server conformance"
"""Prefix of every title and statement that a run writes."""


class WrittenFramework(NamedTuple):
    """A framework that the tests wrote to the server: a document with two items."""

    document: Body
    items: list[Body]


class TestDataWriter:
    """Writes test entities to the server under test, and deletes them at the end of the run."""

    __test__ = False  # otherwise pytest collects the class because of its name

    def __init__(self, server: ServerUnderTest) -> None:
        self.server = server
        self.run = uuid.uuid4().hex[:8]
        self._written: dict[str, dict[str, Body]] = {}
        self._framework: WrittenFramework | None = None
        self._failure = ""

    def record_written_entity(self, collection: str, body: Body) -> None:
        """Record an entity written to a collection, so that it is deleted after the run."""
        self._written.setdefault(collection, {})[str(body["identifier"])] = body

    def record_written_package(self, body: Body) -> None:
        """Record the entities of an uploaded package, so that they are deleted after the run."""
        document = body["CFDocument"]
        self.record_written_entity("CFDocuments", document)
        parent = {"CFDocumentURI": {"identifier": document["identifier"]}}
        for collection in ("CFItems", "CFAssociations"):
            for entity in body.get(collection, ()):
                self.record_written_entity(collection, {**entity, **parent})

    def forget_deleted_entity(self, collection: str, identifier: str) -> None:
        """Remove an entity that has been deleted from the list of entities to delete."""
        self._written.get(collection, {}).pop(identifier, None)

    def put_entity(self, collection: str, body: Body, wrapper: str | None = None) -> httpx.Response:
        """PUT an entity to a collection such as ``CFItems``; if accepted, record it for deletion.

        ``wrapper`` is the key of the JSON object in which the body wraps the entity, such as
        ``item``, or None if the body is the entity itself.
        """
        path = build_entity_path(collection, str(body["identifier"]))
        response = self.server.request("PUT", path, {wrapper: body} if wrapper else body)
        if response.is_success:
            self.record_written_entity(
                "CFAssociations" if collection == "CFItemAssociations" else collection, body
            )
        return response

    def upload_package(
        self, body: Body, method: str = "POST", path: str = "/CFPackages"
    ) -> httpx.Response:
        """Upload a package; if the server accepts it, record its entities for deletion."""
        response = self.server.request(method, path, body)
        if response.is_success:
            self.record_written_package(body)
        return response

    def put_document(self) -> tuple[Body, httpx.Response]:
        """Create or replace the test document with PUT; return its JSON and the response."""
        return self._document, self.put_entity("CFDocuments", self._document)

    @cached_property
    def _document(self) -> Body:
        return self.build_document()

    def put_item_type(self) -> tuple[Body, httpx.Response]:
        """Create or replace the shared item type with PUT; return its JSON and the response.

        All checks share one item type, because no public API deletes item types.
        """
        return self._item_type, self.put_entity("CFItemTypes", self._item_type)

    @cached_property
    def _item_type(self) -> Body:
        return self.build_item_type()

    def get_or_create_framework(self) -> WrittenFramework:
        """Return a framework written on first use; raise ``CheckSkipped`` if it was rejected."""
        if self._failure:
            raise CheckSkipped(f"could not write a framework: {self._failure}")
        if self._framework is None:
            try:
                document, response = self.put_document()
                expect_status(response, 200, 201, 204)
                items = [self.build_item(document), self.build_item(document)]
                for item in items:
                    expect_status(self.put_entity("CFItems", item, "item"), 200, 201, 204)
            except CheckFailed as failure:
                self._failure = str(failure)
                raise CheckSkipped(f"could not write a framework: {failure}") from None
            self._framework = WrittenFramework(document, items)
        return self._framework

    @cached_property
    def uploaded_package(self) -> tuple[Body, httpx.Response]:
        """The package that all checks share, uploaded on first use, and the response to that."""
        body = self.build_sample_package()
        return body, self.upload_package(body)

    def build_document(self, **fields: Any) -> Body:
        """Return the JSON of a new document; keyword arguments override its fields."""
        title = f"{TITLE_PREFIX} {self.run}"
        body = self._entity(title=title, creator=TITLE_PREFIX, caseVersion="1.1")
        return {**body, "CFPackageURI": make_link(str(uuid.uuid4()), title), **fields}

    def build_item(self, document: Body, **fields: Any) -> Body:
        """Return the JSON of a new item of ``document``; keyword arguments override its fields."""
        statement = f"{TITLE_PREFIX} {self.run}: an item"
        body = self._entity(fullStatement=statement, educationLevel=["05"])
        return {
            **body,
            "CFDocumentURI": make_link(document["identifier"], document["title"]),
            **fields,
        }

    def build_item_type(self) -> Body:
        """Return the JSON of an item type with a new identifier and a title unique to this run."""
        title = f"{TITLE_PREFIX} {self.run}"
        code = f"conformance-{self.run}"
        return self._entity(title=title, description=title, hierarchyCode=code)

    def build_association(self, origin: Body, destination: Body, association_type: str) -> Body:
        """Return the JSON of an association of a type such as ``isChildOf`` between two items."""
        ends = {
            "originNodeURI": make_link(origin["identifier"], origin["fullStatement"]),
            "destinationNodeURI": make_link(
                destination["identifier"], destination["fullStatement"]
            ),
        }
        return self._entity(associationType=association_type, **ends)

    def build_sample_package(self) -> Body:
        """Return the JSON of a package with a document, two items and an association.

        It has the structure of the packages that the client library (SDK) of TimeBack uploads.
        """
        title = f"{TITLE_PREFIX} {self.run}"
        document = self._entity(title=title, creator=TITLE_PREFIX)
        items = [self._entity(fullStatement=f"{title}: {name}") for name in ("a", "b")]
        association = self.build_association(items[1], items[0], "isChildOf")
        return {"CFDocument": document, "CFItems": items, "CFAssociations": [association]}

    def delete_written_entities(self) -> list[str]:
        """Delete the entities that the run wrote; return the entities that remain.

        Each is returned as ``"{class} {identifier}"``. Items are deleted by replacing the package
        of their document with an empty one. No public API deletes documents or item types.
        """
        for identifier in list(self._written.get("CFAssociations", ())):
            if self._is_request_successful(
                "DELETE", build_entity_path("CFItemAssociations", identifier), (404,)
            ):
                self.forget_deleted_entity("CFAssociations", identifier)
        for identifier, document in self._written.get("CFDocuments", {}).items():
            empty = {"CFDocument": document, "CFItems": [], "CFAssociations": []}
            if self._is_request_successful(
                "PUT", build_entity_path("CFPackages", identifier), (), empty
            ):
                self._forget_deleted_contents(identifier)
        return [
            f"{collection.removesuffix('s')} {identifier}"
            for collection, bodies in self._written.items()
            for identifier in bodies
        ]

    def _forget_deleted_contents(self, document: str) -> None:
        for collection in ("CFItems", "CFAssociations"):
            for identifier, body in list(self._written.get(collection, {}).items()):
                parent = body.get("CFDocumentURI", {}).get("identifier", document)
                if parent == document:
                    self.forget_deleted_entity(collection, identifier)

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

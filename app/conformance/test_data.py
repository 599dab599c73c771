"""Test data that a run writes to the server under test and deletes afterwards."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import httpx

from ..formatting import format_timestamp
from .client import ServerUnderTest, build_entity_path
from .responses import Body, CheckFailed, CheckSkipped, expect_status

TITLE_PREFIX = "case-server conformance"
"""Prefix of every title and statement that a run writes."""

WRAPPERS = {"CFItems": "item", "CFItemAssociations": "association"}
"""Keys under which the body of a PUT contains the entity; other bodies are the entity itself."""


class SharedFramework(NamedTuple):
    """The framework that all checks share, as it was written: a document and two items."""

    document: Body
    items: list[Body]


class TestDataWriter:
    """Writes test entities to the server under test, and deletes them at the end of the run."""

    __test__ = False  # otherwise pytest collects the class because of its name

    def __init__(self, server: ServerUnderTest) -> None:
        self.server = server
        self._run = uuid.uuid4().hex[:8]
        self._title = f"{TITLE_PREFIX} {self._run}"
        self._document, self._item_type = self.build_document(), self.build_item_type()
        self._written: dict[str, dict[str, Body]] = {}

    def record_written_entity(self, collection: str, body: Body) -> None:
        """Record an entity written to a collection, so that it is deleted after the run.

        ``body`` is the JSON of the entity as a dict, with its ``identifier``.
        """
        self._written.setdefault(collection, {})[str(body["identifier"])] = body

    def forget_deleted_entity(self, collection: str, identifier: str) -> None:
        """Remove an entity from those to delete after the run, because it is deleted already."""
        self._written.get(collection, {}).pop(identifier, None)

    def put_entity(self, collection: str, body: Body) -> httpx.Response:
        """PUT an entity to a collection such as ``CFItems`` and return the response.

        If the server accepts it, records the entity, so that it is deleted after the run.
        """
        path = build_entity_path(collection, str(body["identifier"]))
        response = self.server.request("PUT", path, build_put_body(collection, body))
        if response.is_success:
            stored_in = collection.replace("CFItemAssociations", "CFAssociations")
            self.record_written_entity(stored_in, body)
        return response

    def upload_package(
        self, body: Body, method: str = "POST", path: str = "/CFPackages"
    ) -> httpx.Response:
        """Upload a package, by default with POST to /CFPackages, and return the response.

        If the server accepts it, records its entities, so that they are deleted after the run.
        """
        response = self.server.request(method, path, body)
        if response.is_success:
            document = body["CFDocument"]
            self.record_written_entity("CFDocuments", document)
            parent = {"CFDocumentURI": {"identifier": document["identifier"]}}
            for collection in ("CFItems", "CFAssociations"):
                for entity in body.get(collection, ()):
                    self.record_written_entity(collection, {**entity, **parent})
        return response

    def put_document(self) -> tuple[Body, httpx.Response]:
        """Create or replace the test document with PUT; return the JSON sent and the response."""
        return self._document, self.put_entity("CFDocuments", self._document)

    def put_shared_item_type(self) -> tuple[Body, httpx.Response]:
        """PUT the item type that all checks share; return the JSON sent and the response.

        They share one, because no public API deletes item types.
        """
        return self._item_type, self.put_entity("CFItemTypes", self._item_type)

    @property
    def framework(self) -> SharedFramework:
        """Write a framework on first use; return its document and its two items, as they were sent.

        All checks share this framework. Raises ``CheckSkipped`` if the server rejected it.
        """
        if isinstance(self._framework_or_failure, str):
            raise CheckSkipped(f"could not write a framework: {self._framework_or_failure}")
        return self._framework_or_failure

    @cached_property
    def _framework_or_failure(self) -> SharedFramework | str:
        try:
            document, response = self.put_document()
            expect_accepted(response)
            items = [self.build_item(document), self.build_item(document)]
            for item in items:
                expect_accepted(self.put_entity("CFItems", item))
        except CheckFailed as failure:
            return str(failure)
        return SharedFramework(document, items)

    @cached_property
    def uploaded_package(self) -> tuple[Body, httpx.Response]:
        """Upload a package on first use; return the JSON sent and the response.

        All checks of uploads share this package.
        """
        body = self.build_sample_package()
        return body, self.upload_package(body)

    def build_document(self, **fields: Any) -> Body:
        """Return the JSON of a new document; keyword arguments override its fields."""
        body = self._make_entity(title=self._title, creator=TITLE_PREFIX, caseVersion="1.1")
        return {**body, "CFPackageURI": build_link_uri(str(uuid.uuid4()), self._title), **fields}

    def build_item(self, document: Body, **fields: Any) -> Body:
        """Return the JSON of a new item of ``document``; keyword arguments override its fields."""
        body = self._make_entity(fullStatement=f"{self._title}: an item", educationLevel=["05"])
        link = build_link_uri(document["identifier"], document["title"])
        return {**body, "CFDocumentURI": link, **fields}

    def build_item_type(self) -> Body:
        """Return the JSON of a new item type, whose title is unique to this run."""
        title, code = self._title, f"conformance-{self._run}"
        return self._make_entity(title=title, description=title, hierarchyCode=code)

    def build_association(self, origin: Body, destination: Body, association_type: str) -> Body:
        """Return the JSON of a new association from one item to another.

        ``origin`` and ``destination`` are the JSON of the items. ``association_type`` is a
        CASE type such as ``isChildOf``.
        """
        ends = (("originNodeURI", origin), ("destinationNodeURI", destination))
        links = {
            end: build_link_uri(item["identifier"], item["fullStatement"]) for end, item in ends
        }
        return self._make_entity(associationType=association_type, **links)

    def build_sample_package(self) -> Body:
        """Return the JSON of a package with a document, two items and an association.

        It has the structure of the packages that the client library (SDK) of TimeBack uploads.
        """
        document = self._make_entity(title=self._title, creator=TITLE_PREFIX)
        items = [self._make_entity(fullStatement=f"{self._title}: {name}") for name in ("a", "b")]
        association = self.build_association(items[1], items[0], "isChildOf")
        return {"CFDocument": document, "CFItems": items, "CFAssociations": [association]}

    def delete_written_entities(self) -> list[str]:
        """Delete the entities that the run wrote, and return those that could not be deleted.

        Each is returned as ``"{class} {identifier}"``. Items are deleted by replacing the package
        of their document with an empty one. No public API deletes documents or item types.
        """
        for identifier in list(self._written.get("CFAssociations", ())):
            if self._is_accepted("DELETE", build_entity_path("CFItemAssociations", identifier)):
                self.forget_deleted_entity("CFAssociations", identifier)
        for identifier, document in self._written.get("CFDocuments", {}).items():
            empty = {"CFDocument": document, "CFItems": [], "CFAssociations": []}
            if self._is_accepted("PUT", build_entity_path("CFPackages", identifier), empty):
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

    def _is_accepted(self, method: str, path: str, body: Body | None = None) -> bool:
        with suppress(httpx.HTTPError):
            response = self.server.request(method, path, body)
            is_missing = response.status_code == httpx.codes.NOT_FOUND
            return response.is_success or (method == "DELETE" and is_missing)
        return False

    @staticmethod
    def _make_entity(**fields: Any) -> Body:
        identifier = str(uuid.uuid4())
        now = format_timestamp(datetime.now(UTC))
        uri = f"urn:uuid:{identifier}"
        return {"identifier": identifier, "uri": uri, "lastChangeDateTime": now, **fields}


def expect_accepted(response: httpx.Response) -> None:
    """Raise ``CheckFailed`` unless the status of a response to PUT is 200, 201 or 204."""
    expect_status(response, 200, 201, 204)


def build_put_body(collection: str, entity: Body) -> Body:
    """Return the body of a PUT of an entity, which is ``{"item": entity}`` for an item.

    For an association, it is ``{"association": entity}``; for others, the entity itself.
    """
    wrapper = WRAPPERS.get(collection)
    return {wrapper: entity} if wrapper else entity


def build_link_uri(identifier: str, title: str) -> Body:
    """Build a CASE LinkURI object to an entity; its URI is ``urn:uuid:{identifier}``."""
    return {"title": title, "identifier": identifier, "uri": f"urn:uuid:{identifier}"}

"""What a run writes on the server: entities of its own, and taking them away again."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from ..formatting import format_timestamp
from .client import Body, CheckFailed, ServerUnderTest, Skip, entity_path, expect_status

TITLE_PREFIX = "case-server conform"
"""What every title and statement that a run writes begins with."""


class Framework(NamedTuple):
    """A document with two items."""

    document: Body
    items: list[Body]


class TestData:
    """Makes entities with new identifiers and remembers them."""

    def __init__(self, server: ServerUnderTest) -> None:
        self.server = server
        self.run = uuid.uuid4().hex[:8]
        self._written: dict[str, dict[str, Body]] = {}
        self._document: Body | None = None
        self._item_type: Body | None = None
        self._framework: Framework | None = None
        self._package: tuple[Body, httpx.Response] | None = None
        self._failed = ""

    def remember(self, plural: str, body: Body) -> None:
        """Remember that something was written."""
        self._written.setdefault(plural, {})[str(body["identifier"])] = body

    def forget(self, plural: str, identifier: str) -> None:
        """Remember that something was taken away."""
        self._written.get(plural, {}).pop(identifier, None)

    def put(self, plural: str, body: Body, wrapper: str | None = None) -> httpx.Response:
        """Write one entity; it is remembered unless it was refused."""
        path = entity_path(plural, str(body["identifier"]))
        response = self.server.request("PUT", path, {wrapper: body} if wrapper else body)
        if response.is_success:
            self.remember("CFAssociations" if plural == "CFItemAssociations" else plural, body)
        return response

    def document(self) -> tuple[Body, httpx.Response]:
        """The one document that single entities are put into, and what writing it answered."""
        self._document = self._document or self.new_document()
        return self._document, self.put("CFDocuments", self._document)

    def item_type(self) -> tuple[Body, httpx.Response]:
        """Write the item type that all checks share, and return it with the response.

        No public API deletes item types, so a run leaves only this one behind.
        """
        self._item_type = self._item_type or self.new_item_type()
        return self._item_type, self.put("CFItemTypes", self._item_type)

    def framework(self) -> Framework:
        """A document with two items, written once; ``Skip`` where the server takes none."""
        if self._failed:
            raise Skip(f"no framework could be written: {self._failed}")
        if self._framework is None:
            try:
                document, response = self.document()
                expect_status(response, 200, 201, 204)
                items = [self.new_item(document), self.new_item(document)]
                for one in items:
                    expect_status(self.put("CFItems", one, "item"), 200, 201, 204)
            except CheckFailed as seen:
                self._failed = str(seen)
                raise Skip(f"no framework could be written: {seen}") from None
            self._framework = Framework(document, items)
        return self._framework

    def post(self, body: Body) -> httpx.Response:
        """Upload a package; what is in it is remembered unless it was refused."""
        response = self.server.request("POST", "/CFPackages", body)
        if response.is_success:
            self.remember_package(body)
        return response

    def remember_package(self, body: Body) -> None:
        """Remember everything in a package that was written."""
        document = body["CFDocument"]
        self.remember("CFDocuments", document)
        held = {"CFDocumentURI": {"identifier": document["identifier"]}}
        for plural in ("CFItems", "CFAssociations"):
            for one in body[plural]:
                self.remember(plural, {**one, **held})

    def package(self) -> tuple[Body, httpx.Response]:
        """The one package that uploads are tried with, and what its first upload answered."""
        if self._package is None:
            body = self.new_package()
            self._package = body, self.post(body)
        return self._package

    def new_document(self, **fields: Any) -> Body:
        """A document that is not there yet."""
        title = f"{TITLE_PREFIX} {self.run}"
        body = self._entity(title=title, creator=TITLE_PREFIX, caseVersion="1.1")
        return {**body, "CFPackageURI": link(str(uuid.uuid4()), title), **fields}

    def new_item(self, document: Body, **fields: Any) -> Body:
        """An item of a document."""
        body = self._entity(
            fullStatement=f"{TITLE_PREFIX} {self.run}: an item", educationLevel=["05"]
        )
        return {**body, "CFDocumentURI": link(document["identifier"], document["title"]), **fields}

    def new_item_type(self) -> Body:
        """An item type that is not there yet."""
        told = f"{TITLE_PREFIX} {self.run}"
        return self._entity(title=told, description=told, hierarchyCode=f"conform-{self.run}")

    def new_association(self, origin: Body, destination: Body, kind: str) -> Body:
        """An association between two items."""
        ends = {
            "originNodeURI": link(origin["identifier"], origin["fullStatement"]),
            "destinationNodeURI": link(destination["identifier"], destination["fullStatement"]),
        }
        return self._entity(associationType=kind, **ends)

    def new_package(self) -> Body:
        """A package of a document, two items and an association, as the SDK uploads it."""
        root = self._entity(title=f"{TITLE_PREFIX} {self.run}", creator=TITLE_PREFIX)
        items = [
            self._entity(fullStatement=f"{TITLE_PREFIX} {self.run}: {one}") for one in ("a", "b")
        ]
        ends = self.new_association(items[1], items[0], "isChildOf")
        return {"CFDocument": root, "CFItems": items, "CFAssociations": [ends]}

    def delete_all(self) -> list[str]:
        """Take away what can be taken away, and say what stays: one line for each entity.

        Associations are deleted; a document's package is replaced by an empty one, which takes its
        items. No public API deletes documents or item types: they stay.
        """
        for identifier in list(self._written.get("CFAssociations", ())):
            if self._succeeds("DELETE", entity_path("CFItemAssociations", identifier), (404,)):
                self.forget("CFAssociations", identifier)
        for identifier, document in self._written.get("CFDocuments", {}).items():
            empty = {"CFDocument": document, "CFItems": [], "CFAssociations": []}
            if self._succeeds("PUT", entity_path("CFPackages", identifier), (), empty):
                self._emptied(identifier)
        return [
            f"{plural.removesuffix('s')} {identifier}"
            for plural, bodies in self._written.items()
            for identifier in bodies
        ]

    def _emptied(self, document: str) -> None:
        """Forget what was in a document; what was uploaded with it carries its identifier."""
        for plural in ("CFItems", "CFAssociations"):
            for identifier, body in list(self._written.get(plural, {}).items()):
                held = body.get("CFDocumentURI", {}).get("identifier", document)
                if held == document:
                    self.forget(plural, identifier)

    def _succeeds(
        self, method: str, path: str, also: tuple[int, ...], body: Body | None = None
    ) -> bool:
        try:
            response = self.server.request(method, path, body)
        except httpx.HTTPError:
            return False
        return response.is_success or response.status_code in also

    @staticmethod
    def _entity(**fields: Any) -> Body:
        identifier = str(uuid.uuid4())
        now = format_timestamp(datetime.now(UTC))
        uri = f"urn:uuid:{identifier}"
        return {"identifier": identifier, "uri": uri, "lastChangeDateTime": now, **fields}


def link(identifier: str, title: str) -> Body:
    """A link to an entity."""
    return {"title": title, "identifier": identifier, "uri": f"urn:uuid:{identifier}"}

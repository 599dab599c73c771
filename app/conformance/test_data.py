"""What a run writes on the target: entities of its own, and taking them away again."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from ..case.types import timestamp
from .client import Body, Differs, ServerUnderTest, Skip, expect_status, path_of

PREFIX = "case-server conform"
"""What every title and statement that a run writes begins with."""


class Framework(NamedTuple):
    """A document with two items."""

    document: Body
    items: list[Body]


class Workshop:
    """Makes entities with new identifiers and remembers them."""

    def __init__(self, target: ServerUnderTest) -> None:
        self.target = target
        self.run = uuid.uuid4().hex[:8]
        self._made: dict[str, dict[str, Body]] = {}
        self._document: Body | None = None
        self._item_type: Body | None = None
        self._framework: Framework | None = None
        self._package: tuple[Body, httpx.Response] | None = None
        self._failed = ""

    def made(self, plural: str, body: Body) -> None:
        """Remember that something was written."""
        self._made.setdefault(plural, {})[str(body["identifier"])] = body

    def gone(self, plural: str, identifier: str) -> None:
        """Remember that something was taken away."""
        self._made.get(plural, {}).pop(identifier, None)

    def put(self, plural: str, body: Body, wrapper: str | None = None) -> httpx.Response:
        """Write one entity; it is remembered unless it was refused."""
        path = path_of(plural, str(body["identifier"]))
        answer = self.target.send("PUT", path, {wrapper: body} if wrapper else body)
        if answer.is_success:
            self.made("CFAssociations" if plural == "CFItemAssociations" else plural, body)
        return answer

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
        """A document with two items, written once; ``Skip`` where the target takes none."""
        if self._failed:
            raise Skip(f"no framework could be written: {self._failed}")
        if self._framework is None:
            try:
                document, answer = self.document()
                expect_status(answer, 200, 201, 204)
                items = [self.new_item(document), self.new_item(document)]
                for one in items:
                    expect_status(self.put("CFItems", one, "item"), 200, 201, 204)
            except Differs as seen:
                self._failed = str(seen)
                raise Skip(f"no framework could be written: {seen}") from None
            self._framework = Framework(document, items)
        return self._framework

    def post(self, body: Body) -> httpx.Response:
        """Upload a package; what is in it is remembered unless it was refused."""
        answer = self.target.send("POST", "/CFPackages", body)
        if answer.is_success:
            self.uploaded(body)
        return answer

    def uploaded(self, body: Body) -> None:
        """Remember everything in a package that was written."""
        document = body["CFDocument"]
        self.made("CFDocuments", document)
        held = {"CFDocumentURI": {"identifier": document["identifier"]}}
        for plural in ("CFItems", "CFAssociations"):
            for one in body[plural]:
                self.made(plural, {**one, **held})

    def package(self) -> tuple[Body, httpx.Response]:
        """The one package that uploads are tried with, and what its first upload answered."""
        if self._package is None:
            body = self.new_package()
            self._package = body, self.post(body)
        return self._package

    def new_document(self, **fields: Any) -> Body:
        """A document that is not there yet."""
        title = f"{PREFIX} {self.run}"
        body = self._entity(title=title, creator=PREFIX, caseVersion="1.1")
        return {**body, "CFPackageURI": link(str(uuid.uuid4()), title), **fields}

    def new_item(self, document: Body, **fields: Any) -> Body:
        """An item of a document."""
        body = self._entity(fullStatement=f"{PREFIX} {self.run}: an item", educationLevel=["05"])
        return {**body, "CFDocumentURI": link(document["identifier"], document["title"]), **fields}

    def new_item_type(self) -> Body:
        """An item type that is not there yet."""
        told = f"{PREFIX} {self.run}"
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
        root = self._entity(title=f"{PREFIX} {self.run}", creator=PREFIX)
        items = [self._entity(fullStatement=f"{PREFIX} {self.run}: {one}") for one in ("a", "b")]
        ends = self.new_association(items[1], items[0], "isChildOf")
        return {"CFDocument": root, "CFItems": items, "CFAssociations": [ends]}

    def clean(self) -> list[str]:
        """Take away what can be taken away, and say what stays: one line for each entity.

        Associations are deleted; a document's package is replaced by an empty one, which takes its
        items. No public API deletes documents or item types: they stay.
        """
        for identifier in list(self._made.get("CFAssociations", ())):
            if self._succeeds("DELETE", path_of("CFItemAssociations", identifier), (404,)):
                self.gone("CFAssociations", identifier)
        for identifier, document in self._made.get("CFDocuments", {}).items():
            empty = {"CFDocument": document, "CFItems": [], "CFAssociations": []}
            if self._succeeds("PUT", path_of("CFPackages", identifier), (), empty):
                self._emptied(identifier)
        return [
            f"{plural.removesuffix('s')} {identifier}"
            for plural, bodies in self._made.items()
            for identifier in bodies
        ]

    def _emptied(self, document: str) -> None:
        """Forget what was in a document; what was uploaded with it carries its identifier."""
        for plural in ("CFItems", "CFAssociations"):
            for identifier, body in list(self._made.get(plural, {}).items()):
                held = body.get("CFDocumentURI", {}).get("identifier", document)
                if held == document:
                    self.gone(plural, identifier)

    def _succeeds(
        self, method: str, path: str, also: tuple[int, ...], body: Body | None = None
    ) -> bool:
        try:
            answer = self.target.send(method, path, body)
        except httpx.HTTPError:
            return False
        return answer.is_success or answer.status_code in also

    @staticmethod
    def _entity(**fields: Any) -> Body:
        identifier = str(uuid.uuid4())
        now = timestamp(datetime.now(UTC))
        uri = f"urn:uuid:{identifier}"
        return {"identifier": identifier, "uri": uri, "lastChangeDateTime": now, **fields}


def link(identifier: str, title: str) -> Body:
    """A link to an entity."""
    return {"title": title, "identifier": identifier, "uri": f"urn:uuid:{identifier}"}

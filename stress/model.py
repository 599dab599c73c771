"""A reference model of the API in memory: a few dictionaries.

It has no SQL, transactions, revisions or caches, and derives every response from the whole state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

Links: TypeAlias = tuple[str, ...]

KINDS = ("CFItemType", "CFSubject", "CFConcept", "CFLicense", "CFAssociationGrouping")


@dataclass
class Document:
    """A document in the reference model. The API cannot delete documents, so they all stay."""

    title: str
    package: str
    subjects: Links = ()
    license: str | None = None
    defined: set[tuple[str, str]] = field(default_factory=set)
    """The (kind, identifier) of each definition in the last package that was uploaded for it."""


@dataclass
class Item:
    """An item in the reference model; ``live`` is False while the item is deleted."""

    statement: str
    document: str
    subjects: Links = ()
    keywords: Links = ()
    """The concepts that the last write linked; responses contain only the last of them."""
    type: str | None = None
    live: bool = True
    linked: set[str] = field(default_factory=set)


@dataclass
class Association:
    """An association in the reference model.

    The API does not show it while its origin or its destination is deleted.
    """

    origin: str
    destination: str
    type: str
    home: str | None
    grouping: str | None = None

    @property
    def triple(self) -> tuple[str, str, str]:
        """The origin, destination and type; no two associations may have the same three."""
        return self.origin, self.destination, self.type


@dataclass
class Upload:
    """A package as a client uploads it: a document with its items, associations and definitions."""

    document: str
    title: str
    package: str
    items: dict[str, Item]
    associations: dict[str, Association]
    definitions: dict[tuple[str, str], str]
    """Titles by (kind, identifier)."""


class Model:
    """The entities that a correct server has stored after the operations called so far.

    Each method that is named after an operation, such as ``put_item``, updates them and returns the
    status code that the server must respond with.
    """

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.items: dict[str, Item] = {}
        self.associations: dict[str, Association] = {}
        self.definitions: dict[tuple[str, str], str] = {}

    def create_missing_definitions(
        self, kind: str, links: Iterable[str | None], title: str
    ) -> None:
        """Create a definition for each linked identifier that has none yet, as the server does.

        ``kind`` is its class, such as ``CFSubject``; its title is ``title``.
        """
        for identifier in links:
            if identifier is not None:
                self.definitions.setdefault((kind, identifier), title)

    def put_document(self, identifier: str, sent: Document, title: str) -> int:
        """Put a document. Return 201, or 409 if its identifiers belong to another document."""
        if self.is_identifier_taken(identifier, sent.package):
            return 409
        self.create_missing_definitions("CFSubject", sent.subjects, title)
        self.create_missing_definitions("CFLicense", [sent.license], title)
        before = self.documents.get(identifier)
        sent.defined = before.defined if before else set()
        self.documents[identifier] = sent
        return 201

    def is_identifier_taken(self, identifier: str, package: str) -> bool:
        """Return whether another document has one of these identifiers.

        A document has two identifiers: its own and that of its package.
        """
        return any(
            name != identifier and (one.package in {package, identifier} or name == package)
            for name, one in self.documents.items()
        )

    def put_item(self, identifier: str, sent: Item, title: str) -> int:
        """Put an item. Return 201, or 422 if its document does not exist."""
        if sent.document not in self.documents:
            return 422
        self._write_item(identifier, sent, title)
        return 201

    def _write_item(
        self, identifier: str, sent: Item, title: str, *, uploaded: bool = False
    ) -> None:
        self.create_missing_definitions("CFSubject", sent.subjects, title)
        self.create_missing_definitions("CFConcept", sent.keywords, title)
        self.create_missing_definitions("CFItemType", [sent.type], title)
        before = self.items.get(identifier)
        # An upload replaces the links; a put only adds to them.
        linked = before.linked if before and not uploaded else set()
        sent.linked = {*linked, *sent.keywords}
        self.items[identifier] = sent

    def put_type(self, identifier: str, title: str) -> int:
        """Put an item type with a title. Return 201, because every one is accepted."""
        self.definitions["CFItemType", identifier] = title
        return 201

    def put_association(self, identifier: str, sent: Association, title: str) -> int:
        """Put an association and return 201.

        Returns 422 if an end or the document does not exist, 409 if another association has the
        same origin, destination and type.
        """
        if not (self.can_be_linked(sent.origin) and self.can_be_linked(sent.destination)):
            return 422
        if sent.home is not None and sent.home not in self.documents:
            return 422
        if self._find_equal_associations(sent, identifier):
            return 409
        if sent.home is None:
            sent.home = self._document_of(sent.origin)
        self.create_missing_definitions("CFAssociationGrouping", [sent.grouping], title)
        self.associations[identifier] = sent
        return 201

    def can_be_linked(self, identifier: str) -> bool:
        """Return whether an association may link to an identifier: a document or a live item."""
        item = self.items.get(identifier)
        return identifier in self.documents or (item is not None and item.live)

    def _document_of(self, node: str) -> str:
        return self.items[node].document if node in self.items else node

    def _find_equal_associations(self, sent: Association, identifier: str) -> list[Association]:
        return [
            one
            for name, one in self.associations.items()
            if name != identifier and one.triple == sent.triple
        ]

    def delete_association(self, identifier: str) -> int:
        """Delete an association. Return 204, or 404 if it does not exist."""
        return 204 if self.associations.pop(identifier, None) else 404

    def upload(self, sent: Upload, *, replace: bool, title: str) -> int:
        """Store a package and return 201, or 200 if it replaced one.

        Returns 404 if ``replace`` is true and the document does not exist, and 409 if it is false
        and the document exists, or if an entity belongs to another document.
        """
        exists = sent.document in self.documents
        if replace and not exists:
            return 404
        if (exists and not replace) or self._contains_foreign_entities(sent):
            return 409
        self.definitions |= sent.definitions
        document = Document(sent.title, sent.package, defined=set(sent.definitions))
        self.documents[sent.document] = document
        for item in self._items_of(sent.document):
            item.live = False
        for identifier, item in sent.items.items():
            self._write_item(identifier, item, title, uploaded=True)
        for identifier, association in list(self.associations.items()):
            if association.home == sent.document:
                del self.associations[identifier]
        for identifier, association in sent.associations.items():
            association.home = sent.document
            self.create_missing_definitions("CFAssociationGrouping", [association.grouping], title)
            self.associations[identifier] = association
        return 200 if replace else 201

    def _items_of(self, document: str) -> list[Item]:
        return [item for item in self.items.values() if item.document == document]

    def _contains_foreign_entities(self, sent: Upload) -> bool:
        """Return whether an upload contains entities that belong to another document."""
        known = [self.items.get(name) for name in sent.items]
        items = any(item and item.live and item.document != sent.document for item in known)
        stored = [self.associations.get(name) for name in sent.associations]
        taken = [
            holder
            for name, one in sent.associations.items()
            for holder in self._find_equal_associations(one, name)
        ]
        others = any(other and other.home != sent.document for other in [*stored, *taken])
        return items or others or self.is_identifier_taken(sent.document, sent.package)

    def is_visible(self, association: Association) -> bool:
        """Return whether the API shows an association: only if neither of its ends is deleted."""
        ends = (association.origin, association.destination)
        return all(end not in self.items or self.can_be_linked(end) for end in ends)

    def list_package_items(self, document: str) -> dict[str, Item]:
        """Return the items in the package of a document, by identifier, without deleted ones."""
        return {n: i for n, i in self.items.items() if i.live and i.document == document}

    def list_package_associations(self, document: str) -> dict[str, Association]:
        """Return the associations in the package of a document, by identifier.

        Those of deleted items are left out.
        """
        associations = {n: a for n, a in self.associations.items() if a.home == document}
        return {name: each for name, each in associations.items() if self.is_visible(each)}

    def list_package_definitions(self, document: str) -> set[tuple[str, str]]:
        """Return (class, identifier) of each definition in the package of a document.

        These are the definitions that the document, its items or its associations link to, and
        those that were uploaded with the package.
        """
        body, items = self.documents[document], self.list_package_items(document).values()
        groupings = (
            association.grouping
            for association in self.list_package_associations(document).values()
        )
        linked: dict[str, list[str | None]] = {
            "CFItemType": [item.type for item in items],
            "CFSubject": [
                *body.subjects,
                *(subject for item in items for subject in item.subjects),
            ],
            "CFConcept": [concept for item in items for concept in item.linked],
            "CFLicense": [body.license],
            "CFAssociationGrouping": [*groupings],
        }
        pairs = {(kind, name) for kind, names in linked.items() for name in names if name}
        return pairs | body.defined

"""An in-memory reference model of the API for tests: a few dictionaries.

It has no SQL, transactions, revisions or caches, and derives every response from the whole state.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

Links: TypeAlias = tuple[str, ...]

KINDS = ("CFItemType", "CFSubject", "CFConcept", "CFLicense", "CFAssociationGrouping")


@dataclass
class Document:
    """A document in the in-memory reference model; the API cannot delete documents."""

    title: str
    package: str
    subjects: Links = ()
    license: str | None = None
    definition_keys: set[tuple[str, str]] = field(default_factory=set)
    """The (kind, identifier) of each definition in the last package that was uploaded for it."""


@dataclass
class Item:
    """An item in the in-memory reference model; ``is_live`` is False while the item is deleted."""

    statement: str
    document: str
    subjects: Links = ()
    keywords: Links = ()
    """The concepts that the last write linked; responses contain only the last of them."""
    type: str | None = None
    is_live: bool = True
    linked_concepts: set[str] = field(default_factory=set)


@dataclass
class Association:
    """An association in the in-memory reference model.

    The API hides an association while its origin or its destination is deleted.
    """

    origin: str
    destination: str
    type: str
    home: str | None
    grouping: str | None = None

    @property
    def unique_key(self) -> tuple[str, str, str]:
        """The origin, destination and type; no two associations may have the same combination."""
        return self.origin, self.destination, self.type


@dataclass
class UploadedPackage:
    """A package as a client uploads it: a document with its items, associations and definitions."""

    document: str
    title: str
    package: str
    items: dict[str, Item]
    associations: dict[str, Association]
    definitions: dict[tuple[str, str], str]
    """Titles by (kind, identifier)."""


class ReferenceModel:
    """The entities that a correct server has stored after the operations performed so far.

    Each method named after an API operation, such as ``put_item``, updates the model and returns
    the status code with which the server must respond to that operation.
    """

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.items: dict[str, Item] = {}
        self.associations: dict[str, Association] = {}
        self.definitions: dict[tuple[str, str], str] = {}

    def create_missing_definitions(
        self, kind: str, links: Iterable[str | None], title: str
    ) -> None:
        """Create a definition for each linked identifier that has none, as a real server does.

        ``kind`` is the class of the definitions, such as ``CFSubject``, and ``title`` their title.
        """
        for identifier in links:
            if identifier is not None:
                self.definitions.setdefault((kind, identifier), title)

    def put_document(self, identifier: str, document: Document, title: str) -> int:
        """Store a document; return 201, or 409 if its identifiers belong to another document.

        ``title`` is for the definitions that this creates, also in the other methods.
        """
        if self.is_identifier_taken(identifier, document.package):
            return 409
        self.create_missing_definitions("CFSubject", document.subjects, title)
        self.create_missing_definitions("CFLicense", [document.license], title)
        previous = self.documents.get(identifier)
        document.definition_keys = previous.definition_keys if previous else set()
        self.documents[identifier] = document
        return 201

    def is_identifier_taken(self, identifier: str, package_identifier: str) -> bool:
        """Return whether another document, or its package, has one of these identifiers."""
        return any(
            name != identifier
            and (document.package in {package_identifier, identifier} or name == package_identifier)
            for name, document in self.documents.items()
        )

    def put_item(self, identifier: str, item: Item, title: str) -> int:
        """Store an item; return 201, or 422 if its document does not exist."""
        if item.document not in self.documents:
            return 422
        self._write_item(identifier, item, title)
        return 201

    def _write_item(
        self, identifier: str, item: Item, title: str, *, is_upload: bool = False
    ) -> None:
        self.create_missing_definitions("CFSubject", item.subjects, title)
        self.create_missing_definitions("CFConcept", item.keywords, title)
        self.create_missing_definitions("CFItemType", [item.type], title)
        previous = self.items.get(identifier)
        # An upload replaces the links; a put only adds to them.
        previous_keywords = previous.linked_concepts if previous and not is_upload else set()
        item.linked_concepts = {*previous_keywords, *item.keywords}
        self.items[identifier] = item

    def put_item_type(self, identifier: str, title: str) -> int:
        """Store an item type with a title; always returns 201."""
        self.definitions["CFItemType", identifier] = title
        return 201

    def put_association(self, identifier: str, association: Association, title: str) -> int:
        """Store an association and return 201.

        Returns 422 if the origin, destination or document does not exist, 409 if another
        association has the same origin, destination and type.
        """
        ends = (association.origin, association.destination)
        if not all(self.can_be_linked(end) for end in ends):
            return 422
        if association.home is not None and association.home not in self.documents:
            return 422
        if self._find_equal_associations(association, identifier):
            return 409
        if association.home is None:
            association.home = self._document_of(association.origin)
        self.create_missing_definitions("CFAssociationGrouping", [association.grouping], title)
        self.associations[identifier] = association
        return 201

    def can_be_linked(self, identifier: str) -> bool:
        """Return whether an association may link to an entity: it is a document or a live item."""
        item = self.items.get(identifier)
        return identifier in self.documents or (item is not None and item.is_live)

    def _document_of(self, node: str) -> str:
        return self.items[node].document if node in self.items else node

    def _find_equal_associations(
        self, association: Association, identifier: str
    ) -> list[Association]:
        return [
            other
            for name, other in self.associations.items()
            if name != identifier and other.unique_key == association.unique_key
        ]

    def delete_association(self, identifier: str) -> int:
        """Delete an association. Return 204, or 404 if it does not exist."""
        return 204 if self.associations.pop(identifier, None) else 404

    def upload(self, package: UploadedPackage, *, replace: bool, title: str) -> int:
        """Store an uploaded package; return 201, or 200 if it replaced a package.

        Returns 404 if ``replace`` is true and the document does not exist. Returns 409 if
        ``replace`` is false and the document exists, or if an entity belongs to another document.
        """
        exists = package.document in self.documents
        if replace and not exists:
            return 404
        if (exists and not replace) or self._contains_foreign_entities(package):
            return 409
        self.definitions |= package.definitions
        document = Document(
            package.title, package.package, definition_keys=set(package.definitions)
        )
        self.documents[package.document] = document
        for item in self._items_of(package.document):
            item.is_live = False
        for identifier, item in package.items.items():
            self._write_item(identifier, item, title, is_upload=True)
        for identifier, association in list(self.associations.items()):
            if association.home == package.document:
                del self.associations[identifier]
        for identifier, association in package.associations.items():
            association.home = package.document
            self.create_missing_definitions("CFAssociationGrouping", [association.grouping], title)
            self.associations[identifier] = association
        return 200 if replace else 201

    def _items_of(self, document: str) -> list[Item]:
        return [item for item in self.items.values() if item.document == document]

    def _contains_foreign_entities(self, package: UploadedPackage) -> bool:
        """Return whether an upload contains foreign entities: those of another document."""
        stored_items = [self.items.get(name) for name in package.items]
        items = any(
            item and item.is_live and item.document != package.document for item in stored_items
        )
        stored = [self.associations.get(name) for name in package.associations]
        equal_associations = [
            holder
            for name, association in package.associations.items()
            for holder in self._find_equal_associations(association, name)
        ]
        others = any(
            other and other.home != package.document for other in [*stored, *equal_associations]
        )
        return items or others or self.is_identifier_taken(package.document, package.package)

    def is_visible(self, association: Association) -> bool:
        """Return whether the API shows an association: only if neither of its ends is deleted."""
        ends = (association.origin, association.destination)
        return all(end not in self.items or self.can_be_linked(end) for end in ends)

    def get_package_items(self, document: str) -> dict[str, Item]:
        """Return the live items in a document's package, as a dict by identifier."""
        return {
            name: item
            for name, item in self.items.items()
            if item.is_live and item.document == document
        }

    def get_package_associations(self, document: str) -> dict[str, Association]:
        """Return the visible associations in a document's package, as a dict by identifier."""
        associations = {
            name: association
            for name, association in self.associations.items()
            if association.home == document
        }
        return {
            name: association
            for name, association in associations.items()
            if self.is_visible(association)
        }

    def get_package_definitions(self, document: str) -> set[tuple[str, str]]:
        """Return a (class, identifier) pair for each definition in a document's package.

        A package contains the definitions to which its document, items or associations link, and
        those that were uploaded with it.
        """
        body, items = self.documents[document], self.get_package_items(document).values()
        groupings = (
            association.grouping for association in self.get_package_associations(document).values()
        )
        linked: dict[str, list[str | None]] = {
            "CFItemType": [item.type for item in items],
            "CFSubject": [
                *body.subjects,
                *(subject for item in items for subject in item.subjects),
            ],
            "CFConcept": [concept for item in items for concept in item.linked_concepts],
            "CFLicense": [body.license],
            "CFAssociationGrouping": [*groupings],
        }
        pairs = {(kind, name) for kind, names in linked.items() for name in names if name}
        return pairs | body.definition_keys

"""Data that the server under test already has, for checks that only read."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from .client import Body, CheckFailed, ServerUnderTest, Skip, build_entity_path
from .profiles import get_identifier
from .test_data import TITLE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_SIZE = 100
MAX_PACKAGES = 5
"""Maximum number of packages that are searched for one with items."""

NO_DOCUMENTS = "the server has no documents; load one, for example: case-server import --sample"


class ExistingData:
    """Entities that the server under test already has, for checks that only read.

    They are fetched on first use and cached.
    """

    def __init__(self, server: ServerUnderTest) -> None:
        self.server = server
        self._packages: list[tuple[Body, Body]] = []

    @cached_property
    def documents(self) -> list[Body]:
        """Return the documents on the first page of the list, to choose one for the checks.

        Leaves out documents of earlier test runs, and those without an identifier. Raises ``Skip``
        if none remain.
        """
        page = self.server.get_page("CFDocuments", limit=PAGE_SIZE).entities
        documents = [
            entry
            for entry in page
            if get_identifier(entry) and entry.get("creator") != TITLE_PREFIX
        ]
        if not documents:
            raise Skip(NO_DOCUMENTS)
        return documents

    @cached_property
    def document(self) -> Body:
        """Return the document that the checks read: the first one whose package has items.

        If no package has items, returns the first document.
        """
        return next(
            (document for document, _ in self._iter_documents_with_packages()), self.documents[0]
        )

    @property
    def package(self) -> Body:
        """Return the package of ``document``; raise ``Skip`` if it has no items."""
        return next(self.iter_packages())

    def iter_packages(self) -> Iterator[Body]:
        """Yield the packages that contain items; raise ``Skip`` if there are none.

        Only the packages of the first five documents are searched.
        """
        is_empty = True
        for _, package in self._iter_documents_with_packages():
            is_empty = False
            yield package
        if is_empty:
            raise Skip(f"none of the first {MAX_PACKAGES} documents has a package with items")

    @property
    def item(self) -> Body:
        """Return the item that the checks read: the first of the package, as it is there."""
        return self._first_entity(self.package, "CFItems")

    @property
    def association(self) -> Body:
        """Return the association that the checks read: the first of the package, as it is there."""
        return self._first_entity(self.package, "CFAssociations")

    @property
    def association_with_origin(self) -> tuple[Body, Body]:
        """Return an association of the package, and the item that is its origin.

        Raises ``Skip`` if no association of the package has one of its items as the origin.
        """
        items = {get_identifier(item): item for item in self.package.get("CFItems") or ()}
        for association in self.package.get("CFAssociations") or ():
            if origin := items.get(get_identifier(association.get("originNodeURI"))):
                return association, origin
        raise Skip("no association of the package starts at one of its items")

    def find_definition(self, collection: str) -> Body:
        """Return a definition from a package, such as a subject, or a rubric.

        ``collection`` is a name such as ``CFSubjects``. Raises ``Skip`` if none of the searched
        packages contains one.
        """
        for package in self.iter_packages():
            parent = package if collection == "CFRubrics" else package.get("CFDefinitions") or {}
            if parent.get(collection):
                return self._first_entity(parent, collection)
        raise Skip(f"no {collection} in the first {MAX_PACKAGES} packages")

    def get_package_path(self, document: Body) -> str:
        """Return the path of a document's package below the base URL.

        In the platform profile, packages have their own identifier; in the others, they have the
        document's.
        """
        own = get_identifier(document.get("CFPackageURI"))
        is_platform = self.server.profile.name == "platform"
        return build_entity_path("CFPackages", (is_platform and own) or get_identifier(document))

    def _iter_documents_with_packages(self) -> Iterator[tuple[Body, Body]]:
        """Yield each document with its package, which is fetched only when it is needed."""
        yield from self._packages
        for pair in self._unread_documents_with_packages:
            self._packages.append(pair)
            yield pair

    @cached_property
    def _unread_documents_with_packages(self) -> Iterator[tuple[Body, Body]]:
        return self._fetch_packages()

    def _fetch_packages(self) -> Iterator[tuple[Body, Body]]:
        for document in self.documents[:MAX_PACKAGES]:
            try:
                package = self.server.get_package(self.get_package_path(document))
            except CheckFailed:
                continue  # the check of packages reports it
            if package.get("CFItems"):
                yield document, package

    @staticmethod
    def _first_entity(parent: Body, collection: str) -> Body:
        entities = parent.get(collection)
        if not isinstance(entities, list) or not entities or not isinstance(entities[0], dict):
            raise Skip(f"the package has no {collection}")
        first: Body = entities[0]
        return first

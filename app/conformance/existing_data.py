"""Data that the server under test already has, for checks that only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property

from .client import ServerUnderTest, build_entity_path
from .profiles import get_identifier
from .responses import Body, CheckFailed, CheckSkipped
from .test_data import TITLE_PREFIX

PAGE_SIZE = 100
MAX_PACKAGES = 5
"""Maximum number of packages that are searched for one with items."""

NO_DOCUMENTS = "the server has no documents; load one, for example: case-server import --sample"


class ExistingEntities:
    """Entities that the server under test already has, for checks that only read.

    They are fetched on first use and cached.
    """

    def __init__(self, server: ServerUnderTest) -> None:
        self.server = server
        self._packages: dict[str, Body] = {}
        """Packages by path; empty for those that the server does not return."""

    @cached_property
    def documents(self) -> list[Body]:
        """Return the documents on the first page of the server's list, as dicts.

        Leaves out documents of earlier test runs and documents without an identifier. Raises
        ``CheckSkipped`` if none remain.
        """
        page = self.server.get_page("CFDocuments", limit=PAGE_SIZE).entities
        other_documents = [document for document in page if document.get("creator") != TITLE_PREFIX]
        documents = [document for document in other_documents if get_identifier(document)]
        if not documents:
            raise CheckSkipped(NO_DOCUMENTS)
        return documents

    @cached_property
    def sample_document(self) -> Body:
        """Return the first document whose package has items, or else the first document, as a dict.

        Raises ``CheckSkipped`` if there are no documents.
        """
        return next(
            (document for document, _ in self._iter_documents_with_packages()), self.documents[0]
        )

    @property
    def sample_package(self) -> Body:
        """Return the first package that contains items, as a dict.

        Raises ``CheckSkipped`` if there is none.
        """
        return next(self.iter_packages_with_items())

    def iter_packages_with_items(self) -> Iterator[Body]:
        """Yield the packages of the first five documents as dicts, skipping packages without items.

        Raises ``CheckSkipped`` if no package has items.
        """
        package = None
        for _, package in self._iter_documents_with_packages():
            yield package
        if package is None:
            raise CheckSkipped(f"the packages of the first {MAX_PACKAGES} documents have no items")

    @property
    def sample_item(self) -> Body:
        """Return the first item of ``sample_package``, as a dict.

        Raises ``CheckSkipped`` if no package has items.
        """
        return self._first_entity(self.sample_package, "CFItems")

    @property
    def sample_association(self) -> Body:
        """Return the first association of ``sample_package``, as a dict.

        Raises ``CheckSkipped`` if the package has none, or no package has items.
        """
        return self._first_entity(self.sample_package, "CFAssociations")

    @property
    def sample_association_and_origin(self) -> tuple[Body, Body]:
        """Return (association, item): an item of the sample package and an association from it.

        Raises ``CheckSkipped`` if no association has an item of the package as its origin.
        """
        items = {get_identifier(item): item for item in self.sample_package.get("CFItems") or ()}
        for association in self.sample_package.get("CFAssociations") or ():
            if origin := items.get(get_identifier(association.get("originNodeURI"))):
                return association, origin
        raise CheckSkipped("no association of the package starts at one of its items")

    def require_documents(self, minimum: int) -> None:
        """Raise ``CheckSkipped`` if the server has fewer than ``minimum`` documents."""
        if len(self.documents) < minimum:
            raise CheckSkipped(f"the server has fewer than {minimum} documents")

    def find_definition(self, collection: str) -> Body:
        """Return the first definition or rubric of a collection such as ``CFSubjects``, as a dict.

        Searches the packages that have items. Raises ``CheckSkipped`` if none contains one.
        """
        for package in self.iter_packages_with_items():
            parent = package if collection == "CFRubrics" else package.get("CFDefinitions") or {}
            if parent.get(collection):
                return self._first_entity(parent, collection)
        raise CheckSkipped(f"no {collection} in the first {MAX_PACKAGES} packages")

    def get_package_path(self, document: Body) -> str:
        """Return the path of a document's package below the base URL.

        In the platform profile, a package has its own identifier. In the other profiles, it has the
        identifier of its document.
        """
        package_identifier = get_identifier(document.get("CFPackageURI"))
        is_platform = self.server.profile.name == "platform"
        identifier = (is_platform and package_identifier) or get_identifier(document)
        return build_entity_path("CFPackages", identifier)

    def _iter_documents_with_packages(self) -> Iterator[tuple[Body, Body]]:
        """Yield (document, package) for the first five documents, if the package has items.

        Fetches each package when it is needed, and caches it.
        """
        for document in self.documents[:MAX_PACKAGES]:
            path = self.get_package_path(document)
            if path not in self._packages:
                self._packages[path] = {}
                with suppress(CheckFailed):  # the check of packages reports it
                    self._packages[path] = self.server.get_package(path)
            if self._packages[path].get("CFItems"):
                yield document, self._packages[path]

    @staticmethod
    def _first_entity(parent: Body, collection: str) -> Body:
        match parent.get(collection):
            case [dict() as first, *_]:
                return first
        raise CheckSkipped(f"the package has no {collection}")

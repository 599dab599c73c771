"""What is already on the server, found through its lists, for checks that only read."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from .client import Body, CheckFailed, ServerUnderTest, Skip, entity_path, read_json
from .profiles import identifier_of
from .test_data import TITLE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_SIZE = 100
MAX_PACKAGES = 5
"""How many documents are looked into for one that has items."""

NO_DOCUMENTS = "the server has no documents; load one, with case-server import --sample for example"


class ExistingData:
    """Entities of the server to look at; ``Skip`` where there are none."""

    def __init__(self, server: ServerUnderTest) -> None:
        self.server = server
        self._packages: list[tuple[Body, Body]] = []

    @cached_property
    def documents(self) -> list[Body]:
        """The documents of one page; at least one. What earlier runs left is passed over."""
        page = self.server.get_page("CFDocuments", limit=PAGE_SIZE).entities
        found = [one for one in page if identifier_of(one) and one.get("creator") != TITLE_PREFIX]
        if not found:
            raise Skip(NO_DOCUMENTS)
        return found

    @cached_property
    def document(self) -> Body:
        """The document whose package has items, else the first."""
        return next((document for document, _ in self._whole()), self.documents[0])

    @property
    def package(self) -> Body:
        """The package of ``document``, out of its wrapper."""
        return next(self.packages())

    def packages(self) -> Iterator[Body]:
        """Packages with items; at least one."""
        none = True
        for _, package in self._whole():
            none = False
            yield package
        if none:
            raise Skip(f"none of the first {MAX_PACKAGES} documents has a package with items")

    @property
    def item(self) -> Body:
        """An item, as it stands in its package."""
        return self._first(self.package, "CFItems")

    @property
    def association(self) -> Body:
        """An association, as it stands in its package."""
        return self._first(self.package, "CFAssociations")

    @property
    def linked_item(self) -> tuple[Body, Body]:
        """An association and the item at its origin."""
        items = {identifier_of(one): one for one in self.package.get("CFItems") or ()}
        for one in self.package.get("CFAssociations") or ():
            if origin := items.get(identifier_of(one.get("originNodeURI"))):
                return one, origin
        raise Skip("no association of the package begins at one of its items")

    def definition(self, plural: str) -> Body:
        """A definition or rubric of one of the packages."""
        for package in self.packages():
            holder = package if plural == "CFRubrics" else package.get("CFDefinitions") or {}
            if holder.get(plural):
                return self._first(holder, plural)
        raise Skip(f"the packages that were looked at have no {plural}")

    def package_path(self, document: Body) -> str:
        """Where the package of a document is: named by its own identifier on the platform."""
        named = identifier_of(document.get("CFPackageURI"))
        own = named if self.server.profile.name == "platform" else ""
        return entity_path("CFPackages", own or identifier_of(document))

    def _whole(self) -> Iterator[tuple[Body, Body]]:
        """Documents with their packages; each is asked for when it is first needed, once."""
        yield from self._packages
        for one in self._more:
            self._packages.append(one)
            yield one

    @cached_property
    def _more(self) -> Iterator[tuple[Body, Body]]:
        return self._with_items()

    def _with_items(self) -> Iterator[tuple[Body, Body]]:
        for document in self.documents[:MAX_PACKAGES]:
            try:
                body = read_json(self.server.get(self.package_path(document)))
            except CheckFailed:
                continue  # the check that reads packages says so
            package = body.get("CFPackage", body)
            if isinstance(package, dict) and package.get("CFItems"):
                yield document, package

    @staticmethod
    def _first(holder: Body, plural: str) -> Body:
        found = holder.get(plural)
        if not isinstance(found, list) or not found or not isinstance(found[0], dict):
            raise Skip(f"the package that was looked at has no {plural}")
        first: Body = found[0]
        return first

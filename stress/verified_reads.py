"""Run all reads of the API and compare the responses with the reference model."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from httpx import Response

from stress.model import KINDS, ReferenceModel

Send = Callable[..., Response]


def _identifiers_of(links: Any) -> list[str]:
    return [link["identifier"] for link in links or ()]


class ReadVerifier:
    """Reads all entities from the server and compares them with an in-memory reference model.

    It keeps the last ETag and body of each package, to check that conditional requests get 304 if
    and only if nothing has changed.
    """

    def __init__(self, send: Send, model: ReferenceModel) -> None:
        self.send, self.model = send, model
        self.cached: dict[str, tuple[str, Any]] = {}
        self.is_unchanged = False
        """True if nothing was written since the last comparison."""

    def record_write(self, *, changed: bool) -> None:
        """Record whether a write changed any entity; if not, earlier ETags must still get 304."""
        self.is_unchanged = not changed

    def compare_with_model(
        self, documents: Sequence[str], items: Sequence[str], associations: Sequence[str]
    ) -> None:
        """Read the given entities and all lists from the server; compare them with the model.

        The arguments are identifiers. Raises ``AssertionError`` for a difference.
        """
        for identifier in items:
            self._item(identifier)
        for identifier in associations:
            self._association(identifier)
        for kind in KINDS:
            self._definitions(kind)
        for identifier in documents:
            self._document(identifier)
        self._lists()
        self.is_unchanged = True

    def _get(self, path: str, *, exists: bool) -> Any:
        response = self.send("GET", path)
        expected = 200 if exists else 404
        assert response.status_code == expected, (
            f"GET {path}: {response.status_code} {response.text}"
        )
        return response.json() if exists else None

    def _item(self, identifier: str) -> None:
        item = self.model.items.get(identifier)
        exists = item is not None and item.is_live
        body = self._get(f"/CFItems/{identifier}", exists=exists)
        associations_body = self._get(f"/CFItemAssociations/{identifier}", exists=exists)
        if item is None or not exists:
            return
        assert body == associations_body["CFItem"]
        assert body["fullStatement"] == item.statement
        assert body["CFDocumentURI"]["identifier"] == item.document
        assert _identifiers_of(body.get("subjectURI")) == [*item.subjects]
        keyword = body.get("conceptKeywordsURI", {}).get("identifier")
        assert keyword == (item.keywords[-1] if item.keywords else None)
        assert body.get("CFItemTypeURI", {}).get("identifier") == item.type
        association_ids = {
            name
            for name, association in self.model.associations.items()
            if identifier in {association.origin, association.destination}
            and self.model.is_visible(association)
        }
        assert {*_identifiers_of(associations_body["CFAssociations"])} == association_ids

    def _association(self, identifier: str) -> None:
        association = self.model.associations.get(identifier)
        exists = association is not None and self.model.is_visible(association)
        body = self._get(f"/CFAssociations/{identifier}", exists=exists)
        if association is not None and exists:
            ends = [body[f"{end}NodeURI"]["identifier"] for end in ("origin", "destination")]
            assert (*ends, body["associationType"]) == association.unique_key
            grouping = body.get("CFAssociationGroupingURI", {}).get("identifier")
            assert grouping == association.grouping

    def _definitions(self, kind: str) -> None:
        for (class_name, identifier), title in self.model.definitions.items():
            if class_name == kind:
                body = self._get(f"/{kind}s/{identifier}", exists=True)
                first = body[f"{kind}s"][0] if f"{kind}s" in body else body
                assert (first["identifier"], first["title"]) == (identifier, title)

    def _document(self, identifier: str) -> None:
        stored = self.model.documents.get(identifier)
        body = self._get(f"/CFDocuments/{identifier}", exists=stored is not None)
        owner = next(
            (
                n
                for n, document in self.model.documents.items()
                if identifier in {n, document.package}
            ),
            None,
        )
        self._package(identifier, owner)
        if stored is not None:
            assert body["title"] == stored.title
            assert body["CFPackageURI"]["identifier"] == stored.package
            assert _identifiers_of(body.get("subjectURI")) == [*stored.subjects]
            assert body.get("licenseURI", {}).get("identifier") == stored.license

    def _package(self, identifier: str, owner: str | None) -> None:
        path = f"/CFPackages/{identifier}"
        tag, before = self.cached.pop(identifier, ("", None))
        conditional_response = self.send("GET", path, **{"If-None-Match": tag}) if tag else None
        response = self.send("GET", path)
        assert response.status_code == (404 if owner is None else 200), response.text
        tree = self.send("GET", f"{path}/groups")
        assert tree.status_code == response.status_code, tree.text
        if owner is None:
            return
        body = response.json()
        if conditional_response is not None:
            # No 304 for a changed package, and no 200 for an unchanged one.
            assert conditional_response.status_code == 200 or body == before, (
                f"{path}: 304 though it changed"
            )
            assert conditional_response.status_code == 304 or not self.is_unchanged, (
                f"{path}: 200 though it is unchanged"
            )
        self.cached[identifier] = response.headers["ETag"], body
        self._parts(owner, body)
        self._tree(owner, tree.json()["structuredContent"])

    def _parts(self, owner: str, body: Any) -> None:
        model = self.model
        assert body["CFDocument"]["identifier"] == owner
        assert body["identifier"] == model.documents[owner].package
        assert sorted(_identifiers_of(body["CFItems"])) == sorted(model.get_package_items(owner))
        assert sorted(_identifiers_of(body["CFAssociations"])) == sorted(
            model.get_package_associations(owner)
        )
        definitions = [
            (kind, definition["identifier"], definition["title"])
            for kind in KINDS
            for definition in body["CFDefinitions"][f"{kind}s"]
        ]
        definition_keys = model.get_package_definitions(owner)
        expected = sorted((*pair, model.definitions[pair]) for pair in definition_keys)
        assert sorted(definitions) == expected, (
            f"definitions of {owner}: {sorted(definitions)}, not {expected}"
        )

    def _tree(self, owner: str, content: Any) -> None:
        items = self.model.get_package_items(owner)
        pairs = {
            (association.destination, association.origin)
            for association in self.model.get_package_associations(owner).values()
            if association.type == "isChildOf"
            and {association.origin, association.destination} <= items.keys()
        }
        pairs_in_tree = list(_iter_parent_child_pairs(content, None))
        assert {child for _, child in pairs_in_tree} == items.keys()
        assert {pair for pair in pairs_in_tree if pair[0] is not None} == pairs

    def _lists(self) -> None:
        live = {name: item for name, item in self.model.items.items() if item.is_live}
        first_page = self._get("/CFItems?limit=100", exists=True)
        assert (sorted(_identifiers_of(first_page["CFItems"])), first_page["total"]) == (
            sorted(live),
            len(live),
        )
        filtered = self._get("/CFItems?filter=fullStatement%3D'ALPHA'&sort=identifier", exists=True)
        expected = sorted(name for name, item in live.items() if item.statement == "alpha")
        assert _identifiers_of(filtered["CFItems"]) == expected[:10]
        documents = self._get("/CFDocuments", exists=True)
        assert sorted(_identifiers_of(documents["CFDocuments"])) == sorted(self.model.documents)


def _iter_parent_child_pairs(content: Any, parent: str | None) -> Iterator[tuple[str | None, str]]:
    """Yield (parent, child) identifiers from the tree in a package response.

    ``parent`` is None for top-level items.
    """
    for members in content.values():
        for member in members:
            yield parent, member["identifier"]
            yield from _iter_parent_child_pairs(member["childGroups"], member["identifier"])

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
        known = self.model.items.get(identifier)
        exists = known is not None and known.is_live
        body = self._get(f"/CFItems/{identifier}", exists=exists)
        both = self._get(f"/CFItemAssociations/{identifier}", exists=exists)
        if known is None or not exists:
            return
        assert body == both["CFItem"]
        assert body["fullStatement"] == known.statement
        assert body["CFDocumentURI"]["identifier"] == known.document
        assert _identifiers_of(body.get("subjectURI")) == [*known.subjects]
        keyword = body.get("conceptKeywordsURI", {}).get("identifier")
        assert keyword == (known.keywords[-1] if known.keywords else None)
        assert body.get("CFItemTypeURI", {}).get("identifier") == known.type
        touching = {
            name
            for name, one in self.model.associations.items()
            if identifier in {one.origin, one.destination} and self.model.is_visible(one)
        }
        assert {*_identifiers_of(both["CFAssociations"])} == touching

    def _association(self, identifier: str) -> None:
        known = self.model.associations.get(identifier)
        exists = known is not None and self.model.is_visible(known)
        body = self._get(f"/CFAssociations/{identifier}", exists=exists)
        if known is not None and exists:
            ends = [body[f"{end}NodeURI"]["identifier"] for end in ("origin", "destination")]
            assert (*ends, body["associationType"]) == known.unique_key
            grouping = body.get("CFAssociationGroupingURI", {}).get("identifier")
            assert grouping == known.grouping

    def _definitions(self, kind: str) -> None:
        for (which, identifier), title in self.model.definitions.items():
            if which == kind:
                body = self._get(f"/{kind}s/{identifier}", exists=True)
                first = body[f"{kind}s"][0] if f"{kind}s" in body else body
                assert (first["identifier"], first["title"]) == (identifier, title)

    def _document(self, identifier: str) -> None:
        known = self.model.documents.get(identifier)
        body = self._get(f"/CFDocuments/{identifier}", exists=known is not None)
        owner = next(
            (n for n, one in self.model.documents.items() if identifier in {n, one.package}), None
        )
        self._package(identifier, owner)
        if known is not None:
            assert body["title"] == known.title
            assert body["CFPackageURI"]["identifier"] == known.package
            assert _identifiers_of(body.get("subjectURI")) == [*known.subjects]
            assert body.get("licenseURI", {}).get("identifier") == known.license

    def _package(self, identifier: str, owner: str | None) -> None:
        path = f"/CFPackages/{identifier}"
        tag, before = self.cached.pop(identifier, ("", None))
        known = self.send("GET", path, **{"If-None-Match": tag}) if tag else None
        response = self.send("GET", path)
        assert response.status_code == (404 if owner is None else 200), response.text
        tree = self.send("GET", f"{path}/groups")
        assert tree.status_code == response.status_code, tree.text
        if owner is None:
            return
        body = response.json()
        if known is not None:
            # No 304 for a changed package, and no 200 for an unchanged one.
            assert known.status_code == 200 or body == before, f"{path}: 304 though it changed"
            assert known.status_code == 304 or not self.is_unchanged, (
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
        shown = model.get_package_definitions(owner)
        wanted = sorted((*pair, model.definitions[pair]) for pair in shown)
        assert sorted(definitions) == wanted, (
            f"definitions of {owner}: {sorted(definitions)}, not {wanted}"
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
        every = self._get("/CFItems?limit=100", exists=True)
        assert (sorted(_identifiers_of(every["CFItems"])), every["total"]) == (
            sorted(live),
            len(live),
        )
        some = self._get("/CFItems?filter=fullStatement%3D'ALPHA'&sort=identifier", exists=True)
        wanted = sorted(name for name, item in live.items() if item.statement == "alpha")
        assert _identifiers_of(some["CFItems"]) == wanted[:10]
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

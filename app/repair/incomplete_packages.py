"""Complete entities that lack identifiers, titles or times, and flatten trees.

Programs write frameworks as trees, whose items are in ``children``, ``items`` or ``CFItems`` of
other items, of the document, or of an object with a title in place of a package.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from ..case.entity_urls import make_uuid_urn
from ..case.model import CFPackage
from ..case.package import DerivedValues
from ..case.response_fields import NODE_FIELDS
from ..case.sequence import number_siblings
from ..case.vocabulary import IS_CHILD_OF
from ..formatting import format_timestamp, truncate
from .completion import find_last_uuid
from .metadata_options import MetadataOptions
from .repair_log import Json, RepairLog, join_path

CHILD_LISTS = {"children", "items", "cfitems"}
"""Case-folded names of lists of children."""

SETS = {"CFItemSet": "CFItems", "CFAssociationSet": "CFAssociations"}
"""Objects around the lists of packages of CASE 1.0, which OpenCASE reads, too."""

DOCUMENT_NAMES = {"id": "identifier", "name": "title", "author": "creator"}
ITEM_NAMES = {
    "id": "identifier",
    "code": "humanCodingScheme",
    "type": "CFItemType",
    "statement": "fullStatement",
    "text": "fullStatement",
    "description": "fullStatement",
    "name": "fullStatement",
}
"""Names of fields in trees of other programs, the best one of a field first."""

STATEMENT_NAMES = {
    *("fullstatement", "abbreviatedstatement", "alternativelabel", "title"),
    *(name for name, standard in ITEM_NAMES.items() if standard == "fullStatement"),
}
"""Case-folded names of fields by which a child is recognized."""

IDENTIFIER_NAMES = ("identifier", "sourcedId")
MAX_TITLE_CHARS = 200

Edge = tuple[Json, Json | None]
"""An item, and its parent in the tree; None for an item at the top."""

PlacedItem = tuple[Any, Json | None, str]
"""An item, its parent as in ``Edge``, and the path of the item in the original file."""


class IncompletePackageCompleter:
    """Adds missing identifiers and a missing document to a JSON package, and flattens its items.

    It edits the package in place, before all other repairs, because they expect flat lists.
    """

    def __init__(
        self, package: Json, root: str, log: RepairLog, metadata: MetadataOptions | None
    ) -> None:
        self.derived = DerivedValues()
        self._package, self._root, self._log, self._metadata = package, root, log, metadata
        self._unwrap_sets()
        document = _get(package, "CFDocument")
        self._document: Json | None = document if isinstance(document, dict) else None

    def complete_package(self) -> None:
        """Flatten nested items, override metadata, and add missing identifiers and associations.

        Edits the package in place. Changes nothing if no item is nested and the user gives no
        metadata.
        """
        edges = self._flatten_nested_items()
        document = self._document
        if document is None or not (edges or self._metadata):
            return
        if self._metadata:
            self._override_metadata(document, self._metadata)
        identifier = self._complete_document(document)
        if identifier is None:
            return
        items = [item for item in self._items() if isinstance(item, dict)]
        self._assign_identifiers(items, identifier)
        if edges:
            self._add_missing_associations(edges, document, identifier)

    def _unwrap_sets(self) -> None:
        for name, collection in SETS.items():
            members = self._package.get(name)
            if isinstance(members, dict) and members.keys() == {collection}:
                path = join_path(self._root, name)
                self._log.record("wrapper", path, path)
                self._package.setdefault(collection, members[collection])
                del self._package[name]

    def _items(self) -> list[Any]:
        items = _get(self._package, "CFItems")
        return items if isinstance(items, list) else []

    def _flatten_nested_items(self) -> list[Edge]:
        """Move nested items to the list CFItems, and return an (item, parent item) pair for each.

        The parent of an item at the top is None. If no item is nested, returns [] and moves
        nothing.
        """
        holders = [(self._package, self._root)]
        if self._document is not None:
            key = _find_key(self._package, "CFDocument") or ""
            holders.append((self._document, join_path(self._root, key)))
        top_items = self._items()
        lists = [
            (holder, name, join_path(path, name))
            for holder, path in holders
            for name in find_child_lists(holder)
            if holder[name] is not top_items
        ]
        is_tree = bool(lists) or any(map(find_child_lists, top_items))
        if self._document is None and (is_tree or (top_items and self._metadata)):
            self._create_document({name for _, name, _ in lists})
        if not is_tree:
            return []
        plain_path = join_path(self._root, _find_key(self._package, "CFItems") or "")
        roots = [(item, f"{plain_path}[{index}]") for index, item in enumerate(top_items)]
        for holder, name, path in lists:
            roots += [(item, f"{path}[{index}]") for index, item in enumerate(holder.pop(name))]
            self._log.record("nested-items", path)
        items: list[Any] = []
        edges: list[Edge] = []
        for item, parent, path in self._iter_and_detach_children(roots):
            items.append(item)
            if isinstance(item, dict):
                edges.append((item, parent))
                self._log.record_path_before_move(item, path)
                self._rename_fields(item, ITEM_NAMES, path)
        self._package[_find_key(self._package, "CFItems") or "CFItems"] = items
        return edges

    def _iter_and_detach_children(self, roots: list[tuple[Any, str]]) -> Iterator[PlacedItem]:
        """Yield (item, parent item, path in the original file) for each item of the tree.

        Parents come before their children; the parent of a root is None. The list of children is
        removed from each item.
        """
        stack: list[PlacedItem] = [(item, None, path) for item, path in reversed(roots)]
        while stack:
            item, parent, path = stack.pop()
            children: list[PlacedItem] = []
            for name in find_child_lists(item):
                list_path = join_path(path, name)
                self._log.record("nested-items", list_path)
                children += [
                    (child, item, f"{list_path}[{index}]")
                    for index, child in enumerate(item.pop(name))
                ]
            for name in [name for name in _find_keys(item, CHILD_LISTS) if item[name] == []]:
                del item[name]
            yield item, parent, path
            stack.extend(reversed(children))

    def _create_document(self, excluded: set[str]) -> None:
        """Add the missing CFDocument to the package, made from fields such as ``name``.

        The fields, which the standard does not define for packages, are moved. ``excluded`` are the
        names of those that contain nested items, not metadata.
        """
        fields = {name.casefold() for name in CFPackage.model_fields}
        names = [
            name for name in self._package if name.casefold() not in fields and name not in excluded
        ]
        self._document = {name: self._package.pop(name) for name in names}
        self._package["CFDocument"] = self._document
        self._log.record_path_before_move(self._document, self._root)
        self._rename_fields(self._document, DOCUMENT_NAMES, self._root)
        self._log.record("missing-document", self._root)

    def _rename_fields(self, obj: Json, names: dict[str, str], path: str) -> None:
        for name, standard in names.items():
            if name in obj and _find_key(obj, standard) is None:
                obj[standard] = obj.pop(name)
                self._log.record_rename(obj, name, standard)
                self._log.record("field-name", join_path(path, name), name, standard)

    def _override_metadata(self, document: Json, options: MetadataOptions) -> None:
        values = {"title": options.title, "creator": options.creator}
        for name, value in values.items():
            if value is not None:
                document[_find_key(document, name) or name] = value
        if options.identifier is not None:
            for name in IDENTIFIER_NAMES:
                old_value = document.pop(_find_key(document, name) or name, None)
                if isinstance(old_value, str) and old_value != options.identifier:
                    self.derived.aliases[old_value] = options.identifier
            document["identifier"] = options.identifier

    def _complete_document(self, document: Json) -> str | None:
        """Fill in the document's identifier and lastChangeDateTime, and return the identifier.

        A missing identifier is made from the title and creator; without both, returns None. A
        missing time becomes the time of the file if the user gives metadata.
        """
        identifier = _get_identifier(document)
        title, creator = (_get(document, name) for name in ("title", "creator"))
        if identifier is None and isinstance(title, str) and isinstance(creator, str):
            identifier = derive_document_identifier(title, creator, self.derived)
            document["identifier"] = identifier
        if self._metadata and identifier and _get(document, "lastChangeDateTime") is None:
            name = _find_key(document, "lastChangeDateTime") or "lastChangeDateTime"
            document[name] = format_timestamp(self._metadata.changed)
            self.derived.has_time_of_file = True
            path = join_path(join_path(self._root, "CFDocument"), name)
            self._log.record("missing-time-of-document", path, None, document[name])
        return identifier

    def _assign_identifiers(self, items: list[Json], document_identifier: str) -> None:
        """Assign an identifier to each item without one: the UUID in its URI, or a new UUID.

        A new UUID (version 5) is made from the document's identifier and the item's code or
        statement.
        """
        space = uuid5(NAMESPACE_URL, document_identifier)
        counts: Counter[str] = Counter()
        for index, item in enumerate(items):
            name = str(_get(item, "humanCodingScheme") or _get(item, "fullStatement") or "")
            counts[name] += 1
            if _get_identifier(item) is not None:
                continue
            suffix = f"#{counts[name]}" if counts[name] > 1 else ""
            new_identifier = str(uuid5(space, f"CFItem\n{name}{suffix}"))
            item["identifier"] = identifier = find_last_uuid(_get(item, "uri")) or new_identifier
            self.derived.items.append(identifier)
            path = join_path(self._root, f"CFItems[{index}]")
            path = join_path(self._log.get_path_before_move(item) or path, "identifier")
            self._log.record("missing-identifier", path, None, identifier)

    def _add_missing_associations(
        self, edges: list[Edge], document: Json, document_identifier: str
    ) -> None:
        """Add an isChildOf association for each (item, parent) pair in ``edges`` that lacks one.

        A parent of None stands for the document, whose identifier is ``document_identifier``. An
        item that already has a parent gets no second one from such a pair.
        """
        key = _find_key(self._package, "CFAssociations") or "CFAssociations"
        associations = self._package.setdefault(key, [])
        if not isinstance(associations, list):
            return
        stored_pairs = set(_iter_child_pairs(associations))
        origins = {origin for origin, _ in stored_pairs}
        space = uuid5(NAMESPACE_URL, document_identifier)
        siblings: dict[str, list[tuple[Json, Any]]] = defaultdict(list)
        for item, parent in edges:
            number = item.pop("sequenceNumber", None)
            origin = _get_identifier(item)
            destination = _get_identifier(parent) if parent else document_identifier
            if (origin, destination) in stored_pairs or (parent is None and origin in origins):
                continue
            identifier = str(uuid5(space, f"{origin}\n{IS_CHILD_OF}\n{destination}"))
            association: Json = {
                "identifier": identifier,
                "uri": make_uuid_urn(identifier),
                "associationType": IS_CHILD_OF,
                "originNodeURI": _make_link(item),
                "destinationNodeURI": _make_link(document if parent is None else parent),
            }
            changed_at = _get(item, "lastChangeDateTime") or _get(document, "lastChangeDateTime")
            if changed_at is not None:
                association["lastChangeDateTime"] = changed_at
            path = self._log.get_path_before_move(item) or ""
            self._log.record_path_before_move(association, path)
            self.derived.times.add(("CFAssociation", identifier))
            siblings[str(destination)].append((association, number))
            associations.append(association)
        for group in siblings.values():
            self._number_siblings(group)

    def _number_siblings(self, siblings: list[tuple[Json, Any]]) -> None:
        """Set the sequence numbers of siblings.

        ``siblings`` contains (association, number in the file or None) pairs. If no sibling has a
        number, all are numbered in file order. If only some have, the others get none.
        """
        if any(number is not None for _, number in siblings):
            for association, number in siblings:
                if number is not None:
                    association["sequenceNumber"] = number
            return
        number_in_file_order([association for association, _ in siblings], self.derived)


def derive_document_identifier(title: str, creator: str, derived: DerivedValues) -> str:
    """Return a UUID (version 5) made from a framework's title and creator.

    Sets ``derived.identifier_source`` to a phrase that names both, for the report of an import.
    """
    derived.identifier_source = f"the title {title!r} and the creator {creator!r}"
    return str(uuid5(NAMESPACE_URL, f"{creator}\n{title}"))


def number_in_file_order(associations: list[Json], derived: DerivedValues) -> None:
    """Set the ``sequenceNumber`` of the associations of siblings, which are in file order.

    Appends a tuple of their identifiers to ``derived.order``, because the file lacks these numbers.
    """
    derived.order.append(tuple(sibling["identifier"] for sibling in associations))
    numbers = number_siblings([None] * len(associations))
    for association, number in zip(associations, numbers, strict=True):
        association["sequenceNumber"] = number


def _find_keys(value: Any, folded: Iterable[str]) -> list[str]:
    return [name for name in value if name.casefold() in folded] if isinstance(value, dict) else []


def _find_key(obj: Json, name: str) -> str | None:
    """Return the object's key that matches ``name`` in any letter case, or None."""
    if name in obj:
        return name
    return next(iter(_find_keys(obj, {name.casefold()})), None)


def _get(obj: Json, name: str) -> Any:
    key = _find_key(obj, name)
    return None if key is None else obj[key]


def find_child_lists(value: Any) -> list[str]:
    """Return the names of an object's fields that contain child items, such as ``children``.

    Such a field is a list whose members all have a statement or a title.
    """
    return [
        name
        for name in _find_keys(value, CHILD_LISTS)
        if isinstance(value[name], list)
        and value[name]
        and all(_find_keys(member, STATEMENT_NAMES) for member in value[name])
    ]


def _get_identifier(obj: Json) -> str | None:
    """Return the ``identifier`` of an entity or else its ``sourcedId``, as a string, or None.

    Letter case of the field names is ignored, and blank values count as missing.
    """
    values = (_get(obj, name) for name in IDENTIFIER_NAMES)
    identifier = next((value for value in values if value is not None and str(value).strip()), None)
    return None if identifier is None else str(identifier).strip()


def _make_link(node: Json) -> Json:
    identifier = _get_identifier(node) or ""
    names = ("humanCodingScheme", "title", "fullStatement")
    title = next((str(_get(node, name)) for name in names if _get(node, name)), identifier)
    uri = _get(node, "uri")
    return {
        "title": truncate(title, MAX_TITLE_CHARS),
        "identifier": identifier,
        "uri": uri if isinstance(uri, str) and uri.strip() else make_uuid_urn(identifier),
    }


def _iter_child_pairs(associations: list[Any]) -> Iterator[tuple[str | None, str | None]]:
    """Yield the (origin, destination) identifiers of the isChildOf associations in a list."""
    for association in associations:
        if not isinstance(association, dict):
            continue
        kind = str(_get(association, "associationType")).replace("_", "").replace(" ", "")
        if kind.casefold().removeprefix("is") == "childof":
            ends = (_get(association, name) for name in NODE_FIELDS)
            origin, destination = map(_get_end_identifier, ends)
            yield origin, destination


def _get_end_identifier(end: Any) -> str | None:
    if isinstance(end, dict):
        return _get_identifier(end)
    return end if isinstance(end, str) else None

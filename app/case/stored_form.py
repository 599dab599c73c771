"""Restore the stored form of a body that a client read from this server and sent back.

Responses contain values that are not stored: URLs of this server in place of URIs, and fields that
an API profile fills in. A PUT of a response must change nothing, so these values are replaced by
the stored ones. All other JSON of a body stays byte for byte the same.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from .entity_urls import ServerUrlMatcher, make_uuid_urn
from .resources import DOCUMENTS, ITEMS, ResourceType
from .response_fields import LINK_TARGETS, NODE_FIELDS
from .vocabulary import UNKNOWN_ITEM_TYPE

Fields: TypeAlias = dict[str, msgspec.Raw]
"""The fields of a JSON object, with undecoded values."""

Target: TypeAlias = tuple[str, str]
"""The entity of a URL: (collection, identifier), such as ``("CFItems", "5a7f2c1e-…")``."""

FIELDS = msgspec.json.Decoder(Fields)
LINKS = msgspec.json.Decoder(list[Fields])
STRING = msgspec.json.Decoder(str)

EMPTY_LIST = msgspec.Raw(b"[]")
DEFAULT_TYPE = msgspec.Raw(msgspec.json.encode(UNKNOWN_ITEM_TYPE))
DEFAULT_TYPE_FIELD = re.compile(rf'ItemType"\s*:\s*"{UNKNOWN_ITEM_TYPE}"'.encode())
"""A CFItemType with the default value, or cfItemType as the SDK writes it."""

LIST_FIELDS = {
    DOCUMENTS: ("subject", "subjectURI"),
    ITEMS: ("conceptKeywords", "subject", "subjectURI", "educationLevel"),
}
"""Lists that some profiles include in responses even if they are empty."""

LINK_FIELDS = {
    **{name: (collection,) for name, collection in LINK_TARGETS.items()},
    **dict.fromkeys(NODE_FIELDS, (ITEMS.collection, DOCUMENTS.collection)),
}
"""Links whose ``uri`` a profile may replace, and the types of the entities they lead to."""


@dataclass(frozen=True)
class EchoedValues:
    """The values in a request body that may come from an earlier response of this server.

    The server added them to that response, so they must not be stored.
    """

    server_urls: ServerUrlMatcher | None = None
    """The URLs of this server, if the body may contain any."""
    has_default_item_types: bool = False
    """True if the body may contain a CFItemType that a response added to a CFItemTypeURI."""
    has_empty_lists: bool = False
    """True if responses of the profile contain empty lists that are not stored."""


NO_ECHOED_VALUES = EchoedValues()
"""For a package that is not a request body."""


def may_have_default_item_types(raw: bytes) -> bool:
    """Return whether a JSON body may contain an item with the default CFItemType, ``"unknown"``.

    If so, each item must be compared with the stored one, because the type is dropped only if a
    response added it to a CFItemTypeURI.
    """
    return DEFAULT_TYPE_FIELD.search(raw) is not None and b'"CFItemTypeURI"' in raw


GetStoredUri: TypeAlias = Callable[[Target], str | None]
"""Returns the stored URI of an entity, or None."""


class SubmittedBody:
    """An entity that a client sent, which may contain echoed values of an earlier response.

    ``stored`` is the JSON of the entity in the database, or None for a new entity.
    """

    def __init__(
        self, resource: ResourceType, body: str, stored: str | None, echoed: EchoedValues
    ) -> None:
        self.resource, self.echoed = resource, echoed
        self.fields = FIELDS.decode(body)
        self.stored: Fields = FIELDS.decode(stored) if stored else {}
        self.identifier = STRING.decode(self.fields["identifier"])

    @property
    def client_uri(self) -> str | None:
        """The URI that the client sent, or None if it is the URL of the entity on this server."""
        uri = STRING.decode(self.fields["uri"])
        own_target = (self.resource.collection, self.identifier)
        urls = self.echoed.server_urls
        return None if urls and urls.parse_entity_url(uri) == own_target else uri

    def iter_link_targets(self) -> Iterator[Target]:
        """Yield (collection, identifier) of each entity on this server that the body links to.

        An example is ``("CFItems", "5a7f2c1e-…")``.
        """
        for name in self._list_link_fields():
            for link in _decode_links(self.fields[name]):
                if target := self._find_link_target(name, link):
                    yield target

    def restore_stored_body(self, get_stored_uri: GetStoredUri) -> str:
        """Return the JSON string to store: the body without the values that a response added.

        Replaces this server's URLs with stored URIs. Removes CFPackageURI, empty lists and the
        default CFItemType if the client did not set them. ``get_stored_uri`` takes (collection,
        identifier) of another entity and returns its stored URI, or None.
        """
        self._drop_package_link()
        if self.client_uri is None:
            self.fields["uri"] = self.stored.get("uri") or _encode(make_uuid_urn(self.identifier))
        for name in self._list_link_fields():
            links = _decode_links(self.fields[name])
            self._restore_stored_uris(name, links, get_stored_uri)
            is_list = bytes(self.fields[name]).startswith(b"[")
            self.fields[name] = _encode(links if is_list else links[0])
        self._drop_empty_lists()
        name = "CFItemType"
        if self.stored and name not in self.stored and self.fields.get(name) == DEFAULT_TYPE:
            del self.fields[name]
        return msgspec.json.encode(self.fields).decode()

    def restore_concept_links(self, keywords: str, get_stored_uri: GetStoredUri) -> str:
        """Replace this server's URLs in an item's links to concepts with the stored URIs.

        ``keywords`` and the result are JSON arrays, as strings. ``get_stored_uri`` takes
        (collection, identifier) of an entity and returns its stored URI, or None.
        """
        links = LINKS.decode(keywords)
        self._restore_stored_uris("conceptKeywordsURI", links, get_stored_uri)
        return msgspec.json.encode(links).decode()

    def _list_link_fields(self) -> list[str]:
        if not self.echoed.server_urls:
            return []
        return [name for name in LINK_FIELDS if name in self.fields]

    def _find_link_target(self, field: str, link: Fields) -> Target | None:
        """Return (collection, identifier) of the entity on this server that a link points to.

        An example is ``("CFItems", "5a7f2c1e-…")``. ``field`` is the field that contains the link.
        Returns None if the link points elsewhere, or if its URI contradicts its identifier.
        """
        assert self.echoed.server_urls
        target = self.echoed.server_urls.parse_entity_url(STRING.decode(link["uri"]))
        if target is None or target[0] not in LINK_FIELDS[field]:
            return None
        return target if target[1] == STRING.decode(link["identifier"]) else None

    def _match_stored_links(self, field: str, links: list[Fields]) -> list[Fields | None]:
        """Return a list with the stored link that matches each of ``links``, or None without one.

        ``field`` names the field that contains the links. Links with the same identifier match. If
        there are several such stored links, each is used once, preferably for a link with the same
        title. Once all are used, further links match the last one.
        """
        stored = _decode_links(self.stored[field]) if field in self.stored else []
        matches: list[Fields | None] = [None] * len(links)
        for names in (("identifier", "title"), ("identifier",)):
            if None not in matches:
                break
            matched_ids = {id(match) for match in matches}
            unmatched = defaultdict[tuple[bytes, ...], deque[Fields]](deque)
            for link in stored:
                if id(link) not in matched_ids:
                    unmatched[tuple(bytes(link[name]) for name in names)].append(link)
            for index, link in enumerate(links):
                equal_links = unmatched.get(tuple(bytes(link[name]) for name in names))
                if matches[index] is None and equal_links:
                    matches[index] = equal_links.popleft()
        links_by_identifier = {bytes(link["identifier"]): link for link in stored}
        return [
            match or links_by_identifier.get(bytes(link["identifier"]))
            for link, match in zip(links, matches, strict=True)
        ]

    def _restore_stored_uris(
        self, field: str, links: list[Fields], get_stored_uri: GetStoredUri
    ) -> None:
        """Replace this server's URLs in the links of a field with stored URIs, in place.

        A URI is taken from the matching link in the stored field. Without one, ``get_stored_uri``
        looks up the linked entity. If it returns None, the link gets a ``urn:uuid:`` URI.
        """
        for link, stored in zip(links, self._match_stored_links(field, links), strict=True):
            if target := self._find_link_target(field, link):
                uri = get_stored_uri(target) or make_uuid_urn(target[1])
                link["uri"] = stored["uri"] if stored else _encode(uri)

    def _drop_package_link(self) -> None:
        """Remove the CFPackageURI of a document if a response of this server had added it.

        That is so if the stored document has none, and the link has the title and the identifier of
        the document and a URL of this server.
        """
        name = "CFPackageURI"
        if name in self.stored or name not in self._list_link_fields():
            return
        (link,) = _decode_links(self.fields[name])
        derived = {field: self.fields[field] for field in ("title", "identifier")}
        if self._find_link_target(name, link) and derived.items() <= link.items():
            del self.fields[name]

    def _drop_empty_lists(self) -> None:
        """Remove empty lists from the body that a response, not the client, added.

        Sending a response back must not change the stored entity.
        """
        for name in LIST_FIELDS.get(self.resource, ()):
            if self.fields.get(name) != EMPTY_LIST or self.stored.get(name) == EMPTY_LIST:
                continue
            if self.echoed.has_empty_lists or (self.stored and name not in self.stored):
                del self.fields[name]


def _decode_links(value: msgspec.Raw) -> list[Fields]:
    raw = bytes(value)
    return LINKS.decode(raw) if raw.startswith(b"[") else [FIELDS.decode(raw)]


def _encode(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))

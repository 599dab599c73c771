"""URLs of entities on this server, and the URI of an entity without a URL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

ENTITY_URL_PATTERN = re.compile(r"(?i:https?)://([^/?#]+)(/[^?#]*)?/(CF\w+)/([^/?#]+)/?")
DEFAULT_PORT = re.compile(r":(?:80|443)?$")

URI_CHARACTERS = "!#$%&'()*+,-./:;=?@[]_~"
"""Characters that stay unencoded in a URI (RFC 3986); ``%`` is one, as it starts encoded ones."""


def make_uuid_urn(identifier: str) -> str:
    """Return the ``urn:uuid:`` URI that represents an entity stored without a URI."""
    return f"urn:uuid:{quote(identifier, safe=URI_CHARACTERS)}"


class ServerUrlMatcher:
    """Recognizes URLs of entities on this server.

    ``urls`` contains the server's base URLs, and ``prefixes`` contains the paths of its API
    profiles. The scheme and a default port are ignored, because a proxy may change both.
    """

    def __init__(self, urls: Iterable[str], prefixes: Iterable[str]) -> None:
        self._paths: dict[str, set[str]] = {}
        self._hosts: set[bytes] = set()
        for url in urls:
            parts = urlsplit(url)
            paths = self._paths.setdefault(_normalize_authority(parts.netloc), set())
            paths |= {parts.path.rstrip("/") + prefix for prefix in prefixes}
            # Responses contain the host as it is configured, and clients may normalize it.
            host = parts.netloc.partition(":")[0]
            self._hosts |= {host.encode(), host.lower().encode()}

    def mentions_host(self, body: bytes) -> bool:
        """Return whether the JSON bytes ``body`` contain a host name of this server.

        If they do not, the body is assumed to contain no URLs of entities on this server.
        """
        return any(host in body for host in self._hosts)

    def parse_entity_url(self, uri: str) -> tuple[str, str] | None:
        """Parse the URL of an entity on this server into (collection, identifier).

        An example is ``("CFItems", "5a7f2c1e-…")``. Returns None if the URI points elsewhere.
        """
        match = ENTITY_URL_PATTERN.fullmatch(uri)
        if not match:
            return None
        authority, path, collection, identifier = match.groups()
        if (path or "") not in self._paths.get(_normalize_authority(authority), ()):
            return None
        return collection, unquote(identifier)


def _normalize_authority(netloc: str) -> str:
    return DEFAULT_PORT.sub("", netloc.lower())


get_server_url_matcher = lru_cache(maxsize=64)(ServerUrlMatcher)
"""Returns a cached ``ServerUrlMatcher`` for tuples of base URLs and path prefixes."""

"""Addresses under which this server answers entities, and the URI of an entity without one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

ADDRESS = re.compile(r"(?i:https?)://([^/?#]+)(/[^?#]*)?/(CF\w+)/([^/?#]+)/?")
DEFAULT_PORT = re.compile(r":(?:80|443)?$")

URN_SAFE = "!#$%&'()*+,-./:;=?@[]_~"
"""Characters that RFC 3986 allows in a URI; ``%`` because it begins an encoded character."""


def make_urn(identifier: str) -> str:
    """Return the URI of an entity that has no other."""
    return f"urn:uuid:{quote(identifier, safe=URN_SAFE)}"


class ServerUrls:
    """Recognises the addresses of one server.

    ``urls`` are those under which clients reach the server, ``prefixes`` the paths of its API
    profiles. The scheme and a default port are ignored, because a proxy may change both.
    """

    def __init__(self, urls: Iterable[str], prefixes: Iterable[str]) -> None:
        self._paths: dict[str, set[str]] = {}
        for url in urls:
            parts = urlsplit(url)
            paths = self._paths.setdefault(_authority(parts.netloc), set())
            paths |= {parts.path.rstrip("/") + prefix for prefix in prefixes}
        self._hosts = {authority.partition(":")[0].encode() for authority in self._paths}

    def occurs_in(self, body: bytes) -> bool:
        """Return whether a body contains the name of a host of this server."""
        return any(host in body for host in self._hosts)

    def parse_entity_url(self, uri: str) -> tuple[str, str] | None:
        """Return (plural, identifier) of the entity that an address of this server names."""
        found = ADDRESS.fullmatch(uri)
        if not found:
            return None
        authority, path, plural, identifier = found.groups()
        if (path or "") not in self._paths.get(_authority(authority), ()):
            return None
        return plural, unquote(identifier)


def _authority(written: str) -> str:
    return DEFAULT_PORT.sub("", written.lower())


@lru_cache(maxsize=64)
def server_urls(urls: tuple[str, ...], prefixes: tuple[str, ...]) -> ServerUrls:
    """Return the addresses of a server; the same object for the same arguments."""
    return ServerUrls(urls, prefixes)

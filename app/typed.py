"""Fetching what the operator typed: guarded like all else, but for what is plainly meant.

Who types ``http://localhost:8000`` or ``http://10.0.0.5`` means that machine. A name that turns
out to be at a private address, or a redirect that leads to one, may be somebody else's idea: it is
refused unless ``CASE_SERVER_ALLOW_PRIVATE_URLS`` allows it.
"""

from __future__ import annotations

import socket
import urllib.request
from typing import TYPE_CHECKING

import httpx

from .guarded import PORTS, UnsafeAddress, is_private_by_name, pinned, refuse_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Resolve = Callable[[str, int], list[str]]


class TypedTransport(httpx.BaseTransport):
    """Connects to public addresses, and to private ones that are among the hosts typed.

    Where the environment names a proxy, that one looks up names and connects, by rules of its own.
    """

    def __init__(
        self, typed: Iterable[str], *, allow_private: bool, resolve: Resolve | None = None
    ) -> None:
        hosts = {httpx.URL(url).host for url in typed}
        self._meant = {host for host in hosts if is_private_by_name(host)}
        self._allow_private = allow_private
        self._resolve = resolve or _resolved
        limits = httpx.Limits(max_keepalive_connections=0)
        self._direct = httpx.HTTPTransport(limits=limits)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the first checked address that answers."""
        url = request.url
        if url.scheme not in PORTS:
            raise UnsafeAddress(f"{url.scheme}: is not fetched", request=request)
        proxy = _proxy_for(url)
        addresses = [url.host] if proxy else self._addresses(request)
        free = self._allow_private or url.host in self._meant
        if not free and (not proxy or is_private_by_name(url.host)):
            refuse_private(request, addresses)
        if proxy:
            return httpx.HTTPTransport(proxy=proxy).handle_request(request)
        for address in addresses[:-1]:
            try:
                return self._direct.handle_request(pinned(request, address))
            except httpx.ConnectError:
                continue
        return self._direct.handle_request(pinned(request, addresses[-1]))

    def close(self) -> None:
        """Close every connection."""
        self._direct.close()

    def _addresses(self, request: httpx.Request) -> list[str]:
        url = request.url
        try:
            return self._resolve(url.host, url.port or PORTS[url.scheme])
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(
                f"{url.host} is not known: {error}", request=request
            ) from error


def _resolved(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _proxy_for(url: httpx.URL) -> str | None:
    if urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")

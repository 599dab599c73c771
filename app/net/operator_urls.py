"""An SSRF guard for URLs that the operator typed, for redirects, and for URLs found in answers.

An operator who types ``http://localhost:8000`` or ``http://10.0.0.5`` means that machine. A name
that resolves to a private address, or a redirect that leads to one, may be an attack: it is refused
unless ``CASE_SERVER_ALLOW_PRIVATE_URLS`` allows it.
"""

from __future__ import annotations

import socket
import ssl
import urllib.request
from functools import cache
from typing import TYPE_CHECKING

import httpx

from .ssrf import (
    DEFAULT_PORTS,
    BlockedAddress,
    blocked_error,
    is_internal_name,
    is_literal_private_host,
    pin_to_address,
    require_public,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Resolve = Callable[[str, int], list[str]]


class UnknownHost(httpx.ConnectError):
    """The name of a host that the name service does not know."""


class OperatorTransport(httpx.BaseTransport):
    """Connects to public addresses, and to private ones that are among the hosts typed.

    Where the environment names a proxy, the proxy resolves names. The guard then decides by the
    name or the literal address of the host.
    """

    def __init__(
        self, operator_urls: Iterable[str], *, allow_private: bool, resolve: Resolve | None = None
    ) -> None:
        self._operator_hosts = {httpx.URL(url).host for url in operator_urls}
        self._allow_private = allow_private
        self._resolve = resolve or _resolved
        limits = httpx.Limits(max_keepalive_connections=0)
        self._direct = httpx.HTTPTransport(limits=limits, verify=_tls_context())
        self._proxied: list[httpx.HTTPTransport] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the proxy, or to the first checked address that answers."""
        url = request.url
        if url.scheme not in DEFAULT_PORTS:
            raise BlockedAddress(f"unsupported URL scheme: {url.scheme}", request=request)
        if proxy := _proxy_for(url):
            return self._send_by_proxy(request, proxy)
        addresses = self._addresses(request)
        is_meant = url.host in self._operator_hosts and is_literal_private_host(url.host)
        if not (self._allow_private or is_meant):
            require_public(request, addresses)
        for address in addresses[:-1]:
            try:
                return self._direct.handle_request(pin_to_address(request, address))
            except httpx.ConnectError:
                continue
        return self._direct.handle_request(pin_to_address(request, addresses[-1]))

    def close(self) -> None:
        """Close every connection."""
        for transport in (self._direct, *self._proxied):
            transport.close()

    def _send_by_proxy(self, request: httpx.Request, proxy: str) -> httpx.Response:
        host = request.url.host
        is_free = self._allow_private or host in self._operator_hosts
        if not is_free and is_internal_name(host):
            raise blocked_error(request, f"{host}, which a proxy would resolve, is not public")
        try:
            transport = httpx.HTTPTransport(proxy=proxy, verify=_tls_context())
        except (ValueError, ImportError) as error:
            message = f"the proxy that the environment names cannot be used: {error}"
            raise httpx.UnsupportedProtocol(message, request=request) from error
        self._proxied.append(transport)
        try:
            return transport.handle_request(request)
        except (httpx.ConnectError, httpx.ProxyError) as error:
            address = httpx.URL(proxy).copy_with(username=None, password=None)
            message = f"the proxy {address} did not connect: {error}"
            raise httpx.ProxyError(message, request=request) from error

    def _addresses(self, request: httpx.Request) -> list[str]:
        url = request.url
        try:
            return self._resolve(url.host, url.port or DEFAULT_PORTS[url.scheme])
        except (OSError, UnicodeError) as error:
            is_temporary = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
            kind = httpx.ConnectError if is_temporary else UnknownHost
            raise kind(f"{url.host} is not known: {error}", request=request) from error


@cache
def _tls_context() -> ssl.SSLContext:
    """Return a context for all connections, because to make one takes some 50 ms."""
    return httpx.create_ssl_context()


def _resolved(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _proxy_for(url: httpx.URL) -> str | None:
    if urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")

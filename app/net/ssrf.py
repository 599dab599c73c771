"""SSRF guard: HTTP transports that connect to public addresses only.

A URL in a foreign document, a redirect or a DNS record may lead to the cloud's metadata
service, a router, or a database next to this server. The guard therefore resolves a host name once,
requires that all its addresses are public, and connects to the address that it checked: a second
lookup could return another one. Redirects pass through the guard as well.

``PublicOnlyTransport`` is for URLs that others name, such as a ``jwks_uri``. It exempts the origins
that the operator configured. ``OperatorUrlTransport`` is for URLs that the operator typed: someone
who types ``http://localhost:8000`` or ``http://10.0.0.5`` means that machine, but a name that
resolves to a private address, or a redirect to one, may be an attack.
``CASE_SERVER_ALLOW_PRIVATE_URLS`` disables both checks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from urllib.parse import urlsplit

import httpx

from ..formatting import format_connection_error

DEFAULT_PORTS = {"http": 80, "https": 443}

FETCH_TIMEOUT_SECONDS = 10.0
"""Timeout of a whole response, however slowly it arrives."""

CLIENT_TIMEOUT_SECONDS = 5

INTERNAL_DOMAINS = (
    ".localhost",
    ".localdomain",
    ".local",
    ".internal",
    ".intranet",
    ".lan",
    ".home.arpa",
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")

# The guard connects to addresses, so httpx would reuse a connection to one host for another host
# at the same address, whose certificate was not verified.
NO_KEEPALIVE = httpx.Limits(max_keepalive_connections=0)


class BlockedAddress(httpx.RequestError):
    """Raised when the SSRF guard blocks a request, for example to a private address."""


class ResponseTooLarge(httpx.RequestError):
    """Raised when a response is too large, or is compressed, which hides its size."""


class UnknownHost(httpx.ConnectError):
    """Raised when the host of a URL cannot be resolved, so a retry would not help."""


class PublicOnlyTransport(httpx.AsyncBaseTransport):
    """An async HTTP transport that connects to public addresses only, to prevent SSRF.

    The origins of ``trusted_urls`` may also have private addresses. ``allow_private`` disables the
    check, for servers in a private network.
    """

    def __init__(self, *, allow_private: bool = False, trusted_urls: Iterable[str] = ()) -> None:
        self._allow_private = allow_private
        self._trusted_origins = {get_origin(url) for url in trusted_urls}
        self._inner = httpx.AsyncHTTPTransport(verify=_get_tls_context(), limits=NO_KEEPALIVE)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request to the first address of its host that accepts a connection.

        Raises ``BlockedAddress`` if any address is private, unless the origin is trusted.
        """
        require_http_scheme(request)
        is_exempt = self._allow_private or get_origin(request.url) in self._trusted_origins
        *other_requests, last_request = await asyncio.to_thread(
            _resolve_and_pin, request, is_exempt=is_exempt
        )
        for attempt in other_requests:
            with suppress(httpx.ConnectError):
                return await self._inner.handle_async_request(attempt)
        return await self._inner.handle_async_request(last_request)

    async def aclose(self) -> None:
        """Close all connections of this transport."""
        await self._inner.aclose()


class OperatorUrlTransport(httpx.BaseTransport):
    """A sync HTTP transport, guarded against SSRF, for a URL typed on the command line.

    It connects to public addresses, and to ``localhost`` or a private IP address only if that is
    the host of ``operator_url``, the typed URL. If the environment configures a proxy, the
    transport checks only the host in the URL, not its addresses, because the proxy resolves it.
    """

    def __init__(self, operator_url: str, *, allow_private: bool) -> None:
        self._operator_host = httpx.URL(operator_url).host
        self._allow_private = allow_private
        self._direct = httpx.HTTPTransport(limits=NO_KEEPALIVE, verify=_get_tls_context())
        self._proxied: list[httpx.HTTPTransport] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the proxy of the environment, or else directly to its host.

        Tries the addresses of the host in turn until one accepts a connection. Raises
        ``BlockedAddress`` if the host is private, unless it is the address that the user typed.
        """
        require_http_scheme(request)
        if proxy := _find_proxy(request.url):
            return self._send_by_proxy(request, proxy)
        host = request.url.host
        is_literal = host == self._operator_host and is_literal_private_host(host)
        *other_requests, last_request = _resolve_and_pin(
            request, is_exempt=self._allow_private or is_literal
        )
        for attempt in other_requests:
            with suppress(httpx.ConnectError):
                return self._direct.handle_request(attempt)
        return self._direct.handle_request(last_request)

    def close(self) -> None:
        """Close all connections of this transport."""
        for transport in (self._direct, *self._proxied):
            transport.close()

    def _send_by_proxy(self, request: httpx.Request, proxy: str) -> httpx.Response:
        host = request.url.host
        is_exempt = self._allow_private or host == self._operator_host
        if not is_exempt and is_internal_host(host):
            reason = f"{host}, which a proxy would resolve, is not public"
            raise _create_blocked_error(request, reason)
        try:
            transport = httpx.HTTPTransport(proxy=proxy, verify=_get_tls_context())
        except (ValueError, ImportError) as error:
            message = f"the proxy in the environment is invalid: {error}"
            raise httpx.UnsupportedProtocol(message, request=request) from error
        self._proxied.append(transport)
        try:
            return transport.handle_request(request)
        except (httpx.ConnectError, httpx.ProxyError) as error:
            address = httpx.URL(proxy).copy_with(username=None, password=None)
            message = f"the proxy {address} did not connect: {format_connection_error(error)}"
            raise httpx.ProxyError(message, request=request) from error


def create_public_only_client(
    *, allow_private: bool, trusted_urls: Iterable[str] = ()
) -> httpx.AsyncClient:
    """Create an async HTTP client that connects to public addresses only, to prevent SSRF.

    The origins of ``trusted_urls`` may also have private addresses. ``allow_private`` disables the
    check.
    """
    transport = PublicOnlyTransport(allow_private=allow_private, trusted_urls=trusted_urls)
    return httpx.AsyncClient(transport=transport, timeout=CLIENT_TIMEOUT_SECONDS)


async def fetch_limited(http: httpx.AsyncClient, url: str, *, max_bytes: int) -> tuple[int, bytes]:
    """Send a GET request without following redirects, and return (status, body as bytes).

    Raises ``ResponseTooLarge`` if the body is compressed or has more than ``max_bytes``,
    ``httpx.ReadTimeout`` after ``FETCH_TIMEOUT_SECONDS``, ``BlockedAddress`` for a disallowed
    address, and other subclasses of ``httpx.HTTPError``.
    """
    headers = {"Accept-Encoding": "identity"}
    try:
        async with (
            asyncio.timeout(FETCH_TIMEOUT_SECONDS),
            http.stream("GET", url, headers=headers, follow_redirects=False) as response,
        ):
            if response.headers.get("content-encoding", "identity") != "identity":
                reason = f"{url} sent a compressed response, which was not requested"
                raise ResponseTooLarge(reason, request=response.request)
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > max_bytes:
                    reason = f"{url} sent more than {max_bytes:,} bytes"
                    raise ResponseTooLarge(reason, request=response.request)
            return response.status_code, bytes(body)
    except TimeoutError as error:
        raise httpx.ReadTimeout(f"{url} took longer than {FETCH_TIMEOUT_SECONDS:.0f} s") from error


def require_http_scheme(request: httpx.Request) -> None:
    """Raise ``BlockedAddress`` unless the URL scheme of a request is http or https."""
    if request.url.scheme not in DEFAULT_PORTS:
        raise BlockedAddress(f"unsupported URL scheme: {request.url.scheme}", request=request)


def resolve_host(host: str, port: int) -> list[str]:
    """Return the distinct IP addresses of a host as strings, in the order of the resolver.

    Raises ``OSError`` if the host cannot be resolved, ``UnicodeError`` if its name is invalid.
    """
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in entries))


def is_public(address: str) -> bool:
    """Return whether an IP address can be reached from the whole internet.

    An IPv6 address that embeds an IPv4 address is public if the IPv4 address is.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if ip in NAT64:
            embedded = ipaddress.IPv4Address(ip.packed[-4:])
        if embedded:
            return is_public(str(embedded))
        # Reserved networks include the local NAT64 prefixes 64:ff9b:1::/48 (RFC 8215).
        if ip.teredo or ip.is_reserved or ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast


def is_literal_private_host(host: str) -> bool:
    """Return whether a host is written as a private IP address or as ``localhost``.

    Such a host needs no DNS to be private, so a URL typed with it is intentional.
    """
    host = host.rstrip(".").lower()
    address = parse_literal_address(host)
    if address is not None:
        return not is_public(address)
    return host == "localhost" or host.endswith(".localhost")


def is_internal_host(host: str) -> bool:
    """Return whether a host appears to be in a private network, without a DNS lookup.

    Internal hosts are literal private addresses, names without a dot, and names in the special-use
    domains of private networks (RFC 6761, RFC 6762, RFC 8375, and ICANN's ``internal``). The check
    is for requests through a proxy, which resolves names in its own network.
    """
    host = host.rstrip(".").lower()
    if parse_literal_address(host) is not None:
        return is_literal_private_host(host)
    return "." not in host or f".{host}".endswith(INTERNAL_DOMAINS)


def parse_literal_address(host: str) -> str | None:
    """Return the IP address if a host is written as one, or None if it is a name.

    Like resolvers, also accepts the notations of inet_aton: ``127.1``, ``0x7f.0.0.1`` and
    ``2130706433`` all give ``127.0.0.1``.
    """
    host = host.strip("[]")
    with suppress(ValueError):
        return str(ipaddress.ip_address(host.partition("%")[0]))
    if not re.fullmatch(r"[0-9a-fx.]+", host):
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _resolve_and_pin(request: httpx.Request, *, is_exempt: bool) -> list[httpx.Request]:
    """Resolve the host of a request once, and return one copy of the request per address.

    Raises ``BlockedAddress`` if any address is private and ``is_exempt`` is false, ``UnknownHost``
    if the host cannot be resolved, and ``httpx.ConnectError`` if DNS fails temporarily.
    """
    url = request.url
    try:
        addresses = resolve_host(url.host, url.port or DEFAULT_PORTS[url.scheme])
    except (OSError, UnicodeError) as error:
        is_temporary = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
        error_class = httpx.ConnectError if is_temporary else UnknownHost
        message = f"could not resolve the host {url.host}: {format_connection_error(error)}"
        raise error_class(message, request=request) from error
    private = [address for address in addresses if not is_public(address)]
    if not is_exempt and (private or not addresses):
        reason = f"{url.host} is at {', '.join(private) or 'no address'}, which is not public"
        raise _create_blocked_error(request, reason)
    if not addresses:
        raise UnknownHost(f"the host {url.host} has no address", request=request)
    return [_pin_to_address(request, address) for address in addresses]


def _pin_to_address(request: httpx.Request, address: str) -> httpx.Request:
    """Return a copy of a request addressed to ``address``, with the host name in Host and SNI."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )


def _create_blocked_error(request: httpx.Request, reason: str) -> BlockedAddress:
    url = request.url.copy_with(username=None, password=None, fragment=None)
    return BlockedAddress(
        f"{url} is not fetched: {reason}; CASE_SERVER_ALLOW_PRIVATE_URLS=true allows it",
        request=request,
    )


def get_origin(url: httpx.URL | str) -> tuple[str, str, int]:
    """Return the (scheme, host, port) of a URL.

    A URL without a port gets the default port of its scheme, or 0 for an unknown scheme. Raises
    ``httpx.InvalidURL`` if the URL is malformed.
    """
    url = httpx.URL(url)
    return url.scheme, url.host, url.port or DEFAULT_PORTS.get(url.scheme, 0)


def is_http_url(text: str) -> bool:
    """Return whether a string is an absolute URL with the scheme http or https and a valid host."""
    try:
        parts = httpx.URL(text)
        return parts.scheme in DEFAULT_PORTS and bool(parts.host and urlsplit(text).hostname)
    except (httpx.InvalidURL, ValueError):
        return False


@cache
def _get_tls_context() -> ssl.SSLContext:
    """Return the TLS context that all connections share, because creating one takes 50 ms."""
    return httpx.create_ssl_context()


def _find_proxy(url: httpx.URL) -> str | None:
    if urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")

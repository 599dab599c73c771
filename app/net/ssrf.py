"""Fetching what somebody else's address names, without reaching what only this machine reaches.

A URL in a document of a stranger may name the cloud's metadata service, a router, or a database
beside this server. So a host's name is looked up once, each of its addresses must be public, and
the connection goes to the address that was checked: a second look-up could say something else.
Redirects pass the same way. Answers are read up to a limit, and as they are sent.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable

    Resolve = Callable[[str, int], Awaitable[list[str]]]

DEFAULT_PORTS = {"http": 80, "https": 443}
FETCH_TIMEOUT_SECONDS = 10.0
"""How long one answer may take in all, however slowly it drips."""
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


class BlockedAddress(httpx.RequestError):
    """An address that this server does not fetch from."""


class ResponseTooLarge(httpx.RequestError):
    """An answer that is longer than its reader allows, or packed."""


class PublicOnlyTransport(httpx.AsyncBaseTransport):
    """Connects to public addresses, and to the origins that the operator named."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        trusted_urls: Iterable[str] = (),
        resolve: Resolve | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._allow_private = allow_private
        self._named = {_origin(httpx.URL(url)) for url in trusted_urls}
        self._resolve = resolve or resolve_host
        # Connections are told apart by address here: kept open, one to a host would be used for
        # another host at that address, whose certificate nobody looked at.
        self._inner = httpx.AsyncHTTPTransport(
            verify=verify, limits=httpx.Limits(max_keepalive_connections=0)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the first checked address that answers."""
        url = request.url
        if url.scheme not in DEFAULT_PORTS:
            raise BlockedAddress(f"unsupported URL scheme: {url.scheme}", request=request)
        addresses = await self._checked(request)
        for address in addresses[:-1]:
            try:
                return await self._send(request, address)
            except httpx.ConnectError:
                continue
        return await self._send(request, addresses[-1])

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()

    async def _checked(self, request: httpx.Request) -> list[str]:
        url = request.url
        try:
            addresses = await self._resolve(url.host, url.port or DEFAULT_PORTS[url.scheme])
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(
                f"{url.host} is not known: {error}", request=request
            ) from error
        if not self._allow_private and _origin(url) not in self._named:
            require_public(request, addresses)
        return addresses

    async def _send(self, request: httpx.Request, address: str) -> httpx.Response:
        return await self._inner.handle_async_request(pin_to_address(request, address))


def require_public(request: httpx.Request, addresses: list[str]) -> None:
    """Raise ``UnsafeAddress`` unless all addresses of the host of a request are public."""
    private = [address for address in addresses if not is_public(address)]
    if private or not addresses:
        raise blocked_error(
            request,
            f"{request.url.host} is at {', '.join(private) or 'no address'}, which is not public",
        )


def blocked_error(request: httpx.Request, reason: str) -> BlockedAddress:
    """Return the error of a request to a private address, with the setting that allows it."""
    url = request.url.copy_with(username=None, password=None, fragment=None)
    return BlockedAddress(
        f"{url} is not fetched: {reason}; CASE_SERVER_ALLOW_PRIVATE_URLS=true allows it",
        request=request,
    )


def pin_to_address(request: httpx.Request, address: str) -> httpx.Request:
    """The request, to an address that was checked, with the name and the Host it was for."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )


def public_only_client(
    *, allow_private: bool, trusted_urls: Iterable[str] = ()
) -> httpx.AsyncClient:
    """A client for addresses from elsewhere; ``named`` are URLs whose origins are trusted."""
    transport = PublicOnlyTransport(allow_private=allow_private, trusted_urls=trusted_urls)
    return httpx.AsyncClient(transport=transport, timeout=5, max_redirects=5)


async def fetch_limited(
    http: httpx.AsyncClient, url: str, *, max_bytes: int, follow_redirects: bool = False
) -> tuple[int, bytes]:
    """The status and the body, of ``limit`` bytes at most, of what is at ``url``.

    Raises ``httpx.HTTPError``, which ``UnsafeAddress`` and ``TooMuch`` are, too.
    """
    try:
        async with (
            asyncio.timeout(FETCH_TIMEOUT_SECONDS),
            http.stream(
                "GET",
                url,
                headers={"Accept-Encoding": "identity"},
                follow_redirects=follow_redirects,
            ) as answer,
        ):
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise ResponseTooLarge(f"{url} answered packed, unasked", request=answer.request)
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > max_bytes:
                    reason = f"{url} answered more than {max_bytes} bytes"
                    raise ResponseTooLarge(reason, request=answer.request)
            return answer.status_code, bytes(body)
    except TimeoutError as error:
        raise httpx.ReadTimeout(f"{url} took longer than {FETCH_TIMEOUT_SECONDS:.0f} s") from error


async def resolve_host(host: str, port: int) -> list[str]:
    """The addresses of a host, each once."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet, also where another is wrapped in it."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in NAT64:
            inner = ipaddress.IPv4Address(found.packed[-4:])
        if inner:
            return is_public(str(inner))
        if found.teredo:
            return False
    return found.is_global and not found.is_multicast


def is_literal_private_host(host: str) -> bool:
    """Whether a host is a literal private address or localhost, so that nobody is misled by it."""
    host = host.rstrip(".").lower()
    address = literal_address(host)
    if address is not None:
        return not is_public(address)
    return host == "localhost" or host.endswith(".localhost")


def is_internal_name(host: str) -> bool:
    """Whether a proxy would find a host inside its own network, as far as its name says.

    These are literal private addresses, names without a dot, and the special-use domains of private
    networks (RFC 6761, RFC 6762, RFC 8375, and ICANN's ``internal``).
    """
    host = host.rstrip(".").lower()
    if literal_address(host) is not None:
        return is_literal_private_host(host)
    return "." not in host or f".{host}".endswith(INTERNAL_DOMAINS)


def literal_address(host: str) -> str | None:
    """Return the IP address that a host is written as, or None if it is a name.

    Resolvers also read IPv4 addresses in the spellings of inet_aton: 127.1, 0x7f.0.0.1, 2130706433.
    """
    host = host.strip("[]")
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    if not re.fullmatch(r"[0-9a-fx.]+", host):
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or DEFAULT_PORTS.get(url.scheme, 0)

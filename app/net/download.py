"""Download URLs with tokens, retries, limits, and redirects through the SSRF guard."""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from typing import NamedTuple

import httpx

from ..exceptions import CommandError
from ..formatting import format_connection_error, truncate
from .compression import GZIP_MAGIC, CompressionError, decompress
from .oauth import ClientCredentials, extract_access_token, request_token
from .ssrf import BlockedAddress, OperatorUrlTransport, UnknownHost, get_origin

TIMEOUT_SECONDS = 60
"""Timeout of a connection attempt, and between two chunks of a response."""

MAX_DOWNLOAD_MB = 1024
"""Size of a response body, decompressed."""

MAX_DOWNLOAD_SECONDS = 3600
"""Maximum duration of one response, however slowly it arrives."""

MAX_ERROR_BYTES = 65_536
"""Decompressed bytes read of an error response, to quote its beginning."""

MAX_ERROR_SECONDS = 10

MAX_TOKEN_BYTES = 1_000_000
"""Size of a token endpoint's response, decompressed."""

MAX_EXCERPT_CHARS = 300

MAX_REDIRECTS = 10

RETRIED_STATUSES = {429, 502, 503, 504}
MAX_ATTEMPTS = 4
FIRST_RETRY_SECONDS = 0.5
"""Delay before the first retry; it doubles with each further one."""

MAX_RETRY_SECONDS = 120
"""Latest start of a retry, counted from the first attempt."""

REQUEST_ERRORS = (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError)
"""Exceptions of a request. httpx raises ``UnicodeError`` for a host such as ``xn--a``."""

CREDENTIALS_ADVICE = (
    "send an access token with --token, or get one with --token-url, --client-id and "
    "--client-secret"
)


class DownloadError(CommandError):
    """Raised when a URL cannot be downloaded.

    ``status`` is the HTTP status of the response, or None if there was none or if it came from
    another origin after a redirect. ``is_transient`` says whether another attempt may succeed;
    ``retry_after`` is the number of seconds that the server asks the client to wait, or None.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        *,
        is_transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.is_transient, self.retry_after = status, is_transient, retry_after


class FetchResult(NamedTuple):
    """A downloaded response: its decompressed body, its headers, and its URL after redirects."""

    body: bytes
    headers: httpx.Headers
    url: str


@dataclass(frozen=True)
class Fetcher:
    """Downloads URLs with retries and size limits, sending an access token if one is configured.

    GET requests are retried with back-off after connection errors and the statuses 429, 502, 503
    and 504, within ``MAX_RETRY_SECONDS``. Before each wait, ``notify`` is called with a sentence
    for the user.
    """

    access_token: str | None = field(default=None, repr=False)
    credentials: ClientCredentials | None = None
    allow_private: bool = False
    """True if host names and redirects may lead to private addresses."""
    notify: Callable[[str], None] = lambda _: None
    _stopped: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    def fetch(self, url: str, operator_url: str | None = None) -> bytes:
        """Download a URL and return the decompressed response body as bytes.

        ``operator_url`` is the URL that the user typed, if ``url`` was found in a response. Raises
        ``DownloadError`` if the status is not 2xx, or if the body is too large or incomplete.
        """
        result = self.fetch_if_modified(url, operator_url=operator_url)
        assert result, "only a conditional request can be answered with 304"
        return result.body

    def fetch_if_modified(
        self,
        url: str,
        etag: str | None = None,
        last_modified: str | None = None,
        operator_url: str | None = None,
    ) -> FetchResult | None:
        """Download a URL, or return None if the server answers 304 because it has not changed.

        ``etag`` and ``last_modified`` are the validators of the previous response.
        ``operator_url`` is the URL that the user typed, if ``url`` was found in a response. The
        token is sent only to its origin, whose host the SSRF guard allows. Raises ``DownloadError``
        if the status is not 2xx or 304, or if the body is too large or incomplete.
        """
        headers = {"Accept-Encoding": "gzip"}
        if etag:
            headers["If-None-Match"] = etag
        if last_modified:
            headers["If-Modified-Since"] = last_modified
        return self._send_with_retries(url, operator_url or url, headers)

    def stop(self) -> None:
        """Cancel the current and all future waits before retries, so that the process can exit."""
        self._stopped.set()

    def _send_with_retries(
        self, url: str, operator_url: str, headers: dict[str, str]
    ) -> FetchResult | None:
        """Send one GET request up to ``MAX_ATTEMPTS`` times, and return what ``_send`` returns.

        Waits before each retry and tells the user by ``notify``. Raises the last ``DownloadError``
        if it is permanent, if the retries would take too long, or after ``stop``.
        """
        # No retry library, because stop() cannot end stamina's waits, so that Ctrl-C would take up
        # to 120 s, and with tenacity this would take 44 lines instead of 25.
        start = time.monotonic()
        for number in range(1, MAX_ATTEMPTS + 1):
            try:
                return self._send(url, operator_url, headers)
            except DownloadError as error:
                if not error.is_transient:
                    raise
                delay = FIRST_RETRY_SECONDS * 2 ** (number - 1) * random.uniform(1, 1.5)  # noqa: S311  jitter needs no secrecy
                if error.retry_after is not None:
                    delay = error.retry_after
                remaining = MAX_RETRY_SECONDS - (time.monotonic() - start)
                if number == MAX_ATTEMPTS or delay > remaining:
                    note = _explain_end_of_retries(error, number, delay)
                    raise DownloadError(f"{error}; {note}", error.status) from error
                attempt = f"attempt {number + 1} of {MAX_ATTEMPTS}"
                self.notify(f"{url}: {error}; retrying in {delay:.1f} s ({attempt})")
                if self._stopped.wait(delay):
                    raise
        raise AssertionError

    def _send(self, url: str, operator_url: str, headers: dict[str, str]) -> FetchResult | None:
        """Send one GET request and return its ``FetchResult``, or None for the status 304.

        ``operator_url`` is the URL that the user typed. Its host is the only one that may have a
        private address, and only its origin receives the access token. Raises ``DownloadError`` for
        other statuses than 2xx and 304, and if the request fails.
        """
        try:
            if self._token and _is_same_or_upgraded_origin(url, operator_url):
                headers = headers | {"Authorization": f"Bearer {self._token}"}
            with (
                self._create_http_client(operator_url) as http,
                _stream_with_redirects(http, url, headers) as response,
            ):
                is_conditional = "If-None-Match" in headers or "If-Modified-Since" in headers
                if response.status_code == httpx.codes.NOT_MODIFIED and is_conditional:
                    return None
                if not response.is_success:
                    raise self._create_status_error(url, response)
                body = _read_body(response)
                return FetchResult(body, response.headers, str(response.url))
        except REQUEST_ERRORS as error:
            message = f"cannot be read: {_describe_error(error)}"
            raise DownloadError(message, is_transient=_is_transient(error)) from error

    @cached_property
    def _token(self) -> str | None:
        """The access token to send, or None if neither a token nor credentials are configured.

        With credentials, the token is requested on first use and then cached. Raises
        ``DownloadError`` if the request fails.
        """
        if not self.credentials:
            return self.access_token
        try:
            with self._create_http_client(self.credentials.token_url) as http:
                return _fetch_token(self.credentials, http)
        except REQUEST_ERRORS as error:
            reason = f"{self.credentials.token_url} cannot be read: {_describe_error(error)}"
            raise DownloadError(f"no token: {reason}") from error

    def _create_http_client(self, operator_url: str) -> httpx.Client:
        """Create an HTTP client that refuses private addresses, to prevent SSRF.

        The exception is the host of ``operator_url``, the URL that the user typed.
        """
        transport = OperatorUrlTransport(operator_url, allow_private=self.allow_private)
        return httpx.Client(transport=transport, timeout=TIMEOUT_SECONDS)

    def _create_status_error(self, url: str, response: httpx.Response) -> DownloadError:
        status = response.status_code
        message = f"answered {status}: {_read_excerpt(response)}"
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            message = f"{message}; {self._explain_token_rejection()}"
        # A 404 of another host, after a redirect, does not mean that ``url`` itself is gone.
        is_own = _is_same_or_upgraded_origin(str(response.url), url)
        return DownloadError(
            message,
            status if is_own else None,
            is_transient=status in RETRIED_STATUSES,
            retry_after=_parse_retry_after(response.headers.get("Retry-After")),
        )

    def _explain_token_rejection(self) -> str:
        if self.credentials:
            client = self.credentials.client_id
            return f"it rejects the token that {client!r} got at --token-url"
        return "it rejects this --token" if self.access_token else CREDENTIALS_ADVICE


def _is_same_or_upgraded_origin(url: str, base_url: str) -> bool:
    """Return whether a URL has the origin of ``base_url``, or that origin upgraded to HTTPS."""
    scheme, host, port = get_origin(base_url)
    secure = [("https", host, 443)] if (scheme, port) == ("http", 80) else []
    return get_origin(url) in [(scheme, host, port), *secure]


@contextmanager
def _stream_with_redirects(
    http: httpx.Client, url: str, headers: dict[str, str]
) -> Iterator[httpx.Response]:
    """Send a GET request, follow redirects, and yield the final response with an unread body.

    The SSRF guard checks each request. Authorization is not sent to another origin, because httpx
    drops it from such a redirect.
    """
    request = http.build_request("GET", url, headers=headers)
    for _ in range(MAX_REDIRECTS + 1):
        response = http.send(request, stream=True)
        try:
            if response.next_request is None:
                yield response
                return
            request = response.next_request
        finally:
            response.close()
    raise httpx.TooManyRedirects(f"it redirects more than {MAX_REDIRECTS} times", request=request)


def _explain_end_of_retries(error: DownloadError, attempts: int, delay: float) -> str:
    """Return a phrase that says why a request is not retried after an error.

    ``attempts`` is the number of requests sent; ``delay`` is the number of seconds that the client
    would wait before another one.
    """
    if error.retry_after is not None and attempts < MAX_ATTEMPTS:
        return (
            f"it asks to wait {delay:,.0f} s, and a URL is retried for {MAX_RETRY_SECONDS} s at "
            "most; run the command again later"
        )
    return f"{attempts} attempts failed" if attempts > 1 else "one attempt took too long"


def _parse_retry_after(value: str | None) -> float | None:
    """Return the number of seconds that a Retry-After header says to wait, or None if invalid.

    The header contains a number of seconds or a date (RFC 9110, section 10.2.3).
    """
    value = (value or "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _is_transient(error: Exception) -> bool:
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnknownHost)):
        return False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (ssl.SSLCertVerificationError, httpx.InvalidURL)):
            return False
        cause = cause.__cause__ or cause.__context__
    return isinstance(error, httpx.TransportError)


def _describe_error(error: Exception) -> str:
    if isinstance(error, BlockedAddress):
        return str(error)
    if isinstance(error, httpx.RemoteProtocolError):
        return f"the response is incomplete or not HTTP ({error})"
    if isinstance(error, httpx.ReadError):
        return f"the connection was lost ({error})"
    if isinstance(error, httpx.ReadTimeout):
        return f"no data arrived for {TIMEOUT_SECONDS} s"
    if isinstance(error, httpx.ConnectTimeout):
        return f"could not connect within {TIMEOUT_SECONDS} s"
    return format_connection_error(error)


def _read_body(response: httpx.Response) -> bytes:
    """Read a response and return its body as bytes, with any compression removed.

    A body that is itself a gzip file is decompressed, whatever Content-Encoding says. Raises
    ``DownloadError`` if the body is damaged, too large or too slow.
    """
    body = b"".join(_iter_body(response, MAX_DOWNLOAD_MB * 2**20, MAX_DOWNLOAD_SECONDS))
    return decompress_gzip(body) if body.startswith(GZIP_MAGIC) else body


def decompress_gzip(data: bytes) -> bytes:
    """Decompress a gzip file, or raise ``DownloadError`` if it is damaged or too large."""
    return b"".join(_iter_decompressed([data], MAX_DOWNLOAD_MB * 2**20))


def _iter_body(response: httpx.Response, max_bytes: int, max_seconds: float) -> Iterator[bytes]:
    """Yield the decompressed chunks of a response body, up to a number of bytes and seconds.

    Raises ``DownloadError`` beyond either limit, for damaged data and for an unknown encoding.
    """
    # Not with httpx's decoders, because they decompress a whole network chunk at once, which can
    # expand a thousandfold.
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    chunks = _enforce_limits(response.iter_raw(), max_bytes, max_seconds)
    if coding in {"gzip", "x-gzip", "deflate"}:
        return _iter_decompressed(chunks, max_bytes)
    if coding not in {"identity", ""}:
        raise DownloadError(
            f"sent the Content-Encoding {coding}, which was not requested; save it as a file"
        )
    return chunks


def _iter_decompressed(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    try:
        yield from _enforce_limits(decompress(chunks), max_bytes)
    except CompressionError as error:
        raise DownloadError(f"is incomplete: {error}; get the file again") from error


def _enforce_limits(
    chunks: Iterable[bytes], max_bytes: int, max_seconds: float | None = None
) -> Iterator[bytes]:
    """Yield the chunks, but raise ``DownloadError`` if their total size or time exceeds a limit."""
    size, start = 0, time.monotonic()
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise DownloadError(f"is larger than {max_bytes / 2**20:,.0f} MB; split it")
        if max_seconds is not None and time.monotonic() - start > max_seconds:
            raise DownloadError(f"did not end within {max_seconds:,.0f} s; save it as a file")
        yield chunk


def _fetch_token(credentials: ClientCredentials, http: httpx.Client) -> str:
    url = credentials.token_url
    post = partial(http.stream, "POST", headers={"Accept-Encoding": "gzip"})
    with request_token(post, credentials) as response:
        if not response.is_success:
            raise DownloadError(
                f"no token: {url} answered {response.status_code}: {_read_excerpt(response)}; "
                "check --token-url, --client-id and --client-secret"
            )
        try:
            body = b"".join(_iter_body(response, MAX_TOKEN_BYTES, TIMEOUT_SECONDS))
        except DownloadError as error:
            raise DownloadError(f"no token: the response of {url} {error}") from error
    token = extract_access_token(body)
    if token is None:
        problem = f"the response of {url} has no access_token"
        raise DownloadError(f"no token: {problem}; check --token-url")
    return token


def _read_excerpt(response: httpx.Response) -> str:
    """Return the beginning of an error response as one line, to quote it in an error message."""
    body = b""
    try:
        for chunk in _iter_body(response, MAX_ERROR_BYTES, MAX_ERROR_SECONDS):
            body += chunk
    except (DownloadError, httpx.HTTPError):
        pass  # the bytes that arrived before are enough for an excerpt
    text = " ".join(body.decode(errors="replace").split()) or response.reason_phrase
    return truncate(text, MAX_EXCERPT_CHARS)

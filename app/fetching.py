"""Reading a URL: with a token or client credentials, within limits, and why it failed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import httpx

from .errors import StartupError
from .typed import TypedTransport

TIMEOUT = 60
"""Seconds that a server may stay silent."""

LARGEST_MB = 1024
"""How much is read of a URL, decompressed."""

QUOTED = 300
"""How many characters of another server's answer are told."""

GZIP = b"\x1f\x8b"
ADVICE = (
    "send an access token with --token, or get one with --token-url, --client-id and "
    "--client-secret"
)


@dataclass(frozen=True)
class Credentials:
    """A client of another server's token endpoint (OAuth 2.0, RFC 6749, section 4.4)."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)


class Fetched(NamedTuple):
    """What a URL answered, and what it said to ask with next time."""

    body: bytes
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True)
class Fetcher:
    """Reads URLs, with one token for all of them when there is one."""

    access_token: str | None = field(default=None, repr=False)
    credentials: Credentials | None = None
    allow_private: bool = False
    """Whether names, and redirects, may lead to private addresses."""

    def fetch(self, url: str) -> bytes:
        """What a URL answers, decompressed.

        Raises ``StartupError`` when it answers anything but success, too much, or nothing.
        """
        found = self.fetch_newer(url, None, None)
        assert found, "only with validators can nothing be new"
        return found.body

    def fetch_newer(self, url: str, etag: str | None, last_modified: str | None) -> Fetched | None:
        """What a URL answers; None when that is what these validators were given for.

        Raises ``StartupError`` as ``fetch`` does.
        """
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if etag:
            headers["If-None-Match"] = etag
        if last_modified:
            headers["If-Modified-Since"] = last_modified
        try:
            # A redirect to another origin is followed without the token.
            with (
                self._client(url) as http,
                http.stream("GET", url, headers=headers, follow_redirects=True) as answer,
            ):
                if answer.status_code == httpx.codes.NOT_MODIFIED and (etag or last_modified):
                    return None
                if not answer.is_success:
                    answer.read()
                    raise StartupError(self._refusal(answer))
                said = answer.headers
                return Fetched(_read(answer), said.get("ETag"), said.get("Last-Modified"))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise StartupError(f"cannot be read: {error}") from error

    @cached_property
    def _token(self) -> str | None:
        """The token that was given, or one that is got once."""
        if not self.credentials:
            return self.access_token
        try:
            with self._client(self.credentials.token_url) as http:
                return _token_of(self.credentials, http)
        except httpx.InvalidURL as error:
            raise StartupError(_no_token(self.credentials.token_url, error)) from error

    def _client(self, url: str) -> httpx.Client:
        """A client for one URL that was typed. Raises ``httpx.InvalidURL``."""
        transport = TypedTransport([url], allow_private=self.allow_private)
        return httpx.Client(transport=transport, timeout=TIMEOUT)

    def _refusal(self, answer: httpx.Response) -> str:
        said = f"answered {answer.status_code}: {_quoted(answer)}"
        if answer.status_code not in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return said
        if self.credentials:
            client = self.credentials.client_id
            return f"{said}; it does not take the token that {client!r} got at --token-url"
        return f"{said}; {'it does not take this --token' if self.access_token else ADVICE}"


def _read(answer: httpx.Response) -> bytes:
    limit = LARGEST_MB * 2**20
    parts, size = [], 0
    for part in answer.iter_bytes():
        size += len(part)
        if size > limit:
            raise StartupError(f"is larger than {LARGEST_MB} MB")
        parts.append(part)
    body = b"".join(parts)
    return _decompressed(body, limit) if body.startswith(GZIP) else body


def _decompressed(body: bytes, limit: int) -> bytes:
    """A file that is gzip itself, beside what the transfer compressed."""
    stream = zlib.decompressobj(wbits=31)
    try:
        whole = stream.decompress(body, limit)
    except zlib.error as error:
        raise StartupError(f"is not whole: {error}") from error
    if stream.unconsumed_tail:
        raise StartupError(f"is larger than {LARGEST_MB} MB")
    if not stream.eof:
        raise StartupError("is not whole: it ends before its compressed data does")
    return whole


def _no_token(url: str, error: Exception) -> str:
    return f"no token: {url} cannot be read: {error}"


def _token_of(credentials: Credentials, http: httpx.Client) -> str:
    """An access token for a client, which is authenticated with HTTP Basic."""
    url = credentials.token_url
    pair = (credentials.client_id, credentials.client_secret)
    form = {"grant_type": "client_credentials"}
    try:
        answer = http.post(url, data=form, auth=pair)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StartupError(_no_token(url, error)) from error
    if not answer.is_success:
        raise StartupError(
            f"no token: {url} answered {answer.status_code}: {_quoted(answer)}; "
            "look at --token-url, --client-id and --client-secret"
        )
    try:
        token = answer.json()["access_token"]
    except (ValueError, KeyError, TypeError):
        token = None
    if not isinstance(token, str) or not token:
        raise StartupError(f"no token: the answer of {url} has no access_token")
    return token


def _quoted(answer: httpx.Response) -> str:
    """The beginning of an answer, on one line."""
    said = " ".join(answer.text.split())
    return said if len(said) <= QUOTED else f"{said[: QUOTED - 1]}…"

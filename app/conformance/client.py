"""HTTP client for the server under test, and assertions on its responses."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx

from ..formatting import escape_control_characters, truncate
from ..net.oauth import ClientCredentials, request_token
from .profiles import ProfileSpec, get_identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .existing_data import ExistingEntities
    from .test_data import TestDataWriter

Body = dict[str, Any]

TIMEOUT_SECONDS = 60
MAX_ATTEMPTS = 3
MAX_RETRY_AFTER_SECONDS = 30
MAX_EXCERPT_CHARS = 160
ACCESS_TOKEN_PATTERN = re.compile(r'("access_token"\s*:\s*")[^"]*')
"""An access token in a JSON response; reports must not contain it."""
DEFAULT_TOKEN = ""
"""Placeholder for the access token that the client was configured with."""


class CheckFailed(Exception):
    """Raised when the server does not behave as documented; the message says what it did."""


class CheckSkipped(Exception):
    """Raised when the server lacks data or a feature that a check needs; the message says which."""


class ListPage(NamedTuple):
    """A page of a list response: its entities, the whole JSON body and the HTTP response."""

    entities: list[Body]
    body: Body
    response: httpx.Response


@dataclass(frozen=True)
class ClientAuth:
    """An access token or the credentials to request one; with neither, requests are anonymous."""

    token: str | None = None
    credentials: ClientCredentials | None = None
    scope: str | None = None


class ServerUnderTest:
    """HTTP client for the server under test, at the base URL of one of its API profiles."""

    existing: ExistingEntities
    test_data: TestDataWriter

    def __init__(
        self, base_url: str, profile: ProfileSpec, auth: ClientAuth, on_wait: Callable[[str], None]
    ) -> None:
        self.base_url, self.profile, self.auth = base_url, profile, auth
        self._on_wait = on_wait
        self._http = httpx.Client(timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        """Close all connections to the server."""
        self._http.close()

    @cached_property
    def token(self) -> str | None:
        """Return the configured access token, or request one from the token endpoint on first use.

        Raises ``CheckFailed`` if the token endpoint issues none.
        """
        if not self.auth.credentials:
            return self.auth.token
        response = self.request_token(self.auth.scope)
        token = read_json(response).get("access_token")
        if not isinstance(token, str) or not token:
            raise CheckFailed(f"no access_token in the response: {describe_response(response)}")
        return token

    @property
    def credentials(self) -> ClientCredentials:
        """Return the client ID and secret; raise ``CheckSkipped`` if there are none."""
        if self.auth.credentials is None:
            raise CheckSkipped("needs --client-id and --client-secret")
        return self.auth.credentials

    def request_token(
        self, scope: str | None = None, client_secret: str | None = None
    ) -> httpx.Response:
        """Request an access token with client credentials in HTTP Basic auth; return the response.

        ``client_secret`` overrides the configured secret.
        """
        credentials = self.credentials
        if client_secret:
            credentials = replace(credentials, client_secret=client_secret)
        return request_token(partial(self._request_with_retry, "POST"), credentials, scope)

    def post_form(self, url: str, form: Mapping[str, str]) -> httpx.Response:
        """POST a form to an absolute URL, without an access token."""
        return self._request_with_retry("POST", url, data=dict(form))

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = DEFAULT_TOKEN,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request to a path below the base URL, or to a URL, and return the response.

        The URL must be on the host of the server under test, because that host receives the token.

        ``token`` defaults to the configured access token; None sends no token. After 429 or 503
        with a ``Retry-After`` of at most 30 seconds, the client retries up to twice. It follows
        redirects of GET and HEAD. Raises ``CheckFailed`` if the token endpoint issues no token,
        and ``httpx.HTTPError`` if the server cannot be reached.
        """
        sent = {"Accept": "application/json", **(headers or {})}
        bearer = self.token if token == DEFAULT_TOKEN else token
        if bearer:
            sent["Authorization"] = f"Bearer {bearer}"
        content = {} if body is None else {"json": body}
        url = f"{self.base_url}{path}" if path.startswith("/") else path
        return self._request_with_retry(method, url, headers=sent, **content)

    def get(self, path: str, **params: Any) -> httpx.Response:
        """GET a path below the base URL with query parameters ``params``; return the response."""
        return self.request("GET", f"{path}?{urlencode(params)}" if params else path)

    def get_page(self, collection: str, **params: Any) -> ListPage:
        """Return one page of a collection such as ``CFDocuments``, with its entities and response.

        ``params`` are query parameters. Raises ``CheckFailed`` unless the response contains a list
        of JSON objects under the name of the collection.
        """
        response = self.get(f"/{collection}", **params)
        body = read_json(response)
        entities = body.get(collection)
        if not isinstance(entities, list) or not all(isinstance(node, dict) for node in entities):
            raise CheckFailed(
                f"no list of objects under {collection}: {describe_response(response)}"
            )
        return ListPage(entities, body, response)

    def get_entity(self, collection: str, identifier: str, **params: Any) -> Body:
        """Return the JSON object of one entity of a collection such as ``CFItems``.

        Some profiles wrap the entity in an object such as ``{"CFItem": …}``; the wrapper is
        removed. Raises ``CheckFailed`` unless the response is an object.
        """
        body = read_json(self.get(build_entity_path(collection, identifier), **params))
        return _unwrap(body, collection.removesuffix("s"))

    def get_package(self, path: str) -> Body:
        """Return the package at a URL path below the base URL, without a ``CFPackage`` wrapper."""
        return _unwrap(read_json(self.get(path)), "CFPackage")

    def _request_with_retry(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request; while the server is busy, wait for ``Retry-After`` and send it again."""
        # By hand, because tenacity takes 26 lines instead of 14 to return the last response.
        # A redirected write would be sent again as GET (302), and seem to succeed.
        options["follow_redirects"] = method in {"GET", "HEAD"}
        for _ in range(MAX_ATTEMPTS - 1):
            response = self._http.request(method, url, **options)
            delay = response.headers.get("Retry-After", "")
            is_busy = response.status_code in {429, 503}
            if not is_busy or not delay.isdigit() or int(delay) > MAX_RETRY_AFTER_SECONDS:
                return response
            request, status = describe_request(response.request), response.status_code
            self._on_wait(f"waiting {delay} s: {request} returned {status} with Retry-After")
            time.sleep(int(delay))
        return self._http.request(method, url, **options)


def _unwrap(body: Body, name: str) -> Body:
    inner = body.get(name, body)
    if not isinstance(inner, dict):
        raise CheckFailed(f"{name} is not an object: {format_excerpt(inner)}")
    return inner


def get_total_count(page: ListPage) -> int | None:
    """Return the total number of entities in a list, as stated by one page, or None.

    Servers state it in the body (``total`` or ``totalCount``) or in ``X-Total-Count``.
    """
    for value in (
        page.body.get("total"),
        page.body.get("totalCount"),
        page.response.headers.get("X-Total-Count"),
    ):
        if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
            return int(value)
    return None


def build_entity_path(collection: str, identifier: str) -> str:
    """Return the path of an entity below the base URL, such as ``/CFItems/{identifier}``."""
    return f"/{collection}/{quote(identifier, safe='')}"


def read_json(response: httpx.Response, *statuses: int) -> Body:
    """Return the JSON object in a response with one of the expected statuses, by default 200.

    Raises ``CheckFailed`` if the status is unexpected or the body is not a JSON object.
    """
    expect_status(response, *(statuses or (200,)))
    try:
        body = response.json()
    except ValueError:
        raise CheckFailed(f"not JSON: {describe_response(response)}") from None
    if not isinstance(body, dict):
        raise CheckFailed(f"not a JSON object: {describe_response(response)}")
    return body


def expect_status(response: httpx.Response, *statuses: int) -> None:
    """Raise ``CheckFailed`` unless a response has one of the expected statuses."""
    if response.status_code not in statuses:
        expected = " or ".join(str(status) for status in statuses)
        raise CheckFailed(
            f"{describe_request(response.request)} {describe_response(response)}, not {expected}"
        )


def expect(condition: object, observed: str) -> None:
    """Raise ``CheckFailed`` unless a condition holds; ``observed`` says what the server did."""
    if not condition:
        raise CheckFailed(observed)


def describe_request(request: httpx.Request) -> str:
    """Return the method and path of a request, such as ``GET /CFItems``."""
    return f"{request.method} {request.url.path}"


def describe_response(response: httpx.Response) -> str:
    """Describe a response in one line, for a report: its status and how its body begins.

    Access tokens are removed.
    """
    body = format_excerpt(ACCESS_TOKEN_PATTERN.sub(r"\1…", " ".join(response.text.split())))
    return f"returned {response.status_code}{f': {body}' if body else ''}"


def format_excerpt(value: object) -> str:
    """Format the first 160 characters of a value for a report, with control characters escaped."""
    text = value if isinstance(value, str) else repr(value)
    return truncate(escape_control_characters(text), MAX_EXCERPT_CHARS)


def get_identifiers(entities: list[Body]) -> list[str]:
    """Return the identifier of each entity, in the same order."""
    return [get_identifier(entity) for entity in entities]

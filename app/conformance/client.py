"""HTTP client for the server under test, at the base URL of one of its API profiles."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx

from ..net.oauth import ClientCredentials, request_token
from .profiles import ProfileSpec
from .responses import (
    Body,
    CheckFailed,
    CheckSkipped,
    describe_request,
    describe_response,
    format_excerpt,
    read_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .existing_data import ExistingEntities
    from .test_data import TestDataWriter

TIMEOUT_SECONDS = 60
MAX_ATTEMPTS = 3
MAX_RETRY_AFTER_SECONDS = 30
DEFAULT_TOKEN = ""
"""Placeholder for the access token that the client was configured with."""


class ListResponse(NamedTuple):
    """A page of a list response: its entities, the whole JSON body and the HTTP response."""

    entities: list[Body]
    body: Body
    response: httpx.Response

    @property
    def total(self) -> int | None:
        """Return the total number of entities in the list, or None if it is not stated.

        Servers state it in the body (``total`` or ``totalCount``) or in ``X-Total-Count``.
        """
        totals = (self.body.get("total"), self.body.get("totalCount"))
        for value in (*totals, self.response.headers.get("X-Total-Count")):
            if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
                return int(value)
        return None


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
        """Return the access token, or None for anonymous requests.

        With client credentials, requests the token on first use; raises ``CheckFailed`` if the
        token endpoint issues none.
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

        ``scope`` contains scope URLs, separated by spaces; without it, the endpoint decides.
        ``client_secret`` overrides the configured secret.
        """
        credentials = self.credentials
        if client_secret:
            credentials = replace(credentials, client_secret=client_secret)
        return request_token(partial(self._request_with_retry, "POST"), credentials, scope)

    def post_form(self, url: str, form: Mapping[str, str]) -> httpx.Response:
        """POST a form to an absolute URL, without an access token, and return the response."""
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
        request_headers = {"Accept": "application/json", **(headers or {})}
        bearer = self.token if token == DEFAULT_TOKEN else token
        if bearer:
            request_headers["Authorization"] = f"Bearer {bearer}"
        content = {} if body is None else {"json": body}
        url = f"{self.base_url}{path}" if path.startswith("/") else path
        return self._request_with_retry(method, url, headers=request_headers, **content)

    def get(self, path: str, **params: Any) -> httpx.Response:
        """GET a path below the base URL with query parameters ``params``; return the response."""
        return self.request("GET", f"{path}?{urlencode(params)}" if params else path)

    def get_page(self, collection: str, **params: Any) -> ListResponse:
        """Return the first page of a collection such as ``CFDocuments`` as a ``ListResponse``.

        ``params`` are query parameters, which may select another page. Raises ``CheckFailed``
        unless the response contains a list of JSON objects under the name of the collection.
        """
        response = self.get(f"/{collection}", **params)
        body = read_json(response)
        entities = body.get(collection)
        if not isinstance(entities, list) or not all(isinstance(node, dict) for node in entities):
            observed = describe_response(response)
            raise CheckFailed(f"no list of objects under {collection}: {observed}")
        return ListResponse(entities, body, response)

    def get_entity(self, collection: str, identifier: str, **params: Any) -> Body:
        """Return the JSON object of one entity of a collection such as ``CFItems``.

        Some profiles wrap the entity in an object such as ``{"CFItem": …}``; the wrapper is
        removed. Raises ``CheckFailed`` unless the response is an object.
        """
        body = read_json(self.get(build_entity_path(collection, identifier), **params))
        return _unwrap(body, collection.removesuffix("s"))

    def get_package(self, path: str) -> Body:
        """Return the package at a URL path below the base URL, as a dict.

        A ``CFPackage`` wrapper is removed. Raises ``CheckFailed`` unless the status is 200 and the
        body is a JSON object.
        """
        return _unwrap(read_json(self.get(path)), "CFPackage")

    def _request_with_retry(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request and return the response; after 429 or 503, wait as ``Retry-After`` says.

        Sends the request at most three times, and returns the third response whatever its status.
        Without ``Retry-After``, or if it is more than 30 seconds, returns the response at once.
        """
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


def build_entity_path(collection: str, identifier: str) -> str:
    """Return the path of an entity below the base URL, such as ``/CFItems/{identifier}``."""
    return f"/{collection}/{quote(identifier, safe='')}"

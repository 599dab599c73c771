"""The server that is looked at: requests to it, its tokens, and what its answers hold."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx

from ..formatting import truncate
from ..net.oauth import Credentials, request_token
from .profiles import ProfileSpec, identifier_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .existing_data import ExistingData
    from .test_data import TestData

Body = dict[str, Any]

TIMEOUT_SECONDS = 60
"""Seconds that the server may stay silent."""
ACCESS_TOKEN_PATTERN = re.compile(r'("access_token"\s*:\s*")[^"]*')
"""What of a response is never told."""
DEFAULT_TOKEN = ""
"""In place of a token: that of the server."""
MAX_ATTEMPTS = 3
MAX_RETRY_AFTER_SECONDS = 30
MAX_EXCERPT_CHARS = 160
"""How many characters of a response are told."""


class CheckFailed(Exception):
    """The behaviour does not hold; the message says what was seen."""


class Skip(Exception):
    """There is nothing to see it with; the message says why."""


class Page(NamedTuple):
    """A page of a list."""

    entities: list[Body]
    body: Body
    response: httpx.Response


@dataclass(frozen=True)
class ClientAuth:
    """How the server is entered: a token, or the client that gets tokens; or without any."""

    token: str | None = None
    credentials: Credentials | None = None
    scope: str | None = None


class ServerUnderTest:
    """One CASE server at one base URL."""

    existing: ExistingData
    test_data: TestData

    def __init__(
        self,
        base_url: str,
        profile: ProfileSpec,
        access: ClientAuth,
        on_wait: Callable[[str], None],
    ) -> None:
        self.base_url, self.profile, self.access = base_url, profile, access
        self._on_wait = on_wait
        self._http = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    @cached_property
    def token(self) -> str | None:
        """The token that requests carry; got once.

        Raises ``Differs`` when the token endpoint gives none.
        """
        if not self.access.credentials:
            return self.access.token
        response = self.request_token(self.access.scope)
        given = read_json(response).get("access_token")
        if not isinstance(given, str) or not given:
            raise CheckFailed(f"no access_token, though it {describe(response)}")
        return given

    @property
    def credentials(self) -> Credentials:
        """The client that gets tokens; without one there is nothing to see."""
        if self.access.credentials is None:
            raise Skip("needs --client-id and --client-secret")
        return self.access.credentials

    def request_token(self, scope: str | None = None, secret: str | None = None) -> httpx.Response:
        """What the token endpoint answers to client credentials, sent with HTTP Basic."""
        credentials = self.credentials
        if secret:
            credentials = replace(credentials, client_secret=secret)
        return request_token(partial(self._request_with_retry, "POST"), credentials, scope)

    def post_form(self, url: str, form: Mapping[str, str]) -> httpx.Response:
        """What a URL answers to a form."""
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
        """What the server answers; with its own token unless another, or None, is given."""
        return self._sent(method, f"{self.base_url}{path}", body, token, headers)

    def get_url(self, url: str) -> httpx.Response:
        """What the server's host answers elsewhere."""
        return self._sent("GET", url, None, DEFAULT_TOKEN, None)

    def _sent(
        self,
        method: str,
        url: str,
        body: Any,
        token: str | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Response:
        sent = {"Accept": "application/json", **(headers or {})}
        bearer = self.token if token == DEFAULT_TOKEN else token
        if bearer:
            sent["Authorization"] = f"Bearer {bearer}"
        given = {} if body is None else {"json": body}
        return self._request_with_retry(method, url, headers=sent, **given)

    def get(self, path: str, **params: Any) -> httpx.Response:
        """What the server answers to a GET."""
        asked = f"{path}?{urlencode(params)}" if params else path
        return self.request("GET", asked)

    def get_page(self, plural: str, **params: Any) -> Page:
        """A page of a list; ``Differs`` when it is none."""
        response = self.get(f"/{plural}", **params)
        body = read_json(response)
        entities = body.get(plural)
        if not isinstance(entities, list) or not all(isinstance(one, dict) for one in entities):
            raise CheckFailed(f"no list of objects under {plural}; it {describe(response)}")
        return Page(entities, body, response)

    def get_entity(self, plural: str, identifier: str, **params: Any) -> Body:
        """One entity, out of a wrapper if it has one; ``Differs`` when it is not answered."""
        body = read_json(self.get(entity_path(plural, identifier), **params))
        inner = body.get(plural.removesuffix("s"), body)
        if not isinstance(inner, dict):
            raise CheckFailed(f"{plural.removesuffix('s')} is no object: {excerpt(inner)}")
        return inner

    def total(self, page: Page) -> int | None:
        """How many entities a list has in all, where the server says it."""
        for told in (
            page.body.get("total"),
            page.body.get("totalCount"),
            page.response.headers.get("X-Total-Count"),
        ):
            if isinstance(told, int) or (isinstance(told, str) and told.isdigit()):
                return int(told)
        return None

    def _request_with_retry(self, method: str, url: str, **given: Any) -> httpx.Response:
        """Return a response; retry, and say so, while the server is busy and says for how long."""
        for _ in range(MAX_ATTEMPTS - 1):
            response = self._http.request(method, url, **given)
            wait = response.headers.get("Retry-After", "")
            busy = response.status_code in {429, 503}
            if not busy or not wait.isdigit() or int(wait) > MAX_RETRY_AFTER_SECONDS:
                return response
            self._on_wait(
                f"waiting {wait} s: {request_line(response)} answered {response.status_code} "
                "with Retry-After"
            )
            time.sleep(int(wait))
        return self._http.request(method, url, **given)


def entity_path(plural: str, identifier: str) -> str:
    """Where an entity is, below the base URL."""
    return f"/{plural}/{quote(identifier, safe='')}"


def read_json(response: httpx.Response, *statuses: int) -> Body:
    """The JSON object of a response of one of these statuses, 200 unless said; else ``Differs``."""
    expect_status(response, *(statuses or (200,)))
    try:
        body = response.json()
    except ValueError:
        raise CheckFailed(f"no JSON; it {describe(response)}") from None
    if not isinstance(body, dict):
        raise CheckFailed(f"no JSON object; it {describe(response)}")
    return body


def expect_status(response: httpx.Response, *statuses: int) -> None:
    """Raises ``Differs`` when a response has none of these statuses."""
    if response.status_code not in statuses:
        wanted = " or ".join(str(one) for one in statuses)
        raise CheckFailed(f"{request_line(response)} {describe(response)}, not {wanted}")


def expect(holds: object, told: str) -> None:
    """Raises ``Differs`` with what was seen unless something holds."""
    if not holds:
        raise CheckFailed(told)


def request_line(response: httpx.Response) -> str:
    """The request that was answered: its method and the path, without the query's values."""
    return f"{response.request.method} {response.request.url.path}"


def describe(response: httpx.Response) -> str:
    """The status and the beginning of a response, on one line."""
    text = excerpt(ACCESS_TOKEN_PATTERN.sub(r"\1…", " ".join(response.text.split())))
    return f"answered {response.status_code}{f': {text}' if text else ''}"


def excerpt(value: object) -> str:
    """The beginning of something that a server said, without what moves a terminal's cursor."""
    text = value if isinstance(value, str) else repr(value)
    told = "".join(one if one.isprintable() else " " for one in text)
    return truncate(told, MAX_EXCERPT_CHARS)


def identifiers_of(entities: list[Body]) -> list[str]:
    """The identifiers of some entities, in their order."""
    return [identifier_of(one) for one in entities]

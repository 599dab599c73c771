"""The server that is looked at: requests to it, its tokens, and what its answers hold."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx

from .profiles import Contract, identifier_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..net.download import Credentials
    from .existing_data import Samples
    from .test_data import Workshop

Body = dict[str, Any]

TIMEOUT = 60
"""Seconds that the target may stay silent."""
TOKEN = re.compile(r'("access_token"\s*:\s*")[^"]*')
"""What of an answer is never told."""
OWN = ""
"""In place of a token: that of the target."""
TRIES = 3
LONGEST_WAIT = 30
QUOTED = 160
"""How many characters of an answer are told."""


class Differs(Exception):
    """The behaviour does not hold; the message says what was seen."""


class Skip(Exception):
    """There is nothing to see it with; the message says why."""


class Page(NamedTuple):
    """A page of a list."""

    entities: list[Body]
    body: Body
    answer: httpx.Response


@dataclass(frozen=True)
class Access:
    """How the target is entered: a token, or the client that gets tokens; or without any."""

    token: str | None = None
    credentials: Credentials | None = None
    scope: str | None = None


class ServerUnderTest:
    """One CASE server at one base URL."""

    samples: Samples
    workshop: Workshop

    def __init__(
        self, base_url: str, contract: Contract, access: Access, on_wait: Callable[[str], None]
    ) -> None:
        self.base_url, self.contract, self.access = base_url, contract, access
        self._on_wait = on_wait
        self._http = httpx.Client(timeout=TIMEOUT, follow_redirects=False)

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
        answer = self.ask_for_token(self.access.scope)
        given = json_of(answer).get("access_token")
        if not isinstance(given, str) or not given:
            raise Differs(f"no access_token, though it {seen(answer)}")
        return given

    @property
    def credentials(self) -> Credentials:
        """The client that gets tokens; without one there is nothing to see."""
        if self.access.credentials is None:
            raise Skip("needs --client-id and --client-secret")
        return self.access.credentials

    def ask_for_token(self, scope: str | None = None, secret: str | None = None) -> httpx.Response:
        """What the token endpoint answers to client credentials, sent with HTTP Basic."""
        client = self.credentials
        form = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
        pair = (client.client_id, secret or client.client_secret)
        return self._patiently("POST", client.token_url, data=form, auth=pair)

    def post_form(self, url: str, form: Mapping[str, str]) -> httpx.Response:
        """What a URL answers to a form."""
        return self._patiently("POST", url, data=dict(form))

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = OWN,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """What the target answers; with its own token unless another, or None, is given."""
        return self._sent(method, f"{self.base_url}{path}", body, token, headers)

    def get_url(self, url: str) -> httpx.Response:
        """What the target's host answers elsewhere."""
        return self._sent("GET", url, None, OWN, None)

    def _sent(
        self,
        method: str,
        url: str,
        body: Any,
        token: str | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Response:
        sent = {"Accept": "application/json", **(headers or {})}
        bearer = self.token if token == OWN else token
        if bearer:
            sent["Authorization"] = f"Bearer {bearer}"
        given = {} if body is None else {"json": body}
        return self._patiently(method, url, headers=sent, **given)

    def get(self, path: str, **params: Any) -> httpx.Response:
        """What the target answers to a GET."""
        asked = f"{path}?{urlencode(params)}" if params else path
        return self.send("GET", asked)

    def page(self, plural: str, **params: Any) -> Page:
        """A page of a list; ``Differs`` when it is none."""
        answer = self.get(f"/{plural}", **params)
        body = json_of(answer)
        entities = body.get(plural)
        if not isinstance(entities, list) or not all(isinstance(one, dict) for one in entities):
            raise Differs(f"no list of objects under {plural}; it {seen(answer)}")
        return Page(entities, body, answer)

    def one(self, plural: str, identifier: str, **params: Any) -> Body:
        """One entity, out of a wrapper if it has one; ``Differs`` when it is not answered."""
        body = json_of(self.get(path_of(plural, identifier), **params))
        inner = body.get(plural.removesuffix("s"), body)
        if not isinstance(inner, dict):
            raise Differs(f"{plural.removesuffix('s')} is no object: {shortened(inner)}")
        return inner

    def total(self, page: Page) -> int | None:
        """How many entities a list has in all, where the target says it."""
        for told in (
            page.body.get("total"),
            page.body.get("totalCount"),
            page.answer.headers.get("X-Total-Count"),
        ):
            if isinstance(told, int) or (isinstance(told, str) and told.isdigit()):
                return int(told)
        return None

    def _patiently(self, method: str, url: str, **given: Any) -> httpx.Response:
        """Return an answer; retry, and say so, while the server is busy and says for how long."""
        for _ in range(TRIES - 1):
            answer = self._http.request(method, url, **given)
            wait = answer.headers.get("Retry-After", "")
            busy = answer.status_code in {429, 503}
            if not busy or not wait.isdigit() or int(wait) > LONGEST_WAIT:
                return answer
            self._on_wait(
                f"waiting {wait} s: {asked(answer)} answered {answer.status_code} with Retry-After"
            )
            time.sleep(int(wait))
        return self._http.request(method, url, **given)


def path_of(plural: str, identifier: str) -> str:
    """Where an entity is, below the base URL."""
    return f"/{plural}/{quote(identifier, safe='')}"


def json_of(answer: httpx.Response, *statuses: int) -> Body:
    """The JSON object of an answer of one of these statuses, 200 unless said; else ``Differs``."""
    expect_status(answer, *(statuses or (200,)))
    try:
        body = answer.json()
    except ValueError:
        raise Differs(f"no JSON; it {seen(answer)}") from None
    if not isinstance(body, dict):
        raise Differs(f"no JSON object; it {seen(answer)}")
    return body


def expect_status(answer: httpx.Response, *statuses: int) -> None:
    """Raises ``Differs`` when an answer has none of these statuses."""
    if answer.status_code not in statuses:
        wanted = " or ".join(str(one) for one in statuses)
        raise Differs(f"{asked(answer)} {seen(answer)}, not {wanted}")


def expect(holds: object, told: str) -> None:
    """Raises ``Differs`` with what was seen unless something holds."""
    if not holds:
        raise Differs(told)


def asked(answer: httpx.Response) -> str:
    """The request that was answered: its method and the path, without the query's values."""
    return f"{answer.request.method} {answer.request.url.path}"


def seen(answer: httpx.Response) -> str:
    """The status and the beginning of an answer, on one line."""
    text = shortened(TOKEN.sub(r"\1…", " ".join(answer.text.split())))
    return f"answered {answer.status_code}{f': {text}' if text else ''}"


def shortened(value: object) -> str:
    """The beginning of something that a target said, without what moves a terminal's cursor."""
    text = value if isinstance(value, str) else repr(value)
    told = "".join(one if one.isprintable() else " " for one in text)
    return told if len(told) <= QUOTED else f"{told[: QUOTED - 1]}…"


def ids(entities: list[Body]) -> list[str]:
    """The identifiers of some entities, in their order."""
    return [identifier_of(one) for one in entities]

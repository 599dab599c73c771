"""Request access tokens with the client credentials grant (OAuth 2.0, RFC 6749, section 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import orjson

Response = TypeVar("Response")


@dataclass(frozen=True)
class Credentials:
    """The token endpoint of another server, with a client ID and secret for it."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)


def request_token(
    post: Callable[..., Response], credentials: Credentials, scope: str | None = None
) -> Response:
    """Return the response of a token endpoint; the client authenticates with HTTP Basic.

    ``post`` sends a form and takes ``httpx.post``'s arguments ``url``, ``data`` and ``auth``.
    Without ``scope``, the endpoint decides what the token allows.
    """
    form = {"grant_type": "client_credentials"}
    if scope:
        form["scope"] = scope
    pair = (credentials.client_id, credentials.client_secret)
    return post(credentials.token_url, data=form, auth=pair)


def parse_access_token(body: bytes) -> str | None:
    """Return the access token in the body of a successful response, or None if it has none."""
    try:
        token = orjson.loads(body)["access_token"]
    except (ValueError, KeyError, TypeError):
        return None
    return token if isinstance(token, str) and token else None

"""Request access tokens with the client credentials grant (OAuth 2.0, RFC 6749, 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import orjson

Response = TypeVar("Response")


@dataclass(frozen=True)
class ClientCredentials:
    """The ID and secret of an OAuth client, and the token endpoint that accepts them."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)


def request_token(
    post: Callable[..., Response], credentials: ClientCredentials, scope: str | None = None
) -> Response:
    """Request an access token with the client credentials grant, and return the response.

    ``post`` sends the request. It takes the arguments ``url``, ``data`` and ``auth`` of
    ``httpx.post``, and its result is returned, whatever the status is. The client authenticates
    with HTTP Basic. Without ``scope``, the endpoint decides what the token allows.
    """
    form = {"grant_type": "client_credentials"}
    if scope:
        form["scope"] = scope
    pair = (credentials.client_id, credentials.client_secret)
    return post(credentials.token_url, data=form, auth=pair)


def extract_access_token(body: bytes) -> str | None:
    """Return the access token from the JSON of a token endpoint's response, or None."""
    try:
        token = orjson.loads(body)["access_token"]
    except (ValueError, KeyError, TypeError):
        return None
    return token if isinstance(token, str) and token else None

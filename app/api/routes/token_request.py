"""A request for a token, read: from a form or a JSON object, with or without HTTP Basic."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import orjson
from fastapi import Request

from ..request_body import iter_body

MAX_BODY = 64 * 1024
_CREDENTIALS = ("client_id", "client_secret")
_FIELDS = ("grant_type", "scope", *_CREDENTIALS)


class OAuthError(Exception):
    """A request for a token that is refused, with the error code that RFC 6749 has for it."""

    def __init__(
        self,
        error: str,
        description: str,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True)
class TokenRequest:
    """Who asks for a token, as every reading of what was sent, and for which scopes."""

    credentials: list[tuple[str, str]]
    scope: str


async def parse_token_request(request: Request) -> TokenRequest:
    """What this request asks for; raises ``OAuthError`` if that is not a grant we have."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await _body(request)
    if kind == "application/json":
        # Clients that send JSON, which OAuth does not know, tend to leave out the grant as well.
        fields = {"grant_type": "client_credentials", **_fields(_json_pairs(body))}
    elif kind in {"application/x-www-form-urlencoded", ""}:
        fields = _fields(_form_pairs(body))
    else:
        raise OAuthError(
            "invalid_request",
            "The body must be application/x-www-form-urlencoded or application/json.",
        )
    _check_grant_type(fields.get("grant_type"))
    basic = _basic(request.headers.get("authorization"))
    return TokenRequest(_credentials(basic, fields), fields.get("scope", ""))


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in iter_body(request):
        body += chunk
        if len(body) > MAX_BODY:
            raise OAuthError("invalid_request", f"The body is larger than {MAX_BODY} bytes.", 413)
    return body


def _json_pairs(body: bytes) -> list[tuple[str, Any]]:
    try:
        content = orjson.loads(body)
    except ValueError as error:
        raise OAuthError("invalid_request", "The body is not JSON.") from error
    if not isinstance(content, dict):
        raise OAuthError("invalid_request", "The body is not a JSON object.")
    return list(content.items())


def _form_pairs(body: bytes) -> list[tuple[str, Any]]:
    try:
        return list(parse_qsl(body.decode(), max_num_fields=100))
    except ValueError as error:
        raise OAuthError("invalid_request", "The body is not a readable form.") from error


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, str]:
    """The fields that matter here, each sent once; an empty one counts as not sent."""
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name not in _FIELDS or value in ("", None):
            continue
        if name in fields:
            raise OAuthError("invalid_request", f"{name} was sent more than once.")
        if not isinstance(value, str):
            raise OAuthError("invalid_request", f"{name} must be text.")
        fields[name] = value
    return fields


def _check_grant_type(grant_type: str | None) -> None:
    if grant_type is None:
        raise OAuthError("invalid_request", "grant_type is missing: send client_credentials.")
    if grant_type != "client_credentials":
        raise OAuthError(
            "unsupported_grant_type", "The only grant_type of this server is client_credentials."
        )


def _credentials(basic: list[tuple[str, str]], fields: dict[str, str]) -> list[tuple[str, str]]:
    sent = {name: value for name, value in fields.items() if name in _CREDENTIALS}
    if not basic:
        return [(sent["client_id"], sent["client_secret"])] if len(sent) == 2 else []  # noqa: PLR2004  both
    agreed = [
        pair for pair in basic if sent.items() <= dict(zip(_CREDENTIALS, pair, strict=True)).items()
    ]
    if not agreed:
        raise OAuthError(
            "invalid_request",
            "The Authorization header and the body do not carry the same credentials.",
        )
    return agreed


def _basic(authorization: str | None) -> list[tuple[str, str]]:
    """The credentials in a Basic header, as they stand and percent-decoded.

    OAuth has clients percent-encode them first, and most HTTP libraries do not.
    """
    kind, _, encoded = (authorization or "").partition(" ")
    if kind.lower() != "basic":
        return []
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise OAuthError("invalid_client", "The Basic header is not readable.", 401) from error
    client_id, colon, secret = text.partition(":")
    if not colon:  # RFC 7617, section 2; what stands there may be the secret
        raise OAuthError("invalid_client", "The Basic header has no colon after the id.", 401)
    return [(client_id, secret), (unquote_plus(client_id), unquote_plus(secret))]

"""Access tokens: the client credentials grant (OAuth 2.0), and the keys that verify them.

Errors of the token endpoint have the format of RFC 6749, section 5.2, not that of CASE, because
its clients are OAuth libraries.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, unquote_plus

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from ...auth.clients import AuthenticatedClient
from ...auth.local_issuer import LocalIssuer
from ...auth.scopes import Scope, format_scopes, parse_scopes
from ...auth.throttle import TooManyAttempts
from ...state import AppState
from ..dependencies import CALLER_ID, TOKEN_PATH, TOKEN_PATHS, StateDep
from ..request_body import iter_body
from ..routing import CompiledRoute

MAX_BODY_BYTES = 64 * 1024
NO_STORE_HEADERS = {"Cache-Control": "no-store", "Pragma": "no-cache"}
PUBLIC_KEYS_HEADERS = {"Cache-Control": "public, max-age=60"}

_FIELDS = ("grant_type", "scope", "client_id", "client_secret")

_FORM_SCHEMA = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "const": "client_credentials"},
        "client_id": {"type": "string", "description": "In the form, or by HTTP Basic"},
        "client_secret": {"type": "string", "format": "password"},
        "scope": {
            "type": "string",
            "description": "Separated by spaces; all scopes of the client if empty",
        },
    },
}
_REQUEST_BODY = {
    "required": True,
    "content": {"application/x-www-form-urlencoded": {"schema": _FORM_SCHEMA}},
}

router = APIRouter(tags=["Tokens"], route_class=CompiledRoute)
"""To be included only if the server has a local issuer."""


class Token(BaseModel):
    """A response with an access token (RFC 6749, section 5.1)."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  a kind of token, not a secret
    expires_in: int
    scope: str


class OAuthErrorResponse(BaseModel):
    """The response to a rejected token request (RFC 6749, section 5.2)."""

    error: str
    error_description: str


class JsonWebKey(BaseModel):
    """A public RSA key for verifying tokens (RFC 7517)."""

    kty: Literal["RSA"]
    kid: str
    use: Literal["sig"]
    alg: Literal["RS256"]
    n: str
    e: str


class JsonWebKeySet(BaseModel):
    """The public keys of this server (RFC 7517, section 5)."""

    keys: list[JsonWebKey]


class OpenIDConfiguration(BaseModel):
    """The URLs and capabilities of the token issuer (OpenID Connect Discovery, section 3)."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    grant_types_supported: list[str] = ["client_credentials"]
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic", "client_secret_post"]
    scopes_supported: list[Scope] = [*Scope]
    response_types_supported: list[str] = []
    subject_types_supported: list[str] = ["public"]
    id_token_signing_alg_values_supported: list[str] = ["RS256"]


class OAuthError(Exception):
    """Raised for a rejected token request, with an error code of RFC 6749, section 5.2."""

    def __init__(
        self,
        error: str,
        description: str,
        status: int = HTTPStatus.BAD_REQUEST,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True)
class OAuthTokenRequest:
    """The credentials and the requested scopes of a valid token request."""

    credentials: list[tuple[str, str]]
    """Pairs of client ID and secret to try in order; empty if the request has none."""
    scope: str


async def _get_issuer(state: StateDep) -> LocalIssuer:
    assert state.issuer is not None, "the router is included only if there is a local issuer"
    return state.issuer


IssuerDep = Annotated[LocalIssuer, Depends(_get_issuer)]


@router.post(TOKEN_PATHS[2], response_model=Token, include_in_schema=False)
@router.post(TOKEN_PATHS[1], response_model=Token, include_in_schema=False)
@router.post(
    TOKEN_PATH,
    summary="Get an access token",
    name="token",
    response_model=Token,
    responses={status: {"model": OAuthErrorResponse} for status in (400, 401, 413, 429)},
    openapi_extra={"requestBody": _REQUEST_BODY},
)
async def issue_token(request: Request, state: StateDep, issuer: IssuerDep) -> Response:
    """Exchange a client's ID and secret for an access token.

    A rejected request gets an error response of RFC 6749, section 5.2.
    """
    try:
        token_request = await parse_token_request(request)
        client = await _authenticate(request, state, token_request)
        CALLER_ID.set(client.id)
        scopes = _grant_scopes(token_request, client)
    except OAuthError as error:
        return _build_oauth_error_response(error)
    access_token, lifetime = issuer.issue(client.id, scopes)
    response = Token(access_token=access_token, expires_in=lifetime, scope=format_scopes(scopes))
    return JSONResponse(response.model_dump(), headers=NO_STORE_HEADERS)


@router.get("/.well-known/jwks.json", summary="Get the public keys", response_model=JsonWebKeySet)
async def jwks(issuer: IssuerDep) -> Response:
    """Return the public keys that verify this server's tokens (RFC 7517)."""
    return JSONResponse(issuer.build_jwks(), headers=PUBLIC_KEYS_HEADERS)


@router.get(
    "/.well-known/openid-configuration",
    summary="Get the URLs of the token issuer",
    response_model=OpenIDConfiguration,
)
async def openid_configuration(issuer: IssuerDep) -> Response:
    """Return the discovery document of the token issuer (OpenID Connect Discovery, section 4)."""
    url = issuer.url
    configuration = OpenIDConfiguration(
        issuer=url, token_endpoint=url + TOKEN_PATH, jwks_uri=f"{url}/.well-known/jwks.json"
    )
    return JSONResponse(configuration.model_dump(), headers=PUBLIC_KEYS_HEADERS)


async def parse_token_request(request: Request) -> OAuthTokenRequest:
    """Parse the body and Authorization header of a request into an ``OAuthTokenRequest``.

    The body is a form or JSON. Raises ``OAuthError`` unless it is a valid client credentials grant
    request.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await _read_body(request)
    if media_type == "application/json":
        # Clients that send JSON, which OAuth does not define, often leave out the grant type, too.
        fields = {"grant_type": "client_credentials", **_collect_request_fields(_parse_json(body))}
    elif media_type in {"application/x-www-form-urlencoded", ""}:
        fields = _collect_request_fields(_parse_form(body))
    else:
        raise OAuthError(
            "invalid_request",
            "The body must be application/x-www-form-urlencoded or application/json.",
        )
    if "grant_type" not in fields:
        raise OAuthError("invalid_request", "grant_type is missing: send client_credentials.")
    if fields["grant_type"] != "client_credentials":
        raise OAuthError("unsupported_grant_type", "Unknown grant_type: send client_credentials.")
    basic = _parse_basic_credentials(request.headers.get("authorization"))
    return OAuthTokenRequest(_choose_credentials(basic, fields), fields.get("scope", ""))


async def _read_body(request: Request) -> bytes:
    body = b""
    async for chunk in iter_body(request):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise OAuthError(
                "invalid_request",
                f"The body is larger than {MAX_BODY_BYTES} bytes: send only the credentials.",
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
    return body


def _parse_json(body: bytes) -> list[tuple[str, Any]]:
    try:
        content = orjson.loads(body)
    except ValueError as error:
        raise OAuthError(
            "invalid_request", "The body is not JSON: send an object, or a form."
        ) from error
    if not isinstance(content, dict):
        raise OAuthError("invalid_request", "The body is not a JSON object: send one, or a form.")
    return list(content.items())


def _parse_form(body: bytes) -> list[tuple[str, Any]]:
    try:
        return list(parse_qsl(body.decode(), max_num_fields=100))
    except ValueError as error:
        raise OAuthError(
            "invalid_request", "The body is not a valid form: percent-encode it as UTF-8."
        ) from error


def _collect_request_fields(pairs: list[tuple[str, Any]]) -> dict[str, str]:
    """Return the known, non-empty fields of a token request as a dict.

    ``pairs`` are all (name, value) pairs of its body. Raises ``OAuthError`` if a known field is
    repeated or is not a string.
    """
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name not in _FIELDS or value in ("", None):
            continue
        if name in fields:
            raise OAuthError("invalid_request", f"{name} was sent more than once: send it once.")
        if not isinstance(value, str):
            raise OAuthError("invalid_request", f"{name} must be a string.")
        fields[name] = value
    return fields


def _parse_basic_credentials(authorization: str | None) -> list[tuple[str, str]]:
    """Parse a Basic Authorization header into (ID, secret) pairs to try.

    OAuth requires clients to percent-encode ID and secret, but most HTTP libraries do not. Returns
    the pair as received and the same pair decoded, or [] without such a header.
    """
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return []
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise OAuthError(
            "invalid_client",
            "The Basic header is not readable: send Base64 of ID:SECRET.",
            HTTPStatus.UNAUTHORIZED,
        ) from error
    client_id, colon, secret = decoded.partition(":")
    if not colon:  # RFC 7617, section 2. The value is not in the message: it may be the secret.
        raise OAuthError(
            "invalid_client",
            "The Basic header has no colon after the client ID: send Base64 of ID:SECRET.",
            HTTPStatus.UNAUTHORIZED,
        )
    return [(client_id, secret), (unquote_plus(client_id), unquote_plus(secret))]


def _choose_credentials(
    basic: list[tuple[str, str]], fields: dict[str, str]
) -> list[tuple[str, str]]:
    """Return the (ID, secret) pairs to try, from the Basic header or else from the body.

    ``basic`` is the result of ``_parse_basic_credentials``, and ``fields`` are those of the body.
    Raises ``OAuthError`` if header and body contain different credentials.
    """
    body_id, body_secret = fields.get("client_id"), fields.get("client_secret")
    if not basic:
        return [(body_id, body_secret)] if body_id and body_secret else []
    consistent = [
        (client_id, secret)
        for client_id, secret in basic
        if body_id in {None, client_id} and body_secret in {None, secret}
    ]
    if not consistent:
        raise OAuthError(
            "invalid_request",
            "The Authorization header and the body contain different credentials: send one pair.",
        )
    return consistent


async def _authenticate(
    request: Request, state: AppState, token_request: OAuthTokenRequest
) -> AuthenticatedClient:
    address = request.client.host if request.client else ""
    try:
        client = await state.clients.authenticate(token_request.credentials, address)
    except TooManyAttempts as error:
        raise OAuthError(
            "temporarily_unavailable",
            f"Too many failed attempts; retry in {error.seconds} seconds.",
            HTTPStatus.TOO_MANY_REQUESTS,
            {"Retry-After": str(error.seconds)},
        ) from error
    if client is None:
        raise OAuthError(
            "invalid_client",
            "Send a client ID and secret of this server, by HTTP Basic or in the body. The "
            "environment variables CASE_CLIENT_ID and CASE_CLIENT_SECRET set one pair; "
            "case-server client add creates others.",
            HTTPStatus.UNAUTHORIZED,
        )
    return client


def _grant_scopes(
    token_request: OAuthTokenRequest, client: AuthenticatedClient
) -> frozenset[Scope]:
    """Return the scopes to grant, ignoring unknown requested ones (RFC 6749, section 3.3).

    Raises ``OAuthError`` if no requested scope is a CASE scope, or if the client does not have all
    of them: a token with fewer scopes would only make later requests fail.
    """
    if not token_request.scope.split():
        return client.scopes
    requested = parse_scopes(token_request.scope)
    if not requested:
        raise OAuthError(
            "invalid_scope",
            "None of the requested scopes is known. Leave scope out to get all scopes of this "
            f"client, or request some of {format_scopes(frozenset(Scope))}.",
        )
    if excess := requested - client.scopes:
        raise OAuthError(
            "invalid_scope",
            f"This client does not have the scope {format_scopes(excess)}: leave it out.",
        )
    return requested


def _build_oauth_error_response(error: OAuthError) -> JSONResponse:
    response = OAuthErrorResponse(error=error.error, error_description=error.description)
    headers = {**NO_STORE_HEADERS, **error.headers}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Basic realm="case-server"'
    return JSONResponse(response.model_dump(), error.status, headers)

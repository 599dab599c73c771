"""Tokens over HTTP: the client-credentials grant of OAuth 2, and the keys to check them with.

Its errors follow RFC 6749, not CASE: who asks for a token here is an OAuth library.
"""

from http import HTTPStatus
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from ...auth.clients import Client
from ...auth.local_issuer import LocalIssuer
from ...auth.scopes import Scope, format_scopes, parse_scopes
from ...auth.throttle import TooManyAttempts
from ..dependencies import CALLER_ID, TOKEN_PATH, get_state
from .token_request import OAuthError, TokenRequest, parse_token_request

TOKEN_PATHS = (TOKEN_PATH, "/oauth/token", "/auth/1.0/token")
_NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
PUBLISHED = "public, max-age=60"
_FORM = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "const": "client_credentials"},
        "client_id": {"type": "string", "description": "Here or by HTTP Basic"},
        "client_secret": {"type": "string", "format": "password"},
        "scope": {"type": "string", "description": "With spaces between; none: all you may have"},
    },
}
_BODY = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": _FORM}}}


class Token(BaseModel):
    """A token, and what the client must know about it."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  a kind of token, not a secret
    expires_in: int
    scope: str


class OAuthProblem(BaseModel):
    """What went wrong, in the words of RFC 6749."""

    error: str
    error_description: str


def token_routes() -> APIRouter:
    """The routes of the local issuer, to be mounted only where there is one."""
    router = APIRouter(tags=["Tokens"])
    problems: dict[int | str, dict[str, Any]] = {
        status: {"model": OAuthProblem} for status in (400, 401, 413, 429)
    }
    router.post(
        TOKEN_PATH,
        response_model=Token,
        responses=problems,
        openapi_extra={"requestBody": _BODY},
    )(token)
    for path in TOKEN_PATHS[1:]:
        router.post(path, response_model=Token, include_in_schema=False)(token)
    router.get("/.well-known/jwks.json")(jwks)
    router.get("/.well-known/openid-configuration")(openid_configuration)
    return router


async def token(request: Request) -> JSONResponse:
    """Exchange a client's id and secret for an access token."""
    try:
        grant = await parse_token_request(request)
        client = await _client(request, grant)
        CALLER_ID.set(client.id)
        scopes = _scopes(grant, client)
    except OAuthError as error:
        return _refusal(error)
    access_token, lifetime = _issuer(request).issue(client.id, scopes)
    answer = Token(access_token=access_token, expires_in=lifetime, scope=format_scopes(scopes))
    return JSONResponse(answer.model_dump(), headers=_NOT_STORED)


async def jwks(request: Request, response: Response) -> dict[str, list[dict[str, str]]]:
    """The public keys of this server's tokens."""
    response.headers["Cache-Control"] = PUBLISHED
    return _issuer(request).jwks()


async def openid_configuration(request: Request, response: Response) -> dict[str, Any]:
    """Where this server issues tokens and publishes its keys."""
    response.headers["Cache-Control"] = PUBLISHED
    url = _issuer(request).url
    return {
        "issuer": url,
        "token_endpoint": url + TOKEN_PATH,
        "jwks_uri": f"{url}/.well-known/jwks.json",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": list(Scope),
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def _issuer(request: Request) -> LocalIssuer:
    issuer = get_state(request).issuer
    assert issuer is not None, "token routes are mounted only where there is a local issuer"
    return issuer


async def _client(request: Request, grant: TokenRequest) -> Client:
    address = request.client.host if request.client else ""
    try:
        client = await get_state(request).clients.authenticate(grant.credentials, address)
    except TooManyAttempts as error:
        raise OAuthError(
            "temporarily_unavailable",
            f"Too many failed attempts; try again in {error.seconds} seconds.",
            HTTPStatus.TOO_MANY_REQUESTS,
            {"Retry-After": str(error.seconds)},
        ) from error
    if client is None:
        raise OAuthError(
            "invalid_client",
            "Send the client id and secret of this server, by HTTP Basic or in the body. "
            "Its environment sets them, CASE_CLIENT_ID and CASE_CLIENT_SECRET; "
            "case-server client add makes others.",
            HTTPStatus.UNAUTHORIZED,
        )
    return client


def _scopes(grant: TokenRequest, client: Client) -> frozenset[Scope]:
    """Return the scopes to grant; foreign ones are ignored (RFC 6749, section 3.3).

    Raises ``OAuthError`` where no CASE scope is among those asked for, or one that this client
    may not have: a token with less than it needs would only fail later.
    """
    if not grant.scope.split():
        return client.scopes
    asked = parse_scopes(grant.scope)
    if not asked:
        raise OAuthError(
            "invalid_scope",
            "None of the scopes asked for is known here. Leave scope out to get all that this "
            f"client may have, or ask for some of {format_scopes(frozenset(Scope))}.",
        )
    if excess := asked - client.scopes:
        raise OAuthError(
            "invalid_scope", f"This client may not have the scope {format_scopes(excess)}."
        )
    return asked


def _refusal(error: OAuthError) -> JSONResponse:
    problem = OAuthProblem(error=error.error, error_description=error.description)
    headers = {**_NOT_STORED, **error.headers}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Basic realm="case-server"'
    return JSONResponse(problem.model_dump(), error.status, headers)

"""FastAPI dependencies of the endpoints: process state, API profile, authenticated caller.

An endpoint names in its signature what it needs, with the caller first, so that a request without
a valid token is rejected before anything else is done: ``_caller: ReadAccess, db: DatabaseDep``.
Code that is not an endpoint calls ``get_app_state`` and ``authorize``.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from functools import partial
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Path, Request, Security
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlows
from fastapi.security import OAuth2, SecurityScopes
from pydantic import AfterValidator

from ..auth.scopes import DESCRIPTIONS, Scope
from ..auth.verifier import Caller, TokenVerifier
from ..case.types import IDENTIFIER_SCHEMA
from ..db.pool import Database
from ..db.read import entities
from ..exceptions import Forbidden, MethodNotAllowed, Unauthorized
from ..state import AppState
from .profiles import ApiProfile, find_profile
from .rendering.renderer import Renderer
from .responses import reject_nul

CALLER_ID: ContextVar[str] = ContextVar("caller_id", default="")
"""The authenticated client of the current request, for the log."""

CHANGES: ContextVar[Mapping[str, int]] = ContextVar("changes", default={})  # noqa: B039  never changed
"""The numbers of entities that the current package upload changed, for the log.

The keys are ``log_config.CHANGE_FIELDS``."""

TOKEN_PATH = "/oauth2/token"  # noqa: S105  a path, not a password
TOKEN_PATHS = (TOKEN_PATH, "/oauth/token", "/auth/1.0/token")
"""The path of the token endpoint and its aliases."""

APP_STATE = "case_server.app_state"
"""Key of the ASGI scope for the state of a request that does not use the application's own."""


def get_app_state(request: Request) -> AppState:
    """Return the state of the application that serves a request: database, caches and so on.

    The process has one state; in test mode, each test namespace has its own.
    """
    state: AppState = request.scope.get(APP_STATE) or request.app.state.app_state
    return state


async def _provide_state(request: Request) -> AppState:
    return get_app_state(request)


StateDep = Annotated[AppState, Depends(_provide_state)]


async def _provide_database(state: StateDep) -> Database:
    return state.database


async def _provide_profile(request: Request) -> ApiProfile:
    return find_profile(request.scope["path"])


DatabaseDep = Annotated[Database, Depends(_provide_database)]
ProfileDep = Annotated[ApiProfile, Depends(_provide_profile)]


async def get_renderer(request: Request, state: StateDep, profile: ProfileDep) -> Renderer:
    """Return the renderer that turns stored entities into JSON for the request's profile."""
    return Renderer(
        profile,
        state.settings.base_url,
        find_local_nodes=partial(entities.find_node_collections, state.database),
        include_extensions=bool(request.scope["query_string"])
        and request.query_params.get("extensions", "").lower() == "true",
    )


RendererDep = Annotated[Renderer, Depends(get_renderer)]

SourcedId = Annotated[
    str,
    Path(
        alias="sourcedId",
        description="The identifier.",
        examples=IDENTIFIER_SCHEMA["examples"],
        json_schema_extra=IDENTIFIER_SCHEMA,
    ),
    AfterValidator(reject_nul),
]

_oauth2_scheme = OAuth2(
    flows=OAuthFlows(
        clientCredentials=OAuthFlowClientCredentials(
            tokenUrl=TOKEN_PATH, scopes={scope.value: text for scope, text in DESCRIPTIONS.items()}
        )
    ),
    scheme_name="CaseOAuth2",
    auto_error=False,
)


async def authorize(verifier: TokenVerifier, authorization: str | None, scope: Scope) -> Caller:
    """Verify the bearer token in an Authorization header and return its caller.

    Raises ``Unauthorized`` without a valid token, or ``Forbidden`` if the token lacks the scope.
    """
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized(
            "This operation needs an access token, sent as the header Authorization: Bearer TOKEN.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    caller = verifier.get_cached_caller(token) or await verifier.verify(token)
    CALLER_ID.set(caller.client_id)
    if scope not in caller.scopes:
        raise Forbidden(
            f"This operation needs a token with the scope {scope}: request one with that scope.",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )
    return caller


async def get_caller(
    request: Request,
    security_scopes: SecurityScopes,
    authorization: Annotated[str | None, Depends(_oauth2_scheme)],
    state: StateDep,
    profile: ProfileDep,
) -> Caller:
    """Return the authenticated ``Caller`` of a request.

    If the server allows reads without a token, such a request gets the caller for anonymous reads,
    or ``TooManyRequests``. Raises ``Unauthorized`` without a valid token, ``Forbidden`` if the
    token lacks the required scope, and ``MethodNotAllowed`` for a write on a standby.
    """
    # The scheme returns None for an empty header, too, which is not an anonymous request.
    is_anonymous = authorization is None and "authorization" not in request.headers
    if is_anonymous and state.anonymous_reads and not profile.writes:
        return state.anonymous_reads.admit_anonymous_read(
            request.client.host if request.client else ""
        )
    scope = Scope(security_scopes.scopes[-1])
    caller = await authorize(state.verifier, authorization, scope)
    if scope != Scope.READONLY:
        require_primary(state, request.scope["path"])
    return caller


def require_primary(state: AppState, path: str) -> None:
    """Raise ``MethodNotAllowed`` if the database is a read-only standby.

    ``path`` is the decoded path of the request. The header ``Location`` of the response has the URL
    of this path on the primary server, if that is configured.
    """
    if not state.database.is_standby:
        return
    primary = state.settings.primary_url
    location = {"Location": primary + quote(path)} if primary else {}
    raise MethodNotAllowed(
        f"this server reads from a standby: send writes to {primary or 'the primary server'}",
        headers={"Allow": "GET, HEAD", **location},
    )


ReadAccess = Annotated[Caller, Security(get_caller, scopes=[Scope.READONLY.value])]
WriteAccess = Annotated[Caller, Security(get_caller, scopes=[Scope.CREATEPUT.value])]
DeleteAccess = Annotated[Caller, Security(get_caller, scopes=[Scope.DELETE.value])]

"""What routes are given: the services of this process, and the caller, checked.

A route says in its signature who may call it: ``caller: Reader``. What is not a FastAPI route
calls ``authorise`` itself.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from anyio import CapacityLimiter
from fastapi import Depends, Request, Security
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlows
from fastapi.security import OAuth2, SecurityScopes

from ..auth.clients import ClientRegistry
from ..auth.local_issuer import LocalIssuer
from ..auth.scopes import DESCRIPTIONS, Scope
from ..auth.verifier import Caller, Verifier
from ..exceptions import Forbidden, Unauthorized
from ..settings import Settings

if TYPE_CHECKING:
    from ..db.pool import Database
    from ..db.read.revisions import Revisions
    from .response_cache import ResponseCache

CALLER_ID: ContextVar[str] = ContextVar("caller_id", default="")
"""The client behind the request at hand, once it has proved who it is: for the log."""

CHANGES: ContextVar[Mapping[str, int]] = ContextVar("changes", default={})  # noqa: B039  never changed
"""How many entities the package upload at hand changed, by ``logs.CHANGE_FIELDS``: for the log."""

TOKEN_PATH = "/oauth2/token"  # noqa: S105  an address, not a password


@dataclass
class AppState:
    """What one process holds from its start to its end."""

    settings: Settings
    issuer: LocalIssuer | None
    clients: ClientRegistry
    verifier: Verifier
    database: "Database"
    schema_version: str
    revisions: "Revisions"
    response_cache: "ResponseCache"
    upload_limiter: CapacityLimiter


APP_STATE = "case_server.app_state"
"""Where a request that is not for the application's own services carries those it is for."""


def get_state(request: Request) -> AppState:
    """The services that this request is for: its own, else those of the application."""
    found: AppState = request.scope.get(APP_STATE) or request.app.state.app_state
    return found


_scheme = OAuth2(
    flows=OAuthFlows(
        clientCredentials=OAuthFlowClientCredentials(
            tokenUrl=TOKEN_PATH,
            scopes={scope.value: text for scope, text in DESCRIPTIONS.items()},
        )
    ),
    scheme_name="CaseOAuth2",
    auto_error=False,
)


async def authorize(verifier: Verifier, authorization: str | None, scope: Scope) -> Caller:
    """The caller that this Authorization header proves, if it may do what ``scope`` allows."""
    kind, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if kind.lower() != "bearer" or not token:
        raise Unauthorized(
            "This operation needs an access token, sent as the header Authorization: Bearer TOKEN.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    caller = verifier.get_cached(token) or await verifier.verify(token)
    CALLER_ID.set(caller.client_id)
    if scope not in caller.scopes:
        raise Forbidden(
            f"This operation needs a token with the scope {scope}.",
            headers={
                "WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"',
            },
        )
    return caller


async def _caller(
    request: Request,
    wanted: SecurityScopes,
    authorization: Annotated[str | None, Depends(_scheme)],
) -> Caller:
    verifier = get_state(request).verifier
    return await authorize(verifier, authorization, Scope(wanted.scopes[-1]))


def requires(scope: Scope) -> Any:
    """A dependency that is the caller, once it has shown that it may do this."""
    return Security(_caller, scopes=[scope.value])


ReadAccess = Annotated[Caller, requires(Scope.READONLY)]
WriteAccess = Annotated[Caller, requires(Scope.CREATEPUT)]
DeleteAccess = Annotated[Caller, requires(Scope.DELETE)]

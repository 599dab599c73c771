"""The routes of a profile, and requests to them without FastAPI's machinery in between.

FastAPI describes a route and its parameters for the OpenAPI document, once somebody asks for that;
to run it, a Starlette route is enough and costs half as much. A handler takes its request, the
caller whose scope its signature names, and, where its path has one, an identifier.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_type_hints

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth.scopes import Scope as Permission
from ..exceptions import CaseServerError
from .anonymous_reads import AnonymousReadLimiter
from .dependencies import authorize, get_state
from .exception_handlers import error_response_and_release
from .profiles import canonical_path
from .responses import reject_nul

PARAMETER = "sourcedId"


ONE = f"/{{{PARAMETER}}}"
"""How the path of a route ends that is about one entity."""


@dataclass(frozen=True)
class Described:
    """A route, and what FastAPI is to say of it."""

    path: str
    handler: Any
    methods: tuple[str, ...]
    said: dict[str, Any]


class Routes:
    """What a profile offers."""

    def __init__(self, *several: Routes) -> None:
        self.all: list[Described] = [one for routes in several for one in routes.all]

    def add(
        self, path: str, handler: Any, *, methods: Iterable[str] = ("GET",), **said: Any
    ) -> None:
        """Offer a path; what else is said of it is for ``APIRouter.add_api_route``."""
        self.all.append(Described(path, handler, tuple(methods), said))

    def direct(self, prefix: str, public_reads: AnonymousReadLimiter | None = None) -> list[Route]:
        """Return the routes, under a prefix; with ``public_reads`` they need no token."""
        return [
            Route(prefix + one.path, Direct(one.handler, public_reads), methods=[*one.methods])
            for one in self.all
        ]

    def described(self) -> APIRouter:
        """The routes as FastAPI describes them, which takes a millisecond for each."""
        router = APIRouter()
        for one in self.all:
            router.add_api_route(one.path, one.handler, methods=[*one.methods], **one.said)
        return router


class Direct:
    """A handler as an ASGI application."""

    def __init__(self, handler: Any, public_reads: AnonymousReadLimiter | None = None) -> None:
        self.handler, self.public_reads = handler, public_reads
        hints = get_type_hints(handler, include_extras=True)
        self.permission = _permission(hints)
        self.identified = "identifier" in inspect.signature(handler).parameters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the caller in, and answer (ASGI)."""
        try:
            response = await self._answer(Request(scope, receive, send))
        except CaseServerError as error:
            response = error_response_and_release(scope["path"], error)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        verifier = get_state(request).verifier
        authorization = request.headers.get("authorization")
        if authorization is None and self.public_reads is not None:
            caller = self.public_reads.admit(request.client.host if request.client else "")
        else:
            caller = await authorize(verifier, authorization, self.permission)
        given = [reject_nul(request.path_params[PARAMETER])] if self.identified else []
        response: Response = await self.handler(*given, request, caller)
        return response


class Shortcut:
    """Leads requests for one entity, and for lists, to their handlers in one look.

    All others, those that fit no route among them, go the long way past every route.
    """

    def __init__(self, app: ASGIApp, routes: list[Route]) -> None:
        self.app = app
        self.handlers = {
            (method, route.path): route.endpoint
            for route in routes
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on (ASGI)."""
        handler: Any = None
        if scope["type"] == "http":
            method, path = scope["method"], canonical_path(scope["path"])
            scope["path"] = path
            handler = self.handlers.get((method, path))
            if handler is None:
                kind, _, identifier = path.rpartition("/")
                handler = identifier and self.handlers.get((method, kind + ONE))
                scope["path_params"] = {PARAMETER: identifier}
        await (handler or self.app)(scope, receive, send)


def _permission(hints: dict[str, Any]) -> Permission:
    """The scope that a handler's signature names."""
    found = [
        security.scopes
        for hint in hints.values()
        for security in getattr(hint, "__metadata__", ())
        if hasattr(security, "scopes")
    ]
    ((scope,),) = found
    return Permission(scope)

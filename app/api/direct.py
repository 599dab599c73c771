"""Requests to the routes of a profile without FastAPI's machinery in between.

FastAPI describes a route and its parameters for the OpenAPI document; to run it, a Starlette route
is enough and costs half as much. A handler takes its request, the caller whose scope its signature
names, and, where its path has one, an identifier.
"""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth.scopes import Scope as Permission
from ..errors import CaseServerError
from .answers import storable
from .deps import authorise, services
from .errors import refused

PARAMETER = "sourcedId"


ONE = f"/{{{PARAMETER}}}"
"""How the path of a route ends that is about one entity."""


def direct_routes(routes: list[BaseRoute], prefix: str) -> list[Route]:
    """The same routes, under a prefix, run directly."""
    described = [route for route in routes if isinstance(route, APIRoute)]
    assert len(described) == len(routes), "all routes of a profile are described"
    return [
        Route(prefix + route.path, Direct(route.endpoint), methods=[*(route.methods or ())])
        for route in described
    ]


class Direct:
    """A handler as an ASGI application."""

    def __init__(self, handler: Any) -> None:
        self.handler = handler
        hints = get_type_hints(handler, include_extras=True)
        self.permission = _permission(hints)
        self.identified = "identifier" in inspect.signature(handler).parameters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the caller in, and answer (ASGI)."""
        try:
            response = await self._answer(Request(scope, receive, send))
        except CaseServerError as error:
            response = refused(scope["path"], error)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        verifier = services(request).verifier
        caller = await authorise(verifier, request.headers.get("authorization"), self.permission)
        given = [storable(request.path_params[PARAMETER])] if self.identified else []
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
        handler = None
        if scope["type"] == "http":
            method, path = scope["method"], scope["path"]
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

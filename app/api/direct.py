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
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ..auth.scopes import Scope as Permission
from .answers import storable
from .deps import authorise, services

PARAMETER = "sourcedId"


def direct_routes(routes: list[BaseRoute], prefix: str) -> list[BaseRoute]:
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
        request = Request(scope, receive, send)
        verifier = services(request).verifier
        caller = await authorise(verifier, request.headers.get("authorization"), self.permission)
        given = [storable(scope["path_params"][PARAMETER])] if self.identified else []
        response = await self.handler(*given, request, caller)
        await response(scope, receive, send)


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

"""The application factory: lifespan, routers and middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum
from functools import partial

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

from .api.allowed_hosts import HostValidator
from .api.anonymous_reads import AnonymousReadCORS
from .api.exception_handlers import handle_case_error, handle_http_exception
from .api.middleware import RequestMiddleware
from .api.openapi import documents as openapi
from .api.profiles import PROFILES
from .api.routes import (
    associations,
    changes,
    definitions,
    documents,
    health,
    items,
    packages,
    rubrics,
    token,
)
from .api.routing import RoutingMiddleware
from .background import background_task, run_warm_up
from .db.pool import Database
from .exceptions import CaseServerError
from .settings import Settings
from .state import open_app_state
from .web.pages import add_not_found_page, compile_templates
from .web.routes import add_web_ui
from .web.swagger import create_swagger_router

STANDARD_ROUTERS = (
    documents.router,
    items.router,
    associations.router,
    *definitions.routers,
    rubrics.router,
    packages.router,
)
"""The operations of the standard, which every profile has."""

VENDOR_ROUTERS = (
    documents.vendor_router,
    items.vendor_router,
    associations.vendor_router,
    definitions.vendor_router,
    packages.vendor_router,
    changes.vendor_router,
)
"""The operations beyond the standard, of the profiles that can write."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create the FastAPI application; by default, read the settings from the environment.

    ``database_url`` must be set: this function does not start the embedded Postgres.
    """
    settings = settings or Settings()
    app = FastAPI(
        lifespan=partial(_lifespan, settings=settings),
        redirect_slashes=False,
        # FastAPI's page loads Swagger UI from another host, and its document mixes the profiles.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        # Telemetry costs 50 µs per request, and nothing reads it.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    _include_routers(app, settings)
    _add_middleware(app, settings)
    app.add_exception_handler(CaseServerError, handle_case_error)
    app.add_exception_handler(HTTPException, handle_http_exception)
    if settings.web:
        add_not_found_page(app)
    return app


def _include_routers(app: FastAPI, settings: Settings) -> None:
    # First the routers with few routes: a request that is not in the route table passes them all.
    app.include_router(openapi.create_openapi_router(app))
    app.include_router(create_swagger_router(web=settings.web))
    if settings.web:
        add_web_ui(app)
    for prefix, router, tags in _iter_routers(settings):
        app.include_router(router, prefix=prefix, tags=tags)


def _iter_routers(settings: Settings) -> Iterator[tuple[str, APIRouter, list[str | Enum]]]:
    """Yield (path prefix, router, OpenAPI tags) for each router of the API."""
    yield "", health.router, []
    if settings.local_issuer:
        yield "", token.router, []
    for profile in PROFILES:
        for router in STANDARD_ROUTERS + (VENDOR_ROUTERS if profile.writes else ()):
            yield profile.prefix, router, [profile.title]


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """Add the middleware that the settings require, such as CORS, to the application.

    The middleware that is added last runs first.
    """
    routers = [(prefix, router) for prefix, router, _ in _iter_routers(settings)]
    app.add_middleware(RoutingMiddleware, routers=routers)
    allowed_headers = ["Authorization", "Content-Type", "If-None-Match", "X-Request-ID"]
    if settings.test_mode:
        _install_test_mode(app, settings)
        allowed_headers.append("X-CASE-Namespace")
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "PUT", "POST", "DELETE"),
            allow_headers=allowed_headers,
            expose_headers=("ETag", "Link", "Retry-After", "X-Request-ID", "X-Total-Count"),
        )
    if settings.public_read:
        app.add_middleware(AnonymousReadCORS)
    app.add_middleware(
        RequestMiddleware,
        hosts=HostValidator(settings),
        https=settings.base_url.startswith("https:"),
        access_log=settings.access_log,
    )


def _install_test_mode(app: FastAPI, settings: Settings) -> None:
    """Add the routes, the web page and the middleware of test mode."""
    # Imported late, because only servers in test mode need it.
    from .testmode import page, routes  # noqa: PLC0415  see above
    from .testmode.middleware import TestModeMiddleware  # noqa: PLC0415  see above

    app.include_router(routes.router)
    if settings.web:
        app.include_router(page.router)
    app.add_middleware(
        TestModeMiddleware,
        token=settings.test_api_token.get_secret_value(),
        base_url=settings.base_url,
        origins=settings.cors_origins,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Open the database and the ``AppState`` at start-up, and close them at shutdown.

    In test mode, each namespace has a database and a state of its own.
    """
    async with AsyncExitStack() as stack:
        if settings.web:
            await stack.enter_async_context(background_task(run_warm_up(compile_templates)))
        if settings.test_mode:
            from .testmode.namespaces import NamespaceRegistry  # noqa: PLC0415  only test mode needs it

            namespaces = NamespaceRegistry.open(settings)
            app.state.namespaces = await stack.enter_async_context(namespaces)
        else:
            database = await stack.enter_async_context(
                Database.open(settings.database_url, settings, read_timeout=settings.read_timeout)
            )
            state = open_app_state(settings, database)
            app.state.app_state = await stack.enter_async_context(state)
        yield

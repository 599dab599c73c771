"""The application: what it holds while it runs, and every door it opens."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from .api import exception_handlers
from .api.allowed_hosts import HostCheck
from .api.anonymous_reads import AnonymousReadCORS, AnonymousReadLimiter
from .api.dependencies import AppState
from .api.middleware import RequestMiddleware
from .api.openapi import documents
from .api.profiles import PLATFORM, PROFILES, Profile
from .api.response_cache import ResponseCache
from .api.routes.associations import association_routes
from .api.routes.changes import change_routes
from .api.routes.entities import resource_routes
from .api.routes.health import health_routes
from .api.routes.packages import package_routes
from .api.routes.puts import writing_routes
from .api.routes.token import token_routes
from .api.routing import Routes, Shortcut
from .auth.clients import ClientRegistry
from .auth.local_issuer import LocalIssuer
from .auth.refresh import CredentialRefresher, load_signing_keys
from .auth.scopes import parse_scope_map
from .auth.tokens import generate_signing_key
from .auth.verifier import TokenPolicy, Verifier
from .db import auth_store
from .db.pool import Database
from .db.read.revisions import Revisions
from .db.schema import version
from .settings import Settings
from .web import routes as web
from .web.swagger import swagger_routes

if TYPE_CHECKING:
    from .auth.trusted_issuer import TrustedIssuer

PARENT_PID_VARIABLE = "CASE_SERVER_PARENT"
"""Set for the workers of several: the process whose end is theirs, too."""


M_ARENA_MAX = -8
"""glibc's name, in malloc.h, for how many heaps there are."""

SECONDS_TO_START = 0.1
"""What would take time from the start begins so long after the application did."""

UPLOADS_AT_ONCE = 2
"""How many packages one process reads and stores at a time."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The server over the database its settings name, which must have a URL by now."""
    settings = settings or Settings()
    app = FastAPI(
        lifespan=partial(_running, settings=settings),
        redirect_slashes=False,
        # Its own page would fetch Swagger UI from elsewhere, its own document lacks most routes.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        # Its telemetry costs fifty microseconds a request, and nobody here reads it.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    routes = {profile: _profile_routes(profile) for profile in PROFILES}
    public_reads = (
        AnonymousReadLimiter(settings.public_read_per_minute) if settings.public_read else None
    )
    direct = [
        route
        for profile, offered in routes.items()
        for route in offered.direct(profile.prefix, None if profile.writes else public_reads)
    ]
    app.router.routes += direct
    # The first that is added is the last that a request passes.
    app.add_middleware(Shortcut, routes=direct)
    app.include_router(documents.document_routes(app, routes, PLATFORM))
    if settings.local_issuer:
        app.include_router(token_routes())
    app.include_router(health_routes())
    app.include_router(swagger_routes(urlsplit(settings.base_url).path))
    if settings.web:
        web.install(app)
    _wrap(app, settings)
    exception_handlers.add_exception_handlers(app)
    return app


@asynccontextmanager
async def _running(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """What the application holds while it runs."""
    async with _orphans_end(), _pages_ready(settings):
        if settings.test_mode:
            from .testmode.namespaces import Namespaces  # noqa: PLC0415  other servers do without

            async with Namespaces.open(settings, _services) as namespaces:
                app.state.namespaces = namespaces
                yield
        else:
            async with (
                Database.open(
                    settings.database_url, settings, read_timeout=settings.read_timeout
                ) as database,
                _services(settings, database) as services,
            ):
                app.state.app_state = services
                yield


def create_worker_app(settings: Settings | None = None) -> FastAPI:
    """The application of a process that does nothing but serve it."""
    app = create_app(settings)
    # All of it stays; to look through it for garbage now and then would hold up requests for a
    # quarter of a second.
    gc.freeze()
    # A thread that reads a large body gives way to requests in half a millisecond, not in five.
    sys.setswitchinterval(0.0005)
    _share_memory()
    return app


def _share_memory() -> None:
    """Have all threads take memory from one place, so that what one gave back the others use.

    Else glibc keeps a heap for each thread that ever read a large body, and none of it is returned.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            library.mallopt(M_ARENA_MAX, 1)


def _wrap(app: FastAPI, settings: Settings) -> None:
    """What every request passes before it comes to a route; the last that is added, first."""
    headers = ["Authorization", "Content-Type", "If-None-Match", "X-Request-ID"]
    if settings.test_mode:
        _add_test_mode(app, settings)
        headers.append("X-CASE-Namespace")
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "PUT", "POST", "DELETE"),
            allow_headers=headers,
            expose_headers=("ETag", "Link", "Retry-After", "X-Request-ID", "X-Total-Count"),
        )
    if settings.public_read:
        app.add_middleware(AnonymousReadCORS)
    app.add_middleware(
        RequestMiddleware,
        hosts=HostCheck.from_settings(settings),
        https=settings.base_url.startswith("https:"),
        access_log=settings.access_log,
    )


def _add_test_mode(app: FastAPI, settings: Settings) -> None:
    """Add the test API, its page and its middleware."""
    # Read here: other servers do without.
    from .testmode.middleware import TestModeMiddleware  # noqa: PLC0415  as said
    from .testmode.page import page_routes  # noqa: PLC0415  as said
    from .testmode.routes import create_test_api_routes  # noqa: PLC0415  as said

    app.include_router(create_test_api_routes())
    if settings.web:
        app.include_router(page_routes())
    app.add_middleware(
        TestModeMiddleware,
        token=settings.test_api_token.get_secret_value(),
        base_url=settings.base_url,
        origins=settings.cors_origins,
    )


@asynccontextmanager
async def _pages_ready(settings: Settings) -> AsyncIterator[None]:
    """Make the pages ready beside the first requests, where there are pages."""
    if not settings.web:
        yield
        return
    async with _beside(_prepared(web.prepare)):
        yield


@asynccontextmanager
async def _orphans_end() -> AsyncIterator[None]:
    """End a worker whose parent was killed: it would hold the port and outlive its database."""

    async def watch(parent: int) -> None:
        while os.getppid() == parent:  # noqa: ASYNC110  a parent's end is no event
            await asyncio.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    parent = os.environ.get(PARENT_PID_VARIABLE)
    watching = asyncio.create_task(watch(int(parent))) if parent else None
    try:
        yield
    finally:
        if watching:
            watching.cancel()


def _profile_routes(profile: Profile) -> Routes:
    """Everything that one profile offers."""
    writes = (writing_routes(profile), change_routes(profile)) if profile.writes else ()
    return Routes(
        resource_routes(profile), *writes, association_routes(profile), package_routes(profile)
    )


@asynccontextmanager
async def _services(settings: Settings, database: Database) -> AsyncIterator[AppState]:
    """What requests on a database are given."""
    async with AsyncExitStack() as stack:
        issuer = await _local_issuer(database, settings) if settings.local_issuer else None
        trusted = await _trusted_issuers(stack, settings)
        copies = ResponseCache(settings.cache_mb, producers=max(1, settings.pool_size // 4))
        stack.push_async_callback(copies.close)
        clients = ClientRegistry(settings, database)
        verifier = Verifier(
            issuer, trusted, scopes_of=clients.scopes_of, policy=_token_policy(settings)
        )
        if issuer:
            await stack.enter_async_context(_beside(_prepared(issuer.warm_up)))
        verifier.set_revoked_ids(await auth_store.list_revoked_tokens(database))
        if not settings.test_mode:  # no other process writes to its clones
            await stack.enter_async_context(
                _beside(CredentialRefresher(database, issuer, verifier).run())
            )
        yield AppState(
            settings=settings,
            database=database,
            issuer=issuer,
            clients=clients,
            verifier=verifier,
            schema_version=version.get_required_schema_version(),
            revisions=Revisions(database),
            response_cache=copies,
            # Each holds many times the size of its body, and a connection.
            upload_limiter=CapacityLimiter(
                1 if settings.pool_size < UPLOADS_AT_ONCE * 2 else UPLOADS_AT_ONCE
            ),
        )


def _token_policy(settings: Settings) -> TokenPolicy:
    return TokenPolicy(
        audience=settings.audience,
        scope_map=parse_scope_map(settings.scope_map),
        max_chars=settings.max_token_chars,
    )


async def _trusted_issuers(stack: AsyncExitStack, settings: Settings) -> list[TrustedIssuer]:
    if not settings.trusted_issuers:
        return []
    # What fetches from elsewhere costs every start a tenth of a second, and few servers need it.
    from .auth.trusted_issuer import TrustedIssuer  # noqa: PLC0415  as said
    from .net.ssrf import public_only_client  # noqa: PLC0415  as said

    client = public_only_client(
        allow_private=settings.allow_private_urls, trusted_urls=settings.trusted_issuers
    )
    http = await stack.enter_async_context(client)
    return [TrustedIssuer(url, http) for url in settings.trusted_issuers]


async def _prepared(work: Callable[[], None]) -> None:
    """Do beside the first requests what one of them would wait for, once the server has started."""
    await asyncio.sleep(SECONDS_TO_START)
    await asyncio.to_thread(work)


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do some endless work for as long as the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


async def _local_issuer(database: Database, settings: Settings) -> LocalIssuer:
    stored = await load_signing_keys(database)
    if not stored:
        new = generate_signing_key()
        await auth_store.add_first_signing_key(database, new.kid, new.private_pem)
        stored = await load_signing_keys(database)
    return LocalIssuer(
        stored,
        settings.base_url,
        settings.token_lifetime,
        audience=settings.audience,
        load_keys=partial(load_signing_keys, database),
    )

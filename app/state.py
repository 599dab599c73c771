"""The state of one server process: what it opens at start-up and every request uses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from anyio import CapacityLimiter

from .api.anonymous_reads import AnonymousReadLimiter
from .api.caching.response_cache import ResponseCache
from .auth.clients import ClientAuthenticator
from .auth.local_issuer import LocalIssuer
from .auth.refresh import CredentialRefresher, load_or_create_signing_keys, load_signing_keys
from .auth.scopes import resolve_scope_names
from .auth.verifier import TokenPolicy, TokenVerifier
from .background import background_task, run_warm_up
from .db import auth_store
from .db.pool import Database
from .db.read.revisions import RevisionCache
from .db.replication import ReplicationMonitor
from .db.schema import version
from .settings import Settings

if TYPE_CHECKING:
    from .auth.trusted_issuer import TrustedIssuer

MAX_CONCURRENT_UPLOADS = 2
"""Packages that one process parses and writes at a time. Each holds a connection, and many times
the size of its body in memory."""


@dataclass
class AppState:
    """Holds what all requests share: settings, database, credentials, limits and caches.

    Each process has one; in test mode, each namespace (an independent copy of the data) has one.
    """

    settings: Settings
    issuer: LocalIssuer | None
    clients: ClientAuthenticator
    verifier: TokenVerifier
    database: Database
    replication: ReplicationMonitor
    schema_version: str
    revisions: RevisionCache
    response_cache: ResponseCache
    upload_limiter: CapacityLimiter
    anonymous_reads: AnonymousReadLimiter | None = None
    """Set if the standard profiles can be read without a token."""


@asynccontextmanager
async def open_app_state(settings: Settings, database: Database) -> AsyncIterator[AppState]:
    """Yield the ``AppState`` that requests share, and close it when the ``async with`` ends.

    Meanwhile, background tasks refresh the credentials and the replication status, except in test
    mode.
    """
    async with AsyncExitStack() as stack:
        replication = ReplicationMonitor(database)
        await replication.refresh_status()
        issuer = await _create_local_issuer(database, settings) if settings.local_issuer else None
        trusted_issuers = await _create_trusted_issuers(stack, settings)
        response_cache = ResponseCache(settings.cache_mb, producers=max(1, settings.pool_size // 4))
        stack.push_async_callback(response_cache.close)
        clients = ClientAuthenticator(settings, database)
        policy = TokenPolicy(
            audience=settings.audience,
            scope_map=resolve_scope_names(settings.scope_map),
            max_chars=settings.max_token_chars,
        )
        find_scopes = clients.find_scopes
        verifier = TokenVerifier(issuer, trusted_issuers, find_scopes=find_scopes, policy=policy)
        if issuer:
            # Parses the signing keys, for which the first request would otherwise have to wait.
            await stack.enter_async_context(background_task(run_warm_up(issuer.build_jwks)))
        verifier.set_revoked_token_ids(await auth_store.list_revoked_token_ids(database))
        if not settings.test_mode:  # no other process writes to the clones of a server in test mode
            refresher = CredentialRefresher(database, issuer, verifier)
            await stack.enter_async_context(background_task(refresher.run()))
            await stack.enter_async_context(background_task(replication.run()))
        half_pool = settings.pool_size // 2
        yield AppState(
            settings=settings,
            database=database,
            replication=replication,
            issuer=issuer,
            clients=clients,
            verifier=verifier,
            schema_version=version.get_required_schema_version(),
            revisions=RevisionCache(database),
            response_cache=response_cache,
            upload_limiter=CapacityLimiter(max(1, min(MAX_CONCURRENT_UPLOADS, half_pool))),
            anonymous_reads=AnonymousReadLimiter(settings.public_read_per_minute)
            if settings.public_read
            else None,
        )


async def _create_local_issuer(database: Database, settings: Settings) -> LocalIssuer:
    """Create the local issuer with the stored signing keys, creating a key if there is none."""
    return LocalIssuer(
        await load_or_create_signing_keys(database),
        settings.base_url,
        settings.token_lifetime,
        audience=settings.audience,
        load_keys=partial(load_signing_keys, database),
    )


async def _create_trusted_issuers(stack: AsyncExitStack, settings: Settings) -> list[TrustedIssuer]:
    if not settings.trusted_issuers:
        return []
    # Imported late, because the HTTP client adds 0.1 s to a start and few servers need it.
    from .auth.trusted_issuer import TrustedIssuer  # noqa: PLC0415  see above
    from .net.ssrf import create_public_only_client  # noqa: PLC0415  see above

    client = create_public_only_client(
        allow_private=settings.allow_private_urls, trusted_urls=settings.trusted_issuers
    )
    http = await stack.enter_async_context(client)
    return [TrustedIssuer(url, http) for url in settings.trusted_issuers]

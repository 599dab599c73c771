"""A real Postgres, the real application over it, and clients with real tokens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from anyio import to_thread
from calls import Api
from external_issuer import ExternalIssuer
from fastapi import FastAPI
from sqlalchemy import make_url

from case_server.api.profiles import PROFILES, Profile
from case_server.db import migrating, tables
from case_server.db.database import Database, dsn
from case_server.db.embedded import embedded_postgres
from case_server.main import create_app
from case_server.settings import Settings

CLIENT = ("test-client", "test-secret")
# What tests start speaks no TLS. Asking for it first costs each connection a turn, and one that is
# given up meanwhile leaves an exception behind, for whichever test runs then.
os.environ.setdefault("PGSSLMODE", "disable")

KEPT = {"signing_keys", "feed_history", "revisions", "revision_marks"}
"""Tables that are filled once, when the schema is built or the application starts, and those that
never go back: what an application keeps in memory is known by them."""

SCOPE = "https://purl.imsglobal.org/spec/case/v1p0/scope/case."

collect_ignore = ["sample_project"]
"""A project of its own: ``testing/test_sample_project.py`` runs it where it is installed."""

Execute = Callable[..., Awaitable[list[asyncpg.Record]]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Postgres server: TEST_DATABASE_URL, else an embedded one that all test processes share."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    # Nothing of it is to survive a power cut.
    with embedded_postgres(shared / "postgres", durable=False) as url:
        yield url


async def new_database(server: str, name: str) -> str:
    """An empty database on the server, and its URL."""
    connection = await asyncpg.connect(dsn(server))
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def empty_database(postgres: str) -> Callable[[str], Awaitable[str]]:
    """Makes databases without a schema, one for each purpose of each test process."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")

    async def make(purpose: str) -> str:
        return await new_database(postgres, f"case_test_{worker}_{purpose}")

    return make


@pytest.fixture(scope="session")
def migrated_database(
    empty_database: Callable[[str], Awaitable[str]],
) -> Callable[[str], str]:
    """Makes databases with the schema, for servers that tests start as processes."""

    async def make(purpose: str) -> str:
        return await empty_database(purpose)

    def migrated(purpose: str) -> str:
        url = asyncio.run(make(purpose))
        migrating.migrate(url)
        return url

    return migrated


@pytest.fixture(scope="session")
async def database_url(empty_database: Callable[[str], Awaitable[str]]) -> str:
    """A database with the schema that the migrations build."""
    url = await empty_database("app")
    # Alembic's environment runs an event loop of its own.
    await to_thread.run_sync(migrating.migrate, url)
    return url


@pytest.fixture(scope="session")
def _external_issuer() -> Iterator[ExternalIssuer]:
    issuer = ExternalIssuer()
    yield issuer
    issuer.stop()


@pytest.fixture
def external_issuer(_external_issuer: ExternalIssuer) -> ExternalIssuer:
    """An issuer elsewhere that the application trusts."""
    _external_issuer.reset()
    return _external_issuer


@pytest.fixture(scope="session")
def settings(database_url: str, _external_issuer: ExternalIssuer) -> Settings:
    return Settings(
        database_url=database_url,
        public_url="http://case.test",
        client_id=CLIENT[0],
        client_secret=CLIENT[1],
        max_body_mb=30,
        trusted_issuers=(_external_issuer.url,),
    )


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    application = create_app(settings)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture(scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    """A pool of connections beside the application's."""
    async with Database.open(settings.database_url, settings) as opened:
        yield opened


@pytest.fixture(scope="session")
async def execute(database_url: str) -> AsyncIterator[Execute]:
    """Runs SQL beside the application, for what no route does."""
    connection = await asyncpg.connect(dsn(database_url))

    async def run(sql: str, *arguments: Any) -> list[asyncpg.Record]:
        return await connection.fetch(sql, *arguments)

    yield run
    await connection.close()


@pytest.fixture
async def clean(execute: Execute) -> None:
    """Empty every table that tests fill."""
    names = [name for name in tables.metadata.tables if name not in KEPT]
    await execute(f"TRUNCATE {', '.join(names)}")


def _client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://case.test")


@pytest.fixture
async def anonymous(app: FastAPI, clean: None) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with _client(app) as client:
        yield client


@pytest.fixture
async def token(anonymous: httpx.AsyncClient) -> Callable[..., Awaitable[str]]:
    """Gets tokens from the token endpoint, for the scopes named by their last word."""

    async def get(*scopes: str) -> str:
        asked = " ".join(SCOPE + scope for scope in scopes)
        form = {"grant_type": "client_credentials", **({"scope": asked} if asked else {})}
        answer = await anonymous.post("/oauth2/token", data=form, auth=CLIENT)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    return get


@pytest.fixture
async def client(
    app: FastAPI, token: Callable[..., Awaitable[str]]
) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may do everything."""
    async with _client(app) as client:
        client.headers["Authorization"] = f"Bearer {await token()}"
        yield client


@pytest.fixture(params=PROFILES, ids=lambda profile: profile.name)
def any_profile(request: pytest.FixtureRequest) -> Profile:
    """Each profile in turn: the same test holds for all of them."""
    found: Profile = request.param
    return found


WRITERS = [profile for profile in PROFILES if profile.writes]


@pytest.fixture(params=WRITERS, ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> Profile:
    """Each profile that writes in turn."""
    found: Profile = request.param
    return found


@pytest.fixture
def api(client: httpx.AsyncClient, profile: Profile) -> Api:
    """A client that may do everything, on each profile in turn."""
    return Api(client, profile)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real frameworks and schemas beside the project, where they are."""
    found = Path(__file__).parents[2] / "shared"
    if not found.is_dir():
        pytest.skip("../shared, with real frameworks, is not beside this checkout")
    return found

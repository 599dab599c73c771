"""Fixtures: the application in test mode, with a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import make_url
from support.test_mode_client import BASE, TEST_API_TOKEN, Suite, client_of

from case_server.db.pool import dsn
from case_server.main import create_app
from case_server.settings import Settings


@pytest.fixture(scope="session")
def testmode_url(migrated_database: Callable[[str], str]) -> str:
    """A migrated database that has no connections."""
    return migrated_database("test_mode")


@pytest.fixture(scope="session")
def testmode_settings(testmode_url: str) -> Settings:
    return Settings(
        database_url=testmode_url, public_url=BASE, test_mode=True, test_api_token=TEST_API_TOKEN
    )


@pytest.fixture(scope="session")
async def testmode_app(testmode_settings: Settings) -> AsyncIterator[FastAPI]:
    application = create_app(testmode_settings)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
async def suite(testmode_app: FastAPI) -> AsyncIterator[Suite]:
    """The server's own namespace, holding nothing."""
    async with client_of(testmode_app) as http:
        found = Suite(http)
        await found.control("POST", "/reset")
        await found.login()
        await found.control("DELETE", "/requests", 204)
        yield found
        if found.reseeded:
            await found.control("POST", "/seed", body={})


@pytest.fixture
async def other(testmode_app: FastAPI, suite: Suite) -> AsyncIterator[Suite]:
    """A namespace beside it, by its path; dropped afterwards."""
    async with client_of(testmode_app) as http:
        found = Suite(http, "/ns/other")
        await found.control("GET", "")  # makes it, which only the control token may
        await found.login()
        yield found
    await suite.control("DELETE", "/namespaces/other", 204)


@pytest.fixture
async def databases(postgres: str) -> AsyncIterator[Callable[[], Awaitable[set[str]]]]:
    """The names of all databases of the Postgres."""
    connection = await asyncpg.connect(dsn(postgres))

    async def names() -> set[str]:
        rows = await connection.fetch("SELECT datname FROM pg_database")
        return {row["datname"] for row in rows}

    yield names
    await connection.close()


@pytest.fixture
def copies(
    testmode_url: str, databases: Callable[[], Awaitable[set[str]]]
) -> Callable[[], Awaitable[set[str]]]:
    """The names of the copies that this process's target has."""
    prefix = f"{make_url(testmode_url).database}_clone_"

    async def names() -> set[str]:
        return {name for name in await databases() if name.startswith(prefix)}

    return names

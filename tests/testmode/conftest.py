"""Fixtures: the application in test mode, with a database of its own."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from sqlalchemy import make_url
from support.applications import create_client, run_app
from support.databases import MigratedDatabase, open_connection
from support.test_mode_client import (
    BASE,
    TEST_API_TOKEN,
    ListDatabases,
    NamespaceClient,
    open_namespace,
)

from case_server.settings import Settings


@pytest.fixture(scope="session")
def testmode_url(migrated_database: MigratedDatabase) -> str:
    """A migrated database that has no connections."""
    return migrated_database("test_mode")


@pytest.fixture(scope="session")
def testmode_settings(testmode_url: str) -> Settings:
    return Settings(
        database_url=testmode_url, public_url=BASE, test_mode=True, test_api_token=TEST_API_TOKEN
    )


@pytest.fixture(scope="session")
async def testmode_app(testmode_settings: Settings) -> AsyncIterator[FastAPI]:
    async with run_app(testmode_settings) as (application, _):
        yield application


@pytest.fixture
async def namespace(testmode_app: FastAPI) -> AsyncIterator[NamespaceClient]:
    """A client of the default namespace, which is empty."""
    async with create_client(testmode_app) as http:
        client = NamespaceClient(http)
        await client.test_api("POST", "/reset")
        await client.login()
        await client.test_api("DELETE", "/requests", 204)
        yield client
        if client.is_reseeded:
            await client.test_api("POST", "/seed", body={})


@pytest.fixture
async def other(
    testmode_app: FastAPI, namespace: NamespaceClient
) -> AsyncIterator[NamespaceClient]:
    """A client of another namespace, addressed by its path."""
    async with open_namespace(testmode_app, "other") as client:
        await client.login()
        yield client
    await namespace.test_api("DELETE", "/namespaces/other", 204)


@pytest.fixture
async def databases(postgres: str) -> AsyncIterator[ListDatabases]:
    """Return a function that lists the databases of the Postgres server."""
    async with open_connection(postgres) as connection:

        async def names() -> set[str]:
            rows = await connection.fetch("SELECT datname FROM pg_database")
            return {row["datname"] for row in rows}

        yield names


@pytest.fixture
def clones(testmode_url: str, databases: ListDatabases) -> ListDatabases:
    """Return a function that lists the clones of the server in this test process."""
    prefix = f"{make_url(testmode_url).database}_clone_"

    async def names() -> set[str]:
        return {name for name in await databases() if name.startswith(prefix)}

    return names

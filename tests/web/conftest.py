"""Fixtures: HTTP clients of the web UI with and without a session."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import CLIENT
from fastapi import FastAPI
from httpx import AsyncClient
from support.applications import BASE_URL, create_client, run_app

from case_server.main import create_app
from case_server.settings import DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, Settings

LOOPBACK = "http://127.0.0.1:8000"
CREDENTIALS = {"client_id": CLIENT[0], "client_secret": CLIENT[1]}


def visitor(app: FastAPI, base_url: str = BASE_URL) -> AsyncClient:
    """Return an HTTP client that sends forms as a browser does, with the origin of their page."""
    client = create_client(app, base_url)
    client.headers["Origin"] = base_url
    return client


@asynccontextmanager
async def run_for_visitor(
    settings: Settings, base_url: str = BASE_URL, **changes: Any
) -> AsyncIterator[AsyncClient]:
    """Run an application with changed settings during a block, for a visitor."""
    app = create_app(settings.model_copy(update=changes))
    async with app.router.lifespan_context(app), visitor(app, base_url) as browser:
        yield browser


@pytest.fixture
async def anonymous_browser(app: FastAPI, clean: None) -> AsyncIterator[AsyncClient]:
    """A browser without a session."""
    async with visitor(app) as browser:
        yield browser


@pytest.fixture
async def browser(app: FastAPI, clean: None) -> AsyncIterator[AsyncClient]:
    """A browser with a session."""
    async with visitor(app) as browser:
        response = await browser.post("/sign-in", data=CREDENTIALS)
        assert response.status_code == 303, response.text
        yield browser


@pytest.fixture(scope="session")
async def open_app(database_url: str) -> AsyncIterator[FastAPI]:
    """The application with the default client on a loopback address, which needs no sign-in."""
    settings = Settings(
        database_url=database_url,
        client_id=DEFAULT_CLIENT_ID,
        client_secret=DEFAULT_CLIENT_SECRET,
        max_body_mb=1,
    )
    async with run_app(settings) as (app, _):
        yield app


@pytest.fixture
async def local(open_app: FastAPI, clean: None) -> AsyncIterator[AsyncClient]:
    """A browser on the machine of the server, which needs no sign-in."""
    async with visitor(open_app, LOOPBACK) as browser:
        yield browser

"""Fixtures: HTTP clients of the web UI with and without a session."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from conftest import CLIENT
from fastapi import FastAPI

from case_server.main import create_app
from case_server.settings import DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, Settings


def visitor(app: FastAPI, base_url: str = "http://case.test") -> httpx.AsyncClient:
    """Return an HTTP client that sends forms as a browser does, with the origin of their page."""
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url=base_url, headers={"Origin": base_url})


@pytest.fixture
async def anonymous_browser(app: FastAPI, clean: None) -> AsyncIterator[httpx.AsyncClient]:
    """A browser without a session."""
    async with visitor(app) as browser:
        yield browser


@pytest.fixture
async def browser(app: FastAPI, clean: None) -> AsyncIterator[httpx.AsyncClient]:
    """A browser with a session."""
    async with visitor(app) as browser:
        form = {"client_id": CLIENT[0], "client_secret": CLIENT[1]}
        answer = await browser.post("/sign-in", data=form)
        assert answer.status_code == 303, answer.text
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
    application = create_app(settings)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
async def local(open_app: FastAPI, clean: None) -> AsyncIterator[httpx.AsyncClient]:
    """A browser on the machine of the server, which needs no sign-in."""
    async with visitor(open_app, "http://127.0.0.1:8000") as browser:
        yield browser

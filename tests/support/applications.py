"""The application in the process of the tests, and HTTP clients that call it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from case_server.main import create_app
from case_server.settings import Settings

BASE_URL = "http://case.test"


def create_client(app: Any, base_url: str = BASE_URL, **options: Any) -> AsyncClient:
    """Return a client of an ASGI application; ``options`` are those of httpx's transport."""
    transport = ASGITransport(app, **options)
    return AsyncClient(transport=transport, base_url=base_url)


async def authorize(
    client: AsyncClient, credentials: tuple[str, str], path: str = "/oauth2/token"
) -> None:
    """Request a token for all scopes, and let the client send it."""
    form = {"grant_type": "client_credentials"}
    response = await client.post(path, data=form, auth=credentials)
    assert response.status_code == 200, response.text
    client.headers["Authorization"] = f"Bearer {response.json()['access_token']}"


@asynccontextmanager
async def run_app(settings: Settings) -> AsyncIterator[tuple[FastAPI, AsyncClient]]:
    """Run an application with these settings during a block, for a client that sends no token."""
    app = create_app(settings)
    async with app.router.lifespan_context(app), create_client(app) as client:
        yield app, client

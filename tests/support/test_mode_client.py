"""A client of one namespace of a server in test mode."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from httpx import AsyncClient, Response
from support import factories
from support.applications import BASE_URL, authorize, create_client

ListDatabases = Callable[[], Awaitable[set[str]]]

BASE = BASE_URL
TEST_API_TOKEN = "a test API token"
DOCUMENTS = "/case/1.1/CFDocuments"


@dataclass
class NamespaceClient:
    """Sends requests to a server in test mode: to the API and the test API of one namespace."""

    http: AsyncClient
    prefix: str = ""
    is_reseeded: bool = False
    """True if the test has replaced the seed data."""

    async def test_api(self, method: str, path: str, status: int = 200, body: Any = None) -> Any:
        options: dict[str, Any] = {} if body is None else {"json": body}
        headers = {"Authorization": f"Bearer {TEST_API_TOKEN}"}
        url = f"{self.prefix}/_test{path}"
        response = await self.http.request(method, url, headers=headers, **options)
        assert response.status_code == status, f"{method} {path}: {response.text}"
        self.is_reseeded |= path.startswith("/seed") and status == 200
        return response.json() if response.content else None

    async def login(self) -> None:
        credentials = ("local-client", "local-secret")
        await authorize(self.http, credentials, f"{self.prefix}/oauth2/token")

    async def call(self, method: str, path: str, **options: Any) -> Response:
        return await self.http.request(method, f"{self.prefix}{path}", **options)

    async def put_document(self, status: int = 201, **fields: Any) -> factories.Body:
        body = factories.document(**fields)
        response = await self.call("PUT", f"{DOCUMENTS}/{body['identifier']}", json=body)
        assert response.status_code == status, response.text
        return body

    async def list_namespaces(self) -> list[str]:
        return [entry["namespace"] for entry in await self.test_api("GET", "/namespaces")]

    async def total(self) -> int:
        response = await self.call("GET", DOCUMENTS)
        assert response.status_code == 200, response.text
        return int(response.json()["total"])


@asynccontextmanager
async def open_namespace(app: FastAPI, name: str) -> AsyncIterator[NamespaceClient]:
    """Create a namespace, and yield a client that addresses it by its path."""
    async with create_client(app) as http:
        client = NamespaceClient(http, f"/ns/{name}")
        await client.test_api("GET", "")  # creates it, which requires the test API token
        yield client


async def list_idle_clones(app: FastAPI, clones: ListDatabases) -> set[str]:
    """Wait until no database clone is being dropped, then return the names of all clones."""
    for namespace in app.state.namespaces.by_name.values():
        await asyncio.gather(*namespace._drops)
    await app.state.namespaces._cloner.wait_for_drops()
    return await clones()

"""How tests talk to a target: a client of one namespace, and a hand on the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from support import factories

BASE = "http://case.test"
TEST_API_TOKEN = "a test API token"
DOCUMENTS = "/case/1.1/CFDocuments"


@dataclass
class Suite:
    """One suite of tests: a client of one namespace, and its hand on the server."""

    http: httpx.AsyncClient
    prefix: str = ""
    reseeded: bool = False
    """Whether its seed is no more what the server began with."""

    async def control(self, method: str, path: str, status: int = 200, body: Any = None) -> Any:
        options: dict[str, Any] = {} if body is None else {"json": body}
        headers = {"Authorization": f"Bearer {TEST_API_TOKEN}"}
        url = f"{self.prefix}/_test{path}"
        answer = await self.http.request(method, url, headers=headers, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.text}"
        self.reseeded |= path.startswith("/seed") and status == 200
        return answer.json() if answer.content else None

    async def login(self) -> None:
        form = {"grant_type": "client_credentials"}
        pair = ("local-client", "local-secret")
        answer = await self.http.post(f"{self.prefix}/oauth2/token", data=form, auth=pair)
        assert answer.status_code == 200, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.http.request(method, f"{self.prefix}{path}", **options)

    async def put_document(self) -> factories.Body:
        body = factories.document()
        answer = await self.call("PUT", f"{DOCUMENTS}/{body['identifier']}", json=body)
        assert answer.status_code == 201, answer.text
        return body

    async def total(self) -> int:
        answer = await self.call("GET", DOCUMENTS)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["total"])


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE)


async def settled(app: FastAPI, copies: Callable[[], Awaitable[set[str]]]) -> set[str]:
    """The copies, once none is being made ready or dropped behind anybody's back."""
    for namespace in app.state.namespaces.all():
        await asyncio.gather(*namespace._drops)
    await app.state.namespaces._cloner.wait_for_drops()
    return await copies()

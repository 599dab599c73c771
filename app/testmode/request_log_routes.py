"""Control over what goes wrong, and questions about what clients sent."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, TypeAdapter

from ..api.responses import json_response
from .faults import Fault
from .request_body import namespace_of, read_json, read_query
from .request_log import Wanted
from .verification import Expectation, differences


def add_watching_routes(router: APIRouter) -> None:
    """Faults, the journal, and expectations."""
    router.get("/faults")(faults)
    router.put("/faults")(set_faults)
    router.post("/faults")(add_faults)
    router.delete("/faults")(delete_faults)
    router.get("/requests")(requests)
    router.delete("/requests")(delete_requests)
    router.post("/requests/verify")(verify)


class Asked(BaseModel):
    """Which requests of the journal are to be told."""

    model_config = ConfigDict(extra="forbid")

    method: str | None = None
    path: str | None = None
    client: str | None = None
    status: int | None = None
    since: datetime | None = None
    body: bool = False

    def wanted(self) -> Wanted:
        """The same as the journal asks it; a time without an offset is in UTC."""
        since = self.since
        if since is not None and since.tzinfo is None:
            since = since.replace(tzinfo=UTC)
        seconds = None if since is None else since.timestamp()
        return Wanted(self.method, self.path, None, self.client, self.status, seconds)


FAULTS = TypeAdapter(list[Fault])
EXPECTATIONS = TypeAdapter(list[Expectation])
ASKED = TypeAdapter(Asked)


async def faults(request: Request) -> Response:
    """The rules there are, and how often each matched and was applied."""
    return json_response([rule.told() for rule in namespace_of(request).faults.rules])


async def set_faults(request: Request) -> Response:
    """These rules and no others."""
    rules = await read_json(request, FAULTS)
    namespace_of(request).faults.replace(rules)
    return await faults(request)


async def add_faults(request: Request) -> Response:
    """These rules after those there are."""
    rules = await read_json(request, FAULTS)
    namespace_of(request).faults.add(rules)
    return await faults(request)


async def delete_faults(request: Request) -> Response:
    """Nothing goes wrong any more."""
    namespace_of(request).faults.replace([])
    return Response(status_code=204)


async def requests(request: Request) -> Response:
    """What clients sent, the oldest first."""
    asked = read_query(request, ASKED)
    found = namespace_of(request).journal.find(asked.wanted())
    return json_response([entry.told(body=asked.body) for entry in found])


async def delete_requests(request: Request) -> Response:
    """Forget what clients sent."""
    namespace_of(request).journal.clear()
    return Response(status_code=204)


async def verify(request: Request) -> Response:
    """Compare the request log with expectations; return ``met`` and the differences."""
    expectations = await read_json(request, EXPECTATIONS)
    found = list(differences(namespace_of(request).journal, expectations))
    return json_response({"met": not found, "differences": found})

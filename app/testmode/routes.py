"""The control API: ``/_test/``, outside CASE and its scopes, never in the OpenAPI document.

Here is what concerns the data: where it goes back to, and the namespaces it is in.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, TypeAdapter, model_validator

from ..api.responses import json_response
from ..case.package import Package, parse_package
from ..case.package_stream import parse_large_package
from ..case.resources import ASSOCIATIONS, ITEMS
from ..exceptions import BadRequest, Problem, UnprocessableContent
from ..repair.reader import read_repaired
from ..sample import sample
from .deletion_routes import add_deletion_routes
from .middleware import CONTROL
from .namespace import Namespace
from .namespaces import NAME, Namespaces
from .request_body import flag, namespace_of, read_json
from .request_log_routes import add_watching_routes
from .token_routes import add_token_routes


def test_api_routes() -> APIRouter:
    """Everything under ``/_test/``, to be mounted only in target mode."""
    router = APIRouter(prefix=CONTROL, include_in_schema=False)
    router.get("")(summary)
    router.post("/reset")(reset)
    router.post("/seed")(seed)
    router.get("/snapshots")(snapshots)
    router.post("/snapshots/{name}")(take_snapshot)
    router.post("/snapshots/{name}/restore")(restore_snapshot)
    router.delete("/snapshots/{name}")(delete_snapshot)
    router.get("/namespaces")(namespaces)
    router.delete("/namespaces/{name}")(delete_namespace)
    add_deletion_routes(router)
    add_watching_routes(router)
    add_token_routes(router)
    return router


class Seed(BaseModel):
    """What a namespace is to hold: the sample, packages, both or nothing."""

    model_config = ConfigDict(extra="forbid")

    sample: bool = False
    packages: list[dict[str, Any]] = []

    @model_validator(mode="before")
    @classmethod
    def _one_package(cls, sent: Any) -> Any:
        """A package may stand alone."""
        if isinstance(sent, dict) and PACKAGE_NAMES & sent.keys():
            return {"packages": [sent]}
        return sent


SEED = TypeAdapter(Seed)
PACKAGE_NAMES = {"CFDocument", "CFPackage", "package"}
"""What tells a CFPackage, bare or wrapped."""


async def summary(request: Request) -> Response:
    """Where the namespace is, and what can be gone back to."""
    return json_response(_told(namespace_of(request)))


async def reset(request: Request) -> Response:
    """Go back to the seed; forget faults, journal, token lifetimes and failed logins."""
    begun, namespace = time.perf_counter(), namespace_of(request)
    await namespace.reset()
    milliseconds = round(1000 * (time.perf_counter() - begun), 3)
    return json_response({**_told(namespace), "milliseconds": milliseconds})


async def seed(request: Request) -> Response:
    """Make what is sent the seed, and go there."""
    namespace, repairing = namespace_of(request), flag(request.query_params, "repair")
    wanted = await read_json(request, SEED, absent="{}")
    packages = await to_thread.run_sync(lambda: list(_packages(wanted, repairing=repairing)))
    await _namespaces(request).seed(namespace, packages)
    counts = {
        "documents": len(packages),
        "items": sum(package.count(ITEMS.name) for package in packages),
        "associations": sum(package.count(ASSOCIATIONS.name) for package in packages),
    }
    return json_response({**_told(namespace), "seeded": counts})


def _packages(wanted: Seed, *, repairing: bool) -> Iterator[Package]:
    """The packages of a seed, read as an upload is; problems say in which one they are."""

    def read(raw: bytes) -> Package:
        return read_repaired(raw)[0] if repairing else parse_large_package(raw)

    if wanted.sample:
        yield parse_package(sample())
    problems: list[Problem] = []
    for number, package in enumerate(wanted.packages):
        try:
            yield read(orjson.dumps(package))
        except UnprocessableContent as error:
            within = f"packages[{number}]."
            problems += [{**one, "path": within + one["path"]} for one in error.problems]
    if problems:
        raise UnprocessableContent("a package of the seed is not valid", problems=problems)


async def snapshots(request: Request) -> Response:
    """The names of what can be restored."""
    return json_response(list(namespace_of(request).snapshots))


async def take_snapshot(name: str, request: Request) -> Response:
    """Keep the data as it is now, in place of what was kept under this name."""
    if not NAME.fullmatch(name):
        raise BadRequest(
            f"{name!r} is no name for a snapshot: 1 to 40 of the characters a-z, 0-9 and -"
        )
    namespace = namespace_of(request)
    await namespace.snapshot(name)
    return json_response(_told(namespace), 201)


async def restore_snapshot(name: str, request: Request) -> Response:
    """Go back to what was kept."""
    begun, namespace = time.perf_counter(), namespace_of(request)
    await namespace.restore(name)
    milliseconds = round(1000 * (time.perf_counter() - begun), 3)
    return json_response({**_told(namespace), "milliseconds": milliseconds})


async def delete_snapshot(name: str, request: Request) -> Response:
    """Forget what was kept."""
    await namespace_of(request).forget_snapshot(name)
    return Response(status_code=204)


async def namespaces(request: Request) -> Response:
    """Every namespace there is."""
    return json_response([_told(one) for one in _namespaces(request).all()])


async def delete_namespace(name: str, request: Request) -> Response:
    """Drop a namespace with its data; its next use makes it anew."""
    await _namespaces(request).drop(name)
    return Response(status_code=204)


def _namespaces(request: Request) -> Namespaces:
    found: Namespaces = request.app.state.namespaces
    return found


def _told(namespace: Namespace) -> dict[str, Any]:
    return {
        "namespace": namespace.name,
        "base_url": namespace.base_url,
        "snapshots": list(namespace.snapshots),
        "faults": len(namespace.faults.rules),
        "requests": len(namespace.journal),
    }

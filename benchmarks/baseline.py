"""A bare application on the same stack: the baseline with which the server is compared.

It uses Starlette and asyncpg with the server's pool settings, but no authentication, validation or
API profiles. uvicorn runs it with the options of the server.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

DATABASE = "BENCHMARK_DATABASE_URL"
STATIC = "BENCHMARK_STATIC"
"""Environment variables with the database URL, and the folder of static responses."""

JSON = "application/json"
POOL_SIZE = 8
BATCH = 200

ITEM = "SELECT body FROM items WHERE identifier = $1 AND deleted_at IS NULL"
# OFFSET 0 prevents the planner from joining whole tables to check a few nodes.
IS_DELETED = """EXISTS (
    SELECT 1 FROM {table} WHERE identifier = {end} AND deleted_at IS NOT NULL OFFSET 0)"""
IS_VISIBLE = " AND ".join(
    "NOT " + IS_DELETED.format(table=table, end=end)
    for table in ("items", "documents")
    for end in ("origin_identifier", "destination_identifier")
)
ASSOCIATIONS = f"""
    SELECT body FROM associations WHERE identifier IN (
        SELECT identifier FROM associations WHERE origin_identifier = $1
        UNION SELECT identifier FROM associations WHERE destination_identifier = $1
    ) AND {IS_VISIBLE} ORDER BY ordinal"""
BODIES = "SELECT body FROM {table} WHERE document_identifier = $1 ORDER BY ordinal"


async def _skip_connection_reset(_: Any) -> None:
    """Skip asyncpg's reset of a released connection, as the server's pool does."""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Open a connection pool with the server's settings while the application runs."""
    async with asyncpg.create_pool(
        os.environ[DATABASE],
        min_size=1,
        max_size=POOL_SIZE,
        statement_cache_size=1024,
        max_cached_statement_lifetime=0,
        reset=_skip_connection_reset,
    ) as pool:
        app.state.pool = pool
        yield


async def get_item(request: Request) -> Response:
    """Respond with the JSON of an item exactly as it is stored."""
    async with request.app.state.pool.acquire() as connection:
        row = await connection.fetchrow(ITEM, request.path_params["identifier"])
    return Response(row["body"], media_type=JSON)


async def get_item_associations(request: Request) -> Response:
    """Respond with the stored JSON of an item and its associations, using two SQL queries."""
    identifier = request.path_params["identifier"]
    async with request.app.state.pool.acquire() as connection:
        row = await connection.fetchrow(ITEM, identifier)
        rows = await connection.fetch(ASSOCIATIONS, identifier)
    associations = ",".join(association["body"] for association in rows)
    body = f'{{"CFItem":{row["body"]},"CFAssociations":[{associations}]}}'
    return Response(body, media_type=JSON)


async def stream_package(request: Request) -> Response:
    """Stream the stored JSON of a framework's items and associations through SQL cursors."""

    async def chunks() -> AsyncIterator[str]:
        identifier = request.path_params["identifier"]
        pool: asyncpg.Pool[asyncpg.Record] = request.app.state.pool
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            for table in ("items", "associations"):
                cursor = await connection.cursor(BODIES.format(table=table), identifier)
                while rows := await cursor.fetch(BATCH):
                    yield ",".join(association["body"] for association in rows)

    return StreamingResponse(chunks(), media_type=JSON)


CACHED: dict[str, bytes] = {}


async def get_static_file(request: Request) -> Response:
    """Respond with a file cached in memory, which is the cheapest possible response."""
    name = request.path_params["name"]
    if name not in CACHED:
        CACHED[name] = (Path(os.environ[STATIC]) / name).read_bytes()
    return Response(CACHED[name], media_type=JSON)


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/items/{identifier}", get_item),
        Route("/item-associations/{identifier}", get_item_associations),
        Route("/packages/{identifier}", stream_package),
        Route("/static/{name}", get_static_file),
    ],
)

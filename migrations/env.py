"""Alembic environment: connect to the database and run the migrations with a lock timeout."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from case_server.db.connector import connect
from case_server.db.schema import trigrams
from case_server.db.schema.tables import metadata
from case_server.settings import Settings


def run(connection: Connection) -> None:
    # Only one of several servers started at once migrates. The others wait as long as it takes,
    # because this wait blocks nothing, and a migration may rewrite tables for minutes.
    connection.execute(text("SELECT pg_advisory_lock(hashtext('case-server migrations'))"))
    # A migration that waits for a lock would block all queries behind it, so it fails instead.
    connection.execute(text("SET lock_timeout = '5s'"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transaction_per_migration=True,
        # This index depends on an extension and is not part of the schema version.
        include_name=lambda name, *_: name != trigrams.INDEX_NAME,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_migrations(url: str) -> None:
    # `connect` supports more of libpq's parameters than SQLAlchemy.
    engine = create_async_engine(
        "postgresql+asyncpg://", poolclass=NullPool, async_creator=lambda: connect(url)
    )
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


if context.is_offline_mode():
    raise SystemExit("the migrations read the database: run alembic without --sql")
url = context.config.get_main_option("sqlalchemy.url") or Settings().database_url
if not url:
    raise SystemExit("set CASE_SERVER_DATABASE_URL to the database to migrate")
asyncio.run(run_migrations(url))

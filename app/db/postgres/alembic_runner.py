"""Run the migrations with Alembic."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from ... import migrations
from ..schema import trigrams


def build_alembic_config(url: str) -> Config:
    """Build the ``Config`` with which Alembic's commands run on the database at ``url``."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    # Alembic interpolates %.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def migrate(url: str) -> None:
    """Migrate the database at ``url`` to the newest schema, one transaction per migration.

    Also creates the trigram index for substring search if it does not exist and Postgres offers the
    extension. Raises asyncpg's errors, without SQLAlchemy's wrappers.
    """
    try:
        command.upgrade(build_alembic_config(url), "head")
    except DBAPIError as error:
        raise _unwrap_driver_error(error) from error
    asyncio.run(trigrams.create_trigram_index(url))


def _unwrap_driver_error(error: BaseException) -> BaseException:
    """Return the asyncpg error that SQLAlchemy wrapped in ``error``, or ``error`` itself."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, asyncpg.PostgresError | asyncpg.InterfaceError | OSError):
            return cause
        cause = getattr(cause, "orig", None) or cause.__cause__
    return error

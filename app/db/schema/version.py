"""The schema's version: what the database has, and what this release needs.

The way from one to the other is ``migrating``, on which a server that is up to date does not wait.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from ... import migrations

VERSIONS = Path(migrations.__file__).parent / "versions"
NAMED = re.compile(r'^(down_)?revision = "(\w+)"$', re.MULTILINE)


class Executor(Protocol):
    """A connection, from a pool or not."""

    async def fetchval(self, query: str) -> Any:
        """The first value of the first row."""


@cache
def _revisions() -> tuple[set[str], set[str]]:
    """The revisions that the migrations lead to, and those that they come from."""
    texts = (file.read_text() for file in VERSIONS.glob("*.py"))
    named = [found for text in texts for found in NAMED.findall(text)]
    return {name for down, name in named if not down}, {name for down, name in named if down}


def get_required_schema_version() -> str:
    """The revision that this release works with."""
    to, come_from = _revisions()
    (head,) = to - come_from
    return head


def is_known(revision: str) -> bool:
    """Whether this release has a migration of that name."""
    return revision in _revisions()[0]


async def get_schema_version(connection: Executor) -> str | None:
    """The revision the database is at; None when it has no schema of ours."""
    if not await connection.fetchval("SELECT to_regclass('alembic_version')"):
        return None
    revision = await connection.fetchval("SELECT version_num FROM alembic_version")
    return str(revision) if revision else None

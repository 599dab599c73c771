"""The schema version: the one a database has, and the one this release requires.

Reads the revisions from the text of the migrations, because importing Alembic would delay the start
of a server whose database is up to date.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from ... import migrations
from ..connector import AnyConnection

MIGRATIONS_DIR = Path(migrations.__file__).parent / "versions"
REVISION_LINE = re.compile(r'^(down_)?revision = "(\w+)"$', re.MULTILINE)


@cache
def _read_revisions_and_parents() -> tuple[set[str], set[str]]:
    """Return the revisions of all migrations and the down-revisions, as two sets.

    A migration's down-revision is its parent, the revision that it upgrades.
    """
    texts = (file.read_text() for file in MIGRATIONS_DIR.glob("*.py"))
    matches = [match for text in texts for match in REVISION_LINE.findall(text)]
    return {name for down, name in matches if not down}, {name for down, name in matches if down}


def get_required_schema_version() -> str:
    """Return the schema version that this release requires, which is its newest migration.

    Raises ``ValueError`` unless the migrations have exactly one head.
    """
    revisions, parents = _read_revisions_and_parents()
    (head,) = revisions - parents
    return head


def is_known_revision(revision: str) -> bool:
    """Return whether this release has a migration with this Alembic revision.

    A database with an unknown revision was migrated by a newer release.
    """
    return revision in _read_revisions_and_parents()[0]


async def get_schema_version(connection: AnyConnection) -> str | None:
    """Return the schema version of a database as a string, or None without a case-server schema.

    The version is the Alembic revision of its newest migration.
    """
    if not await connection.fetchval("SELECT to_regclass('alembic_version')"):
        return None
    revision = await connection.fetchval("SELECT version_num FROM alembic_version")
    return str(revision) if revision else None

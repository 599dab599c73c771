"""Commands that delete: softly, back again, and for good."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import click

from ..case.resources import DOCUMENTS, ITEMS
from ..db.write import purge as purging
from ..db.write import soft_delete
from .shared import command_database, database_option, settings_of, with_database

KINDS = {"document": DOCUMENTS, "item": ITEMS}

each_kind = click.argument("kind", type=click.Choice([*KINDS]))
each_identifier = click.argument("identifier", metavar="ID")

DONE = {"delete": "deleted", "revive": "brought back"}


@click.command()
@each_kind
@each_identifier
@database_option
def delete(kind: str, identifier: str, database_url: str | None) -> None:
    """Delete a document with all that is in it, or one item.

    Nothing is lost: it is answered no longer, and `case-server undelete` brings it back. What is to
    be gone for good is removed by `case-server purge` afterwards.
    """
    with command_database(settings_of(database_url=database_url), "into") as settings:
        found = asyncio.run(
            with_database(settings, lambda base: soft_delete.delete(base, KINDS[kind], identifier))
        )
    _tell(found)


@click.command()
@each_kind
@each_identifier
@database_option
def undelete(kind: str, identifier: str, database_url: str | None) -> None:
    """Bring back a deleted document, with what was deleted with it, or a deleted item.

    What does not come back is told with the reason: a package identifier that another document has
    now, associations of which another node is deleted, what had been deleted before.
    """
    with command_database(settings_of(database_url=database_url), "into") as settings:
        undeleted = asyncio.run(
            with_database(
                settings, lambda base: soft_delete.undelete(base, KINDS[kind], identifier)
            )
        )
    _tell(undeleted.changes)
    for reason in undeleted.not_restored:
        click.echo(f"not restored: {reason}")


def _tell(found: Counter[tuple[str, str]]) -> None:
    for (kind, operation), count in found.items():
        click.echo(f"{kind}: {count:,} {DONE[operation]}")


class Age(click.ParamType[timedelta]):
    """How long ago: a number and a unit."""

    name = "age"
    units: Mapping[str, str] = {"h": "hours", "d": "days", "w": "weeks"}

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read "36h", "30d" or "8w"."""
        found = re.fullmatch(r"(\d{1,5})([hdw])", value)
        if not found:
            self.fail(f"{value!r} is no age; write it as 36h, 30d or 8w", param, ctx)
        return timedelta(**{self.units[found[2]]: int(found[1])})


@click.command()
@click.option(
    "--older-than",
    type=Age(),
    required=True,
    metavar="AGE",
    help="How long ago it was deleted: 36h, 30d, 8w.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_option
def purge(older_than: timedelta, dry_run: bool, yes: bool, database_url: str | None) -> None:  # noqa: FBT001  flags of a command
    """Remove for good what was deleted long ago.

    Documents go with all that was in them, items with the associations they are an end of. Of
    what the feed of changes tells of that time, only the latest of each entity is kept.
    """
    before = datetime.now(UTC) - older_than
    with command_database(settings_of(database_url=database_url), "into") as settings:
        found = asyncio.run(
            with_database(settings, lambda base: purging.purge(base, before, dry_run=True))
        )
        _tell_purged(found, "would be removed")
        if dry_run or not found:
            return
        if not yes:
            click.confirm("Remove them for good?", abort=True)
        found = asyncio.run(with_database(settings, lambda base: purging.purge(base, before)))
        _tell_purged(found, "removed")


def _tell_purged(found: Counter[str], done: str) -> None:
    if not found:
        click.echo("nothing is that old")
    for kind, count in found.items():
        click.echo(f"{kind}: {count:,} {done}")

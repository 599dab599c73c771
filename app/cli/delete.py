"""The ``delete``, ``undelete`` and ``purge`` commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import click

from ..case.resources import DOCUMENTS, ITEMS, ResourceType
from ..db.pool import Database
from ..db.write import soft_delete
from ..db.write.purge import purge as purge_database
from ..exceptions import NotFound
from ..settings import Settings
from ..transfer.framework_ids import make_framework_not_found_error, suggest_item_id
from .shared import DurationParamType, Result, add_settings_option, combine_options, run_on_database

RESOURCES = {"document": DOCUMENTS, "item": ITEMS}

add_entity_parameters = combine_options(
    click.argument("kind", type=click.Choice([*RESOURCES])),
    click.argument("identifier", metavar="ID"),
    add_settings_option,
)
"""Adds the arguments that name a document or an item to a command, and --database-url."""

OPERATION_LABELS = {"delete": "deleted", "revive": "restored"}


@click.command("delete")
@add_entity_parameters
def delete_entity(kind: str, identifier: str, settings: Settings) -> None:
    """Delete a document with its contents, or an item.

    The deletion is soft: the API no longer returns the entities, and `case-server undelete`
    restores them. `case-server purge` removes them permanently.

    \b
    Example: case-server delete document 5a7f2c1e-0d7e-4a53-9c67-0b8d2f1e6a34
    """  # noqa: D301  click keeps the lines after its \b as they are
    changes = _run_on_entity(soft_delete.delete_entity, kind, identifier, settings, deleted=False)
    _print_changes(changes)


@click.command("undelete")
@add_entity_parameters
def undelete_entity(kind: str, identifier: str, settings: Settings) -> None:
    """Restore a deleted document or item.

    A document is restored with everything that was deleted with it. Conflicts are skipped and
    reported: a package identifier that another document now uses, an association whose other end is
    deleted, or an entity that had been deleted earlier.

    \b
    Example: case-server undelete document 5a7f2c1e-0d7e-4a53-9c67-0b8d2f1e6a34
    """  # noqa: D301  click keeps the lines after its \b as they are
    result = _run_on_entity(soft_delete.undelete_entity, kind, identifier, settings, deleted=True)
    _print_changes(result.changes)
    for reason in result.not_restored:
        click.echo(f"not restored: {reason}")


def _run_on_entity(
    operation: Callable[[Database, ResourceType, str], Awaitable[Result]],
    kind: str,
    identifier: str,
    settings: Settings,
    *,
    deleted: bool,
) -> Result:
    """Return the result of ``operation(database, resource, identifier)`` on a document or item.

    ``kind`` is "document" or "item". If the operation raises ``NotFound``, its message suggests
    similar identifiers: of deleted entities if ``deleted`` is true, otherwise of existing ones.
    """
    resource = RESOURCES[kind]

    async def run(database: Database) -> Result:
        try:
            return await operation(database, resource, identifier)
        except NotFound as error:
            if resource is DOCUMENTS:
                raise await make_framework_not_found_error(
                    database, identifier, deleted=deleted
                ) from error
            if advice := await suggest_item_id(database, identifier, deleted=deleted):
                name = f"deleted {resource.name}" if deleted else resource.name
                raise NotFound(name, identifier, advice) from error
            raise

    return run_on_database(settings, "write", run)


def _print_changes(changes: Counter[tuple[str, str]]) -> None:
    for operation, label in OPERATION_LABELS.items():
        counts = [f"{kind} ({count:,})" for (kind, op), count in changes.items() if op == operation]
        if counts:
            click.echo(f"{label}: {', '.join(counts)}")


@click.command("purge")
@click.option(
    "--older-than",
    type=DurationParamType(),
    required=True,
    metavar="AGE",
    help="Minimum time since the deletion, for example 36h, 30d or 8w.",
)
@click.option("--dry-run", is_flag=True, help="Only report what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@add_settings_option
def purge_entities(*, older_than: timedelta, dry_run: bool, yes: bool, settings: Settings) -> None:
    """Remove deleted entities permanently.

    Documents are removed with everything in them, items with their associations. In the
    change feed, entries older than AGE are reduced to the latest one per entity.

    \b
    Example: case-server purge --older-than 30d --dry-run
    """  # noqa: D301  click keeps the lines after its \b as they are
    before = datetime.now(UTC) - older_than
    if dry_run or not yes:  # with --yes, a dry run would only double the time
        counts = run_on_database(
            settings, "write", lambda database: purge_database(database, before, dry_run=True)
        )
        _print_purged(counts, "would be removed")
        if dry_run or not counts:
            return
        click.confirm("Remove them permanently?", abort=True)
    counts = run_on_database(
        settings, "write", lambda database: purge_database(database, before), quiet=not yes
    )
    _print_purged(counts, "removed")


def _print_purged(counts: Counter[str], label: str) -> None:
    if not counts:
        click.echo("nothing was deleted that long ago")
    for kind, count in counts.items():
        click.echo(f"{kind}: {count:,} {label}")

"""The ``list`` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..formatting import format_timestamp
from ..server.startup import has_database
from .shared import add_settings_option, make_format_option, print_table, run_on_database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..db.pool import Database
    from ..db.read.lists.frameworks import FrameworkSummary
    from ..settings import Settings


@click.command("list")
@click.argument("prefix", metavar="[PREFIX]", default="")
@click.option("--deleted", is_flag=True, help="List deleted frameworks instead.")
@make_format_option("text", "json")
@add_settings_option
def print_frameworks(*, prefix: str, deleted: bool, output_format: str, settings: Settings) -> None:
    """List the stored frameworks.

    Prints the identifier, number of items, creator and title of each framework, sorted by title.
    PREFIX selects the frameworks whose document or package identifier starts with it.

    \b
    case-server list
    case-server list --deleted --format json
    """  # noqa: D301  click keeps the lines after its \b as they are
    rows: Sequence[FrameworkSummary] = []
    advice = ""
    if has_database(settings):

        async def fetch(database: Database) -> tuple[list[FrameworkSummary], str]:
            # Imported late: --help does without the database code.
            from ..db.read.lists.frameworks import (  # noqa: PLC0415  see above
                list_framework_summaries,
            )
            from ..transfer.framework_ids import suggest_framework_id  # noqa: PLC0415  see above

            rows = await list_framework_summaries(database, prefix, only_deleted=deleted)
            if rows or not prefix:
                return rows, ""
            return rows, await suggest_framework_id(database, prefix, deleted=deleted)

        rows, advice = run_on_database(settings, "read", fetch)
    if output_format == "json":
        _print_json(rows)
    elif rows:
        width = max(len(f"{row.item_count:,}") for row in rows)
        print_table(
            [
                (
                    row.identifier,
                    f"{row.item_count:{width},} {'item' if row.item_count == 1 else 'items'}",
                    row.creator or "",
                    row.title,
                )
                for row in rows
            ]
        )
    else:
        click.echo(_describe_empty_list(prefix, advice, deleted=deleted), err=True)


def _describe_empty_list(prefix: str, advice: str, *, deleted: bool) -> str:
    kind = "deleted frameworks" if deleted else "frameworks"
    if prefix:
        return f"no {kind} with an identifier that starts with {prefix!r}: {advice}".rstrip(": ")
    return f"no {kind}" if deleted else f"no {kind}: load one, e.g. case-server import --sample"


def _print_json(rows: Sequence[FrameworkSummary]) -> None:
    import orjson  # noqa: PLC0415  only this format needs it

    frameworks: list[dict[str, Any]] = [
        {
            "identifier": row.identifier,
            "packageIdentifier": row.package_identifier,
            "title": row.title,
            "creator": row.creator,
            "items": row.item_count,
            "lastChangeDateTime": format_timestamp(row.last_change_date_time),
            "deletedAt": format_timestamp(row.deleted_at) if row.deleted_at else None,
        }
        for row in rows
    ]
    click.echo(orjson.dumps(frameworks, option=orjson.OPT_INDENT_2).decode())

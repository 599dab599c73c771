"""The ``backup`` and ``restore`` commands for the embedded database."""

from __future__ import annotations

from pathlib import Path

import click

from ..exceptions import CommandError
from ..server.startup import install_signal_handlers
from ..settings import Settings
from .shared import load_settings, refuse_overwriting


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def back_up_database(file: Path, *, force: bool) -> None:
    """Back up the embedded database to a file.

    FILE contains the frameworks, clients and signing keys at a single point in time; a running
    server is not interrupted. The file appears only when it is complete, and only its owner can
    read it.

    \b
    Example: case-server backup case-server.dump
    """  # noqa: D301  click keeps the lines after its \b as they are
    settings = _load_embedded_settings("pg_dump --format=custom --no-owner -f FILE URL")
    refuse_overwriting(file, force=force)
    from ..db.postgres.backup import back_up  # noqa: PLC0415  it is for Unix alone

    size = back_up(settings.data_dir.resolve(), file)
    click.echo(f"wrote all data of {settings.database_display_name} to {file}: {size:,} bytes")


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace existing data. [default: refuse to]")
def restore_database(file: Path, *, force: bool) -> None:
    """Restore a backup into the embedded database.

    FILE was written by `case-server backup`. Stop the server first. A backup from an older release
    is migrated. If the file is damaged or the restore fails, nothing changes.

    \b
    Example: case-server restore case-server.dump --force
    """  # noqa: D301  click keeps the lines after its \b as they are
    alternative = "pg_restore --no-owner -d URL FILE, then case-server migrate"
    settings = _load_embedded_settings(alternative)
    from ..db.postgres.backup import restore_backup  # noqa: PLC0415  it is for Unix alone

    def report(stage: str) -> None:
        click.echo(f"{stage} …", err=True)

    folder = settings.data_dir.resolve()
    schema = restore_backup(folder, file, force=force, report_progress=report)
    destination = f"the embedded Postgres in {folder}"
    click.echo(f"restored {file} into {destination}; schema of the backup: {schema}")


def _load_embedded_settings(alternative: str) -> Settings:
    settings = load_settings()
    if settings.database_url:
        raise CommandError(
            "this command works on the embedded Postgres, but CASE_SERVER_DATABASE_URL is set; "
            f"use Postgres' own tools: {alternative}"
        )
    install_signal_handlers()
    return settings

"""Commands that keep data safe: a copy of the embedded store, and the way back."""

from __future__ import annotations

from pathlib import Path

import click

from ..exceptions import StartupError
from ..server.startup import install_signal_handlers
from ..settings import Settings
from .shared import settings_of


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(file: Path) -> None:
    """Write all data of the embedded Postgres to FILE.

    That is frameworks, clients and signing keys, as of one moment; a running server goes on
    meanwhile. FILE appears only when it is whole, and is for its owner alone.
    """
    settings = _embedded("pg_dump --format=custom --no-owner -f FILE URL")
    from ..db.postgres.backup import back_up  # noqa: PLC0415  it is for Unix alone

    size = back_up(settings.data_dir.resolve(), file)
    click.echo(f"{file} has all data of {settings.database_name}: {size:,} bytes")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace the data that is there.")
def restore(file: Path, *, force: bool) -> None:
    """Make the embedded Postgres what FILE, written by `case-server backup`, says.

    Stop the server first. A backup of an older release is migrated. A file that is broken, or
    anything else that goes wrong, changes nothing.
    """
    settings = _embedded("pg_restore --no-owner -d URL FILE, then case-server migrate")
    from ..db.postgres.backup import restore as put_back  # noqa: PLC0415  it is for Unix alone

    def say(stage: str) -> None:
        click.echo(f"{stage} …", err=True)

    data_dir = settings.data_dir.resolve()
    revision = put_back(data_dir, file, force=force, report_progress=say)
    click.echo(
        f"the embedded Postgres in {data_dir} is what {file} says, which was at schema {revision}"
    )


def _embedded(instead: str) -> Settings:
    settings = settings_of()
    if settings.database_url:
        raise StartupError(
            "this command is for the embedded Postgres, and CASE_SERVER_DATABASE_URL names "
            f"another; use Postgres' own: {instead}"
        )
    install_signal_handlers()
    return settings

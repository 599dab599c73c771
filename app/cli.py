"""The command line: thin, and over the same functions that the routes call."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

import click
import httpx
from pydantic import ValidationError

from . import __version__, loading
from .api.profiles import EXPORT
from .api.rendering import Renderer
from .db.database import Database
from .db.framework import open_framework
from .errors import CaseServerError, StartupError
from .sample import sample as sample_framework
from .serving import ready_database
from .serving import serve as serve_until_stopped
from .settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")


class _Group(click.Group):
    """Says what went wrong in one sentence, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StartupError as error:
            _fail(str(error))
        except CaseServerError as error:
            _fail(error.description)


def _fail(message: str) -> NoReturn:
    click.echo(f"case-server: {message}", err=True)
    sys.exit(1)


def _settings(**flags: Any) -> Settings:
    """The environment, overridden by the flags that were given."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(step) for step in detail['loc'])}: {detail['msg']}"
            for detail in error.errors()
        )
        raise StartupError(f"the settings are not valid: {problems}") from error


def database_option(command: Command) -> Command:
    """The flag that all commands with a database have."""
    return click.option(
        "--database-url",
        envvar="CASE_SERVER_DATABASE_URL",
        show_envvar=True,
        help="Postgres to use (postgresql://user:password@host/name). Without one, a private "
        "Postgres is kept in the data directory (CASE_SERVER_DATA_DIR).",
    )(command)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="case-server")
def main() -> None:
    """A self-hosted CASE 1.1 server: TimeBack's CASE API on your machine.

    \b
    case-server serve                   start it; needs nothing else
    case-server import --sample         load a framework to look at
    case-server import framework.json   load one of your own, also while it runs
    case-server export DOCUMENT_ID      write it out again

    Every setting is an environment variable CASE_SERVER_…; flags override them.
    """  # noqa: D301  click keeps the lines after its \b as they are


@main.command()
@click.option("--host", envvar="CASE_SERVER_HOST", show_envvar=True, help="Address to listen on.")
@click.option(
    "--port",
    type=int,
    envvar="CASE_SERVER_PORT",
    show_envvar=True,
    help="Port; 0 takes a free one.",
)
@click.option(
    "--workers", type=int, envvar="CASE_SERVER_WORKERS", show_envvar=True, help="Server processes."
)
@click.option(
    "--access-log/--no-access-log",
    default=None,
    envvar="CASE_SERVER_ACCESS_LOG",
    show_envvar=True,
    help="Whether every request is logged.",
)
@database_option
def serve(**flags: Any) -> None:
    """Start the server.

    Without a database URL it keeps a private Postgres of its own, and migrates it. With one, it
    refuses to start on an old schema and says so: run `case-server migrate` first.
    """
    try:
        serve_until_stopped(_settings(**flags))
    except KeyboardInterrupt:
        # Ctrl+C is how it is meant to be stopped.
        click.echo("stopped", err=True)


@main.command()
@database_option
def migrate(database_url: str | None) -> None:
    """Bring the database's schema to what this release needs."""
    with ready_database(_settings(database_url=database_url), migrate=True):
        click.echo("the schema is current")


@main.command("import")
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--sample", is_flag=True, help="Load the sample framework that comes with this.")
@click.option("--strict", is_flag=True, help="Refuse what is not valid instead of repairing it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be repaired or refused.")
@click.option(
    "--report", type=click.Path(path_type=Path), help="Write what became of each source as JSON."
)
@click.option("--quiet", "-q", is_flag=True, help="Say only what was refused.")
@click.option("--token", "access_token", help="Access token to send to URLs.")
@database_option
def import_packages(**flags: Any) -> None:
    """Load CASE packages.

    A SOURCE is a JSON file as GET CFPackages answers it (.json or .json.gz), a folder of them, the
    URL of a CFPackage on a CASE server, or - for standard input.

    Each is one transaction: its document, items and associations become exactly what the source
    says. What is not valid is repaired where that needs no guessing, and each kind of repair is
    said once. What cannot be repaired is refused with every reason, and nothing of it is stored;
    the others are loaded.

    Exits with 0 when all were loaded, 1 when one was refused, 2 when the command is not valid.
    """
    found = list(loading.sources(flags["sources"], flags["access_token"]))
    if flags["sample"]:
        found.append(loading.Source("the sample", sample_framework))
    if not found:
        raise click.UsageError("name a SOURCE, or --sample")
    loader = loading.Loader(strict=flags["strict"], quiet=flags["quiet"])
    if flags["dry_run"]:
        outcomes = asyncio.run(loader.load(None, found))
    else:
        with ready_database(_settings(database_url=flags["database_url"])) as settings:
            outcomes = asyncio.run(
                _with_database(settings, lambda database: loader.load(database, found))
            )
    if flags["report"]:
        loading.write_report(flags["report"], outcomes)
    sys.exit(1 if any(outcome.status == "refused" for outcome in outcomes) else 0)


async def _with_database(
    settings: Settings, work: Callable[[Database], Awaitable[Result]]
) -> Result:
    async with Database.open(settings.database_url, settings) as database:
        return await work(database)


@main.command()
@click.argument("identifier", metavar="ID")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; else stdout.")
@database_option
def export(identifier: str, output: Path | None, database_url: str | None) -> None:
    """Write a framework as a CASE package, in the standard's own form.

    ID is the identifier of its document or of its package. A file appears only when it is whole.
    """
    with ready_database(_settings(database_url=database_url)) as settings:
        try:
            with _opened(output) as file:
                asyncio.run(
                    _with_database(settings, lambda database: _write(database, identifier, file))
                )
        except BrokenPipeError:
            # Whoever read it has had enough; Python would complain again when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            reason = f"{output or 'stdout'} cannot be written: {error.strerror}"
            raise StartupError(reason) from error


@contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    """Where to write: a new file takes its name only when it is whole."""
    target = output.resolve() if output else None
    if target is None:
        yield sys.stdout.buffer
    elif target.exists() and not target.is_file():
        with target.open("wb") as file:  # a pipe or a device is written to, never replaced
            yield file
    else:
        partial = target.with_name(f"{target.name}.partial")
        try:
            with partial.open("wb") as file:
                yield file
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


async def _write(database: Database, identifier: str, file: BinaryIO) -> None:
    renderer = Renderer(EXPORT, base_url="")
    async with open_framework(database, identifier) as framework:
        async for piece in renderer.package(framework):
            file.write(piece)
    file.write(b"\n")
    file.flush()


@main.command()
@click.option("--url", help="The running server. [default: where the settings say it is]")
@click.option("--scope", default="", help="Scopes to ask for; all of the client's otherwise.")
def token(url: str | None, scope: str) -> None:
    """Print an access token of the running server, for CASE_CLIENT_ID and CASE_CLIENT_SECRET.

    \b
    curl -H "Authorization: Bearer $(case-server token)" http://127.0.0.1:8000/case/1.1/CFDocuments
    """  # noqa: D301  click keeps the lines after its \b as they are
    settings = _settings()
    address = f"{(url or settings.base_url).rstrip('/')}/oauth2/token"
    form = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
    pair = (settings.client_id, settings.client_secret.get_secret_value())
    try:
        answer = httpx.post(address, data=form, auth=pair, timeout=10)
    except httpx.HTTPError as error:
        raise StartupError(
            f"no server answers at {address}: {error}; start it with case-server serve"
        ) from error
    if answer.status_code != httpx.codes.OK:
        raise StartupError(f"{address} refused a token: {answer.text}")
    click.echo(answer.json()["access_token"])

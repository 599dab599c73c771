"""What all commands share: how they fail, read settings, reach the database, write files."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NoReturn, TypeVar

import click
from pydantic import ValidationError

from ..exceptions import CaseServerError, StartupError
from ..server.startup import prepare_database
from ..settings import Settings, is_known_variable, variable_name, variable_names
from ..transfer.terminal import problem_lines

if TYPE_CHECKING:
    from ..db.pool import Database

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")
Direction = Literal["into", "from", "compared with"]


class Group(click.Group):
    """Says what went wrong in one sentence, without a traceback.

    ``kinds`` says in which file a command is: what the others stand on is not read to run it.
    """

    def __init__(self, *args: Any, kinds: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.kinds = kinds or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which they are told."""
        return [*self.kinds, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; None when there is none."""
        if cmd_name not in self.kinds:
            return super().get_command(ctx, cmd_name)
        module = import_module(f".{self.kinds[cmd_name]}", __package__)
        found = [one for one in vars(module).values() if isinstance(one, click.Command)]
        return next(one for one in found if one.name == cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what it refuses is one line on stderr."""
        try:
            return super().invoke(ctx)
        except StartupError as error:
            fail(str(error))
        except CaseServerError as error:
            lines = problem_lines(error.problems, sys.stderr, getattr(error, "omitted", 0))
            fail("\n  ".join([error.description, *lines]))


def fail(message: str) -> NoReturn:
    """Say why on stderr, and exit with 1."""
    click.echo(f"case-server: {message}", err=True)
    sys.exit(1)


def settings_of(**flags: Any) -> Settings:
    """The environment, overridden by the flags that were given."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = "; ".join(
            f"{_variable(detail['loc'])}{detail['msg'].removeprefix('Value error, ')}"
            for detail in error.errors()
        )
        # Without its cause, which would repeat what was given, a password perhaps.
        raise StartupError(f"the settings are not valid: {problems}") from None


def _variable(location: tuple[int | str, ...]) -> str:
    """Return the environment variable of a setting with a problem, as the begin of a message."""
    if not location:
        return ""
    name = str(location[0])
    return f"{variable_name(name) if name in Settings.model_fields else name}: "


def warn_about_unknown_variables(environment: Mapping[str, str]) -> None:
    """Name variables of the environment that look like settings and are none, on stderr."""
    for name in sorted(environment):
        if not is_known_variable(name):
            near = difflib.get_close_matches(name.upper(), variable_names(), 1)
            remedy = f"did you mean {near[0]}?" if near else "it has no effect"
            click.echo(
                f"case-server: warning: unknown environment variable {name}: {remedy}", err=True
            )


@contextmanager
def command_database(
    settings: Settings, direction: Direction, *, quiet: bool = False
) -> Iterator[Settings]:
    """Yield settings with a database that is ready, and say on stderr which one it is.

    ``into`` is for commands that write, ``compared with`` for their dry runs, ``from`` for those
    that only read.
    """
    with prepare_database(settings, writes=direction != "from") as complete:
        if not quiet:
            click.echo(f"{direction} {settings.database_name}", err=True)
        yield complete


def database_option(command: Command) -> Command:
    """The flag that all commands with a database have."""
    return click.option(
        "--database-url",
        envvar="CASE_SERVER_DATABASE_URL",
        show_envvar=True,
        help="Postgres to use (postgresql://user:password@host/name). Without one, a private "
        "Postgres is kept in the data directory (CASE_SERVER_DATA_DIR).",
    )(command)


async def with_database(
    settings: Settings, work: Callable[[Database], Awaitable[Result]]
) -> Result:
    """The result of some work on the database that the settings name."""
    # A server begins to start before it is read, and does without this.
    from ..db.pool import Database  # noqa: PLC0415  as said
    from ..db.postgres.diagnosis import MISSING_PRIVILEGE, startup_error  # noqa: PLC0415  as said

    url = settings.database_url
    with startup_error(url, MISSING_PRIVILEGE):
        async with Database.open(url, settings) as database:
            return await work(database)


@contextmanager
def opened(output: Path | None) -> Iterator[BinaryIO]:
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

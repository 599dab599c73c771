"""Helpers shared by the commands: errors, settings, options, the database and output files."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from difflib import get_close_matches
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NoReturn, TypeVar

import click
from pydantic import ValidationError

from ..exceptions import CaseServerError, CommandError
from ..formatting import escape_control_characters
from ..server.startup import prepare_database
from ..settings import (
    Settings,
    get_environment_variable,
    is_unknown_variable,
    list_setting_variables,
)
from ..transfer.console import format_problems

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from ..db.pool import Database

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")

DatabaseAccess = Literal["write", "read", "compare"]
DATABASE_LABELS: dict[DatabaseAccess, str] = {
    "write": "writing to",
    "read": "reading from",
    "compare": "comparing with",
}

NOT_RUN = 2
"""Exit code of check and conformance when they could not run: 1 says that they found something."""

ERROR_CODES = {"check": NOT_RUN, "conformance": NOT_RUN}


class LazyGroup(click.Group):
    """A click group that imports a command's module only when that command runs.

    ``commands`` maps command names to modules of this package. The group prints each error as one
    line with the prefix ``case-server: error:``, without a traceback.
    """

    def __init__(self, *args: Any, commands: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.modules = commands

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the names of all commands in the order in which the help lists them."""
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """Import and return the command named ``cmd_name``, or return None if there is none."""
        if cmd_name not in self.modules:
            return None
        module = import_module(f".{self.modules[cmd_name]}", __package__)
        commands = [value for value in vars(module).values() if isinstance(value, click.Command)]
        return next(command for command in commands if command.name == cmd_name)

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run the command line, print usage errors, and exit with the command's exit code."""
        options["standalone_mode"] = False
        try:
            code = super().main(*args, **options)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "case-server"
            message = _format_usage_error(error)
            echo_error(f"{message} (see `{command} --help`)")
            code = error.exit_code
        except click.Abort:
            echo_error("aborted; nothing was changed")
            code = 1
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; on an error of this project, print its message and exit.

        These are ``CommandError`` and ``CaseServerError``. The exit code is 2 for ``check`` and
        ``conformance``, whose code 1 means that they found a problem, and 1 for other commands.
        """
        try:
            return super().invoke(ctx)
        except CommandError as error:
            message = str(error)
        except CaseServerError as error:
            lines = format_problems(error.problems, sys.stderr, getattr(error, "omitted", 0))
            message = "\n  ".join([error.description, *lines])
        echo_error(message)
        sys.exit(ERROR_CODES.get(ctx.invoked_subcommand or "", 1))


def _format_usage_error(error: click.UsageError) -> str:
    """Return click's error message in this project's style: lower case, no full stop."""
    if isinstance(error, click.exceptions.NoSuchCommand) and error.ctx:
        group = error.ctx.command
        assert isinstance(group, click.Group)
        return format_unknown_name("command", error.command_name, group.list_commands(error.ctx))
    message = " ".join(error.format_message().split()).rstrip(".")
    message = re.sub(r"\.\s\((Did you mean [^()]*)\)$", r". \1", message)
    message = message.replace(". Did you mean", ": did you mean")
    return f"{message[:1].lower()}{message[1:]}"


def echo_error(message: str) -> None:
    """Print an error message on stderr, with the prefix ``case-server: error:``."""
    click.echo(f"case-server: error: {message}", err=True)


def format_unknown_name(label: str, name: str, known_names: Collection[str]) -> str:
    """Return an error message such as ``unknown rule 'cycles': did you mean cycle?``.

    ``label`` says what the name stands for, here "rule".
    """
    close = get_close_matches(name, known_names, n=1)
    return f"unknown {label} {name!r}" + (f": did you mean {close[0]}?" if close else "")


def combine_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Combine decorators such as ``click.option(...)`` into one that adds all these options.

    The command's help lists the options in the order of the arguments.
    """
    return lambda command: reduce(lambda inner, option: option(inner), reversed(options), command)


def make_format_option(*formats: str) -> Callable[[Command], Command]:
    """Return the click option ``--format`` with the given choices; the first is the default."""
    choice = click.Choice(formats)
    return click.option(
        "--format",
        "output_format",
        type=choice,
        default=formats[0],
        show_default=True,
        help="Output format.",
    )


def make_comma_list_parser(
    label: str, known_names: Collection[str]
) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], set[str]]:
    """Return a click callback that parses an option with comma-separated names into a set.

    The option may be repeated. ``label`` is the noun for a name in messages, such as "rule". The
    callback raises ``click.BadParameter`` with every unknown name and the known name closest to it.
    """

    def parse(_ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> set[str]:
        names = {name.strip() for value in values for name in value.split(",") if name.strip()}
        unknown_names = sorted(names - set(known_names))
        messages = [format_unknown_name(label, name, known_names) for name in unknown_names]
        if messages:
            raise click.BadParameter(f"{', '.join(messages)} (--{label}s lists all)", param=param)
        return names

    return parse


def make_list_option(
    noun: str, get_rows: Callable[[], Sequence[Sequence[str]]]
) -> Callable[[Command], Command]:
    """Return a click option that prints a table and exits, such as ``--rules``.

    ``noun`` is the name of the option, here "rules". ``get_rows`` returns the rows of the table,
    each a sequence of strings, without a heading.
    """

    def show(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001  click calls it
        if value:
            print_table(get_rows())
            ctx.exit()

    help_text = f"List all {noun} and exit."
    return click.option(
        f"--{noun}", is_flag=True, expose_value=False, is_eager=True, callback=show, help=help_text
    )


class DurationParamType(click.ParamType[timedelta]):
    """A click parameter type for a duration: a number and a unit (90s, 15m, 36h, 30d, 8w), or 0."""

    name = "duration"
    units: Mapping[str, str] = {
        unit[0]: unit for unit in ("seconds", "minutes", "hours", "days", "weeks")
    }

    def __init__(self, maximum: timedelta = timedelta(days=99_999)) -> None:
        self.maximum = maximum

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Convert an option's value, for example "36h", to a ``timedelta``; fail if invalid."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d{1,9})([smhdw])", "0s" if value == "0" else str(value))
        if not match:
            advice = "use a number and a unit, for example 36h, 30d or 8w"
            self.fail(f"invalid duration {value!r}: {advice}", param, ctx)
        number, unit = int(match[1]), self.units[match[2]]
        if number > self.maximum / timedelta(**{unit: 1}):
            self.fail(f"{value!r} is too long: use at most {self.maximum.days}d", param, ctx)
        return timedelta(**{unit: number})


def load_settings(**flags: Any) -> Settings:
    """Load the settings from environment variables and override them with ``flags``.

    A flag that is None overrides nothing. Raises ``CommandError`` naming the environment variable
    of each invalid setting.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(map(_format_setting_error, error.errors()))
        # Without its cause, because that repeats all values, also passwords.
        raise CommandError(f"invalid settings: {problems}") from None


def _format_setting_error(detail: ErrorDetails) -> str:
    """Format an error of pydantic as ``CASE_SERVER_PORT: must be … (got 99999)``.

    The rejected value is named for numbers only, because any other may be a secret.
    """
    name = str(next(iter(detail["loc"]), ""))
    field = Settings.model_fields.get(name)
    prefix = f"{get_environment_variable(name) if field else name}: " if name else ""
    message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    number = f" (got {detail['input']})" if field and field.annotation in {int, float} else ""
    return f"{prefix}{message}{number}"


def warn_about_unknown_variables(environment: Mapping[str, str]) -> None:
    """Print a warning for each CASE_SERVER_… variable that is not a setting."""
    for name in sorted(environment):
        if is_unknown_variable(name):
            close = get_close_matches(name.upper(), list_setting_variables(), 1)
            remedy = f"did you mean {close[0]}?" if close else "it has no effect"
            warning = f"unknown environment variable {name}: {remedy}"
            click.echo(f"case-server: warning: {warning}", err=True)


def make_database_option(*name: str, **attributes: Any) -> Callable[[Command], Command]:
    """Return a decorator that adds the click option ``--database-url`` to a command.

    The URL is a string, passed to the command as parameter ``name``, by default ``database_url``.
    ``attributes`` are further arguments of ``click.option``.
    """
    return click.option(
        *name,
        "--database-url",
        envvar="CASE_SERVER_DATABASE_URL",
        show_envvar=True,
        metavar="URL",
        help="Postgres to use: postgresql://user:password@host/name. [default: an embedded "
        "Postgres in the data directory, CASE_SERVER_DATA_DIR]",
        **attributes,
    )


def add_settings_option(command: Command) -> Command:
    """Add ``--database-url`` to a command, and pass the resulting settings as ``settings``."""
    return make_database_option(
        "settings", callback=lambda _ctx, _param, url: load_settings(database_url=url)
    )(command)


def run_on_database(
    settings: Settings,
    access: DatabaseAccess,
    work: Callable[[Database], Awaitable[Result]],
    *,
    quiet: bool = False,
) -> Result:
    """Prepare and open the configured database; return the result of ``await work(database)``.

    ``access`` is "write", "read", or "compare" for the dry run of a write, which only reads but
    needs the current schema. Prints the name of the database on stderr, unless ``quiet`` is true.
    """
    with prepare_database(settings, writes=access != "read") as ready:
        if not quiet:
            click.echo(f"{DATABASE_LABELS[access]} {settings.database_display_name}", err=True)
        # Imported late, because `serve` starts Postgres before it imports the database code.
        from ..db.pool import Database  # noqa: PLC0415  see above
        from ..db.postgres.diagnosis import MISSING_PRIVILEGE, map_errors_to_command_error  # noqa: PLC0415  see above

        async def run() -> Result:
            async with Database.open(ready.database_url, ready) as database:
                return await work(database)

        with map_errors_to_command_error(ready.database_url, MISSING_PRIVILEGE):
            return asyncio.run(run())


def _require_parent_folder(
    _ctx: click.Context, param: click.Parameter, path: Path | None
) -> Path | None:
    """Return the path of an output option if a file can be created there (a click callback).

    Raises ``click.BadParameter`` if it is a folder, or if its parent folder does not exist.
    """
    if path and (path.is_dir() or not path.resolve().parent.is_dir()):
        message = f"cannot write {path}: name a file in an existing folder"
        raise click.BadParameter(message, param=param)
    return path


add_output_options = combine_options(
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        metavar="FILE",
        callback=_require_parent_folder,
        help="File to write. [default: standard output]",
    ),
    click.option("--force", is_flag=True, help="Replace FILE if it exists."),
)
"""Adds -o FILE, and --force to overwrite that file, to a command that writes a file."""


def refuse_overwriting(path: Path | None, *, force: bool) -> None:
    """Raise ``CommandError`` if the file ``path`` already exists and ``force`` is false."""
    if path and path.is_file() and not force:
        raise CommandError(f"{path} exists already: add --force to replace it")


@contextmanager
def convert_output_errors(output: Path | None) -> Iterator[None]:
    """Convert ``OSError`` in the ``with`` block to ``CommandError`` with advice.

    ``output`` is the file in the message, or None for stdout. If a pipe is closed by its reader,
    the output is discarded without an error.
    """
    try:
        yield
    except BrokenPipeError:
        # The reader, `head` perhaps, has enough. Python would fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise CommandError(
            f"cannot write {output or 'stdout'}: {error.strerror}; name another file with -o"
        ) from error


def print_table(rows: Sequence[Sequence[str]], *, has_heading: bool = False) -> None:
    """Print rows of equally many cells as aligned columns, on stdout.

    On a terminal, all columns but the first are wrapped. If ``has_heading`` is true, the first row
    contains the column headings.
    """
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415  60 ms, for terminals only
        from rich.table import Table  # noqa: PLC0415  see above
        from rich.text import Text  # noqa: PLC0415  see above

        table = Table(box=None, pad_edge=False, show_header=has_heading, padding=(0, 2, 0, 0))
        for index, cell in enumerate(rows[0]):
            table.add_column(Text(cell), no_wrap=index == 0)
        for row in rows[has_heading:]:
            table.add_row(*(Text(escape_control_characters(cell)) for cell in row))
        Console().print(table)
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def get_report_width(output: Path | None) -> int | None:
    """Return the width of the terminal on which a report is printed, in columns.

    Returns None if the report is written to the file ``output``, or stdout is no terminal.
    """
    is_terminal = output is None and sys.stdout.isatty()
    return shutil.get_terminal_size().columns if is_terminal else None


def write_report(output: Path | None, report: bytes, styles: Mapping[str, str]) -> None:
    """Write a report, encoded as UTF-8, to the file ``output``, or to stdout if that is None.

    ``styles`` maps regular expressions to the rich styles of the text that they match; styles are
    used only on a terminal. Raises ``CommandError`` if the report cannot be written.
    """
    with convert_output_errors(output), open_atomic_output(output) as file:
        if output is None and sys.stdout.isatty():
            from rich.console import Console  # noqa: PLC0415  60 ms, for terminals only
            from rich.text import Text  # noqa: PLC0415  see above

            text = Text(report.decode(), end="")
            for pattern, style in styles.items():
                text.highlight_regex(pattern, style)
            Console().print(text, soft_wrap=True)
            return
        file.write(report)
        file.flush()
    if output:
        click.echo(f"wrote the report to {output}", err=True)


@contextmanager
def open_atomic_output(output: Path | None) -> Iterator[BinaryIO]:
    """Yield a binary file that appears as ``output`` only once it is complete.

    If the ``with`` block raises, the file ``output`` stays as it was. If ``output`` is None, yields
    stdout. A pipe or device is written to directly.
    """
    path = output.resolve() if output else None
    if path is None:
        yield sys.stdout.buffer
    elif path.exists() and not path.is_file():
        with path.open("wb") as file:  # a pipe or a device must not be replaced
            yield file
    else:
        partial = path.with_name(f"{path.name}.partial")
        try:
            with partial.open("wb") as file:
                yield file
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

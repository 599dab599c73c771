"""The command that looks whether a CASE server behaves as documented."""

from __future__ import annotations

import os
import shutil
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from ..conformance.check import GROUPS
from ..conformance.client import ClientAuth
from ..conformance.output import format_json, format_junit, format_text
from ..conformance.profiles import PROFILE_SPECS, resolve_profile
from ..conformance.runner import Progress, Report, Selection, run
from ..conformance.table import BY_ID, CHECKS
from ..exceptions import StartupError
from ..net.oauth import Credentials
from .http_options import reaching_options
from .shared import opened

NOT_RUN = 2
TOKEN_PATH = "/oauth2/token"  # noqa: S105  a path


def _names(_: click.Context, option: click.Parameter, given: tuple[str, ...]) -> set[str]:
    """Checks and groups as flags name them: one a flag, or several with commas."""
    names = {name.strip() for value in given for name in value.split(",") if name.strip()}
    known = {*BY_ID, *GROUPS}
    problems = []
    for name in sorted(names - known):
        near = get_close_matches(name, known, n=1)
        problems.append(f"no check is called {name!r}" + (f"; {near[0]}?" if near else ""))
    if problems:
        raise click.BadParameter(f"{', '.join(problems)} (--checks lists them)", param=option)
    return names


def _show_checks(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  click calls it
    if value:
        wide = max(len(one.id) for one in CHECKS)
        for one in CHECKS:
            click.echo(f"{one.id:{wide}}  {one.group:8}  {one.behaviour} [{one.source}]")
        ctx.exit()


@click.command()
@click.argument("url")
@click.option(
    "--profile",
    type=click.Choice(list(PROFILE_SPECS)),
    help="What the server is to be; without it, the end of URL tells.",
)
@click.option("--write", is_flag=True, help="Also try what writes, with new identifiers.")
@click.option(
    "--extensions/--no-extensions",
    default=None,
    help="Also try what only case-server promises. Unless given: if URL is one.",
)
@click.option(
    "--only", multiple=True, callback=_names, metavar="CHECK", help="Only these checks or groups."
)
@click.option(
    "--skip", multiple=True, callback=_names, metavar="CHECK", help="Not these checks or groups."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "junit"]),
    default="text",
    show_default=True,
    help="How to write what was found.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; else stdout.")
@click.option("--scope", help="Scope to ask tokens for; without it, all that the client has.")
@click.option(
    "--checks",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_checks,
    help="List all checks and exit.",
)
@reaching_options
def conform(**flags: Any) -> None:
    """Look whether a CASE server behaves as documented: this one, the platform, or another.

    URL is the base URL of a profile, as http://127.0.0.1:8000/case/1.1 is. Its end tells what the
    server is held to: /case/1.1 the platform's guide, /ims/case/v1p1 the SDK's API (another
    server's may be the standard's: --profile standard), /1edtech/ims/case/v1p1 and
    /ims/case/v1p0 the standard.

    Without --write nothing is written: checks look at what is there. With it they make entities of
    their own and take away what the API can delete; the report names what stays.

    \b
    case-server conform http://127.0.0.1:8000/case/1.1 \\
        --client-id local-client --client-secret local-secret
    case-server conform URL --only lists,errors --format junit -o conform.xml

    CHECK is a check or a group (tokens, lists, reading, errors, packages, writing, extensions);
    it may be given several times, or be several with commas. Without --token-url, tokens are got
    at /oauth2/token of the same server.

    Exits with 0 when all that was seen holds, 1 when something does not, 2 when it could not be
    run.
    """  # noqa: D301  click keeps the lines after its \b as they are
    try:
        base_url, contract = resolve_profile(flags["url"], flags["profile"])
        choice = Selection(flags["only"], flags["skip"], flags["write"], flags["extensions"])
        _refuse_unasked_writes(choice)
        report = run(base_url, contract, _access(flags), choice, Progress(_say, _say_wait))
    except StartupError as error:
        click.echo(f"case-server: {error}", err=True)
        sys.exit(NOT_RUN)
    _write(flags["output"], _written(report, flags))
    sys.exit(1 if report.count("fail") else 0)


def _refuse_unasked_writes(choice: Selection) -> None:
    writing = sorted(name for name in choice.only if name in BY_ID and BY_ID[name].writes)
    if not choice.write and (writing or "writing" in choice.only):
        raise click.UsageError(f"{', '.join(writing) or 'writing'} writes: add --write")


def _access(flags: dict[str, Any]) -> ClientAuth:
    token, client, secret = (flags[name] for name in ("access_token", "client_id", "client_secret"))
    if token is not None:
        if flags["token_url"] is not None:
            raise click.UsageError("give --token or --token-url, not both")
        return ClientAuth(token=token)
    if not client and not secret and flags["token_url"] is None:
        return ClientAuth()
    if not client or not secret:
        raise click.UsageError(
            "a token needs --client-id and --client-secret, or CASE_SOURCE_CLIENT_ID and "
            "CASE_SOURCE_CLIENT_SECRET"
        )
    parts = urlsplit(flags["url"])
    url = flags["token_url"] or f"{parts.scheme}://{parts.netloc}{TOKEN_PATH}"
    return ClientAuth(credentials=Credentials(url, client, secret), scope=flags["scope"])


def _say(stage: str) -> None:
    """On a terminal, one line that says what is being done; empty to take it away."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{f'{stage} …' if stage else ''}", nl=False, err=True)


def _say_wait(message: str) -> None:
    """Write to stderr why nothing happens for some seconds, also where that is a log."""
    start = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{start}{message}", err=True)


def _written(report: Report, flags: dict[str, Any]) -> bytes:
    if flags["form"] == "json":
        return format_json(report)
    if flags["form"] == "junit":
        return format_junit(report)
    terminal = flags["output"] is None and sys.stdout.isatty()
    return format_text(report, width=shutil.get_terminal_size().columns if terminal else None)


def _write(output: Path | None, written: bytes) -> None:
    try:
        with opened(output) as file:
            file.write(written)
            file.flush()
    except BrokenPipeError:
        # Whoever read it has had enough; Python would complain again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        target = output or "stdout"
        click.echo(f"case-server: {target} cannot be written: {error.strerror}", err=True)
        sys.exit(NOT_RUN)

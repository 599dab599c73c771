"""The command that checks packages, without a server or a database."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from ..exceptions import ContentTooLarge, StartupError
from ..lint.linter import lint_package
from ..lint.output import SourceResult, format_json, format_text
from ..lint.rules.catalog import BY_ID, RULES
from ..lint.sarif import format_sarif
from ..lint.violation import SEVERITIES, Severity, Violation, meets_threshold
from ..transfer.sources import Source, describe_error, sources
from .http_options import dense_option, fetcher_of, reaching_options
from .shared import opened

UNREADABLE = 2


def _rule_names(_: click.Context, option: click.Parameter, names: tuple[str, ...]) -> set[str]:
    """Rules as flags name them: one a flag, or several with commas."""
    given = {name.strip() for value in names for name in value.split(",") if name.strip()}
    problems = []
    for name in sorted(given - BY_ID.keys()):
        near = get_close_matches(name, BY_ID, n=1)
        problems.append(f"no rule is called {name!r}" + (f"; {near[0]}?" if near else ""))
    if problems:
        raise click.BadParameter(f"{', '.join(problems)} (--rules lists them)", param=option)
    return given


def _show_rules(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  click calls it
    if value:
        wide = max(len(rule.id) for rule in RULES)
        for rule in RULES:
            click.echo(f"{rule.id:{wide}}  {rule.severity:7}  {rule.explanation}")
        ctx.exit()


@click.command("check")
@click.argument("names", nargs=-1, metavar="SOURCE...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="How to write what was found.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; else stdout.")
@click.option("--all", "everything", is_flag=True, help="Show every finding, not examples.")
@click.option(
    "--severity",
    type=click.Choice(SEVERITIES),
    default="note",
    show_default=True,
    help="The least severity to show.",
)
@click.option(
    "--fail-on",
    type=click.Choice([*SEVERITIES, "never"]),
    default="error",
    show_default=True,
    help="The least severity to exit with 1 for.",
)
@click.option(
    "--select", multiple=True, callback=_rule_names, metavar="RULE", help="Only these rules."
)
@click.option(
    "--ignore", multiple=True, callback=_rule_names, metavar="RULE", help="Not these rules."
)
@click.option(
    "--rules",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_rules,
    help="List all rules and exit.",
)
@reaching_options
@dense_option
def check_packages(**flags: Any) -> None:
    """Look for what is wrong in CASE packages; nothing is stored.

    A SOURCE is a JSON file as GET CFPackages answers it (.json or .json.gz), a folder of them, the
    URL of a CFPackage on a CASE server, or - for standard input. No server and no database is
    needed.

    Each finding has a rule, a severity, a path and a line. Rules look at a package as import would
    read it, so that one mistake does not hide the next. RULE may be given several times, or be
    several with commas.

    \b
    case-server check framework.json
    case-server check frameworks/ --fail-on warning --ignore duplicate-code
    case-server check framework.json --format sarif -o framework.sarif

    Exits with 0 when nothing as grave as --fail-on was found, 1 when something was, 2 when a
    source cannot be read, the output cannot be written or the command is not valid.
    """  # noqa: D301  click keeps the lines after its \b as they are
    named = sources(flags["names"], fetcher_of(flags), allow_dense=flags["allow_dense"])
    # A folder may hold spreadsheets, too, which are not what is checked here.
    found = [one for one in named if one.form == "case-json" or one.name in flags["names"]]
    if not found:
        raise click.UsageError("name a SOURCE")
    rules = (flags["select"] or BY_ID.keys()) - flags["ignore"]
    results = [_checked(source, rules) for source in found]
    gravest = [one for result in results for one in result.violations]
    shown = [_from(result, flags["severity"]) for result in results]
    _write(flags["output"], _written(shown, flags))
    if any(result.reason is not None for result in results):
        sys.exit(UNREADABLE)
    sys.exit(1 if any(meets_threshold(one.severity, flags["fail_on"]) for one in gravest) else 0)


def _checked(source: Source, rules: set[str]) -> SourceResult:
    _say(f"{source.name}: checking …")
    try:
        checked = lint_package(source.read(), rules, allow_dense=source.allow_dense)
    except (StartupError, ContentTooLarge) as error:
        reason = describe_error(error)
        click.echo(f"case-server: {source.name}: {reason}", err=True)
        return SourceResult(source.name, reason=reason)
    finally:
        _say("")
    return SourceResult(source.name, checked.document, checked.title, checked.violations)


def _say(stage: str) -> None:
    """On a terminal, one line that says what is being done; empty to take it away."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{stage}", nl=False, err=True)


def _from(result: SourceResult, least: Severity) -> SourceResult:
    kept: Iterator[Violation] = (
        one for one in result.violations if meets_threshold(one.severity, least)
    )
    return SourceResult(result.source, result.document, result.title, list(kept), result.reason)


def _written(results: list[SourceResult], flags: dict[str, Any]) -> bytes:
    if flags["form"] == "json":
        return format_json(results)
    if flags["form"] == "sarif":
        return format_sarif(results, everything=flags["everything"])
    terminal = flags["output"] is None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    return format_text(results, width=width, everything=flags["everything"])


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
        sys.exit(UNREADABLE)

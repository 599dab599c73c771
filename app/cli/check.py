"""The ``check`` command: lint CASE packages."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from typing import Any

import click

from ..exceptions import ContentTooLarge, StartupError
from ..lint.linter import lint_package
from ..lint.output import SourceResult, format_json, format_text
from ..lint.rules.catalog import BY_ID, RULES
from ..lint.sarif import format_sarif
from ..lint.violation import SEVERITIES, Severity, meets_threshold
from ..transfer.console import show_status
from ..transfer.sources import Source, describe_error, sources
from .http_options import dense_option, http_options, make_fetcher
from .shared import (
    NOT_RUN,
    comma_list,
    echo_error,
    output_option,
    print_table,
    write_report,
)

STYLES = {
    r"(?m)^  error [\w-]+": "bold red",
    r"(?m)^  warning [\w-]+": "yellow",
    r"(?m)^  note [\w-]+": "cyan",
    r"\[import repairs it\]": "green",
    r"(?m): no violations$": "green",
}
"""Styles of parts of the text report."""

_parse_rule_ids = comma_list("rule", BY_ID, "--rules")


def _list_rules(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  click calls it
    if value:
        print_table([(rule.id, rule.severity, rule.explanation) for rule in RULES])
        ctx.exit()


@click.command("check", short_help="Lint CASE packages.")
@click.argument("names", nargs=-1, metavar="SOURCE...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="Format of the report.",
)
@output_option
@click.option(
    "--all", "everything", is_flag=True, help="Show all violations, not five examples of a rule."
)
@click.option(
    "--severity",
    type=click.Choice(SEVERITIES),
    default="note",
    show_default=True,
    help="Show violations at or above this severity.",
)
@click.option(
    "--fail-on",
    type=click.Choice([*SEVERITIES, "never"]),
    default="error",
    show_default=True,
    help="Exit with 1 for violations at or above this severity.",
)
@click.option(
    "--select",
    multiple=True,
    callback=_parse_rule_ids,
    metavar="RULE",
    help="Apply only these rules. [default: all]",
)
@click.option(
    "--ignore", multiple=True, callback=_parse_rule_ids, metavar="RULE", help="Skip these rules."
)
@click.option(
    "--rules",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_list_rules,
    help="List all rules and exit.",
)
@http_options
@dense_option
def check_packages(**flags: Any) -> None:
    """Lint CASE packages. Needs no server and no database; stores nothing.

    A SOURCE is a JSON file with a CFPackage (.json or .json.gz), a folder of them, the URL of a
    CFPackage on a CASE server, or - for standard input.

    Each violation has a rule, a severity, a path, a line and a column. Rules see the package as
    import would read it, so that one mistake does not hide the next. RULE may be repeated, and
    may be a list separated by commas.

    \b
    case-server check framework.json
    case-server check frameworks/ --fail-on warning --ignore duplicate-code
    case-server check framework.json --format sarif -o framework.sarif

    Exit codes: 0 no violations at or above --fail-on; 1 violations; 2 a source could not be read,
    the report could not be written, or usage error.
    """  # noqa: D301  click keeps the lines after its \b as they are
    named = sources(flags["names"], make_fetcher(flags), allow_dense=flags["allow_dense"])
    # A folder may contain spreadsheets as well, which have no rules.
    packages = [one for one in named if one.form == "case-json" or one.name in flags["names"]]
    if not packages:
        raise click.UsageError("missing SOURCE: name a file, a folder or a URL")
    rules = (flags["select"] or BY_ID.keys()) - flags["ignore"]
    results = [_lint(source, rules) for source in packages]
    shown = [_filter_severity(result, flags["severity"]) for result in results]
    write_report(flags["output"], _format(shown, flags), STYLES)
    if any(result.reason is not None for result in results):
        sys.exit(NOT_RUN)
    severities = {violation.severity for result in results for violation in result.violations}
    sys.exit(any(meets_threshold(severity, flags["fail_on"]) for severity in severities))


def _lint(source: Source, rules: set[str]) -> SourceResult:
    show_status(f"{source.name}: checking")
    try:
        result = lint_package(source.read(), rules, allow_dense=source.allow_dense)
    except (StartupError, ContentTooLarge) as error:
        reason = describe_error(error)
        show_status("")
        echo_error(f"{source.name}: {reason}")
        return SourceResult(source.name, reason=reason)
    finally:
        show_status("")
    return SourceResult(source.name, result.document, result.title, result.violations)


def _filter_severity(result: SourceResult, threshold: Severity) -> SourceResult:
    shown = [one for one in result.violations if meets_threshold(one.severity, threshold)]
    return replace(result, violations=shown)


def _format(results: list[SourceResult], flags: dict[str, Any]) -> bytes:
    if flags["form"] == "json":
        return format_json(results)
    if flags["form"] == "sarif":
        return format_sarif(results, everything=flags["everything"])
    is_terminal = flags["output"] is None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else None
    return format_text(results, width=width, everything=flags["everything"])

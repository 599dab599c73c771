"""The ``check`` command: lint CASE packages."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from ..exceptions import BadRequest, CommandError, ContentTooLarge
from ..formats.file_format import FILE_FORMATS
from ..lint.output import SourceLintResult, format_json, format_text
from ..lint.rules.catalog import BY_ID, RULES
from ..lint.sarif import format_sarif
from ..lint.violation import SEVERITIES, Severity, meets_threshold
from ..repair.metadata_options import MetadataOptions
from ..transfer.console import show_status
from ..transfer.file_linter import lint_file
from ..transfer.sources import PackageSource, describe_error, iter_sources
from .options import (
    add_metadata_options,
    add_token_options,
    create_fetcher,
    dense_option,
    get_metadata_options,
)
from .shared import (
    NOT_RUN,
    add_output_options,
    echo_error,
    get_report_width,
    make_comma_list_parser,
    make_format_option,
    make_list_option,
    refuse_overwriting,
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

_parse_rule_ids = make_comma_list_parser("rule", BY_ID)


@click.command("check")
@click.argument("names", nargs=-1, metavar="SOURCE...")
@make_format_option("text", "json", "sarif")
@add_output_options
@click.option(
    "--all", "show_all", is_flag=True, help="Show all violations, not five examples of a rule."
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
@make_list_option("rules", lambda: [(rule.id, rule.severity, rule.explanation) for rule in RULES])
@add_token_options
@dense_option
@click.option(
    "--input-format",
    type=click.Choice(FILE_FORMATS),
    help="File format of the sources. [default: by file name, else case-json]",
)
@add_metadata_options
def check_packages(**flags: Any) -> None:
    """Lint CASE packages.

    This command needs no server and no database, and stores nothing.

    A SOURCE is whatever import reads: a JSON file with a CFPackage, a spreadsheet (.csv, .xlsx)
    or a JSON Lines file (.jsonl), any of these compressed (.gz), a folder of them, the URL of a
    CFPackage on a CASE server, or - for standard input.

    Each violation has a rule, a severity, and a path with line and column, or the row and column
    of a sheet. Rules see the package as import would read it, so that one mistake does not hide
    the next. RULE may be repeated, and may be a list separated by commas.

    \b
    case-server check framework.json
    case-server check maths.csv --title Mathematics --creator "Example District"
    case-server check frameworks/ --fail-on warning --ignore duplicate-code
    case-server check framework.json --format sarif -o framework.sarif

    Exit codes: 0 no violations at or above --fail-on; 1 violations; 2 a source could not be read,
    the report could not be written, or usage error.
    """  # noqa: D301  click keeps the lines after its \b as they are
    refuse_overwriting(flags["output"], force=flags["force"])
    fetcher, dense = create_fetcher(flags), flags["allow_dense"]
    sources = list(iter_sources(flags["names"], fetcher, flags["input_format"], allow_dense=dense))
    if not sources:
        raise click.UsageError("missing SOURCE: name a file, a folder or a URL")
    metadata = get_metadata_options(sources, flags)
    rules = (flags["select"] or BY_ID.keys()) - flags["ignore"]
    results = [_lint(source, rules, metadata) for source in sources]
    shown_results = [_filter_severity(result, flags["severity"]) for result in results]
    write_report(flags["output"], _format_report(shown_results, flags), STYLES)
    if any(result.reason is not None for result in results):
        sys.exit(NOT_RUN)
    severities = {violation.severity for result in results for violation in result.violations}
    sys.exit(any(meets_threshold(severity, flags["fail_on"]) for severity in severities))


def _lint(source: PackageSource, rules: set[str], metadata: MetadataOptions) -> SourceLintResult:
    show_status(f"{source.name}: checking")
    try:
        result = lint_file(
            source.read(),
            source.file_format,
            rules,
            replace(metadata, changed=source.changed or datetime.now(UTC)),
            allow_dense=source.allow_dense,
        )
    except (CommandError, ContentTooLarge, BadRequest) as error:
        reason = describe_error(error)
        show_status("")
        echo_error(f"{source.name}: {reason}")
        return SourceLintResult(source.name, reason=reason, format=source.file_format)
    finally:
        show_status("")
    return SourceLintResult(
        source.name, result.document, result.title, result.violations, format=source.file_format
    )


def _filter_severity(result: SourceLintResult, threshold: Severity) -> SourceLintResult:
    violations = [
        violation
        for violation in result.violations
        if meets_threshold(violation.severity, threshold)
    ]
    return replace(result, violations=violations)


def _format_report(results: list[SourceLintResult], flags: dict[str, Any]) -> bytes:
    if flags["output_format"] == "json":
        return format_json(results)
    if flags["output_format"] == "sarif":
        return format_sarif(results, show_all=flags["show_all"])
    return format_text(results, width=get_report_width(flags["output"]), show_all=flags["show_all"])

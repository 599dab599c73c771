"""The results of `case-server import` as text."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from ..exceptions import Problem
from ..formatting import escape_control_characters, escape_surrogates, format_count
from ..repair.repair_log import format_value
from ..transfer.console import format_counts, format_problems
from ..transfer.importer import URL_IDENTIFIER

if TYPE_CHECKING:
    from ..repair.repair_log import RepairSummary
    from ..transfer.importer import ImportResult

START_OF_FILE = "the start of the file"


def print_import_result(result: ImportResult, *, quiet: bool) -> None:
    """Print the result of importing one source; if ``quiet``, print it only if it was refused."""
    if result.status == "refused":
        for line in _format_refusal(result):
            click.echo(line, err=True)
    elif not quiet:
        click.echo(_format_success(result))
    if not quiet:
        if result.identifier_source and result.document:
            click.echo(
                f"  the identifier {result.document} was made from {result.identifier_source}; "
                "--document-id gives another"
            )
        for note in result.notes:
            click.echo(f"  {escape_surrogates(note)}")
        for repair in result.repairs:
            click.echo(f"  {repair.kind} ({repair.count:,}): {repair.summary}")
            click.echo(
                f"    first at {repair.path or START_OF_FILE}{_format_repaired_value(repair)}"
            )
        if result.status != "refused":
            for line in _format_warnings(result):
                click.echo(line, err=True)


def _format_success(result: ImportResult) -> str:
    status = f"would be {result.status}" if result.dry_run and result.counts else result.status
    items = format_count(result.items, "item")
    associations = format_count(result.associations, "association")
    changes = (
        format_counts(result.counts)
        if result.counts
        else "all of it would be added, because there is no database yet"
    )
    return (
        f"{escape_surrogates(result.source)}: {status} {result.document}: {items}, "
        f"{associations}; {changes}, in {result.seconds:.1f} s"
    )


def _format_refusal(result: ImportResult) -> Iterator[str]:
    if not result.problems:
        yield f"{result.source}: refused: {result.reason}"
        if result.counts:
            yield f"  would be: {format_counts(result.counts)}"
        return
    count = len(result.problems) + result.more
    yield f"{result.source}: refused, {format_count(count, 'problem')}:"
    problems = _merge_url_identifier_problems(result.problems)
    for line in (*format_problems(problems, sys.stderr, result.more), *result.hints):
        yield f"  {line}"


def _format_warnings(result: ImportResult) -> Iterator[str]:
    for warning in result.warnings:
        kind = f"{warning.rule} ({warning.count:,})"
        yield f"{result.source}: warning: {kind}: {warning.explanation}"
        for example in warning.examples:
            yield f"  {escape_control_characters(example)}"
        if omitted_count := warning.count - len(warning.examples):
            yield f"  and {omitted_count:,} more; case-server check --all shows them"


def _merge_url_identifier_problems(problems: Sequence[Problem]) -> list[Problem]:
    urls = [problem for problem in problems if URL_IDENTIFIER.search(problem["message"])]
    if len(urls) < 2:  # noqa: PLR2004  a single one needs no summary
        return [*problems]
    first_problem = urls[0]
    other_count = len(urls) - 1
    message = f"{first_problem['message']}; {format_count(other_count, 'other identifier')} like it"
    summary = Problem(path=first_problem["path"], message=message)
    return [summary, *(problem for problem in problems if problem not in urls)]


def _format_repaired_value(repair: RepairSummary) -> str:
    """Return the old and new value of a repair, such as ``: "3" became 3``.

    ``repair`` summarizes all repairs of one kind in a file; its values are from the first of them.
    Returns ``: now 3`` for an added value, and "" for a dropped one.
    """
    if repair.after is None:
        return ""
    prefix = f"{format_value(repair.before)} became " if repair.before is not None else "now "
    return f": {prefix}{format_value(repair.after)}"

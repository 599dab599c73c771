"""The Markdown report of a run."""

from __future__ import annotations

from collections.abc import Sequence

from .results import ResultRow

HEAD = ("case", "limit", "measured", "ratio", "target", "met?")


def format_table(rows: Sequence[ResultRow]) -> str:
    """Format the results of all cases as a Markdown table with aligned columns."""
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    return "\n".join(
        [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
    )


def _cells(row: ResultRow) -> tuple[str, ...]:
    meets_target = {True: "yes", False: "**no**", None: ""}[row.meets_target]
    return (row.case, row.limit, row.measured, row.ratio, row.target, meets_target)


def format_remarks(rows: Sequence[ResultRow]) -> str:
    """Format the notes of all results as a Markdown list."""
    return "\n".join(f"* {row.case}: {row.note}" for row in rows if row.note)


def format_summary(rows: Sequence[ResultRow]) -> str:
    """Summarize how many results meet their target, such as "20 of 21 targets met"."""
    results = [row.meets_target for row in rows if row.meets_target is not None]
    return f"{sum(results)} of {len(results)} targets met"


def format_document(
    rows: Sequence[ResultRow],
    machine: Sequence[tuple[str, str]],
    command: str,
    limits: Sequence[tuple[str, str]],
) -> str:
    """Return the Markdown text of ``RESULTS.md``, the report of a benchmark run.

    ``limits`` has pairs of a case's name and what it is compared with; ``command`` is the command
    line of the run.
    """
    facts = "\n".join(f"| {name} | {value} |" for name, value in machine)
    comparisons = "\n".join(f"* `{name}`: {comparison}" for name, comparison in limits)
    return f"""# Results

Made by `{command}`; `README.md` in this directory explains how to read it. {format_summary(rows)}.

{format_table(rows)}

## Remarks

{format_remarks(rows) or "None."}

## What each case is compared with

{comparisons}

## Machine

| | |
|---|---|
{facts}
"""

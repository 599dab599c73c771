"""The Markdown report of a run."""

from collections.abc import Sequence

from .results import ResultRow

HEAD = ("case", "baseline", "measured", "ratio", "target", "met?")


def format_results_table(rows: Sequence[ResultRow]) -> str:
    """Format the results of all cases as a Markdown table with aligned columns."""
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    head, *lines = (f"| {' | '.join(map(str.ljust, line, widths))} |" for line in cells)
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([head, f"|{rule}|", *lines])


def _cells(row: ResultRow) -> tuple[str, ...]:
    meets_target = {True: "yes", False: "**no**", None: ""}[row.meets_target]
    return (row.case, row.baseline, row.measured, row.ratio, row.target, meets_target)


def format_notes(rows: Sequence[ResultRow]) -> str:
    """Format the notes of all results as a Markdown list."""
    return "\n".join(f"* {row.case}: {row.note}" for row in rows if row.note)


def format_target_summary(rows: Sequence[ResultRow]) -> str:
    """Summarize how many results meet their target, such as "20 of 21 targets met"."""
    results = [row.meets_target for row in rows if row.meets_target is not None]
    return f"{sum(results)} of {len(results)} targets met"


def format_report(
    rows: Sequence[ResultRow],
    machine: Sequence[tuple[str, str]],
    command: str,
    case_summaries: Sequence[tuple[str, str]],
) -> str:
    """Return the Markdown report of a benchmark run, for ``RESULTS.md``.

    ``rows`` are the results, ``machine`` has the (name, value) pairs of ``describe_machine``,
    ``command`` is the command line of the run, and ``case_summaries`` has a (name, summary) pair
    for each case.
    """
    facts = "\n".join(f"| {name} | {value} |" for name, value in machine)
    target_summary = format_target_summary(rows)
    comparisons = "\n".join(f"* `{name}`: {summary}" for name, summary in case_summaries)
    return f"""# Results

Made by `{command}`; `README.md` in this directory explains how to read it. {target_summary}.

{format_results_table(rows)}

## Remarks

{format_notes(rows) or "None."}

## What each case is compared with

{comparisons}

## Machine

| | |
|---|---|
{facts}
"""

"""The table, as it is printed and kept."""

from __future__ import annotations

from collections.abc import Sequence

from .results import Row

HEAD = ("case", "limit", "measured", "ratio", "target", "met?")


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table whose columns line up."""
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


def _cells(row: Row) -> tuple[str, ...]:
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    return (row.case, row.limit, row.measured, row.ratio, row.target, met)


def remarks(rows: Sequence[Row]) -> str:
    """What is to be said of single rows."""
    return "\n".join(f"* {row.case}: {row.note}" for row in rows if row.note)


def summary(rows: Sequence[Row]) -> str:
    """How many targets are met."""
    demanded = [row for row in rows if row.met is not None]
    return f"{sum(bool(row.met) for row in demanded)} of {len(demanded)} targets met"


def document(
    rows: Sequence[Row],
    machine: Sequence[tuple[str, str]],
    command: str,
    limits: Sequence[tuple[str, str]],
) -> str:
    """The whole of ``RESULTS.md``."""
    facts = "\n".join(f"| {name} | {value} |" for name, value in machine)
    meanings = "\n".join(f"* `{name}`: {meaning}" for name, meaning in limits)
    return f"""# Results

Made by `{command}`; README.md beside this file says how to read it. {summary(rows)}.

{table(rows)}

## Remarks

{remarks(rows) or "None."}

## What each case is held to

{meanings}

## Machine

| | |
|---|---|
{facts}
"""

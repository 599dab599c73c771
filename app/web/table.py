"""Tables to download: CSV that a spreadsheet reads as what it is."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from fastapi import Response

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take for the beginning of a program."""

Cells = tuple[str | None, ...]


def table(name: str, rows: Iterable[Cells]) -> Response:
    """Rows as a file of this name; the first of them is the head."""
    text = io.StringIO()
    written = csv.writer(text)
    for row in rows:
        written.writerow(_harmless(row))
    return Response(
        # The mark tells spreadsheets that this is UTF-8.
        text.getvalue().encode("utf-8-sig"),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _harmless(cells: Cells) -> Iterator[str]:
    for value in cells:
        text = value or ""
        yield f"'{text}" if text.startswith(FORMULA) else text

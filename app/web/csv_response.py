"""Tables to download, as CSV."""

from __future__ import annotations

import io
from collections.abc import Iterable

from fastapi import Response

from ..formats.csv import write_grid

Cells = tuple[str | None, ...]


def table(name: str, rows: Iterable[Cells]) -> Response:
    """Return rows as a CSV file of this name; the first row is the header."""
    file = io.BytesIO()
    write_grid(file, rows)
    return Response(
        file.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )

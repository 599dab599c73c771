"""Line and column numbers of values in a JSON text, for selected paths."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from ..repair.repair_log import join_path

WHITESPACE = re.compile(r"[ \t\r\n]*")
PATH_SEPARATOR = re.compile(r"[.\[]")


def ancestor_paths(path: str) -> Iterator[str]:
    """Yield the paths that contain a path, longest first: a[0], a and "" for a[0].b."""
    for separator in reversed(list(PATH_SEPARATOR.finditer(path))):
        if separator.start():
            yield path[: separator.start()]
    if path:
        yield ""


class JsonPositions:
    """The positions of some paths in a JSON text.

    Values that contain none of the paths are skipped by the C scanner of ``json``, which is many
    times faster than looking through them.
    """

    def __init__(self, text: str, paths: Iterable[str]) -> None:
        """Locate the paths; ``text`` must be valid JSON."""
        self._text = text
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        wanted = set(paths)
        self._ancestors = {ancestor for path in wanted for ancestor in ancestor_paths(path)}
        self._wanted = wanted | self._ancestors
        self._offsets: dict[str, int] = {}
        self._scan = json.JSONDecoder().raw_decode
        start = self._skip_whitespace(0)
        self._offsets[""] = start
        self._visit("", start)

    def locate(self, path: str) -> tuple[int, int]:
        """Return the line and column of a path, or of the closest value that contains it."""
        candidates = (path, *ancestor_paths(path))
        return self.line_and_column(
            next(self._offsets[p] for p in candidates if p in self._offsets)
        )

    def line_and_column(self, offset: int) -> tuple[int, int]:
        """Return the line and column, both from 1, of a character offset in the text."""
        line = bisect_left(self._newlines, offset)
        return line + 1, offset - (self._newlines[line - 1] if line else -1)

    def _skip_whitespace(self, offset: int) -> int:
        match = WHITESPACE.match(self._text, offset)
        return match.end() if match else offset

    def _visit(self, path: str, start: int) -> int:
        """Record the offsets of wanted paths in the value at ``start``; return where it ends."""
        opening = self._text[start]
        if path not in self._ancestors or opening not in "{[":
            return self._scan(self._text, start)[1]
        index, offset = 0, self._skip_whitespace(start + 1)
        while self._text[offset] not in "}]":
            member_start = offset
            if opening == "{":
                name, end = self._scan(self._text, offset)
                member = join_path(path, name)
                offset = self._skip_whitespace(self._skip_whitespace(end) + 1)
            else:
                member = f"{path}[{index}]"
                index += 1
            if member in self._wanted:
                self._offsets[member] = member_start
            offset = self._skip_whitespace(self._visit(member, offset))
            if self._text[offset] == ",":
                offset = self._skip_whitespace(offset + 1)
        return offset + 1

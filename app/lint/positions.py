"""Line and column numbers of values in a JSON text, for selected paths."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable

from ..repair.repair_log import iter_ancestor_paths, join_path

WHITESPACE = re.compile(r"[ \t\r\n]*")


class JsonPositionFinder:
    """Finds the line and column of selected paths in a JSON text, to report violations there.

    The C scanner of ``json`` skips all values that contain no selected path, because it is many
    times faster than Python code.
    """

    def __init__(self, text: str, paths: Iterable[str]) -> None:
        """Scan ``text``, which must be valid JSON, for the positions of ``paths``."""
        self._text = text
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        selected = set(paths)
        self._ancestors = {ancestor for path in selected for ancestor in iter_ancestor_paths(path)}
        self._selected = selected | self._ancestors
        self._offsets: dict[str, int] = {}
        self._scan = json.JSONDecoder().raw_decode
        start = self._skip_whitespace(0)
        self._offsets[""] = start
        self._record_offsets("", start)

    def locate(self, path: str) -> tuple[int, int]:
        """Return the (line, column) of the value at a path, both counted from 1.

        The position of an object's field is that of its name. If there is no such value, returns
        the position of the closest value that would contain it.
        """
        candidates = (path, *iter_ancestor_paths(path))
        offset = next(
            self._offsets[candidate] for candidate in candidates if candidate in self._offsets
        )
        line = bisect_left(self._newlines, offset)
        return line + 1, offset - (self._newlines[line - 1] if line else -1)

    def _skip_whitespace(self, offset: int) -> int:
        match = WHITESPACE.match(self._text, offset)
        return match.end() if match else offset

    def _record_offsets(self, path: str, start: int) -> int:
        """Record where the selected paths within one JSON value begin, and return where it ends.

        ``path`` is the path of the value. ``start`` and the result are offsets in the text; those
        of the selected paths go to ``_offsets``.
        """
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
            if member in self._selected:
                self._offsets[member] = member_start
            offset = self._skip_whitespace(self._record_offsets(member, offset))
            if self._text[offset] == ",":
                offset = self._skip_whitespace(offset + 1)
        return offset + 1

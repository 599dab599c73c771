"""Where in a text the parts of a JSON value stand, found without reading what nobody asks for."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from ..repair.repair_log import join_path

SPACE = re.compile(r"[ \t\r\n]*")
STEP_END = re.compile(r"[.\[]")


def ancestor_paths(path: str) -> Iterator[str]:
    """What a path leads through, longest first: a[0] and a for a[0].b; the whole is last."""
    for step in reversed(list(STEP_END.finditer(path))):
        if step.start():
            yield path[: step.start()]
    if path:
        yield ""


class JsonPositions:
    """The lines and columns, from 1, of some paths into a JSON text."""

    def __init__(self, text: str, paths: Iterable[str]) -> None:
        """Find the paths in a text that ``json`` reads."""
        self._text = text
        self._breaks = [found.start() for found in re.finditer("\n", text)]
        wanted = set(paths)
        self._inside = {above for path in wanted for above in ancestor_paths(path)}
        self._wanted = wanted | self._inside
        self._found: dict[str, int] = {}
        self._skip = json.JSONDecoder().raw_decode
        start = self._after_space(0)
        self._found[""] = start
        self._value("", start)

    def locate(self, path: str) -> tuple[int, int]:
        """The line and column of a path, or of the nearest thing around it."""
        around = (above for above in ancestor_paths(path) if above in self._found)
        return self.line_and_column(self._found[path if path in self._found else next(around)])

    def line_and_column(self, offset: int) -> tuple[int, int]:
        """The line and column of a character."""
        line = bisect_left(self._breaks, offset)
        return line + 1, offset - (self._breaks[line - 1] if line else -1)

    def _after_space(self, offset: int) -> int:
        found = SPACE.match(self._text, offset)
        return found.end() if found else offset

    def _value(self, path: str, start: int) -> int:
        """Look through a value, as far as something in it is wanted; answers where it ends."""
        opening = self._text[start]
        if path not in self._inside or opening not in "{[":
            return self._skip(self._text, start)[1]
        index, here = 0, self._after_space(start + 1)
        while self._text[here] not in "}]":
            if opening == "{":
                name, end = self._skip(self._text, here)
                part, begins = join_path(path, name), here
                here = self._after_space(self._after_space(end) + 1)
            else:
                part, begins = f"{path}[{index}]", here
                index += 1
            if part in self._wanted:
                self._found[part] = begins
            here = self._after_space(self._value(part, here))
            if self._text[here] == ",":
                here = self._after_space(here + 1)
        return here + 1

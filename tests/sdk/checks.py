"""One line for each thing that was checked, and the names of those that failed."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Awaitable
from typing import Any

from timeback_case import APIError

LONGEST = 400
"""Characters of a value that a failure quotes."""


class Checks:
    """What passed and what failed so far. A failure never stops the checks after it."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []

    def _tell(self, name: str, problem: str = "") -> None:
        if problem:
            self.failed.append(name)
            problem = f": {problem}"
        else:
            self.passed += 1
        print(f"{'FAIL' if problem else 'ok  '} {name}{problem}", flush=True)  # noqa: T201

    def true(self, name: str, holds: object, problem: str = "it does not hold") -> None:
        self._tell(name, "" if holds else problem)

    def equal(self, name: str, found: Any, expected: Any) -> None:
        self._tell(name, difference(found, expected))

    async def refused(
        self,
        name: str,
        call: Awaitable[Any],
        kind: type[APIError],
        status: int,
        minor: str = "",
        paths: tuple[str, ...] = (),
        says: str = "",
    ) -> None:
        """The call must raise exactly this error, with its minor code, details and wording."""
        try:
            await call
        except APIError as error:
            codes = [{"field": "TargetEndSystem", "value": minor}] if minor else []
            found = [type(error).__name__, error.status_code, error.minor_codes]
            problem = difference(found, [kind.__name__, status, codes])
            named = tuple(detail["path"] for detail in error.details)
            if not problem and paths:
                problem = difference(named, paths, "details")
            if not problem and says not in error.message:
                problem = f"{says!r} is not in {error.message!r}"
            self._tell(name, problem)
        else:
            self._tell(name, "nothing was raised")

    async def part(self, name: str, work: Awaitable[None]) -> None:
        """Several checks in a row; what they did not expect ends them, and is a failure."""
        start = time.perf_counter()
        try:
            await work
        except Exception as error:  # noqa: BLE001  whatever it is, it was not expected
            traceback.print_exc()
            self._tell(name, f"{type(error).__name__}: {error}"[:LONGEST])
        else:
            print(f"     {name}: {time.perf_counter() - start:.1f} s", flush=True)  # noqa: T201

    def end(self) -> None:
        """Exit with what failed."""
        if self.failed:
            sys.exit(f"{len(self.failed)} failed: {'; '.join(self.failed)}")
        print(f"all {self.passed} checks passed")  # noqa: T201


def difference(found: Any, expected: Any, path: str = "") -> str:
    """The first place where two values differ, or nothing."""
    if isinstance(found, dict) and isinstance(expected, dict):
        if found.keys() != expected.keys():
            missing, more = expected.keys() - found.keys(), found.keys() - expected.keys()
            return f"{path or 'it'} lacks {_some(missing)} and has {_some(more)}"
        steps = [(f"{path}.{key}".lstrip("."), found[key], expected[key]) for key in expected]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        steps = [(f"{path}[{index}]", one, other) for index, (one, other) in pairs]
    elif found == expected:
        return ""
    else:
        where = f"{path}: " if path else ""
        return f"{where}found {found!r:.{LONGEST}}, expected {expected!r:.{LONGEST}}"
    told = (difference(one, other, where) for where, one, other in steps)
    return next(filter(None, told), "")


def _some(names: Any) -> str:
    listed = sorted(map(str, names))
    return (
        ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "") or "-"
    )

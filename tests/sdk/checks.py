"""Print one line for each check, and collect the names of those that failed."""

import sys
import time
import traceback
from collections.abc import Awaitable
from typing import Any

from timeback_case import APIError

MAX_QUOTED_CHARS = 400
"""Characters of a value that a failure quotes."""


class Checks:
    """Runs and counts checks; a failed check does not stop the following ones."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []

    def _record(self, name: str, problem: str = "") -> None:
        if problem:
            self.failed.append(name)
            problem = f": {problem}"
        else:
            self.passed += 1
        print(f"{'FAIL' if problem else 'ok  '} {name}{problem}", flush=True)  # noqa: T201

    def check_true(self, name: str, holds: object, problem: str = "the condition is false") -> None:
        self._record(name, "" if holds else problem)

    def check_equal(self, name: str, value: Any, expected: Any) -> None:
        self._record(name, find_difference(value, expected))

    async def check_error(
        self,
        name: str,
        call: Awaitable[Any],
        kind: type[APIError],
        status: int,
        minor: str = "",
        paths: tuple[str, ...] = (),
        says: str = "",
    ) -> None:
        """Check that an SDK call raises an error of this class, status, minor code and message.

        ``paths`` are those of the problems in the error's details.
        """
        try:
            await call
        except APIError as error:
            codes = [{"field": "TargetEndSystem", "value": minor}] if minor else []
            results = [type(error).__name__, error.status_code, error.minor_codes]
            problem = find_difference(results, [kind.__name__, status, codes])
            paths_of_details = tuple(detail["path"] for detail in error.details)
            if not problem and paths:
                problem = find_difference(paths_of_details, paths, "details")
            if not problem and says not in error.message:
                problem = f"{says!r} is not in {error.message!r}"
            self._record(name, problem)
        else:
            self._record(name, "nothing was raised")

    async def run_part(self, name: str, work: Awaitable[None]) -> None:
        """Run a coroutine of several checks; an unexpected exception in it is a failed check."""
        start = time.perf_counter()
        try:
            await work
        except Exception as error:  # noqa: BLE001  every unexpected exception is a failure
            traceback.print_exc()
            self._record(name, f"{type(error).__name__}: {error}"[:MAX_QUOTED_CHARS])
        else:
            print(f"     {name}: {time.perf_counter() - start:.1f} s", flush=True)  # noqa: T201

    def exit_with_result(self) -> None:
        """Exit with the names of the failed checks, or print how many checks have passed."""
        if self.failed:
            sys.exit(f"{len(self.failed)} failed: {'; '.join(self.failed)}")
        print(f"all {self.passed} checks passed")  # noqa: T201


def find_difference(found: Any, expected: Any, path: str = "") -> str:
    """Return a description of the first difference between two JSON values.

    It is empty if they are equal.
    """
    if isinstance(found, dict) and isinstance(expected, dict):
        if found.keys() != expected.keys():
            missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
            return f"{path or 'it'} lacks {_some(missing)} and has {_some(extra)}"
        steps = [(f"{path}.{key}".lstrip("."), found[key], expected[key]) for key in expected]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        steps = [(f"{path}[{index}]", value, other) for index, (value, other) in pairs]
    elif found == expected:
        return ""
    else:
        where = f"{path}: " if path else ""
        return (
            f"{where}found {found!r:.{MAX_QUOTED_CHARS}}, expected {expected!r:.{MAX_QUOTED_CHARS}}"
        )
    differences = (find_difference(value, other, where) for where, value, other in steps)
    return next(filter(None, differences), "")


def _some(names: Any) -> str:
    listed = sorted(map(str, names))
    return (
        ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "") or "-"
    )

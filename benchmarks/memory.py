"""Memory of a server's processes, as Linux reports it in ``/proc``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .errors import BenchmarkError

PROC = Path("/proc")


def resident(pid: int) -> int:
    """Return the resident bytes of a process and its descendants."""
    return sum(_field(each, "VmRSS") for each in family(pid))


def peak(pid: int) -> int:
    """Return the maximum resident bytes since ``reset_peak``, including descendants."""
    return sum(_field(each, "VmHWM") for each in family(pid))


def reset_peak(pid: int) -> None:
    """Reset the peak of a process and its descendants to their current memory."""
    for each in family(pid):
        # 5 resets the peak: proc(5), clear_refs.
        (PROC / str(each) / "clear_refs").write_text("5")


def family(pid: int) -> Iterator[int]:
    """Yield a process ID and those of all descendants."""
    _require()
    yield pid
    for children in (PROC / str(pid) / "task").glob("*/children"):
        for child in children.read_text().split():
            yield from family(int(child))


def total() -> int:
    """Return the bytes of memory of this machine."""
    _require()
    return _value((PROC / "meminfo").read_text(), "MemTotal")


def _field(pid: int, name: str) -> int:
    return _value((PROC / str(pid) / "status").read_text(), name)


def _value(text: str, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    # A process that has just ended has no such line.
    return int(match[1]) * 1024 if match else 0


def _require() -> None:
    if not (PROC / "self" / "status").exists():
        raise BenchmarkError("memory is read from /proc, which only Linux has")

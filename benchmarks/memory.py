"""How much memory a server's processes hold, as Linux tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .errors import BenchmarkError

PROC = Path("/proc")


def resident(pid: int) -> int:
    """Bytes in memory now, of a process and its children."""
    return sum(_field(each, "VmRSS") for each in family(pid))


def peak(pid: int) -> int:
    """The most there were since ``reset_peak``, of a process and its children."""
    return sum(_field(each, "VmHWM") for each in family(pid))


def reset_peak(pid: int) -> None:
    """Let the peak begin anew, at what is in memory now."""
    for each in family(pid):
        # 5 resets the peak: proc(5), clear_refs.
        (PROC / str(each) / "clear_refs").write_text("5")


def family(pid: int) -> Iterator[int]:
    """A process and all that come from it."""
    _require()
    yield pid
    for children in (PROC / str(pid) / "task").glob("*/children"):
        for child in children.read_text().split():
            yield from family(int(child))


def total() -> int:
    """Bytes of memory this machine has."""
    _require()
    return _value((PROC / "meminfo").read_text(), "MemTotal")


def _field(pid: int, name: str) -> int:
    return _value((PROC / str(pid) / "status").read_text(), name)


def _value(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    # A child that has just ended says nothing any more.
    return int(found[1]) * 1024 if found else 0


def _require() -> None:
    if not (PROC / "self" / "status").exists():
        raise BenchmarkError("memory is read from /proc, which only Linux has")

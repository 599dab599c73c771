"""Memory of a server's processes, as Linux reports it in ``/proc``."""

import re
from collections.abc import Iterator
from pathlib import Path

from .errors import BenchmarkError

PROC = Path("/proc")


def get_resident_memory_bytes(pid: int) -> int:
    """Return the total resident memory in bytes of a process and its descendants."""
    return sum(_field(process_id, "VmRSS") for process_id in iter_process_tree(pid))


def get_peak_memory_bytes(pid: int) -> int:
    """Return the summed memory peaks in bytes of a process tree since ``reset_peak_memory``."""
    return sum(_field(process_id, "VmHWM") for process_id in iter_process_tree(pid))


def reset_peak_memory(pid: int) -> None:
    """Reset the peak-memory counters of a process and its descendants."""
    for process_id in iter_process_tree(pid):
        # 5 resets the peak: proc(5), clear_refs.
        (PROC / str(process_id) / "clear_refs").write_text("5")


def iter_process_tree(pid: int) -> Iterator[int]:
    """Yield a process ID, then the IDs of all its descendants."""
    _require()
    yield pid
    for children in (PROC / str(pid) / "task").glob("*/children"):
        for child in children.read_text().split():
            yield from iter_process_tree(int(child))


def get_total_memory_bytes() -> int:
    """Return the total memory of this machine in bytes."""
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

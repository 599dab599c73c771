"""Mount small disks in memory (tmpfs) and fill them."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class MountNotAllowed(Exception):
    """Raised if this process has no permission to mount a disk."""


@contextmanager
def mount_small_disk(folder: Path, size_mb: int) -> Iterator[Path]:
    """Mount a tmpfs, which is a disk in memory, at ``folder`` during a ``with`` block.

    Raises ``MountNotAllowed`` if this process has no permission to mount.
    """
    folder.mkdir()
    mount = shutil.which("mount") or "false"
    command = (mount, "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder))
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise MountNotAllowed(f"could not mount a disk: {result.stderr.strip() or 'no mount'}")
    try:
        yield folder
    finally:
        subprocess.run(("umount", "-l", str(folder)), check=True)


@contextmanager
def fill_disk(disk: Path, free_bytes: int = 0) -> Iterator[None]:
    """Fill a disk during a ``with`` block, except for ``free_bytes``."""
    filler, reserve = disk / "filler", disk / "spare"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            reserve.write_bytes(bytes(free_bytes))
            while True:
                file.write(bytes(4096))
        reserve.unlink()
        yield
    finally:
        filler.unlink()

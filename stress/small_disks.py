"""Small disks, mounted in memory where that is allowed, and how they become full."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class NotAllowed(Exception):
    """This process may not mount anything."""


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of so many megabytes at ``folder``. Raises ``NotAllowed``."""
    folder.mkdir()
    mount = shutil.which("mount") or "false"
    command = (mount, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotAllowed(f"no disk of a size of its own: {done.stderr.strip() or 'no mount'}")
    try:
        yield folder
    finally:
        subprocess.run(("umount", "-l", str(folder)), check=True)


@contextmanager
def filled(disk: Path, but: int = 0) -> Iterator[None]:
    """Nothing is free on the disk but so many bytes; it is free again afterwards."""
    filler, spare = disk / "filler", disk / "spare"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            spare.write_bytes(bytes(but))
            while True:
                file.write(bytes(4096))
        spare.unlink()
        yield
    finally:
        filler.unlink()

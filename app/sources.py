"""Where packages come from: files, folders of them, URLs, standard input."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .errors import StartupError
from .fetching import Fetcher

SUFFIXES = (".json", ".json.gz")


class Source(NamedTuple):
    """Where a package comes from."""

    name: str
    read: Callable[[], bytes]


def sources(names: Sequence[str], fetcher: Fetcher) -> Iterator[Source]:
    """The packages that names stand for: files, folders of them, URLs, or - for standard input."""
    for name in names:
        if name == "-":
            yield Source(name, sys.stdin.buffer.read)
        elif name.startswith(("http://", "https://")):
            yield Source(name, partial(fetcher.fetch, name))
        else:
            files = _files(Path(name))
            yield from (Source(str(path), partial(_read, path)) for path in files)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES))


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StartupError(f"cannot be read: {reason}") from error

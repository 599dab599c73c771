"""The sources of packages: files, folders, URLs and standard input."""

from __future__ import annotations

import json
import re
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..exceptions import CaseServerError, CommandError, ContentTooLarge
from ..formats.file_format import (
    COMPRESSED,
    REFUSED_SUFFIXES,
    SUFFIXES,
    FileFormat,
    detect_file_format,
    reject_unsupported_spreadsheet,
)
from ..formats.tabular.other_formats import diagnose_foreign_json
from ..formatting import format_count
from ..net.compression import GZIP_MAGIC
from ..net.download import MAX_DOWNLOAD_MB, Fetcher, decompress_gzip
from ..net.ssrf import is_http_url
from ..repair.incomplete_packages import find_child_lists
from ..repair.reader import describe_file_error
from .remote_server import PackageFetcher

GIVE_PACKAGE = (
    "give a CFPackage: an object with CFDocument, CFItems and CFAssociations, as "
    "GET …/CFPackages/ID answers it"
)
CHARACTERISTIC_FIELDS = {
    "CFAssociation": "associationType",
    "CFItem": "fullStatement",
    "CFDocument": "creator",
}
"""A field by which an entity of a class is recognised."""

WHITESPACE = b" \t\r\n"
URL_PREFIXES = ("http://", "https://")
URL_ADVICE = "use http:// or https:// and the name of a host"


class PackageSource(NamedTuple):
    """A file or URL to import: how to read it, its file format and its modification time."""

    name: str
    read: Callable[[], bytes]
    file_format: FileFormat = "case-json"
    changed: datetime | None = None
    allow_dense: bool = False
    """True for local files: only their size is limited, not the number of their values."""


def iter_sources(
    names: Sequence[str],
    fetcher: Fetcher,
    file_format: FileFormat | None = None,
    *,
    allow_dense: bool = False,
) -> Iterator[PackageSource]:
    """Yield a ``PackageSource`` for each URL, file, file in a folder, and ``-`` (stdin).

    ``file_format`` applies to all names; by default, the extension of each name determines it.
    ``allow_dense`` lifts the limit on values per megabyte in packages from URLs. Raises
    ``CommandError`` for a folder that contains no file to read, and for an invalid URL.
    """
    package_fetcher = PackageFetcher(fetcher)
    for name in names:
        if name == "-":
            source_format = file_format or "case-json"
            yield PackageSource(name, _read_stdin, source_format, allow_dense=True)
        elif name.startswith(URL_PREFIXES):
            if not is_http_url(name):
                raise CommandError(f"invalid URL {name}: {URL_ADVICE}")
            source_format = file_format or detect_file_format(urlsplit(name).path) or "case-json"
            fetch = package_fetcher.fetch if source_format == "case-json" else fetcher.fetch
            yield PackageSource(name, partial(fetch, name), source_format, allow_dense=allow_dense)
        else:
            for path in _list_files(Path(name)):
                known_format = file_format or detect_file_format(path.name)
                is_known = known_format or not path.suffix
                read_bytes = partial(_read_file if is_known else _read_unknown_format, path)
                source_format, changed = known_format or "case-json", _modification_time(path)
                yield PackageSource(str(path), read_bytes, source_format, changed, allow_dense=True)


def describe_error(error: Exception) -> str:
    """Return the message of any error that a command reports for one of its files or URLs.

    For ``ContentTooLarge``, the message advises the option ``--allow-dense``.
    """
    if isinstance(error, ContentTooLarge):
        return f"{error}; if you trust the source, give --allow-dense"
    return describe_file_error(error) if isinstance(error, CaseServerError) else str(error)


def reject_non_package_json(raw: bytes) -> None:
    """Raise ``CommandError`` for an empty file or JSON without a package.

    The message says what to import instead. Invalid JSON and JSON with a CFDocument are accepted
    here, because the package reader reports their errors.
    """
    if not raw.strip():
        raise CommandError(f"is empty; {GIVE_PACKAGE}")
    is_package = b'"CFDocument"' in raw and b'"CFPackageWithGroups"' not in raw
    if is_package and not raw.lstrip(BOM_UTF8 + WHITESPACE).startswith(b"["):
        return
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return
    if other := diagnose_foreign_json(value):
        raise CommandError(other)
    if isinstance(value, list):
        raise CommandError(f"{_describe_list(value)}; {GIVE_PACKAGE}")
    if isinstance(value, dict) and "CFPackageWithGroups" in value:
        raise CommandError(f"is a package with groups, which is for display only; {GIVE_PACKAGE}")
    if isinstance(value, dict) and isinstance(value.get("CFDocuments"), list):
        raise CommandError(f"{_describe_list(value['CFDocuments'])}; {GIVE_PACKAGE}")
    if (name := _guess_entity_class(value)) and not find_child_lists(value):
        raise CommandError(f"is one {name} without its package; {GIVE_PACKAGE}")


def _describe_list(members: list[Any]) -> str:
    first = members[0] if members else None
    is_package = isinstance(first, dict) and ("CFDocument" in first or "CFPackage" in first)
    noun = "package" if is_package else _guess_entity_class(first) or "value"
    count = len(members)
    advice = " (give each of them in a file of its own)" if is_package and count > 1 else ""
    return f"is a list of {format_count(count, noun)}, not a package{advice}"


def _guess_entity_class(value: Any) -> str | None:
    """Guess the CASE class of a parsed JSON value from its fields, and return its name or None.

    For example, an object with a ``fullStatement`` is a CFItem.
    """
    if not isinstance(value, dict):
        return None
    for name, field in CHARACTERISTIC_FIELDS.items():
        if field in value or value.keys() == {name}:
            return name
    return None


def require_existing_paths(names: Sequence[str]) -> None:
    """Raise a ``CommandError`` that lists every given file or folder that does not exist.

    URLs and ``-`` are not checked. Commands call this before they open the database, so that a
    mistyped name does not start an embedded Postgres.
    """
    local = (name for name in names if name != "-" and not name.startswith(URL_PREFIXES))
    missing_names = [name for name in local if not Path(name).exists()]
    if missing_names:
        plural = "s" if len(missing_names) > 1 else ""
        raise CommandError(
            f"no such file{plural} or folder{plural}: {', '.join(missing_names)}; "
            f"check the path{plural}"
        )


def _list_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    # Hidden files, and the lock files of Excel next to open workbooks, are no frameworks.
    visible_files = (file for file in path.iterdir() if not file.name.startswith((".", "~$")))
    # Other spreadsheets are refused with what to do, because they hold frameworks, too.
    files = sorted(
        file
        for file in visible_files
        if detect_file_format(file.name) or file.suffix.lower() in REFUSED_SUFFIXES
    )
    if not files:
        extensions = ", ".join(SUFFIXES)
        raise CommandError(f"{path}: the folder has no files to read ({extensions})")
    return files


JSON_START = re.compile(rb"[\x00\xef\xbb\xbf\xff\xfe\s]*[\[{]")


def _read_unknown_format(path: Path) -> bytes:
    """Return the bytes of a file with an unknown extension, if its content may be JSON.

    Raises ``CommandError`` for other content and for extensions of unsupported formats, and
    ``BadRequest`` for an .xls or .ods file.
    """
    if advice := REFUSED_SUFFIXES.get(path.suffix.lower()):
        raise CommandError(advice)
    raw = _read_file(path)
    reject_unsupported_spreadsheet(raw)
    if raw and not JSON_START.match(raw):
        *other_suffixes, last_suffix = SUFFIXES
        raise CommandError(
            f"has an unknown file format: {', '.join(other_suffixes)} and {last_suffix} files "
            f"are read, each also with {COMPRESSED}; --format gives the format "
            "of a file with another name"
        )
    return raw


def _modification_time(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None  # reported when the file is read


def _read_stdin() -> bytes:
    raw = sys.stdin.buffer.read()
    if raw.startswith(GZIP_MAGIC):
        raise CommandError("is compressed with gzip: decompress it")
    return raw


def _read_file(path: Path) -> bytes:
    """Return the bytes of a file, decompressed if its name ends in .gz."""
    try:
        if path.stat().st_size > MAX_DOWNLOAD_MB * 2**20:
            raise CommandError(f"is larger than {MAX_DOWNLOAD_MB:,} MB; split it")
        raw = path.read_bytes()
    except OSError as error:
        raise CommandError(
            f"cannot be read: {error.strerror or error}; check its name and permissions"
        ) from error
    if path.suffix.lower() == COMPRESSED:
        return decompress_gzip(raw)
    if raw.startswith(GZIP_MAGIC):
        raise CommandError(f"is compressed with gzip: rename it to {path.name}{COMPRESSED}")
    return raw

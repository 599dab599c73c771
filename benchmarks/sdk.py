"""Reads by the TimeBack SDK: a package, and a hundred items."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from . import data
from .context import (
    SEED,
    BenchmarkContext,
    generate_item_identifiers,
    measure_seconds,
    report_progress,
)
from .errors import BenchmarkError
from .processes import CREDENTIALS, BenchmarkedServer
from .results import ResultRow, compare_durations, create_unmeasured_row

SCRIPT = Path(__file__).with_name("sdk_client.py")
ENVIRONMENT = Path(sys.prefix) / "benchmark-sdk"
"""The virtual environment with the SDK, which later runs reuse."""
SDK = ("timeback-case==0.4.0", "timeback-core==0.4.0")
OLDEST_MINOR, NEWEST_MINOR = 12, 14
PREFIX = "/ims/case/v1p1"
ITEMS = 100


def measure_sdk(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure reads of a package and 100 items by TimeBack's SDK, compared with plain HTTP."""
    titles = (
        f"the SDK reads a package of {context.sizes.item_count:,}",
        f"the SDK reads {ITEMS} items",
    )
    try:
        python = _ensure_sdk_python()
    except BenchmarkError as error:
        yield from (create_unmeasured_row(title, str(error)) for title in titles)
        return
    items = generate_item_identifiers(SEED, min(ITEMS, context.sizes.item_count))
    with context.run_server(context.ensure_framework_database()) as server:
        report_progress("reading with the SDK")
        packages, singles = _run_client(python, server, context.rounds, items)
        package = f"{PREFIX}/CFPackages/{data.build_uuid(SEED, 'document')}"
        paths = [f"{PREFIX}/CFItems/{identifier}" for identifier in items]
        rounds = range(context.rounds)
        with server.open_client() as client:
            bare_packages = [measure_seconds(lambda: client.get(package)) for _ in rounds]
            bare_items = [measure_seconds(lambda: [*map(client.get, paths)]) for _ in rounds]
    yield compare_durations(titles[0], bare_packages, packages, None)
    yield compare_durations(titles[1], bare_items, singles, None)


def _run_client(
    python: Path, server: BenchmarkedServer, rounds: int, items: list[str]
) -> tuple[list[float], list[float]]:
    names = ("CASE_CLIENT_ID", "CASE_CLIENT_SECRET")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CASE_", "TIMEBACK_", "PYTHON"))
    }
    document = data.build_uuid(SEED, "document")
    process = subprocess.run(
        [python, SCRIPT, server.base_url, document, str(rounds), *items],
        env=environment | dict(zip(names, CREDENTIALS, strict=True)),
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise BenchmarkError(f"the SDK failed: {process.stderr[-1000:]}")
    packages, singles = json.loads(process.stdout)
    return packages, singles


def _ensure_sdk_python() -> Path:
    """Return a Python interpreter that can import TimeBack's SDK; install the SDK on first use."""
    python = ENVIRONMENT / "bin" / "python"
    if _has_sdk(python):
        return python
    for interpreter in _interpreters():
        report_progress(f"installing the SDK for {interpreter}")
        pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *SDK)
        is_installed = _succeeds(interpreter, "-m", "venv", ENVIRONMENT) and _succeeds(*pip)
        if is_installed and _has_sdk(python):
            return python
    raise BenchmarkError(
        f"the SDK needs Python 3.{OLDEST_MINOR} or newer with venv (on PATH, from pyenv or uv) "
        "and a package registry"
    )


def _interpreters() -> Iterator[Path]:
    names = [f"python3.{minor}" for minor in range(OLDEST_MINOR, NEWEST_MINOR + 1)]
    paths = [Path(sys.executable), *(Path(path) for name in names if (path := shutil.which(name)))]
    homes = ((Path("~/.pyenv/versions")), Path("~/.local/share/uv/python"))
    paths += [
        path for home in homes for name in names for path in home.expanduser().glob(f"*/bin/{name}")
    ]
    check = f"import ensurepip, sys; sys.exit(sys.version_info < (3, {OLDEST_MINOR}))"
    return (path for path in paths if _succeeds(path, "-c", check))


def _has_sdk(python: Path) -> bool:
    return python.exists() and _succeeds(python, "-c", "import timeback_case")


def _succeeds(*command: str | Path) -> bool:
    return not subprocess.run(command, capture_output=True, check=False).returncode

"""What users feel: the TimeBack SDK reading a package and a hundred items."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from . import data
from .client import Client
from .errors import BenchmarkError
from .lab import SEED, Lab, items_of, say, timed
from .processes import CREDENTIALS, Server
from .results import Row, times, unmeasured

SCRIPT = Path(__file__).with_name("sdk_client.py")
HOME = Path(sys.prefix) / "benchmark-sdk"
"""The SDK's own environment, kept from run to run inside the project's."""
SDK = ("timeback-case==0.4.0", "timeback-core==0.4.0")
OLDEST, NEWEST = 12, 14
PREFIX = "/ims/case/v1p1"
ITEMS = 100


def sdk(lab: Lab) -> Iterator[Row]:
    """The SDK reads a package and 100 items, beside a bare socket reading the same."""
    titles = (f"the SDK reads a package of {lab.sizes.items:,}", f"the SDK reads {ITEMS} items")
    try:
        python = _python()
    except BenchmarkError as error:
        yield from (unmeasured(title, str(error)) for title in titles)
        return
    items = items_of(SEED, min(ITEMS, lab.sizes.items))
    with lab.serve(lab.framework()) as server:
        say("reading with the SDK")
        packages, singles = _drive(python, server, lab.rounds, items)
        with Client(server.base_url, server.headers) as client:
            whole = f"{PREFIX}/CFPackages/{data.identifier_of(SEED, 'document')}"
            bare = [timed(lambda: client.get(whole)) for _ in range(lab.rounds)]
            each = [
                timed(lambda: [client.get(f"{PREFIX}/CFItems/{one}") for one in items])
                for _ in range(lab.rounds)
            ]
    yield times(titles[0], bare, packages, None)
    yield times(titles[1], each, singles, None)


def _drive(
    python: Path, server: Server, rounds: int, items: list[str]
) -> tuple[list[float], list[float]]:
    names = ("CASE_CLIENT_ID", "CASE_CLIENT_SECRET")
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CASE_", "TIMEBACK_", "PYTHON"))
    }
    document = data.identifier_of(SEED, "document")
    ran = subprocess.run(
        [python, SCRIPT, server.base_url, document, str(rounds), *items],
        env=clean | dict(zip(names, CREDENTIALS, strict=True)),
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise BenchmarkError(f"the SDK failed: {ran.stderr[-1000:]}")
    packages, singles = json.loads(ran.stdout)
    return packages, singles


def _python() -> Path:
    """An interpreter with the SDK, installed on first use."""
    python = HOME / "bin" / "python"
    if _has_sdk(python):
        return python
    for found in _interpreters():
        say(f"installing the SDK for {found}")
        pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *SDK)
        if _works(found, "-m", "venv", HOME) and _works(*pip) and _has_sdk(python):
            return python
    raise BenchmarkError(
        f"the SDK needs Python 3.{OLDEST} or newer with venv, on PATH or of pyenv or uv, and a "
        "package registry"
    )


def _interpreters() -> Iterator[Path]:
    names = [f"python3.{minor}" for minor in range(OLDEST, NEWEST + 1)]
    found = [Path(sys.executable), *(Path(one) for name in names if (one := shutil.which(name)))]
    homes = ((Path("~/.pyenv/versions")), Path("~/.local/share/uv/python"))
    found += [
        one for home in homes for name in names for one in home.expanduser().glob(f"*/bin/{name}")
    ]
    check = f"import ensurepip, sys; sys.exit(sys.version_info < (3, {OLDEST}))"
    return (one for one in found if _works(one, "-c", check))


def _has_sdk(python: Path) -> bool:
    return python.exists() and _works(python, "-c", "import timeback_case")


def _works(*command: str | Path) -> bool:
    return not subprocess.run(command, capture_output=True, check=False).returncode

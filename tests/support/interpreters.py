"""The Python interpreters of this machine that TimeBack's SDK can run on."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

OLDEST = (3, 12)
NEWEST = (3, 14)
WANTED = f"Python {'.'.join(map(str, OLDEST))} or newer"


def skip_or_fail(why: str) -> NoReturn:
    """Skip the test with a reason; in CI, where everything must be installed, fail it instead."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def iter_interpreters() -> Iterator[Path]:
    """Yield paths of Python interpreters: this one, and those on PATH, of uv and of pyenv."""
    yield Path(sys.executable)
    names = [f"python3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
    yield from (Path(result) for name in names if (result := shutil.which(name)))
    homes = {
        "UV_PYTHON_INSTALL_DIR": (Path("~/.local/share/uv/python"), ""),
        "PYENV_ROOT": (Path("~/.pyenv"), "versions/"),
    }
    for variable, (default, below) in homes.items():
        home = Path(os.environ.get(variable) or default.expanduser())
        for name in names:
            yield from sorted(home.glob(f"{below}*/bin/{name}"))


def is_usable(interpreter: Path) -> bool:
    """Return whether an interpreter starts, is new enough and can create environments.

    A shim of pyenv may exist without starting.
    """
    code = f"import ensurepip, venv, sys; sys.exit(sys.version_info < {OLDEST})"
    result = subprocess.run([interpreter, "-c", code], capture_output=True, check=False)
    return result.returncode == 0


def get_version(interpreter: Path) -> tuple[int, int]:
    """Return the major and minor version of a Python interpreter, for example (3, 12)."""
    code = "import sys; print(*sys.version_info[:2])"
    result = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True)
    major, minor = map(int, result.stdout.split())
    return major, minor

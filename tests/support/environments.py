"""Virtual environments with what users install: the TimeBack SDK and the built wheel."""

import fcntl
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from support.interpreters import WANTED, is_usable, iter_interpreters, skip_or_fail

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "tests" / "sample_project"
IGNORED = (".*", "*.egg-info", "build", "__pycache__")
PIP = ("-m", "pip", "--disable-pip-version-check", "-q")

PYTEST_OPTIONS = {"PYTEST_ADDOPTS": "-p no:schemathesis -p no:hypothesispytest"}
"""Environment variables of a pytest process in the environment of this project.

The plugins of schemathesis and hypothesis, which users of case-server need not have, take 0.9 and
0.3 of the 1.5 CPU seconds of a start.
"""


def build_clean_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without CASE_, PYTEST_ and TIMEBACK_ variables.

    ``PYTEST_OPTIONS`` and ``variables`` are added.
    """
    ours = ("CASE_", "PYTEST_", "TIMEBACK_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return inherited | PYTEST_OPTIONS | variables


def run_successfully(*command: str | Path, folder: Path, **variables: str) -> str:
    """Run a command in ``folder`` and return its output; fail if the exit code is not 0."""
    result = subprocess.run(
        command,
        cwd=folder,
        env=build_clean_environment(**variables),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def find_sdk_python(run_dir: Path) -> Path:
    """Return a Python with the TimeBack SDK.

    It is installed once per test run, whose processes share ``run_dir``.
    """
    folder, is_installed = run_dir / "sdk", run_dir / "sdk.installed"
    with (run_dir / "sdk.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_installed.exists():
            interpreter = next(filter(is_usable, iter_interpreters()), None)
            if interpreter is None:
                skip_or_fail(
                    f"the TimeBack SDK needs {WANTED}: there is none on PATH, of uv or of pyenv"
                )
            create_environment(interpreter, folder, *read_project()["project"]["dependencies"])
            is_installed.touch()
    return folder / "bin" / "python"


def read_project() -> dict[str, Any]:
    """Return the pyproject.toml of the sample project."""
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())


def create_project_environment(interpreter: Path, folder: Path, run_dir: Path) -> Path:
    """Create a virtual environment with the dependencies of the sample project.

    Returns the path of its Python.
    """
    project = read_project()
    requirements = [*project["project"]["dependencies"], *project["dependency-groups"]["test"]]
    assert requirements[2] == "case-server[embedded]"
    requirements[2] = f"{build_wheel(run_dir)}[embedded]"
    return create_environment(interpreter, folder, *requirements)


def create_environment(interpreter: str | Path, folder: Path, *requirements: str) -> Path:
    """Create a virtual environment with the given requirements and return its Python."""
    run_successfully(interpreter, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    python = folder / "bin" / "python"
    pip = (sys.executable, *PIP, "--python", python)
    run_successfully(*pip, "install", "--no-compile", *requirements, folder=folder.parent)
    return python


def build_wheel(run_dir: Path) -> Path:
    """Build the wheel of case-server once per test run and return its path."""
    folder = run_dir / "wheel"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (built := [*folder.glob("*.whl")]):
            source = folder / "source"
            shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*IGNORED, "tests"))
            run_successfully(
                sys.executable, *PIP, "wheel", "--no-deps", "-w", folder, source, folder=folder
            )
            built = [*folder.glob("*.whl")]
    return built[0]

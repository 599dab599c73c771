"""A project that uses the plugin and TimeBack's SDK, in an environment with the built wheel."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pytest_plugin.test_plugin import clean_environment
from support.interpreters import NEWEST, OLDEST, WANTED, interpreters, runs, unavailable, version_of

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "tests" / "sample_project"
IGNORED = (".*", "*.egg-info", "build", "__pycache__")
PIP = ("-m", "pip", "--disable-pip-version-check", "-q")
MINORS = range(OLDEST[1], NEWEST[1] + 1)


def run(*command: str | Path, folder: Path) -> str:
    result = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def wheel(base: Path) -> Path:
    """Build the wheel of case-server once for all test processes and return its path."""
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheel"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (built := [*folder.glob("*.whl")]):
            source = folder / "source"
            shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*IGNORED, "tests"))
            run(sys.executable, *PIP, "wheel", "--no-deps", "-w", folder, source, folder=folder)
            built = [*folder.glob("*.whl")]
    return built[0]


def installed(interpreter: Path, built: Path, folder: Path) -> Path:
    """Create an environment with the dependencies of the sample project; return its Python."""
    run(interpreter, "-m", "venv", "--without-pip", folder / "venv", folder=folder)
    named = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wanted = [*named["project"]["dependencies"], *named["dependency-groups"]["test"]]
    assert wanted[2] == "case-server[embedded]"
    wanted[2] = f"{built}[embedded]"
    python = folder / "venv" / "bin" / "python"
    pip = (sys.executable, *PIP, "--python", python)
    run(*pip, "install", "--no-compile", *wanted, folder=folder)
    return python


@pytest.fixture(scope="module")
def usable() -> dict[tuple[int, int], Path]:
    """The interpreters that the SDK supports, by version; test_plugin.py covers 3.11."""
    result = {
        version_of(interpreter): interpreter for interpreter in interpreters() if runs(interpreter)
    }
    if not result:
        unavailable(f"the TimeBack SDK needs {WANTED}, and there is none here")
    return result


def test_sample_project_passes_on_the_oldest_python(
    usable: dict[tuple[int, int], Path], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    built = wheel(tmp_path_factory.getbasetemp())
    python = installed(usable[min(usable)], built, tmp_path)
    folder = run_project(python, tmp_path)
    output = run(python, "-m", "pytest", "-q", "test_publisher.py", folder=folder)
    assert "passed" in output


@pytest.mark.slow
@pytest.mark.parametrize("minor", MINORS, ids=lambda minor: f"3.{minor}")
def test_sample_project_passes_on_each_python(
    usable: dict[tuple[int, int], Path],
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    minor: int,
) -> None:
    if (3, minor) not in usable:
        pytest.skip(f"there is no Python 3.{minor} here")
    built = wheel(tmp_path_factory.getbasetemp())
    run_project(installed(usable[3, minor], built, tmp_path), tmp_path)


def run_project(python: Path, tmp_path: Path) -> Path:
    """Run all tests of the sample project in two processes, and return its folder."""
    folder = shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns(*IGNORED))
    number = sum(path.read_text().count("def test_") for path in PROJECT.glob("test_*.py"))
    output = run(python, "-m", "pytest", "-q", "-n", "2", folder=folder)
    assert "skipped" not in output
    passed = int(output.splitlines()[-1].split()[0])
    assert passed >= number > 10
    return folder


def test_sample_project_imports_no_internals() -> None:
    for file in PROJECT.glob("*.py"):
        text = file.read_text()
        assert "import app" not in text
        assert "case_server." not in text

"""A project of somebody else's, in an environment of its own: the wheel, the plugin, the SDK."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from interpreters import WANTED, interpreters, runs, unavailable
from testing.test_plugin import clean_environment

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "tests" / "sample_project"


def run(*command: str | Path, folder: Path) -> str:
    ran = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample project, installed beside what it needs."""
    folder = tmp_path_factory.mktemp("sample")
    found = next(filter(runs, interpreters()), None)
    if found is None:
        unavailable(f"the TimeBack SDK needs {WANTED}, and there is none here")
    pip = ("-m", "pip", "--disable-pip-version-check", "-q")
    source = folder / "source"
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "tests", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    run(sys.executable, *pip, "wheel", "--no-deps", "-w", folder, source, folder=folder)
    (wheel,) = folder.glob("*.whl")
    run(found, "-m", "venv", folder / "venv", folder=folder)
    named = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wanted = [*named["project"]["dependencies"], *named["dependency-groups"]["test"]]
    assert wanted[2] == "case-server[embedded]"
    wanted[2] = f"{wheel}[embedded]"
    python = folder / "venv" / "bin" / "python"
    run(python, *pip, "install", "--no-compile", *wanted, folder=folder)
    shutil.copytree(PROJECT, folder / "project", ignore=ignored)
    return folder


def test_it_passes_alone_and_in_parallel(project: Path) -> None:
    python, folder = project / "venv" / "bin" / "python", project / "project"
    number = sum(path.read_text().count("def test_") for path in PROJECT.glob("test_*.py"))
    told = run(python, "-m", "pytest", "-q", folder=folder)
    assert "skipped" not in told
    passed = int(told.splitlines()[-1].split()[0])
    assert passed >= number > 10
    told = run(python, "-m", "pytest", "-q", "-n", "2", "test_publisher.py", folder=folder)
    assert "passed" in told


def test_it_knows_nothing_of_this_project_but_what_is_installed() -> None:
    for file in PROJECT.glob("*.py"):
        text = file.read_text()
        assert "import app" not in text
        assert "case_server." not in text

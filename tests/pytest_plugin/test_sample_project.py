"""A project that uses the plugin and TimeBack's SDK, in an environment with the built wheel."""

import shutil
from pathlib import Path

import pytest
from support.environments import IGNORED, PROJECT, create_project_environment, run_successfully
from support.interpreters import NEWEST, OLDEST, get_version, is_usable, iter_interpreters


def run_project(python: Path, tmp_path: Path) -> None:
    """Run all tests of the sample project in two processes, and a module of them in one."""
    folder = shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns(*IGNORED))
    number = sum(path.read_text().count("def test_") for path in PROJECT.glob("test_*.py"))
    output = run_successfully(python, "-m", "pytest", "-q", "-n", "2", folder=folder)
    assert "skipped" not in output
    passed = int(output.splitlines()[-1].split()[0])
    assert passed >= number > 10
    output = run_successfully(python, "-m", "pytest", "-q", "test_publisher.py", folder=folder)
    assert "passed" in output


@pytest.mark.slow
@pytest.mark.parametrize("minor", range(OLDEST[1], NEWEST[1] + 1), ids=lambda minor: f"3.{minor}")
def test_sample_project_passes_on_each_python(run_dir: Path, tmp_path: Path, minor: int) -> None:
    """On each Python that the SDK supports; test_plugin.py covers 3.11."""
    usable = {
        get_version(interpreter): interpreter
        for interpreter in iter_interpreters()
        if is_usable(interpreter)
    }
    if (3, minor) not in usable:
        pytest.skip(f"there is no Python 3.{minor} here")
    run_project(create_project_environment(usable[3, minor], tmp_path / "venv", run_dir), tmp_path)


def test_sample_project_imports_no_internals() -> None:
    for file in PROJECT.glob("*.py"):
        text = file.read_text()
        assert "import app" not in text
        assert "case_server." not in text

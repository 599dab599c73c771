"""The CI workflow and pre-commit use the versions that the project declares."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text()
JOBS: dict[str, Any] = yaml.safe_load(WORKFLOW)["jobs"]


def test_slow_and_stress_tests_run_each_night_and_before_a_release() -> None:
    nightly, release = (
        yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())
        for name in ("nightly", "release")
    )
    assert nightly["permissions"] == {"contents": "read"}
    commands = [step.get("run") for step in nightly["jobs"]["all"]["steps"]]
    assert {"make test-all", "make stress"} <= {*commands}
    assert release["jobs"]["sbom"]["needs"] == "tests"
    assert release["jobs"]["tests"]["uses"] == "./.github/workflows/nightly.yml"


def test_pre_commit_uses_the_locked_ruff() -> None:
    (hooks,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    lock = (ROOT / "requirements-dev.lock").read_text()
    assert re.search(rf"^ruff=={re.escape(hooks['rev'].removeprefix('v'))} ", lock, re.MULTILINE)


def test_all_supported_python_versions_are_tested() -> None:
    versions = JOBS["check"]["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    classifier_versions = [
        classifier.rpartition(" ")[2]
        for classifier in project["classifiers"]
        if ":: 3." in classifier
    ]
    assert versions == classifier_versions == ["3.11", "3.12", "3.13", "3.14"]
    assert project["requires-python"] == f">={versions[0]}"
    (setup,) = [
        step["with"]
        for step in JOBS["check"]["steps"]
        if step.get("uses", "").startswith("actions/setup-python@")
    ]
    assert setup["python-version"] == "${{ matrix.python }}"
    assert (ROOT / setup["cache-dependency-path"]).is_file()

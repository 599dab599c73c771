"""Pages generated from the code and from tests/behaviour.yaml are up to date."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from api.test_access import ROUTES
from support.reference import ROOT, load_behaviour

from case_server.settings import Settings, read_setting_descriptions


def test_generated_pages_are_current() -> None:
    pages = [
        str(page)
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
        if "[[[cog" in page.read_text()
    ]
    assert len(pages) > 5
    completed = subprocess.run(
        [sys.executable, "-m", "cogapp", "-U", "-P", "-I", str(ROOT / "tests"), "--check", *pages],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, f"run make reference\n{completed.stdout}{completed.stderr}"


def test_every_setting_has_a_description() -> None:
    descriptions = read_setting_descriptions()
    assert descriptions.keys() == Settings.model_fields.keys()
    assert all(descriptions.values())


def test_every_proof_of_a_behaviour_exists() -> None:
    missing = [
        test
        for rows in load_behaviour().values()
        for row in rows
        for test in row["tests"]
        if not _exists(test)
    ]
    assert missing == []


def _exists(test: str) -> bool:
    """Return whether a test exists, given as ``path`` or ``path::function``."""
    name, _, function = test.partition("::")
    path = ROOT / name
    return path.exists() and (not function or function in _functions(path))


def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_route_has_a_proof() -> None:
    proven = set()
    for row in load_behaviour()["routes"]:
        method, path = row["route"].split()
        proven.add((method, re.sub(r"\{[^}]*\}", "x", path), row["scope"]))
    assert proven == set(ROUTES)

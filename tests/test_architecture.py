"""The modules: their imports, packages, docstrings and tests, and what the wheel contains."""

import ast
import os
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APP = ROOT / "app"
MIGRATIONS = ROOT / "migrations"
TESTS = ROOT / "tests"
UNMIRRORED_TESTS = {"deployment", "docs", "sample_project", "schemas", "sdk", "stress", "support"}
"""Directories of tests/ without a package in app/: tests of something else, and helpers."""

MAX_MODULES = 12
MAX_FIRST_LINE_CHARS = 90


def test_import_contracts_hold(tmp_path: Path) -> None:
    # import-linter does not follow the import hook of an editable installation.
    package = tmp_path / "case_server"
    package.mkdir()
    for path in (*APP.iterdir(), MIGRATIONS):
        (package / path.name).symlink_to(path)
    command = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [command, ROOT / "pyproject.toml", "--no-cache"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("modules", "not_imported"),
    [
        # Postgres can start before any of these is imported.
        (["cli.serve"], ("fastapi", "sqlalchemy", "asyncpg", "jose", "uvicorn", "rich")),
        # Only terminals need rich, and httpx must not import it either.
        (["cli.list", "cli.credentials", "cli.conformance", "cli.packages"], ("rich",)),
        (["cli.check"], ("rich", "openpyxl")),
        (
            ["server.run"],
            ("case_server.testmode", "jinja2", "markdown_it", "alembic", "httpx", "openpyxl"),
        ),
    ],
)
def test_start_imports_only_what_it_needs(
    modules: list[str], not_imported: tuple[str, ...]
) -> None:
    names = {f"case_server.{module}" for module in modules}
    script = f"import sys, {', '.join(names)}; print(*sys.modules, sep='\\n')"
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = set(result.stdout.split())
    assert names <= imported
    assert not set(not_imported) & imported


def test_one_module_opens_asyncpg_connections() -> None:
    """A database URL means the same to all commands, because one function reads it."""
    files = [*APP.rglob("*.py"), *MIGRATIONS.rglob("*.py")]
    for function in ("asyncpg.connect(", "asyncpg.create_pool("):
        assert {file.name for file in files if function in file.read_text()} == {"connector.py"}


def test_jwe_is_never_imported() -> None:
    """python-jose's JWE has a padding oracle that no release fixes."""
    assert not any("jwe" in file.read_text() for file in APP.rglob("*.py"))


def test_wheel_contains_all_packages() -> None:
    """pyproject.toml lists the packages, because app/ is installed under another name."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        ("case_server", *file.parent.relative_to(base).parts)
        for base, files in ((APP, APP.rglob("*.py")), (ROOT, MIGRATIONS.rglob("*.py")))
        for file in files
    }
    assert {tuple(name.split(".")) for name in listed} == folders


def test_packages_have_at_most_twelve_modules() -> None:
    modules = (file for file in APP.rglob("*.py") if file.name != "__init__.py")
    sizes = Counter(str(file.parent.relative_to(ROOT)) for file in modules)
    assert not {package: size for package, size in sizes.items() if size > MAX_MODULES}


def test_test_directories_mirror_packages() -> None:
    directories = {file.parent.relative_to(TESTS) for file in TESTS.rglob("*.py")}
    mirrored = {path for path in directories if not UNMIRRORED_TESTS & set(path.parts[:1])}
    assert not {str(path) for path in mirrored if not (APP / path / "__init__.py").exists()}


def test_first_lines_of_docstrings_are_short() -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for file in (*APP.rglob("*.py"), *MIGRATIONS.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, documented) and (docstring := ast.get_docstring(node)):
                first, *others = docstring.splitlines()
                assert len(first) <= MAX_FIRST_LINE_CHARS, f"{file}: {first}"
                assert not (others and others[0]), f"{file}: no blank line after: {first}"

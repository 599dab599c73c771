"""The rooms, and which way they look: imports point down, and each concern has one place."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APP = ROOT / "app"

LAYERS = (
    {"pytest_plugin"},
    {"exceptions", "formatting", "settings", "log_config", "database_url", "background"},
    {"net"},
    {"case", "sample"},
    {"repair"},
    {"lint"},
    {"formats"},
    {"query"},
    {"db"},
    {"auth"},
    {"api", "state"},
    {"web"},
    {"testmode"},
    {"main"},
    {"server"},
    {"conformance"},
    {"transfer"},
    {"cli"},
    {"__main__"},
)
"""Lowest first. A room may use itself and what is below it."""

HEIGHTS = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}
OUTSIDE = {"__init__", "migrations"}
"""The version and the history of the schema: anybody may know them."""

FILES = sorted(APP.rglob("*.py"))
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(APP)))


def room_of(file: Path) -> str:
    """The first step of a file's path: a folder of app/, or a file in it."""
    return file.relative_to(APP).parts[0].removesuffix(".py")


def imported(file: Path) -> Iterator[tuple[str, ...]]:
    """What a file imports, as absolute module paths; relative ones begin with case_server."""
    inside = ("case_server", *file.relative_to(APP).parent.parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (tuple(name.name.split(".")) for name in node.names)
        if isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else ()
            module = (*base, *(node.module or "").split(".")) if node.module else base
            yield from ((*module, name.name) for name in node.names)


@each_file
def test_imports_point_down(file: Path) -> None:
    room = room_of(file)
    if room in OUTSIDE:
        return
    for module in imported(file):
        if module[0] == "case_server" and len(module) > 1:
            used = module[1]
            known = used in HEIGHTS or used in OUTSIDE or used == "__version__"
            assert known, f"{file.name} imports {module}, a room this test does not know"
            assert HEIGHTS.get(used, -1) <= HEIGHTS[room], f"{room} imports {used}"


def test_every_room_has_its_place() -> None:
    rooms = {room_of(file) for file in FILES} - OUTSIDE
    assert rooms == HEIGHTS.keys()


DATABASE_LAYERS = ("schema", "read", "write")
"""Packages of ``db``, lowest first: a package imports itself and those before it."""


def test_database_packages_import_lower_ones_only() -> None:
    for height, layer in enumerate(DATABASE_LAYERS):
        for file in (APP / "db" / layer).glob("*.py"):
            higher = set(DATABASE_LAYERS[height + 1 :])
            used = {module[2] for module in imported(file) if module[1:2] == ("db",) and module[2:]}
            assert not used & higher, f"{file.name} imports {used & higher}"


@pytest.mark.parametrize(
    ("library", "places"),
    [
        ("jose", {"auth/tokens.py"}),
        ("asyncpg", {"db/**/*.py"}),
        ("sqlalchemy", {"db/**/*.py"}),
        ("alembic", {"db/postgres/alembic_runner.py"}),
        ("fastapi", {"api/**/*.py", "testmode/*.py", "web/*.py", "main.py", "server/worker.py"}),
        ("starlette", {"api/**/*.py", "testmode/*.py", "web/*.py"}),
        ("pytest", {"pytest_plugin/plugin.py"}),
        ("jinja2", {"web/pages.py"}),
        ("markdown_it", {"web/text.py"}),
        ("latex2mathml", {"web/text.py"}),
        ("uvicorn", {"server/*.py"}),
        ("openpyxl", {"formats/xlsx.py"}),
        ("click", {"cli/*.py", "transfer/*.py", "server/*.py"}),
        ("pydantic_settings", {"settings.py"}),
    ],
)
def test_each_library_has_its_place(library: str, places: set[str]) -> None:
    users = {file for file in FILES for module in imported(file) if module[0] == library}
    assert users, f"nothing uses {library}"
    allowed = {file for place in places for file in APP.glob(place)}
    assert users <= allowed


@pytest.mark.parametrize(
    ("read", "spared"),
    [
        # Postgres can begin to start before any of these is read.
        ("cli.serve", ("fastapi", "sqlalchemy", "asyncpg", "jose", "uvicorn")),
        (
            "server.run",
            ("case_server.testmode", "jinja2", "markdown_it", "alembic", "httpx", "openpyxl"),
        ),
    ],
)
def test_a_start_reads_what_it_needs(read: str, spared: tuple[str, ...]) -> None:
    script = f"import sys, case_server.{read}; print(*sys.modules, sep='\\n')"
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert f"case_server.{read}" in found
    assert not set(spared) & set(found)


def test_asyncpg_connects_in_one_place() -> None:
    """A URL means the same to every command, because one function reads it."""
    files = [*FILES, *(ROOT / "migrations").rglob("*.py")]
    for function in ("asyncpg.connect(", "asyncpg.create_pool("):
        assert {file.name for file in files if function in file.read_text()} == {"connector.py"}


def test_jwe_is_never_used() -> None:
    """It has a padding oracle that no release mends."""
    modules = {module for file in FILES for module in imported(file)}
    assert not any(module[:2] == ("jose", "jwe") for module in modules)


def test_wheel_holds_every_room() -> None:
    """The packages to install are listed by hand, because app/ is installed under another name."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {("case_server", *file.parent.relative_to(APP).parts) for file in FILES}
    history = {
        ("case_server", *file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "migrations").rglob("*.py")
    }
    assert {tuple(name.split(".")) for name in listed} == folders | history


@each_file
def test_every_file_says_what_it_is_for(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text())), f"{file} has no docstring"

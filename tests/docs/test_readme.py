"""The README and the project say the same: every test, route, setting and command it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from api.test_access import ROUTES
from pydantic import SecretStr

from case_server.cli import KINDS
from case_server.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def test_every_test_it_names_exists() -> None:
    named = set(re.findall(r"`(tests/\S+\.py)(?:::(\w+))?`", README))
    assert len(named) > 30
    for file, test in named:
        tree = ast.parse((ROOT / file).read_text())
        functions = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert not test or test in functions, f"{file} has no {test}"


def test_every_row_of_its_tables_names_a_test() -> None:
    tables = README.split("## What it answers")[1].split("\nLists take")[0]
    rows = [line for line in tables.splitlines() if line.startswith("| ")]
    told = [row for row in rows if "shown by" not in row]
    assert len(told) > 50
    assert all("`tests/" in row for row in told)


def test_route_table_is_that_of_the_server() -> None:
    rows = re.findall(
        r"^\| (GET|PUT|POST|DELETE) (\S+?)(?: id\}\S*)? \| (\w+) \|", README, re.MULTILINE
    )
    told = {(method, re.sub(r"\{[^}/]*\}?", "x", path), scope) for method, path, scope in rows}
    assert told == set(ROUTES)


def test_settings_table_is_that_of_the_settings() -> None:
    told = dict(re.findall(r"^\| `(CASE_\w+)` \| ?([^|]*?) ?\|", README, re.MULTILINE))
    expected = {}
    for name, field in Settings.model_fields.items():
        variable = str(field.validation_alias or f"CASE_SERVER_{name.upper()}")
        expected[variable] = field.default
    assert told.keys() == expected.keys()
    for variable, default in expected.items():
        value = default.get_secret_value() if isinstance(default, SecretStr) else default
        if isinstance(value, bool):
            value = str(value).lower()
        if isinstance(value, str | int) and told[variable].startswith("`") and value != "":
            assert told[variable] == f"`{value}`"


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"case-server (?!case-server)([a-z]+)", README)))
)
def test_every_command_it_names_exists(command: str) -> None:
    assert command in KINDS


def test_every_command_is_named() -> None:
    for command in KINDS:
        assert re.search(rf"case-server {command}|`{command}`", README), command


@pytest.mark.parametrize("page", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_make_target_it_names_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+)", page))
    assert named
    assert named <= targets


def test_contributing_lists_every_package_and_module() -> None:
    for path in (ROOT / "app").iterdir():
        name = f"app/{path.name}/" if path.is_dir() else f"app/{path.name}"
        if not path.name.startswith("_") and path.name != "py.typed":
            assert f"`{name}`" in CONTRIBUTING, name


def test_contributing_names_only_what_exists() -> None:
    named = set(re.findall(r"`((?:app|tests|docs|migrations|\.ci)/[^`]*)`", CONTRIBUTING))
    assert len(named) > 30
    assert all((ROOT / name).exists() for name in named)

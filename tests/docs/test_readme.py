"""The README and CONTRIBUTING.md: commands run as pasted, links and names are valid."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from support.live_server import COMMAND, build_environment, run_live_server

from case_server.cli import COMMANDS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


MAX_README_LINES = 180


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES


def test_first_response_is_what_the_pasted_commands_print(tmp_path: Path) -> None:
    (commands,) = [block for block in fenced(README, "sh") if "import --sample" in block]
    (expected,) = fenced(README, "json")
    with run_live_server(tmp_path) as server:
        script = commands.replace("http://127.0.0.1:8000", server.base_url)
        script = script.replace(".venv/bin/case-server", shlex.join(COMMAND))
        port = server.base_url.rpartition(":")[2]
        completed = subprocess.run(
            ["bash", "-ec", script],
            env=build_environment(tmp_path, CASE_SERVER_PORT=port),
            capture_output=True,
            text=True,
            check=True,
        )
    assert completed.stdout.splitlines()[-1] == expected.rstrip()


def test_links_of_pages_lead_to_files() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    pages += sorted((ROOT / "docs").rglob("*.md"))
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def fenced(page: str, language: str) -> list[str]:
    """Return the fenced code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"case-server (?!case-server)([a-z]+)", README)))
)
def test_every_command_it_names_exists(command: str) -> None:
    assert command in COMMANDS


def test_every_command_is_named() -> None:
    for command in COMMANDS:
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

"""The README and CONTRIBUTING.md: commands run as pasted, links and names are valid."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from support.live_server import COMMAND, build_environment, run_live_server
from support.reference import iter_help

from case_server.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


MAX_README_LINES = 180


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES


def test_first_response_is_what_the_pasted_commands_print(tmp_path: Path) -> None:
    (commands,) = [block for block in fenced(README, "sh") if "import --sample" in block]
    (expected,) = fenced(README, "json")
    guide = (ROOT / "docs" / "getting-started.md").read_text()
    load, read_commands = [block for block in fenced(guide, "sh") if "case-server" in block]
    with run_live_server(tmp_path) as server:

        def run(script: str) -> list[str]:
            script = script.replace("http://127.0.0.1:8000", server.base_url)
            script = script.replace(".venv/bin/case-server", shlex.join(COMMAND))
            port = server.base_url.rpartition(":")[2]
            completed = subprocess.run(
                ["bash", "-ec", script],
                env=build_environment(tmp_path, CASE_SERVER_PORT=port),
                capture_output=True,
                text=True,
                check=True,
            )
            return completed.stdout.splitlines()

        assert run(commands)[-1] == expected.rstrip()
        run(load)
        documents = "\n".join(run(read_commands))
        assert '"CFDocuments":[{' in documents
        assert '"limit":5' in documents


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


COMMAND_LINE = re.compile(
    r"^ *(?:Example: )?(?:\w+=\$\(|\w+=\S* )*"
    r"(?:docker compose exec -T case-server )?(?:[\w./]*/bin/)?case-server (?!-)([^|>&;)#\n]*)",
    re.MULTILINE,
)
"""A line of a shell block or of a help text that runs case-server, up to a pipe or redirection."""


def iter_command_lines() -> Iterator[tuple[str, str]]:
    """Yield (source, arguments) of each case-server command in shell blocks and help texts."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for block in fenced(page.read_text(), "sh"):
            for arguments in COMMAND_LINE.findall(re.sub(r"\\\n\s*", " ", block)):
                yield page.name, arguments
    context = click.Context(main, info_name="case-server")
    for name, text in iter_help(main, context):
        if name != "case-server":  # its examples are followed by what they do
            for arguments in COMMAND_LINE.findall(re.sub(r"\\\n\s*", " ", text)):
                yield f"{name} --help", arguments


def test_documented_commands_have_valid_arguments() -> None:
    command_lines = list(iter_command_lines())
    assert len(command_lines) > 60
    for source, line in command_lines:
        command: click.Command = main
        arguments = shlex.split(line)
        context = command.make_context("case-server", arguments)
        while isinstance(command, click.Group):
            arguments = [*context._protected_args, *context.args]
            try:
                name, resolved, arguments = command.resolve_command(context, arguments)
                assert resolved is not None
                command = resolved
                context = command.make_context(name, arguments, parent=context)
            except click.UsageError as error:
                pytest.fail(f"{source}: case-server {line}: {error.format_message()}")


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
    make_targets = set(re.findall(r"make ([a-z]+)", page))
    assert make_targets
    assert make_targets <= targets


def test_contributing_lists_every_package_and_module() -> None:
    for path in (ROOT / "app").iterdir():
        name = f"app/{path.name}/" if path.is_dir() else f"app/{path.name}"
        if not path.name.startswith("_") and path.name != "py.typed":
            assert f"`{name}`" in CONTRIBUTING, name


def test_contributing_names_only_what_exists() -> None:
    paths = set(re.findall(r"`((?:app|tests|docs|migrations|\.ci)/[^`]*)`", CONTRIBUTING))
    assert len(paths) > 30
    assert all((ROOT / name).exists() for name in paths)

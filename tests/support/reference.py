"""Reference tables of the documentation, generated from the code.

Pages in docs/ call these functions from cog blocks; ``make reference`` rewrites the pages, and
``tests/docs/test_reference.py`` fails if one of them is out of date.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import click
import yaml
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from support.applications import create_client

from case_server.cli import main as cli_main
from case_server.conformance.checks import CHECKS
from case_server.formats import template
from case_server.formats.tabular.columns import Column, SheetLayout
from case_server.lint.rules.catalog import RULES
from case_server.main import create_app
from case_server.settings import Settings, get_environment_variable, read_setting_descriptions

ROOT = Path(__file__).parents[2]
BEHAVIOUR_FILE = ROOT / "tests" / "behaviour.yaml"
HELP_COLUMNS = 90

OPENAPI_DOCUMENTS = {
    "Platform": "/openapi.json",
    "Sdk": "/ims/case/v1p1/openapi.json",
    "Standard": "/1edtech/ims/case/v1p1/discovery/imscasev1p1_openapi3_v1p0.json",
    "Standard 1.0": "/1edtech/ims/case/v1p0/discovery/imscasev1p0_openapi3_v1p0.json",
}


def load_behaviour() -> dict[str, list[dict[str, Any]]]:
    """Return the sections of ``behaviour.yaml``: each a list of cases, results and their tests."""
    content: dict[str, list[dict[str, Any]]] = yaml.safe_load(BEHAVIOUR_FILE.read_text())
    return content


def print_table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a Markdown table."""
    columns = list(header)
    print(f"\n| {' | '.join(columns)} |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |")


def print_spreadsheet_columns() -> None:
    """Print a table of the columns, aliases and values of each sheet of a template."""
    for layout in template.TEMPLATE_LAYOUTS:
        print(f"\n### {layout.sheet}")
        print_table(
            ("column", "also", "write", "for"),
            (_column_row(layout, column) for column in layout.columns.values()),
        )
    print()


def _column_row(layout: SheetLayout, column: Column) -> tuple[str, ...]:
    names = {column.name, column.path[0]} if column.path[-1] == "title" else {column.name}
    also = ", ".join(f"`{alias}`" for alias, name in layout.aliases.items() if name in names)
    description = template.describe_column(layout, column)
    return f"`{column.name}`", also, column.codec.about, description


def print_behaviour() -> None:
    """Print one table of cases and results for each section of ``behaviour.yaml``."""
    rows = load_behaviour()["behaviour"]
    for topic in dict.fromkeys(row["topic"] for row in rows):
        print(f"\n## {topic}")
        print_table(
            ("case", "result"),
            ((row["case"], row["result"]) for row in rows if row["topic"] == topic),
        )
    print()


def print_sync_behaviour() -> None:
    """Print how ``case-server sync`` treats sources that are incomplete or unavailable."""
    print_table(
        ("case", "result"), ((row["case"], row["result"]) for row in load_behaviour()["sync"])
    )
    print()


def print_settings() -> None:
    """Print a table of all settings with their types, defaults and descriptions."""
    fields = Settings.model_fields
    rows = [
        (f"`{get_environment_variable(name)}`", _format_default(fields[name]), description)
        for name, description in read_setting_descriptions().items()
    ]
    print_table(("variable", "default", "description"), rows)
    print()


def _format_default(field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, bool):
        default = str(default).lower()
    return "" if default in (None, "", (), {}, PydanticUndefined) else f"`{default}`"


def print_lint_rules() -> None:
    """Print a table of the lint rules with their severities; each has an anchor for links."""
    rows = (
        (f'<a id="{rule.anchor}"></a>`{rule.id}`', rule.severity, rule.explanation, rule.standard)
        for rule in RULES
    )
    print_table(("rule", "severity", "meaning", "in the standard"), rows)
    print()


def print_conformance_checks() -> None:
    """Print a table of the conformance checks with their sources and profiles."""
    rows = []
    for check in CHECKS:
        profiles = [*check.profiles, *(f"({name})" for name in check.extension_profiles)]
        mark = "W" if check.writes else ""
        identifier = f"`{check.id}`"
        cells = (identifier, check.group, check.behaviour, check.source, ", ".join(profiles), mark)
        rows.append(cells)
    print_table(("check", "group", "behaviour", "source", "profiles", ""), rows)
    print()


def print_commands() -> None:
    """Print a table with the summary of every ``case-server`` command."""
    context = click.Context(cli_main, info_name="case-server")
    rows = []
    for name in cli_main.list_commands(context):
        command = cli_main.get_command(context, name)
        assert command is not None
        rows.append((f"`{name}`", command.get_short_help_str(limit=100)))
    print_table(("command", "purpose"), rows)
    print()


def print_command_help() -> None:
    """Print the help text of every ``case-server`` command."""
    context = click.Context(cli_main, info_name="case-server", max_content_width=HELP_COLUMNS)
    context.terminal_width = HELP_COLUMNS
    for path, text in iter_help(cli_main, context):
        print(f"\n## {path}\n\n```text\n{text}\n```")
    print()


def iter_help(command: click.Command, context: click.Context) -> Iterable[tuple[str, str]]:
    """Yield (name, help text) of a command and of all commands below it."""
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            child_context = click.Context(child, info_name=name, parent=context)
            child_context.terminal_width = HELP_COLUMNS
            yield from iter_help(child, child_context)


def print_routes() -> None:
    """Print a table of every profile's routes with their scopes, parameters and error codes."""
    documents = asyncio.run(_fetch_openapi_documents())
    for profile, document in documents.items():
        print(f"\n## {profile} profile")
        servers = document.get("servers", [{"url": ""}])
        base_path = urlsplit(servers[0]["url"]).path.rstrip("/")
        rows = []
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if method in {"get", "put", "post", "delete"}:
                    rows.append(_route_row(document, method, base_path + path, item, operation))
        print_table(("route", "scope", "parameters", "responses"), rows)
    print()


async def _fetch_openapi_documents() -> dict[str, dict[str, Any]]:
    settings = Settings(database_url="postgresql://unused", public_url="http://localhost:8000")
    app = create_app(settings)
    # The documents need the settings only, so the application is not started.
    app.state.app_state = SimpleNamespace(settings=settings)
    documents = {}
    async with create_client(app, "http://localhost:8000") as client:
        for profile, url in OPENAPI_DOCUMENTS.items():
            response = await client.get(url)
            response.raise_for_status()
            documents[profile] = response.json()
    return documents


def _route_row(
    document: dict[str, Any],
    method: str,
    path: str,
    path_item: dict[str, Any],
    operation: dict[str, Any],
) -> tuple[str, ...]:
    scopes = [
        name.rpartition(".")[2]
        for requirement in operation.get("security", document.get("security", []))
        for names in requirement.values()
        for name in names
    ]
    parameters = [
        _resolve_reference(document, parameter)
        for parameter in (*path_item.get("parameters", ()), *operation.get("parameters", ()))
    ]
    names = [f"`{each['name']}`" for each in parameters if each["in"] != "path"]
    return (
        f"`{method.upper()} {path}`",
        ", ".join(dict.fromkeys(scopes)),
        ", ".join(names),
        ", ".join(status for status in operation["responses"] if status != "default"),
    )


def _resolve_reference(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI object; if it is a ``$ref``, return the component that this names."""
    reference = value.get("$ref")
    if reference is None:
        return value
    resolved: Any = document
    for part in reference.removeprefix("#/").split("/"):
        resolved = resolved[part]
    result: dict[str, Any] = resolved
    return result

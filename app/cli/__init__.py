"""The command line: parses arguments and calls the functions that the HTTP API uses as well."""

from __future__ import annotations

import os
import sys

import click

from .. import __version__
from .shared import LazyGroup, warn_about_unknown_variables

# httpx imports its own command line if rich is installed, which takes 0.17 s of CPU time in each
# command that uses it. None makes it do without.
# Python documents None for modules that must not be imported; mypy's types do not know it.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

COMMANDS = {
    "serve": "serve",
    "migrate": "serve",
    "import": "packages",
    "export": "packages",
    "list": "list",
    "delete": "delete",
    "undelete": "delete",
    "purge": "delete",
    "check": "check",
    "conformance": "conformance",
    "sync": "sync",
    "template": "packages",
    "token": "serve",
    "client": "credentials",
    "keys": "credentials",
    "backup": "backup",
    "restore": "backup",
}
"""The module of each command."""


@click.group(
    cls=LazyGroup, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="case-server")
def main() -> None:
    """Run a self-hosted server for CASE 1.1 (Competencies and Academic Standards Exchange).

    \b
    case-server serve                   start the server; needs no settings
    case-server import --sample         load the sample framework
    case-server import framework.json   load a CASE package, also while the server runs
    case-server template maths.xlsx     write an empty spreadsheet to fill in
    case-server import maths.xlsx       load a spreadsheet
    case-server list                    list the stored frameworks
    case-server export DOCUMENT_ID      write a framework as JSON or a spreadsheet
    case-server check framework.json    lint a CASE package; needs no server
    case-server serve --help            list all settings

    Every setting is an environment variable CASE_SERVER_…, which an option overrides.
    """  # noqa: D301  click keeps the lines after its \b as they are
    warn_about_unknown_variables(os.environ)

"""The command line: thin, and over the same functions that the routes call."""

from __future__ import annotations

import os

import click

from .. import __version__
from .shared import Group, warn_about_unknown_variables

KINDS = {
    "serve": "serve",
    "migrate": "serve",
    "import": "packages",
    "export": "packages",
    "delete": "delete",
    "undelete": "delete",
    "purge": "delete",
    "check": "check",
    "conform": "conformance",
    "sync": "sync",
    "template": "packages",
    "token": "serve",
    "client": "credentials",
    "keys": "credentials",
    "backup": "backup",
    "restore": "backup",
}
"""The commands, and the file that each is in."""


@click.group(cls=Group, kinds=KINDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="case-server")
def main() -> None:
    """A self-hosted CASE 1.1 server: TimeBack's CASE API on your machine.

    \b
    case-server serve                   start it; needs nothing else
    case-server import --sample         load a framework to look at
    case-server import framework.json   load one of your own, also while it runs
    case-server import maths.xlsx       or a spreadsheet (template writes an empty one)
    case-server export DOCUMENT_ID      write it out again, as JSON or a spreadsheet
    case-server check framework.json    look for what is wrong in it; needs no server

    Every setting is an environment variable CASE_SERVER_…; flags override them.
    """  # noqa: D301  click keeps the lines after its \b as they are
    warn_about_unknown_variables(os.environ)

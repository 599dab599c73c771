"""The command line: thin, and over the same functions that the routes call."""

from __future__ import annotations

import click

from .. import __version__
from . import access, checking, conforming, frameworks, keeping, mirrors, removal, running
from .common import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
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


for command in (
    running.serve,
    running.migrate,
    frameworks.import_packages,
    frameworks.export,
    removal.delete,
    removal.undelete,
    removal.purge,
    checking.check_packages,
    conforming.conform,
    mirrors.sync,
    frameworks.template,
    running.token,
    access.client,
    access.keys,
    keeping.backup,
    keeping.restore,
):
    main.add_command(command)

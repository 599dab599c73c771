"""The ``conformance`` command: run the conformance tests against a CASE server."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlsplit

import click

from ..conformance.check import GROUPS
from ..conformance.checks import BY_ID, CHECKS
from ..conformance.client import ClientAuth, ServerUnderTest
from ..conformance.output import format_json, format_junit, format_text
from ..conformance.profiles import PROFILE_SPECS, parse_base_url_and_profile
from ..conformance.runner import CheckSelection, ConformanceReport, run_conformance_tests
from ..net.oauth import ClientCredentials
from ..transfer.console import print_note, show_status
from .options import CLIENT_VARIABLES, add_token_options
from .shared import (
    add_output_options,
    get_report_width,
    make_comma_list_parser,
    make_format_option,
    make_list_option,
    refuse_overwriting,
    write_report,
)

TOKEN_PATH = "/oauth2/token"  # noqa: S105  a path

STYLES = {
    r"(?m)^  passed ": "green",
    r"(?m)^  FAILED .*$": "bold red",
    r"(?m)^  skipped": "yellow",
    r"(?m)^[a-z]+$": "bold",
}
"""Styles of parts of the text report."""

_parse_names = make_comma_list_parser("check", {*BY_ID, *GROUPS})


@click.command("conformance")
@click.argument("url")
@click.option(
    "--profile",
    type=click.Choice(list(PROFILE_SPECS)),
    help="API profile to test against. [default: implied by the end of URL]",
)
@click.option("--write", is_flag=True, help="Run checks that write as well, with new identifiers.")
@click.option(
    "--extensions/--no-extensions",
    default=None,
    help="Run checks of what only case-server documents. [default: if the server is one]",
)
@click.option(
    "--only",
    multiple=True,
    callback=_parse_names,
    metavar="CHECK",
    help="Run only these checks or groups. [default: all]",
)
@click.option(
    "--skip",
    multiple=True,
    callback=_parse_names,
    metavar="CHECK",
    help="Leave out these checks or groups.",
)
@make_format_option("text", "json", "junit")
@add_output_options
@click.option("--failed", is_flag=True, help="Report only failed checks (text and json).")
@click.option("-q", "--quiet", is_flag=True, help="Print only the summary (text), and no progress.")
@click.option("--scope", help="Scope to request tokens for. [default: all of the client's]")
@make_list_option(
    "checks",
    lambda: [(check.id, check.group, f"{check.behaviour} [{check.source}]") for check in CHECKS],
)
@add_token_options
def report_conformance(**flags: Any) -> None:
    """Run the conformance tests against a server.

    It tests this server, the platform, or any other CASE server.

    URL is the base URL of an API profile, for example http://127.0.0.1:8000/case/1.1. Its end
    implies the profile: /case/1.1 the platform's guide, /ims/case/v1p1 the SDK's API (for other
    servers, perhaps the standard's: --profile standard), /1edtech/ims/case/v1p1 and
    /ims/case/v1p0 the standard.

    Without --write, the checks only read what the server has. With it, they create entities and
    delete them where the API can; the report lists those that stay.

    \b
    case-server conformance http://127.0.0.1:8000/case/1.1 \\
        --client-id local-client --client-secret local-secret
    case-server conformance URL --only lists,errors --format junit -o report.xml

    CHECK is a check or a group (tokens, lists, reading, errors, packages, writing, extensions); it
    may be repeated, and may be a list separated by commas. Without --token-url, tokens are
    requested at /oauth2/token of the same server.

    Exit codes: 0 no check failed; 1 a check failed; 2 the tests could not run.
    """  # noqa: D301  click keeps the lines after its \b as they are
    refuse_overwriting(flags["output"], force=flags["force"])
    base_url, profile = parse_base_url_and_profile(flags["url"], flags["profile"])
    selection = CheckSelection(flags["only"], flags["skip"], flags["write"], flags["extensions"])
    _refuse_unasked_writes(selection)
    on_wait, show_stage = (_ignore, _ignore) if flags["quiet"] else (print_note, show_status)
    server = ServerUnderTest(base_url, profile, _make_client_auth(flags), on_wait)
    report = run_conformance_tests(server, selection, show_stage)
    write_report(flags["output"], _format_report(report, flags), STYLES)
    sys.exit(report.count("failed") > 0)


def _ignore(_: str) -> None:
    pass


def _refuse_unasked_writes(selection: CheckSelection) -> None:
    writing = sorted(name for name in selection.only if name in BY_ID and BY_ID[name].writes)
    if not selection.write and (writing or "writing" in selection.only):
        raise click.UsageError(f"{', '.join(writing) or 'writing'} writes: add --write")


def _make_client_auth(flags: dict[str, Any]) -> ClientAuth:
    token, client, secret = (flags[name] for name in ("access_token", "client_id", "client_secret"))
    if token is not None:
        if flags["token_url"] is not None:
            raise click.UsageError("--token and --token-url exclude each other")
        return ClientAuth(token=token)
    if not client and not secret and flags["token_url"] is None:
        return ClientAuth()
    if not client or not secret:
        options = f"--client-id and --client-secret, or {CLIENT_VARIABLES}"
        raise click.UsageError(f"a token needs {options}")
    parts = urlsplit(flags["url"])
    url = flags["token_url"] or f"{parts.scheme}://{parts.netloc}{TOKEN_PATH}"
    return ClientAuth(credentials=ClientCredentials(url, client, secret), scope=flags["scope"])


def _format_report(report: ConformanceReport, flags: dict[str, Any]) -> bytes:
    if flags["output_format"] == "json":
        return format_json(report, only_failed=flags["failed"])
    if flags["output_format"] == "junit":
        return format_junit(report)
    return format_text(
        report,
        width=get_report_width(flags["output"]),
        only_failed=flags["failed"],
        quiet=flags["quiet"],
    )

"""Run the conformance tests: select checks, run them on a server, delete the test data."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import httpx

from ..exceptions import CommandError
from ..formatting import format_connection_error
from .check import EXTENSIONS, GROUPS, Check, CheckResult, Outcome, run_check
from .checks import CHECKS
from .client import ServerUnderTest
from .existing_data import ExistingEntities
from .profiles import PLATFORM, ProfileSpec
from .responses import CheckFailed, describe_request, describe_response
from .test_data import TestDataWriter

DOCUMENTS_PATH = "/CFDocuments"


@dataclass(frozen=True)
class CheckSelection:
    """A selection of checks; ``only`` and ``skip`` contain IDs of checks and names of groups."""

    only: Collection[str] = ()
    skip: Collection[str] = ()
    write: bool = False
    extensions: bool | None = None
    """True to run extensions; None runs them if the server is a case-server."""


@dataclass(frozen=True)
class ConformanceReport:
    """The results of all checks on one server, and the test data that could not be deleted."""

    url: str
    profile: str
    results: list[CheckResult]
    leftovers: list[str]
    """The class and identifier of each entity that the run wrote and could not delete."""
    has_extension_checks: bool
    has_write_checks: bool

    def count(self, outcome: Outcome) -> int:
        """Return the number of checks with the given outcome, such as ``failed``."""
        return sum(result.outcome == outcome for result in self.results)


def run_conformance_tests(
    server: ServerUnderTest, selection: CheckSelection, show_stage: Callable[[str], None]
) -> ConformanceReport:
    """Run the selected checks against a server, delete the test data and return the report.

    ``selection`` names the checks to run. ``show_stage`` is called with the name of each step, and
    with an empty string at the end. Closes ``server``. Raises ``CommandError`` if the server cannot
    be reached or refuses the client, or if no check is selected.
    """
    base_url, profile = server.base_url, server.profile
    server.existing, server.test_data = ExistingEntities(server), TestDataWriter(server)
    try:
        show_stage("connecting")
        require_readable_server(server)
        extensions = selection.extensions
        if extensions is None:
            extensions = has_change_feed(server)
        selected = select_checks(profile, selection, include_extensions=extensions)
        if not selected:
            problem = f"none of the selected checks applies to the profile {profile.name}"
            raise CommandError(f"{problem}; --checks lists all")
        try:
            results = []
            for check, group in selected:
                show_stage(check.id)
                results.append(run_check(check, group, server))
        finally:
            show_stage("deleting test data")
            leftovers = server.test_data.delete_written_entities()
    finally:
        show_stage("")
        server.close()
    has_write_checks = any(check.writes for check, _ in selected)
    return ConformanceReport(
        base_url, profile.name, results, leftovers, extensions, has_write_checks
    )


def select_checks(
    profile: ProfileSpec, selection: CheckSelection, *, include_extensions: bool
) -> list[tuple[Check, str]]:
    """Return the (check, group) pairs of a profile that ``selection`` selects, ordered by group.

    Checks that write need ``selection.write``. Unless ``selection.only`` names them, checks of
    behaviour that only this project defines need ``include_extensions``.
    """
    selected = []
    for check in CHECKS:
        group = check.get_group_for_profile(profile.name)
        if group is None or (check.writes and not selection.write):
            continue
        names = {check.id, group}
        is_named = bool(names & set(selection.only))
        is_default = not selection.only and (group != EXTENSIONS or include_extensions)
        if (is_named or is_default) and not names & set(selection.skip):
            selected.append((check, group))
    return sorted(selected, key=lambda pair: GROUPS.index(pair[1]))


def require_readable_server(server: ServerUnderTest) -> None:
    """Raise ``CommandError`` unless the client can list the documents of the server.

    If ``/CFDocuments`` is redirected on the same host, the client uses the new base URL.
    """
    try:
        token = server.token
    except CheckFailed as failure:
        raise CommandError(
            f"no token: {failure}; check --token-url, --client-id, --client-secret and --scope"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(
            f"no token: could not connect to {server.credentials.token_url} "
            f"({format_connection_error(error)}); is the server running, and --token-url right?"
        ) from error
    try:
        response = server.get(DOCUMENTS_PATH, limit=1)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(
            f"could not connect to {server.base_url} ({format_connection_error(error)}); "
            "is the server running?"
        ) from error
    _update_redirected_base_url(server, response)
    observed = f"{describe_request(response.request)} {describe_response(response)}"
    problem = f"{server.base_url} cannot be tested: {observed}"
    match response.status_code:
        case 401 | 403 if token:
            raise CommandError(f"{problem}; the token lacks the right to read: check --scope")
        case 401 | 403:
            raise CommandError(f"{problem}; add --client-id and --client-secret, or --token")
        case 404:
            raise CommandError(f"{problem}; is the base path right?")
        case status if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise CommandError(f"{problem}; see the log of the server")


def _update_redirected_base_url(server: ServerUnderTest, response: httpx.Response) -> None:
    """Set the server's base URL to the one to which it redirected a read.

    This is necessary because the client does not follow redirects of writes.
    """
    url = response.url.copy_with(query=None)
    is_same_host = url.host == httpx.URL(server.base_url).host
    if response.history and is_same_host and url.path.endswith(DOCUMENTS_PATH):
        server.base_url = str(url).removesuffix(DOCUMENTS_PATH)


def has_change_feed(server: ServerUnderTest) -> bool:
    """Return whether the server has a change feed, as only a case-server has.

    Tries ``/changes`` of the platform profile. Returns False after an error.
    """
    root = server.base_url.removesuffix(server.profile.path)
    if root == server.base_url:
        return False
    try:
        response = server.request("GET", f"{root}{PLATFORM.path}/changes?limit=1")
        body = response.json() if response.is_success else None
    except (httpx.HTTPError, ValueError):
        return False
    return isinstance(body, dict) and {"changes", "next", "more"} <= body.keys()

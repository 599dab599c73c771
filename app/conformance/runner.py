"""A run: which checks are tried on a server, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import httpx

from ..exceptions import StartupError
from .check import EXTENSIONS, GROUPS, Check, Outcome, Result, run_check
from .client import CheckFailed, ClientAuth, ServerUnderTest, describe, request_line
from .existing_data import ExistingData
from .profiles import PLATFORM, ProfileSpec
from .table import CHECKS
from .test_data import TestData


@dataclass(frozen=True)
class Progress:
    """How a run tells what it does."""

    stage: Callable[[str], None]
    """Shows what is being done; an empty string when nothing is."""
    wait: Callable[[str], None]
    """Says that the server asked for a pause, and for how long."""


@dataclass(frozen=True)
class Selection:
    """Which checks somebody wants; the names are those of checks and of groups."""

    only: Collection[str] = ()
    skip: Collection[str] = ()
    write: bool = False
    extensions: bool | None = None
    """Also what only this project says; None: if the server is one of this project."""


@dataclass(frozen=True)
class Report:
    """What a run found."""

    url: str
    profile: str
    results: list[Result]
    leftovers: list[str]
    """What the run wrote and could not take away: the class and identifier of each."""
    extensions: bool
    written: bool

    def count(self, outcome: Outcome) -> int:
        """How many checks ended so."""
        return sum(one.outcome == outcome for one in self.results)


def run(
    base_url: str, profile: ProfileSpec, access: ClientAuth, choice: Selection, progress: Progress
) -> Report:
    """Try every chosen check on a server.

    Raises ``StartupError`` when it cannot be reached, does not let the client in, or nothing is
    chosen.
    """
    server = ServerUnderTest(base_url, profile, access, progress.wait)
    server.existing, server.test_data = ExistingData(server), TestData(server)
    try:
        progress.stage("looking whether it answers")
        verify_access(server)
        own = is_case_server(server) if choice.extensions is None else choice.extensions
        chosen = select_checks(profile, choice, extensions=own)
        if not chosen:
            raise StartupError(f"no check that was asked for is about the profile {profile.name}")
        results, kept = [], []
        try:
            for check, group in chosen:
                progress.stage(check.id)
                results.append(run_check(check, group, server))
        finally:
            progress.stage("taking away what was written")
            kept = server.test_data.delete_all()
    finally:
        progress.stage("")
        server.close()
    written = any(check.writes for check, _ in chosen)
    return Report(base_url, profile.name, results, kept, own, written)


def select_checks(
    profile: ProfileSpec, choice: Selection, *, extensions: bool
) -> list[tuple[Check, str]]:
    """The checks to try with the groups they belong to, group by group."""
    found = []
    for check in CHECKS:
        group = check.group_on(profile.name)
        if group is None or (check.writes and not choice.write):
            continue
        names = {check.id, group}
        named = bool(names & set(choice.only))
        wanted = named or (not choice.only and (group != EXTENSIONS or extensions))
        if wanted and not names & set(choice.skip):
            found.append((check, group))
    return sorted(found, key=lambda one: GROUPS.index(one[1]))


def verify_access(server: ServerUnderTest) -> None:
    """That a server answers, and lets this client in; else ``StartupError`` says what to do."""
    try:
        token = server.token
    except CheckFailed as reason:
        raise StartupError(
            f"no token: {reason}; look at --token-url, --client-id, --client-secret and --scope"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StartupError(
            f"no token: {server.credentials.token_url} cannot be read: {error}; is it running, and "
            "is --token-url right?"
        ) from error
    try:
        response = server.get("/CFDocuments", limit=1)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StartupError(f"{server.base_url} cannot be read: {error}") from error
    told = f"{server.base_url} cannot be looked at: {request_line(response)} {describe(response)}"
    match response.status_code:
        case 401 | 403 if token:
            raise StartupError(f"{told}; it does not take this token for reading")
        case 401 | 403:
            raise StartupError(f"{told}; give --client-id and --client-secret, or --token")
        case 404:
            raise StartupError(f"{told}; is the base path right?")
        case status if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise StartupError(told)


def is_case_server(server: ServerUnderTest) -> bool:
    """Whether the platform's profile has the feed of changes, which no other server has."""
    root = server.base_url.removesuffix(server.profile.path)
    if root == server.base_url:
        return False
    try:
        response = server.get_url(f"{root}{PLATFORM.path}/changes?limit=1")
        body = response.json() if response.is_success else None
    except (httpx.HTTPError, ValueError):
        return False
    return isinstance(body, dict) and {"changes", "next", "more"} <= body.keys()

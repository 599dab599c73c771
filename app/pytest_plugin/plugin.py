"""The pytest plugin: a real server for tests, started when the first of them asks for it.

Its fixtures are ``case_server``, ``case_client_settings``, ``case_target`` and ``case_reset``.
Everything else is imported by them, so that the plugin costs nothing where they are not used.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .client import CaseServer, ClientSettings, Target

WORKER = "PYTEST_XDIST_WORKER"
"""Where pytest-xdist says which of its workers a process is."""

SEED_HELP = "What case_server holds: sample (the default), empty, or the file of a CFPackage."


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option and the ini value that say what the server holds."""
    group = parser.getgroup("case-server")
    group.addoption("--case-seed", metavar="sample|empty|FILE", default=None, help=SEED_HELP)
    parser.addini("case_seed", help=SEED_HELP, default="")


@pytest.fixture(scope="session")
def case_server(pytestconfig: pytest.Config) -> Iterator[CaseServer]:
    """A running target: the one at CASE_SERVER_URL, else an embedded one of this test run.

    Under pytest-xdist all workers share it, each in a namespace of its own.
    """
    seed = pytestconfig.getoption("--case-seed") or pytestconfig.getini("case_seed")
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    url = os.environ.get("CASE_SERVER_URL", "").rstrip("/")
    found = _elsewhere(url, run, seed, pytestconfig) if url else _embedded(run, seed, pytestconfig)
    with found as server:
        yield server


@pytest.fixture(scope="session")
def case_client_settings(case_server: CaseServer) -> Iterator[ClientSettings]:
    """Where the server is and how to come in; also in the environment, as the SDK reads it."""
    from .client import ClientSettings  # noqa: PLC0415  see above

    settings = ClientSettings(
        case_server.base_url,
        case_server.token_url,
        case_server.client_id,
        case_server.client_secret,
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.environment.items():
            patch.setenv(name, value)
        yield settings


@pytest.fixture
def case_target(
    case_server: CaseServer,
    case_client_settings: ClientSettings,  # noqa: ARG001  it sets the environment
) -> Iterator[Target]:
    """Sets what the server holds, breaks it, and asks what it was sent.

    The journal begins with the test; what is to fail ends with it.
    """
    from .client import Target  # noqa: PLC0415  see above

    target = Target(case_server)
    target.clear_requests()
    yield target
    target.clear_faults()


@pytest.fixture
def case_reset(case_target: Target) -> Target:
    """The server as it was seeded, before the test; the same object as ``case_target``."""
    case_target.reset()
    return case_target


@contextmanager
def _embedded(run: str, seed: str, config: pytest.Config) -> Iterator[CaseServer]:
    """The server that all processes of this test run share."""
    try:
        from .server_process import CannotStart, shared_server  # noqa: PLC0415  see above
    except ImportError:  # there is no fcntl on Windows
        pytest.fail(
            "case-server starts no database of its own on Windows: run it in Docker, and set "
            "CASE_SERVER_URL"
        )
    from .client import CaseServer, Target, TargetError  # noqa: PLC0415  see above

    def prepare(url: str) -> None:
        Target(CaseServer(url)).seed_as_told(seed or "sample", config.rootpath)

    folder = Path(tempfile.gettempdir()) / f"case-server-{run}"
    with ExitStack() as stack:
        try:
            url = stack.enter_context(shared_server(folder, prepare))
        except (CannotStart, TargetError) as error:
            pytest.fail(str(error), pytrace=False)
        yield CaseServer(url, os.environ.get(WORKER))


@contextmanager
def _elsewhere(url: str, run: str, seed: str, config: pytest.Config) -> Iterator[CaseServer]:
    """A server that somebody else runs: seeded only if this run says with what."""
    from .client import CaseServer, Target, TargetError  # noqa: PLC0415  see above

    worker, known = os.environ.get(WORKER), os.environ
    server = CaseServer(
        url,
        f"{run[:8]}-{worker}" if worker else None,
        known.get("CASE_CLIENT_ID") or CaseServer.client_id,
        known.get("CASE_CLIENT_SECRET") or CaseServer.client_secret,
        known.get("CASE_SERVER_CONTROL_TOKEN", ""),
    )
    target = Target(server)
    try:
        target.check()
        if seed:
            target.seed_as_told(seed, config.rootpath)
    except TargetError as error:
        pytest.fail(f"CASE_SERVER_URL: {error}", pytrace=False)
    yield server
    target.drop_namespace()

"""The pytest plugin: fixtures that start a real CASE server for the tests that request one.

Its fixtures are ``case_server``, ``case_client_settings``, ``case_test_api`` and ``case_reset``.
They import the other modules of this package when they run, so that a test run that does not use
them does not pay for them.
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
    from .client import CaseServer, CaseTestApi

WORKER_VARIABLE = "PYTEST_XDIST_WORKER"
"""The environment variable that pytest-xdist sets to the name of a worker process."""

SEED_HELP = "Data of case_server: sample (the default), empty, or the path of a CFPackage file."


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the command-line option ``--case-seed`` and the ini option ``case_seed`` to pytest."""
    group = parser.getgroup("case-server")
    group.addoption("--case-seed", metavar="sample|empty|FILE", default=None, help=SEED_HELP)
    parser.addini("case_seed", help=SEED_HELP, default="")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore the tests of case-server itself if its repository is within the tested project.

    They need packages that the project does not install. They still run if pytest is started in the
    repository, or with its path on the command line, for which pytest does not call this hook.
    """
    project = collection_path / "pyproject.toml"
    plugin = collection_path / "app" / "pytest_plugin" / "plugin.py"
    # os.path.isfile returns False where Path.is_file raises PermissionError.
    is_project = all(map(os.path.isfile, (plugin, project))) and collection_path != config.rootpath
    return True if is_project and b'name = "case-server"' in project.read_bytes() else None


@pytest.fixture(scope="session")
def case_server(pytestconfig: pytest.Config) -> Iterator[CaseServer]:
    """Run a CASE server in test mode, or use the one at CASE_SERVER_URL.

    It starts once per test run. pytest-xdist workers share it, each in a namespace of its own.

        def test_openapi_document(case_server):
            with urllib.request.urlopen(f"{case_server.base_url}/openapi.json") as response:
                assert response.status == 200
    """
    seed = pytestconfig.getoption("--case-seed") or pytestconfig.getini("case_seed")
    run_id = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    url = os.environ.get("CASE_SERVER_URL", "").rstrip("/")
    if url:
        server = _use_external_server(url, run_id, seed, pytestconfig)
    else:
        server = _use_embedded_server(run_id, seed, pytestconfig)
    with server as server_process:
        yield server_process


@pytest.fixture(scope="session")
def case_client_settings(case_server: CaseServer) -> Iterator[CaseServer]:
    """Provide the URLs and credentials of a client, and set them as environment variables.

    The variables are CASE_BASE_URL, CASE_TOKEN_URL, CASE_CLIENT_ID and CASE_CLIENT_SECRET.

        def test_documents(case_client_settings):
            with CaseClient() as client:  # reads the environment
                assert client.documents.list()
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in case_server.environment.items():
            patch.setenv(name, value)
        yield case_server


@pytest.fixture
def case_test_api(
    case_server: CaseServer,
    case_client_settings: CaseServer,  # noqa: ARG001  it sets the environment
) -> Iterator[CaseTestApi]:
    """Provide a client with which a test seeds data, injects faults and verifies requests.

    Clears the request log before the test and the faults after it, but keeps the data.

        def test_client_survives_503(case_test_api):
            case_test_api.add_fault(path="*/CFDocuments", status=503, times=1)
            list_documents()
            case_test_api.verify(path="*/CFDocuments", status=200, count=1)
    """
    from .client import CaseTestApi  # noqa: PLC0415  see the module docstring

    test_api = CaseTestApi(case_server)
    test_api.clear_requests()
    yield test_api
    test_api.clear_faults()


@pytest.fixture
def case_reset(case_test_api: CaseTestApi) -> CaseTestApi:
    """Provide ``case_test_api`` to the test, after resetting the server to its seed data.

    def test_publish_creates_items(case_reset):
        publish_items(3)
        case_reset.verify(method="PUT", path="*/CFItems/*", status=201, count=3)
    """
    case_test_api.reset()
    return case_test_api


@contextmanager
def _use_embedded_server(run_id: str, seed: str, config: pytest.Config) -> Iterator[CaseServer]:
    """Start the server that all processes of the test run share, and yield a ``CaseServer``.

    If another process has started it, uses the same server. Errors fail the test run.
    """
    try:
        from .server import ServerStartError, use_shared_server  # noqa: PLC0415  see above
    except ImportError:  # Windows has no fcntl
        problem = "the embedded case-server does not run on Windows"
        pytest.fail(f"{problem}: start one in Docker and set CASE_SERVER_URL")
    from .client import CaseServer, CaseTestApi, CaseTestApiError  # noqa: PLC0415  see above

    def seed_server(url: str) -> None:
        CaseTestApi(CaseServer(url)).seed_from_option(seed or "sample", config.rootpath)

    folder = Path(tempfile.gettempdir()) / f"case-server-{run_id}"
    with ExitStack() as stack:
        try:
            url = stack.enter_context(use_shared_server(folder, seed_server))
        except (ServerStartError, CaseTestApiError) as error:
            pytest.fail(str(error), pytrace=False)
        yield CaseServer(url, os.environ.get(WORKER_VARIABLE))


@contextmanager
def _use_external_server(
    url: str, run_id: str, seed: str, config: pytest.Config
) -> Iterator[CaseServer]:
    """Yield the running server at ``url`` as a ``CaseServer``, seeded as ``seed`` says.

    Does not seed it if ``seed`` is an empty string. A pytest-xdist worker uses a test namespace of
    its own, named after ``run_id``, which is dropped on exit. Errors fail the test run.
    """
    from .client import CaseServer, CaseTestApi, CaseTestApiError  # noqa: PLC0415  see above

    worker, environment = os.environ.get(WORKER_VARIABLE), os.environ
    server = CaseServer(
        url,
        f"{run_id[:8]}-{worker}" if worker else None,
        environment.get("CASE_CLIENT_ID") or CaseServer.client_id,
        environment.get("CASE_CLIENT_SECRET") or CaseServer.client_secret,
        environment.get("CASE_SERVER_TEST_API_TOKEN", ""),
    )
    test_api = CaseTestApi(server)
    try:
        test_api.require_test_mode()
        if seed:
            test_api.seed_from_option(seed, config.rootpath)
    except CaseTestApiError as error:
        pytest.fail(f"CASE_SERVER_URL: {error}", pytrace=False)
    yield server
    test_api.drop_namespace()

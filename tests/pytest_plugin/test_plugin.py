"""The pytest plugin, used in test runs of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import orjson
import pytest
from support import factories
from support.databases import MigratedDatabase
from support.environments import build_clean_environment, run_successfully
from support.live_server import LiveServer, run_live_server

from case_server.pytest_plugin.client import CaseServer, CaseTestApi

TESTS = """
import os
import httpx
import pytest
from case_server.sample import SAMPLE_DOCUMENT_ID

DOCUMENTS = "/case/1.1/CFDocuments"

def total(settings):
    pair = (settings.client_id, settings.client_secret)
    form = {"grant_type": "client_credentials"}
    token = httpx.post(settings.token_url, data=form, auth=pair).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(settings.base_url + DOCUMENTS, headers=headers).json()["total"]

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
SEEDED = """
def test_seeded(case_client_settings):
    assert total(case_client_settings) == EXPECTED
"""
SEEN = "assert total(case_client_settings) == 1"
EACH_WORKER = """
@pytest.mark.parametrize("number", range(4))
def test_alone(case_reset, case_client_settings, case_server, number):
    assert case_client_settings.environment.items() <= os.environ.items()
    assert case_server.namespace == os.environ.get("PYTEST_XDIST_WORKER")
    assert total(case_client_settings) == 1
    case_reset.seed()
    assert total(case_client_settings) == 0
    case_reset.seed(sample=True)
    case_reset.delete("document", SAMPLE_DOCUMENT_ID)
    assert total(case_client_settings) == 0
    assert case_reset.undelete("document", SAMPLE_DOCUMENT_ID) == []
    assert total(case_client_settings) == 1
    case_reset.add_fault(status=503)
    print(case_server.url)

@pytest.mark.anyio
async def test_async(case_test_api, case_client_settings):
    async with httpx.AsyncClient() as client:
        answer = await client.get(case_client_settings.base_url + DOCUMENTS)
    assert answer.status_code == 401
    case_test_api.verify(method="GET", status=401, count=1)
"""


def pytest_run(
    folder: Path, code: str, *arguments: str, variables: Mapping[str, str] | None = None
) -> str:
    """Run tests and return their output, with the exit code in the last line."""
    (folder / "test_it.py").write_text(TESTS + code)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=build_clean_environment(TMPDIR=temporary(folder), **(variables or {})),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return f"{result.stdout}{result.stderr}\nexit {result.returncode}"


def temporary(folder: Path) -> str:
    """Return the temporary directory of a test run, in which its server is."""
    (folder / "tmp").mkdir(exist_ok=True)
    return str(folder / "tmp")


def servers(folder: Path) -> list[Path]:
    return [*(folder / "tmp").glob("case-server-*")]


def is_removed(folder: Path) -> bool:
    """Return whether the server of a test run ends within 30 seconds."""
    for _ in range(300):
        if not servers(folder):
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def database(migrated_database: MigratedDatabase) -> str:
    """A database for the server of the plugin, which is faster than an embedded Postgres."""
    return migrated_database("plugin")


CREDENTIALS = {"CASE_SERVER_TEST_API_TOKEN": "t", "CASE_CLIENT_SECRET": "s"}


@pytest.fixture(scope="module")
def external(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: MigratedDatabase
) -> Iterator[LiveServer]:
    """A server in test mode that the plugin did not start, on all network addresses."""
    settings = {**CREDENTIALS, "CASE_SERVER_DATABASE_URL": migrated_database("elsewhere")}
    folder = tmp_path_factory.mktemp("elsewhere") / "data"
    with run_live_server(folder, "--test-mode", "--host", "0.0.0.0", settings=settings) as server:
        yield server


@pytest.fixture
def elsewhere(external: LiveServer) -> dict[str, str]:
    """The environment variables that select the external server, whose seed is empty."""
    headers = {"Authorization": "Bearer t"}
    response = httpx.post(f"{external.base_url}/_test/seed", json={}, headers=headers, timeout=60)
    response.raise_for_status()
    return {**CREDENTIALS, "CASE_SERVER_URL": f"{external.base_url}/"}


def test_xdist_workers_share_server_in_namespaces(tmp_path: Path, database: str) -> None:
    variables = {"CASE_SERVER_DATABASE_URL": database}
    output = pytest_run(tmp_path, EACH_WORKER, "-n", "2", "-rP", variables=variables)
    expect_one_server(output)
    assert is_removed(tmp_path)


def test_documented_setup_has_seeded_server(tmp_path: Path, database: str) -> None:
    """The setup in docs/guides/test-mode.md: the shell commands, and a test with a fixture."""
    text = (Path(__file__).parents[2] / "docs" / "guides" / "test-mode.md").read_text()
    shell, python = re.findall(r"```(?:sh|python)\n(.*?)```", text, re.DOTALL)[:2]
    lines = [*shell.splitlines(), *python.splitlines()]
    assert len(lines) == 3
    shell = shell.replace("./case-server", "case-server")  # it is installed
    (tmp_path / "test_it.py").write_text(f"{TESTS}\n{python}    {SEEN}\n")
    result = subprocess.run(
        ["bash", "-e", "-c", shell],
        cwd=tmp_path,
        env=build_clean_environment(
            TMPDIR=temporary(tmp_path),
            CASE_SERVER_DATABASE_URL=database,
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            PIP_NO_INDEX="1",  # what is installed satisfies pip
        ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout
    assert is_removed(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        ((), 1),
        (("test_it.py", "case-server"), 2),
        (("test_it.py", "case-server/tests/test_own.py"), 2),
        (("--rootdir=case-server",), 2),
    ],
    ids=["below", "named", "file named", "rootdir"],
)
def test_checkout_is_collected_only_if_named(
    tmp_path: Path, arguments: tuple[str, ...], passed: int
) -> None:
    repository, checkout = Path(__file__).parents[2], tmp_path / "case-server"
    for name in ("pyproject.toml", "app/pytest_plugin/plugin.py"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes((repository / name).read_bytes())
    (checkout / "tests").mkdir()
    (checkout / "tests" / "test_own.py").write_text("def test_own():\n    pass\n")
    output = pytest_run(tmp_path, "def test_it():\n    pass\n", *arguments)
    assert f"{passed} passed" in output, output


GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "test-mode.md").read_text()


def read_examples(title: str, language: str) -> str:
    """Return the code block of a language in the section of the guide with this title."""
    section = GUIDE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(block)


def test_guide_example_without_sdk_passes(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    code = read_examples("Without the SDK", "python")
    arguments = ("--case-seed=sample",)
    assert "1 passed" in pytest_run(tmp_path, code, *arguments, variables=elsewhere)
    misspelled = code.replace("status=503, times", "statsu=503, times")
    output = pytest_run(tmp_path, misspelled, *arguments, variables=elsewhere)
    # In CI, pytest repeats the whole message in its summary, after the lines that begin with E.
    errors = [line for line in output.splitlines() if line.startswith("E ")]
    message = "[0].statsu: unknown field: did you mean status?"
    assert sum(message in line for line in errors) == 1
    assert "1 failed" in output


def test_guide_example_without_plugin_passes(tmp_path: Path, database: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    title = "Without the plugin, in any language"
    shell, code = (read_examples(title, language) for language in ("sh", "python"))
    (tmp_path / "test_over_http.py").write_text(code.replace("8000", port))
    output = run_successfully(
        "bash",
        "-ec",
        shell.replace("8000", port),
        folder=tmp_path,
        CASE_SERVER_DATABASE_URL=database,
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    )
    assert "1 passed" in output


@pytest.mark.slow
def test_single_process_uses_default_namespace(tmp_path: Path, database: str) -> None:
    (tmp_path / "framework.json").write_bytes(orjson.dumps(factories.package()))
    variables = {"CASE_SERVER_DATABASE_URL": database}
    arguments = ("-n", "0", "-rP", "--case-seed=framework.json")
    output = pytest_run(tmp_path, EACH_WORKER, *arguments, variables=variables)
    expect_one_server(output)
    assert is_removed(tmp_path)


def expect_one_server(output: str) -> None:
    assert "5 passed" in output, output
    urls = {line for line in output.splitlines() if line.startswith("http://127.0.0.1:")}
    assert len(urls) == 1, "all workers share one server"


@pytest.mark.parametrize(
    ("seed", "expected"),
    [pytest.param("sample", 1, marks=pytest.mark.slow), ("empty", 0), ("framework.json", 1)],
)
def test_seed_option_sets_data(
    tmp_path: Path, elsewhere: dict[str, str], seed: str, expected: int
) -> None:
    (tmp_path / "framework.json").write_bytes(orjson.dumps(factories.package()))
    code = SEEDED.replace("EXPECTED", str(expected))
    assert "1 passed" in pytest_run(tmp_path, code, f"--case-seed={seed}", variables=elsewhere)


def test_seed_ini_value_sets_data(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    code = SEEDED.replace("EXPECTED", "1")
    assert "1 passed" in pytest_run(tmp_path, code, "-o", "case_seed=sample", variables=elsewhere)


def test_invalid_seed_is_refused(tmp_path: Path, database: str, elsewhere: dict[str, str]) -> None:
    (tmp_path / "bad.json").write_text('{"CFDocument": {}}')
    own = {"CASE_SERVER_DATABASE_URL": database}
    output = pytest_run(tmp_path, SEEDED, "--case-seed=bad.json", variables=own)
    assert "packages[0].CFDocument.title" in output
    assert is_removed(tmp_path)
    output = pytest_run(tmp_path, SEEDED, "--case-seed=missing.json", variables=elsewhere)
    assert "use sample, empty or the path of a CFPackage file" in output
    assert "exit 1" in output


def test_external_server_is_used_without_seeding(
    tmp_path: Path, external: LiveServer, elsewhere: dict[str, str]
) -> None:
    code = SEEDED.replace("EXPECTED", "0")
    assert "1 passed" in pytest_run(tmp_path, code, variables=elsewhere)
    seeded = SEEDED.replace("EXPECTED", "1")
    arguments = ("-n", "2", "--case-seed=sample")
    assert "1 passed" in pytest_run(tmp_path, seeded, *arguments, variables=elsewhere)
    assert namespaces(external) == ["default"], "the namespaces of the workers are dropped"
    without = {**elsewhere, "CASE_SERVER_TEST_API_TOKEN": "x"}
    assert "requires the test API token" in pytest_run(tmp_path, code, variables=without)


def test_token_lifetime_of_one_client_keeps_others(external: LiveServer) -> None:
    test_api = CaseTestApi(CaseServer(external.base_url, test_api_token="t"))
    test_api.reset()
    test_api.set_token_lifetime(61)
    test_api.set_token_lifetime(5, "another")
    url = f"{external.base_url}/_test/token-lifetimes"
    response = httpx.get(url, headers={"Authorization": "Bearer t"})
    assert response.json() == {"local-client": 61, "another": 5}


def namespaces(server: LiveServer) -> list[str]:
    headers = {"Authorization": "Bearer t"}
    response = httpx.get(f"{server.base_url}/_test/namespaces", headers=headers)
    return [entry["namespace"] for entry in response.json()]


def test_external_server_without_test_mode_fails(tmp_path: Path, database: str) -> None:
    settings = {"CASE_SERVER_DATABASE_URL": database}
    with run_live_server(tmp_path / "data", settings=settings) as server:
        variables = {"CASE_SERVER_URL": server.base_url}
        output = pytest_run(tmp_path, SEEDED, variables=variables)
    assert "is not in test mode: start it with case-server serve --test-mode" in output
    output = pytest_run(tmp_path, SEEDED, variables={"CASE_SERVER_URL": "http://127.0.0.1:9"})
    assert "could not connect to http://127.0.0.1:9 (Connection refused)" in output


def test_unreachable_database_fails_with_reason(tmp_path: Path) -> None:
    variables = {"CASE_SERVER_DATABASE_URL": "postgresql://a:b@127.0.0.1:9/c"}
    output = pytest_run(tmp_path, SEEDED, variables=variables)
    assert "could not connect to the database of CASE_SERVER_DATABASE_URL" in output
    assert is_removed(tmp_path)


def test_unused_plugin_starts_no_server(tmp_path: Path) -> None:
    output = pytest_run(tmp_path, "def test_nothing(): pass\n")
    assert "1 passed" in output
    assert not servers(tmp_path)


def test_plugin_does_not_import_server() -> None:
    code = (
        "import sys, case_server.pytest_plugin.plugin, case_server.pytest_plugin.server,"
        " case_server.pytest_plugin.client\n"
        "print(*sys.modules, sep='\\n')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    modules = set(result.stdout.split())
    ours = {name for name in modules if name.startswith("case_server.")}
    assert all(name.startswith("case_server.pytest_plugin") for name in ours)
    assert not modules & {"fastapi", "sqlalchemy", "pydantic", "httpx", "asyncpg", "uvicorn"}


def test_server_ends_when_test_run_is_killed(tmp_path: Path) -> None:
    code = "def test_waits(case_server):\n    import time\n    time.sleep(60)\n"
    (tmp_path / "test_it.py").write_text(code)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=build_clean_environment(TMPDIR=temporary(tmp_path)),
        stdout=subprocess.DEVNULL,
    )
    for _ in range(600):
        if any((folder / "ready").exists() for folder in servers(tmp_path)):
            break
        time.sleep(0.1)
    else:
        pytest.fail("it never started")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert is_removed(tmp_path)

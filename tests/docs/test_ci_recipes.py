"""Run the recipes of docs/guides/ci.md, and compare their YAML with this repository."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from deployment.test_compose import image_instructions, settings_variables
from deployment.test_compose import service as compose_service
from sqlalchemy import make_url
from support.databases import EmptyDatabase
from support.environments import PYTEST_OPTIONS
from support.live_server import build_environment, run_command, run_live_server

from case_server.api.profiles import PROFILES
from case_server.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "guides" / "ci.md").read_text()
SDK_GUIDE = (ROOT / "docs" / "guides" / "sdk.md").read_text()

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
SHELL = [text for language, text in BLOCKS if language == "sh"]
YAML = [yaml.safe_load(text) for language, text in BLOCKS if language == "yaml"]
ACTIONS, GITLAB, COMPOSE = YAML

CLIENT_VARIABLES = {"CASE_BASE_URL", "CASE_TOKEN_URL", "CASE_CLIENT_ID", "CASE_CLIENT_SECRET"}

USER_TESTS = """
import os
import httpx

def test_sample_is_listed():
    credentials = os.environ["CASE_CLIENT_ID"], os.environ["CASE_CLIENT_SECRET"]
    form = {"grant_type": "client_credentials"}
    response = httpx.post(os.environ["CASE_TOKEN_URL"], data=form, auth=credentials)
    token = response.json()["access_token"]
    url = os.environ["CASE_BASE_URL"] + "/case/1.1/CFDocuments"
    page = httpx.get(url, headers={"Authorization": f"Bearer {token}"}).json()
    assert page["total"] == 1
    print("found", page["CFDocuments"][0]["identifier"])
"""


class Job:
    """A CI job: a folder with a user's tests, and a shell with the installed packages."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process_groups = folder, list[int]()
        (folder / "test_user.py").write_text(USER_TESTS)
        (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -s\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        # The installed packages satisfy pip: a test must not download anything.
        self.environment = build_environment(folder / "data", PATH=path, PIP_NO_INDEX="1")
        self.environment |= PYTEST_OPTIONS
        del self.environment["CASE_SERVER_DATA_DIR"]

    def localize(self, text: str) -> str:
        """Return a recipe's text with the free port and 127.0.0.1 in place of the service name."""
        text = re.sub(r'(install "?)\./case-server', r"\1case-server", text)  # it is installed
        text = text.replace(":8000", f":{self.port}").replace("--port 8000", f"--port {self.port}")
        return text.replace("//case-server:", "//127.0.0.1:")

    def set_variables(self, variables: dict[str, str]) -> None:
        self.environment |= {name: self.localize(value) for name, value in variables.items()}

    def run(self, script: str, shell: str = "bash") -> str:
        step = subprocess.Popen(
            [shell, "-e", "-c", self.localize(script)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.process_groups.append(step.pid)
        output, _ = step.communicate(timeout=120)
        log_file = self.folder / "case-server.log"
        log = log_file.read_text() if log_file.exists() else ""
        assert step.returncode == 0, f"{script}\n{output}\n{log}"
        return output

    def terminate(self) -> None:
        """Terminate the processes that steps left running, as a CI runner does."""
        for process_group in self.process_groups:
            with suppress(ProcessLookupError):
                os.killpg(process_group, signal.SIGTERM)

    def assert_server_stops(self) -> None:
        """Assert that the port refuses connections within 30 seconds."""
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                return
            time.sleep(0.1)
        raise AssertionError("the server is still listening")


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path)
    yield job
    job.terminate()


@pytest.fixture
def database(empty_database: EmptyDatabase) -> str:
    """Create an empty database, as a Postgres service provides one."""

    async def create() -> str:
        return await empty_database("ci")

    return asyncio.run(create())


def test_pip_recipe_runs_user_tests_and_stops_the_server(job: Job) -> None:
    (script,) = SHELL
    output = job.run(script)
    assert "1 passed" in output
    assert "found " in output
    job.assert_server_stops()


@pytest.mark.slow
def test_github_actions_steps_run_user_tests(job: Job, database: str) -> None:
    recipe = ACTIONS["jobs"]["test"]
    job.set_variables(recipe["env"])
    job.environment["CASE_SERVER_DATABASE_URL"] = database
    try:
        outputs = [job.run(step["run"]) for step in recipe["steps"] if "run" in step]
    finally:
        job.terminate()
    job.assert_server_stops()
    assert "1 passed" in outputs[2]
    assert "is ready at" in outputs[3]


@pytest.mark.slow
def test_gitlab_service_and_script_run_user_tests(job: Job, database: str) -> None:
    recipe = GITLAB["test"]
    job.set_variables(recipe["variables"])
    job.environment |= {
        "CASE_SERVER_DATABASE_URL": database,
        "CASE_SERVER_PORT": str(job.port),
        "CASE_SERVER_HOST": "0.0.0.0",  # as in the image
    }
    (service,) = (each for each in recipe["services"] if each["alias"] == "case-server")
    shell, flag, command = service["command"]
    with (job.folder / "case-server.log").open("w") as log:
        server = subprocess.Popen(
            [shell, flag, command], cwd=job.folder, env=job.environment, stdout=log, stderr=log
        )
        try:
            outputs = [job.run(line, "bash") for line in recipe["script"]]
        finally:
            server.terminate()
            server.wait(timeout=30)
    assert "1 passed" in outputs[-1]


@pytest.mark.slow
def test_compose_commands_run_user_tests(job: Job, database: str) -> None:
    services = COMPOSE["services"]
    job.set_variables({"CASE_SERVER_DATABASE_URL": database, **services["tests"]["environment"]})
    job.set_variables(services["case-server"]["environment"])
    job.run(shlex.join(compose_service("migrate")["command"]))
    shell, option, serve = services["case-server"]["command"]
    assert (shell, option) == ("sh", "-c")
    wait = 'curl -sS --fail --retry 60 --retry-delay 1 --retry-connrefused "$CASE_BASE_URL/ready"'
    # In its container, the server listens on the port of the image; here it needs a free one.
    job.run(f"({serve} --port 8000) > case-server.log 2>&1 &\n{wait}")
    shell, option, script = services["tests"]["command"]
    assert (shell, option) == ("sh", "-c")
    assert "1 passed" in job.run(script, shell)


def test_pip_recipes_install_this_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = re.findall(r'pip install "?(?:\./)?(case-server)(?:\[(\w+)\])?', DOCS)
    assert len(requirements) == 2
    assert {name for name, _ in requirements} == {project["name"]}
    assert {extra for _, extra in requirements if extra} <= project["optional-dependencies"].keys()


def test_documented_variables_exist() -> None:
    variables = set(re.findall(r"\bCASE_[A-Z_]+", DOCS))
    assert variables <= settings_variables() | CLIENT_VARIABLES
    assert variables >= CLIENT_VARIABLES
    assert all(f"`{name}`" in SDK_GUIDE for name in CLIENT_VARIABLES)


@pytest.mark.parametrize(
    ("url", "variables", "host"),
    [
        (
            ACTIONS["jobs"]["test"]["env"]["CASE_SERVER_DATABASE_URL"],
            ACTIONS["jobs"]["test"]["services"]["postgres"]["env"],
            "127.0.0.1",
        ),
        (
            GITLAB["test"]["variables"]["CASE_SERVER_DATABASE_URL"],
            GITLAB["test"]["variables"],
            GITLAB["test"]["services"][0]["alias"],
        ),
    ],
    ids=["actions", "gitlab"],
)
def test_database_url_matches_the_service(url: str, variables: dict[str, str], host: str) -> None:
    parsed = make_url(url)
    assert (parsed.drivername, parsed.host, parsed.port) == ("postgresql", host, 5432)
    assert (parsed.username, parsed.password, parsed.database) == (
        variables["POSTGRES_USER"],
        variables["POSTGRES_PASSWORD"],
        variables["POSTGRES_DB"],
    )


def test_client_urls_match_the_server() -> None:
    port = Settings.model_fields["port"].default
    assert image_instructions("EXPOSE") == [str(port)]
    for variables, host in (
        (ACTIONS["jobs"]["test"]["env"], "127.0.0.1"),
        (GITLAB["test"]["variables"], GITLAB["test"]["services"][1]["alias"]),
        (COMPOSE["services"]["tests"]["environment"], "case-server"),
    ):
        assert variables["CASE_BASE_URL"] == f"http://{host}:{port}"
        assert variables["CASE_TOKEN_URL"] == f"http://{host}:{port}/oauth2/token"
        # Clients append the path of an API profile to the base URL, so it must not contain one.
        assert not any(variables["CASE_BASE_URL"].endswith(each.prefix) for each in PROFILES)


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_typescript_example_lists_documents(tmp_path: Path, database: str) -> None:
    (code,) = re.findall(r"```typescript\n(.*?)```", SDK_GUIDE, re.DOTALL)
    file = tmp_path / "example.mjs"  # it has no types, so it is JavaScript as well
    file.write_text(code)
    settings = {"CASE_SERVER_DATABASE_URL": database}
    run_command("migrate", data_dir=tmp_path, **settings)
    run_command("import", "--sample", data_dir=tmp_path, **settings)
    with run_live_server(tmp_path / "data", settings=settings) as server:
        result = subprocess.run(
            ["node", file],
            env=os.environ | {"CASE_BASE_URL": server.base_url},
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.stdout.endswith("Reading the Sky: a short course in weather\n"), result.stderr

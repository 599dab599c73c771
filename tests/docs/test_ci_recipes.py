"""The recipes of docs/guides/ci.md: the shell runs, and what the YAML names is there."""

from __future__ import annotations

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
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from deployment.test_compose import compose, of_the_image, variables_read
from deployment.test_compose import service as composed
from sqlalchemy import make_url
from support.live_server import environment

from case_server.api.profiles import PROFILES
from case_server.settings import DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, Settings

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "guides" / "ci.md").read_text()
SDK_GUIDE = (ROOT / "docs" / "guides" / "sdk.md").read_text()

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
SHELL = [text for language, text in BLOCKS if language == "sh"]
YAML = [yaml.safe_load(text) for language, text in BLOCKS if language == "yaml"]
ACTIONS, GITLAB, COMPOSE = YAML
TYPESCRIPT = next(text for language, text in BLOCKS if language == "typescript")

CLIENT_VARIABLES = {"CASE_BASE_URL", "CASE_TOKEN_URL", "CASE_CLIENT_ID", "CASE_CLIENT_SECRET"}
IMAGES = {"postgres:17", "python:3.12-slim"}
"""What the project's own compose file and Dockerfile name."""

THEIR_TESTS = """
import os
import httpx

def test_the_sample_is_there():
    pair = os.environ["CASE_CLIENT_ID"], os.environ["CASE_CLIENT_SECRET"]
    form = {"grant_type": "client_credentials"}
    token = httpx.post(os.environ["CASE_TOKEN_URL"], data=form, auth=pair).json()["access_token"]
    url = os.environ["CASE_BASE_URL"] + "/case/1.1/CFDocuments"
    page = httpx.get(url, headers={"Authorization": f"Bearer {token}"}).json()
    assert page["total"] == 1
    print("found", page["CFDocuments"][0]["identifier"])
"""


class Job:
    """A folder with somebody's tests, and a shell that has what a job would have installed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.steps = folder, list[int]()
        (folder / "test_theirs.py").write_text(THEIR_TESTS)
        (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -s\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        # What is installed satisfies pip; nothing is fetched for a test.
        self.environment = environment(folder / "data", PATH=path, PIP_NO_INDEX="1")
        del self.environment["CASE_SERVER_DATA_DIR"]

    def here(self, text: str) -> str:
        """Text of a recipe for this machine: on the free port, and on one host."""
        port = text.replace(":8000", f":{self.port}").replace("--port 8000", f"--port {self.port}")
        return port.replace("//case-server:", "//127.0.0.1:")

    def sets(self, variables: dict[str, str]) -> None:
        self.environment |= {name: self.here(value) for name, value in variables.items()}

    def run(self, script: str, shell: str = "bash") -> str:
        step = subprocess.Popen(
            [shell, "-e", "-c", self.here(script)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.steps.append(step.pid)
        said, _ = step.communicate(timeout=120)
        logged = self.folder / "case-server.log"
        log = logged.read_text() if logged.exists() else ""
        assert step.returncode == 0, f"{script}\n{said}\n{log}"
        return said

    def end(self) -> None:
        """End what steps left running, as the end of a job does."""
        for step in self.steps:
            with suppress(ProcessLookupError):
                os.killpg(step, signal.SIGTERM)

    def expect_gone(self) -> None:
        """That the server that was started stops."""
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                return
            time.sleep(0.1)
        raise AssertionError("the server is still there")


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    started = Job(tmp_path)
    yield started
    started.end()


@pytest.fixture
def database(empty_database: Callable[[str], Awaitable[str]]) -> str:
    """A Postgres as a service would be: there, and empty."""
    return asyncio.run(_made(empty_database))


async def _made(empty_database: Callable[[str], Awaitable[str]]) -> str:
    return await empty_database("ci")


def test_pip_in_any_ci(job: Job) -> None:
    (script,) = SHELL
    told = job.run(script)
    assert "1 passed" in told
    assert "found " in told
    job.expect_gone()


def test_steps_of_github_actions(job: Job, database: str) -> None:
    told = ACTIONS["jobs"]["test"]
    job.sets(told["env"])
    job.environment["CASE_SERVER_DATABASE_URL"] = database
    try:
        said = [job.run(step["run"]) for step in told["steps"] if "run" in step]
    finally:
        job.end()
    job.expect_gone()
    assert "1 passed" in said[2]
    assert "is ready at" in said[3]


def test_service_and_script_of_gitlab(job: Job, database: str) -> None:
    told = GITLAB["test"]
    job.sets(told["variables"])
    job.environment |= {
        "CASE_SERVER_DATABASE_URL": database,
        "CASE_SERVER_PORT": str(job.port),
        "CASE_SERVER_HOST": "0.0.0.0",  # as the image says
    }
    (service,) = (one for one in told["services"] if one["alias"] == "case-server")
    shell, flag, command = service["command"]
    with (job.folder / "case-server.log").open("w") as log:
        running = subprocess.Popen(
            [shell, flag, command], cwd=job.folder, env=job.environment, stdout=log, stderr=log
        )
        try:
            said = [job.run(line, "bash") for line in told["script"]]
        finally:
            running.terminate()
            running.wait(timeout=30)
    assert "1 passed" in said[-1]


def test_commands_of_compose(job: Job, database: str) -> None:
    services = COMPOSE["services"]
    job.sets({"CASE_SERVER_DATABASE_URL": database, **services["tests"]["environment"]})
    job.sets(services["case-server"]["environment"])
    job.run(shlex.join(composed("migrate")["command"]))
    shell, option, serve = services["case-server"]["command"]
    assert (shell, option) == ("sh", "-c")
    wait = 'curl -sS --fail --retry 60 --retry-delay 1 --retry-connrefused "$CASE_BASE_URL/ready"'
    # In its container it listens on the port that the image says; here there is one to itself.
    job.run(f"({serve} --port 8000) > case-server.log 2>&1 &\n{wait}")
    shell, option, script = services["tests"]["command"]
    assert (shell, option) == ("sh", "-c")
    assert "1 passed" in job.run(script, shell)


def test_what_is_installed_is_this_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r'pip install "?(?:\./)?(case-server)(?:\[(\w+)\])?', DOCS)
    assert len(named) == 3
    assert {name for name, _ in named} == {project["name"]}
    assert {extra for _, extra in named if extra} <= project["optional-dependencies"].keys()


def test_every_variable_is_one_that_is_read() -> None:
    named = set(re.findall(r"\bCASE_[A-Z_]+", DOCS))
    assert named <= variables_read() | CLIENT_VARIABLES
    assert named >= CLIENT_VARIABLES
    assert all(f"`{name}`" in SDK_GUIDE for name in CLIENT_VARIABLES)


def test_images_are_those_of_the_project() -> None:
    own = {told["image"] for told in compose()["services"].values()} - {"case-server"}
    assert own | {f"python:{of_the_image('FROM')[0].split(':')[1]}"} == IMAGES
    named = {
        ACTIONS["jobs"]["test"]["services"]["postgres"]["image"],
        GITLAB["test"]["image"],
        *(one["name"] for one in GITLAB["test"]["services"]),
        *(told["image"] for told in COMPOSE["services"].values() if "image" in told),
    }
    assert named == IMAGES | {"$CI_REGISTRY_IMAGE/case-server"}


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
def test_database_is_that_of_the_service(url: str, variables: dict[str, str], host: str) -> None:
    told = make_url(url)
    assert (told.drivername, told.host, told.port) == ("postgresql", host, 5432)
    assert (told.username, told.password, told.database) == (
        variables["POSTGRES_USER"],
        variables["POSTGRES_PASSWORD"],
        variables["POSTGRES_DB"],
    )


def test_postgres_of_actions_is_healthy_as_that_of_compose() -> None:
    told = ACTIONS["jobs"]["test"]["services"]["postgres"]
    asked = re.search(r'--health-cmd "([^"]+)"', told["options"])
    assert asked
    own = composed("postgres")["healthcheck"]["test"].replace('"', "")
    for name, value in told["env"].items():
        own = own.replace(f"${name}", value)
    assert asked[1] == own
    assert told["ports"] == ["5432:5432"]


def test_addresses_are_those_of_the_server() -> None:
    port = Settings.model_fields["port"].default
    assert of_the_image("EXPOSE") == [str(port)]
    for variables, host in (
        (ACTIONS["jobs"]["test"]["env"], "127.0.0.1"),
        (GITLAB["test"]["variables"], GITLAB["test"]["services"][1]["alias"]),
        (COMPOSE["services"]["tests"]["environment"], "case-server"),
    ):
        assert variables["CASE_BASE_URL"] == f"http://{host}:{port}"
        assert variables["CASE_TOKEN_URL"] == f"http://{host}:{port}/oauth2/token"
        # The profiles are below it: clients put their own path behind.
        assert not any(variables["CASE_BASE_URL"].endswith(one.prefix) for one in PROFILES)


def test_secrets_are_the_default_only_where_the_server_takes_it() -> None:
    default = {"CASE_CLIENT_ID": DEFAULT_CLIENT_ID, "CASE_CLIENT_SECRET": DEFAULT_CLIENT_SECRET}
    assert default.items() <= ACTIONS["jobs"]["test"]["env"].items()
    assert default.items() <= COMPOSE["services"]["tests"]["environment"].items()
    assert GITLAB["test"]["variables"]["CASE_CLIENT_SECRET"] != DEFAULT_CLIENT_SECRET
    assert composed("case-server")["environment"]["CASE_SERVER_ALLOW_DEFAULT_SECRET"] == "true"


def test_actions_are_those_of_the_projects_own_workflow() -> None:
    own = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    used = [step["uses"] for step in ACTIONS["jobs"]["test"]["steps"] if "uses" in step]
    assert len(used) == 2
    assert all(f"uses: {one}" in own for one in used)


def test_compose_adds_to_services_that_are_there() -> None:
    own, added = compose()["services"], COMPOSE["services"]
    assert added.keys() - own.keys() == {"tests"}
    assert added["tests"]["depends_on"].keys() <= own.keys()
    assert "healthcheck" in own["case-server"]
    files = ["../case-server/docker-compose.yml", "docker-compose.test.yml"]
    assert re.findall(r"(?<=-f )\S+", DOCS) == files * 2
    assert added["tests"]["volumes"] == [f"${{PWD}}:{added['tests']['working_dir']}"]


def test_typescript_equals_that_of_the_sdk_guide() -> None:
    own = re.search(r"```typescript\n(.*?)```", SDK_GUIDE, re.DOTALL)
    assert own
    variables = {
        "'http://127.0.0.1:8000/oauth2/token'": "process.env.CASE_TOKEN_URL",
        "'http://127.0.0.1:8000'": "process.env.CASE_BASE_URL",
        "'local-client'": "process.env.CASE_CLIENT_ID",
        "'local-secret'": "process.env.CASE_CLIENT_SECRET",
    }
    told = own[1]
    for value, variable in variables.items():
        assert value in told
        told = told.replace(value, variable)
    assert TYPESCRIPT.startswith(told)


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node to read TypeScript with")
def test_typescript_can_be_read(tmp_path: Path) -> None:
    # It uses nothing that JavaScript does not have; the SDK itself is on no public registry.
    file = tmp_path / "recipe.mjs"
    file.write_text(TYPESCRIPT)
    ran = subprocess.run(["node", "--check", file], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr

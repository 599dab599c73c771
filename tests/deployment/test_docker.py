"""The images and the compose file in a real Docker engine."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from socket import socket

import httpx
import pytest

from case_server.sample import SAMPLE_DOCUMENT_ID

ROOT = Path(__file__).parents[2]
PROJECT = f"case-server-test-{os.getpid()}"
STANDALONE = f"{PROJECT}:standalone"
DOCUMENTS = "/case/1.1/CFDocuments"
START_TIMEOUT_SECONDS = 120


def docker(
    *arguments: str, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ("docker", *arguments),
        cwd=ROOT,
        input=stdin,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def has_engine() -> bool:
    return shutil.which("docker") is not None and docker("version").returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_engine(), reason="there is no Docker engine here"),
]


def output_of(*arguments: str, stdin: str = "", **environment: str) -> str:
    result = docker(*arguments, stdin=stdin, **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/ready").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"{url} is not ready")


@pytest.fixture
def standalone() -> Iterator[str]:
    """Yield the ID of a container that was started by one line."""
    output_of("build", "--quiet", "--target", "standalone", "--tag", STANDALONE, ".")
    container = output_of("run", "--detach", "--publish", "127.0.0.1:0:8000", STANDALONE).strip()
    try:
        yield container
    finally:
        docker("rm", "--force", "--volumes", container)
        docker("image", "rm", STANDALONE)


def test_standalone_image_serves_and_keeps_its_data(standalone: str) -> None:
    for _ in range(2):
        url = f"http://{output_of('port', standalone, '8000').strip()}"
        wait_until_ready(url)
        output_of("exec", standalone, "case-server", "import", "--sample")
        token = output_of("exec", standalone, "case-server", "token").strip()
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(url + DOCUMENTS, headers=headers).json()["total"] == 1
        output_of("restart", standalone)
    assert output_of("exec", standalone, "id", "-u").strip() == "10001"
    (mount,) = output_of(
        "inspect", "-f", "{{range .Mounts}}{{.Destination}}{{end}}", standalone
    ).split()
    assert mount == "/var/lib/case-server"


def test_image_without_database_url_names_the_setting() -> None:
    image = output_of("build", "--quiet", ".").strip()
    for command in ((), ("case-server", "import", "--sample")):
        result = docker("run", "--rm", image, *command)
        assert result.returncode == 1
        assert result.stderr.startswith(
            "case-server: error: set CASE_SERVER_DATABASE_URL=postgresql://"
        )


@pytest.fixture
def project() -> Iterator[dict[str, str]]:
    """Yield the environment of a compose project, and remove what it created."""
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"COMPOSE_PROJECT_NAME": PROJECT, "CASE_SERVER_PORT": str(port)}
    try:
        yield environment
    finally:
        docker("compose", "down", "--volumes", "--rmi", "local", **environment)


def test_compose_project_runs_commands_and_reports_a_changed_password(
    project: dict[str, str],
) -> None:
    """Checks commands inside, the image of the project, and a changed password."""
    output_of("compose", "up", "--detach", "--build", "--wait", **project)
    execute = ("compose", "exec", "-T", "case-server", "case-server")
    token = output_of(*execute, "token", **project).strip()
    url = f"http://127.0.0.1:{project['CASE_SERVER_PORT']}"
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(url + DOCUMENTS, headers=headers).json()["total"] == 0
    output_of(*execute, "import", "--sample", **project)
    package = output_of(*execute, "export", SAMPLE_DOCUMENT_ID, **project)
    assert ": unchanged " in output_of(*execute, "import", "-", stdin=package, **project)
    images = output_of("compose", "images", "--format", "json", **project)
    assert f'"Repository":"{PROJECT}-case-server"' in images

    changed = project | {"POSTGRES_PASSWORD": "another"}
    assert docker("compose", "up", "--detach", "--wait", **changed).returncode != 0
    logs = output_of("compose", "logs", "migrate", **changed)
    assert "Postgres keeps the password that its volume was created with" in logs
    psql = ("compose", "exec", "-T", "postgres", "psql", "-U", "case", "-c", r"\password")
    output_of(*psql, stdin="another\nanother\n", **changed)
    output_of("compose", "up", "--detach", "--wait", **changed)

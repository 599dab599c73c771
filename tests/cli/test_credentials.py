"""`case-server client` and `case-server keys` while a server runs."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from support.databases import NewDataDir
from support.live_server import LiveServer, run_live_server
from support.live_server import run_command_in_process as run
from support.terminal import BOLD, run_in_terminal

from case_server.cli import main

DOCUMENTS = "/case/1.1/CFDocuments"


@pytest.fixture(scope="module")
def data_dir(new_data_dir: NewDataDir) -> Path:
    return new_data_dir()


@pytest.fixture(scope="module")
def live(data_dir: Path) -> Iterator[LiveServer]:
    with run_live_server(data_dir, "--workers", "2") as server:
        yield server


def command(data_dir: Path, *arguments: str) -> str:
    """Run a command that must succeed and return its output."""
    result = run(*arguments, data_dir=data_dir)
    assert result.returncode == 0, result.stderr
    return result.stdout


def statuses(live: LiveServer, token: str) -> set[int]:
    """Return the statuses of all workers for a token: each connection may reach another one."""
    headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
    return {httpx.get(live.base_url + DOCUMENTS, headers=headers).status_code for _ in range(12)}


def refused(live: LiveServer, client: str, secret: str) -> bool:
    form = {"grant_type": "client_credentials"}
    response = httpx.post(f"{live.base_url}/oauth2/token", data=form, auth=(client, secret))
    return response.status_code == 401


def test_client_is_added_rotated_and_removed(live: LiveServer, data_dir: Path) -> None:
    secret = command(data_dir, "client", "add", "reader", "--name", "Reading app").strip()
    token = live.token("reader", secret)
    assert statuses(live, token) == {200}
    headers = {"Authorization": f"Bearer {token}"}
    put = httpx.put(f"{live.base_url}{DOCUMENTS}/x", headers=headers, json={})
    assert put.status_code == 403

    rotated = run("client", "rotate", "reader", data_dir=data_dir)
    assert "the old secret of 'reader' stays valid for 24h." in rotated.stderr
    new = rotated.stdout.strip()
    assert new != secret
    assert live.token("reader", secret)
    assert live.token("reader", new)
    output = command(data_dir, "client", "list")
    assert "local-client" in output
    assert "readonly" in output
    assert "2, one until" in output
    assert "Reading app" in output
    assert secret not in output
    assert f"{BOLD}ID " in run_in_terminal("client", "list", data_dir=data_dir)[1]
    command(data_dir, "client", "rotate", "reader", "--keep-old-for", "0")
    assert refused(live, "reader", secret)
    assert refused(live, "reader", new)

    command(data_dir, "client", "remove", "reader")
    deadline = time.monotonic() + 30
    while (seen := statuses(live, token)) != {401} and time.monotonic() < deadline:
        time.sleep(0.2)
    assert seen == {401}


def test_tokens_stay_valid_when_keys_rotate(live: LiveServer, data_dir: Path) -> None:
    before = live.token()
    kid = command(data_dir, "keys", "rotate").strip()
    output = command(data_dir, "keys", "list").splitlines()
    assert output[-1].split()[0] == kid
    assert output[-1].endswith("signs")
    deadline, published = time.monotonic() + 30, set[str]()
    while kid not in published and time.monotonic() < deadline:
        keys = httpx.get(f"{live.base_url}/.well-known/jwks.json").json()["keys"]
        published = {key["kid"] for key in keys}
    assert kid in published
    assert statuses(live, live.token()) == {200}
    assert statuses(live, before) == {200}


def test_client_name_of_two_lines_is_refused() -> None:
    result = CliRunner().invoke(main, ("client", "add", "x", "--name", "a\nb"))
    assert (result.exit_code, "one line" in result.stderr) == (1, True)


def test_unknown_client_is_refused(live: LiveServer, data_dir: Path) -> None:
    result = run("client", "remove", "unknown", data_dir=data_dir)
    assert result.returncode == 1
    assert "case-server client list" in result.stderr
    assert "Traceback" not in result.stderr


def test_existing_client_is_refused(live: LiveServer, data_dir: Path) -> None:
    scopes = ("--scope", "createput", "--scope", "delete")
    result = run("client", "add", "once", *scopes, data_dir=data_dir)
    assert "create and replace; delete associations" in result.stderr
    second_result = run("client", "add", "once", data_dir=data_dir)
    assert second_result.returncode == 1
    assert "case-server client rotate once" in second_result.stderr

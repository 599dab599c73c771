"""Check the compose file and the Dockerfile against the settings and pyproject.toml."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url
from support.scripted_source import ScriptedResponse, ScriptedSource, run_scripted_source

from case_server.api.allowed_hosts import HostValidator
from case_server.exceptions import CommandError
from case_server.settings import DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, Settings, is_loopback

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()

Start = Callable[..., Settings]


def compose(**environment: str) -> Any:
    """Return the compose file with these variables substituted, as ``docker compose`` does."""
    filled = re.sub(
        r"(?<!\$)\$\{(\w+):-([^}]*)\}", lambda match: environment.get(match[1]) or match[2], COMPOSE
    )
    assert not re.search(r"(?<!\$)\$[\w{]", filled), "a variable has no default"
    return yaml.safe_load(filled.replace("$$", "$"))


def service(name: str, **environment: str) -> Any:
    return compose(**environment)["services"][name]


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile as (keyword, arguments)."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", "")
    pairs = (line.partition(" ") for line in text.splitlines() if line.strip())
    return [(word, re.sub(r"\s+", " ", arguments).strip()) for word, _, arguments in pairs]


def image_instructions(word: str, stage: str = "") -> list[str]:
    """Return the arguments of each instruction with this keyword that a stage consists of.

    By default that of the image: the last stage, with those that it is based on.
    """
    stages: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for keyword, arguments in instructions():
        if keyword == "FROM":
            base, _, name = arguments.partition(" AS ")
            stages[name] = [*stages.get(base, [])]
        else:
            stages[name].append((keyword, arguments))
    return [arguments for keyword, arguments in stages[stage] if keyword == word]


def image_environment() -> dict[str, str]:
    (variables,) = image_instructions("ENV")
    return dict(re.findall(r"(\w+)=(\S+)", variables))


def settings_variables() -> set[str]:
    """Return the environment variables of all settings, in the documented spelling."""
    prefix = Settings.model_config["env_prefix"]
    names: set[str] = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, str):
            names.add(alias)
        else:
            names.add(f"{prefix}{name}".upper())
    return names


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Return a function that gives the server's settings under compose with these variables."""

    def settings(**environment: str) -> Settings:
        for name in list(os.environ):
            if name.upper().startswith("CASE_"):
                monkeypatch.delenv(name)
        variables = image_environment() | service("case-server", **environment)["environment"]
        for name, value in variables.items():
            if name.startswith("CASE_"):
                monkeypatch.setenv(name, value)
        return Settings()

    return settings


@pytest.mark.parametrize("text", [COMPOSE, DOCKERFILE], ids=["compose", "dockerfile"])
def test_variables_are_settings(text: str) -> None:
    variables = set(re.findall(r"\bCASE_\w+", text))
    assert variables
    assert variables <= settings_variables()


@pytest.mark.parametrize(
    "environment",
    [{}, {"POSTGRES_USER": "alice", "POSTGRES_PASSWORD": "wonder", "POSTGRES_DB": "land"}],
    ids=["defaults", "own"],
)
@pytest.mark.parametrize("name", ["migrate", "case-server"])
def test_database_url_names_the_postgres_service(name: str, environment: dict[str, str]) -> None:
    postgres = service("postgres", **environment)["environment"]
    assert environment.items() <= postgres.items()
    url = make_url(service(name, **environment)["environment"]["CASE_SERVER_DATABASE_URL"])
    assert url.drivername == "postgresql"
    assert (url.host, url.port) == ("postgres", 5432)
    assert url.username == postgres["POSTGRES_USER"]
    assert url.password == postgres["POSTGRES_PASSWORD"]
    assert url.database == postgres["POSTGRES_DB"]


def test_default_credentials_are_the_documented_ones(start: Start) -> None:
    environment = service("case-server")["environment"]
    assert environment["CASE_CLIENT_ID"] == DEFAULT_CLIENT_ID
    assert environment["CASE_CLIENT_SECRET"] == DEFAULT_CLIENT_SECRET
    own = start(CASE_CLIENT_ID="me", CASE_CLIENT_SECRET="hidden")
    assert (own.client_id, own.client_secret.get_secret_value()) == ("me", "hidden")


def test_allowed_hosts_are_those_of_compose_networks(start: Start) -> None:
    hosts = HostValidator(start())
    for name in ("localhost", "127.0.0.1", "case", "case-server", "host.docker.internal"):
        assert hosts.is_host_allowed(name), name
    assert "case-server" in compose()["services"]
    assert not hosts.is_host_allowed("evil.test")
    own = HostValidator(start(CASE_SERVER_ALLOWED_HOSTS="standards"))
    assert own.is_host_allowed("standards")


def test_default_secret_needs_a_loopback_port(start: Start) -> None:
    services = compose()["services"]
    published = [port for each in services.values() for port in each.get("ports", [])]
    addresses = [port.rsplit(":", 2)[0] for port in published]
    assert len(addresses) == 1
    assert all(is_loopback(address) for address in addresses)
    assert not any("network_mode" in each for each in services.values())

    settings = start()
    assert settings.allow_default_secret
    settings.require_non_default_secret()
    with pytest.raises(CommandError):
        settings.model_copy(update={"allow_default_secret": False}).require_non_default_secret()


@pytest.mark.parametrize(("environment", "outside"), [({}, 8000), ({"CASE_SERVER_PORT": "9"}, 9)])
def test_published_port_is_configurable(
    start: Start, environment: dict[str, str], outside: int
) -> None:
    inside = Settings.model_fields["port"].default
    assert service("case-server", **environment)["ports"] == [f"127.0.0.1:{outside}:{inside}"]
    settings = start(**environment)
    assert settings.port == inside
    assert settings.base_url == f"http://localhost:{outside}"
    assert image_instructions("EXPOSE") == [str(inside)]


def test_image_does_not_run_as_root() -> None:
    for stage in ("", "standalone"):
        (user,) = image_instructions("USER", stage)
        assert int(user) > 0
        run = image_instructions("RUN", stage)
        assert any(f"useradd --uid {user} " in command for command in run)


def test_standalone_image_keeps_its_data_in_a_volume() -> None:
    (volume,) = image_instructions("VOLUME", "standalone")
    assert f"CASE_SERVER_DATA_DIR={volume}" in image_instructions("ENV", "standalone")[-1]
    assert not image_instructions("VOLUME")
    assert any("-r requirements-embedded.lock" in arguments for _, arguments in instructions())


def test_build_context_contains_only_copied_files() -> None:
    sources = {
        source
        for word, arguments in instructions()
        if word == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    }
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert next(line for line in ignore if line[:1] != "#") == "*"
    assert {line.removeprefix("!") for line in ignore if line.startswith("!")} == sources
    assert all((ROOT / source).exists() for source in sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"pyproject.toml", project["readme"], *project["license-files"]} <= sources


@pytest.fixture(params=[200, 503])
def status(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def status_server(status: int) -> Iterator[ScriptedSource]:
    """Answer every request with a status."""
    with run_scripted_source() as source:
        source.respond = lambda _: ScriptedResponse(status=status)
        yield source


def is_healthy(command: list[str], port: int) -> bool:
    """Return whether a health check succeeds with a proxy configured that does not exist."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "CASE_SERVER_PORT": str(port),
        "http_proxy": "http://127.0.0.1:9",
    }
    result = subprocess.run(command, check=False, env=environment, capture_output=True)
    return result.returncode == 0


def test_image_health_check_uses_health(status_server: ScriptedSource, status: int) -> None:
    (health_check,) = image_instructions("HEALTHCHECK")
    command = health_check.partition(" CMD ")[2]
    assert is_healthy(["sh", "-c", command], status_server.port) == (status == 200)
    assert status_server.requests == ["/health"]


def test_service_health_check_uses_ready(status_server: ScriptedSource, status: int) -> None:
    port = Settings.model_fields["port"].default
    form, *command = service("case-server")["healthcheck"]["test"]
    assert form == "CMD"
    local_command = [part.replace(f":{port}/", f":{status_server.port}/") for part in command]
    assert is_healthy(local_command, status_server.port) == (status == 200)
    assert status_server.requests == ["/ready"]


def test_grace_period_exceeds_shutdown_timeout() -> None:
    grace = re.fullmatch(r"(\d+)s", service("case-server")["stop_grace_period"])
    assert grace
    assert int(grace[1]) > Settings.model_fields["shutdown_timeout"].default

"""A running server: its processes, and its first words."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import click
import uvicorn
from uvicorn.supervisors import Multiprocess

from .. import __version__, log_config
from ..api.middleware import TRANSPORT
from ..api.profiles import PROFILES
from ..db.postgres.clones import require_clonable
from ..main import PARENT_PID_VARIABLE, create_worker_app
from ..settings import DEFAULT_CLIENT_SECRET, Settings
from .protocol import Config, Connection, ConnectionLimit

log = logging.getLogger("case_server")

ACCEPT_BACKLOG = 2048
"""How many connections may wait to be accepted, as uvicorn has it."""

RESERVED_FILES = 64
"""Files for everything but clients and the connection pool: sockets, logs, pages."""


def run(settings: Settings, told: Settings, bound: socket.socket) -> None:
    """Serve on a socket until told to stop.

    ``complete`` has the URL of the database; ``told`` is what is said of the settings.
    """
    if settings.test_mode:
        asyncio.run(require_clonable(settings.database_url))
    if settings.workers == 1:
        _BannerServer(_config(settings), told).run([bound])
    else:
        _serve_with_workers(settings, told, bound)


def _config(settings: Settings, **more: Any) -> Config:
    config = Config(
        more.pop("app", None) or create_worker_app(settings),
        log_config=log_config.logging_config(settings.log_format),
        access_log=False,  # the application writes a line for each request itself
        timeout_graceful_shutdown=1 if settings.test_mode else settings.shutdown_timeout,
        server_header=False,
        http=_TransportExposingConnection if settings.test_mode else Connection,
        ws="none",
        **more,
    )
    config.request_seconds = settings.request_timeout
    limit, config.backlog = connection_limits(settings, raise_file_limit())
    config.connection_limit = ConnectionLimit(limit)
    return config


def raise_file_limit() -> int | None:
    """Raise this process's limit of open files as far as it may; return it, None for no limit."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415  Windows has none

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS reports a hard limit that it does not grant
            hard = soft
    return None if hard == resource.RLIM_INFINITY else hard


def connection_limits(settings: Settings, max_files: int | None) -> tuple[int, int]:
    """Return how many connections may be open, and how many may wait to be accepted.

    All that wait are accepted at once, before any can be closed, and a connection can have a file
    that is sent over it: each of the three gets a third of the files.
    """
    if max_files is None:
        return settings.max_connections, ACCEPT_BACKLOG
    free = max(3, max_files - RESERVED_FILES - settings.pool_size)
    limit = min(settings.max_connections, free // 3)
    if limit < settings.max_connections:
        log.warning(
            "the limit of %d open files leaves room for %d connections; raise it (ulimit -n) for "
            "the %d of CASE_SERVER_MAX_CONNECTIONS",
            max_files,
            limit,
            settings.max_connections,
        )
    return limit, min(ACCEPT_BACKLOG, free - 2 * limit)


class _TransportExposingConnection(Connection):
    """Lets requests reach the connection they came over, so that test mode can break it."""

    app_state: dict[str, Any]

    # The base class narrows the type of asyncio's protocol.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the connection to every request that comes over it."""
        self.app_state = {**self.app_state, TRANSPORT: transport}
        super().connection_made(transport)


class _BannerServer(uvicorn.Server):
    """Says where it is once it can answer."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self.settings = settings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print_banner(self.settings)


WORKER_START_SECONDS = 60
"""How long a worker may take to be ready; one that fails sooner ends the wait."""


class _WorkerSupervisor(Multiprocess):
    """Says where it is once all can answer; lets nobody in while the last requests end."""

    def __init__(self, config: uvicorn.Config, bound: socket.socket, settings: Settings) -> None:
        super().__init__(config, [bound])
        self.settings = settings

    def init_processes(self) -> None:
        super().init_processes()
        if all(process.wait_until_ready(WORKER_START_SECONDS) for process in self.processes):
            print_banner(self.settings)

    def terminate_all(self) -> None:
        # Left open here, the socket would take connections that no worker serves any more.
        for bound in self.sockets:
            bound.close()
        super().terminate_all()


def _serve_with_workers(complete: Settings, settings: Settings, bound: socket.socket) -> None:
    """Several processes on one socket; they learn the settings from the environment."""
    for name, value in _as_environment(complete).items():
        os.environ[name] = value
    os.environ[PARENT_PID_VARIABLE] = str(os.getpid())
    factory = f"{create_worker_app.__module__}:{create_worker_app.__name__}"
    config = _config(complete, app=factory, factory=True)
    config.workers = complete.workers
    _WorkerSupervisor(config, bound, settings).run()


def _as_environment(settings: Settings) -> dict[str, str]:
    secret = settings.client_secret.get_secret_value()
    own = {"CASE_CLIENT_ID": settings.client_id, "CASE_CLIENT_SECRET": secret}
    # Test mode has one process. Its token would be dumped as asterisks.
    others = settings.model_dump(exclude={"client_id", "client_secret", "test_api_token"})
    return own | {
        f"CASE_SERVER_{name.upper()}": _as_variable(value) for name, value in others.items()
    }


def _as_variable(value: Any) -> str:
    """Write the value of a setting as its environment variable has it."""
    if isinstance(value, dict):
        return ",".join(f"{key}={'+'.join(names)}" for key, names in value.items())
    return ",".join(value) if isinstance(value, tuple) else str(value)


def command_name() -> str:
    """Return the command that started this process, to be pasted in the same folder."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{shlex.quote(_relative(Path(sys.executable)))} -m case_server"
    installed = shutil.which("case-server")
    if installed and Path(installed).resolve() == program.resolve():
        return "case-server"
    return shlex.quote(_relative(program))


def _relative(path: Path) -> str:
    """Return a path relative to the current folder if it is below it."""
    folder = Path.cwd()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def print_banner(settings: Settings) -> None:
    """Print where everything is, and lines to paste."""
    base = settings.base_url
    token_url = f"{base}/oauth2/token"
    default = settings.client_secret.get_secret_value() == DEFAULT_CLIENT_SECRET
    secret = DEFAULT_CLIENT_SECRET if default else "$CASE_CLIENT_SECRET"
    data = settings.database_name
    rows = [
        *((profile.title, f"{base}{profile.prefix}") for profile in PROFILES),
        ("tokens", token_url if settings.local_issuer else ", ".join(settings.trusted_issuers)),
        ("client id", settings.client_id),
        ("client secret", secret),
        *([("pages to look at", f"{base}/")] if settings.web else []),
        ("documentation", f"{base}/docs"),
        ("data", f"copies of {data}, dropped at the end" if settings.test_mode else data),
        *([("test API", f"{base}/_test")] if settings.test_mode else []),
    ]
    click.echo(f"case-server {__version__} is ready at {base}\n")
    for name, value in rows:
        click.echo(f"  {name:<20}{value}")
    if settings.local_issuer:
        click.echo(
            "\nIn another terminal, ask it something:\n\n"
            f'  TOKEN=$(curl -s -u "{settings.client_id}:{secret}" '
            f"-d grant_type=client_credentials {token_url} "
            """| sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')\n"""
            f'  curl -s -H "Authorization: Bearer $TOKEN" {base}{PROFILES[0].prefix}/CFDocuments\n'
        )
    if settings.test_mode:
        click.echo(
            f"Test mode: POST {base}/_test/seed and {base}/_test/reset set the data.\n"
            "Ctrl+C stops the server."
        )
    else:
        click.echo(
            "To load the sample framework, run this in another terminal:\n\n"
            f"  {command_name()} import --sample\n\n"
            "Ctrl+C stops the server."
        )
    sys.stdout.flush()

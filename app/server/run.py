"""Run uvicorn with one or several worker processes, and print the banner."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import uvicorn
from uvicorn.supervisors import Multiprocess

from .. import __version__, log_config
from ..api.middleware import TRANSPORT
from ..api.profiles import PROFILES
from ..database_url import parse_database_url
from ..db.postgres.clones import require_clonable_database
from ..settings import DEFAULT_CLIENT_SECRET, Settings
from .protocol import ConnectionLimiter, HttpConnection, ServerConfig
from .startup import ACCEPT_BACKLOG
from .worker import PARENT_PID_VARIABLE, create_worker_app

log = logging.getLogger("case_server")

RESERVED_FILES = 64
"""File descriptors for everything but clients and the connection pool: sockets, logs, web UI."""


def run_server(settings: Settings, banner_settings: Settings, listener: socket.socket) -> None:
    """Serve requests on a listening socket until a signal stops the process.

    The banner shows ``banner_settings``, a copy of ``settings`` without the database URL of an
    embedded Postgres.
    """
    if settings.test_mode:
        asyncio.run(require_clonable_database(settings.database_url))
    config = _create_server_config(settings)
    if settings.workers == 1:
        _ServerWithBanner(config, banner_settings).run([listener])
    else:
        os.environ[PARENT_PID_VARIABLE] = str(os.getpid())
        _WorkerSupervisor(config, listener, banner_settings).run()


def _create_server_config(settings: Settings) -> ServerConfig:
    config = ServerConfig(
        partial(create_worker_app, settings),  # each worker gets the pickled settings
        factory=True,
        workers=settings.workers,
        log_config=log_config.build_logging_config(settings.log_format),
        access_log=False,  # the middleware writes a line for each request
        timeout_graceful_shutdown=1 if settings.test_mode else settings.shutdown_timeout,
        server_header=False,
        http=_TestModeConnection if settings.test_mode else HttpConnection,
        ws="none",
    )
    config.request_seconds = settings.request_timeout
    limit, config.backlog = compute_connection_limits(settings, raise_open_file_limit())
    config.connection_limit = ConnectionLimiter(limit)
    return config


def raise_open_file_limit() -> int | None:
    """Raise the process's limit on open files as far as allowed, and return the limit.

    Returns None if there is no limit, as on Windows. If the system refuses, the limit stays as it
    was.
    """
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415  Windows does not have it

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS reports a hard limit that it rejects
            hard = soft
    return None if hard == resource.RLIM_INFINITY else hard


def compute_connection_limits(settings: Settings, max_files: int | None) -> tuple[int, int]:
    """Return the maximum numbers of open connections and of connections waiting to be accepted.

    ``max_files`` is the limit on file descriptors. Open connections, waiting connections and files
    being sent have separate shares of it, because all waiting connections may be accepted before
    any open one closes. Without ``max_files``, only the settings and ``ACCEPT_BACKLOG`` are limits.
    """
    if max_files is None:
        return settings.max_connections, ACCEPT_BACKLOG
    free = max(3, max_files - RESERVED_FILES - settings.pool_size)
    limit = min(settings.max_connections, free // 3)
    if limit < settings.max_connections:
        log.warning(
            "the limit of %d open files allows %d connections; raise it (ulimit -n) for the %d of "
            "CASE_SERVER_MAX_CONNECTIONS",
            max_files,
            limit,
            settings.max_connections,
        )
    return limit, min(ACCEPT_BACKLOG, free - 2 * limit)


class _TestModeConnection(HttpConnection):
    """A connection whose requests can access its transport, so that test mode can abort it."""

    app_state: dict[str, Any]

    # The base class narrows the type of asyncio's protocol.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Store the transport in the connection's ASGI state, so that requests can abort it."""
        self.app_state = {**self.app_state, TRANSPORT: transport}
        super().connection_made(transport)


class _ServerWithBanner(uvicorn.Server):
    """A uvicorn server that prints the banner once it accepts requests."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self.settings = settings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print_banner(self.settings)


WORKER_START_SECONDS = 60
"""Limit for a worker to become ready; the wait ends earlier if it exits."""


class _WorkerSupervisor(Multiprocess):
    """Starts the worker processes, and prints the banner once all of them are ready."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, settings: Settings) -> None:
        super().__init__(config, [listener])
        self.settings = settings

    def init_processes(self) -> None:
        super().init_processes()
        if all(process.wait_until_ready(WORKER_START_SECONDS) for process in self.processes):
            print_banner(self.settings)

    def terminate_all(self) -> None:
        # An open socket would accept connections that no worker handles.
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def get_command_prefix() -> str:
    """Return the shell command that started this process, such as ``case-server``.

    Users can paste it, because a command outside PATH is given by its path.
    """
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{shlex.quote(_make_path_relative(Path(sys.executable)))} -m case_server"
    installed_path = shutil.which("case-server")
    if installed_path and Path(installed_path).resolve() == program.resolve():
        return "case-server"
    return shlex.quote(_make_path_relative(program))


def _make_path_relative(path: Path) -> str:
    """Return a path in the current directory as a relative path, and any other path unchanged."""
    folder = Path.cwd()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def get_sample_import_command(settings: Settings) -> str:
    """Return the shell command that imports the sample framework into this server's database.

    A URL with a password is not part of the command, which then reads the environment variable
    ``CASE_SERVER_DATABASE_URL`` and fails if that is not set.
    """
    command = f"{get_command_prefix()} import --sample"
    if url := settings.database_url:
        parts = parse_database_url(url)
        has_secret = parts.password is not None or "sslpassword" in parts.parameters
        variable = '"${CASE_SERVER_DATABASE_URL:?set it as for the server}"'
        return f"{command} --database-url {variable if has_secret else shlex.quote(url)}"
    default = Settings.model_fields["data_dir"].get_default(call_default_factory=True)
    if settings.data_dir == default:
        return command
    return f"CASE_SERVER_DATA_DIR={shlex.quote(str(settings.data_dir.absolute()))} {command}"


def print_banner(settings: Settings) -> None:
    """Print the server's URLs and credentials, and example commands that users can paste."""
    base = settings.base_url
    token_url = f"{base}/oauth2/token"
    is_default = settings.client_secret.get_secret_value() == DEFAULT_CLIENT_SECRET
    secret = DEFAULT_CLIENT_SECRET if is_default else "$CASE_CLIENT_SECRET"
    data = settings.database_display_name
    rows = [
        *((profile.title, f"{base}{profile.prefix}") for profile in PROFILES),
        ("token endpoint", token_url)
        if settings.local_issuer
        else ("token issuers", ", ".join(settings.trusted_issuers)),
        ("client ID", settings.client_id),
        ("client secret", secret),
        *([("web UI", f"{base}/")] if settings.web else []),
        ("documentation", f"{base}/docs"),
        ("data", f"temporary copies of {data}" if settings.test_mode else data),
        *([("test API", f"{base}/_test")] if settings.test_mode else []),
    ]
    click.echo(f"case-server {__version__} is ready at {base}\n")
    for name, value in rows:
        click.echo(f"  {name:<20}{value}")
    if settings.local_issuer:
        user = shlex.quote(settings.client_id)
        credentials = f"{user}:{secret}" if is_default else f'{user}:"{secret}"'
        click.echo(
            "\nIn another terminal, list the documents:\n\n"
            f"  TOKEN=$(curl -s -u {credentials} "
            f"-d grant_type=client_credentials {token_url} "
            """| sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')\n"""
            f'  curl -s -H "Authorization: Bearer $TOKEN" {base}{PROFILES[0].prefix}/CFDocuments\n'
        )
    if settings.test_mode:
        click.echo(f"Test mode: POST {base}/_test/seed and {base}/_test/reset set the data.")
    else:
        click.echo("To load the sample framework, run this in another terminal:\n")
        click.echo(f"  {get_sample_import_command(settings)}\n")
    click.echo("Ctrl+C stops it.")

"""Open connections to Postgres as specified by a connection URL.

No other module opens asyncpg connections. Pools, Alembic, the checks at startup and the
test mode use it, so that all of them support the same URLs.
"""

from __future__ import annotations

import errno
import math
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias, cast

import asyncpg
from asyncpg.exceptions import TargetServerAttributeNotMatched

from ..database_url import DatabaseUrl, parse_database_url
from .timeouts import loop_timeout

# Strings, because only the type stubs of asyncpg make these classes generic.
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
DirectConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
AnyConnection: TypeAlias = "Connection | DirectConnection"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

CONNECT_TIMEOUT_SECONDS = 10.0
"""Time that one host has to accept a connection, unless the URL has ``connect_timeout``."""

CLOSE_TIMEOUT_SECONDS = 5.0
"""Time that Postgres has to end a session before its socket is closed anyway."""

OUT_OF_FILE_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)

CERTIFICATE_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")

TRY_NEXT_HOST = (OSError, asyncpg.CannotConnectNowError, TargetServerAttributeNotMatched)
"""Errors of one host after which the next host of the URL is tried."""

DEFAULT_ADDRESS: list[tuple[Any, Any]] = [(None, None)]
"""Address for a URL without a host: asyncpg uses PGHOST, or the socket of a local Postgres."""


def create_pool(url: str, **options: Any) -> Pool:
    """Return an asyncpg pool whose connections are opened with ``connect`` of this module.

    ``url`` is passed to ``connect``. ``options`` are keyword arguments of ``asyncpg.create_pool``,
    such as ``max_size``; those it does not know, such as ``session``, are passed to ``connect``.
    """
    return asyncpg.create_pool(url, connect=cast("Any", connect), **options)


async def connect(
    url: str,
    *,
    timeout: float = CONNECT_TIMEOUT_SECONDS,  # noqa: ASYNC109  for each host, as in libpq
    max_timeout: float = math.inf,
    session: Mapping[str, str] | None = None,
    **options: Any,
) -> DirectConnection:
    """Connect to the first host in a URL that is available and has the requested role.

    The URL requests a role, such as standby, with ``target_session_attrs``. ``timeout`` is in
    seconds for each host; ``connect_timeout`` in the URL replaces it. Both are limited to
    ``max_timeout``.
    ``session`` contains Postgres settings, which are set by a SQL statement, because poolers reject
    them in the startup message. All other options are passed to ``asyncpg.connect``. Behind a
    pooler in transaction mode, SQL statements are prepared only if the pooler supports it.

    Raises ``OSError``, ``asyncpg.PostgresError`` or another asyncpg error if no host can be used.
    """
    parsed_url = parse_database_url(url)
    if not parsed_url.can_use_prepared_statements:
        options["statement_cache_size"] = 0
    seconds = min(parsed_url.connect_timeout or timeout, max_timeout)
    connection = await _connect_to_first_available(parsed_url, seconds, options)
    if session:
        statements = [f"SET {name} = '{value}'" for name, value in session.items()]
        try:
            async with loop_timeout(timeout):
                await connection.execute("; ".join(statements))
        except BaseException:
            connection.terminate()
            raise
    return connection


@asynccontextmanager
async def open_connection(url: str, **options: Any) -> AsyncIterator[DirectConnection]:
    """Return a context manager that connects to a database and closes the connection on exit."""
    connection = await connect(url, **options)
    try:
        yield connection
    finally:
        with suppress(TimeoutError):
            await connection.close(timeout=CLOSE_TIMEOUT_SECONDS)


async def _connect_to_first_available(
    parsed_url: DatabaseUrl, seconds: float, options: dict[str, Any]
) -> DirectConnection:
    """Connect to the first host of the URL that accepts a connection, and return the connection.

    Each host has ``seconds`` to respond, whereas asyncpg itself would divide one timeout among all.
    ``options`` are passed to ``asyncpg.connect``. Raises the last host's error.
    """
    _check_certificate_files(parsed_url)
    session_attributes = parsed_url.target_session_attrs
    # As in libpq, prefer-standby accepts any server if there is no standby.
    rounds = ("standby", "any") if session_attributes == "prefer-standby" else (session_attributes,)
    error: BaseException | None = None
    for attributes in rounds:
        for host, port in parsed_url.list_addresses() or DEFAULT_ADDRESS:
            try:
                async with loop_timeout(seconds):
                    connection: DirectConnection = await asyncpg.connect(
                        parsed_url.driver_dsn,
                        host=host,
                        port=port,
                        user=parsed_url.user,
                        password=parsed_url.password,
                        database=parsed_url.database,
                        ssl=_create_system_tls_context(parsed_url),
                        server_settings=parsed_url.server_settings,
                        target_session_attrs=cast("Any", attributes),
                        timeout=cast("Any", None),
                        **options,
                    )
            except TRY_NEXT_HOST as host_error:
                error = host_error
                if is_out_of_file_descriptors(host_error):
                    raise
            else:
                _set_socket_options(connection, parsed_url)
                return connection
    assert error
    raise error


def _check_certificate_files(parsed_url: DatabaseUrl) -> None:
    """Open the URL's certificate files, so that ``OSError`` names the one that cannot be read.

    asyncpg's own error would not name the file.
    """
    for name in CERTIFICATE_FILES:
        path = parsed_url.parameters.get(name)
        if path and not (name == "sslrootcert" and path == "system"):
            with Path(path).open("rb"):
                pass


def _create_system_tls_context(parsed_url: DatabaseUrl) -> ssl.SSLContext | None:
    """Return a TLS context that trusts the system's root certificates, if the URL asks for it.

    Otherwise returns None. The URL's client certificate, if any, is loaded into the context.
    """
    if not parsed_url.uses_system_roots:
        return None
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if certificate := parsed_url.parameters.get("sslcert"):
        password = parsed_url.parameters.get("sslpassword", "")
        context.load_cert_chain(certificate, parsed_url.parameters.get("sslkey"), lambda: password)
    return context


def _set_socket_options(connection: DirectConnection, parsed_url: DatabaseUrl) -> None:
    transport = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001  not public
    endpoint = transport.get_extra_info("socket")
    if endpoint is None or endpoint.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    for option in parsed_url.socket_options:
        endpoint.setsockopt(*option)


def is_open(connection: Connection) -> bool:
    """Return whether a connection of a pool is open, as far as this process knows."""
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # terminated, and taken back by asyncpg's pool
        return False


def terminate(connection: Connection) -> None:
    """Close a connection of a pool without waiting for Postgres, unless it is already closed."""
    if is_open(connection):
        connection.terminate()


def is_out_of_file_descriptors(error: BaseException) -> bool:
    """Return whether a connection failed because there were no free file descriptors.

    The process or the whole system may have reached its limit.
    """
    if isinstance(error, socket.gaierror):
        # The DNS resolver does not report a lack of file descriptors, but opening a socket does.
        try:
            socket.socket().close()
        except OSError as socket_error:
            error = socket_error
    return isinstance(error, OSError) and error.errno in OUT_OF_FILE_DESCRIPTORS

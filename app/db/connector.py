"""Open connections to Postgres: the only place where asyncpg connects.

The pools, Alembic, the check at start and the test mode all connect here, so that a URL means the
same everywhere.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import asyncpg
from asyncpg.exceptions import TargetServerAttributeNotMatched

from ..database_url import DatabaseUrl, parse

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    DirectConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    AnyConnection: TypeAlias = Connection | DirectConnection
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]

CONNECT_TIMEOUT_SECONDS = 10.0
"""How long one host may take to accept a connection, unless the URL has ``connect_timeout``."""

CLOSE_TIMEOUT_SECONDS = 5.0
"""How long Postgres may take to say goodbye before the socket is closed anyway."""

OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)

CERTIFICATE_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")

TRY_NEXT_HOST = (OSError, asyncpg.CannotConnectNowError, TargetServerAttributeNotMatched)


ANY_ADDRESS: list[tuple[Any, Any]] = [(None, None)]
"""No address: asyncpg takes PGHOST, or the socket of a local Postgres."""


def create_pool(url: str, **options: Any) -> Pool:
    """Return a pool that opens its connections by ``connect``; options are those of both."""
    return asyncpg.create_pool(url, connect=cast("Any", connect), **options)


async def connect(
    url: str,
    *,
    timeout: float = CONNECT_TIMEOUT_SECONDS,  # noqa: ASYNC109  for each host, as in libpq
    max_timeout: float | None = None,
    session: Mapping[str, str] | None = None,
    **options: Any,
) -> DirectConnection:
    """Connect to the first host of a URL that has the session attributes asked for.

    ``timeout`` is in seconds for each host; the URL's ``connect_timeout`` replaces it, up to
    ``max_timeout``. ``session`` has settings of Postgres for this session; they are set by a
    statement, because poolers refuse them in the first message. Other options are asyncpg's.
    """
    target = parse(url)
    seconds = target.connect_timeout or timeout
    options["timeout"] = seconds if max_timeout is None else min(seconds, max_timeout)
    connection = await _connect_to_any(target, options)
    if session:
        statements = [f"SET {name} = '{value}'" for name, value in session.items()]
        try:
            await connection.execute("; ".join(statements), timeout=timeout)
        except BaseException:
            connection.terminate()
            raise
    return connection


@asynccontextmanager
async def connection_to(url: str, **options: Any) -> AsyncIterator[DirectConnection]:
    """Connect for as long as the block lasts."""
    connection = await connect(url, **options)
    try:
        yield connection
    finally:
        with suppress(TimeoutError):
            await connection.close(timeout=CLOSE_TIMEOUT_SECONDS)


async def _connect_to_any(target: DatabaseUrl, options: dict[str, Any]) -> DirectConnection:
    """Try the hosts in turn. asyncpg would give all of them one timeout together."""
    _check_files(target)
    wanted = target.session_attributes
    # As in libpq: any server will do where there is no standby.
    rounds = ("standby", "any") if wanted == "prefer-standby" else (wanted,)
    error: BaseException | None = None
    for attributes in rounds:
        for host, port in target.addresses() or ANY_ADDRESS:
            try:
                connection: DirectConnection = await asyncpg.connect(
                    target.driver_dsn,
                    host=host,
                    port=port,
                    user=target.user,
                    password=target.password,
                    database=target.database,
                    ssl=_system_tls(target),
                    server_settings=target.server_settings,
                    target_session_attrs=cast("Any", attributes),
                    **options,
                )
            except TRY_NEXT_HOST as failure:
                error = failure
                if is_out_of_files(failure):
                    raise
            else:
                _set_socket_options(connection, target)
                return connection
    assert error
    raise error


def _check_files(target: DatabaseUrl) -> None:
    """Raise ``FileNotFoundError`` or ``PermissionError`` that names the certificate file."""
    for name in CERTIFICATE_FILES:
        path = target.parameters.get(name)
        if path and not (name == "sslrootcert" and path == "system"):
            with Path(path).open("rb"):
                pass


def _system_tls(target: DatabaseUrl) -> ssl.SSLContext | None:
    """Return a context that verifies by the system's root certificates, where that is asked for."""
    if not target.trusts_system_roots:
        return None
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if certificate := target.parameters.get("sslcert"):
        password = target.parameters.get("sslpassword", "")
        context.load_cert_chain(certificate, target.parameters.get("sslkey"), lambda: password)
    return context


def _set_socket_options(connection: DirectConnection, target: DatabaseUrl) -> None:
    transport = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001  not public
    endpoint = transport.get_extra_info("socket")
    if endpoint is None or endpoint.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    for option in target.socket_options:
        endpoint.setsockopt(*option)


def is_out_of_files(error: BaseException) -> bool:
    """Whether the process or the machine has no file descriptor left for a connection."""
    if isinstance(error, OSError) and error.errno in OUT_OF_FILES:
        return True
    return isinstance(error, socket.gaierror) and not _can_open_socket()


def _can_open_socket() -> bool:
    """Whether a socket can be opened; the resolver of names does not say that it could not."""
    try:
        socket.socket().close()
    except OSError as error:
        return error.errno not in OUT_OF_FILES
    return True

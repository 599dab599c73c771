"""The errors that say Postgres cannot answer now, as what clients are told of them: try again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from ..exceptions import ServiceUnavailable
from .connector import is_out_of_files

log = logging.getLogger("case_server")

UNAVAILABLE = (
    # Not every OSError: a broken pipe is that of whoever reads what is written meanwhile.
    ConnectionRefusedError,
    ConnectionResetError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    # Somebody, or a limit that an administrator set, ended what was being done.
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    # What a connection says that was cut off while it was being used.
    asyncpg.InternalClientError,
)
"""What says that Postgres cannot serve now, though the request may be fine."""

RETRYABLE = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    # Somebody took a name between the look and the write; a second look says whose it is.
    asyncpg.UniqueViolationError,
)
"""What says that two transactions met, and one of them may simply try again."""

CONNECTION_LOST = (*UNAVAILABLE, *RETRYABLE, asyncpg.InterfaceError)
"""What ends the use of a connection with the request to try again."""

CONNECT_ERRORS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""Whatever keeps a connection from being made, trying again is all a client can do."""


@contextmanager
def unavailable_on(*errors: type[Exception]) -> Iterator[None]:
    """Raise ``Unavailable`` for any of these errors."""
    try:
        yield
    except asyncpg.DataError:
        raise
    except errors as error:
        raise to_service_unavailable(error) from error


def to_service_unavailable(error: BaseException) -> ServiceUnavailable:
    """Log an error and return what its request is answered: 503, retry later."""
    if is_out_of_files(error):
        # Not the database is away: this process cannot open a socket to it.
        log.error(
            "out of file descriptors (%s): raise the limit on open files (ulimit -n), or lower "
            "CASE_SERVER_MAX_CONNECTIONS or CASE_SERVER_POOL_SIZE",
            error,
        )
        return ServiceUnavailable(
            "the server is out of file descriptors; retry later", headers={"Retry-After": "1"}
        )
    log.warning("the database cannot answer: %s: %s", type(error).__name__, error)
    return ServiceUnavailable(
        f"the database cannot answer now ({type(error).__name__}); try again",
        headers={"Retry-After": "1"},
    )

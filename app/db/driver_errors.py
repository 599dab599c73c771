"""Translate asyncpg's errors into ``ServiceUnavailable`` and classify those worth a retry."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from ..exceptions import RecoveryConflict, ServiceUnavailable
from .connector import is_out_of_file_descriptors

log = logging.getLogger("case_server")

LOCK_TIMEOUT_SECONDS = 10.0
"""Maximum wait for a lock that another transaction holds."""

OUT_OF_FILES_REMEDY = (
    "raise the limit on open files (ulimit -n), or lower CASE_SERVER_MAX_CONNECTIONS or "
    "CASE_SERVER_POOL_SIZE"
)

UNAVAILABLE = (
    # Not every OSError: a broken pipe may belong to the reader of a streamed response.
    ConnectionRefusedError,
    ConnectionResetError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    # An administrator, or a limit that they configured, cancelled the statement.
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    # A connection that was terminated while in use.
    asyncpg.InternalClientError,
)
"""Errors that mean that Postgres cannot serve the request now, though it may be valid."""

CONFLICTS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Errors of a statement that another transaction, or the recovery of a standby, has cancelled."""

RETRYABLE = (
    *CONFLICTS,
    # Another transaction inserted the key after this one had looked for it; a retry finds it.
    asyncpg.UniqueViolationError,
)
"""Errors of a transaction that conflicted with another one and can be retried."""

POOLED_RETRYABLE = (*RETRYABLE, asyncpg.LockNotAvailableError)
"""Errors of a transaction behind a pooler that can be retried: it does not wait for locks."""

CONNECTION_LOST = (*UNAVAILABLE, *RETRYABLE, asyncpg.InterfaceError)
"""Errors during the use of a connection to which the server responds with 503."""

CONNECT_ERRORS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""All errors of asyncpg and the network. While connecting, the client can only retry."""


@contextmanager
def map_errors_to_unavailable(*errors: type[Exception]) -> Iterator[None]:
    """Return a context manager that raises ``ServiceUnavailable`` (503) in place of ``errors``.

    ``errors`` are exception classes. ``asyncpg.DataError`` is raised unchanged, because it means
    that the request was invalid.
    """
    try:
        yield
    except asyncpg.DataError:
        raise
    except errors as error:
        raise to_service_unavailable(error) from error


def to_service_unavailable(error: BaseException) -> ServiceUnavailable:
    """Log a database error and return the ``ServiceUnavailable`` (503) to raise instead."""
    if is_out_of_file_descriptors(error):
        # The database may be fine: this process cannot open a socket to it.
        log.error("out of file descriptors (%s): %s", error, OUT_OF_FILES_REMEDY)
        return ServiceUnavailable("the server is out of file descriptors; retry later")
    if isinstance(error, asyncpg.LockNotAvailableError):
        # The database is fine. A pooled write may still retry; otherwise its client gets a 503.
        log.info("a lock was not granted: %s", error)
        return ServiceUnavailable(
            f"waited {LOCK_TIMEOUT_SECONDS:g} s for another transaction, probably a write of the "
            "same framework or entity that is still running; retry later"
        )
    if isinstance(error, CONFLICTS) and "recovery" in str(error):
        # The code is that of conflicting writes; only the message names the recovery.
        return RecoveryConflict(
            "the standby cancelled the read to replay changes of the primary; retry later"
        )
    # The first error tells why a connection was lost; then its rollback fails as well.
    first: BaseException | None = error
    while isinstance(first, asyncpg.InterfaceError):
        first = first.__context__
    if isinstance(first, UNAVAILABLE):
        error = first
    if isinstance(error, RETRYABLE):
        log.info("a write conflicted with others: %s: %s", type(error).__name__, error)
        return ServiceUnavailable(
            "the write conflicted with other writes each time it was tried; retry later"
        )
    log.warning("database unavailable: %s: %s", type(error).__name__, error)
    return ServiceUnavailable(f"database unavailable ({type(error).__name__}); retry later")

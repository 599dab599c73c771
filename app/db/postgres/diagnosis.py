"""Explain in one line why a database cannot be used, and what to do about it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import asyncpg
from asyncpg.exceptions import TargetServerAttributeNotMatched

from ...database_url import DatabaseUrl, find_nearest_parameter, parse_database_url
from ...exceptions import CommandError
from ..connector import CONNECT_TIMEOUT_SECONDS, is_out_of_file_descriptors
from ..driver_errors import CONNECT_ERRORS, OUT_OF_FILES_REMEDY

READ_ONLY = (
    "the database is read-only (a standby, or default_transaction_read_only is on): name the "
    "primary server, or all servers with target_session_attrs=read-write"
)

CONTAINER_MARK = Path("/.dockerenv")
"""A file that exists in every container of Docker."""

VOLUME_HINT = (
    "; if POSTGRES_PASSWORD was changed: Postgres keeps the password that its volume was created "
    "with, so set that one again, or change it with \\password in psql"
)

MISSING_PRIVILEGE = asyncpg.InsufficientPrivilegeError


@contextmanager
def map_errors_to_command_error(url: str, *errors: type[Exception]) -> Iterator[None]:
    """Return a context manager that replaces database errors by a ``CommandError`` with advice.

    ``url`` is the URL of the database. ``errors`` are the exceptions to replace, by default all
    that connecting to Postgres may raise.
    """
    error_types = errors or CONNECT_ERRORS
    try:
        yield
    except error_types as error:
        raise CommandError(diagnose_database_error(error, url)) from error


def diagnose_database_error(error: BaseException, url: str) -> str:
    """Return one line that says why the database at ``url`` cannot be used, and how to fix it."""
    target = parse_database_url(url)
    message = (
        _explain_postgres_error(error, target) if isinstance(error, asyncpg.PostgresError) else ""
    )
    if not message:
        message = (
            "could not connect to the database of CASE_SERVER_DATABASE_URL "
            f"({target.to_redacted_url()}): {_explain_connection_error(error, target)}"
        )
    return " ".join(message.split())


MESSAGES: tuple[tuple[type[asyncpg.PostgresError], str], ...] = (
    (
        asyncpg.InvalidPasswordError,
        "{message}: check the user name and password of {url}{escape_hint}{container_hint}",
    ),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "{url} rejects the connection: {message}; {admission}",
    ),
    (
        asyncpg.InvalidCatalogNameError,
        "{message} at {url}: create it (createdb), or correct the name in the URL",
    ),
    (
        asyncpg.TooManyConnectionsError,
        "{url} has no connection left ({message}): lower CASE_SERVER_POOL_SIZE",
    ),
    (asyncpg.ReadOnlySQLTransactionError, f"{READ_ONLY} ({{url}})"),
    (
        asyncpg.InvalidSchemaNameError,
        "{url}: {message}; as an administrator, run: CREATE SCHEMA … AUTHORIZATION {role}",
    ),
    (asyncpg.InsufficientPrivilegeError, "{url}: {message}; {privilege}"),
    (
        asyncpg.LockNotAvailableError,
        "{url} is being migrated or used by another process ({message}): retry later",
    ),
    (asyncpg.PostgresError, "{url} returned the error {message!r} ({kind})"),
)
"""Messages for errors that Postgres reports; the first matching class counts."""


def _explain_postgres_error(error: asyncpg.PostgresError, target: DatabaseUrl) -> str:
    """Return the cause and remedy of an error that the Postgres server at ``target`` reported.

    Returns an empty string if Postgres is still starting up or shutting down.
    """
    if isinstance(error, asyncpg.CannotConnectNowError):
        return ""
    message = str(error).partition("\n")[0]  # without DETAIL and HINT
    if match := re.search(r'unrecognized configuration parameter "([^"]+)"', message):
        similar_name = find_nearest_parameter(match[1])
        remedy = f"; did you mean {similar_name!r}?" if similar_name else ": remove it"
        return f"the parameter {match[1]!r} in CASE_SERVER_DATABASE_URL is unknown{remedy}"
    if match := re.search(r"unsupported startup parameter(?: in (options))?: (\S+)", message):
        return (
            f"the connection pooler at {target.to_redacted_url()} refuses the parameter "
            f"{match[1] or match[2]!r}: remove it from CASE_SERVER_DATABASE_URL, or add it to "
            "ignore_startup_parameters of PgBouncer and set it with ALTER ROLE"
        )
    template = next(template for kind, template in MESSAGES if isinstance(error, kind))
    return template.format(
        message=message,
        url=target.to_redacted_url(),
        role=_format_role(target),
        kind=type(error).__name__,
        escape_hint=_suggest_escapes(target),
        container_hint=VOLUME_HINT if CONTAINER_MARK.exists() else "",
        admission=_suggest_admission(message),
        privilege=_suggest_grant(message, target),
    )


def _explain_connection_error(error: BaseException, target: DatabaseUrl) -> str:
    if is_out_of_file_descriptors(error):
        return f"out of file descriptors: {OUT_OF_FILES_REMEDY}"
    message = str(error) or type(error).__name__
    match error:
        case ssl.SSLError() | ConnectionError():
            text = _explain_broken_connection(error, message)
        case socket.gaierror():
            text = f"the host name is not known ({error.strerror}); correct it"
        case TimeoutError():
            seconds = target.connect_timeout or CONNECT_TIMEOUT_SECONDS
            text = (
                f"no answer within {seconds:g} s; check host and port, or allow more with "
                "connect_timeout=SECONDS"
            )
        case FileNotFoundError() | PermissionError() if error.filename:
            text = f"{error.filename} cannot be read ({error.strerror})"
        case FileNotFoundError():
            text = "no such socket; check that Postgres is running and that the port is right"
        case asyncpg.CannotConnectNowError():
            text = f"{message}; retry later"
        case TargetServerAttributeNotMatched():
            text = f"no host matches target_session_attrs={target.target_session_attrs}"
        case _:
            text = message
    return text


def _explain_broken_connection(error: ssl.SSLError | ConnectionError, message: str) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate cannot be verified ({error.verify_message}): set "
                "sslrootcert=FILE to its authority, and use a host name of the certificate"
            )
        case ssl.SSLError():
            return f"TLS failed ({error.reason or message}): check sslmode, sslcert and sslkey"
        case ConnectionRefusedError():
            return "connection refused; check that Postgres is running at this host and port"
        case _ if "rejected SSL upgrade" in message:
            return (
                "it does not offer TLS, which sslmode requires: turn on ssl there, or write "
                "sslmode=prefer"
            )
        case _:
            return message


def _suggest_escapes(target: DatabaseUrl) -> str:
    if not target.unescaped:
        return ""
    escapes = ", ".join(f"{sign} as {quote(sign, safe='')}" for sign in target.unescaped)
    return f"; in a URL, write {escapes}"


def _suggest_admission(message: str) -> str:
    if "no encryption" in message or "SSL off" in message:
        return "write sslmode=require, or have pg_hba.conf allow connections without TLS"
    if "pg_hba.conf" in message:
        return "have pg_hba.conf of the server allow it"
    if "client certificate" in message:
        return "name a client certificate as sslcert=FILE and sslkey=FILE"
    return "check the user name"


def _suggest_grant(message: str, target: DatabaseUrl) -> str:
    """Return how to grant the role of ``target`` the privilege missing in the error ``message``."""
    role = _format_role(target)
    match = re.search(r"(\w+) (\S+)$", message)
    kind, name = match.groups() if match else ("", "")
    match kind:
        case "schema":
            grant = f"GRANT USAGE, CREATE ON SCHEMA {name} TO {role}"
        case "database":
            privilege = "TEMPORARY" if "temporary" in message else "CONNECT"
            grant = f"GRANT {privilege} ON DATABASE {name} TO {role}"
        case _ if message.startswith("must be owner"):
            return f"run this as the role that owns {name}, or grant that role to {role}"
        case _:
            grant = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    return f"as an administrator, run: {grant}"


def _format_role(target: DatabaseUrl) -> str:
    return f'"{target.user}"' if target.user else "the role"

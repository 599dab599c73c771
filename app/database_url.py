"""Parse Postgres connection URLs as libpq does, with messages that say what to change.

libpq's rules are at https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING.
asyncpg reads most of the parameters from a DSN; this module handles or rejects the others.
"""

from __future__ import annotations

import difflib
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, unquote, urlencode

DEFAULT_PORT = 5432
EXAMPLE = "postgresql://user:password@host:port/name"
SCHEME = re.compile(r"postgres(?:ql)?(?:\+\w+)?://")
MAX_LISTED_PROBLEMS = 5

DRIVER_PARAMETERS = frozenset(
    {
        "gsslib",
        "krbsrvname",
        "passfile",
        "service",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
    }
)
"""Parameters that asyncpg reads from the query of a DSN, as libpq does."""

SOCKET_OPTIONS = {
    "keepalives_idle": ("TCP_KEEPIDLE", "TCP_KEEPALIVE"),
    "keepalives_interval": ("TCP_KEEPINTVL",),
    "keepalives_count": ("TCP_KEEPCNT",),
    "tcp_user_timeout": ("TCP_USER_TIMEOUT",),
}
"""libpq's socket parameters, and the options they set; macOS has another name for one of them."""

ALLOWED_VALUES = {
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer"),
    "keepalives": ("0", "1"),
    "load_balance_hosts": ("disable",),
    "pgbouncer": ("true", "false", "prepared"),
    "sslcompression": ("0",),
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "sslsni": ("1",),
    "target_session_attrs": (
        *("any", "read-write", "read-only"),
        *("primary", "standby", "prefer-standby"),
    ),
}
"""The values of these parameters that are supported."""

INTEGER_PARAMETERS = ("connect_timeout", *SOCKET_OPTIONS)
"""Parameters with a whole number, where 0 or less means the default."""

ADDRESS_PARAMETERS = ("host", "port", "user", "password", "dbname", "database")
"""Parts of the URL that may be given as parameters instead."""

SESSION_PARAMETERS = (
    *("application_name", "fallback_application_name", "options", "client_encoding", "schema"),
)
"""Parameters that this module translates into settings of the session."""

PORT_FILE = "embedded_port_file"
"""A file with the port of the embedded Postgres, which a restart may change."""

KNOWN_PARAMETERS = frozenset(
    {
        *DRIVER_PARAMETERS,
        *ALLOWED_VALUES,
        *INTEGER_PARAMETERS,
        *ADDRESS_PARAMETERS,
        *SESSION_PARAMETERS,
        PORT_FILE,
    }
)

REMEDIES = {
    "connection_limit": "set CASE_SERVER_POOL_SIZE instead",
    "currentSchema": "write schema=NAME",
    "hostaddr": "use the address as the host",
    "pool_size": "set CASE_SERVER_POOL_SIZE instead",
    "pool_timeout": "remove it: requests wait for a connection for a fixed time",
    "prepared_statement_cache_size": "set CASE_SERVER_PREPARED_STATEMENTS instead",
    "socket_timeout": "remove it; tcp_user_timeout=MILLISECONDS ends a dead connection",
    "ssl": "write sslmode=require (or verify-full, with sslrootcert)",
    "sslaccept": "write sslmode=require, or sslmode=verify-full for 'strict'",
    "sslidentity": "write sslcert=FILE and sslkey=FILE",
    "statement_cache_size": "set CASE_SERVER_PREPARED_STATEMENTS instead",
}
"""Remedies for parameters of other clients (Prisma, JDBC, SQLAlchemy)."""

UNSUPPORTED = frozenset(
    {
        *("gssdelegation", "max_protocol_version", "min_protocol_version", "replication"),
        *("require_auth", "requirepeer", "requiressl", "sslcertmode", "sslcrldir"),
        "sslkeylogfile",
    }
)
"""libpq parameters that asyncpg lacks. Ignoring them could weaken the security of a connection."""


@dataclass(frozen=True)
class DatabaseUrl:
    """A parsed Postgres connection URL, with libpq's parameters translated for asyncpg.

    A URL may name several hosts, which are tried in turn. Without a host, libpq's default applies:
    a local socket.
    """

    hosts: tuple[tuple[str, int], ...]
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    parameters: Mapping[str, str] = field(repr=False)
    """The other parameters, as given in the URL."""
    unescaped: str
    """Reserved characters in the password that are not percent-encoded, which libpq accepts."""

    @property
    def connect_timeout(self) -> float | None:
        """Seconds that each host has to accept a connection, or None if unset or 0 in the URL."""
        seconds = int(self.parameters.get("connect_timeout", "0"))
        return float(seconds) if seconds > 0 else None

    @property
    def is_pooled(self) -> bool | None:
        """True if the URL declares a transaction pooler, False if it declares none, else None.

        The URL parameter ``pgbouncer`` is ``true`` or ``prepared`` for a pooler, and ``false`` for
        none.
        """
        value = self.parameters.get("pgbouncer")
        return None if value is None else value != "false"

    @property
    def can_use_prepared_statements(self) -> bool:
        """False if the URL leads to a transaction pooler without prepared statements, else True."""
        return not self.is_pooled or self.parameters["pgbouncer"] == "prepared"

    def with_pooler_parameter(self, value: str = "true") -> str:
        """Return the URL as a string, with the parameter ``pgbouncer`` set to ``value``.

        The parameter declares a transaction pooler: ``prepared`` if it supports prepared
        statements, else ``true``. The string contains the password.
        """
        return self._render(self.database, self.password, {**self.parameters, "pgbouncer": value})

    @property
    def target_session_attrs(self) -> str:
        """The kind of server to connect to, in libpq's terms: ``any``, ``read-write`` and so on."""
        return self.parameters.get("target_session_attrs", "any")

    @property
    def uses_system_roots(self) -> bool:
        """True if the system's root certificates verify the certificate of the server."""
        # channel_binding=require counts, too: asyncpg has no channel binding, and a verified
        # certificate also protects against a man in the middle.
        root_certificate = self.parameters.get("sslrootcert")
        requires_binding = self.parameters.get("channel_binding") == "require"
        return root_certificate == "system" or (requires_binding and not root_certificate)

    @property
    def driver_dsn(self) -> str:
        """The connection URL for asyncpg, with only the parameters that asyncpg parses itself.

        Hosts and password are passed to asyncpg as separate arguments.
        """
        names = DRIVER_PARAMETERS & {*self.parameters}
        parameters = {name: self.parameters[name] for name in names}
        if self.uses_system_roots:
            parameters.pop("sslrootcert", None)
        elif self.parameters.get("channel_binding") == "require":
            parameters["sslmode"] = "verify-full"
        return f"postgresql://?{urlencode(parameters)}" if parameters else "postgresql://"

    @property
    def server_settings(self) -> dict[str, str]:
        """The Postgres settings, such as ``search_path``, to send when a connection starts."""
        parameters = self.parameters
        fallback = parameters.get("fallback_application_name", "case-server")
        own_names = KNOWN_PARAMETERS - {"options"}
        settings = {name: value for name, value in parameters.items() if name not in own_names}
        if "schema" in parameters:
            escaped = parameters["schema"].replace('"', '""')
            settings["search_path"] = f'"{escaped}"'
        return {**settings, "application_name": parameters.get("application_name", fallback)}

    @property
    def socket_options(self) -> list[tuple[int, int, int]]:
        """The keepalive and timeout options of the TCP socket, as arguments of ``setsockopt``.

        An example is ``(SOL_SOCKET, SO_KEEPALIVE, 1)``.
        """
        if self.parameters.get("keepalives") == "0":
            return []
        options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        for name, constants in SOCKET_OPTIONS.items():
            value = int(self.parameters.get(name, "0"))
            available = [getattr(socket, item) for item in constants if hasattr(socket, item)]
            if value > 0 and available:
                options.append((socket.IPPROTO_TCP, available[0], value))
        return options

    def list_addresses(self) -> list[tuple[str, int]]:
        """Return the (host, port) pairs of the database, in connection order.

        The port of an embedded Postgres is read from a file, because a restart may change it.
        """
        try:
            port = int(Path(self.parameters[PORT_FILE]).read_text())
        except (KeyError, OSError, ValueError):
            return [*self.hosts]
        return [(host, port) for host, _ in self.hosts]

    def with_database(self, name: str) -> str:
        """Return the URL of another database on the same server as a string with the password."""
        return self._render(name, self.password, self.parameters)

    def to_redacted_url(self) -> str:
        """Return the URL for messages and logs: only its user, hosts and database name."""
        return self._render(self.database, None, {})

    def _render(self, name: str | None, password: str | None, parameters: Mapping[str, str]) -> str:
        user = quote(self.user, safe="") if self.user else ""
        if password is not None:
            user += f":{quote(password, safe='')}"
        query, hosts = dict(parameters), ""
        if any(host.startswith("/") for host, _ in self.hosts):
            query["host"] = ",".join(host for host, _ in self.hosts)
            ports = [port for _, port in self.hosts]
            if any(port != DEFAULT_PORT for port in ports):
                query["port"] = ",".join(map(str, ports))
        else:
            hosts = ",".join(_format_authority(host, port) for host, port in self.hosts)
        path = f"/{quote(name or '', safe='')}" if name or query else ""
        suffix = f"?{urlencode(query, safe='/,', quote_via=quote)}" if query else ""
        return f"postgresql://{user}{'@' if user else ''}{hosts}{path}{suffix}"


def _format_authority(host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else quote(host, safe="")
    return name if port == DEFAULT_PORT else f"{name}:{port}"


@lru_cache(maxsize=32)
def parse_database_url(url: str) -> DatabaseUrl:
    """Parse a Postgres connection URL into a ``DatabaseUrl``.

    Raises ``ValueError`` if the URL is invalid or has an unsupported parameter. The message never
    contains the password.
    """
    scheme = SCHEME.match(url)
    if not scheme:
        raise ValueError(f"must be a Postgres URL: {EXAMPLE}")
    credentials, rest = _split_credentials(url[scheme.end() :])
    location, _, query = rest.partition("?")
    hosts, _, path = location.partition("/")
    user, colon, password = credentials.partition(":")
    _require_escaped_password(credentials, hosts, path, query)
    parameters = _parse_parameters(query)
    address = {name: parameters.pop(name) for name in ADDRESS_PARAMETERS if name in parameters}
    parsed = DatabaseUrl(
        hosts=_parse_hosts(unquote(hosts) if hosts else address.get("host", ""), address),
        user=address.get("user") or unquote(user) or None,
        password=address.get("password", unquote(password) if colon else None),
        database=address.get("dbname") or address.get("database") or unquote(path) or None,
        parameters=MappingProxyType(parameters),
        unescaped="".join(sorted(set(":#?") & set(password))),
    )
    _require_supported_parameters(parsed)
    return parsed


def _split_credentials(text: str) -> tuple[str, str]:
    """Split a URL without its scheme at the first ``@``, as libpq does.

    ``"user:secret@host/name"`` becomes ``("user:secret", "host/name")``. Without credentials, the
    first string is empty.
    """
    before, at, after = text.partition("@")
    if not at or "/" in before or ("?" in before and ":" not in before):
        return "", text
    return before, after


def _require_escaped_password(credentials: str, hosts: str, path: str, query: str) -> None:
    """Raise ``ValueError`` if the password seems to contain unescaped reserved characters.

    The arguments are the parts of ``credentials@hosts/path?query``. If the password contains ``@``,
    ``/`` or ``?``, the URL was split at that character, and a later part contains the rest of the
    password.
    """
    unescaped = []
    is_query = all("=" in part for part in query.split("&") if part)
    after = [hosts, path, "" if is_query else query]
    if "@" in "".join(after):
        # Without credentials before it, this @ ends them, and an earlier character needs escaping.
        if credentials:
            unescaped.append("@")
        unescaped += [sign for sign, text in (("/", path), ("?", after[2])) if "@" in text]
        if "#" in "".join(after).rpartition("@")[0]:
            unescaped.append("#")
    if re.search(r"%(?![0-9A-Fa-f]{2})", credentials + (hosts + path if unescaped else "")):
        unescaped.append("%")
    if unescaped:
        escapes = ", ".join(f"{sign} as {quote(sign, safe='')}" for sign in unescaped)
        raise ValueError(
            f"its password or user name has characters that must be escaped: write {escapes}"
        )


def _parse_parameters(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = (unquote(text) for text in part.partition("="))
        if name == "host" and name in parameters:
            parameters[name] += f",{value}"  # SQLAlchemy repeats the parameter for each host
        elif name:
            parameters[name] = value
    return {name: value for name, value in parameters.items() if value}


def _parse_hosts(hosts: str, parameters: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """Parse ``host1:port1,host2`` into a tuple of (host, port) pairs.

    ``parameters`` are the URL's parameters. A host without a port gets their ``port``, which may
    list one port per host, or else 5432. Raises ``ValueError`` for an invalid host or port.
    """
    if not hosts:
        return ()
    names = hosts.split(",")
    ports = parameters.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(names)
    if len(ports) != len(names):
        raise ValueError(
            f"it has {len(names)} hosts and {len(ports)} ports; give one port for each host"
        )
    return tuple(_parse_host(name, port) for name, port in zip(names, ports, strict=True))


def _parse_host(text: str, port: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[(?P<v6>[^\]]+)\]|(?P<name>[^:]*))(?::(?P<port>\d*))?", text)
    if text.startswith("/") or (not match and text.count(":") > 1 and "[" not in text):
        host, own_port = text, ""  # a socket directory, or an IPv6 address in the parameter host
    elif match:
        host, own_port = match["v6"] or match["name"], match["port"] or ""
    else:
        # The message does not repeat it, because it may be a part of the password.
        raise ValueError(f"its host or port is not valid; write it as {EXAMPLE}")
    number = own_port or port or str(DEFAULT_PORT)
    if not number.isdecimal() or not 0 < int(number) < 65536:  # noqa: PLR2004  the highest port
        raise ValueError(f"its port must be a number from 1 to 65535; write it as {EXAMPLE}")
    return host or "localhost", int(number)


def _require_supported_parameters(url: DatabaseUrl) -> None:
    """Raise ``ValueError`` with advice if a parameter of the URL is unsupported or invalid."""
    problems = [
        problem
        for name, value in url.parameters.items()
        if (problem := _find_parameter_problem(name, value))
    ]
    mode = url.parameters.get("sslmode", "prefer")
    if url.parameters.get("channel_binding") == "require" and mode in {"disable", "allow"}:
        problems.append("channel_binding=require needs TLS: write sslmode=verify-full")
    if problems:
        omitted_count = len(problems) - MAX_LISTED_PROBLEMS
        suffix = f"; and {omitted_count} more" if omitted_count > 0 else ""
        raise ValueError("; ".join(problems[:MAX_LISTED_PROBLEMS]) + suffix)


def _find_parameter_problem(name: str, value: str) -> str | None:
    """Return an error message if a URL parameter is unsupported, unknown or invalid, else None.

    A name that is similar to no known parameter is accepted, because it may be a Postgres setting.
    """
    allowed_values = ALLOWED_VALUES.get(name)
    problem = None
    if name in UNSUPPORTED:
        problem = f"the parameter {name!r} is not supported; remove it"
    elif name in REMEDIES:
        problem = f"the parameter {name!r} is not supported: {REMEDIES[name]}"
    elif name not in KNOWN_PARAMETERS:
        if similar_name := find_nearest_parameter(name):
            problem = f"the parameter {name!r} is unknown; did you mean {similar_name!r}?"
        elif not re.fullmatch(r"[A-Za-z_][\w.]*", name):
            problem = f"the parameter {name!r} is unknown"
    elif allowed_values and value not in allowed_values:
        problem = f"invalid {name} {value!r}: use {' or '.join(allowed_values)}"
    elif name in INTEGER_PARAMETERS and not re.fullmatch(r"-?\d{1,9}", value):
        problem = f"invalid {name} {value!r}: use a whole number"
    elif name == "client_encoding" and value.lower().replace("-", "") not in {"utf8", "auto"}:
        problem = f"invalid client_encoding {value!r}: use UTF8"
    return problem


def find_nearest_parameter(name: str) -> str:
    """Return the supported URL parameter spelt most like ``name``, or "" if none is close.

    Error messages suggest it: "did you mean 'sslmode'?"
    """
    similar_names = difflib.get_close_matches(name.lower(), KNOWN_PARAMETERS - {PORT_FILE}, 1, 0.75)
    return similar_names[0] if similar_names else ""

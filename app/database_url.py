"""Parse a Postgres connection URL as libpq does, and say what to change where it is wrong.

libpq's rules are at https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING.
asyncpg reads most of its parameters from a DSN; this module names those that it does not know.
"""

from __future__ import annotations

import difflib
import re
import socket
from collections.abc import Callable, Mapping
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
"""What asyncpg reads from the query of a DSN, as libpq does."""

KEEPALIVES = {
    "keepalives_idle": ("TCP_KEEPIDLE", "TCP_KEEPALIVE"),
    "keepalives_interval": ("TCP_KEEPINTVL",),
    "keepalives_count": ("TCP_KEEPCNT",),
    "tcp_user_timeout": ("TCP_USER_TIMEOUT",),
}
"""libpq's parameters of a socket, and the options that they set; macOS has another name for one."""

VALUES = {
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer"),
    "keepalives": ("0", "1"),
    "load_balance_hosts": ("disable",),
    "pgbouncer": ("false",),
    "sslcompression": ("0",),
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "sslsni": ("1",),
    "target_session_attrs": (
        *("any", "read-write", "read-only"),
        *("primary", "standby", "prefer-standby"),
    ),
}
"""The values that these parameters may have here."""

NUMBERS = ("connect_timeout", *KEEPALIVES)
"""Parameters that are whole numbers; 0 or less is the default."""

ADDRESS = ("host", "port", "user", "password", "dbname", "database")
"""Parts of the URL that may be parameters instead."""

OWN = ("application_name", "fallback_application_name", "options", "client_encoding", "schema")
PORT_FILE = "embedded_port_file"
"""The file that has the port of the embedded Postgres, which may change when it is restarted."""

KNOWN = frozenset({*DRIVER_PARAMETERS, *VALUES, *NUMBERS, *ADDRESS, *OWN, PORT_FILE})

REMEDIES = {
    "connection_limit": "set CASE_SERVER_POOL_SIZE instead",
    "currentSchema": "write schema=NAME",
    "hostaddr": "name the address as the host",
    "pgbouncer": "it announces a pooler in transaction mode, behind which case-server does not "
    "work; use the database's direct URL or a pooler in session mode, and remove it",
    "pool_size": "set CASE_SERVER_POOL_SIZE instead",
    "pool_timeout": "remove it: requests wait for a connection for a fixed time",
    "prepared_statement_cache_size": "set CASE_SERVER_PREPARED_STATEMENTS instead",
    "socket_timeout": "remove it; tcp_user_timeout=MILLISECONDS ends a dead connection",
    "ssl": "write sslmode=require (or verify-full, with sslrootcert)",
    "sslaccept": "write sslmode=require, or sslmode=verify-full for 'strict'",
    "sslidentity": "write sslcert=FILE and sslkey=FILE",
    "statement_cache_size": "set CASE_SERVER_PREPARED_STATEMENTS instead",
}
"""What to do about parameters of other clients (Prisma, JDBC, SQLAlchemy), by name."""

UNSUPPORTED = frozenset(
    {
        *("gssdelegation", "max_protocol_version", "min_protocol_version", "replication"),
        *("require_auth", "requirepeer", "requiressl", "sslcertmode", "sslcrldir"),
        "sslkeylogfile",
    }
)
"""Parameters of libpq that asyncpg cannot heed; to ignore them could weaken a connection."""


@dataclass(frozen=True)
class DatabaseUrl:
    """A parsed URL: hosts are tried in turn; no host means libpq's defaults, a local socket."""

    hosts: tuple[tuple[str, int], ...]
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    parameters: Mapping[str, str] = field(repr=False)
    """All other parameters of libpq, as they are in the URL."""
    unescaped: str
    """Reserved characters in the user name and password that libpq accepts as they are."""

    @property
    def connect_timeout(self) -> float | None:
        """Seconds that one host has to accept a connection; None: the default."""
        seconds = int(self.parameters.get("connect_timeout", "0"))
        return float(seconds) if seconds > 0 else None

    @property
    def session_attributes(self) -> str:
        """Which server is wanted: libpq's ``target_session_attrs``."""
        return self.parameters.get("target_session_attrs", "any")

    @property
    def trusts_system_roots(self) -> bool:
        """Whether the certificate of the server is checked by the system's root certificates.

        ``sslrootcert=system`` asks for that. So does ``channel_binding=require`` without a root
        certificate: asyncpg has no channel binding, and a verified certificate is the other
        protection against a man in the middle.
        """
        given = self.parameters.get("sslrootcert")
        binds = self.parameters.get("channel_binding") == "require"
        return given == "system" or (binds and not given)

    @property
    def driver_dsn(self) -> str:
        """A DSN of the parameters that asyncpg reads from one, without host and password."""
        given = {name: self.parameters[name] for name in DRIVER_PARAMETERS & {*self.parameters}}
        if self.trusts_system_roots:
            given.pop("sslrootcert", None)
        elif self.parameters.get("channel_binding") == "require":
            given["sslmode"] = "verify-full"
        return f"postgresql://?{urlencode(given)}" if given else "postgresql://"

    @property
    def server_settings(self) -> dict[str, str]:
        """Postgres' settings that are sent with the first message of a connection."""
        parameters = self.parameters
        fallback = parameters.get("fallback_application_name", "case-server")
        given = {name: value for name, value in parameters.items() if name not in KNOWN}
        if "options" in parameters:
            given["options"] = parameters["options"]
        if "schema" in parameters:
            escaped = parameters["schema"].replace('"', '""')
            given["search_path"] = f'"{escaped}"'
        return {**given, "application_name": parameters.get("application_name", fallback)}

    @property
    def socket_options(self) -> list[tuple[int, int, int]]:
        """Level, option and value of what is set on a TCP socket."""
        if self.parameters.get("keepalives") == "0":
            return []
        options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        for name, spellings in KEEPALIVES.items():
            value = int(self.parameters.get(name, "0"))
            known = [getattr(socket, option) for option in spellings if hasattr(socket, option)]
            if value > 0 and known:
                options.append((socket.IPPROTO_TCP, known[0], value))
        return options

    def addresses(self) -> list[tuple[str, int]]:
        """The hosts and ports to try; the port of the embedded Postgres is read anew."""
        if PORT_FILE not in self.parameters:
            return [*self.hosts]
        try:
            port = int(Path(self.parameters[PORT_FILE]).read_text())
        except (OSError, ValueError):
            return [*self.hosts]
        return [(host, port) for host, _ in self.hosts]

    def with_database(self, name: str) -> str:
        """The URL of another database on the same server."""
        return self._render(name, self.password, self.parameters)

    def without_password(self) -> str:
        """The URL to show to people: no password, no parameters but a socket's folder."""
        return self._render(self.database, None, {})

    def _render(
        self, database: str | None, password: str | None, parameters: Mapping[str, str]
    ) -> str:
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
            hosts = ",".join(_authority(host, port) for host, port in self.hosts)
        path = f"/{quote(database or '', safe='')}" if database or query else ""
        tail = f"?{urlencode(query, safe='/,', quote_via=quote)}" if query else ""
        return f"postgresql://{user}{'@' if user else ''}{hosts}{path}{tail}"


def _authority(host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else quote(host, safe="")
    return name if port == DEFAULT_PORT else f"{name}:{port}"


@lru_cache(maxsize=32)
def parse(url: str) -> DatabaseUrl:
    """Parse a URL. Raises ``ValueError``; its message never has the password."""
    scheme = SCHEME.match(url)
    if not scheme:
        raise ValueError(f"must be a Postgres URL: {EXAMPLE}")
    credentials, rest = _split_credentials(url[scheme.end() :])
    location, _, query = rest.partition("?")
    hosts, _, path = location.partition("/")
    user, separator, password = credentials.partition(":")
    _refuse_unescaped(credentials, hosts, path, query)
    given = _parameters(query)
    address = {name: given.pop(name) for name in ADDRESS if name in given}
    parsed = DatabaseUrl(
        hosts=_hosts(unquote(hosts), address) if hosts else _hosts_of_parameters(address),
        user=address.get("user") or unquote(user) or None,
        password=address.get("password", unquote(password) if separator else None),
        database=address.get("dbname") or address.get("database") or unquote(path) or None,
        parameters=MappingProxyType(given),
        unescaped="".join(sorted({character for character in ":#?" if character in password})),
    )
    _refuse_invalid(parsed)
    return parsed


def _split_credentials(text: str) -> tuple[str, str]:
    """Split the credentials from the rest: as in libpq, the first ``@`` ends them."""
    before, found, after = text.partition("@")
    if not found or "/" in before or ("?" in before and ":" not in before):
        return "", text
    return before, after


def _refuse_unescaped(credentials: str, hosts: str, path: str, query: str) -> None:
    """Raise ``ValueError`` where reserved characters in a password moved the host."""
    wrong = []
    is_query = all("=" in part for part in query.split("&") if part)
    after = [hosts, path, "" if is_query else query]
    if "@" in "".join(after):
        # Without credentials before it, this @ is the one that should have ended them.
        if credentials:
            wrong.append("@")
        wrong += [sign for sign, text in (("/", path), ("?", after[2])) if "@" in text]
        if "#" in "".join(after).rpartition("@")[0]:
            wrong.append("#")
    if re.search(r"%(?![0-9A-Fa-f]{2})", credentials if not wrong else credentials + hosts + path):
        wrong.append("%")
    if wrong:
        escapes = ", ".join(f"{sign} as {quote(sign, safe='')}" for sign in wrong)
        raise ValueError(
            f"the password or user name in it has characters that must be escaped: write {escapes}"
        )


def _parameters(query: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = (unquote(text) for text in part.partition("="))
        if name == "host" and name in given:
            given[name] += f",{value}"  # SQLAlchemy repeats it
        elif name:
            given[name] = value
    return {name: value for name, value in given.items() if value}


def _hosts_of_parameters(address: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    return _hosts(address.get("host", ""), address)


def _hosts(text: str, address: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """Read ``host1:port1,host2``, or hosts whose ports are in the parameter ``port``."""
    if not text:
        return ()
    names = text.split(",")
    ports = address.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(names)
    if len(ports) != len(names):
        raise ValueError(
            f"it has {len(names)} hosts and {len(ports)} ports; name one port for each"
        )
    return tuple(_host(name, port) for name, port in zip(names, ports, strict=True))


def _host(text: str, port: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[(?P<v6>[^\]]+)\]|(?P<name>[^:]*))(?::(?P<port>\d*))?", text)
    if text.startswith("/") or (not found and text.count(":") > 1 and "[" not in text):
        host, own = text, ""  # a socket's folder, or an IPv6 address in the parameter host
    elif found:
        host, own = found["v6"] or found["name"], found["port"] or ""
    else:
        # Not repeated in the message, because it may be a part of the password.
        raise ValueError(f"its host or port is not valid; write it as {EXAMPLE}")
    chosen = own or port or str(DEFAULT_PORT)
    if not chosen.isdecimal() or not 0 < int(chosen) < 65536:  # noqa: PLR2004  the highest port
        raise ValueError(f"its port must be a number from 1 to 65535; write it as {EXAMPLE}")
    return host or "localhost", int(chosen)


def _refuse_invalid(url: DatabaseUrl) -> None:
    """Raise ``ValueError`` that names all parameters that cannot be used, and what to do."""
    checks: list[Callable[[str, str], str]] = [_foreign, _unknown, _not_allowed]
    problems = [
        next(filter(None, (check(name, value) for check in checks)), "")
        for name, value in url.parameters.items()
    ]
    mode = url.parameters.get("sslmode", "prefer")
    if url.parameters.get("channel_binding") == "require" and mode in {"disable", "allow"}:
        problems.append("channel_binding=require needs TLS: write sslmode=verify-full")
    found = [problem for problem in problems if problem]
    if found:
        others = len(found) - MAX_LISTED_PROBLEMS
        more = f"; and {others} more" if others > 0 else ""
        raise ValueError("; ".join(found[:MAX_LISTED_PROBLEMS]) + more)


def _foreign(name: str, value: str) -> str:
    """Say what to do about a parameter of another client, or one that is not supported."""
    if name in UNSUPPORTED:
        return f"the parameter {name!r} is not supported; remove it"
    if name in REMEDIES and value not in VALUES.get(name, ()):
        return f"the parameter {name!r} is not supported: {REMEDIES[name]}"
    return ""


def _unknown(name: str, _: str) -> str:
    """Name the nearest parameter. What is like none may be a setting of the server."""
    if name in KNOWN:
        return ""
    near = nearest_parameter(name)
    if near:
        return f"the parameter {name!r} is unknown; did you mean {near!r}?"
    if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
        return f"the parameter {name!r} is unknown"
    return ""


def nearest_parameter(name: str) -> str:
    """Return the parameter whose name is nearest, or an empty string."""
    near = difflib.get_close_matches(name.lower(), KNOWN - {PORT_FILE}, 1, 0.75)
    return near[0] if near else ""


def _not_allowed(name: str, value: str) -> str:
    if name in VALUES and value not in VALUES[name]:
        return f"invalid {name} {value!r}: use {' or '.join(VALUES[name])}"
    if name in NUMBERS and not re.fullmatch(r"-?\d{1,9}", value):
        return f"invalid {name} {value!r}: use a whole number"
    if name == "client_encoding" and value.lower().replace("-", "") not in {"utf8", "auto"}:
        return f"invalid client_encoding {value!r}: use UTF8"
    return ""

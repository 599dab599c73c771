"""Settings of the server, read from environment variables and overridden by flags."""

from __future__ import annotations

import ast
import inspect
import ipaddress
import re
import sys
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .database_url import parse_database_url
from .exceptions import CommandError

ScopeName = Literal["readonly", "createput", "delete"]
"""A CASE scope as flags and settings name it: the last part of its URL."""
SCOPE_NAMES: tuple[ScopeName, ...] = get_args(ScopeName)
CASE_SCOPE = re.compile(r"https://purl\.imsglobal\.org/spec/case/v1p[01]/scope/case\.\w+")

DEFAULT_CLIENT_ID = "local-client"
DEFAULT_CLIENT_SECRET = "local-secret"  # noqa: S105  the documented default, refused off loopback


def is_loopback(host: str) -> bool:
    """Return whether a host is ``localhost`` or a loopback IP address, without resolving names."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_https_or_loopback(url: str) -> bool:
    """Return whether a URL uses HTTPS, or plain HTTP on loopback.

    Over any other connection, an attacker on the network could read or change what is sent.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    host = parts.hostname or ""
    is_local = parts.scheme == "http" and is_loopback(host)
    return host != "" and (parts.scheme == "https" or is_local)


def require_secure_issuers(urls: Iterable[str]) -> None:
    """Raise ``CommandError`` unless each token issuer's URL is HTTPS, or plain HTTP on loopback.

    The server verifies tokens with keys that it fetches from these URLs.
    """
    for url in urls:
        if not is_https_or_loopback(url):
            raise CommandError(
                f"the trusted issuer {url!r} must be an https URL (http for loopback hosts only): "
                "its keys decide which tokens are accepted"
            )


PREFIX = "CASE_SERVER_"


def get_environment_variable(setting: str) -> str:
    """Return the name of a setting's environment variable: CASE_SERVER_PORT for ``port``."""
    alias = Settings.model_fields[setting].validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{setting.upper()}"


@cache
def read_setting_descriptions() -> dict[str, str]:
    """Return the description of each setting by name: the docstring below its field.

    pydantic's ``use_attribute_docstrings`` would read them in every command, which takes 20 ms.
    """
    module = ast.parse(inspect.getsource(sys.modules[__name__]))
    (settings,) = (node for node in module.body if isinstance(node, ast.ClassDef))
    return {
        ast.unparse(field.target): " ".join(ast.literal_eval(text.value).split())
        for field, text in pairwise(settings.body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def _is_base_url(url: str) -> bool:
    """Return whether a URL is http or https, with a host and without login, query or fragment."""
    if not url.isprintable() or set(url) & {*" ?#@"}:
        return False
    try:
        parts = urlsplit(url)
        has_valid_port = parts.port != 0
    except ValueError:  # such as a port that is not a number
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and has_valid_port


def normalize_host_name(host: str) -> str:
    """Return a host name or IP address in lower case, without port, brackets or trailing dot."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return re.sub(r":\d+$", "", host).removesuffix(".").lower()


KUBERNETES_VARIABLES = re.compile(rf"{PREFIX}(?:SERVICE_(?:HOST|PORT)|PORT_\d+_).*")
"""Variables that Kubernetes sets in each container if there is a service named case-server."""

PROCESS_VARIABLES = frozenset({"CASE_SERVER_PARENT", "CASE_SERVER_URL"})
"""Variables that are not settings: one for workers, one for the pytest plugin."""


def list_setting_variables() -> list[str]:
    """Return the names of the environment variables of all settings."""
    return [get_environment_variable(name) for name in Settings.model_fields]


def is_unknown_variable(name: str) -> bool:
    """Return whether a variable begins with ``CASE_SERVER_`` but is unknown, perhaps misspelt."""
    variable = name.upper()
    return (
        variable.startswith(PREFIX)
        and variable not in PROCESS_VARIABLES
        and variable not in list_setting_variables()
        and not KUBERNETES_VARIABLES.fullmatch(variable)
    )


class Settings(BaseSettings):
    """The settings of a server, each read from an environment variable."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # the input may be a password
    )

    database_url: str = ""
    """Postgres URL, postgresql://user:password@host:port/name with the parameters of libpq
    (sslmode, connect_timeout, target_session_attrs, several hosts). Empty: an embedded Postgres in
    the data directory."""
    migration_url: str = ""
    """Postgres URL that case-server migrate uses, if the database URL leads to a connection pooler.
    Empty: the database URL."""
    data_dir: Path = Field(default_factory=lambda: user_data_path("case-server", appauthor=False))
    """Directory of the embedded Postgres. Default: the user's data folder, on Linux
    ~/.local/share/case-server."""
    embedded_fsync: bool = True
    """Flush each transaction of the embedded Postgres to disk. false makes writes faster; after a
    power failure all data may be lost."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port to listen on; 0 selects a free port."""
    public_url: str = ""
    """Base URL under which clients reach the server: the issuer of its tokens and the base of the
    URIs in its responses. Empty: http://HOST:PORT."""
    primary_url: str = ""
    """Base URL of a server that accepts writes, which a server on a standby names when it refuses
    one. Empty: none."""
    log_format: Literal["text", "json"] = "text"
    """Format of log lines: text or json."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins, separated by commas, whose web pages may call the API from a browser (CORS); *
    allows all. Empty: none."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Host names, separated by commas, that requests may be sent to in addition to localhost and
    that of the public URL. *.example.org matches all names below example.org, * all names. Empty:
    all names, but none if the server listens on a loopback address with the default secret."""
    allow_private_urls: bool = False
    """Allow requests to private addresses that others name: in a jwks_uri, a redirect or a DNS
    record."""
    access_log: bool = True
    """Write a log line for each request."""
    shutdown_timeout: int = Field(default=30, ge=1, le=3600)
    """Seconds that running requests may take to complete when the server stops."""
    web: bool = True
    """Serve the web UI."""
    workers: int = Field(default=1, ge=1, le=64)
    """Number of server processes."""
    pool_size: int = Field(default=8, ge=1, le=100)
    """Number of database connections per worker."""
    read_timeout: float = Field(default=10, gt=0, le=3600)
    """Seconds that a read statement may take; for packages, each batch. After that it is cancelled
    and the response is 503."""
    synchronous_commit: Literal["", "off", "local", "remote_write", "on", "remote_apply"] = ""
    """Postgres' synchronous_commit of all writes. remote_apply: a write is acknowledged once the
    synchronous standbys show it. Empty: as Postgres is configured."""
    prepared_statements: bool = True
    """Use prepared statements. Set to false behind a pooler that does not support them with session
    pooling. With transaction pooling, they are used only if the pooler supports them."""
    max_connections: int = Field(default=1000, ge=10, le=100_000)
    """Number of open HTTP connections per worker. At most three quarters of them may wait for a
    complete request; beyond that, the oldest is closed."""
    max_body_mb: int = Field(default=100, ge=1, le=2000)
    """Maximum size of a request body, in megabytes."""
    request_timeout: int = Field(default=20, ge=1)
    """Seconds until the header section of a request must have arrived, and again until its body
    must have arrived, plus one second for each 10 kB of body."""
    client_id: str = Field(default=DEFAULT_CLIENT_ID, validation_alias="CASE_CLIENT_ID")
    """ID of the client that is configured here."""
    client_secret: SecretStr = Field(
        default=SecretStr(DEFAULT_CLIENT_SECRET), validation_alias="CASE_CLIENT_SECRET"
    )
    """Secret of the client that is configured here."""
    allow_default_secret: bool = False
    """Allow the default client secret on an address that is not loopback."""
    cache_mb: int = Field(default=64, ge=0)
    """Size of each worker's cache of compressed packages, in megabytes."""
    local_issuer: bool = True
    """Issue access tokens, and accept them."""
    token_lifetime: int = Field(default=3600, ge=1, le=86400)
    """Lifetime of the tokens that this server issues, in seconds."""
    audience: str = ""
    """Audience (aud) that access tokens must contain, including those that this server issues.
    Empty: any."""
    trusted_issuers: Annotated[tuple[str, ...], NoDecode] = ()
    """URLs of further issuers (Cognito, Keycloak), separated by commas, whose access tokens are
    accepted."""
    scope_map: Annotated[dict[str, tuple[ScopeName, ...]], NoDecode] = {}
    """Aliases of the CASE scopes in the scope, scp and roles claims of tokens, as ALIAS=SCOPE
    separated by commas; the scopes are readonly, createput and delete, and several are joined by +
    (editor=readonly+createput)."""
    max_token_chars: int = Field(default=8192, ge=2048, le=60_000)
    """Maximum length of an access token, in characters."""
    public_read: Literal["", "standard"] = ""
    """standard: the standard profiles can be read without a token, also by scripts of any web page.
    Empty: every request needs a token."""
    public_read_per_minute: int = Field(default=120, ge=1)
    """Number of requests per minute that each address may send to each worker without a token."""
    test_mode: bool = False
    """Enable the test API under /_test/ to reset and seed data, inject faults and verify requests.
    The server then works on temporary copies of the database."""
    test_api_token: SecretStr = SecretStr("")
    """Bearer token that /_test/ requires. May be empty only if the server listens on a loopback
    address."""

    @field_validator("cors_origins")
    @classmethod
    def _validate_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not re.fullmatch(r"https?://[\w.:\[\]-]+", origin):
                advice = "use https://host, https://host:port or *"
                raise ValueError(f"invalid origin {origin!r}: {advice}")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _validate_host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not re.fullmatch(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*\.?(:\d+)?|\[?[\da-fA-F:]+\]?", host):
                advice = "use case.example.org, *.example.org or *"
                raise ValueError(f"invalid host name {host!r}: {advice}")
        return tuple(normalize_host_name(host) for host in value)

    @field_validator("trusted_issuers", "cors_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value

    @field_validator("scope_map", mode="before")
    @classmethod
    def _parse_scope_map(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        scope_map: dict[str, list[str]] = {}
        for entry in filter(None, map(str.strip, value.split(","))):
            # The last "=", because an alias may be a URL that contains one.
            alias, separator, names = (part.strip() for part in entry.rpartition("="))
            scopes = [name.strip() for name in names.split("+")]
            if not separator or not alias or not set(scopes) <= set(SCOPE_NAMES):
                raise ValueError(
                    f"invalid entry {entry!r}: use ALIAS=SCOPE, for example "
                    "case-api/case.readonly=readonly or editor=readonly+createput; "
                    f"the scopes are {', '.join(SCOPE_NAMES)}"
                )
            if alias in scope_map:
                raise ValueError(f"duplicate alias {alias!r}: join its scopes with +")
            if CASE_SCOPE.fullmatch(alias):
                raise ValueError(f"invalid alias {alias!r}: it is a CASE scope itself")
            scope_map[alias] = scopes
        return scope_map

    @field_validator("database_url", "migration_url")
    @classmethod
    def _validate_database_urls(cls, value: str) -> str:
        if value := value.strip():
            parse_database_url(value)
        return value

    @model_validator(mode="after")
    def _require_issuer(self) -> Settings:
        if not self.local_issuer and not self.trusted_issuers:
            raise ValueError(
                "no token would be accepted: CASE_SERVER_TRUSTED_ISSUERS must name an issuer if "
                "CASE_SERVER_LOCAL_ISSUER is false"
            )
        return self

    @field_validator("public_url", "primary_url")
    @classmethod
    def _validate_base_urls(cls, value: str) -> str:
        value = value.strip().rstrip("/")
        if value and not _is_base_url(value):
            advice = "use https://host, https://host:port or https://host/path"
            raise ValueError(f"invalid base URL {value!r}: {advice}")
        return value

    @property
    def database_display_name(self) -> str:
        """The name of the database in messages: its URL without password, or its directory."""
        if self.database_url:
            return parse_database_url(self.database_url).to_redacted_url()
        return f"the embedded Postgres in {self.data_dir}"

    @property
    def base_url(self) -> str:
        """The base URL of this server: the configured ``public_url``, or else ``local_url``."""
        return self.public_url or self.local_url

    @property
    def local_url(self) -> str:
        """The base URL of this server for programs on its own machine or in its container."""
        host = "localhost" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104  compared
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def require_safe_test_mode(self) -> None:
        """Raise ``CommandError`` if test mode has several workers or is open to the network.

        Test mode runs in one process. On a host that is not loopback, the test API must require a
        token. Does nothing if test mode is off.
        """
        if not self.test_mode:
            return
        problems = []
        if self.workers > 1:
            problems.append(
                f"it runs in one process, not in {self.workers}: remove --workers and "
                "CASE_SERVER_WORKERS"
            )
        if not is_loopback(self.host) and not self.test_api_token.get_secret_value():
            problems.append(
                f"every client that reaches {self.host} could reset it: set "
                "CASE_SERVER_TEST_API_TOKEN, which /_test/ then requires"
            )
        if problems:
            raise CommandError(f"cannot start in test mode: {'; '.join(problems)}")

    def require_non_default_secret(self) -> None:
        """Raise ``CommandError`` if other machines could use the default client secret."""
        is_default = self.client_secret.get_secret_value() == DEFAULT_CLIENT_SECRET
        if is_default and not is_loopback(self.host) and not self.allow_default_secret:
            raise CommandError(
                f"refusing to listen on {self.host} with the default client secret: "
                "set CASE_CLIENT_SECRET, or CASE_SERVER_ALLOW_DEFAULT_SECRET=true "
                "if only this machine can reach that address"
            )

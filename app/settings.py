"""Every environment variable the server reads, once, typed."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, get_args

from platformdirs import user_data_path
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .database_url import parse
from .exceptions import StartupError

ScopeName = Literal["readonly", "createput", "delete"]
"""The last word of a CASE scope, as flags and settings write it."""
SCOPE_NAMES: tuple[ScopeName, ...] = get_args(ScopeName)
CASE_SCOPE = re.compile(r"https://purl\.imsglobal\.org/spec/case/v1p[01]/scope/case\.\w+")

DEFAULT_CLIENT_ID = "local-client"
DEFAULT_CLIENT_SECRET = "local-secret"  # noqa: S105  the documented default, refused off loopback


def is_loopback(host: str) -> bool:
    """Whether a server listening on ``host`` can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


PREFIX = "CASE_SERVER_"


def variable_name(name: str) -> str:
    """Return the environment variable that a setting is read from."""
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{name.upper()}"


def _host_name(host: str) -> str:
    """Return a host name or address as it is compared: without a port, in lower case."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return re.sub(r":\d+$", "", host).removesuffix(".").lower()


KUBERNETES_VARIABLES = re.compile(rf"{PREFIX}(?:SERVICE_(?:HOST|PORT)|PORT_\d+_).*")
"""What Kubernetes sets in every container for a service of the name case-server."""

PROCESS_VARIABLES = frozenset({"CASE_SERVER_PARENT", "CASE_SERVER_URL"})
"""Variables that are no settings: of the workers of a server, and of the pytest plugin."""


def variable_names() -> list[str]:
    """Return the environment variables of all settings."""
    return [variable_name(name) for name in Settings.model_fields]


def is_known_variable(name: str) -> bool:
    """Whether an environment variable is read by something here, or does not look like it."""
    variable = name.upper()
    return (
        not variable.startswith(PREFIX)
        or variable in PROCESS_VARIABLES
        or variable in variable_names()
        or KUBERNETES_VARIABLES.fullmatch(variable) is not None
    )


class Settings(BaseSettings):
    """The settings of one server. Flags of ``case-server`` override the environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # it may be a password
    )

    database_url: str = Field(
        default="",
        description="Postgres to use, as postgresql://user:password@host:port/name. "
        "Parameters are libpq's (sslmode, connect_timeout, target_session_attrs, several hosts). "
        "Empty: a private embedded Postgres in the data directory.",
    )
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("case-server", appauthor=False),
        description="Where the embedded Postgres keeps its data.",
    )
    embedded_fsync: bool = Field(
        default=True,
        description="Whether the embedded Postgres waits for the disk. Set to false where the "
        "data is thrown away: writes are faster, and a power cut may cost all of it.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one."
    )
    public_url: str = Field(
        default="",
        description="Where clients reach this server: the issuer of its tokens and the base of "
        "the links it mints. Empty: http://HOST:PORT.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="How log lines are written: text or json."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins of web pages that may call this server from a browser, separated by "
        "commas; * allows all. Empty: none.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Host names that requests may be sent to, separated by commas, beside "
        "localhost and the public URL's; *.example.org stands for all names below example.org, * "
        "for all names. Empty: all, but with the default secret on a loopback address none.",
    )
    allow_private_urls: bool = Field(
        default=False,
        description="Fetch also from private addresses that others name: a jwks_uri, a redirect, "
        "the name service.",
    )
    access_log: bool = Field(default=True, description="Log every request.")
    shutdown_timeout: int = Field(
        default=30,
        ge=1,
        le=3600,
        description="Seconds that requests in flight have to end when the server is stopped.",
    )
    web: bool = Field(default=True, description="Serve pages for people beside the API.")
    workers: int = Field(default=1, ge=1, le=64, description="Server processes.")
    pool_size: int = Field(
        default=8, ge=1, le=100, description="Database connections of each worker."
    )
    read_timeout: float = Field(
        default=10,
        gt=0,
        le=3600,
        description="Seconds that a statement which reads may take; it is then cancelled and "
        "answered with 503. For packages, of each batch.",
    )
    prepared_statements: bool = Field(
        default=True,
        description="Set to false where a connection pooler cannot keep prepared statements. "
        "PgBouncer: session pooling only, because requests deadlock with transaction pooling.",
    )
    max_connections: int = Field(
        default=1000,
        ge=10,
        le=100_000,
        description="Open HTTP connections of each worker. Three quarters of them may wait for a "
        "complete request; when one more waits, the oldest of them is closed.",
    )
    max_body_mb: int = Field(
        default=100, ge=1, le=2000, description="Largest request body, in megabytes."
    )
    request_timeout: int = Field(
        default=20,
        ge=1,
        description="Seconds a request may take to arrive: its head, and then its body, which has "
        "one more for each 10 kB.",
    )
    client_id: str = Field(
        default=DEFAULT_CLIENT_ID,
        validation_alias="CASE_CLIENT_ID",
        description="Id of the first client.",
    )
    client_secret: SecretStr = Field(
        default=SecretStr(DEFAULT_CLIENT_SECRET),
        validation_alias="CASE_CLIENT_SECRET",
        description="Secret of the first client.",
    )
    allow_default_secret: bool = Field(
        default=False,
        description="Listen beyond loopback although the secret is the documented default.",
    )
    cache_mb: int = Field(
        default=64, ge=0, description="Memory each worker keeps compressed packages in."
    )
    local_issuer: bool = Field(
        default=True, description="Whether this server issues and accepts its own tokens."
    )
    token_lifetime: int = Field(
        default=3600, ge=1, le=86400, description="Seconds a token of the local issuer lives."
    )
    audience: str = Field(
        default="",
        description="The audience (aud) that accepted tokens must name, and that this server's "
        "own tokens carry. Empty: any.",
    )
    trusted_issuers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Issuers (Cognito, Keycloak) whose tokens are accepted too, "
        "separated by commas.",
    )
    scope_map: Annotated[dict[str, tuple[ScopeName, ...]], NoDecode] = Field(
        default={},
        description="Other spellings of the three scopes in the scope, scp and roles claims of "
        "tokens: SPELLING=readonly, several scopes joined by + (createput+delete), several "
        "spellings separated by commas.",
    )
    max_token_chars: int = Field(
        default=8192,
        ge=2048,
        le=60_000,
        description="Longest access token that is read, in characters.",
    )
    public_read: Literal["", "standard"] = Field(
        default="",
        description="standard: the standard profiles can be read without a token, by scripts of "
        "all web pages too. Empty: every request needs one.",
    )
    public_read_per_minute: int = Field(
        default=120,
        ge=1,
        description="Requests without a token that each address may send a minute, for each "
        "worker.",
    )
    test_mode: bool = Field(
        default=False,
        description="Enable the test API under /_test/, which resets and seeds data, injects "
        "faults and verifies requests; works on temporary copies of the database.",
    )
    test_api_token: SecretStr = Field(
        default=SecretStr(""),
        description="Bearer token that /_test/ requires. May be empty only if the server listens "
        "on a loopback address.",
    )

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not re.fullmatch(r"https?://[\w.:\[\]-]+", origin):
                raise ValueError(f"{origin!r} is no origin: https://host, https://host:port or *")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not re.fullmatch(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*\.?(:\d+)?|\[?[\da-fA-F:]+\]?", host):
                raise ValueError(f"{host!r} is no host name: case.example.org, *.example.org or *")
        return tuple(_host_name(host) for host in value)

    @field_validator("trusted_issuers", "cors_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
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
            # The last "=", because URLs as spellings may contain one.
            spelling, separator, names = (part.strip() for part in entry.rpartition("="))
            scopes = [name.strip() for name in names.split("+")]
            if not separator or not spelling or not set(scopes) <= set(SCOPE_NAMES):
                raise ValueError(
                    f"invalid entry {entry!r}: write SPELLING=SCOPE, for example "
                    "case-api/case.readonly=readonly or editor=readonly+createput; "
                    f"the scopes are {', '.join(SCOPE_NAMES)}"
                )
            if spelling in scope_map:
                raise ValueError(f"{spelling!r} is mapped twice: join its scopes with +")
            if CASE_SCOPE.fullmatch(spelling):
                raise ValueError(f"{spelling!r} is a CASE scope already and cannot be mapped")
            scope_map[spelling] = scopes
        return scope_map

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: str) -> str:
        if value := value.strip():
            parse(value)
        return value

    @model_validator(mode="after")
    def _somebody_may_come_in(self) -> Settings:
        if not self.local_issuer and not self.trusted_issuers:
            raise ValueError(
                "without CASE_SERVER_LOCAL_ISSUER, CASE_SERVER_TRUSTED_ISSUERS must name an issuer"
            )
        return self

    @field_validator("public_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @property
    def database_name(self) -> str:
        """The database as people are told of it: never with the password."""
        if self.database_url:
            return parse(self.database_url).without_password()
        return f"the embedded Postgres in {self.data_dir}"

    @property
    def base_url(self) -> str:
        """``public_url``, or where the address and port say this server is."""
        if self.public_url:
            return self.public_url
        host = "localhost" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104  compared
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def require_safe_test_mode(self) -> None:
        """Raise ``StartupError`` if test mode cannot run or would be open to the network."""
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
            raise StartupError(f"cannot start in test mode: {'; '.join(problems)}")

    def require_safe_secret(self) -> None:
        """Raise ``StartupError`` when a documented secret would be open to a network."""
        is_default = self.client_secret.get_secret_value() == DEFAULT_CLIENT_SECRET
        if is_default and not is_loopback(self.host) and not self.allow_default_secret:
            raise StartupError(
                f"refusing to listen on {self.host} with the default client secret: "
                "set CASE_CLIENT_SECRET, or CASE_SERVER_ALLOW_DEFAULT_SECRET=true "
                "if nothing but this machine can reach that address"
            )

"""Postgres URLs are parsed as libpq does; error messages never contain the password."""

import re
from pathlib import Path

import pytest
from support.live_server import run_command_in_process

from case_server.database_url import parse_database_url

SECRET = "Hunter2"


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u@h/db", [("h", 5432)]),
        ("postgres://u@h:5433/db", [("h", 5433)]),
        ("postgresql+asyncpg://u@h/db", [("h", 5432)]),
        ("postgresql://u@h1:1,h2:2/db", [("h1", 1), ("h2", 2)]),
        ("postgresql://u@h1,h2:2/db", [("h1", 5432), ("h2", 2)]),
        ("postgresql:///db?host=a,b&port=1,2", [("a", 1), ("b", 2)]),
        ("postgresql:///db?host=a,b&port=6", [("a", 6), ("b", 6)]),
        ("postgresql:///db?host=a:1&host=b:2", [("a", 1), ("b", 2)]),
        ("postgresql:///db?host=/var/run/postgresql", [("/var/run/postgresql", 5432)]),
        ("postgresql://u@%2Fvar%2Frun/db?port=6", [("/var/run", 6)]),
        ("postgresql://u@[::1]:6/db", [("::1", 6)]),
        ("postgresql:///db?host=::1", [("::1", 5432)]),
        ("postgresql:///db", []),
    ],
)
def test_hosts_and_ports_are_parsed_in_every_form(url: str, hosts: list[tuple[str, int]]) -> None:
    parsed = parse_database_url(url)
    assert parsed.list_addresses() == hosts
    assert parsed.database == "db"
    moved = parse_database_url(parsed.with_database("a/b c"))
    assert (moved.list_addresses(), moved.database, moved.user) == (hosts, "a/b c", parsed.user)


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://u:p%40s%2Fs%23%25%3A@h/db", "p@s/s#%:"),
        ("postgresql://h/db?user=u&password=p@s/s#", "p@s/s#"),
        # As in libpq, these need no escape.
        ("postgresql://u:p:s@h/db", "p:s"),
        ("postgresql://u:p#s@h/db", "p#s"),
        ("postgresql://u:p?s@h/db", "p?s"),
    ],
)
def test_password_is_parsed_as_libpq_does_and_never_shown(url: str, password: str) -> None:
    parsed = parse_database_url(url)
    assert (parsed.user, parsed.password, parsed.hosts) == ("u", password, (("h", 5432),))
    assert parsed.to_redacted_url() == "postgresql://u@h/db"
    assert password not in repr(parsed)
    assert parse_database_url(parsed.with_database("db")).password == password


@pytest.mark.parametrize(
    ("password", "escapes"),
    [
        ("a@b", "@ as %40"),
        ("a/b", "/ as %2F"),
        ("1/b", "/ as %2F"),
        ("a@b?c", "@ as %40, ? as %3F"),
        ("a%b", "% as %25"),
        ("a@b/c#d%", "@ as %40, / as %2F, # as %23, % as %25"),
        ("a/b#c", "/ as %2F, # as %23"),
    ],
)
def test_error_for_an_unescaped_password_names_the_escapes(password: str, escapes: str) -> None:
    with pytest.raises(ValueError, match="must be escaped") as raised:
        parse_database_url(f"postgresql://u:{password}{SECRET}@h/db")
    assert str(raised.value).endswith(f"write {escapes}")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u@h/db", "must be a Postgres URL"),
        (f"postgresql://u:{SECRET}/db", "its host or port is not valid"),
        ("postgresql://u@h:0/db", "from 1 to 65535"),
        ("postgresql://u@h:99999/db", "from 1 to 65535"),
        ("postgresql:///db?host=a,b&port=1,2,3", "2 hosts and 3 ports"),
        ("postgresql://h/db?sslmod=require", "did you mean 'sslmode'"),
        ("postgresql://h/db?aplication_name=x", "did you mean 'application_name'"),
        ("postgresql://h/db?connectTimeout=3", "did you mean 'connect_timeout'"),
        ("postgresql://h/db?sslmode=on", "invalid sslmode 'on': use disable or allow"),
        ("postgresql://h/db?connect_timeout=soon", "invalid connect_timeout 'soon'"),
        ("postgresql://h/db?target_session_attrs=rw", "use any or read-write"),
        ("postgresql://h/db?client_encoding=latin1", "use UTF8"),
        ("postgresql://h/db?sslmode=disable&channel_binding=require", "needs TLS"),
        (
            "postgresql://h/db?pgbouncer=yes",
            "invalid pgbouncer 'yes': use true or false or prepared",
        ),
        ("postgresql://h/db?connection_limit=5", "set CASE_SERVER_POOL_SIZE"),
        ("postgresql://h/db?ssl=true", "write sslmode=require"),
        ("postgresql://h/db?currentSchema=x", "write schema=NAME"),
        ("postgresql://h/db?require_auth=md5", "not supported"),
        ("postgresql://h/db?pgbouncer=yes&sslmode=on", "; invalid sslmode"),
    ],
)
def test_error_for_an_invalid_url_says_what_to_write(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        parse_database_url(url)
    assert SECRET not in str(raised.value)


def test_settings_report_an_invalid_url_in_one_line(tmp_path: Path) -> None:
    url = f"postgresql://u:{SECRET}@2@h/db"
    process = run_command_in_process("migrate", data_dir=tmp_path, CASE_SERVER_DATABASE_URL=url)
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert "CASE_SERVER_DATABASE_URL: its password or user name" in process.stderr
    assert SECRET not in process.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@h1:1,h2:2/db?target_session_attrs=read-write",
        "postgresql://u@/db?host=h1:1&host=h2:2&target_session_attrs=read-write",
        "postgresql://u@/db?host=h1,h2&port=1,2&target_session_attrs=read-write",
    ],
)
def test_all_hosts_of_a_url_are_tried(url: str) -> None:
    parsed = parse_database_url(url)
    assert parsed.hosts == (("h1", 1), ("h2", 2))
    assert parse_database_url(parsed.with_pooler_parameter()).hosts == parsed.hosts
    assert parse_database_url(parsed.with_database("other")).target_session_attrs == "read-write"

"""Downloads of packages: tokens, client credentials, limits, retries and error messages."""

import gzip
import json
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from support.databases import NewDataDir
from support.lintable_package import build_clean_package
from support.live_server import LiveServer, run_live_server
from support.live_server import run_command_in_process as run
from support.scripted_source import ScriptedResponse, ScriptedSource, run_scripted_source

from case_server.exceptions import CommandError
from case_server.net import download
from case_server.net.download import Fetcher
from case_server.net.oauth import ClientCredentials
from case_server.transfer.sources import iter_sources

SECRET = "local-secret"
ServeFile = Callable[[str, bytes], str]


@pytest.fixture(scope="module")
def live(new_data_dir: NewDataDir) -> Iterator[LiveServer]:
    with run_live_server(new_data_dir()) as running:
        yield running


@pytest.fixture
def url(live: LiveServer) -> str:
    body = build_clean_package()
    with live.client() as client:
        assert client.post("/case/1.1/CFPackages", json=body).status_code == 201
    return f"{live.base_url}/1edtech/ims/case/v1p1/CFPackages/{body['CFDocument']['identifier']}"


@pytest.fixture
def flags(live: LiveServer) -> tuple[str, ...]:
    token_url = f"{live.base_url}/oauth2/token"
    return ("--token-url", token_url, "--client-id", "local-client", "--client-secret", SECRET)


@pytest.fixture
def files(scripted: ScriptedSource) -> ServeFile:
    """Return a function that serves a file with a web server, and returns its URL."""

    def put(name: str, body: bytes) -> str:
        scripted.responses[f"/{name}"] = ScriptedResponse(body)
        return f"{scripted.url}/{name}"

    return put


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedSource]:
    monkeypatch.setattr(download, "FIRST_RETRY_SECONDS", 0.001)
    with run_scripted_source() as source:
        yield source


@pytest.mark.parametrize("command", [("check",), ("import", "--dry-run")])
def test_client_credentials_authenticate_downloads(
    url: str, flags: tuple[str, ...], tmp_path: Path, command: tuple[str, ...]
) -> None:
    result = run(*command, url, url, *flags, data_dir=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert sum(line.startswith(url) for line in result.stdout.splitlines()) == 2


def test_credentials_from_environment(url: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    client = {"CASE_SOURCE_CLIENT_ID": "local-client", "CASE_SOURCE_CLIENT_SECRET": SECRET}
    result = run("check", url, *flags[:2], data_dir=tmp_path, **client)
    assert (result.returncode, result.stderr) == (0, "")
    # Without a token URL, the credentials belong to another server and are not sent.
    assert run("check", url, data_dir=tmp_path, **client).returncode == 2


def test_one_token_is_used_for_all_urls(live: LiveServer, url: str) -> None:
    credentials = ClientCredentials(f"{live.base_url}/oauth2/token", "local-client", SECRET)
    fetcher = Fetcher(credentials=credentials)
    assert fetcher.fetch(url) == fetcher.fetch(url)
    assert fetcher._token is fetcher._token
    assert SECRET not in repr(fetcher)


def test_missing_token_error_names_options(url: str, tmp_path: Path) -> None:
    result = run("check", url, data_dir=tmp_path)
    assert result.returncode == 2
    assert "answered 401" in result.stderr
    for flag in ("--token", "--token-url", "--client-id", "--client-secret"):
        assert flag in result.stderr


def test_rejected_token_is_reported(url: str, tmp_path: Path) -> None:
    result = run("import", "--dry-run", url, "--token", "nonsense", data_dir=tmp_path)
    assert result.returncode == 1
    assert "it rejects this --token" in result.stderr


def test_wrong_secret_is_not_printed(url: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    result = run("check", url, *flags[:-1], "wrong-secret-1", data_dir=tmp_path)
    assert result.returncode == 2
    assert "/oauth2/token answered 401" in result.stderr
    assert "wrong-secret-1" not in result.stderr + result.stdout


def test_gzip_files_are_decompressed(files: ServeFile) -> None:
    raw = json.dumps(build_clean_package()).encode()
    assert Fetcher().fetch(files("p.json.gz", gzip.compress(raw))) == raw
    with pytest.raises(CommandError, match="is incomplete"):
        Fetcher().fetch(files("q.json.gz", gzip.compress(raw)[:-9]))


def test_oversized_download_is_rejected(files: ServeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("case_server.net.download.MAX_DOWNLOAD_MB", 1)
    assert len(Fetcher().fetch(files("fits", bytes(2**20)))) == 2**20
    for name, body in (("large", bytes(2**20 + 1)), ("bomb", gzip.compress(bytes(2**21)))):
        with pytest.raises(CommandError, match="larger than 1 MB"):
            Fetcher().fetch(files(name, body))


def test_token_endpoint_without_token_is_reported(files: ServeFile, live: LiveServer) -> None:
    for url, message in (
        (files("t", b"{}"), "has no access_token; check --token-url"),
        (f"{live.base_url}/oauth2/nothing", "answered 404"),
        ("http://127.0.0.1:9/", "cannot be read"),
        ("http://", "cannot be read"),
    ):
        with pytest.raises(CommandError, match=message) as raised:
            Fetcher(credentials=ClientCredentials(url, "me", "hush-hush")).fetch(url)
        assert "hush-hush" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://", "http://[", "http://127.0.0.1:9/", "http://x:y/"])
def test_unreachable_url_is_reported(url: str) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        Fetcher().fetch(url)


def bomb(megabytes: int) -> bytes:
    return gzip.compress(bytes(megabytes * 2**20))


PACKED = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize("status", [404, 500, 302])
@pytest.mark.parametrize("packed", [True, False])
def test_size_of_error_is_limited(scripted: ScriptedSource, status: int, packed: object) -> None:
    body = bomb(64) if packed else b"x" * (64 * 2**20)
    scripted.responses["/x"] = ScriptedResponse(body, status, PACKED if packed else {})
    tracemalloc.start()
    with pytest.raises(CommandError, match=f"answered {status}"):
        Fetcher().fetch(f"{scripted.url}/x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The server of this test holds the whole body, too, which it made before.
    assert peak < 8 * 2**20


def test_redirect_body_is_not_read(scripted: ScriptedSource) -> None:
    location = {"Location": "/y"}
    scripted.responses["/x"] = ScriptedResponse(bomb(256), 302, location | PACKED)
    scripted.responses["/y"] = ScriptedResponse(b"here")
    assert Fetcher().fetch(f"{scripted.url}/x") == b"here"
    scripted.responses["/y"] = ScriptedResponse(b"", 302, {"Location": "/x"})
    with pytest.raises(CommandError, match="redirects more than 10 times"):
        Fetcher().fetch(f"{scripted.url}/x")


def test_redirect_to_an_invalid_host_is_reported(scripted: ScriptedSource) -> None:
    scripted.responses["/x"] = ScriptedResponse(b"", 302, {"Location": "http://xn--a/"})
    with pytest.raises(CommandError, match="cannot be read"):
        Fetcher().fetch(f"{scripted.url}/x")


def test_unpacked_size_has_limit(scripted: ScriptedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_DOWNLOAD_MB", 1)
    for response in (
        ScriptedResponse(bomb(64), headers=PACKED),
        ScriptedResponse(bomb(64)),
        ScriptedResponse(gzip.compress(bomb(64)), headers=PACKED),
        ScriptedResponse(bytes(2**20 + 1)),
        ScriptedResponse(gzip.compress(b"") * 60_000, headers=PACKED),
    ):
        scripted.responses["/x"] = response
        with pytest.raises(CommandError, match="is larger than 1 MB"):
            Fetcher().fetch(f"{scripted.url}/x")


def test_duration_is_limited(scripted: ScriptedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_DOWNLOAD_SECONDS", -1)
    scripted.responses["/x"] = ScriptedResponse(b"here")
    with pytest.raises(CommandError, match="did not end within"):
        Fetcher().fetch(f"{scripted.url}/x")


def test_gzip_file_with_several_members_is_decompressed(scripted: ScriptedSource) -> None:
    parts = gzip.compress(b"one, ") + gzip.compress(b"two") + bytes(512)
    for headers in ({}, PACKED):
        scripted.responses["/x"] = ScriptedResponse(parts, headers=headers)
        assert Fetcher().fetch(f"{scripted.url}/x") == b"one, two"


@pytest.mark.parametrize("packed", [False, True])
def test_token_response_size_is_limited(scripted: ScriptedSource, packed: object) -> None:
    body = bomb(64) if packed else b"x" * 2_000_000
    scripted.responses["/token"] = ScriptedResponse(body, headers=PACKED if packed else {})
    fetcher = Fetcher(credentials=ClientCredentials(f"{scripted.url}/token", "me", "hush-hush"))
    with pytest.raises(CommandError, match=r"no token: the response of .* is larger than 1 MB"):
        fetcher.fetch(f"{scripted.url}/x")


def test_local_gzip_file_size_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_DOWNLOAD_MB", 1)
    (tmp_path / "p.json.gz").write_bytes(bomb(64))
    (source,) = iter_sources([str(tmp_path / "p.json.gz")], Fetcher())
    with pytest.raises(CommandError, match="is larger than 1 MB"):
        source.read()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_busy_server_is_retried(scripted: ScriptedSource, status: int) -> None:
    notes: list[str] = []
    busy = ScriptedResponse({}, status)
    scripted.responses["/x"] = deque([busy, busy, ScriptedResponse(b"here")])
    assert Fetcher(notify=notes.append).fetch(f"{scripted.url}/x") == b"here"
    assert len(notes) == 2
    assert f"{scripted.url}/x: answered {status}" in notes[0]
    assert "attempt 2 of 4" in notes[0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 500, 501])
def test_other_errors_are_not_retried(scripted: ScriptedSource, status: int) -> None:
    scripted.responses["/x"] = ScriptedResponse({}, status)
    with pytest.raises(CommandError, match=f"answered {status}"):
        Fetcher().fetch(f"{scripted.url}/x")
    assert len(scripted.requests) == 1


def test_attempts_are_limited(scripted: ScriptedSource) -> None:
    scripted.responses["/x"] = ScriptedResponse({"message": "too many"}, 429)
    with pytest.raises(CommandError, match=r"answered 429: .*too many.*; 4 attempts failed"):
        Fetcher().fetch(f"{scripted.url}/x")
    assert len(scripted.requests) == 4


def test_broken_connection_is_retried(scripted: ScriptedSource) -> None:
    whole = ScriptedResponse(b"here")
    scripted.responses["/x"] = deque(
        [
            ScriptedResponse(b"here", cut_at=2),
            ScriptedResponse(b"here", cut_at=0, reset=True),
            whole,
        ]
    )
    assert Fetcher().fetch(f"{scripted.url}/x") == b"here"


def retry_after(value: str) -> dict[str, str]:
    """A Retry-After field; ``date:SECONDS`` stands for the date in so many seconds."""
    if not value.startswith("date:"):
        return {"Retry-After": value}
    seconds = int(value.removeprefix("date:"))
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    return {"Retry-After": date}


@pytest.mark.parametrize("value", ["0", "1", "date:1", "date:-60", "soon", "-5", ""])
def test_retry_after_is_honoured(scripted: ScriptedSource, value: str) -> None:
    notes: list[str] = []
    busy = ScriptedResponse({}, 503, retry_after(value))
    scripted.responses["/x"] = deque([busy, ScriptedResponse(b"here")])
    assert Fetcher(notify=notes.append).fetch(f"{scripted.url}/x") == b"here"
    if value == "1":
        assert "retrying in 1.0 s" in notes[0]


@pytest.mark.parametrize("value", ["3600", "99999999999999999999", "date:3600"])
def test_retry_after_beyond_limit_ends_attempts(scripted: ScriptedSource, value: str) -> None:
    scripted.responses["/x"] = ScriptedResponse({}, 429, retry_after(value))
    with pytest.raises(CommandError, match=r"it asks to wait .* s, and a URL is retried for 120 s"):
        Fetcher().fetch(f"{scripted.url}/x")
    assert len(scripted.requests) == 1


def test_token_request_is_not_retried(scripted: ScriptedSource) -> None:
    scripted.responses["/token"] = ScriptedResponse({}, 503)
    fetcher = Fetcher(credentials=ClientCredentials(f"{scripted.url}/token", "me", "hush-hush"))
    with pytest.raises(CommandError, match="answered 503"):
        fetcher.fetch(f"{scripted.url}/x")
    assert scripted.requests == ["/token"]

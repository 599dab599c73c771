"""Packages from URLs of a running server: tokens, client credentials, and why it fails."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from checkable import clean
from live import Live, run, serving

from case_server.errors import StartupError
from case_server.fetching import Credentials, Fetcher

SECRET = "local-secret"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(tmp_path_factory.mktemp("fetching") / "data") as found:
        yield found


@pytest.fixture
def url(live: Live) -> str:
    body = clean()
    with live.client() as client:
        assert client.post("/case/1.1/CFPackages", json=body).status_code == 201
    return f"{live.base_url}/1edtech/ims/case/v1p1/CFPackages/{body['CFDocument']['identifier']}"


@pytest.fixture
def flags(live: Live) -> tuple[str, ...]:
    token_url = f"{live.base_url}/oauth2/token"
    return ("--token-url", token_url, "--client-id", "local-client", "--client-secret", SECRET)


@pytest.mark.parametrize("command", [("check",), ("import", "--dry-run")])
def test_client_credentials(
    url: str, flags: tuple[str, ...], tmp_path: Path, command: tuple[str, ...]
) -> None:
    ran = run(*command, url, url, *flags, data_dir=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count(url) == 2


def test_client_credentials_in_the_environment(
    url: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    client = {"CASE_SOURCE_CLIENT_ID": "local-client", "CASE_SOURCE_CLIENT_SECRET": SECRET}
    ran = run("check", url, *flags[:2], data_dir=tmp_path, **client)
    assert (ran.returncode, ran.stderr) == (0, "")
    # Without an endpoint they are somebody else's.
    assert run("check", url, data_dir=tmp_path, **client).returncode == 2


def test_one_token_for_all(live: Live, url: str) -> None:
    fetcher = Fetcher(
        credentials=Credentials(f"{live.base_url}/oauth2/token", "local-client", SECRET)
    )
    assert fetcher.fetch(url) == fetcher.fetch(url)
    assert fetcher._token is fetcher._token
    assert SECRET not in repr(fetcher)


def test_without_a_token_it_says_what_to_do(url: str, tmp_path: Path) -> None:
    ran = run("check", url, data_dir=tmp_path)
    assert ran.returncode == 2
    assert "answered 401" in ran.stderr
    for flag in ("--token", "--token-url", "--client-id", "--client-secret"):
        assert flag in ran.stderr


def test_a_token_that_is_not_taken(url: str, tmp_path: Path) -> None:
    ran = run("import", "--dry-run", url, "--token", "nonsense", data_dir=tmp_path)
    assert ran.returncode == 1
    assert "it does not take this --token" in ran.stderr


def test_a_wrong_secret_is_not_told(url: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    ran = run("check", url, *flags[:-1], "wrong-secret-1", data_dir=tmp_path)
    assert ran.returncode == 2
    assert "/oauth2/token answered 401" in ran.stderr
    assert "wrong-secret-1" not in ran.stderr + ran.stdout


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--token-url", "http://x.test"), "--token-url needs --client-id and --client-secret"),
        (("--client-id", "me"), "--client-id needs --token-url"),
        (("--token", "t", "--token-url", "http://x.test"), "not both"),
    ],
)
@pytest.mark.parametrize("command", ["check", "import"])
def test_flags_that_are_half_of_what_is_needed(
    tmp_path: Path, command: str, given: tuple[str, ...], message: str
) -> None:
    ran = run(command, "http://x.test/p", *given, data_dir=tmp_path)
    assert ran.returncode == 2
    assert message in ran.stderr


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Callable[[str, bytes], str]]:
    """Puts files behind a web server of its own."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def put(name: str, body: bytes) -> str:
        (tmp_path / name).write_bytes(body)
        return f"http://127.0.0.1:{server.server_port}/{name}"

    yield put
    server.shutdown()
    thread.join()
    server.server_close()


def test_compressed_files(files: Callable[[str, bytes], str]) -> None:
    raw = json.dumps(clean()).encode()
    assert Fetcher().fetch(files("p.json.gz", gzip.compress(raw))) == raw
    with pytest.raises(StartupError, match="not whole"):
        Fetcher().fetch(files("q.json.gz", gzip.compress(raw)[:-9]))


def test_what_is_too_large(
    files: Callable[[str, bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("case_server.fetching.LARGEST_MB", 1)
    assert len(Fetcher().fetch(files("fits", bytes(2**20)))) == 2**20
    for name, body in (("large", bytes(2**20 + 1)), ("bomb", gzip.compress(bytes(2**21)))):
        with pytest.raises(StartupError, match="larger than 1 MB"):
            Fetcher().fetch(files(name, body))


def test_an_endpoint_that_answers_something_else(
    files: Callable[[str, bytes], str], live: Live
) -> None:
    for url, message in (
        (files("t", b"{}"), "answered 501"),
        (f"{live.base_url}/oauth2/nothing", "answered 404"),
        ("http://127.0.0.1:9/", "cannot be read"),
        ("http://", "cannot be read"),
    ):
        with pytest.raises(StartupError, match=message) as raised:
            Fetcher(credentials=Credentials(url, "me", "hush-hush")).fetch(url)
        assert "hush-hush" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://", "http://[", "http://127.0.0.1:9/", "http://x:y/"])
def test_urls_that_lead_nowhere(url: str) -> None:
    with pytest.raises(StartupError, match="cannot be read"):
        Fetcher().fetch(url)

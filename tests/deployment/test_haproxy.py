"""HAProxy with docs/guides/haproxy.cfg: TLS, and the addresses of clients."""

import getpass
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from support.certificates import write_certificate
from support.databases import MigratedDatabase
from support.haproxy import run_haproxy
from support.live_server import run_live_server

MAX_ATTEMPTS = 30


@contextmanager
def run_behind_tls(
    folder: Path, database: str, **variables: str
) -> Iterator[tuple[str, ssl.SSLContext]]:
    """Run a server behind HAProxy with TLS; yield the URL of HAProxy and a context to verify it."""
    authority = write_certificate(folder, "root", None)
    write_certificate(folder, "server", authority)
    certificate = folder / "case.pem"
    certificate.write_bytes((folder / "server.crt").read_bytes())
    with certificate.open("ab") as file:
        file.write((folder / "server.key").read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings = {
        "CASE_SERVER_DATABASE_URL": database,
        "CASE_SERVER_PUBLIC_URL": "https://case.test",
        **variables,
    }
    with (
        run_live_server(folder / "data", "--port", str(port), settings=settings),
        run_haproxy([f"http://127.0.0.1:{port}"] * 3, certificate) as url,
    ):
        yield url, ssl.create_default_context(cafile=str(folder / "root.crt"))


def test_the_service_redirects_http_to_https(tmp_path: Path) -> None:
    write_certificate(tmp_path, "server", write_certificate(tmp_path, "root", None))
    certificate = tmp_path / "case.pem"
    certificate.write_bytes(
        (tmp_path / "server.crt").read_bytes() + (tmp_path / "server.key").read_bytes()
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    nodes = ["http://127.0.0.1:9"] * 3
    variables = {"CASE_USER": getpass.getuser(), "CASE_REDIRECT_BIND": f"127.0.0.1:{port}"}
    with run_haproxy(nodes, certificate, **variables):
        response = httpx.get(f"http://127.0.0.1:{port}/a?b=c", headers={"Host": "case.test"})
    assert response.status_code == 301
    assert response.headers["Location"] == "https://case.test/a?b=c"


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [({}, {200}), ({"FORWARDED_ALLOW_IPS": "192.0.2.1"}, {429})],
    ids=["this-machine", "another-machine"],
)
def test_clients_have_own_login_limits_only_if_the_proxy_is_trusted(
    tmp_path: Path, migrated_database: MigratedDatabase, trusted: dict[str, str], expected: set[int]
) -> None:
    with run_behind_tls(tmp_path, migrated_database("haproxy"), **trusted) as (url, context):
        first, second = (
            httpx.Client(transport=httpx.HTTPTransport(verify=context, local_address=address))
            for address in ("127.0.0.2", "127.0.0.3")
        )

        def log_in(client: httpx.Client, secret: str) -> int:
            form = {"grant_type": "client_credentials"}
            return client.post(
                f"{url}/oauth2/token", data=form, auth=("local-client", secret)
            ).status_code

        assert log_in(first, "local-secret") == 200
        assert "Strict-Transport-Security" in first.get(f"{url}/case/1.1/CFDocuments").headers
        statuses = set()
        for _ in range(MAX_ATTEMPTS):
            if log_in(first, "wrong") == 429:
                statuses.add(log_in(second, "local-secret"))
            if 429 in statuses:
                statuses.discard(200)  # a delay that ended meanwhile
                break
        assert statuses == expected
        first.close()
        second.close()

"""A Postgres server with TLS and certificates created for it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from support.certificates import write_certificate

from case_server.db.postgres import embedded


def find_binaries_with_tls() -> Path | None:
    """Return the directory of Postgres binaries on this machine that support TLS, or None."""
    for folder in embedded._iter_binary_directories():
        if embedded._read_major_version(folder) < embedded.OLDEST_MAJOR:
            continue
        linked = subprocess.run(
            ["ldd", folder / "postgres"], capture_output=True, text=True, check=False
        ).stdout
        if "libssl" in linked:
            return folder
    return None


@dataclass
class TlsServer:
    """A running Postgres server with TLS, and the certificates of its authority and of a client."""

    url: str
    port: int
    data_dir: Path
    socket_dir: Path
    root: Path
    client: Path
    client_key: Path
    other_authority: Path
    """The certificate of an authority that did not sign the server's certificate."""


@contextmanager
def run_tls_server(folder: Path, binaries: Path) -> Iterator[TlsServer]:
    """Run a Postgres server that accepts TLS, plain TCP and Unix socket connections."""
    folder.mkdir(mode=0o700)
    sockets = folder / "s"
    sockets.mkdir(mode=0o777)
    authority = write_certificate(folder, "root", None)
    write_certificate(folder, "other_authority", None)
    write_certificate(folder, "server", authority)
    write_certificate(folder, "client", authority)
    settings = (
        f"{embedded.SETTINGS} -c ssl=on -c ssl_cert_file={folder}/server.crt "
        f"-c ssl_key_file={folder}/server.key -c ssl_ca_file={folder}/root.crt "
        f"-c unix_socket_directories={sockets} -c fsync=off"
    )
    with (
        patch.object(embedded, "_iter_binary_directories", lambda: iter([binaries])),
        patch.object(embedded, "SETTINGS", settings),
        embedded.embedded_postgres(folder / "data") as url,
    ):
        yield TlsServer(
            url=url,
            port=int(url.rpartition(":")[2].partition("/")[0]),
            data_dir=folder / "data",
            socket_dir=sockets,
            root=folder / "root.crt",
            client=folder / "client.crt",
            client_key=folder / "client.key",
            other_authority=folder / "other_authority.crt",
        )

"""A Postgres server with TLS and certificates created for it."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
    authority = _write_certificate(folder, "root", None)
    _write_certificate(folder, "other_authority", None)
    _write_certificate(folder, "server", authority)
    _write_certificate(folder, "client", authority)
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


Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _write_certificate(folder: Path, name: str, issuer: Authority | None) -> Authority:
    """Write a new certificate and its key, signed by ``issuer``; None makes it self-signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"case {name}")])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if name == "server":
        names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / f"{name}.key"
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, key

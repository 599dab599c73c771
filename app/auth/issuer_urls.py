"""Which issuers' keys nobody between could exchange."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from ..exceptions import StartupError
from ..settings import is_loopback


def require_secure_issuers(urls: Iterable[str]) -> None:
    """Raise ``StartupError`` for an issuer whose keys somebody between could exchange."""
    for url in urls:
        if not is_https_or_loopback(url):
            raise StartupError(
                f"the trusted issuer {url!r} must be an https URL (http only on this machine): "
                "its keys decide who may come in"
            )


def is_https_or_loopback(url: str) -> bool:
    """Whether nobody between can exchange what is fetched from there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    host = parts.hostname or ""
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    )

"""Compare a request's Origin header field with this server's origin (CSRF protection)."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_same_origin(origin: str, host: str | None, base_url: str) -> bool:
    """Return whether a request comes from this server's own pages, judging by its Origin header.

    ``origin`` must have the host and port of the request's Host header, ``host``, or of the
    server's base URL. Schemes are not compared, because a server behind a proxy that terminates TLS
    does not know its public scheme.
    """
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    return netloc != "" and netloc in {host, urlsplit(base_url).netloc}

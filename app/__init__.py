"""A self-hosted CASE 1.1 server over Postgres."""

__version__ = "0.1.0"

DOCUMENTATION_URL = "https://case-server.readthedocs.io"
"""The address of the documentation site, which messages refer to. An installation has no ``docs/``.

``pyproject.toml`` and ``mkdocs.yml`` contain the same address."""

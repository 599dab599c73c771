"""A self-hosted CASE 1.1 server over Postgres."""

__version__ = "0.1.0"

"""Errors of benchmarks that are reported without a stack trace."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A case could not be measured; the message says why and what to do."""

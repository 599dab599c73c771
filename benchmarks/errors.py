"""Errors of benchmarks that are reported without a stack trace."""

from __future__ import annotations


class BenchmarkError(Exception):
    """Raised when a benchmark case cannot be measured; the message says why and what to do."""

"""Errors of benchmarks that are reported without a stack trace."""


class BenchmarkError(Exception):
    """Raised when a benchmark case cannot be measured; the message says why and what to do."""

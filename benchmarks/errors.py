"""What stops one case, or the whole run, and is told without a stack trace."""

from __future__ import annotations


class BenchmarkError(Exception):
    """Something could not be measured; the message says why and what to do."""

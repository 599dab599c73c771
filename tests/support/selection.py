"""What ``make test`` runs of many parameters and examples; ``make test-all`` runs all of them."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

DEFAULT_EXAMPLES = 100
"""``max_examples`` of hypothesis' own default profile."""


def mark_slow_except(default: Iterable[Any], parameters: Iterable[Any]) -> list[Any]:
    """Mark parameters of a test as slow, except those in ``default``.

    Without the mark, ``make test`` runs them; with it, only ``make test-all``.
    """
    chosen = list(default)
    return [each if each in chosen else _slow(each) for each in parameters]


def _slow(values: Any) -> Any:
    return pytest.param(
        *(values if isinstance(values, tuple) else (values,)), marks=pytest.mark.slow
    )


def scale_examples(examples: int) -> int:
    """Return a number of Hypothesis examples: two fifths of it, or ten times it if thorough.

    The profile ``quick`` is the default, and ``thorough`` that of ``make test-all``.
    """
    return max(1, examples * settings().max_examples // DEFAULT_EXAMPLES)

"""The parameters and examples that ``make test`` runs; ``make test-all`` runs all."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

DEFAULT_EXAMPLES = 100
"""``max_examples`` of hypothesis' own default profile."""


REAL_FRAMEWORKS = (
    *("ccss-math-2010", "georgia-science-excerpt-v1p1", "large-11k"),
    *("large-11k-broken", "opencase-v1p1-with-rubrics", "opensalt-2017-sample"),
    *("smarterbalanced-math-content-spec", "teks-118-economics"),
)
"""The real frameworks in ``../shared/frameworks``; the large ones contain parts of the others."""

NOT_LARGE = tuple(name for name in REAL_FRAMEWORKS if not name.startswith("large"))


def mark_slow_except(default: Iterable[Any], parameters: Iterable[Any]) -> list[Any]:
    """Mark parameters of a test as slow, except those in ``default``.

    Without the mark, ``make test`` runs them; with it, only ``make test-all``.
    """
    chosen = list(default)
    marked = []
    for each in parameters:
        values = each if isinstance(each, tuple) else (each,)
        marked.append(each if each in chosen else pytest.param(*values, marks=pytest.mark.slow))
    return marked


def scale_examples(examples: int) -> int:
    """Return a number of Hypothesis examples: a quarter of it, or ten times it if thorough.

    The profile ``quick`` is the default, and ``thorough`` that of ``make test-all``.
    """
    return max(1, examples * settings().max_examples // DEFAULT_EXAMPLES)

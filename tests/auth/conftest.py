"""Fixtures of the tests of authentication."""

from __future__ import annotations

import pytest
from support.clock import FixedClock


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()

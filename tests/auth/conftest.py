"""Fixtures of the tests of authentication."""

import pytest
from support.clock import FixedClock


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()

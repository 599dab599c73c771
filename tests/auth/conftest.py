"""Fixtures of the tests of authentication."""

from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient
from support.clock import FixedClock


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def http() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(follow_redirects=True) as client:
        yield client

"""The application with a working server and with faults."""

from __future__ import annotations

import asyncio
import os

import publisher
import pytest


def test_default_seed_has_one_framework(case_client_settings):
    assert case_client_settings.environment.items() <= os.environ.items()
    assert len(asyncio.run(publisher.documents())) == 1


def test_survives_a_503_and_sends_each_item_once(case_reset):
    case_reset.add_fault(method="PUT", path="*/CFItems/item-2", status=503, times=1)
    asyncio.run(publisher.publish(3))
    for number in (1, 2, 3):
        case_reset.verify(method="PUT", path=f"*/CFItems/item-{number}", status=201, count=1)
    case_reset.verify(method="PUT", path="*/CFItems/*", status=503, count=1)


@pytest.mark.parametrize("attempt", [1, 2])
def test_reset_restores_seed_before_each_test(case_reset, attempt):
    assert len(asyncio.run(publisher.documents())) == 1
    asyncio.run(publisher.publish(1))
    assert len(asyncio.run(publisher.documents())) == 2


@pytest.mark.anyio
async def test_async_test_uses_fixture(case_reset):
    await publisher.publish(2)
    case_reset.verify(method="PUT", path="*/CFItems/*", status=201, count=2)


def test_verify_error_lists_requests(case_reset):
    asyncio.run(publisher.publish(2))
    with pytest.raises(AssertionError, match="expected exactly 3 PUT") as raised:
        case_reset.verify(method="PUT", path="*/CFItems/*", count=3)
    assert "CFItems/item-2: status 201" in str(raised.value)


@pytest.fixture
def anyio_backend():
    return "asyncio"

"""Errors of the server as TimeBack's SDK reports them."""

from __future__ import annotations

import asyncio
import time

import publisher
import pytest
from timeback_case import (
    APIError,
    AuthenticationError,
    CaseClient,
    ForbiddenError,
    NotFoundError,
    RateLimitError,
    ServerError,
    ValidationError,
)

LIST = {"method": "GET", "path": "*/CFDocuments"}
TOKENS = {"method": "POST", "path": "/oauth2/token"}


@pytest.mark.parametrize("status", [429, 503])
def test_retries_after_retry_after(case_reset, status):
    case_reset.add_fault(**LIST, status=status, retry_after=2, times=1)
    started = time.monotonic()
    assert len(asyncio.run(publisher.documents())) == 1
    assert time.monotonic() - started > 1  # half of it, as timers may fire early
    case_reset.verify(**LIST, status=status, count=1)
    case_reset.verify(**LIST, status=200, count=1)


@pytest.mark.parametrize(("status", "error"), [(429, RateLimitError), (503, ServerError)])
def test_gives_up_after_three_attempts(case_reset, status, error):
    case_reset.add_fault(**LIST, status=status, retry_after=0)
    with pytest.raises(error):
        asyncio.run(publisher.documents())
    case_reset.verify(**LIST, status=status, count=3)


@pytest.mark.parametrize("status", [500, 502, 504])
def test_does_not_retry_5xx(case_reset, status):
    case_reset.add_fault(**LIST, status=status, times=1)
    with pytest.raises(ServerError) as raised:
        asyncio.run(publisher.documents())
    assert raised.value.status_code == status
    case_reset.verify(**LIST, count=1)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, APIError),
        (401, AuthenticationError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, APIError),
        (422, ValidationError),
    ],
)
def test_raises_error_class_of_status(case_reset, status, error):
    case_reset.add_fault(**LIST, status=status, description="injected")
    with pytest.raises(error) as raised:
        asyncio.run(publisher.documents())
    assert type(raised.value) is error
    assert raised.value.status_code == status
    assert "injected" in str(raised.value)
    case_reset.verify(**LIST, count=1)


def test_drops_rejected_token(case_reset):
    async def calls():
        async with CaseClient() as client:
            await client.documents.list()
            case_reset.rotate_keys(revoke=True)
            with pytest.raises(AuthenticationError):
                await client.documents.list()
            await client.documents.list()

    asyncio.run(calls())
    case_reset.verify(**TOKENS, status=200, count=2)
    case_reset.verify(**LIST, status=401, count=1)
    case_reset.verify(**LIST, status=200, count=2)


def test_renews_token_a_minute_before_expiry(case_reset):
    async def calls():
        async with CaseClient() as client:
            await client.documents.list()
            await client.documents.list()
            case_reset.verify(**TOKENS, count=1)
            await asyncio.sleep(1.5)
            await client.documents.list()

    case_reset.set_token_lifetime(61)
    asyncio.run(calls())
    case_reset.verify(**TOKENS, count=2)


def test_timeout_raises_408(case_reset):
    case_reset.add_fault(**LIST, delay=10)
    started = time.monotonic()
    with pytest.raises(APIError, match="timeout") as raised:
        asyncio.run(publisher.documents(timeout=0.5))
    assert time.monotonic() - started < 8
    assert raised.value.status_code == 408


def test_retry_after_is_limited_by_timeout(case_reset):
    case_reset.add_fault(**LIST, status=503, retry_after=60)
    with pytest.raises(APIError, match="timeout"):
        asyncio.run(publisher.documents(timeout=2))
    case_reset.verify(**LIST, count=1)


def test_invalid_json_raises_error(case_reset):
    case_reset.add_fault(**LIST, body="malformed")
    with pytest.raises(APIError, match="Invalid JSON response"):
        asyncio.run(publisher.documents())


@pytest.mark.parametrize("fault", [{"reset": True}, {"body": "truncated"}])
def test_connection_errors_are_raised(case_reset, fault):
    case_reset.add_fault(**LIST, **fault)
    with pytest.raises(Exception, match=r"reset by peer|without sending|disconnected|^$"):
        asyncio.run(publisher.documents())
    case_reset.verify(**LIST, count=1)

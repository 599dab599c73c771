"""Assertions on responses of the server under test, and their description in reports."""

from __future__ import annotations

import re
from typing import Any

import httpx

from ..formatting import escape_control_characters, truncate

Body = dict[str, Any]

MAX_EXCERPT_CHARS = 160
ACCESS_TOKEN_PATTERN = re.compile(r'("access_token"\s*:\s*")[^"]*')
"""An access token in a JSON response; reports must not contain it."""


class CheckFailed(Exception):
    """Raised when the server does not behave as documented; the message says what it did."""


class CheckSkipped(Exception):
    """Raised when the server lacks data or a feature that a check needs; the message names it."""


def read_json(response: httpx.Response, *statuses: int) -> Body:
    """Return the JSON object in a response with one of the expected statuses, by default 200.

    Raises ``CheckFailed`` if the status is unexpected or the body is not a JSON object.
    """
    expect_status(response, *(statuses or (200,)))
    try:
        body = response.json()
    except ValueError:
        raise CheckFailed(f"not JSON: {describe_response(response)}") from None
    if not isinstance(body, dict):
        raise CheckFailed(f"not a JSON object: {describe_response(response)}")
    return body


def expect_status(response: httpx.Response, *statuses: int) -> None:
    """Raise ``CheckFailed`` unless a response has one of the expected statuses."""
    if response.status_code not in statuses:
        request, expected = describe_request(response.request), " or ".join(map(str, statuses))
        raise CheckFailed(f"{request} {describe_response(response)}, not {expected}")


def expect(condition: object, observed: str) -> None:
    """Raise ``CheckFailed`` with the message ``observed`` unless a condition holds.

    The message states what the server did: "a deleted item is in the list of items".
    """
    if not condition:
        raise CheckFailed(observed)


def describe_request(request: httpx.Request) -> str:
    """Return the method and path of a request, such as ``GET /CFItems``."""
    return f"{request.method} {request.url.path}"


def describe_response(response: httpx.Response) -> str:
    """Return the status of a response and the first 160 characters of its body, in one line.

    Access tokens are removed.
    """
    body = format_excerpt(ACCESS_TOKEN_PATTERN.sub(r"\1…", " ".join(response.text.split())))
    return f"returned {response.status_code}{f': {body}' if body else ''}"


def format_excerpt(value: object) -> str:
    """Format the first 160 characters of a value for a report, with control characters escaped."""
    text = value if isinstance(value, str) else repr(value)
    return truncate(escape_control_characters(text), MAX_EXCERPT_CHARS)

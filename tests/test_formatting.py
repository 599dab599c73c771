"""Formats of durations in messages."""

from datetime import timedelta

import pytest

from case_server.cli.shared import DurationParamType
from case_server.formatting import format_duration


@pytest.mark.parametrize(
    "text", ["45s", "90s", "15m", "1h", "24h", "36h", "2d", "7d", "30d", "366d"]
)
def test_duration_is_formatted_as_options_take_it(text: str) -> None:
    assert format_duration(DurationParamType().convert(text, None, None)) == text


def test_duration_of_weeks_is_formatted_in_days() -> None:
    assert format_duration(timedelta(weeks=2)) == "14d"

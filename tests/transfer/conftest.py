"""Fixtures of the tests of import and sync."""

from collections.abc import Iterator

import pytest
from support.scripted_source import ScriptedSource, run_scripted_source

from case_server.net import download


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedSource]:
    """A server whose responses tests define; failed requests to it are retried at once."""
    monkeypatch.setattr(download, "FIRST_RETRY_SECONDS", 0.001)
    with run_scripted_source() as result:
        yield result

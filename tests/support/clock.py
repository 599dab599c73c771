"""Clocks whose time tests set."""

import time

import pytest

from case_server.auth.clients import ClientAuthenticator


class FixedClock:
    """A replacement for ``time.monotonic``: it returns ``now``, which only tests change."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def stop_clock_of_logins(monkeypatch: pytest.MonkeyPatch, clients: ClientAuthenticator) -> None:
    """Let no time pass for the delays after failed logins, the first of which is one second."""
    now = time.monotonic()
    monkeypatch.setattr(clients._throttle, "_clock", lambda: now)

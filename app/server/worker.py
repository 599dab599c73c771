"""The application of a dedicated server process, which ends with its parent process."""

from __future__ import annotations

import os
import signal
import time
from threading import Thread

from fastapi import FastAPI

from ..main import create_app
from ..settings import Settings
from .tuning import tune_process

PARENT_PID_VARIABLE = "CASE_SERVER_PARENT"
"""Environment variable with the ID of the process whose end ends this one."""

PARENT_CHECK_INTERVAL_SECONDS = 1


def create_worker_app(settings: Settings | None = None) -> FastAPI:
    """Create the application, and tune this process for serving nothing else.

    If ``settings`` is None, they are read from the environment.
    """
    app = create_app(settings)
    tune_process()
    if parent := os.environ.get(PARENT_PID_VARIABLE):
        Thread(target=_exit_with_parent, args=(int(parent),), daemon=True).start()
    return app


def _exit_with_parent(parent: int) -> None:
    """Exit when the parent dies; an orphan would keep the port and outlive its database."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_INTERVAL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)

